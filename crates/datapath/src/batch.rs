//! Many entries of a hash map by one system call.

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use zerocopy::{Immutable, IntoBytes};

use crate::Result;
use crate::maps::{entry_error, removed};

/// A hash map, and what its entries are called in messages.
pub(crate) struct Batch<'a, K> {
    pub name: &'static str,
    pub map: &'a MapHandle,
    pub describe: fn(&K) -> String,
}

impl<K: IntoBytes + Immutable> Batch<'_, K> {
    /// Adds or changes entries.
    pub fn put<V: IntoBytes + Immutable>(&self, entries: &[(K, V)]) -> Result<()> {
        let Some((first, _)) = entries.first() else { return Ok(()) };
        let keys: Vec<u8> = entries.iter().flat_map(|(key, _)| key.as_bytes()).copied().collect();
        let values: Vec<u8> =
            entries.iter().flat_map(|(_, value)| value.as_bytes()).copied().collect();
        let count = entries.len() as u32;
        let what = || format!("{} and {} more", (self.describe)(first), count - 1);
        let put = self.map.update_batch(&keys, &values, count, MapFlags::ANY, MapFlags::ANY);
        put.map_err(|error| entry_error(self.name, what())(error))
    }

    /// Removes entries, as far as they are there.
    pub fn remove(&self, keys: &[K]) -> Result<()> {
        let bytes: Vec<u8> = keys.iter().flat_map(IntoBytes::as_bytes).copied().collect();
        let count = keys.len() as u32;
        match self.map.delete_batch(&bytes, count, MapFlags::ANY, MapFlags::ANY) {
            // The batch ends at an entry that is gone already: a daemon that died has done it.
            Err(e) if e.kind() == libbpf_rs::ErrorKind::NotFound => self.remove_each(keys),
            other => other.map_err(entry_error(self.name, format!("{count} to remove"))),
        }
    }

    fn remove_each(&self, keys: &[K]) -> Result<()> {
        for key in keys {
            removed(self.map.delete(key.as_bytes()))
                .map_err(|error| entry_error(self.name, (self.describe)(key))(error))?;
        }
        Ok(())
    }
}
