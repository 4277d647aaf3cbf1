//! Loads, pins, attaches and fills the kernel programs.
//!
//! The only crate with unsafe code and the only one that knows libbpf. It applies what `plan`
//! compiled ([`abi::Write`]) and knows nothing of services or workloads. The order of an upgrade:
//! [`Datapath::load`] touches nothing that is live; the caller then brings the maps up to date
//! through [`Maps`]; [`Datapath::attach`] swaps the programs link by link and commits the pins last.

#![deny(unsafe_code)]

mod attach;
mod authz;
mod batch;
mod closer;
mod diagnostics;
mod events;
mod guards;
mod headers;
mod load;
mod mapped;
mod maps;
mod pins;
mod probe;
mod resolvers;
#[allow(unsafe_code)]
mod skeleton;
mod stats;
#[allow(unsafe_code)]
mod sys;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use abi::limits::Limits;

pub use attach::LinkState;
pub use closer::{Closer, Means};
pub use events::{EventReader, HeaderReader, init_libbpf_log};
pub use guards::Guards;
pub use headers::{HeaderSender, Outcome};
pub use load::Datapath;
pub use maps::Maps;
pub use pins::{Pins, SCHEMA};
pub use probe::{Need, Requirement, probe};
pub use stats::{LinkInfo, MapFill, ProgramInfo, RunStats};

/// Where the data path lives.
#[derive(Clone, Debug)]
pub struct Config {
    /// A folder inside a bpf file system; pins go below it.
    pub bpf_fs: PathBuf,
    /// The cgroup v2 folder to attach to: the programs see sockets of processes below it.
    pub cgroup: PathBuf,
    /// Sizes of the maps.
    pub limits: Limits,
}

/// What can go wrong below `plan`. Each names the object and what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a path.
    #[error("{action} {path}: {source}")]
    Path {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process is changing the same pins.
    #[error(
        "{path} is locked by another kmesh-daemon: stop it, or give this one its own --bpf-fs-path"
    )]
    Locked {
        /// The locked folder.
        path: PathBuf,
    },
    /// A pinned map has another layout than this build.
    #[error(
        "pinned map {path} has {found}, this build needs {wanted}: it belongs to another schema; run `kmesh-daemon uninstall` and start again"
    )]
    Schema {
        /// The pin.
        path: PathBuf,
        /// Its layout.
        found: String,
        /// Ours.
        wanted: String,
    },
    /// libbpf or the verifier refused.
    #[error("{action}: {source}; `kmesh-daemon probe` shows what this kernel lacks")]
    Bpf {
        /// What was attempted.
        action: String,
        /// Why it failed.
        source: libbpf_rs::Error,
    },
    /// A write to a map failed.
    #[error("map {map}, {entry}: {source}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// Which entry.
        entry: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The map of enrolments is to hold fewer than are enrolled.
    #[error(
        "{enrolled} network namespaces are enrolled and --enrolments-max is {entries_max}: make it at least {enrolled}, or end enrolments first (`kmeshctl unenroll`)"
    )]
    TooSmall {
        /// How many are enrolled.
        enrolled: usize,
        /// The map's size.
        entries_max: u32,
    },
    /// An index is outside a map: a defect of the caller, refused before anything is written.
    #[error("map {map}: index {index} is not below {entries_max}")]
    Index {
        /// Name of the map.
        map: &'static str,
        /// The index.
        index: u64,
        /// The map's size.
        entries_max: u64,
    },
}

/// Short for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

/// The cookie of the calling thread's network namespace (`SO_NETNS_COOKIE`): the key of enrolment.
///
/// # Errors
/// When no socket can be made, or the kernel is older than 5.14.
pub fn netns_cookie() -> io::Result<u64> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    sys::netns_cookie(std::os::fd::AsFd::as_fd(&socket))
}

/// CLOCK_MONOTONIC, the clock of all times that programs note.
pub fn monotonic_ns() -> u64 {
    sys::monotonic_ns()
}

/// Waits until no program still runs that started before the call, so that indices it may have read
/// can be given to something else.
///
/// # Errors
/// When the kernel refuses `membarrier`.
pub fn grace_period() -> io::Result<()> {
    sys::membarrier_global()
}

/// Buffers larger than this are given back to the kernel when they are freed.
const LARGE_BUFFER_BYTES: i32 = 256 << 10;

/// From now on the memory of a large buffer goes back to the kernel when it is freed, because otherwise
/// the allocator keeps what one read of a whole map took; and all threads share one heap, because what
/// one has freed another can't use (20 MB of 300 with 100 000 workloads). Call it before threads are
/// started. False when the allocator does not know how.
pub fn spare_memory() -> bool {
    sys::spare_memory(LARGE_BUFFER_BYTES)
}

/// Gives the kernel back what the allocator holds and nobody uses, such as after a large message. Walks
/// all free memory: tens of milliseconds. Returns whether there was any.
pub fn return_free_memory() -> bool {
    sys::return_free_memory()
}

pub(crate) fn path_error(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::Path { action, path, source }
}
