//! Ending connections that the policies of now refuse, in one network namespace. A program walks over
//! its sockets and judges each as the guard judges a new one. Where the kernel cannot end a connection
//! from a program, they are listed and ended through socket diagnostics, and the same decision is asked
//! for each.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use abi::ConnectionEvent;

use crate::diagnostics::{Diagnostics, Found};
use crate::{Maps, sys};

/// The program writes a byte for each connection that it ended. It fills its own buffer, of eight pages,
/// never to the end while a read asks for less.
const READ_BYTES: usize = 4_096;

/// Ends connections.
pub struct Closer {
    /// `kmesh_authz_close`, where the kernel takes it.
    walk: Option<OwnedFd>,
    /// `kmesh_authz_ask`.
    ask: OwnedFd,
    maps: Arc<Maps>,
    /// Held for each walk: `authz_listeners` is that of one.
    turn: Mutex<()>,
}

/// How connections are found and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A program ends each one as it comes to it.
    Program,
    /// They are listed, and ended one by one.
    Diagnostics,
}

// === impl Closer ===

impl Closer {
    pub(crate) fn new(
        walk: Option<BorrowedFd<'_>>,
        ask: BorrowedFd<'_>,
        maps: Arc<Maps>,
    ) -> io::Result<Self> {
        let walk = walk.map(|program| program.try_clone_to_owned()).transpose()?;
        Ok(Self { walk, ask: ask.try_clone_to_owned()?, maps, turn: Mutex::default() })
    }

    /// What this kernel allows.
    pub fn means(&self) -> Means {
        if self.walk.is_some() { Means::Program } else { Means::Diagnostics }
    }

    /// Ends the connections that came into a network namespace and that are refused now; returns how
    /// many there were. Each sends an event, [`ConnectionEvent::ENDED`]. Nothing is ended while nothing
    /// is judged. Blocks, on a thread that has entered the namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the kernel refuses.
    pub fn close_refused(&self, netns: BorrowedFd<'_>) -> io::Result<usize> {
        self.close_by(self.means(), netns)
    }

    pub(crate) fn close_by(&self, means: Means, netns: BorrowedFd<'_>) -> io::Result<usize> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || {
            sys::enter_netns(netns)?;
            match (means, &self.walk) {
                (Means::Program, Some(program)) => walk(program.as_fd()),
                _ => self.end_listed(),
            }
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("closer".into());
            let inside = thread.spawn_scoped(scope, work)?;
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Lists the sockets of the calling thread's namespace and ends those that are refused.
    fn end_listed(&self) -> io::Result<usize> {
        let mut diagnostics = Diagnostics::open()?;
        let found = diagnostics.sockets()?;
        let listening: BTreeSet<u16> =
            found.iter().filter(|one| one.is_listener()).map(|one| one.local().port()).collect();
        let directions = self.directions()?;
        let came_in = |one: &Found| match directions.get(&one.cookie()) {
            Some(direction) => *direction == ConnectionEvent::INBOUND,
            None => listening.contains(&one.local().port()),
        };
        let mut ended = 0;
        for one in found.iter().filter(|one| one.is_connection() && came_in(one)) {
            if !is_own(one) && self.is_refused(one)? && diagnostics.end(one)? {
                ended += 1;
            }
        }
        Ok(ended)
    }

    /// Which way each remembered connection went, by the socket's cookie.
    fn directions(&self) -> io::Result<HashMap<u64, u8>> {
        let remembered = self.maps.remembered_sockets().map_err(io::Error::other)?;
        Ok(remembered.into_iter().map(|meta| (meta.socket_cookie, meta.direction)).collect())
    }

    fn is_refused(&self, one: &Found) -> io::Result<bool> {
        sys::ask_lookup_program(self.ask.as_fd(), one.remote(), one.local()).map(|passes| !passes)
    }
}

/// Has the program look at every socket of the calling thread's namespace.
fn walk(program: BorrowedFd<'_>) -> io::Result<usize> {
    let mut walk = sys::open_iterator(program)?;
    let mut buffer = [0; READ_BYTES];
    let mut ended = 0;
    loop {
        match walk.read(&mut buffer) {
            Ok(0) => return Ok(ended),
            Ok(count) => ended += count,
            // Very many sockets without anything to say: the walk goes on with the next read.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// What the workload says to itself was not judged when it came in. An address that can be bound is one
/// of this namespace.
fn is_own(one: &Found) -> bool {
    let remote = one.remote().ip();
    remote == one.local().ip() || UdpSocket::bind(SocketAddr::new(remote, 0)).is_ok()
}
