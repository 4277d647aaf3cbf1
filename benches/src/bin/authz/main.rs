//! What policies cost a pod that is connected to: connections, requests on connections that are there,
//! how long a client waits for a refusal, and how long a connection goes on that is refused from now on.
//! Writes the tables itself, as large as they can be for so many policies. Exits with 1 when a bound is
//! missed.
#![forbid(unsafe_code)]

mod endings;
mod host;
mod policies;
mod refusals;

use std::process::ExitCode;

use benches::report::{Subject, verdict};
use benches::rounds::Comparison;
use benches::wrk::Load;
use clap::Parser;
use testkit::{Interrupt, require_root};

use crate::host::{Host, Way};

const CONNECTIONS: u32 = 32;
const ENDINGS_SECONDS: u32 = 10;
const DIRECT: &str = "no mesh";

/// What policies cost a pod, as ratios of interleaved rounds
#[derive(Debug, Parser)]
#[command(name = "authz", version, max_term_width = 100)]
struct Args {
    /// Rounds of each comparison
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only these parts (default: all)
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Connections,
    Established,
    Refusals,
    Endings,
}

// === impl Args ===

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

fn main() -> ExitCode {
    verdict(run(&Args::parse()))
}

/// Returns the bounds that were missed.
fn run(args: &Args) -> anyhow::Result<Vec<String>> {
    require_root();
    let interrupt = Interrupt::catch();
    let host = Host::new()?;
    let mut missed = Vec::new();
    if args.wants(Part::Connections) {
        missed.extend(connections(&host, args, &interrupt)?);
    }
    if args.wants(Part::Established) {
        missed.extend(established(&host, args, &interrupt)?);
    }
    if args.wants(Part::Refusals) {
        missed.extend(refusals::report(&host)?);
    }
    if args.wants(Part::Endings) {
        let load = Load { connections: CONNECTIONS, short: true, seconds: ENDINGS_SECONDS };
        missed.extend(endings::report(&host, load)?);
    }
    Ok(missed)
}

fn connections(host: &Host, args: &Args, interrupt: &Interrupt) -> anyhow::Result<Vec<String>> {
    let subject = |name, bound| Subject { name, bound };
    let subjects = [
        (Way::Enrolled, subject("enrolled, not judged", None)),
        (Way::Judged(0), subject("0 policies", Some(0.97))),
        (Way::Judged(10), subject("10 policies, the last one allows", Some(0.95))),
        (Way::Judged(1_000), subject("1000 policies, the last one allows", Some(0.90))),
    ];
    let title = "Connections/s, one request each";
    let comparison = Comparison { title, baseline: DIRECT, rounds: args.rounds };
    let load = Load { connections: CONNECTIONS, short: true, seconds: args.seconds };
    comparison.run(Way::Direct, &subjects, interrupt, |way| host.load(way, load))
}

/// Bytes meet nothing: the bound is for what the machine does by itself.
fn established(host: &Host, args: &Args, interrupt: &Interrupt) -> anyhow::Result<Vec<String>> {
    let subject = Subject { name: "1000 policies", bound: Some(0.98) };
    let title = "Requests/s, kept alive";
    let comparison = Comparison { title, baseline: DIRECT, rounds: args.rounds };
    let load = Load { connections: CONNECTIONS, short: false, seconds: args.seconds };
    comparison
        .run(Way::Direct, &[(Way::Judged(1_000), subject)], interrupt, |way| host.load(way, load))
}
