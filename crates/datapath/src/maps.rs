//! Typed handles to the maps: applying writes, reading them back, enrolment and counters.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use abi::limits::Limits;
use abi::{
    Backend, Contents, Enrolment, Extent, Frontend, FrontendKey, Network, NetworkKey, Reason,
    Settings, Slot, SlotTable, SocketMeta, Write,
};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::authz::AuthzMaps;
use crate::batch::Batch;
use crate::mapped::MappedArray;
use crate::skeleton::KmeshMaps;
use crate::{Error, Result};

/// The maps of one loaded object. Owned handles: they live on when the object is gone.
pub struct Maps {
    pub(crate) enrolments: MapHandle,
    pub(crate) frontends: MapHandle,
    pub(crate) tables_map: MapHandle,
    pub(crate) slots_map: MapHandle,
    pub(crate) backends_map: MapHandle,
    pub(crate) sockets: MapHandle,
    pub(crate) udp_flows: MapHandle,
    pub(crate) affinities: MapHandle,
    pub(crate) cursors: MapHandle,
    pub(crate) loads: MapHandle,
    pub(crate) networks: MapHandle,
    pub(crate) resolvers: MapHandle,
    pub(crate) settings_map: MapHandle,
    pub(crate) events: MapHandle,
    pub(crate) waypoint_sockets: MapHandle,
    pub(crate) header_sink: MapHandle,
    pub(crate) header_waits: MapHandle,
    pub(crate) counters: MapHandle,
    tables: MappedArray<SlotTable>,
    slots: MappedArray<Slot>,
    backends: MappedArray<Backend>,
    pub(crate) settings: MappedArray<Settings>,
    pub(crate) authz: AuthzMaps,
    /// Held to change one half of the word that flags and header sender share.
    settings_writer: Mutex<()>,
    /// Entries of one writing system call.
    pub(crate) batch_entries: u32,
}

pub(crate) fn handle(name: &'static str, map: &libbpf_rs::MapMut<'_>) -> Result<MapHandle> {
    MapHandle::try_from(map).map_err(entry_error(name, "its handle"))
}

pub(crate) fn entry_error(
    map: &'static str,
    entry: impl ToString,
) -> impl FnOnce(libbpf_rs::Error) -> Error {
    let entry = entry.to_string();
    move |source| Error::Map { map, entry, source: source.into() }
}

impl Maps {
    pub(crate) fn new(maps: &KmeshMaps<'_>, limits: &Limits) -> Result<Self> {
        let tables_map = handle("tables", &maps.tables)?;
        let slots_map = handle("slots", &maps.slots)?;
        let backends_map = handle("backends", &maps.backends)?;
        let settings_map = handle("settings", &maps.settings)?;
        Ok(Self {
            settings: MappedArray::new("settings", settings_map.as_fd(), 1)?,
            tables: MappedArray::new("tables", tables_map.as_fd(), limits.tables_max)?,
            slots: MappedArray::new("slots", slots_map.as_fd(), limits.slots_max)?,
            backends: MappedArray::new("backends", backends_map.as_fd(), limits.backends_max)?,
            tables_map,
            slots_map,
            backends_map,
            enrolments: handle("enrolments", &maps.enrolments)?,
            frontends: handle("frontends", &maps.frontends)?,
            sockets: handle("sockets", &maps.sockets)?,
            udp_flows: handle("udp_flows", &maps.udp_flows)?,
            affinities: handle("affinities", &maps.affinities)?,
            cursors: handle("cursors", &maps.cursors)?,
            loads: handle("loads", &maps.loads)?,
            networks: handle("networks", &maps.networks)?,
            resolvers: handle("resolvers", &maps.resolvers)?,
            settings_map,
            events: handle("events", &maps.events)?,
            waypoint_sockets: handle("waypoint_sockets", &maps.waypoint_sockets)?,
            header_sink: handle("header_sink", &maps.header_sink)?,
            header_waits: handle("header_waits", &maps.header_waits)?,
            counters: handle("counters", &maps.counters)?,
            authz: AuthzMaps::new(maps, limits)?,
            settings_writer: Mutex::default(),
            batch_entries: limits.map_batch_entries,
        })
    }

