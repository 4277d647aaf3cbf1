//! Opening the object, reusing pinned maps, loading the programs. Nothing live is touched here.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use abi::limits::Limits;
use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::Func;
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{MapCore, OpenMapMut};
use libbpf_sys as raw;

use crate::maps::Maps;
use crate::skeleton::{KmeshSkel, KmeshSkelBuilder, OpenKmeshSkel};
use crate::{Closer, Config, Error, Guards, Pins, Result, path_error, sys};

/// Maps whose entries name entries of each other. They are replaced together: a new map beside an
/// old one that programs still read would be half an image.
const IMAGE: [&str; 7] =
    ["frontends", "networks", "tables", "slots", "backends", "cursors", "loads"];

/// Maps by which connections are judged: the same holds for them.
const AUTHZ: [&str; 7] = [
    "authz_sources",
    "authz_destinations",
    "authz_sets",
    "authz_rows",
    "authz_blocks",
    "authz_words",
    "authz_terms",
];

/// Keep the size that they were made with: while programs are swapped, those with the old map and those
/// with the new one would not know each other's connections.
const OF_ONE_SIZE: [&str; 2] = ["sockets", "waypoint_sockets"];

/// Name of the program on the sockets of connections by a waypoint.
pub(crate) const HEADER_PROGRAM: &str = "kmesh_header";

/// Name of the program in network namespaces.
pub(crate) const GUARD_PROGRAM: &str = "kmesh_authz";

/// What the kernel has for programs that end connections.
pub(crate) const END_FUNCTION: &str = "bpf_sock_destroy";

/// A loaded program that waits to be attached.
pub(crate) struct Program {
    pub name: &'static str,
    pub fd: OwnedFd,
    pub attach_type: raw::bpf_attach_type,
}

/// A map that takes the pin of one of another size at the commit.
pub(crate) struct Successor {
    pub name: String,
    pub fd: OwnedFd,
}

/// The programs and maps of one process. Holds the lock on the pins.
pub struct Datapath {
    pub(crate) config: Config,
    pub(crate) pins: Pins,
    pub(crate) programs: Vec<Program>,
    /// What runs on the sockets of `waypoint_sockets`.
    pub(crate) header_program: OwnedFd,
    pub(crate) successors: Vec<Successor>,
    maps: Arc<Maps>,
    guards: Arc<Guards>,
    closer: Arc<Closer>,
    _lock: File,
}

impl Datapath {
    /// Loads this build's programs against the pinned maps, or against new ones where none are.
    /// The programs that run already are not touched.
    ///
    /// # Errors
    /// Pins that another process holds or another schema wrote; a kernel that refuses a program.
    pub fn load(config: Config) -> Result<Self> {
        let pins = Pins::new(&config.bpf_fs);
        pins.create()?;
        let lock = pins.lock()?;

        let mut storage = MaybeUninit::uninit();
        let mut open = KmeshSkelBuilder::default()
            .open(&mut storage)
            .map_err(|source| Error::Bpf { action: "open the kernel object".into(), source })?;
        set_sizes(&mut open, &config.limits)?;
        let succeeded = reuse_pinned(&mut open, &pins)?;
        let walks = can_end_from_program();
        open.progs.kmesh_authz_close.set_autoload(walks);
        let skel = open
            .load()
            .map_err(|source| Error::Bpf { action: "load the kernel programs".into(), source })?;

        let maps = Arc::new(Maps::new(&skel.maps, &config.limits)?);
        let programs = programs(&skel)?;
        let header_program = skel.progs.kmesh_header.as_fd();
        let header_program =
            header_program.try_clone_to_owned().map_err(path_error("duplicate", HEADER_PROGRAM))?;
        for name in &succeeded {
            maps.carry_over(name, &pins.map(name))?;
        }
        let progs = &skel.progs;
        let guards = Guards::new(pins.clone(), progs.kmesh_authz.as_fd())
            .map_err(path_error("duplicate", GUARD_PROGRAM))?;
        let walk = walks.then(|| progs.kmesh_authz_close.as_fd());
        let closer = Closer::new(walk, progs.kmesh_authz_ask.as_fd(), Arc::clone(&maps))
            .map_err(path_error("duplicate", "kmesh_authz_close"))?;
        let successors = pin_new_maps(&skel, &pins, &succeeded)?;
        Ok(Self {
            config,
            pins,
            programs,
            header_program,
            successors,
            maps,
            guards: Arc::new(guards),
            closer: Arc::new(closer),
            _lock: lock,
        })
    }

