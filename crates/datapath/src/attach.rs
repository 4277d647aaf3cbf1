//! Swapping the programs: one pinned link for each, updated in place, the pins committed last.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::load::{Datapath, GUARD_PROGRAM, HEADER_PROGRAM, Program};
use crate::{Error, Result, path_error, sys};

/// What happened to one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It was not there and was made.
    Created,
    /// Its program was replaced in one step.
    Updated,
    /// Its cgroup had gone or changed; a new one took its pin.
    Recreated,
}

/// Maps whose entries programs make.
const PROGRAM_OWNED: [&str; 2] = ["udp_flows", "affinities"];

/// How to undo one step.
enum Undo {
    Restore { link: OwnedFd, program: OwnedFd },
    Remove { name: &'static str },
    RestoreHeader { program: OwnedFd },
}

/// A step of [`Datapath::attach_stepwise`] at which a test can inject a failure.
pub type OnStep<'a> = &'a mut dyn FnMut(&str) -> io::Result<()>;

impl Datapath {
    /// Puts the loaded programs in force. Each link is updated in one step; if any step fails, the
    /// links already updated get their old programs back and nothing is changed.
    ///
    /// # Errors
    /// What failed, after the rollback.
    pub fn attach(&mut self) -> Result<Vec<(&'static str, LinkState)>> {
        self.attach_stepwise(&mut |_| Ok(()))
    }

    /// As [`Datapath::attach`]; `on_step` is called before each link with its name and before the
    /// commit of the map pins with `"commit"`.
    ///
    /// # Errors
    /// As [`Datapath::attach`].
    pub fn attach_stepwise(
        &mut self,
        on_step: OnStep<'_>,
    ) -> Result<Vec<(&'static str, LinkState)>> {
        let cgroup_path = &self.config.cgroup;
        let cgroup = File::open(cgroup_path).map_err(path_error("open the cgroup", cgroup_path))?;
        let mut undo = Vec::new();
        let result = self.attach_all(&cgroup, on_step, &mut undo);
        if result.is_err() {
            for step in undo.into_iter().rev() {
                self.roll_back(step);
            }
        }
        result
    }

    fn attach_all(
        &mut self,
        cgroup: &File,
        on_step: OnStep<'_>,
        undo: &mut Vec<Undo>,
    ) -> Result<Vec<(&'static str, LinkState)>> {
        let mut states = Vec::new();
        on_step(HEADER_PROGRAM).map_err(path_error("attach", HEADER_PROGRAM))?;
        states.push((HEADER_PROGRAM, self.attach_header(undo)?));
        on_step(GUARD_PROGRAM).map_err(path_error("attach", GUARD_PROGRAM))?;
        states.extend(self.update_guards(undo)?.map(|state| (GUARD_PROGRAM, state)));
        for program in &self.programs {
            let pin = self.pins.link(program.name);
            on_step(program.name).map_err(path_error("attach", &pin))?;
            states.push((program.name, self.attach_one(program, cgroup, undo)?));
        }
        on_step("commit").map_err(path_error("commit", self.pins.maps()))?;
        // What programs wrote into the old maps since the load.
        for successor in &self.successors {
            if PROGRAM_OWNED.contains(&successor.name.as_str()) {
                self.maps().carry_over(&successor.name, &self.pins.map(&successor.name))?;
            }
        }
        self.commit_maps()?;
        Ok(states)
    }

    /// Sockets that are put into the map from now on meet this program; those that are in it keep
    /// the one that they met.
    fn attach_header(&self, undo: &mut Vec<Undo>) -> Result<LinkState> {
        let failed = || path_error("attach", HEADER_PROGRAM);
        let map = self.maps().waypoint_sockets.as_fd();
        let before = sys::message_program(map).map_err(failed())?;
        let before = before.map(sys::program_by_id).transpose().map_err(failed())?;
        sys::attach_message_program(self.header_program.as_fd(), map).map_err(failed())?;
        // One that was not there before does no harm: no socket gets into the map.
        let Some(program) = before else { return Ok(LinkState::Created) };
        undo.push(Undo::RestoreHeader { program });
        Ok(LinkState::Updated)
    }

