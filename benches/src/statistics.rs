//! What the kernel counts: runs of BPF programs (on for a short phase, because counting costs as much
//! as a small program), CPU time, memory.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use testkit::Daemon;

const SYSCTL: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Runs of each program and their time, ns, by name.
pub type Runs = BTreeMap<String, (u64, u64)>;

/// The sysctl switched on; restored on Drop.
#[derive(Debug)]
pub struct Counting {
    before: String,
}

impl Counting {
    /// Switches it on.
    ///
    /// # Errors
    /// When the sysctl is not there, or not for us.
    pub fn start() -> anyhow::Result<Self> {
        let before = std::fs::read_to_string(SYSCTL).context(SYSCTL)?;
        std::fs::write(SYSCTL, "1").context(SYSCTL)?;
        Ok(Self { before })
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(SYSCTL, &self.before) {
            eprintln!("{SYSCTL} stays on: {error}; write {} to it", self.before.trim());
        }
    }
}

/// What ran so far, from the daemon's status.
pub fn runs(daemon: &Daemon) -> Runs {
    let status = daemon.status();
    let programs = status["programs"].as_array().into_iter().flatten();
    let figure = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
    programs
        .map(|program| {
            let name = program["name"].as_str().unwrap_or_default().to_owned();
            (name, (figure(&program["runCount"]), figure(&program["runTimeNs"])))
        })
        .collect()
}

/// What ran in between; programs that did not run are left out.
pub fn difference(before: &Runs, after: &Runs) -> Runs {
    let changed = after.iter().map(|(name, (count, time))| {
        let (count_before, time_before) = before.get(name).copied().unwrap_or((0, 0));
        (name.clone(), (count - count_before, time - time_before))
    });
    changed.filter(|(_, (count, _))| *count > 0).collect()
}

/// CPU time that the processes of a cgroup have used so far, us.
///
/// # Errors
/// When the cgroup is gone.
pub fn cpu_us(cgroup: &Path) -> anyhow::Result<f64> {
    let path = cgroup.join("cpu.stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
    Ok(usage.context("no usage_usec in cpu.stat")?.trim().parse()?)
}

/// Resident memory of a process, bytes.
///
/// # Errors
/// When the process is gone.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmRSS:")
}

/// The most resident memory that a process had so far, bytes.
///
/// # Errors
/// When the process is gone.
pub fn resident_peak(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, name: &str) -> anyhow::Result<u64> {
    let path = Path::new("/proc").join(pid.to_string()).join("status");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes =
        line.and_then(|line| line.split_whitespace().next()).context(name.to_owned())?;
    Ok(kibibytes.parse::<u64>()? * 1024)
}

/// Kernel memory of all maps, bytes.
pub fn map_memory(daemon: &Daemon) -> u64 {
    let status = daemon.status();
    let maps = status["maps"].as_array().into_iter().flatten();
    maps.filter_map(|map| map["bytes"].as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ran_is_in_the_difference() {
        let of = |a, b| Runs::from([("a".to_owned(), a), ("b".to_owned(), b)]);
        let runs = difference(&of((1, 10), (5, 50)), &of((3, 30), (5, 50)));
        assert_eq!(runs, Runs::from([("a".to_owned(), (2, 20))]));
    }
}
