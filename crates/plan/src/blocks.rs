//! CIDR blocks and their numbers. Several services may name the same block with different ports.

use std::collections::{BTreeMap, BTreeSet};

use abi::pool::Indices;
use abi::{FrontendKey, Network, NetworkKey};
use model::AddressBlock;

use crate::{Place, ServiceImage};

/// Bits that v4-mapping puts before an IPv4 address.
const V4_MAPPED_BITS: u32 = 96;

/// Which block has which number, and how many services use it.
#[derive(Clone, Debug)]
pub struct Blocks {
    ids: Indices,
    used: BTreeMap<NetworkKey, BlockUse>,
}

#[derive(Clone, Copy, Debug)]
struct BlockUse {
    id: u32,
    services: u32,
}

impl Blocks {
    /// No block is named; `networks_max` can be.
    pub fn new(networks_max: u32) -> Self {
        Self { ids: Indices::new(0, networks_max), used: BTreeMap::new() }
    }

    /// A block that the map holds already, in use by nobody yet.
    pub fn recover(&mut self, key: NetworkKey, network: Network) {
        if self.ids.reserve(network.id) {
            self.used.insert(key, BlockUse { id: network.id, services: 0 });
        }
    }

    /// One more service uses the block. Returns its entry when it is new, and `None` as the entry's
    /// number when there is no room.
    pub fn hold(&mut self, block: AddressBlock) -> Option<Held> {
        let key = network_key(block);
        if let Some(used) = self.used.get_mut(&key) {
            used.services += 1;
            return Some(Held::Known);
        }
        let id = self.ids.take()?;
        self.used.insert(key, BlockUse { id, services: 1 });
        Some(Held::Fresh(key, Network { id, reserved: 0 }))
    }

    /// One service fewer uses the block. Returns its entry and number when it was the last.
    pub fn drop(&mut self, block: AddressBlock) -> Option<(NetworkKey, u32)> {
        let key = network_key(block);
        let used = self.used.get_mut(&key)?;
        used.services = used.services.saturating_sub(1);
        if used.services > 0 {
            return None;
        }
        self.used.remove(&key).map(|used| (key, used.id))
    }

    /// Blocks that no service uses, after a recovery.
    pub fn drain_unused(&mut self) -> Vec<(NetworkKey, u32)> {
        let unused: Vec<_> = self
            .used
            .iter()
            .filter(|(_, used)| used.services == 0)
            .map(|(key, used)| (*key, used.id))
            .collect();
        self.used.retain(|_, used| used.services > 0);
        unused
    }

    /// A number may be used again.
    pub fn give(&mut self, id: u32) {
        self.ids.give(id);
    }

    /// Where in `frontends` a place is; `None` for a block that has no number.
    pub fn key(&self, place: &Place) -> Option<FrontendKey> {
        match place {
            Place::Address(key) => Some(*key),
            Place::Block { block, port, protocol } => {
                let id = self.used.get(&network_key(*block))?.id;
                Some(FrontendKey::port(Network::address(id).into(), *port, *protocol))
            }
        }
    }

    /// How many blocks are named.
    pub fn count(&self) -> usize {
        self.used.len()
    }
}

/// What [`Blocks::hold`] found.
pub enum Held {
    /// The block has a number already.
    Known,
    /// It got one now: the entry to write.
    Fresh(NetworkKey, Network),
}

/// The blocks that a service names.
pub fn blocks_of(image: &ServiceImage) -> BTreeSet<AddressBlock> {
    let places = image.frontends.iter().map(|frontend| frontend.place);
    places
        .filter_map(|place| match place {
            Place::Block { block, .. } => Some(block),
            Place::Address(_) => None,
        })
        .collect()
}

fn network_key(block: AddressBlock) -> NetworkKey {
    let mapped = if block.address.is_ipv4() { V4_MAPPED_BITS } else { 0 };
    NetworkKey { prefix_bits: u32::from(block.prefix_bits) + mapped, address: block.address.into() }
}