    /// The maps that the loaded programs will use.
    pub fn maps(&self) -> &Arc<Maps> {
        &self.maps
    }

    /// Puts network namespaces under guard.
    pub fn guards(&self) -> &Arc<Guards> {
        &self.guards
    }

    /// Ends connections after a change of policies.
    pub fn closer(&self) -> &Arc<Closer> {
        &self.closer
    }
}

/// True when a program can end a connection (Linux 6.5).
pub(crate) fn can_end_from_program() -> bool {
    let kernel = Btf::from_vmlinux();
    kernel.is_ok_and(|btf| btf.type_by_name::<Func<'_>>(END_FUNCTION).is_some())
}

fn set_sizes(open: &mut OpenKmeshSkel<'_>, limits: &Limits) -> Result<()> {
    let maps = &mut open.maps;
    let sizes = [
        (&mut maps.enrolments, limits.enrolments_max),
        (&mut maps.frontends, limits.frontends_max),
        (&mut maps.tables, limits.tables_max),
        (&mut maps.slots, limits.slots_max),
        (&mut maps.backends, limits.backends_max),
        (&mut maps.sockets, limits.sockets_max),
        (&mut maps.udp_flows, limits.udp_flows_max),
        (&mut maps.affinities, limits.affinities_max),
        (&mut maps.networks, limits.networks_max),
        (&mut maps.resolvers, limits.resolvers_max),
        (&mut maps.cursors, limits.tables_max),
        (&mut maps.loads, limits.backends_max),
        (&mut maps.events, limits.event_ring_bytes),
        (&mut maps.waypoint_sockets, limits.waypoint_sockets_max),
        (&mut maps.header_waits, limits.header_ring_bytes),
        (&mut maps.authz_sources, limits.authz_sources_max),
        (&mut maps.authz_destinations, limits.authz_destinations_max),
        (&mut maps.authz_sets, limits.authz_sets_max),
        (&mut maps.authz_rows, limits.authz_rows_max),
        (&mut maps.authz_blocks, limits.authz_blocks_max),
        (&mut maps.authz_words, limits.authz_words_max),
        (&mut maps.authz_terms, limits.authz_terms_max),
        (&mut maps.authz_counts, limits.authz_policies_max),
    ];
    for (map, size) in sizes {
        map.set_max_entries(size).map_err(|source| Error::Bpf {
            action: format!("give map {} {size} entries", map.name().to_string_lossy()),
            source,
        })?;
    }
    Ok(())
}

/// Reuses each pinned map that fits; returns the names of those that get a successor.
fn reuse_pinned(open: &mut OpenKmeshSkel<'_>, pins: &Pins) -> Result<Vec<String>> {
    let mut succeeded = resized(open, pins)?;
    for together in [IMAGE, AUTHZ] {
        if succeeded.iter().any(|name| together.contains(&name.as_str())) {
            succeeded.extend(together.iter().map(|name| (*name).to_owned()));
        }
    }
    for mut map in open.open_object_mut().maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        let path = pins.map(&name);
        if !path.exists() || succeeded.contains(&name) {
            continue;
        }
        let pinned = sys::open_pinned(&path).map_err(path_error("open the pinned map", &path))?;
        map.reuse_fd(pinned.as_fd()).map_err(|source| Error::Bpf {
            action: format!("reuse the pinned map {}", path.display()),
            source,
        })?;
    }
    Ok(succeeded)
}

