//! One endpoint that changes, in a large mesh and in a small one in turn: how long until the kernel has
//! it, and how many writes that takes.

use std::time::Duration;

use benches::commits::{Commit, now_us};
use benches::statistics::resident;
use testkit::{Interrupt, wait_until};

use crate::figures::{Bound, Figures, milliseconds, percentile};
use crate::image::RESIDENT;
use crate::site::Site;

/// From taking up a change to its being in force.
const TAKES: Bound = Bound { most: 10.0, unit: "ms", digits: 2 };
const DEADLINE: Duration = Duration::from_secs(10);
/// Changes between two signs of progress.
pub const PROGRESS_EVERY: u32 = 100;
/// Services that change lie so far apart, for the work of one not to prepare that of the next.
const STRIDE: usize = 37;

/// What the changes of one site took.
#[derive(Debug, Default)]
pub struct Taken {
    commits: Vec<Commit>,
    /// From replacing the file to the change being in force, us.
    from_file: Vec<u64>,
}

/// Prints the figures of `count` changes in each site.
///
/// # Errors
/// When a file cannot be written, or somebody interrupts.
pub fn measure(
    count: u32,
    large: &Site,
    small: &Site,
    figures: &mut Figures,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let (mut in_large, mut in_small) = (Taken::default(), Taken::default());
    for number in 0..count {
        interrupt.check()?;
        if number % PROGRESS_EVERY == 0 {
            eprintln!("changes: {number} of {count} ...");
        }
        in_small.change(small, number)?;
        in_large.change(large, number)?;
    }
    in_large.report(&format!("{} services", large.shape.services), Some(TAKES), figures);
    in_small.report(&format!("{} services", small.shape.services), None, figures);
    let (many, few) = (in_large.writes(), in_small.writes());
    figures.judged(
        "writes of a change, large and small",
        format!("{many} and {few} at most"),
        "the same",
        many == few,
    );
    for (name, share) in [("half", 0.5), ("99 of 100", 0.99)] {
        let ratio = in_large.took(share) as f64 / in_small.took(share).max(1) as f64;
        figures
            .note(format!("{name} of the changes within, large to small"), format!("{ratio:.2}"));
    }
    let bytes = resident(large.pid()?)?;
    figures.bounded("daemon, resident after the changes", bytes as f64 / 1e6, RESIDENT);
    figures.print(&format!("One endpoint changes: {count} times in each mesh"));
    Ok(())
}

// === impl Taken ===

impl Taken {
    /// Makes the change with this number and waits for it: an endpoint falls ill, and is well again.
    pub fn change(&mut self, site: &Site, number: u32) -> anyhow::Result<()> {
        let service = (number as usize / 2 * STRIDE) % site.shape.services;
        let before = site.commits().len();
        let since = now_us();
        site.mesh.set_health(service, 0, number % 2 == 1)?;
        let commit = wait_until("the change to be committed", DEADLINE, || {
            site.commits().get(before).copied()
        });
        self.from_file.push(commit.after(since));
        self.commits.push(commit);
        Ok(())
    }

    /// In how many us so many of the changes were in force.
    fn took(&self, share: f64) -> u64 {
        percentile(&self.commits.iter().map(Commit::took_us).collect::<Vec<_>>(), share)
    }

    fn writes(&self) -> u64 {
        self.commits.iter().map(|commit| commit.writes).max().unwrap_or(0)
    }

    /// Adds the figures of a mesh.
    pub fn report(&self, mesh: &str, bound: Option<Bound>, figures: &mut Figures) {
        let of = |what: fn(&Commit) -> u64, share| {
            percentile(&self.commits.iter().map(what).collect::<Vec<_>>(), share)
        };
        let two = |half, most| format!("{} and {}", milliseconds(half), milliseconds(most));
        let name = format!("{mesh}: taken up to in force, 99 of 100 within");
        match bound {
            Some(bound) => figures.bounded(&name, self.took(0.99) as f64 / 1e3, bound),
            None => figures.note(name, milliseconds(self.took(0.99))),
        }
        figures.note("   half within, all within", two(self.took(0.5), self.took(1.0)));
        let read = two(of(|it| it.read_us, 0.5), of(|it| it.read_us, 0.99));
        figures.note("   of it read and compile, half and 99 of 100 within", read);
        let commit = two(of(|it| it.commit_us, 0.5), of(|it| it.commit_us, 0.99));
        figures.note("   of it plan and write, half and 99 of 100 within", commit);
        let from_file = two(percentile(&self.from_file, 0.5), percentile(&self.from_file, 0.99));
        figures.note("   file replaced to in force, half and 99 of 100 within", from_file);
        figures.note("   writes, half and all within", {
            format!("{} and {}", of(|it| it.writes, 0.5), self.writes())
        });
    }
}
