//! What a large mesh costs: its first image and its memory, one endpoint that changes, a connect(),
//! and very many open connections. Exits with 1 when a bound is missed.
#![forbid(unsafe_code)]

mod changes;
mod dialling;
mod discovery;
mod figures;
mod image;
mod open;
mod policies;
mod site;

use std::process::ExitCode;
use std::time::Instant;

use benches::connects::Loop;
use benches::crowd::End;
use benches::mesh::Shape;
use benches::report::verdict;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use testkit::{Interrupt, require_root};

use crate::figures::Figures;
use crate::site::{Host, Listens};

/// Services of the small mesh that the large one is compared with.
const SERVICES_SMALL: usize = 10;
/// The most endpoints that the addresses of the generator have room for.
const WORKLOADS_MAX: usize = 4_000_000;

/// What a large mesh costs, measured beside a small one
#[derive(Debug, Parser)]
#[command(name = "scale", version, max_term_width = 100)]
struct Args {
    /// Services of the large mesh
    #[arg(long, default_value_t = 10_000, value_parser = RangedU64ValueParser::<usize>::new().range(10..=60_000))]
    services: usize,
    /// Endpoints of each service, in both meshes
    #[arg(long, default_value_t = 10, value_parser = RangedU64ValueParser::<usize>::new().range(2..))]
    endpoints: usize,
    /// Changes of one endpoint, in each mesh
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(200..))]
    changes: u32,
    /// Rounds of each comparison of connect()
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(5..))]
    rounds: u32,
    /// Open connections
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Only these parts (default: all)
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    #[command(flatten)]
    connects: Loop,
    #[command(flatten)]
    end: End,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The first image and the memory.
    Image,
    /// One endpoint that changes.
    Change,
    /// connect() through a virtual address.
    Connect,
    /// Open connections.
    Open,
    /// The first image and one endpoint that changes, under a control plane.
    Discovery,
    /// Policies: the first time, and one that changes.
    Policies,
}

// === impl Args ===

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn large(&self) -> Shape {
        Shape::sized(self.services, self.endpoints)
    }

    fn small(&self) -> Shape {
        Shape::sized(SERVICES_SMALL, self.endpoints)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let is_part = args.connects.run().and_then(|ran| Ok(ran || args.end.run()?));
    match is_part {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => verdict(run(&args)),
        Err(error) => verdict(Err(error)),
    }
}

/// Returns the bounds that were missed.
fn run(args: &Args) -> anyhow::Result<Vec<String>> {
    require_root();
    anyhow::ensure!(args.large().workloads() <= WORKLOADS_MAX, "at most {WORKLOADS_MAX} workloads");
    let interrupt = Interrupt::catch();
    let started = Instant::now();
    let host = Host::new();
    let mut figures = Figures::default();
    one_port(args, &host, &mut figures, &interrupt)?;
    if args.wants(Part::Discovery) {
        discovery::measure(args, &host, &mut figures, &interrupt)?;
    }
    if args.wants(Part::Policies) {
        policies::measure(args, &host, &mut figures, &interrupt)?;
    }
    if args.wants(Part::Connect) {
        dialling::measure(args, &host, &mut figures, &interrupt)?;
    }
    println!("\nThe run took {} s.", started.elapsed().as_secs());
    Ok(figures.missed())
}

/// The parts that share a mesh whose services have a TCP port each.
fn one_port(
    args: &Args,
    host: &Host,
    figures: &mut Figures,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    if ![Part::Image, Part::Change, Part::Open].into_iter().any(|part| args.wants(part)) {
        return Ok(());
    }
    let large = host.site("large", args.large(), Listens::ToFiles, interrupt)?;
    if args.wants(Part::Image) {
        image::measure(&large, figures)?;
    }
    if args.wants(Part::Change) {
        let small = host.site("small", args.small(), Listens::ToFiles, interrupt)?;
        changes::measure(args.changes, &large, &small, figures, interrupt)?;
    }
    if args.wants(Part::Open) {
        open::measure(args.connections, host, &large, figures, interrupt)?;
    }
    Ok(())
}