    /// Gives the namespaces that are under guard the program of now. What is left of those that are gone
    /// is removed.
    fn update_guards(&self, undo: &mut Vec<Undo>) -> Result<Option<LinkState>> {
        let mut state = None;
        for guard in self.guards().all()? {
            let old =
                sys::program_by_id(guard.program_id).map_err(path_error("open", &guard.pin))?;
            match sys::link_update(guard.link.as_fd(), self.guards().program()) {
                Ok(()) => undo.push(Undo::Restore { link: guard.link, program: old }),
                Err(e) if e.raw_os_error() == Some(libc::ENOLINK) => {
                    guard.remove()?;
                    continue;
                }
                Err(source) => {
                    return Err(Error::Path { action: "update", path: guard.pin, source });
                }
            }
            state = Some(LinkState::Updated);
        }
        Ok(state)
    }

    fn attach_one(
        &self,
        program: &Program,
        cgroup: &File,
        undo: &mut Vec<Undo>,
    ) -> Result<LinkState> {
        let pin = self.pins.link(program.name);
        if !pin.exists() {
            self.create_link(program, cgroup)?;
            undo.push(Undo::Remove { name: program.name });
            return Ok(LinkState::Created);
        }
        let link = sys::open_pinned(&pin).map_err(path_error("open the pinned link", &pin))?;
        let info = sys::link_info(link.as_fd()).map_err(path_error("inspect", &pin))?;
        let cgroup_id = cgroup.metadata().map_err(path_error("inspect the cgroup of", &pin))?.ino();
        if sys::link_cgroup_id(&info) == Some(cgroup_id) {
            let old = sys::program_by_id(info.prog_id).map_err(path_error("open", &pin))?;
            match sys::link_update(link.as_fd(), program.fd.as_fd()) {
                Ok(()) => {
                    undo.push(Undo::Restore { link, program: old });
                    return Ok(LinkState::Updated);
                }
                // The cgroup was removed: the link has no effect any more.
                Err(e) if e.raw_os_error() == Some(libc::ENOLINK) => {}
                Err(source) => return Err(Error::Path { action: "update", path: pin, source }),
            }
        }
        self.recreate_link(program, cgroup)?;
        Ok(LinkState::Recreated)
    }

    fn create_link(&self, program: &Program, cgroup: &File) -> Result<()> {
        let pin = self.pins.link(program.name);
        let link = sys::link_create(program.fd.as_fd(), cgroup.as_fd(), program.attach_type)
            .map_err(path_error("attach for", &pin))?;
        sys::pin(link.as_fd(), &pin).map_err(path_error("pin a link at", &pin))
    }

    /// The new link is attached before the old pin goes.
    fn recreate_link(&self, program: &Program, cgroup: &File) -> Result<()> {
        let pin = self.pins.link(program.name);
        let link = sys::link_create(program.fd.as_fd(), cgroup.as_fd(), program.attach_type)
            .map_err(path_error("attach for", &pin))?;
        replace_pin(link.as_fd(), &pin)
    }

    /// Maps that were made anew for another size take over the pins.
    fn commit_maps(&mut self) -> Result<()> {
        for successor in std::mem::take(&mut self.successors) {
            let pin = self.pins.map(&successor.name);
            replace_pin(successor.fd.as_fd(), &pin)?;
        }
        Ok(())
    }

    fn roll_back(&self, step: Undo) {
        let result = match step {
            Undo::Restore { link, program } => sys::link_update(link.as_fd(), program.as_fd()),
            Undo::Remove { name } => fs::remove_file(self.pins.link(name)),
            Undo::RestoreHeader { program } => {
                let map = self.maps().waypoint_sockets.as_fd();
                sys::attach_message_program(program.as_fd(), map)
            }
        };
        if let Err(error) = result {
            tracing::error!(%error, "a link could not be put back; `kmesh-daemon uninstall` removes all");
        }
    }

    /// Detaches every program and removes every pin.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub fn uninstall(self) -> Result<()> {
        let pins = self.pins.clone();
        // The lock goes with it.
        drop(self);
        pins.remove_all().map(drop)
    }
}

/// Pins `object` beside `pin` and renames: there is a pin at every moment.
pub(crate) fn replace_pin(object: BorrowedFd<'_>, pin: &Path) -> Result<()> {
    // The kernel refuses names with a dot in a bpf file system.
    let name = pin.file_name().unwrap_or_default().to_string_lossy();
    let fresh = pin.with_file_name(format!("new_{name}"));
    let _ = fs::remove_file(&fresh);
    sys::pin(object, &fresh).map_err(path_error("pin at", &fresh))?;
    fs::rename(&fresh, pin).map_err(path_error("rename a pin to", pin))
}
