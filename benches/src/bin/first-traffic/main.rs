//! What the mesh costs a pod: requests, short connections, BPF time, connects outside the mesh, and
//! memory. Exits with 1 when a bound is missed.
#![forbid(unsafe_code)]

mod bystander;
mod host;
mod nat;
mod programs;
mod throughput;

use std::process::ExitCode;
use std::time::Instant;

use benches::connects::Loop;
use benches::report::verdict;
use benches::statistics::{map_memory, resident};
use clap::Parser;
use testkit::{Interrupt, require_root};

use crate::host::Host;

/// What the mesh costs, as ratios of interleaved rounds
#[derive(Debug, Parser)]
#[command(name = "first-traffic", version, max_term_width = 100)]
struct Args {
    /// Rounds of each comparison
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(5..))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only these parts (default: all)
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    #[command(flatten)]
    connects: Loop,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    KeptAlive,
    Short,
    Programs,
    Bystander,
    Memory,
}

// === impl Args ===

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.connects.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => verdict(run(&args)),
        Err(error) => verdict(Err(error)),
    }
}

/// Returns the bounds that were missed.
fn run(args: &Args) -> anyhow::Result<Vec<String>> {
    require_root();
    let interrupt = Interrupt::catch();
    let started = Instant::now();
    let host = Host::new();
    let mut missed = Vec::new();
    if args.wants(Part::KeptAlive) {
        missed.extend(throughput::kept_alive(&host, args, &interrupt)?);
    }
    if args.wants(Part::Short) {
        missed.extend(throughput::short(&host, args, &interrupt)?);
    }
    if args.wants(Part::Programs) {
        programs::report(&host, args.seconds, &interrupt)?;
    }
    if args.wants(Part::Bystander) {
        bystander::report(&host, args.rounds, &interrupt)?;
    }
    if args.wants(Part::Memory) {
        memory(&host)?;
    }
    println!("\nThe run took {} s.", started.elapsed().as_secs());
    Ok(missed)
}

fn memory(host: &Host) -> anyhow::Result<()> {
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let pid = host.daemon.pid().unwrap_or_else(|| unreachable!("it runs until the host is gone"));
    println!(
        "\nMemory: daemon {} resident, maps {} in the kernel",
        mebibytes(resident(pid)?),
        mebibytes(map_memory(&host.daemon))
    );
    Ok(())
}
