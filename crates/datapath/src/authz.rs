//! The maps that connections are judged by: what `authz` asks for, what they hold, what they counted.

use std::collections::BTreeSet;
use std::mem::discriminant;

use abi::authz::{
    AuthzBlockKey, AuthzCount, AuthzDestination, AuthzRow, AuthzRowKey, AuthzSet, AuthzSource,
    Change, Contents,
};
use abi::limits::Limits;
use abi::{IpAddress, Settings};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::batch::Batch;
use crate::mapped::WindowedArray;
use crate::maps::{entries, entry_error, handle, lookup, removed};
use crate::skeleton::KmeshMaps;
use crate::{Maps, Result};

/// Handles of these maps, beside the others.
pub(crate) struct AuthzMaps {
    pub sources: MapHandle,
    pub destinations: MapHandle,
    pub rows: MapHandle,
    pub blocks: MapHandle,
    pub sets: WindowedArray<AuthzSet>,
    pub words: WindowedArray<u64>,
    /// An entry of an array takes eight bytes; a term is in the low four.
    pub terms: WindowedArray<u64>,
    pub counts: MapHandle,
}

// === impl AuthzMaps ===

impl AuthzMaps {
    pub(crate) fn new(maps: &KmeshMaps<'_>, limits: &Limits) -> Result<Self> {
        Ok(Self {
            sets: array("authz_sets", &maps.authz_sets, limits.authz_sets_max)?,
            words: array("authz_words", &maps.authz_words, limits.authz_words_max)?,
            terms: array("authz_terms", &maps.authz_terms, limits.authz_terms_max)?,
            sources: handle("authz_sources", &maps.authz_sources)?,
            destinations: handle("authz_destinations", &maps.authz_destinations)?,
            rows: handle("authz_rows", &maps.authz_rows)?,
            blocks: handle("authz_blocks", &maps.authz_blocks)?,
            counts: handle("authz_counts", &maps.authz_counts)?,
        })
    }

    fn source_batch(&self) -> Batch<'_, IpAddress> {
        Batch { name: "authz_sources", map: &self.sources, describe: address_text }
    }

    fn destination_batch(&self) -> Batch<'_, IpAddress> {
        Batch { name: "authz_destinations", map: &self.destinations, describe: address_text }
    }

    fn row_batch(&self) -> Batch<'_, AuthzRowKey> {
        Batch { name: "authz_rows", map: &self.rows, describe: AuthzRowKey::to_string }
    }

    /// Applies changes that are all of the kind of the first.
    fn apply_alike(&self, changes: &[Change]) -> Result<()> {
        match changes.first() {
            Some(Change::Source { .. }) => self.source_batch().put(&sources(changes)),
            Some(Change::RemoveSource { .. }) => self.source_batch().remove(&addresses(changes)),
            Some(Change::Destination { .. }) => {
                self.destination_batch().put(&destinations(changes))
            }
            Some(Change::RemoveDestination { .. }) => {
                self.destination_batch().remove(&addresses(changes))
            }
            Some(Change::Row { .. }) => self.row_batch().put(&rows(changes)),
            Some(Change::RemoveRow { .. }) => self.row_batch().remove(&row_keys(changes)),
            _ => changes.iter().try_for_each(|change| self.apply_one(change)),
        }
    }

    fn apply_one(&self, change: &Change) -> Result<()> {
        match change {
            Change::Words { first, words } => self.words.write_run(*first, words),
            Change::Terms { first, terms } => {
                let terms: Vec<u64> = terms.iter().copied().map(u64::from).collect();
                self.terms.write_run(*first, &terms)
            }
            Change::Set { index, value } => self.sets.write(*index, value),
            Change::Block { key, value } => self
                .blocks
                .update(key.as_bytes(), value.as_bytes(), MapFlags::ANY)
                .map_err(entry_error("authz_blocks", key)),
            Change::RemoveBlock { key } => removed(self.blocks.delete(key.as_bytes()))
                .map(drop)
                .map_err(entry_error("authz_blocks", key)),
            Change::ResetCount { policy } => self.reset_count(*policy),
            // In batches, or a setting.
            _ => Ok(()),
        }
    }

    fn reset_count(&self, policy: u32) -> Result<()> {
        let failed = |error| entry_error("authz_counts", policy)(error);
        let cpus = libbpf_rs::num_possible_cpus().map_err(failed)?;
        let zero = vec![AuthzCount::default().as_bytes().to_vec(); cpus];
        let counts = &self.counts;
        counts.update_percpu(policy.as_bytes(), &zero, MapFlags::ANY).map_err(failed)
    }

    /// The sets that destinations name; one that is outside the map is left out.
    fn sets_of(&self, destinations: &[(IpAddress, AuthzDestination)]) -> Vec<(u32, AuthzSet)> {
        let named: BTreeSet<u32> = destinations.iter().map(|(_, value)| value.set).collect();
        named.into_iter().filter_map(|index| Some((index, self.sets.read(index).ok()?))).collect()
    }

    fn read_blocks(&self) -> Vec<(AuthzBlockKey, AuthzRow)> {
        let entry = |key: Vec<u8>| {
            let key = AuthzBlockKey::read_from_bytes(&key).ok()?;
            Some((key, lookup(&self.blocks, &key).ok()??))
        };
        self.blocks.keys().filter_map(entry).collect()
    }
}

