//! `cargo xtask bench cluster`: what the mesh costs in a real Kubernetes under a real istiod.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that meets something unexpected stops there"
)]

mod api;
mod cold_start;
mod ways;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use e2e::world::World;

#[derive(Parser)]
#[command(name = "bench-cluster", about = "What the mesh costs in a real cluster")]
struct Arguments {
    /// Only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// How often each way is measured
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How long one measurement takes, in milliseconds
    #[arg(long, default_value_t = 2000)]
    duration_ms: u64,
    /// Clients at once
    #[arg(long, default_value_t = 4)]
    threads: u32,
    /// Services of the cold start
    #[arg(long, default_value_t = 5_000)]
    services: u32,
    /// Pods of the cold start
    #[arg(long, default_value_t = 22_000)]
    pods: u32,
    /// Where the logs of every component go
    #[arg(long, default_value = "target/e2e-logs")]
    logs: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests and connects per second
    Ways,
    /// From the start of a daemon to complete maps
    ColdStart,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.logs).unwrap();
    let mut world = World::start(&arguments.logs.canonicalize().unwrap());
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    let mut good = true;
    if wanted(Part::Ways) {
        good &= ways::run(&world, &arguments);
    }
    if wanted(Part::ColdStart) {
        good &= cold_start::run(&mut world, &arguments);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
