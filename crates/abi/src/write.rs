//! What `plan` asks of `datapath`: ordered writes to the maps, and what the maps hold.

use crate::{Backend, Extent, Frontend, FrontendKey, Network, NetworkKey, Slot, SlotTable};

/// One write. A list of writes is applied in order and stops at the first that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Store a backend.
    Backend {
        /// Index into `backends`.
        index: u32,
        /// What to store.
        value: Backend,
    },
    /// Store a run of slots.
    Slots {
        /// Index of the first.
        first: u32,
        /// The slots.
        slots: Vec<Slot>,
    },
    /// Point a table at a run of slots: one atomic store, after how a slot is picked.
    Table {
        /// Index into `tables`.
        index: u32,
        /// The run of slots.
        extent: Extent,
        /// How a slot is picked; its extent is not used.
        picking: SlotTable,
    },
    /// Add or change a frontend.
    Frontend {
        /// Where applications dial.
        key: FrontendKey,
        /// What happens then.
        value: Frontend,
    },
    /// Name a CIDR block.
    Network {
        /// The block.
        key: NetworkKey,
        /// Its number.
        value: Network,
    },
    /// Forget a CIDR block.
    RemoveNetwork {
        /// The block.
        key: NetworkKey,
    },
    /// Remove a frontend.
    RemoveFrontend {
        /// Where applications dialled.
        key: FrontendKey,
    },
}

/// What the maps hold, read back after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// All entries of `frontends`.
    pub frontends: Vec<(FrontendKey, Frontend)>,
    /// The tables that frontends name, by index.
    pub tables: Vec<(u32, SlotTable)>,
    /// Slots of those extents, by slot index.
    pub slots: Vec<(u32, Slot)>,
    /// All CIDR blocks.
    pub networks: Vec<(NetworkKey, Network)>,
    /// Live backends, by index.
    pub backends: Vec<(u32, Backend)>,
}
