//! The same mesh from a control plane: how long from the open stream to the first image, what that takes
//! in memory, and how long one endpoint that changes takes from the response to the kernel.

use anyhow::Context;
use benches::commits::time_of;
use benches::statistics::{self, resident};
use testkit::Interrupt;

use crate::Args;
use crate::changes::{PROGRESS_EVERY, Taken};
use crate::figures::{Bound, Figures, megabytes, milliseconds};
use crate::site::{Host, Listens};

/// From the open stream to the image in force; the control plane's own work is in it.
const FIRST: Bound = Bound { most: 8.0, unit: "s", digits: 3 };
/// Resident memory of the daemon.
const RESIDENT: Bound = Bound { most: 300.0, unit: "MB", digits: 1 };
/// From the response to its being in force.
const CHANGE: Bound = Bound { most: 20.0, unit: "ms", digits: 2 };

/// Prints the figures.
///
/// # Errors
/// When a daemon is gone or says nothing, a file cannot be written, or somebody interrupts.
pub fn measure(
    args: &Args,
    host: &Host,
    figures: &mut Figures,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let site = host.site("discovery", args.large(), Listens::ToControl, interrupt)?;
    let first = site.commits().first().copied().context("no commit in the daemon's log")?;
    let opened = time_of(&site.daemon.logs(), ": stream is open");
    let opened = opened.context("the daemon's log does not say that a stream is open")?;
    figures.bounded("stream open to first image in force", first.after(opened) as f64 / 1e6, FIRST);
    figures.note("   of it response to snapshot", milliseconds(first.read_us));
    figures.note("   of it plan, write and attach", milliseconds(first.commit_us));
    figures
        .note("start of the daemon until ready", milliseconds(site.ready_after.as_micros() as u64));
    figures.bounded("daemon, resident", resident(site.pid()?)? as f64 / 1e6, RESIDENT);
    figures.note("daemon, resident at most", megabytes(statistics::resident_peak(site.pid()?)?));
    let mut taken = Taken::default();
    for number in 0..args.changes {
        interrupt.check()?;
        if number % PROGRESS_EVERY == 0 {
            eprintln!("changes under a control plane: {number} of {} ...", args.changes);
        }
        taken.change(&site, number)?;
    }
    taken.report(&format!("{} services", site.shape.services), Some(CHANGE), figures);
    let after = resident(site.pid()?)? as f64 / 1e6;
    figures.bounded("daemon, resident after the changes", after, RESIDENT);
    let (services, workloads) = (site.shape.services, site.shape.workloads());
    figures.print(&format!("Under a control plane: {services} services, {workloads} workloads"));
    Ok(())
}
