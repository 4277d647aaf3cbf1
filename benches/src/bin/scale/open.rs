//! Very many open connections of an enrolled client: what each takes in the maps and in the daemon, and
//! that all are known and all are forgotten.

use std::time::{Duration, Instant};

use benches::crowd::{Crowd, SHARE_MAX};
use benches::report::whole;
use benches::statistics::{map_memory, resident};
use testkit::{Interrupt, wait_until};

use crate::figures::{Figures, megabytes};
use crate::site::{Host, SERVER_PORT, Site};

/// How long the kernel may take to forget what was closed.
const FORGET_DEADLINE: Duration = Duration::from_secs(30);

/// The site at one moment.
#[derive(Clone, Copy, Debug)]
struct State {
    known: u64,
    maps: u64,
    daemon: u64,
    opened: u64,
    closed: u64,
    lost: u64,
}

/// Prints the figures.
///
/// # Errors
/// When a connection is refused, or somebody interrupts.
pub fn measure(
    count: u32,
    host: &Host,
    site: &Site,
    figures: &mut Figures,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let before = State::of(site)?;
    // The kernel spreads connections over the servers of a port by a hash: leave each some room.
    let servers = count.div_ceil(SHARE_MAX) + 1;
    let servers = Crowd::of_servers(&host.server, host.outside(), SERVER_PORT, servers)?;
    interrupt.check()?;
    eprintln!("open connections: opening {count} ...");
    let started = Instant::now();
    let span = site.shape.services as u32;
    let clients = Crowd::of_clients(&host.client, site.inside(), count, site.address(0), span)?;
    let opening = started.elapsed();
    let open = State::of(site)?;
    interrupt.check()?;
    eprintln!("open connections: closing them ...");
    let started = Instant::now();
    clients.close()?;
    // While only one side has closed, the kernel may keep the connection for another minute.
    drop(servers);
    let known = || socket_count(site);
    let after = wait_until_forgotten(known, before.known);
    let closing = started.elapsed();
    report(count, [before, open, State::of(site)?], after, figures);
    figures.note("opened in, closed and forgotten in", {
        format!("{:.1} s and {:.1} s", opening.as_secs_f64(), closing.as_secs_f64())
    });
    figures.print(&format!("{} open connections of one enrolled client", whole(count.into())));
    Ok(())
}

fn report(count: u32, [before, open, after]: [State; 3], left: u64, figures: &mut Figures) {
    let each =
        |now: u64, then: u64| format!("{:.0} B", (now as f64 - then as f64) / f64::from(count));
    let known = open.known - before.known;
    figures.judged(
        "known while open",
        whole(known as f64),
        &format!("= {}", whole(count.into())),
        known == u64::from(count),
    );
    figures.judged("still known when closed", whole(left as f64), "= 0", left == 0);
    figures.note("maps, for each connection", each(open.maps, before.maps));
    figures.note("daemon, for each connection", each(open.daemon, before.daemon));
    let states = [before, open, after];
    let in_turn = |figure: fn(&State) -> u64| {
        states.iter().map(|state| megabytes(figure(state))).collect::<Vec<_>>().join(", ")
    };
    figures.note("maps before, open, closed", in_turn(|state| state.maps));
    figures.note("daemon before, open, closed", in_turn(|state| state.daemon));
    let events = [after.opened - before.opened, after.closed - before.closed];
    let [opened, closed] = events.map(|events| whole(events as f64));
    let lost = whole((after.lost - before.lost) as f64);
    figures.note("events opened, closed, lost", format!("{opened}, {closed}, {lost}"));
}

/// What is known above `before` in the end.
fn wait_until_forgotten(known: impl Fn() -> u64, before: u64) -> u64 {
    let started = Instant::now();
    wait_until("the kernel to forget what was closed", FORGET_DEADLINE * 2, || {
        let left = known().saturating_sub(before);
        (left == 0 || started.elapsed() > FORGET_DEADLINE).then_some(left)
    })
}

fn socket_count(site: &Site) -> u64 {
    let status = site.daemon.status();
    let mut maps = status["maps"].as_array().into_iter().flatten();
    let sockets = maps.find(|map| map["name"] == "sockets");
    sockets.and_then(|map| map["entries"].as_u64()).unwrap_or(0)
}

// === impl State ===

impl State {
    fn of(site: &Site) -> anyhow::Result<Self> {
        let known = socket_count(site);
        let status = site.daemon.status();
        let events = |name: &str| status["connections"][name].as_u64().unwrap_or(0);
        Ok(Self {
            known,
            maps: map_memory(&site.daemon),
            daemon: resident(site.pid()?)?,
            opened: events("opened"),
            closed: events("closed"),
            lost: events("eventsLost"),
        })
    }
}