    /// Applies `writes` in order; neighbouring frontends go in batches.
    ///
    /// # Errors
    /// The first write that fails, by its entry. Those before it are in force, which is a state
    /// that `plan` can go on from: no table is ever half written.
    pub fn apply(&self, writes: &[Write]) -> Result<()> {
        let mut rest = writes;
        while let Some(first) = rest.first() {
            let run = match first {
                Write::Frontend { .. } => {
                    self.run_of(rest, |w| matches!(w, Write::Frontend { .. }))
                }
                Write::RemoveFrontend { .. } => {
                    self.run_of(rest, |w| matches!(w, Write::RemoveFrontend { .. }))
                }
                _ => 1,
            };
            let (now, later) = rest.split_at(run);
            match first {
                Write::Frontend { .. } => self.put_frontends(now)?,
                Write::RemoveFrontend { .. } => self.remove_frontends(now)?,
                write => self.apply_one(write)?,
            }
            rest = later;
        }
        Ok(())
    }

    fn apply_one(&self, write: &Write) -> Result<()> {
        match write {
            Write::Backend { index, value } => self.backends.write(*index, value),
            Write::Slots { first, slots } => self.slots.write_run(*first, slots),
            // How a slot is picked first: any way of picking works on any run of slots.
            Write::Table { index, extent, picking } => {
                self.tables.write_after_first_word(*index, picking)?;
                let table = SlotTable { extent: (*extent).into(), ..*picking };
                self.tables.write_first_word(*index, &table)
            }
            Write::Network { key, value } => self
                .networks
                .update(key.as_bytes(), value.as_bytes(), MapFlags::ANY)
                .map_err(entry_error("networks", key)),
            Write::RemoveNetwork { key } => removed(self.networks.delete(key.as_bytes()))
                .map(drop)
                .map_err(entry_error("networks", key)),
            Write::Frontend { .. } | Write::RemoveFrontend { .. } => Ok(()),
        }
    }

    fn put_frontends(&self, writes: &[Write]) -> Result<()> {
        let entry = |write: &Write| match write {
            Write::Frontend { key, value } => Some((*key, *value)),
            _ => None,
        };
        let entries: Vec<_> = writes.iter().filter_map(entry).collect();
        self.frontend_batch().put(&entries)
    }

    fn remove_frontends(&self, writes: &[Write]) -> Result<()> {
        let key = |write: &Write| match write {
            Write::RemoveFrontend { key } => Some(*key),
            _ => None,
        };
        let keys: Vec<_> = writes.iter().filter_map(key).collect();
        self.frontend_batch().remove(&keys)
    }