// === impl Maps ===

impl Maps {
    /// Applies changes in order; neighbours that are alike go in batches.
    ///
    /// # Errors
    /// The first change that fails, by its entry. Those before it are in force.
    pub fn apply_authz(&self, changes: &[Change]) -> Result<()> {
        for alike in changes.chunk_by(|a, b| discriminant(a) == discriminant(b)) {
            for batch in alike.chunks(self.batch_entries as usize) {
                self.authz.apply_alike(batch)?;
            }
            if let Some(Change::Active(on)) = alike.last() {
                self.set_flag(Settings::AUTHZ, *on)?;
            }
        }
        Ok(())
    }

    /// Reads back what the maps hold.
    ///
    /// # Errors
    /// When the kernel refuses a read.
    pub fn authz_contents(&self) -> Result<Contents> {
        let maps = &self.authz;
        let destinations = typed("authz_destinations", &maps.destinations)?;
        Ok(Contents {
            sources: typed("authz_sources", &maps.sources)?,
            sets: maps.sets_of(&destinations),
            destinations,
            rows: typed("authz_rows", &maps.rows)?,
            blocks: maps.read_blocks(),
        })
    }

    /// What a policy did, over all CPUs, since [`Change::ResetCount`].
    ///
    /// # Errors
    /// When the index is outside the map, or the kernel refuses a read.
    pub fn authz_count(&self, policy: u32) -> Result<AuthzCount> {
        let values = self
            .authz
            .counts
            .lookup_percpu(policy.as_bytes(), MapFlags::ANY)
            .map_err(entry_error("authz_counts", policy))?
            .unwrap_or_default();
        let each = values.iter().filter_map(|value| AuthzCount::read_from_bytes(value).ok());
        Ok(each.fold(AuthzCount::default(), |sum, count| AuthzCount {
            allowed: sum.allowed + count.allowed,
            denied: sum.denied + count.denied,
            dry_run: sum.dry_run + count.dry_run,
        }))
    }

    /// True while connections are judged.
    ///
    /// # Errors
    /// Never, unless the map is of another size.
    pub fn authz_is_active(&self) -> Result<bool> {
        Ok(self.settings()?.flags & Settings::AUTHZ != 0)
    }

    /// Addresses whose owner is known, addresses that connections are judged to, and rows, now.
    ///
    /// # Errors
    /// When the kernel refuses a read.
    pub fn authz_fill(&self) -> Result<[(&'static str, usize); 4]> {
        let maps = &self.authz;
        Ok([
            ("authz_sources", entries("authz_sources", &maps.sources)?.count()),
            ("authz_destinations", entries("authz_destinations", &maps.destinations)?.count()),
            ("authz_rows", entries("authz_rows", &maps.rows)?.count()),
            ("authz_blocks", maps.blocks.keys().count()),
        ])
    }
}

fn array<T: FromBytes + IntoBytes + Immutable>(
    name: &'static str,
    map: &libbpf_rs::MapMut<'_>,
    entries_max: u32,
) -> Result<WindowedArray<T>> {
    Ok(WindowedArray::new(name, handle(name, map)?, entries_max))
}

fn address_text(address: &IpAddress) -> String {
    address.ip().to_string()
}

fn sources(changes: &[Change]) -> Vec<(IpAddress, AuthzSource)> {
    let entry = |change: &Change| match change {
        Change::Source { address, value } => Some((*address, *value)),
        _ => None,
    };
    changes.iter().filter_map(entry).collect()
}

fn destinations(changes: &[Change]) -> Vec<(IpAddress, AuthzDestination)> {
    let entry = |change: &Change| match change {
        Change::Destination { address, value } => Some((*address, *value)),
        _ => None,
    };
    changes.iter().filter_map(entry).collect()
}

fn addresses(changes: &[Change]) -> Vec<IpAddress> {
    let address = |change: &Change| match change {
        Change::RemoveSource { address } | Change::RemoveDestination { address } => Some(*address),
        _ => None,
    };
    changes.iter().filter_map(address).collect()
}

fn rows(changes: &[Change]) -> Vec<(AuthzRowKey, AuthzRow)> {
    let entry = |change: &Change| match change {
        Change::Row { key, value } => Some((*key, *value)),
        _ => None,
    };
    changes.iter().filter_map(entry).collect()
}

fn row_keys(changes: &[Change]) -> Vec<AuthzRowKey> {
    let key = |change: &Change| match change {
        Change::RemoveRow { key } => Some(*key),
        _ => None,
    };
    changes.iter().filter_map(key).collect()
}

/// All entries of a hash map.
fn typed<K: FromBytes, V: FromBytes>(name: &'static str, map: &MapHandle) -> Result<Vec<(K, V)>> {
    let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
        Some((K::read_from_bytes(&key).ok()?, V::read_from_bytes(&value).ok()?))
    };
    Ok(entries(name, map)?.filter_map(entry).collect())
}
