//! Sizes and offsets of the shared structs, for the test that compares them with the object's BTF.

/// Size of a struct and (name, offset, size) of each field, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Size of the struct in bytes.
    pub size: usize,
    /// Name, offset and size of each field, in order.
    pub fields: &'static [(&'static str, usize, usize)],
}

/// A struct that has a twin in C.
pub trait Shared {
    /// Where its fields are.
    const LAYOUT: Layout;
}

/// Every shared struct under its C name.
pub const SHARED: &[(&str, Layout)] = &[
    ("ip_address", crate::IpAddress::LAYOUT),
    ("enrolment", crate::Enrolment::LAYOUT),
    ("frontend_key", crate::FrontendKey::LAYOUT),
    ("frontend", crate::Frontend::LAYOUT),
    ("resolver_key", crate::ResolverKey::LAYOUT),
    ("settings", crate::Settings::LAYOUT),
    ("affinity_key", crate::AffinityKey::LAYOUT),
    ("affinity", crate::Affinity::LAYOUT),
    ("backend_load", crate::BackendLoad::LAYOUT),
    ("network_key", crate::NetworkKey::LAYOUT),
    ("network", crate::Network::LAYOUT),
    ("slot_table", crate::SlotTable::LAYOUT),
    ("slot", crate::Slot::LAYOUT),
    ("backend", crate::Backend::LAYOUT),
    ("socket_meta", crate::SocketMeta::LAYOUT),
    ("header_wait", crate::HeaderWait::LAYOUT),
    ("udp_flow_key", crate::UdpFlowKey::LAYOUT),
    ("udp_flow", crate::UdpFlow::LAYOUT),
    ("connection_event", crate::ConnectionEvent::LAYOUT),
    ("authz_destination", crate::authz::AuthzDestination::LAYOUT),
    ("authz_source", crate::authz::AuthzSource::LAYOUT),
    ("authz_row_key", crate::authz::AuthzRowKey::LAYOUT),
    ("authz_row", crate::authz::AuthzRow::LAYOUT),
    ("authz_block_key", crate::authz::AuthzBlockKey::LAYOUT),
    ("authz_set", crate::authz::AuthzSet::LAYOUT),
    ("authz_count", crate::authz::AuthzCount::LAYOUT),
];
