//! What connect() through a virtual address costs in a large mesh, relative to a small one: the same
//! client and server, and two daemons, in alternation.

use benches::connects::{self, Calls, Kind};
use benches::mesh::Shape;
use benches::ratio::{self, Round, Spread};
use benches::report::{range, three, whole};
use testkit::{Interrupt, Nginx};

use crate::Args;
use crate::figures::{Bound, Figures};
use crate::site::{Host, Listens, SERVER_PORT, Site};

const RATIO: Bound = Bound { most: 1.1, unit: "", digits: 3 };
/// Calls of one measurement: a few tenths of a second.
const UDP_CALLS: u32 = 300_000;
const TCP_CALLS: u32 = 10_000;
/// The first service that is dialled; the one before it balances another way.
const FIRST_SERVICE: usize = 1;

/// Which virtual addresses a loop dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    One,
    Spread,
}

/// Prints the ratios.
///
/// # Errors
/// When a connect() fails, or somebody interrupts.
pub fn measure(
    args: &Args,
    host: &Host,
    figures: &mut Figures,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let with_datagrams = |shape: Shape| Shape { datagrams: true, ..shape };
    let large =
        host.site("large, TCP and UDP", with_datagrams(args.large()), Listens::ToFiles, interrupt)?;
    let small =
        host.site("small, TCP and UDP", with_datagrams(args.small()), Listens::ToFiles, interrupt)?;
    let _nginx = Nginx::start(&host.server, &[SERVER_PORT]);
    let mut rows = Vec::new();
    for (name, kind) in [("TCP", Kind::Tcp), ("UDP, the bare call", Kind::Udp)] {
        for pattern in [Pattern::One, Pattern::Spread] {
            eprintln!("connect(): {name}, {pattern:?}: {} rounds ...", args.rounds);
            let mut rounds = Vec::new();
            for _ in 0..args.rounds {
                interrupt.check()?;
                let cost = |site: &Site| {
                    connects::measure(&host.client, site.inside(), calls(site, kind, pattern))
                };
                let before = cost(&small)?;
                let others = vec![cost(&large)?];
                rounds.push(Round { baseline: [before, cost(&small)?], others });
            }
            let what = match pattern {
                Pattern::One => format!("{name}, one address"),
                Pattern::Spread => format!("{name}, all addresses at random"),
            };
            judge(&what, pattern, &rounds, figures);
            rows.push(row(what, &rounds));
        }
    }
    let few = small.shape.services;
    println!(
        "\nconnect() through a virtual address: {} services and {few}\n",
        large.shape.services
    );
    let heading = ["CONNECT", "NS, SMALL", "NS, LARGE", "RATIO", "QUARTILES", "NOISE"];
    print!("{}", testkit::table(heading, &rows));
    figures.print("Large relative to small; of all addresses the caches of the processor see more");
    Ok(())
}

fn calls(site: &Site, kind: Kind, pattern: Pattern) -> Calls {
    Calls {
        kind,
        address: site.address(FIRST_SERVICE),
        span: match pattern {
            Pattern::One => 1,
            Pattern::Spread => (site.shape.services - FIRST_SERVICE) as u32,
        },
        count: match kind {
            Kind::Udp => UDP_CALLS,
            Kind::Tcp => TCP_CALLS,
        },
    }
}

fn judge(name: &str, pattern: Pattern, rounds: &[Round], figures: &mut Figures) {
    let ratio = ratio::to_baseline(rounds, 0).median;
    match pattern {
        Pattern::One => figures.bounded(name, ratio, RATIO),
        Pattern::Spread => figures.note(name, three(ratio)),
    }
}

fn row(name: String, rounds: &[Round]) -> [String; 6] {
    let ratio: Spread = ratio::to_baseline(rounds, 0);
    let small = whole(ratio::baselines(rounds).median);
    let large = whole(ratio::others(rounds, 0).median);
    [name, small, large, three(ratio.median), range(ratio), range(ratio::noise(rounds))]
}
