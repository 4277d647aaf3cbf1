//! What the kernel knows of our programs, maps and links: run times, sizes, identities.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libbpf_rs::MapCore;

use crate::load::{Datapath, GUARD_PROGRAM};
use crate::sys;

/// A loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Its name.
    pub name: &'static str,
    /// The kernel's id of it.
    pub id: u32,
    /// Runs, counted only while [`RunStats`] are on.
    pub run_count: u64,
    /// Total time of those runs.
    pub run_time_ns: u64,
    /// Instructions that the verifier walked.
    pub verified_instructions: u32,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Name of its program and of its pin.
    pub name: &'static str,
    /// The kernel's id of it, or `None` when it is not pinned.
    pub id: Option<u32>,
}

/// A map's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// Its name.
    pub name: &'static str,
    /// Entries it can hold.
    pub entries_max: u32,
    /// Kernel memory, as accounted by the kernel.
    pub bytes: u64,
}

/// Run statistics of all programs of the host, on while this is alive. They cost each run about
/// 40 ns.
pub struct RunStats {
    _fd: OwnedFd,
}

impl RunStats {
    /// Turns them on.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    pub fn enable() -> io::Result<Self> {
        Ok(Self { _fd: sys::enable_run_stats()? })
    }
}

impl Datapath {
    /// All programs, in attach order.
    ///
    /// # Errors
    /// When the kernel refuses to say.
    pub fn program_infos(&self) -> io::Result<Vec<ProgramInfo>> {
        let guard = (GUARD_PROGRAM, self.guards().program());
        let attached = self.programs.iter().map(|program| (program.name, program.fd.as_fd()));
        std::iter::once(guard)
            .chain(attached)
            .map(|(name, program)| {
                let info = sys::program_info(program)?;
                Ok(ProgramInfo {
                    name,
                    id: info.id,
                    run_count: info.run_cnt,
                    run_time_ns: info.run_time_ns,
                    verified_instructions: info.verified_insns,
                })
            })
            .collect()
    }

    /// All links, in attach order.
    pub fn link_infos(&self) -> Vec<LinkInfo> {
        self.programs
            .iter()
            .map(|program| {
                let id = sys::open_pinned(&self.pins.link(program.name))
                    .and_then(|link| sys::link_info(link.as_fd()))
                    .map(|info| info.id)
                    .ok();
                LinkInfo { name: program.name, id }
            })
            .collect()
    }

    /// All maps.
    pub fn map_fills(&self) -> Vec<MapFill> {
        let maps = self.maps();
        [
            ("enrolments", &maps.enrolments),
            ("frontends", &maps.frontends),
            ("tables", &maps.tables_map),
            ("slots", &maps.slots_map),
            ("backends", &maps.backends_map),
            ("sockets", &maps.sockets),
            ("udp_flows", &maps.udp_flows),
            ("affinities", &maps.affinities),
            ("networks", &maps.networks),
            ("resolvers", &maps.resolvers),
            ("cursors", &maps.cursors),
            ("loads", &maps.loads),
            ("settings", &maps.settings_map),
            ("events", &maps.events),
            ("waypoint_sockets", &maps.waypoint_sockets),
            ("header_sink", &maps.header_sink),
            ("header_waits", &maps.header_waits),
            ("authz_sources", &maps.authz.sources),
            ("authz_destinations", &maps.authz.destinations),
            ("authz_sets", maps.authz.sets.map()),
            ("authz_rows", &maps.authz.rows),
            ("authz_blocks", &maps.authz.blocks),
            ("authz_words", maps.authz.words.map()),
            ("authz_terms", maps.authz.terms.map()),
            ("authz_counts", &maps.authz.counts),
            ("counters", &maps.counters),
        ]
        .into_iter()
        .map(|(name, map)| MapFill {
            name,
            entries_max: map.max_entries(),
            bytes: memory_bytes(map.as_fd()).unwrap_or(0),
        })
        .collect()
    }
}

/// `memlock` of the descriptor's entry in proc: the memory that the kernel accounts to the map.
fn memory_bytes(map: BorrowedFd<'_>) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
}