    fn frontend_batch(&self) -> Batch<'_, FrontendKey> {
        Batch { name: "frontends", map: &self.frontends, describe: FrontendKey::to_string }
    }

    /// Length of the run of writes at the front that are alike, within a batch.
    fn run_of(&self, writes: &[Write], alike: impl Fn(&Write) -> bool) -> usize {
        let batch = self.batch_entries as usize;
        writes.iter().take(batch).take_while(|write| alike(write)).count()
    }

    /// Reads back what the maps hold, as far as frontends reach it. Entries that point outside a
    /// map are left out: `plan` writes them anew.
    ///
    /// # Errors
    /// When the kernel refuses a read.
    pub fn contents(&self) -> Result<Contents> {
        let mut contents = Contents {
            frontends: self.read_frontends()?,
            networks: self.read_networks(),
            ..Contents::default()
        };
        let named: BTreeSet<u32> = contents
            .frontends
            .iter()
            .flat_map(|(_, frontend)| {
                let table = (frontend.action == Frontend::BALANCE).then_some(frontend.table);
                table.into_iter().chain(frontend.waypoint.checked_sub(1))
            })
            .filter(|table| *table < self.tables.entries_max())
            .collect();
        let mut backends = BTreeSet::new();
        for table in named {
            let value = self.tables.read(table)?;
            let extent = Extent::from(value.extent);
            let end = u64::from(extent.first) + u64::from(extent.count);
            if end > u64::from(self.slots.entries_max()) {
                continue;
            }
            contents.tables.push((table, value));
            for index in extent.first..end as u32 {
                let slot = self.slots.read(index)?;
                contents.slots.push((index, slot));
                backends.insert(slot.backend);
            }
        }
        for index in backends.into_iter().filter(|index| *index < self.backends.entries_max()) {
            let backend = self.backends.read(index)?;
            if backend.flags & Backend::LIVE != 0 {
                contents.backends.push((index, backend));
            }
        }
        Ok(contents)
    }

    /// What the map says at a frontend.
    ///
    /// # Errors
    /// When the kernel refuses a read.
    pub fn frontend(&self, key: &FrontendKey) -> Result<Option<Frontend>> {
        lookup(&self.frontends, key).map_err(entry_error("frontends", key))
    }

    /// The smallest CIDR block around an address.
    ///
    /// # Errors
    /// When the kernel refuses a read.
    pub fn network(&self, address: IpAddr) -> Result<Option<Network>> {
        let key = NetworkKey { prefix_bits: 128, address: address.into() };
        lookup(&self.networks, &key).map_err(entry_error("networks", key))
    }

    /// A namespace's enrolment.
    ///
    /// # Errors
    /// When the kernel refuses a read.
    pub fn enrolment(&self, netns_cookie: u64) -> Result<Option<Enrolment>> {
        lookup(&self.enrolments, &netns_cookie).map_err(entry_error("enrolments", netns_cookie))
    }

    /// A table.
    ///
    /// # Errors
    /// When the index is outside the map.
    pub fn table(&self, index: u32) -> Result<SlotTable> {
        self.tables.read(index)
    }

    /// Where a slot leads: its backend and port; no address when the backend is not live.
    ///
    /// # Errors
    /// When an index is outside its map.
    pub fn slot(&self, index: u32) -> Result<(Option<IpAddr>, u16)> {
        let slot = self.slots.read(index)?;
        let backend = self.backends.read(slot.backend)?;
        let live = backend.flags & Backend::LIVE != 0;
        Ok((live.then(|| backend.address.ip()), slot.port.get()))
    }

    /// What holds for the whole node.
    ///
    /// # Errors
    /// Never, unless the map is of another size.
    pub fn settings(&self) -> Result<Settings> {
        self.settings.read(0)
    }

    fn read_frontends(&self) -> Result<Vec<(FrontendKey, Frontend)>> {
        Ok(entries("frontends", &self.frontends)?
            .filter_map(|(key, value)| {
                let key = FrontendKey::read_from_bytes(&key).ok()?;
                Some((key, Frontend::read_from_bytes(&value).ok()?))
            })
            .collect())
    }

    fn read_networks(&self) -> Vec<(NetworkKey, Network)> {
        let entry = |key: Vec<u8>| {
            let key = NetworkKey::read_from_bytes(&key).ok()?;
            Some((key, lookup(&self.networks, &key).ok()??))
        };
        self.networks.keys().filter_map(entry).collect()
    }

    /// Sets or clears one flag that holds for the whole node ([`Settings`]).
    ///
    /// # Errors
    /// Never, unless the map is of another size.
    pub fn set_flag(&self, flag: u32, on: bool) -> Result<()> {
        let _writer = self.settings_writer.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = self.settings.read(0)?;
        let flags = if on { settings.flags | flag } else { settings.flags & !flag };
        self.settings.write_first_word(0, &Settings { flags, ..settings })
    }

    /// Names the thread that sends headers for silent clients; 0 for none.
    pub(crate) fn set_header_sender(&self, thread: u32) -> Result<()> {
        let _writer = self.settings_writer.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = Settings { header_sender: thread, ..self.settings.read(0)? };
        self.settings.write_first_word(0, &settings)
    }

    /// Names the socket that the header sender is at work on, by its cookie; 0 for none.
    pub(crate) fn claim_header(&self, socket_cookie: u64) -> Result<()> {
        self.settings.write_word(0, std::mem::offset_of!(Settings, header_claim) / 8, socket_cookie)
    }

    /// Headers that come too late go to `socket`, until it is closed.
    pub(crate) fn set_header_sink(&self, socket: BorrowedFd<'_>) -> Result<()> {
        let value = socket.as_raw_fd() as u64;
        self.header_sink
            .update(0_u32.as_bytes(), value.as_bytes(), MapFlags::ANY)
            .map_err(entry_error("header_sink", 0))
    }

    /// What is remembered of a socket, by its key in the map.
    pub(crate) fn socket(&self, key: u64) -> Result<Option<SocketMeta>> {
        lookup(&self.sockets, &key).map_err(entry_error("sockets", key))
    }

    /// What is remembered of all sockets.
    pub(crate) fn remembered_sockets(&self) -> Result<Vec<SocketMeta>> {
        let meta = |(_, value): (Vec<u8>, Vec<u8>)| SocketMeta::read_from_bytes(&value).ok();
        Ok(entries("sockets", &self.sockets)?.filter_map(meta).collect())
    }

    /// Puts a network namespace into the mesh. `client_hash` stands for it in consistent
    /// hashing, `flags` are those of [`Enrolment`].
    ///
    /// # Errors
    /// When the map is full (`enrolments_max`) or the kernel refuses.
    pub fn enrol(&self, netns_cookie: u64, client_hash: u32, flags: u32) -> Result<()> {
        let value = Enrolment { client_hash, flags, ..Enrolment::default() };
        self.enrolments
            .update(netns_cookie.as_bytes(), value.as_bytes(), MapFlags::ANY)
            .map_err(entry_error("enrolments", netns_cookie))
    }

    /// Takes a network namespace out of the mesh; false when it was not in it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unenrol(&self, netns_cookie: u64) -> Result<bool> {
        removed(self.enrolments.delete(netns_cookie.as_bytes()))
            .map_err(entry_error("enrolments", netns_cookie))
    }

    /// Cookies of all enrolled network namespaces.
    pub fn enrolled(&self) -> BTreeSet<u64> {
        self.enrolments.keys().filter_map(|key| u64::read_from_bytes(&key).ok()).collect()
    }

    /// Copies from the map at `pin` what its successor lacks. Only what no configuration says: who is
    /// enrolled, and where datagrams went.
    ///
    /// # Errors
    /// When an entry does not fit, or the kernel refuses.
    pub(crate) fn carry_over(&self, name: &str, pin: &Path) -> Result<()> {
        let (name, successor) = match name {
            "enrolments" => ("enrolments", &self.enrolments),
            "udp_flows" => ("udp_flows", &self.udp_flows),
            "affinities" => ("affinities", &self.affinities),
            _ => return Ok(()),
        };
        let before = MapHandle::from_pinned_path(pin).map_err(entry_error(name, pin.display()))?;
        if name == "enrolments" {
            self.require_room(before.keys().count())?;
        }
        for (key, value) in entries(name, &before)? {
            match successor.update(&key, &value, MapFlags::NO_EXIST) {
                Err(e) if e.kind() == libbpf_rs::ErrorKind::AlreadyExists => {}
                other => other.map_err(entry_error(name, "an entry of the map before it"))?,
            }
        }
        Ok(())
    }

    /// How many network namespaces can be enrolled.
    pub fn enrolments_max(&self) -> usize {
        self.enrolments.max_entries() as usize
    }

    /// Checks that so many network namespaces can be enrolled: the map itself would only say E2BIG.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn require_room(&self, enrolled: usize) -> Result<()> {
        let entries_max = self.enrolments.max_entries();
        if enrolled > entries_max as usize {
            return Err(Error::TooSmall { enrolled, entries_max });
        }
        Ok(())
    }

    /// Sockets that are remembered now.
    ///
    /// # Errors
    /// When the kernel refuses a read.
    pub fn socket_count(&self) -> Result<usize> {
        Ok(entries("sockets", &self.sockets)?.count())
    }

    /// Connections to waypoints whose first bytes are not acknowledged yet.
    pub fn waypoint_socket_count(&self) -> usize {
        self.waypoint_sockets.keys().count()
    }

    /// Datagram flows that are remembered now.
    ///
    /// # Errors
    /// When the kernel refuses a read.
    pub fn udp_flow_count(&self) -> Result<usize> {
        Ok(entries("udp_flows", &self.udp_flows)?.count())
    }

    /// Clients with a session that are remembered now.
    ///
    /// # Errors
    /// When the kernel refuses a read.
    pub fn affinity_count(&self) -> Result<usize> {
        Ok(entries("affinities", &self.affinities)?.count())
    }

    /// The counter of every reason, over all CPUs.
    ///
    /// # Errors
    /// When the kernel refuses a read.
    pub fn reasons(&self) -> Result<Vec<(Reason, u64)>> {
        Reason::ALL
            .iter()
            .map(|reason| {
                let index = *reason as u32;
                let values = self
                    .counters
                    .lookup_percpu(index.as_bytes(), MapFlags::ANY)
                    .map_err(entry_error("counters", reason.name()))?
                    .unwrap_or_default();
                let total = values.iter().filter_map(|v| u64::read_from_bytes(v).ok()).sum();
                Ok((*reason, total))
            })
            .collect()
    }
}

/// All entries of a hash map, in one read: the kernel ends a read that has no room for the next
/// bucket early, and libbpf-rs takes that for the end of the map.
pub(crate) fn entries<'a>(
    name: &'static str,
    map: &'a MapHandle,
) -> Result<impl Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a> {
    let bytes = map.key_size().max(map.value_size()).max(1);
    let count = map.max_entries().min(u32::MAX / bytes);
    map.lookup_batch(count, MapFlags::ANY, MapFlags::ANY).map_err(entry_error(name, "all entries"))
}

pub(crate) fn lookup<K: IntoBytes + Immutable, V: FromBytes>(
    map: &MapHandle,
    key: &K,
) -> libbpf_rs::Result<Option<V>> {
    let value = map.lookup(key.as_bytes(), MapFlags::ANY)?;
    Ok(value.and_then(|bytes| V::read_from_bytes(&bytes).ok()))
}

/// False for an entry that was gone already: a daemon that died between two writes has done it.
pub(crate) fn removed(result: libbpf_rs::Result<()>) -> libbpf_rs::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == libbpf_rs::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
