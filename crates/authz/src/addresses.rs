//! What a map of addresses should hold: who claims each address, which of them have room, and what
//! was written.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use abi::IpAddress;
use model::WorkloadName;

/// A workload that has an address, and what that means.
pub(crate) type Claim<T> = (Arc<WorkloadName>, T);

/// Addresses, what their claims are, and the value that was written for each.
#[derive(Debug)]
pub(crate) struct Addresses<T, V> {
    /// Entries that there is room for.
    max: usize,
    claims: HashMap<IpAddress, Vec<Claim<T>>>,
    /// Addresses without room.
    waiting: BTreeSet<IpAddress>,
    /// Addresses whose value may be another now.
    touched: BTreeSet<IpAddress>,
    /// Addresses whose claims do not mean the same.
    disputed: BTreeSet<IpAddress>,
    written: HashMap<IpAddress, V>,
}

/// The difference to what was written.
#[derive(Debug)]
pub(crate) struct Flips<V> {
    pub(crate) set: Vec<(IpAddress, V)>,
    pub(crate) removed: Vec<IpAddress>,
}

// === impl Addresses ===

impl<T: PartialEq, V: PartialEq + Copy> Addresses<T, V> {
    /// A map of `max` entries, of which one is not for claims.
    pub(crate) fn new(max: u32, written: HashMap<IpAddress, V>) -> Self {
        Self {
            max: max.saturating_sub(1) as usize,
            claims: HashMap::new(),
            waiting: BTreeSet::new(),
            touched: written.keys().copied().collect(),
            disputed: BTreeSet::new(),
            written,
        }
    }

    /// A workload has an address.
    pub(crate) fn claim(&mut self, address: IpAddress, name: &Arc<WorkloadName>, means: T) {
        let is_full = self.claims.len() - self.waiting.len() >= self.max;
        let claims = self.claims.entry(address).or_default();
        if claims.is_empty() && is_full {
            self.waiting.insert(address);
        }
        claims.push((name.clone(), means));
        self.touched.insert(address);
    }

    /// It has it no more. Returns what that meant.
    pub(crate) fn withdraw(&mut self, address: IpAddress, name: &WorkloadName) -> Option<T> {
        let claims = self.claims.get_mut(&address)?;
        let at = claims.iter().position(|(other, _)| **other == *name)?;
        let (_, means) = claims.swap_remove(at);
        if claims.is_empty() {
            self.claims.remove(&address);
            if !self.waiting.remove(&address) {
                self.touched.extend(self.waiting.pop_first());
            }
        }
        self.touched.insert(address);
        Some(means)
    }

    /// The value of an address may be another.
    pub(crate) fn touch(&mut self, address: IpAddress) {
        self.touched.insert(address);
    }

    /// Who claims an address.
    pub(crate) fn claims(&self, address: IpAddress) -> &[Claim<T>] {
        self.claims.get(&address).map(Vec::as_slice).unwrap_or_default()
    }

    /// Addresses that have no room.
    pub(crate) fn waiting(&self) -> &BTreeSet<IpAddress> {
        &self.waiting
    }

    /// Addresses that several claim, who do not mean the same.
    pub(crate) fn disputed(&self) -> &BTreeSet<IpAddress> {
        &self.disputed
    }

    /// What was written for an address.
    pub(crate) fn written(&self, address: IpAddress) -> Option<V> {
        self.written.get(&address).copied()
    }

    /// All that was written.
    pub(crate) fn all_written(&self) -> impl Iterator<Item = (IpAddress, &V)> {
        self.written.iter().map(|(address, value)| (*address, value))
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> usize {
        self.written.len()
    }

    /// What must be written, where `value` tells what an address should say.
    pub(crate) fn settle(
        &mut self,
        mut value: impl FnMut(IpAddress, &[Claim<T>]) -> Option<V>,
    ) -> Flips<V> {
        let mut flips = Flips { set: Vec::new(), removed: Vec::new() };
        for address in std::mem::take(&mut self.touched) {
            let claims = self.claims.get(&address).map(Vec::as_slice).unwrap_or_default();
            let has_room = !self.waiting.contains(&address);
            match agree(claims) {
                true => self.disputed.remove(&address),
                false => self.disputed.insert(address),
            };
            match value(address, claims).filter(|_| has_room) {
                Some(wanted) if self.written.get(&address) != Some(&wanted) => {
                    self.written.insert(address, wanted);
                    flips.set.push((address, wanted));
                }
                Some(_) => {}
                None if self.written.remove(&address).is_some() => flips.removed.push(address),
                None => {}
            }
        }
        flips
    }
}

/// Do all claims mean the same?
pub(crate) fn agree<T: PartialEq>(claims: &[Claim<T>]) -> bool {
    claims.windows(2).all(|pair| pair[0].1 == pair[1].1)
}
