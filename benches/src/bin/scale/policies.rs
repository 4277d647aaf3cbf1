//! Very many policies: how long until all are in force, and how long one takes that changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use benches::commits::Commit;
use benches::statistics::resident;
use testkit::{Bpffs, Cgroup, Daemon, Interrupt, wait_until, yaml};

use crate::Args;
use crate::changes::PROGRESS_EVERY;
use crate::figures::{Bound, Figures, megabytes, milliseconds, percentile};
use crate::site::Host;

const NAMESPACES: usize = 1_000;
/// Of each namespace, each for one of its workloads.
const POLICIES: usize = 10;
/// From the parsed policies to their being in force.
const FIRST: Bound = Bound { most: 2.0, unit: "s", digits: 3 };
/// From taking up a change to its being in force.
const CHANGE: Bound = Bound { most: 20.0, unit: "ms", digits: 2 };
const DEADLINE: Duration = Duration::from_secs(120);
/// Namespaces that change lie so far apart, for the work of one not to prepare that of the next.
const STRIDE: usize = 37;

/// A directory of workloads and policies.
struct Directory {
    config: PathBuf,
    draft: PathBuf,
}

/// Prints the figures.
///
/// # Errors
/// When the daemon is gone or says nothing, a file cannot be written, or somebody interrupts.
pub fn measure(
    args: &Args,
    host: &Host,
    figures: &mut Figures,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let dir = host.folder("policies");
    let directory = Directory::new(&dir)?;
    (0..NAMESPACES).try_for_each(|number| directory.write_workloads(number))?;
    (0..NAMESPACES).try_for_each(|number| directory.write_extra(number, 0))?;
    let (bpffs, cgroup) = (Bpffs::mount(dir.join("bpf")), Cgroup::new("scale-policies"));
    let mut daemon = Daemon::spawn(host.options(&dir, &bpffs, &cgroup));
    daemon.wait_ready(DEADLINE);

    let commit = after(&daemon, || directory.write_all())?;
    figures.note("files read, parsed and compiled to facts", milliseconds(commit.read_us));
    figures.bounded("policies compiled and in force", commit.commit_us as f64 / 1e6, FIRST);
    let mut taken = Vec::new();
    for number in 0..args.changes {
        interrupt.check()?;
        if number % PROGRESS_EVERY == 0 {
            eprintln!("policies: change {number} of {} ...", args.changes);
        }
        let namespace = (number as usize * STRIDE) % NAMESPACES;
        let commit = after(&daemon, || directory.write_extra(namespace, 1 + number))?;
        taken.push(commit.took_us());
    }
    let [half, most, all] = [0.5, 0.99, 1.0].map(|share| percentile(&taken, share));
    figures.bounded("one changed, 99 of 100 within", most as f64 / 1e3, CHANGE);
    let text = format!("{} and {}", milliseconds(half), milliseconds(all));
    figures.note("   half within, all within", text);
    let pid = daemon.pid().context("the daemon has ended")?;
    figures.note("daemon, resident", megabytes(resident(pid)?));
    figures.print(&format!("{} policies in {NAMESPACES} namespaces", NAMESPACES * POLICIES));
    Ok(())
}

/// The commit that a change leads to.
fn after(daemon: &Daemon, change: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Commit> {
    let before = Commit::all(&daemon.logs()).len();
    change()?;
    Ok(wait_until("the change to be committed", DEADLINE, || {
        Commit::all(&daemon.logs()).get(before).copied()
    }))
}

fn address(namespace: usize, workload: usize) -> String {
    let number = (namespace * POLICIES + workload) as u32;
    std::net::Ipv4Addr::from(0x0a40_0000 + number).to_string()
}

// === impl Directory ===

impl Directory {
    fn new(dir: &Path) -> anyhow::Result<Self> {
        let config = dir.join("config");
        fs::create_dir_all(&config)?;
        fs::create_dir_all(dir.join("state"))?;
        Ok(Self { config, draft: dir.join("draft") })
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        fs::write(&self.draft, text)?;
        fs::rename(&self.draft, self.config.join(name))?;
        Ok(())
    }

    fn write_workloads(&self, namespace: usize) -> anyhow::Result<()> {
        let entry = |number: usize| {
            yaml::workload_entry(&format!("w{number}"), address(namespace, number))
                .namespace(&format!("n{namespace}"))
                .workload_label("app", &format!("w{number}"))
                .service_account(&format!("sa{number}"))
                .to_string()
        };
        let entries: Vec<String> = (0..POLICIES).map(entry).collect();
        self.write(&format!("workloads-{namespace}.yaml"), &entries.join("---\n"))
    }

    /// All policies but the extra ones in one file, so that they come as one change.
    fn write_all(&self) -> anyhow::Result<()> {
        let all: Vec<String> = (0..NAMESPACES).map(policies).collect();
        self.write("policies.yaml", &all.join("---\n"))
    }

    /// The one policy of a namespace that changes.
    fn write_extra(&self, namespace: usize, version: u32) -> anyhow::Result<()> {
        self.write(&format!("changed-{namespace}.yaml"), &extra(namespace, version))
    }
}

fn policies(namespace: usize) -> String {
    let all = (0..POLICIES).map(|number| policy(namespace, number, 0));
    all.collect::<Vec<_>>().join("---\n")
}

/// Neighbours may dial a port.
fn policy(namespace: usize, number: usize, version: u32) -> String {
    let neighbour = (namespace + 1) % NAMESPACES;
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p{number}, namespace: n{namespace}}}
spec:
  selector: {{matchLabels: {{app: w{number}}}}}
  rules:
  - from: [{{source: {{principals: ['cluster.local/ns/n{neighbour}/sa/sa{number}'], namespaces: [n{namespace}]}}}}]
    to: [{{operation: {{ports: ['80', '{port}']}}}}]
  - from: [{{source: {{ipBlocks: ['10.{number}.0.0/16']}}}}]
",
        port = 8_000 + version
    )
}

/// One more policy, for a workload that has one.
fn extra(namespace: usize, version: u32) -> String {
    policy(namespace, 0, version).replacen("name: p0", "name: extra", 1)
}
