//! Keys, values and events, field for field as in `bpf/include/kmesh/abi.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zerocopy::byteorder::big_endian::U16 as Be16;

/// `IPPROTO_TCP`.
pub const PROTOCOL_TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub const PROTOCOL_UDP: u8 = 17;

macro_rules! shared {
    ($(#[doc = $doc:expr])* $name:ident { $($(#[doc = $fdoc:expr])* $field:ident : $ty:ty,)+ }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
        #[repr(C)]
        pub struct $name { $($(#[doc = $fdoc])* pub $field: $ty,)+ }

        impl crate::layout::Shared for $name {
            const LAYOUT: crate::layout::Layout = crate::layout::Layout {
                size: size_of::<$name>(),
                fields: &[$((stringify!($field), std::mem::offset_of!($name, $field), size_of::<$ty>()),)+],
            };
        }
    };
}

pub(crate) use shared;

shared! {
    /// An IPv6 address, or an IPv4 address in v4-mapped form.
    IpAddress {
        /// The address in network order.
        word: [u8; 16],
    }
}

shared! {
    /// Value of `enrolments`; the key is the cookie of the network namespace.
    Enrolment {
        /// [`Enrolment::WAYPOINT`].
        flags: u32,
        /// Who dials, for consistent hashing.
        client_hash: u32,
        /// Zero.
        reserved: [u32; 2],
    }
}

shared! {
    /// Key of `resolvers`.
    ResolverKey {
        /// The namespace.
        netns_cookie: u64,
        /// A DNS server that it is configured with.
        address: IpAddress,
    }
}

shared! {
    /// The one entry of `settings`.
    Settings {
        /// [`Settings::REGISTRY_ONLY`], [`Settings::AUTHZ`].
        flags: u32,
        /// Thread that sends headers for clients that do not speak first; 0 while there is none.
        header_sender: u32,
        /// CLOCK_MONOTONIC of the DNS proxy's last sign of life; 0 while there is none.
        dns_heartbeat_ns: u64,
        /// Cookie of the socket that the header sender is at work on; 0 for none.
        header_claim: u64,
    }
}

shared! {
    /// Key of `frontends`: where an application dials.
    FrontendKey {
        /// The dialled address.
        address: IpAddress,
        /// The dialled port; 0 with protocol 0 stands for the whole address.
        port: Be16,
        /// [`PROTOCOL_TCP`], [`PROTOCOL_UDP`] or 0.
        protocol: u8,
        /// Zero.
        reserved: u8,
    }
}

shared! {
    /// Value of `frontends`.
    Frontend {
        /// Index into `tables`, for [`Frontend::BALANCE`].
        table: u32,
        /// One of the constants below.
        action: u8,
        /// Zero.
        reserved: [u8; 7],
        /// TCP goes by a waypoint: its index into `tables` plus one. 0: no waypoint.
        waypoint: u32,
    }
}

shared! {
    /// Value of `tables`: where the slots of a service port are, and how one is picked.
    SlotTable {
        /// First slot in the low 32 bits, count in the high 32; see [`Extent`].
        extent: u64,
        /// A [`SlotSource`].
        source: u8,
        /// 1: draw two slots and take the backend with fewer connections.
        two_choices: u8,
        /// Zero.
        reserved: u16,
        /// For [`SlotSource::Affinity`]: how long an unused choice is kept.
        affinity_seconds: u32,
    }
}

shared! {
    /// Key of `affinities`.
    AffinityKey {
        /// The client's network namespace.
        netns_cookie: u64,
        /// Index into `tables`.
        table: u32,
        /// Zero.
        reserved: u32,
    }
}

shared! {
    /// Value of `affinities`.
    Affinity {
        /// The number that the client drew.
        number: u32,
        /// Zero.
        reserved: u32,
        /// CLOCK_MONOTONIC of the last use.
        used_ns: u64,
    }
}

shared! {
    /// Value of `loads`.
    BackendLoad {
        /// The backend's incarnation that the count is for.
        incarnation: u32,
        /// Live connections.
        connections: u32,
    }
}

shared! {
    /// Key of `networks`, a longest-prefix trie.
    NetworkKey {
        /// Of the 128 of the address.
        prefix_bits: u32,
        /// The block.
        address: IpAddress,
    }
}

shared! {
    /// Value of `networks`: the block's frontends have the address [`Network::address`].
    Network {
        /// Number of the block.
        id: u32,
        /// Zero.
        reserved: u32,
    }
}

shared! {
    /// Value of `slots`: one of the choices of a table.
    Slot {
        /// Index into `backends`, never 0.
        backend: u32,
        /// The endpoint's own port.
        port: Be16,
        /// Zero.
        reserved: u16,
    }
}

shared! {
    /// Value of `backends`: the address of an endpoint.
    Backend {
        /// The endpoint's address.
        address: IpAddress,
        /// [`Backend::LIVE`] for an entry in use.
        flags: u32,
        /// Differs each time that the index is used for another address.
        incarnation: u32,
    }
}

shared! {
    /// Value of `sockets`: what a socket dialled, and where it was sent. Key: the address of
    /// the kernel's socket, a `u64`.
    SocketMeta {
        /// What the application dialled.
        original_address: IpAddress,
        /// Where the connection went.
        backend_address: IpAddress,
        /// What the application dialled.
        original_port: Be16,
        /// Where the connection went.
        backend_port: Be16,
        /// 1 outbound, 2 inbound.
        direction: u8,
        /// 0 dialled, 1 connecting, 2 established.
        state: u8,
        /// 1 when the destination was rewritten.
        balanced: u8,
        /// [`PROTOCOL_TCP`] or [`PROTOCOL_UDP`].
        protocol: u8,
        /// Index into `backends`, or 0.
        backend: u32,
        /// Of the backend.
        incarnation: u32,
        /// CLOCK_MONOTONIC.
        started_ns: u64,
        /// The socket's network namespace.
        netns_cookie: u64,
        /// `SO_COOKIE` of the socket.
        socket_cookie: u64,
        /// By a waypoint: the process that dialled.
        tgid: u32,
        /// 0 not by a waypoint, else [`SocketMeta::HEADER_PENDING`], or more: sent.
        header: u8,
        /// Zero.
        reserved: [u8; 3],
    }
}

shared! {
    /// Record of the ring buffer `header_waits`: a connection by a waypoint was established.
    HeaderWait {
        /// Key of `sockets`.
        socket: u64,
        /// `SO_COOKIE` of the socket.
        socket_cookie: u64,
        /// Inode of the client's socket, as in `/proc/<tgid>/fd`.
        inode: u64,
        /// CLOCK_MONOTONIC.
        established_ns: u64,
    }
}

shared! {
    /// Key of `udp_flows`.
    UdpFlowKey {
        /// `SO_COOKIE` of the socket.
        socket_cookie: u64,
        /// The dialled address (send) or the backend's (receive).
        address: IpAddress,
        /// The dialled port or the backend's.
        port: Be16,
        /// 1 send, 2 receive.
        direction: u8,
        /// Zero.
        reserved: [u8; 5],
    }
}

shared! {
    /// Value of `udp_flows`.
    UdpFlow {
        /// The backend's address (send) or the dialled one (receive).
        address: IpAddress,
        /// The backend's port or the dialled one.
        port: Be16,
        /// Zero.
        reserved: u16,
        /// The slot that was chosen.
        slot: u32,
        /// The run of slots that was in force.
        extent: u64,
    }
}

shared! {
    /// Record of the ring buffer `events`. It may grow at its end: what a shorter record of an older
    /// program lacks is zero.
    ConnectionEvent {
        /// CLOCK_MONOTONIC.
        time_ns: u64,
        /// When connect() was called, or the connection was accepted.
        started_ns: u64,
        /// The socket's network namespace.
        netns_cookie: u64,
        /// `SO_COOKIE` of the socket.
        socket_cookie: u64,
        /// Payload bytes sent, without retransmissions.
        bytes_sent: u64,
        /// Payload bytes received.
        bytes_received: u64,
        /// The socket's own address.
        local_address: IpAddress,
        /// The peer on the wire.
        remote_address: IpAddress,
        /// What the application dialled.
        original_address: IpAddress,
        /// The socket's own port.
        local_port: Be16,
        /// The peer's port on the wire.
        remote_port: Be16,
        /// The port that the application dialled.
        original_port: Be16,
        /// A [`crate::Reason`], or 0.
        reason: u16,
        /// errno of a connect that failed, or 0.
        error: u16,
        /// One of the constants below.
        kind: u8,
        /// 1 outbound, 2 inbound.
        direction: u8,
        /// [`PROTOCOL_TCP`] or [`PROTOCOL_UDP`].
        protocol: u8,
        /// 1: the peer is a waypoint.
        by_waypoint: u8,
        /// 1: `policy` and `rule` say what decided.
        by_policy: u8,
        /// Number of the rule, as in [`crate::authz::Term`].
        rule: u8,
        /// Index into `authz_counts`.
        policy: u32,
        /// Zero.
        reserved: u32,
    }
}

// === impl IpAddress ===

impl From<IpAddr> for IpAddress {
    fn from(address: IpAddr) -> Self {
        let v6 = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self { word: v6.octets() }
    }
}

impl From<Ipv4Addr> for IpAddress {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::V4(address).into()
    }
}

impl IpAddress {
    /// The address as an application would write it: v4-mapped addresses come back as IPv4.
    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.word).to_canonical()
    }

    /// True for an IPv4 address in v4-mapped form.
    pub fn is_v4(self) -> bool {
        self.ip().is_ipv4()
    }
}

// === impl FrontendKey ===

impl FrontendKey {
    /// The key of one port of an address.
    pub fn port(address: IpAddr, port: u16, protocol: u8) -> Self {
        Self { address: address.into(), port: Be16::new(port), protocol, reserved: 0 }
    }

    /// The key that answers for every port of `address` that no other key names.
    pub fn whole_address(address: IpAddr) -> Self {
        Self::port(address, 0, 0)
    }
}

impl std::fmt::Display for FrontendKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = match self.protocol {
            PROTOCOL_TCP => "tcp",
            PROTOCOL_UDP => "udp",
            _ => "any",
        };
        write!(f, "{}/{protocol}", SocketAddr::new(self.address.ip(), self.port.get()))
    }
}

