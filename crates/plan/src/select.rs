//! What the kernel programs do with an image, in Rust: the reference that tests compare them with
//! and that explains a decision.

use std::net::IpAddr;

use abi::{FrontendKey, PROTOCOL_TCP, Reason, SlotSource};
use model::{AddressBlock, OutboundPolicy};

use crate::{Action, Image, Place, Table, Target};

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// It goes to this endpoint.
    Balanced(Target),
    /// It goes to this waypoint, which is told what was dialled.
    ByWaypoint(Target),
    /// It is left alone.
    Passed(Reason),
    /// It fails with ECONNREFUSED.
    Refused(Reason),
}

/// Everything besides the image that a decision depends on. The kernel's memory (affinity numbers,
/// cursors, loads) is given as what it would answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    /// A random number, or the number that the client drew before.
    pub number: u32,
    /// The client's hash.
    pub client_hash: u32,
    /// Where the table's cursor stands.
    pub cursor: u32,
    /// What happens to destinations that nothing names.
    pub outbound_policy: OutboundPolicy,
    /// The client serves a waypoint itself.
    pub is_waypoint: bool,
}

/// The decision for `key`: `bpf/include/kmesh/service.h` `select_backend` does the same. For tables
/// with two choices this is the choice with equal loads.
pub fn select(image: &Image, key: &FrontendKey, circumstances: &Circumstances) -> Selection {
    let address = key.address.ip();
    let whole = FrontendKey::whole_address(address);
    let block = smallest_block(image, address);
    let at = |place: Place| find(image, place, key.protocol, circumstances);
    at(Place::Address(*key))
        .or_else(|| at(Place::Address(whole)))
        .or_else(|| {
            let (port, protocol) = (key.port.get(), key.protocol);
            block.and_then(|block| at(Place::Block { block, port, protocol }))
        })
        .unwrap_or_else(|| unknown(address, circumstances.outbound_policy))
}

fn smallest_block(image: &Image, address: IpAddr) -> Option<AddressBlock> {
    let frontends = image.services.values().flat_map(|service| &service.frontends);
    frontends
        .filter_map(|frontend| match frontend.place {
            Place::Block { block, .. } if block_contains(&block, address) => Some(block),
            _ => None,
        })
        .max_by_key(|block| block.prefix_bits)
}

fn block_contains(block: &AddressBlock, address: IpAddr) -> bool {
    let bits = u32::from(block.prefix_bits);
    match (block.address, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

fn unknown(address: IpAddr, policy: OutboundPolicy) -> Selection {
    match policy {
        OutboundPolicy::RegistryOnly if !is_local(address) => {
            Selection::Refused(Reason::NotInRegistry)
        }
        _ => Selection::Passed(Reason::UnknownDestination),
    }
}

/// Loopback, link-local, multicast and unspecified: never a matter of the registry.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
        }
    }
}

fn find(
    image: &Image,
    place: Place,
    protocol: u8,
    circumstances: &Circumstances,
) -> Option<Selection> {
    let takes_waypoint = protocol == PROTOCOL_TCP && !circumstances.is_waypoint;
    image.services.values().find_map(|service| {
        let frontend = service.frontends.iter().find(|frontend| frontend.place == place)?;
        if let Some(waypoint) = frontend.waypoint.filter(|_| takes_waypoint) {
            return Some(by_waypoint(image, waypoint, circumstances));
        }
        Some(match frontend.action {
            Action::Pass => Selection::Passed(Reason::ServicePassthrough),
            Action::Workload => Selection::Passed(Reason::WorkloadAddress),
            Action::RefusePort => Selection::Refused(Reason::NoServicePort),
            Action::Balance(table) => choose(&service.tables[table], circumstances),
        })
    })
}

fn by_waypoint(image: &Image, waypoint: FrontendKey, circumstances: &Circumstances) -> Selection {
    match find(image, Place::Address(waypoint), PROTOCOL_TCP, circumstances) {
        Some(Selection::Balanced(target)) => Selection::ByWaypoint(target),
        _ => Selection::Refused(Reason::WaypointUnavailable),
    }
}

fn choose(table: &Table, circumstances: &Circumstances) -> Selection {
    let count = table.targets.len();
    if count == 0 {
        return Selection::Refused(Reason::NoEndpoint);
    }
    let scale = |number: u32| ((u64::from(number) * count as u64) >> 32) as usize;
    let index = if table.picking.source == SlotSource::Client as u8 {
        scale(circumstances.client_hash)
    } else if table.picking.source == SlotSource::Cursor as u8 {
        circumstances.cursor as usize % count
    } else {
        scale(circumstances.number)
    };
    Selection::Balanced(table.targets[index])
}
