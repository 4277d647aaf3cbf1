//! The daemon is killed and started again while requests go on.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use testkit::{Interrupt, wait_until};

use crate::curl;
use crate::screen::{say, step, table};
use crate::shop;
use crate::stage::Stage;

/// Requests of one curl process; a phase ends between two of them.
const BATCH: u64 = 50;
/// Requests that a phase must have seen.
const PHASE_REQUESTS_MIN: u64 = 500;
const PHASE_DEADLINE: Duration = Duration::from_secs(60);
const READY_DEADLINE: Duration = Duration::from_secs(60);
const PHASES: [&str; 3] = ["the daemon runs", "the daemon is dead", "the daemon is back"];

/// Requests counted by phase.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    phase: AtomicUsize,
    counts: [Count; PHASES.len()],
}

#[derive(Default)]
struct Count {
    sent: AtomicU64,
    failed: AtomicU64,
}

/// Ends the load also when the phases end early.
struct StopOnDrop<'a>(&'a AtomicBool);

/// Tells it.
///
/// # Errors
/// When a request failed.
pub fn tell(stage: &mut Stage, interrupt: &Interrupt) -> anyhow::Result<()> {
    step("The daemon is killed (kill -9) while requests go on");
    say("The programs and their maps stay in the kernel, so that nobody notices. One moment ...");
    let load = Load::default();
    let client = stage.client.clone();
    let recovery = std::thread::scope(|scope| {
        let requests = scope.spawn(|| load.run(&client, interrupt));
        let recovery = {
            let _stop = StopOnDrop(&load.stop);
            phases(stage, &load, interrupt)
        };
        requests.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        recovery
    })?;
    let rows: Vec<[String; 3]> = PHASES
        .iter()
        .zip(&load.counts)
        .map(|(phase, count)| {
            let [sent, failed] = [&count.sent, &count.failed].map(|it| it.load(Ordering::Relaxed));
            [(*phase).to_owned(), sent.to_string(), failed.to_string()]
        })
        .collect();
    table(["WHILE", "REQUESTS", "FAILED"], &rows);
    let failed: u64 = load.counts.iter().map(|count| count.failed.load(Ordering::Relaxed)).sum();
    ensure!(failed == 0, "{failed} requests failed while the daemon was killed and started again");
    let enrolled = stage.daemon().status()["enrolled"].as_u64().unwrap_or(0);
    ensure!(enrolled == 1, "{enrolled} namespaces are enrolled after the restart, not 1");
    say(&format!(
        "No request failed. The new daemon took over {} ms after its start and still knows its pod.",
        recovery.as_millis()
    ));
    Ok(())
}

/// Moves the load through the phases; returns how long the new daemon took.
fn phases(stage: &mut Stage, load: &Load, interrupt: &Interrupt) -> anyhow::Result<Duration> {
    load.wait(0, interrupt)?;
    let daemon = stage.daemon.as_mut().context("the daemon was started")?;
    daemon.kill9();
    load.enter(1);
    load.wait(1, interrupt)?;
    let started = Instant::now();
    daemon.start();
    daemon.wait_ready(READY_DEADLINE);
    let recovery = started.elapsed();
    load.enter(2);
    load.wait(2, interrupt)?;
    Ok(recovery)
}

// === impl Load ===

impl Load {
    /// Requests without a pause, until told to stop.
    fn run(&self, client: &testkit::Pod, interrupt: &Interrupt) -> anyhow::Result<()> {
        while !self.stop.load(Ordering::Relaxed) && !interrupt.is_set() {
            let phase = self.phase.load(Ordering::Relaxed);
            let answers = curl::get(client, shop::WEB[0], BATCH)?;
            self.counts[phase].failed.fetch_add(answers.failed, Ordering::Relaxed);
            self.counts[phase].sent.fetch_add(answers.total(), Ordering::Relaxed);
        }
        Ok(())
    }

    fn enter(&self, phase: usize) {
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn wait(&self, phase: usize, interrupt: &Interrupt) -> anyhow::Result<()> {
        wait_until(&format!("requests while {}", PHASES[phase]), PHASE_DEADLINE, || {
            let sent = self.counts[phase].sent.load(Ordering::Relaxed);
            let is_done = sent >= PHASE_REQUESTS_MIN || interrupt.is_set();
            if is_done { Ok(()) } else { Err(format!("{sent} requests")) }
        });
        Ok(interrupt.check()?)
    }
}

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
