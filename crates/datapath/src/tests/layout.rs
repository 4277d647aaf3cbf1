//! Layouts are proven, not trusted: every shared struct and number against the object's BTF.

use abi::limits::Limits;
use abi::{Reason, limits};
use libbpf_rs::btf::types::{Enum, MemberAttr, Struct};
use libbpf_rs::btf::{Btf, HasSize};
use std::path::PathBuf;

fn btf(object: &str) -> Btf<'static> {
    let path = PathBuf::from(env!("OUT_DIR")).join(object);
    Btf::from_path(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Name and offset in bytes of each member.
fn members(structure: &Struct<'_>) -> Vec<(String, usize)> {
    structure
        .iter()
        .map(|member| {
            let MemberAttr::Normal { offset: bits } = member.attr else {
                panic!("{:?} is a bit field", member.name)
            };
            (member.name.expect("a name").to_string_lossy().into_owned(), bits as usize / 8)
        })
        .collect()
}

#[test]
fn every_shared_struct_has_the_size_and_offsets_of_its_c_twin() {
    // Maps anchor most types in the product's object, a test program the rest.
    let objects = [btf("kmesh.bpf.o"), btf("kmesh_test.bpf.o")];
    for (name, layout) in abi::layout::SHARED {
        let structure: Struct<'_> = objects
            .iter()
            .find_map(|btf| btf.type_by_name(name))
            .unwrap_or_else(|| panic!("struct {name} is in no object"));
        let ours: Vec<_> = layout.fields.iter().map(|(n, at, _)| ((*n).to_owned(), *at)).collect();
        assert_eq!(members(&structure), ours, "struct {name}");
        assert_eq!(structure.size(), layout.size, "struct {name}");
    }
}

fn enumerators(name: &str) -> Vec<(String, i64)> {
    let btf = btf("kmesh_test.bpf.o");
    let found: Enum<'_> = btf.type_by_name(name).unwrap_or_else(|| panic!("enum {name}"));
    found
        .iter()
        .map(|e| (e.name.expect("a name").to_string_lossy().into_owned(), e.value))
        .collect()
}

#[test]
fn the_reasons_of_c_and_rust_are_the_same_list() {
    let ours: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| (format!("REASON_{}", reason.name().to_uppercase()), *reason as i64))
        .collect();
    let theirs: Vec<_> = enumerators("reason")
        .into_iter()
        .filter(|(name, _)| name != "REASON_NONE" && name != "REASON_MAX")
        .collect();
    assert_eq!(theirs, ours);
}

#[test]
fn the_limits_of_c_and_rust_are_the_same_numbers() {
    let defaults = Limits::default();
    let ours = [
        ("ENROLMENTS_MAX", defaults.enrolments_max),
        ("FRONTENDS_MAX", defaults.frontends_max),
        ("TABLES_MAX", defaults.tables_max),
        ("SLOTS_MAX", defaults.slots_max),
        ("BACKENDS_MAX", defaults.backends_max),
        ("SOCKETS_MAX", defaults.sockets_max),
        ("UDP_FLOWS_MAX", defaults.udp_flows_max),
        ("AFFINITIES_MAX", defaults.affinities_max),
        ("NETWORKS_MAX", defaults.networks_max),
        ("RESOLVERS_MAX", defaults.resolvers_max),
        ("EVENT_RING_BYTES", defaults.event_ring_bytes),
        ("WAYPOINT_SOCKETS_MAX", defaults.waypoint_sockets_max),
        ("HEADER_RING_BYTES", defaults.header_ring_bytes),
        ("AUTHZ_SETS_MAX", defaults.authz_sets_max),
        ("AUTHZ_WORDS_MAX", defaults.authz_words_max),
        ("AUTHZ_ROWS_MAX", defaults.authz_rows_max),
        ("AUTHZ_BLOCKS_MAX", defaults.authz_blocks_max),
        ("AUTHZ_TERMS_MAX", defaults.authz_terms_max),
        ("AUTHZ_POLICIES_MAX", defaults.authz_policies_max),
        ("AUTHZ_SOURCES_MAX", defaults.authz_sources_max),
        ("AUTHZ_DESTINATIONS_MAX", defaults.authz_destinations_max),
        ("AUTHZ_WORDS_PER_SET_MAX", limits::AUTHZ_WORDS_PER_SET_MAX),
        ("AUTHZ_TERMS_PER_RULE_MAX", limits::AUTHZ_TERMS_PER_RULE_MAX),
        ("REASONS_MAX", limits::REASONS_MAX),
    ];
    let ours: Vec<_> = ours.map(|(name, value)| (name.to_owned(), i64::from(value))).into();
    assert_eq!(enumerators("limit"), ours);
}

#[test]
fn the_numbers_of_the_dns_proxy_are_the_same_in_c_and_rust() {
    let ours = [
        ("DNS_PORT", i64::from(abi::dns::PORT)),
        ("DNS_PROXY_PORT", abi::dns::PROXY_PORT.into()),
        ("DNS_SILENCE_MAX_MS", abi::dns::SILENCE_MAX.as_millis() as i64),
        ("DNS_PROXY_MARK", abi::dns::PROXY_MARK.into()),
    ];
    let ours: Vec<_> = ours.map(|(name, value)| (name.to_owned(), value)).into();
    assert_eq!(enumerators("dns_number"), ours);
}

#[test]
fn the_numbers_of_the_header_are_the_same_in_c_and_rust() {
    use abi::waypoint::{HEADER_TYPE_ADDRESS, HEADER_TYPE_END, HEADER_V4_BYTES, HEADER_V6_BYTES};
    let ours = [
        ("HEADER_TYPE_ADDRESS", i64::from(HEADER_TYPE_ADDRESS)),
        ("HEADER_TYPE_END", i64::from(HEADER_TYPE_END)),
        ("HEADER_V4_BYTES", HEADER_V4_BYTES as i64),
        ("HEADER_V6_BYTES", HEADER_V6_BYTES as i64),
    ];
    let ours: Vec<_> = ours.map(|(name, value)| (name.to_owned(), value)).into();
    assert_eq!(enumerators("waypoint_number"), ours);
}