// === impl Frontend ===

impl Frontend {
    /// Choose a slot of `table`.
    pub const BALANCE: u8 = 1;
    /// Leave the destination alone.
    pub const PASS: u8 = 2;
    /// A known address, but no such port.
    pub const REFUSE_PORT: u8 = 3;
    /// The own address of a workload: leave it alone.
    pub const WORKLOAD: u8 = 4;
    /// Value of `waypoint` for a waypoint that has no table: refuse.
    pub const WAYPOINT_MISSING: u32 = u32::MAX;
}

// === impl Enrolment ===

impl Enrolment {
    /// The namespace serves a waypoint's service: it is never sent to a waypoint itself.
    pub const WAYPOINT: u32 = 1;
}

// === impl SocketMeta ===

impl SocketMeta {
    /// Value of `header`: nothing was sent to the waypoint yet.
    pub const HEADER_PENDING: u8 = 1;
}

// === impl Settings ===

impl Settings {
    /// Refuse destinations that nothing in the mesh names.
    pub const REGISTRY_ONLY: u32 = 1;
    /// Inbound connections are judged by policies.
    pub const AUTHZ: u32 = 2;
}

/// Where the number comes from that picks a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SlotSource {
    /// Random for each connection.
    #[default]
    Random = 0,
    /// The client's hash.
    Client = 1,
    /// A number that the client drew and keeps while it is used.
    Affinity = 2,
    /// One after the other.
    Cursor = 3,
}

