//! What scenes and benches in a real cluster work with: the product in it, its pods, and load.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a scene that meets something unexpected stops there"
)]

pub mod fixture;
pub mod load;
pub mod mesh;
pub mod pod;
pub mod world;
