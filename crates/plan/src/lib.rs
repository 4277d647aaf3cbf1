//! The narrow waist: from a snapshot of the mesh to the image of all maps, and from what the maps
//! hold to an ordered list of writes.
//!
//! No I/O, no clock, no kernel. [`Planner`] compiles services to an [`Image`], which knows no index
//! of any map; [`Layout`] gives the image its place in the maps and says which writes lead there.
#![forbid(unsafe_code)]

mod blocks;
mod image;
mod layout;
mod recover;
mod select;
mod steps;
#[cfg(test)]
mod tests;
mod waypoints;
mod workload_addresses;

pub use balance::client_hash;
pub use image::{
    Action, FrontendImage, Image, Place, Planner, ServiceImage, Table, Target, compile,
};
pub use layout::{Change, Layout, Placement, Problem};
pub use select::{Circumstances, Selection, select};
