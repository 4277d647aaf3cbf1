//! What a process outside the mesh pays: it is not enrolled, but its cgroup has the programs.

use benches::connects::{self, Calls, Kind};
use benches::ratio::{self, Round};
use benches::report::{range, three, whole};
use testkit::Interrupt;

use crate::host::Host;

/// Calls of one measurement: a few tenths of a second.
const UDP_CALLS: u32 = 500_000;
const TCP_CALLS: u32 = 15_000;

/// Prints ns for each connect().
///
/// # Errors
/// When a connect() fails, or somebody interrupts.
pub fn report(host: &Host, rounds: u32, interrupt: &Interrupt) -> anyhow::Result<()> {
    println!(
        "\nconnect() of a process outside the mesh: its cgroup with the programs, and without\n"
    );
    let mut rows = Vec::new();
    for (name, kind, count) in
        [("TCP", Kind::Tcp, TCP_CALLS), ("UDP, the bare call", Kind::Udp, UDP_CALLS)]
    {
        let calls = Calls { kind, address: host.server(), span: 1, count };
        let cost = |cgroup| connects::measure(&host.client, cgroup, calls);
        let mut measured = Vec::new();
        for _ in 0..rounds {
            interrupt.check()?;
            let before = cost(host.outside())?;
            let with = cost(host.inside())?;
            measured.push(Round { baseline: [before, cost(host.outside())?], others: vec![with] });
        }
        let (noise, ratio) = (ratio::noise(&measured), ratio::to_baseline(&measured, 0));
        let with = ratio::spread(measured.iter().map(|round| round.others[0])).median;
        let without = ratio::baselines(&measured).median;
        let is_noise = ratio.median <= noise.high.max(1.0 / noise.low);
        rows.push([
            name.to_owned(),
            whole(without),
            whole(with),
            three(ratio.median),
            range(noise),
            if is_noise { "within noise" } else { "above noise" }.to_owned(),
        ]);
    }
    let heading = ["CONNECT", "NS WITHOUT", "NS WITH", "RATIO", "NOISE", ""];
    print!("{}", testkit::table(heading, &rows));
    Ok(())
}
