//! Addresses for hosts that have none, as Istio allocates them
//! (<https://istio.io/latest/docs/ops/configuration/traffic-management/dns-proxy/#address-auto-allocation>).
//!
//! The address is a function of the names of the object and the host, so that it is the same on every
//! node and after a restart. Only where two functions meet does it matter who came first: who has an
//! address keeps it as long as the host is in force.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::ObjectKey;

/// The first address of 240.240.0.0/16.
const IPV4_FIRST: u32 = u32::from_be_bytes([240, 240, 0, 0]);
/// How many of them are allocated: all but the first and the last.
const IPV4_COUNT: u32 = (1 << 16) - 2;
/// The first address of 2001:2::/48.
const IPV6_FIRST: u128 = 0x2001_0002 << 96;
/// The bits of an address of that block that are free.
const IPV6_MASK: u128 = (1 << 80) - 1;
/// How many IPv6 addresses are tried; a second one is hardly ever needed.
const IPV6_TRIES: u128 = 1024;

/// An address of each family.
pub(crate) type Vip = [IpAddr; 2];

/// The addresses of all hosts.
#[derive(Debug, Default)]
pub(super) struct Vips {
    by_owner: HashMap<Arc<ObjectKey>, BTreeMap<String, Vip>>,
}

// === impl Vips ===

impl Vips {
    pub(super) fn get(&self, owner: &ObjectKey, host: &str) -> Option<Vip> {
        self.by_owner.get(owner)?.get(host).copied()
    }

    /// The hosts of an object, with the address of each.
    pub(super) fn of(&self, owner: &ObjectKey) -> impl Iterator<Item = (&String, &Vip)> {
        self.by_owner.get(owner).into_iter().flatten()
    }

    /// Takes an address for a host that has none; none when there is no free one.
    pub(super) fn allocate(
        &mut self,
        owner: &Arc<ObjectKey>,
        host: &str,
        is_free: impl Fn(IpAddr) -> bool,
    ) -> Option<Vip> {
        let hash = hash(owner, host);
        let v4 = ipv4_candidates(hash).find(|address| is_free(*address))?;
        let v6 = ipv6_candidates(hash).find(|address| is_free(*address))?;
        let hosts = self.by_owner.entry(owner.clone()).or_default();
        hosts.insert(host.to_owned(), [v4, v6]);
        Some([v4, v6])
    }

    /// The host is not in force any more.
    pub(super) fn release(&mut self, owner: &ObjectKey, host: &str) {
        let Some(hosts) = self.by_owner.get_mut(owner) else { return };
        hosts.remove(host);
        if hosts.is_empty() {
            self.by_owner.remove(owner);
        }
    }
}

fn ipv4_candidates(hash: u128) -> impl Iterator<Item = IpAddr> {
    let start = (hash % u128::from(IPV4_COUNT)) as u32;
    (0..IPV4_COUNT).map(move |step| {
        let offset = 1 + (start + step) % IPV4_COUNT;
        IpAddr::V4(Ipv4Addr::from(IPV4_FIRST + offset))
    })
}

fn ipv6_candidates(hash: u128) -> impl Iterator<Item = IpAddr> {
    (0..IPV6_TRIES).map(move |step| {
        let offset = hash.wrapping_add(step) & IPV6_MASK;
        // The first address of the block is nobody's.
        IpAddr::V6(Ipv6Addr::from(IPV6_FIRST | offset.max(1)))
    })
}

/// FNV-1a of 128 bits: no secret, and the same for ever. What the last bytes do to the low bits is
/// little, so the halves are folded.
fn hash(owner: &ObjectKey, host: &str) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let parts = [owner.namespace.as_str(), owner.name.as_str(), host];
    // No name contains a slash.
    let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([b'/']));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    hash ^ (hash >> 64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Kind;

    fn owner(name: &str) -> Arc<ObjectKey> {
        let (namespace, name) = ("shop".to_owned(), name.to_owned());
        Arc::new(ObjectKey { kind: Kind::ServiceEntry, namespace, name })
    }

    #[test]
    fn the_same_for_ever() {
        let mut vips = Vips::default();
        let vip = vips.allocate(&owner("a"), "a.example.com", |_| true).unwrap();
        let text = vip.map(|address| address.to_string());
        assert_eq!(text, ["240.240.177.46", "2001:2:0:b200:1d10:abff:a7b2:3da3"]);
    }

    #[test]
    fn thousands_are_spread_over_the_blocks() {
        let mut vips = Vips::default();
        let mut taken = HashSet::new();
        let mut moved = 0;
        for number in 0..10_000 {
            let host = format!("host-{number}.example.com");
            let owner = owner("a");
            let first = ipv4_candidates(hash(&owner, &host)).next();
            let vip = vips.allocate(&owner, &host, |address| !taken.contains(&address)).unwrap();
            assert!(vip.iter().all(|address| taken.insert(*address)));
            assert!(vip[0].to_string().starts_with("240.240."));
            assert!(vip[1].to_string().starts_with("2001:2:0:"));
            moved += usize::from(first != Some(vip[0]));
        }
        // 10 000 balls into 65 534 boxes: some 7 % meet another.
        assert!((500..1000).contains(&moved), "{moved}");
    }

    #[test]
    fn the_last_free_one_is_found() {
        let mut vips = Vips::default();
        let last = IpAddr::V4(Ipv4Addr::new(240, 240, 255, 254));
        let is_free = |address: IpAddr| address.is_ipv6() || address == last;
        assert_eq!(vips.allocate(&owner("a"), "a", is_free).unwrap()[0], last);
        assert_eq!(vips.allocate(&owner("b"), "b", |address| address.is_ipv6()), None);
        assert_eq!(vips.get(&owner("a"), "a").unwrap()[0], last);
        vips.release(&owner("a"), "a");
        assert_eq!(vips.get(&owner("a"), "a"), None);
    }
}
