//! The first image of a fresh daemon, and what it takes in memory.

use anyhow::Context;
use benches::report::whole;
use benches::statistics::{self, resident};

use crate::figures::{Bound, Figures, megabytes, milliseconds};
use crate::site::Site;

/// From the parsed snapshot to the image in force.
const COMMIT: Bound = Bound { most: 5.0, unit: "s", digits: 3 };
/// Resident memory of the daemon.
pub const RESIDENT: Bound = Bound { most: 200.0, unit: "MB", digits: 1 };

/// Prints the figures of the site's start.
///
/// # Errors
/// When the daemon is gone, or its log has no commit.
pub fn measure(site: &Site, figures: &mut Figures) -> anyhow::Result<()> {
    let first = site.commits().first().copied().context("no commit in the daemon's log")?;
    figures.note("files read, parsed and compiled", milliseconds(first.read_us));
    figures.bounded(
        "snapshot to first image in force, programs attached",
        first.commit_us as f64 / 1e6,
        COMMIT,
    );
    figures.note("writes to maps", whole(first.writes as f64));
    let ready = site.ready_after.as_micros() as u64;
    figures.note("start of the daemon until ready", milliseconds(ready));
    figures.bounded("daemon, resident", resident(site.pid()?)? as f64 / 1e6, RESIDENT);
    figures.note("daemon, resident at most", megabytes(statistics::resident_peak(site.pid()?)?));
    let (services, workloads) = (site.shape.services, site.shape.workloads());
    figures.print(&format!("First image: {services} services, {workloads} workloads"));
    maps(site);
    Ok(())
}

fn maps(site: &Site) {
    let status = site.daemon.status();
    let figure = |value: &serde_json::Value| value.as_u64().unwrap_or(0) as f64;
    let maps = status["maps"].as_array().into_iter().flatten();
    let row = |name: &str, entries: String, most: String, bytes: f64| {
        [name.to_owned(), entries, most, format!("{:.0} kB", bytes / 1e3)]
    };
    let mut rows: Vec<_> = maps
        .map(|map| {
            let (entries, most) =
                (whole(figure(&map["entries"])), whole(figure(&map["entriesMax"])));
            row(map["name"].as_str().unwrap_or_default(), entries, most, figure(&map["bytes"]))
        })
        .collect();
    let sum = statistics::map_memory(&site.daemon);
    rows.push(row("sum", String::new(), String::new(), sum as f64));
    println!("\nKernel memory of the maps\n");
    print!("{}", testkit::table(["MAP", "ENTRIES", "AT MOST", "MEMORY"], &rows));
}
