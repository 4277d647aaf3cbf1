//! Time inside the BPF programs for one connection, from the kernel's run statistics.

use benches::report::whole;
use benches::statistics::{self, Counting, Runs};
use benches::wrk::Load;
use testkit::Interrupt;

use crate::host::{Host, Way};

/// Prints ns for each program, with the server outside the mesh and inside.
///
/// # Errors
/// When wrk fails, or somebody interrupts.
pub fn report(host: &Host, seconds: u32, interrupt: &Interrupt) -> anyhow::Result<()> {
    println!("\nBPF time of one connection (run statistics, which add some 20 ns to each run)\n");
    let client = runs_per_connection(host, Way::Mesh, seconds)?;
    interrupt.check()?;
    let both = runs_per_connection(host, Way::MeshBothEnds, seconds)?;
    let mut rows = Vec::new();
    for (name, one) in &client {
        let two = both.iter().find(|(other, _)| other == name).map_or(*one, |(_, cost)| *cost);
        rows.push([
            name.clone(),
            whole(one.ns_per_run),
            format!("{:.1}", one.runs),
            whole(one.ns()),
            format!("{:.1}", two.runs),
            whole(two.ns()),
        ]);
    }
    let sum = |costs: &[(String, Cost)]| costs.iter().map(|(_, cost)| cost.ns()).sum::<f64>();
    let empty = String::new;
    rows.push([
        "sum".to_owned(),
        empty(),
        empty(),
        whole(sum(&client)),
        empty(),
        whole(sum(&both)),
    ]);
    let heading = ["PROGRAM", "NS/RUN", "RUNS", "NS", "RUNS, BOTH ENROLLED", "NS, BOTH ENROLLED"];
    print!("{}", testkit::table(heading, &rows));
    Ok(())
}

/// One program's share in a connection.
#[derive(Clone, Copy, Debug)]
struct Cost {
    ns_per_run: f64,
    runs: f64,
}

impl Cost {
    fn ns(self) -> f64 {
        self.ns_per_run * self.runs
    }
}

fn runs_per_connection(host: &Host, way: Way, seconds: u32) -> anyhow::Result<Vec<(String, Cost)>> {
    let load = Load { connections: 32, short: true, seconds };
    let counting = Counting::start()?;
    let before = statistics::runs(&host.daemon);
    let figures = host.load(way, load);
    let runs: Runs = statistics::difference(&before, &statistics::runs(&host.daemon));
    drop(counting);
    let connections = figures?.0.requests as f64;
    let cost = |(name, (count, time)): (String, (u64, u64))| {
        let cost =
            Cost { ns_per_run: time as f64 / count as f64, runs: count as f64 / connections };
        (name, cost)
    };
    // Less than that is the daemon's own, or somebody's, and no part of a connection.
    Ok(runs.into_iter().map(cost).filter(|(_, cost)| cost.runs > 0.01).collect())
}
