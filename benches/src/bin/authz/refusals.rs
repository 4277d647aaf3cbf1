//! How long a client waits until it hears that it is refused: by the policies, and for comparison by a
//! port on which nobody listens.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::ensure;
use testkit::Pod;

use crate::host::{Host, Way};

const CONNECTS: usize = 5_000;
const BOUND_US: f64 = 1_000.0;
/// tcpmux: nobody serves it.
const CLOSED_PORT: u16 = 1;
const POLICIES: u32 = 1_000;

/// Prints both; returns what missed the bound.
///
/// # Errors
/// When a connection is not refused.
pub fn report(host: &Host) -> anyhow::Result<Vec<String>> {
    host.arrange(Way::Direct)?;
    let closed = waits_us(&host.client, SocketAddr::new(host.server().ip(), CLOSED_PORT))?;
    host.arrange(Way::Judged(POLICIES))?;
    host.introduce(false)?;
    let refused = host.while_events_are_read(|| waits_us(&host.client, host.other_port()))?;
    host.introduce(true)?;
    println!("\nRefusal as the client sees it, us, of {CONNECTS} connects\n");
    let row = |name: &str, waits: &[f64]| {
        let figure = |share| format!("{:.0}", at(waits, share));
        [name.to_owned(), figure(0.5), figure(0.99), figure(1.0)]
    };
    let rows =
        [row("no mesh, nobody listens", &closed), row("1000 policies, none allows", &refused)];
    print!("{}", testkit::table(["REFUSED BY", "MEDIAN", "99 %", "MAX"], &rows));
    let late = at(&refused, 0.99);
    let verdict = if late < BOUND_US { "kept" } else { "MISSED" };
    println!("99 of 100 within {BOUND_US:.0} us: {verdict}");
    let missed = (late >= BOUND_US)
        .then(|| format!("refusal: {late:.0} us for one in a hundred is not below {BOUND_US:.0}"));
    Ok(missed.into_iter().collect())
}

/// Sorted.
fn waits_us(client: &Pod, to: SocketAddr) -> anyhow::Result<Vec<f64>> {
    let mut waits = client.run(|| {
        let wait = |_| {
            let started = Instant::now();
            let result = TcpStream::connect(to);
            let waited = started.elapsed().as_nanos() as f64 / 1_000.0;
            let refused = result.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
            ensure!(refused, "a connection to {to} was not refused");
            Ok(waited)
        };
        (0..CONNECTS).map(wait).collect::<anyhow::Result<Vec<f64>>>()
    })?;
    waits.sort_by(f64::total_cmp);
    Ok(waits)
}

fn at(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    sorted.get(place as usize).copied().unwrap_or_default()
}
