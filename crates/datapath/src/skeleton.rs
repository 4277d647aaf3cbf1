//! The skeleton that libbpf-cargo generates from the linked object.
#![allow(
    missing_docs,
    unused,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used
)]

include!(concat!(env!("OUT_DIR"), "/kmesh.skel.rs"));

/// The object with the programs of `bpf/tests`.
#[cfg(test)]
pub mod test {
    include!(concat!(env!("OUT_DIR"), "/kmesh_test.skel.rs"));
}
