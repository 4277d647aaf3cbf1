//! From a snapshot to the kernel: plan, write, wait until the old is out of use.

use std::sync::Arc;

use abi::limits::{self, Limits};
use datapath::Maps;
use model::{Node, Snapshot};
use plan::{Layout, Planner, Problem};

/// Brings the maps to what a snapshot says, again and again.
pub struct Committer {
    maps: Arc<Maps>,
    limits: Limits,
    planner: Planner,
    layout: Layout,
    problems: Vec<Problem>,
    generation: u64,
}

impl Committer {
    /// Starts from what the maps hold.
    pub fn new(maps: Arc<Maps>, limits: Limits, node: Node) -> datapath::Result<Self> {
        let layout = Layout::recover(limits, &maps.contents()?);
        Ok(Self {
            maps,
            limits,
            planner: Planner::new(node, limits::SLOTS_PER_TABLE_MAX),
            layout,
            problems: Vec::new(),
            generation: 0,
        })
    }

    /// Puts `snapshot` in force. Returns how many writes that took.
    ///
    /// # Errors
    /// When the kernel refuses a write: what was written before it is in force, and the next call
    /// goes on from there.
    pub fn commit(&mut self, snapshot: &Snapshot) -> datapath::Result<usize> {
        self.settle()?;
        let image = self.planner.image(snapshot);
        let change = self.layout.change_to(&image);
        if let Err(error) = self.maps.apply(&change.writes) {
            self.layout = Layout::recover(self.limits, &self.maps.contents()?);
            return Err(error);
        }
        self.problems = change.problems;
        self.generation += 1;
        Ok(change.writes.len())
    }

    /// Waits until no program can still read what the last commit replaced, and makes it usable
    /// again. Takes some milliseconds; the commit itself is in force before.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn settle(&mut self) -> datapath::Result<()> {
        if !self.layout.has_retired() {
            return Ok(());
        }
        datapath::grace_period().map_err(|source| datapath::Error::Path {
            action: "wait for programs to leave",
            path: "membarrier".into(),
            source,
        })?;
        self.layout.release();
        Ok(())
    }

    /// Where everything is.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What had no room at the last commit.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Commits so far.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}
