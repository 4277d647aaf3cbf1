//! What benches share: load generators, rounds whose order is interleaved, and ratios with bounds.
//!
//! Absolute figures of one machine drift within minutes. So each round measures everything once,
//! the baseline at its beginning and at its end; a figure counts as a ratio to the baseline of its
//! own round, and the two baselines of a round tell how much of a ratio is noise.
#![forbid(unsafe_code)]

pub mod commits;
pub mod connects;
pub mod crowd;
pub mod mesh;
pub mod ratio;
pub mod report;
pub mod rounds;
pub mod statistics;
pub mod wrk;