// === impl SlotTable ===

impl SlotTable {
    /// The second word: how a slot is picked. The first is the extent.
    pub fn picking(source: SlotSource, two_choices: bool, affinity_seconds: u32) -> Self {
        Self {
            extent: 0,
            source: source as u8,
            two_choices: two_choices.into(),
            reserved: 0,
            affinity_seconds,
        }
    }
}

impl std::fmt::Display for NetworkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = self.address.ip();
        let bits =
            if address.is_ipv4() { self.prefix_bits.saturating_sub(96) } else { self.prefix_bits };
        write!(f, "{address}/{bits}")
    }
}

// === impl Network ===

impl Network {
    /// The pseudo address of block `id`: 100::`id`, which is never a real destination (RFC 6666).
    pub fn address(id: u32) -> Ipv6Addr {
        Self::pseudo_address(0, id)
    }

    /// 100::`high`:`low`. Blocks have a `high` of 0, waypoints have others.
    pub fn pseudo_address(high: u32, low: u32) -> Ipv6Addr {
        const DISCARD_PREFIX: u128 = 0x100 << 112;
        Ipv6Addr::from_bits(DISCARD_PREFIX | u128::from(high) << 32 | u128::from(low))
    }
}

// === impl Backend ===

impl Backend {
    /// The entry is in use.
    pub const LIVE: u32 = 1;

    /// A live entry.
    pub fn live(address: IpAddress, incarnation: u32) -> Self {
        Self { address, flags: Self::LIVE, incarnation }
    }
}

// === impl ConnectionEvent ===

impl ConnectionEvent {
    /// A connection was established.
    pub const OPENED: u8 = 1;
    /// A connect failed: `reason` is ours, `error` is the kernel's.
    pub const REFUSED: u8 = 2;
    /// A connection ended.
    pub const CLOSED: u8 = 3;
    /// A connection was ended by us, after a change of policies; [`ConnectionEvent::CLOSED`] comes
    /// besides, if it was reported as opened.
    pub const ENDED: u8 = 4;
    /// Value of `direction` for a connection that this host dialled.
    pub const OUTBOUND: u8 = 1;
    /// Value of `direction` for a connection that this host accepted.
    pub const INBOUND: u8 = 2;

    /// The policy and the rule that decided, if it was one.
    pub fn term(&self) -> Option<crate::authz::Term> {
        let Self { policy, rule, by_policy, .. } = *self;
        (by_policy != 0).then_some(crate::authz::Term { policy, rule })
    }
}

/// A contiguous run of slots, as the kernel sees it in one 64-bit word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Index of the first slot.
    pub first: u32,
    /// How many; 0 means that no endpoint is usable.
    pub count: u32,
}

impl From<Extent> for u64 {
    fn from(extent: Extent) -> u64 {
        u64::from(extent.first) | (u64::from(extent.count) << 32)
    }
}

impl From<u64> for Extent {
    fn from(word: u64) -> Self {
        Self { first: word as u32, count: (word >> 32) as u32 }
    }
}
