//! The writes of one change, in the order in which programs may see them: what is pointed to before
//! what points to it.

use std::collections::BTreeSet;

use abi::{FrontendKey, Write};
use model::ServiceName;

use crate::{Change, Problem};

/// Collected in any order.
#[derive(Default)]
pub struct Steps {
    /// New backends.
    pub backends: Vec<Write>,
    /// New runs of slots.
    pub slots: Vec<Write>,
    /// Flips.
    pub tables: Vec<Write>,
    /// New frontends.
    pub frontends: Vec<Write>,
    /// Changed frontends: after the new ones, because the kernel may give the memory of a replaced
    /// entry to the next new one while a program still reads it.
    pub replaced: Vec<Write>,
    /// New blocks: after their frontends, or an address in one would be unknown for a moment.
    pub networks: Vec<Write>,
    /// Blocks that go: before their frontends, for the same reason.
    pub removed_networks: Vec<Write>,
    /// Frontends that go.
    pub removed: BTreeSet<FrontendKey>,
    /// What had no room.
    pub problems: Vec<Problem>,
}

impl Steps {
    /// Notes what stood in the way of a part of `service`.
    pub fn problem(&mut self, service: &ServiceName, message: String) {
        self.problems.push(Problem { service: service.clone(), message });
    }

    /// Everything in order.
    pub fn into_change(self) -> Change {
        let removals = self.removed.into_iter().map(|key| Write::RemoveFrontend { key });
        let ordered = [
            self.backends,
            self.slots,
            self.tables,
            self.frontends,
            self.networks,
            self.removed_networks,
            self.replaced,
        ];
        let writes = ordered.into_iter().flatten().chain(removals).collect();
        Change { writes, problems: self.problems }
    }
}
