//! How long a connection lives that policies refuse now, while others come and go as fast as they can.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use benches::wrk::Load;

use crate::host::{Host, Way};

/// From the change of the policies to the end of the connection, without the pause that the daemon makes
/// between two walks.
const BOUND_MS: f64 = 800.0;
const POLICIES: u32 = 1_000;
/// A connection that is not ended.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints how long; returns what missed the bound.
///
/// # Errors
/// When a connection does not end with a reset.
pub fn report(host: &Host, load: Load) -> anyhow::Result<Vec<String>> {
    let (rate, mut waits) = host.beside_load(load, || wait_ms(host))?;
    ensure!(!waits.is_empty(), "the load was over before one connection was looked at");
    waits.sort_by(f64::total_cmp);
    let (median, most) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("\nConnections that are refused from now on, beside {rate:.0} others/s\n");
    let row = [waits.len().to_string(), format!("{median:.1}"), format!("{most:.1}")];
    print!("{}", testkit::table(["RESET", "MEDIAN, ms", "MAX, ms"], &[row]));
    let verdict = if most < BOUND_MS { "kept" } else { "MISSED" };
    println!("all within {BOUND_MS:.0} ms: {verdict}");
    let missed =
        (most >= BOUND_MS).then(|| format!("a refused connection went on for {most:.0} ms"));
    Ok(missed.into_iter().collect())
}

/// Opens a connection, has it refused, and waits for its end.
fn wait_ms(host: &Host) -> anyhow::Result<f64> {
    host.arrange(Way::Judged(0))?;
    let mut stream = host.outsider.run(|| TcpStream::connect(host.server()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    host.arrange(Way::Judged(POLICIES))?;
    let started = Instant::now();
    host.close_refused()?;
    let end = stream.read(&mut [0]).err().context("the connection was closed without a reset")?;
    ensure!(end.kind() == ErrorKind::ConnectionReset, "the connection ended otherwise: {end}");
    Ok(started.elapsed().as_secs_f64() * 1_000.0)
}
