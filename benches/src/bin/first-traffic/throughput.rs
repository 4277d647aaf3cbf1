//! Requests and connections per second, in interleaved rounds.

use benches::report::Subject;
use benches::rounds::Comparison;
use benches::wrk::Load;
use testkit::Interrupt;

use crate::Args;
use crate::host::{Host, Way};

const CONNECTIONS: u32 = 32;
const DIRECT: &str = "direct, no mesh";

/// Requests over connections that stay open.
///
/// # Errors
/// When wrk fails, or somebody interrupts.
pub fn kept_alive(host: &Host, args: &Args, interrupt: &Interrupt) -> anyhow::Result<Vec<String>> {
    let subjects = [(Way::Mesh, Subject { name: "enrolled, through the VIP", bound: Some(0.98) })];
    compare(host, args, interrupt, "Requests/s, kept alive", false, &subjects)
}

/// A connection for each request, with connection events on.
///
/// # Errors
/// When wrk fails, or somebody interrupts.
pub fn short(host: &Host, args: &Args, interrupt: &Interrupt) -> anyhow::Result<Vec<String>> {
    let subjects = [
        (Way::Mesh, Subject { name: "enrolled, through the VIP", bound: Some(0.95) }),
        (Way::MeshBothEnds, Subject { name: "the same, server enrolled too", bound: None }),
        (Way::KernelNat, Subject { name: "kernel NAT, as by kube-proxy", bound: None }),
    ];
    compare(host, args, interrupt, "Connections/s, one request each", true, &subjects)
}

fn compare(
    host: &Host,
    args: &Args,
    interrupt: &Interrupt,
    title: &str,
    short: bool,
    subjects: &[(Way, Subject)],
) -> anyhow::Result<Vec<String>> {
    let load = Load { connections: CONNECTIONS, short, seconds: args.seconds };
    // Everything once, so that no round pays for the first use.
    for way in subjects.iter().map(|(way, _)| *way).chain([Way::Direct]) {
        host.load(way, Load { seconds: 1, ..load })?;
    }
    let comparison = Comparison { title, baseline: DIRECT, rounds: args.rounds };
    comparison.run(Way::Direct, subjects, interrupt, |way| {
        host.load(way, load).map(|(figures, cpu)| (figures.per_second, cpu))
    })
}
