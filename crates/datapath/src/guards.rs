//! The program that judges connections, in each network namespace that it guards: a link of its own,
//! pinned under the namespace's cookie. It outlives the daemon, and ends with the namespace.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use libbpf_sys as raw;

use crate::attach::replace_pin;
use crate::{Error, LinkState, Pins, Result, path_error, sys};

/// Puts namespaces under guard, and lets them go.
pub struct Guards {
    pins: Pins,
    program: OwnedFd,
}

/// The pinned link of one namespace.
pub(crate) struct Guard {
    pub pin: PathBuf,
    pub link: OwnedFd,
    /// Inode of the namespace; 0 when it is gone.
    pub netns_inode: u64,
    pub program_id: u32,
}

// === impl Guards ===

impl Guards {
    pub(crate) fn new(pins: Pins, program: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { pins, program: program.try_clone_to_owned()? })
    }

    pub(crate) fn program(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }

    /// Has every connection judged that comes into a network namespace, whose cookie is `cookie`. A
    /// second time gives it the program of now. To be called after [`crate::Datapath::attach`]: before
    /// that the maps may not say yet what is allowed.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set(&self, netns: BorrowedFd<'_>, cookie: u64) -> Result<LinkState> {
        let pin = self.pins.guard(cookie);
        if !pin.exists() {
            let link = self.link(netns, &pin)?;
            sys::pin(link.as_fd(), &pin).map_err(path_error("pin a link at", &pin))?;
            return Ok(LinkState::Created);
        }
        let known = Guard::open(pin.clone())?;
        if known.netns_inode
            == inode(netns).map_err(path_error("inspect the namespace of", &pin))?
        {
            sys::link_update(known.link.as_fd(), self.program())
                .map_err(path_error("update", &pin))?;
            return Ok(LinkState::Updated);
        }
        replace_pin(self.link(netns, &pin)?.as_fd(), &pin)?;
        Ok(LinkState::Recreated)
    }

    fn link(&self, netns: BorrowedFd<'_>, pin: &std::path::Path) -> Result<OwnedFd> {
        sys::link_create(self.program(), netns, raw::BPF_SK_LOOKUP)
            .map_err(path_error("attach for", pin))
    }

    /// Lets a namespace go: nothing is judged there from now on. False when it was not under guard.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&self, cookie: u64) -> Result<bool> {
        let pin = self.pins.guard(cookie);
        if !pin.exists() {
            return Ok(false);
        }
        Guard::open(pin)?.remove().map(|()| true)
    }

    /// The cookies of the namespaces under guard, also of those that are gone.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn cookies(&self) -> Result<BTreeSet<u64>> {
        let pins = self.pins.guard_pins()?;
        let name = |pin: &PathBuf| pin.file_name()?.to_str()?.parse().ok();
        Ok(pins.iter().filter_map(name).collect())
    }

    /// Removes what is left of namespaces that are gone; returns how many there were.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn sweep(&self) -> Result<usize> {
        let mut removed = 0;
        for guard in self.all()?.into_iter().filter(|guard| guard.netns_inode == 0) {
            guard.remove()?;
            removed += 1;
        }
        Ok(removed)
    }

    pub(crate) fn all(&self) -> Result<Vec<Guard>> {
        self.pins.guard_pins()?.into_iter().map(Guard::open).collect()
    }
}

// === impl Guard ===

impl Guard {
    fn open(pin: PathBuf) -> Result<Self> {
        let link = sys::open_pinned(&pin).map_err(path_error("open the pinned link", &pin))?;
        let info = sys::link_info(link.as_fd()).map_err(path_error("inspect", &pin))?;
        let Some(netns_inode) = sys::link_netns_inode(&info) else {
            let source = io::Error::other("not a link to a network namespace");
            return Err(Error::Path { action: "open the pinned link", path: pin, source });
        };
        Ok(Self { pin, link, netns_inode: netns_inode.into(), program_id: info.prog_id })
    }

    /// Detached first: a link without a pin goes when the kernel comes round to it.
    pub fn remove(self) -> Result<()> {
        sys::link_detach(self.link.as_fd()).map_err(path_error("detach", &self.pin))?;
        fs::remove_file(&self.pin).map_err(path_error("unpin", &self.pin))
    }
}

fn inode(netns: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(File::from(netns.try_clone_to_owned()?).metadata()?.ino())
}
