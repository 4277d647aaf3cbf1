//! From a snapshot to the kernel: plan, write, wait until the old is out of use.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use abi::Settings;
use abi::limits::{self, Limits};
use datapath::Maps;
use model::{Node, OutboundPolicy, ServiceName, Snapshot};
use plan::{Layout, Planner, Problem};

/// Brings the maps to what a snapshot says, again and again.
pub struct Committer {
    maps: Arc<Maps>,
    limits: Limits,
    /// What the command line says about this node.
    node: Node,
    planner: Planner,
    layout: Layout,
    problems: Vec<Problem>,
    waypoint_problems: Vec<Problem>,
    generation: u64,
}

impl Committer {
    /// Starts from what the maps hold, once no program can still read what the daemon before this
    /// one replaced.
    ///
    /// # Errors
    /// When the kernel refuses to read or to wait.
    pub fn new(
        maps: Arc<Maps>,
        limits: Limits,
        node: Node,
        waypoint_port: u16,
    ) -> datapath::Result<Self> {
        maps.set_flag(
            Settings::REGISTRY_ONLY,
            node.outbound_policy == OutboundPolicy::RegistryOnly,
        )?;
        let layout = recover(&maps, limits)?;
        Ok(Self {
            maps,
            limits,
            planner: Planner::with_waypoint_port(
                node.clone(),
                limits::SLOTS_PER_TABLE_MAX,
                waypoint_port,
            ),
            node,
            layout,
            problems: Vec::new(),
            waypoint_problems: Vec::new(),
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
        self.planner.set_node(self.node.completed(snapshot));
        let image = self.planner.image(snapshot);
        let change = self.layout.change_to(&image);
        if let Err(error) = self.maps.apply(&change.writes) {
            self.layout = recover(&self.maps, self.limits)?;
            return Err(error);
        }
        self.problems = change.problems;
        self.waypoint_problems = self.planner.waypoint_problems();
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
        wait_for_programs()?;
        self.layout.release();
        Ok(())
    }

    /// True when a part had no room and what the last commit replaced would give it some.
    pub fn is_worth_retrying(&self) -> bool {
        !self.problems.is_empty() && self.layout.has_retired()
    }

    /// Where everything is.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What had no room at the last commit.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is wrong with waypoints as of the last commit.
    pub fn waypoint_problems(&self) -> &[Problem] {
        &self.waypoint_problems
    }

    /// The addresses of all waypoints' endpoints, by the service that each serves.
    pub fn waypoint_addresses(&self) -> BTreeMap<IpAddr, ServiceName> {
        self.planner.waypoint_addresses()
    }

    /// Commits so far.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

fn recover(maps: &Maps, limits: Limits) -> datapath::Result<Layout> {
    wait_for_programs()?;
    Ok(Layout::recover(limits, &maps.contents()?))
}

/// Waits until no program can still read what was replaced before.
///
/// # Errors
/// When the kernel refuses to wait.
pub fn wait_for_programs() -> datapath::Result<()> {
    datapath::grace_period().map_err(|source| datapath::Error::Path {
        action: "wait for programs to leave",
        path: "membarrier".into(),
        source,
    })
}
