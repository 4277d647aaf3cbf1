//! skeleton only
pub mod skel { #![allow(missing_docs)] include!(concat!(env!("OUT_DIR"), "/kmesh.skel.rs")); }