/// The names of pinned maps whose configured size has changed.
fn resized(open: &mut OpenKmeshSkel<'_>, pins: &Pins) -> Result<Vec<String>> {
    let mut resized = Vec::new();
    for map in open.open_object_mut().maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        let path = pins.map(&name);
        if !path.exists() {
            continue;
        }
        let pinned = sys::open_pinned(&path).map_err(path_error("open the pinned map", &path))?;
        let info = sys::map_info(pinned.as_fd()).map_err(path_error("inspect", &path))?;
        let (found, wanted) = (layout_of(&info), layout_wanted(&map));
        if found != wanted {
            return Err(Error::Schema { path, found, wanted });
        }
        if info.max_entries != map.max_entries() && OF_ONE_SIZE.contains(&name.as_str()) {
            tracing::warn!(
                "map {name} keeps its {} entries and does not get {}: its size changes with \
                 `kmesh-daemon uninstall` only, as it knows every open connection",
                info.max_entries,
                map.max_entries()
            );
        } else if info.max_entries != map.max_entries() && map.max_entries() != 0 {
            tracing::info!(map = name, from = info.max_entries, to = map.max_entries(), "resized");
            resized.push(name);
        }
    }
    Ok(resized)
}

fn layout_of(info: &raw::bpf_map_info) -> String {
    format!(
        "type {}, key {} bytes, value {} bytes, flags {:#x}",
        info.type_, info.key_size, info.value_size, info.map_flags
    )
}

fn layout_wanted(map: &OpenMapMut<'_>) -> String {
    format!(
        "type {}, key {} bytes, value {} bytes, flags {:#x}",
        map.map_type() as u32,
        map.key_size(),
        map.value_size(),
        map.map_flags()
    )
}

/// Pins maps that have no pin yet, so that a daemon that dies before its first commit loses
/// nothing; a successor waits for the commit.
fn pin_new_maps(skel: &KmeshSkel<'_>, pins: &Pins, succeeded: &[String]) -> Result<Vec<Successor>> {
    let mut successors = Vec::new();
    for map in skel.object().maps() {
        let name = map.name().to_string_lossy().into_owned();
        let path = pins.map(&name);
        if succeeded.contains(&name) {
            let fd = map.as_fd().try_clone_to_owned().map_err(path_error("duplicate", &path))?;
            successors.push(Successor { name, fd });
        } else if !path.exists() {
            sys::pin(map.as_fd(), &path).map_err(path_error("pin a map at", &path))?;
        }
    }
    Ok(successors)
}

/// The programs in the order in which they are attached: those that only watch first, and
/// connect, which makes the others' data, last.
fn programs(skel: &KmeshSkel<'_>) -> Result<Vec<Program>> {
    let progs = &skel.progs;
    [
        ("kmesh_sockops", &progs.kmesh_sockops, raw::BPF_CGROUP_SOCK_OPS),
        ("kmesh_sock_release", &progs.kmesh_sock_release, raw::BPF_CGROUP_INET_SOCK_RELEASE),
        ("kmesh_getpeername4", &progs.kmesh_getpeername4, raw::BPF_CGROUP_INET4_GETPEERNAME),
        ("kmesh_getpeername6", &progs.kmesh_getpeername6, raw::BPF_CGROUP_INET6_GETPEERNAME),
        ("kmesh_recvmsg4", &progs.kmesh_recvmsg4, raw::BPF_CGROUP_UDP4_RECVMSG),
        ("kmesh_recvmsg6", &progs.kmesh_recvmsg6, raw::BPF_CGROUP_UDP6_RECVMSG),
        ("kmesh_sendmsg4", &progs.kmesh_sendmsg4, raw::BPF_CGROUP_UDP4_SENDMSG),
        ("kmesh_sendmsg6", &progs.kmesh_sendmsg6, raw::BPF_CGROUP_UDP6_SENDMSG),
        ("kmesh_connect4", &progs.kmesh_connect4, raw::BPF_CGROUP_INET4_CONNECT),
        ("kmesh_connect6", &progs.kmesh_connect6, raw::BPF_CGROUP_INET6_CONNECT),
    ]
    .into_iter()
    .map(|(name, program, attach_type)| {
        let fd = program.as_fd().try_clone_to_owned().map_err(path_error("duplicate", name))?;
        Ok(Program { name, fd, attach_type })
    })
    .collect()
}
