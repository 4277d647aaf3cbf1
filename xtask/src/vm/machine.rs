//! One virtual machine: started over the host's file system, watched, and never left running.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::image;
use super::kernel::Unpacked;
use crate::exec;

const GUEST: &str = include_str!("guest.sh");
const QEMU: &str = "qemu-system-x86_64";
/// Memory of the machine; what the guest writes is kept in it. The host gives what is used.
const MEMORY: &str = "2G";
/// As many files as a process of a usual machine may open.
const FILES_MAX: u32 = 20_000;
/// Where the kernel's messages go.
const CONSOLE: &str = "console.log";
/// How much of them an error shows.
const CONSOLE_LINES: usize = 15;

/// What to do inside.
pub(super) struct Job<'a> {
    /// For the shell.
    pub(super) command: &'a str,
    pub(super) output: Output<'a>,
}

/// Where the output goes.
pub(super) enum Output<'a> {
    /// Plain lines, each behind this label and the time; the machine is switched off after the deadline.
    Lines { label: Option<&'a str>, deadline: Duration },
    /// This terminal, both ways.
    Terminal,
}

/// A folder that the guest writes to, removed when all went well.
struct Results {
    path: PathBuf,
}

/// Runs the job in a machine of its own and returns its exit code.
pub(super) fn run(unpacked: &Unpacked, folder: &Path, job: &Job<'_>) -> Result<u8> {
    let results = Results::new(folder, unpacked.kernel.series)?;
    let initramfs = image::make(unpacked, &results.path)?;
    let shared = results.share(unpacked, job)?;
    let mut command = qemu(unpacked, &initramfs, &results.path, &shared);
    let ended = match job.output {
        Output::Lines { label, deadline } => lines(&mut command, label, deadline),
        Output::Terminal => terminal(&mut command),
    };
    let code = fs::read_to_string(shared.join("exit-code")).unwrap_or_default();
    match (ended, code.trim().parse()) {
        (Ok(()), Ok(code)) => {
            results.remove();
            Ok(code)
        }
        (ended, _) => Err(results.explain(ended.err())),
    }
}

// === impl Results ===

impl Results {
    /// Of this process alone; removes those of processes that were killed.
    fn new(folder: &Path, series: &str) -> Result<Self> {
        let folder = folder.join("results");
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.rsplit('-').next().unwrap_or_default();
            if !Path::new("/proc").join(owner).exists() {
                // Another process may be at it too.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = folder.join(format!("{series}-{}", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self { path })
    }

    /// Writes what the guest reads, and returns the folder that it may write to.
    fn share(&self, unpacked: &Unpacked, job: &Job<'_>) -> Result<PathBuf> {
        let shared = self.path.join("shared");
        fs::create_dir(&shared).with_context(|| format!("make {}", shared.display()))?;
        let write = |name: &str, text: &str| {
            fs::write(shared.join(name), text).with_context(|| format!("write {name}"))
        };
        write("guest.sh", GUEST)?;
        write("command.sh", &format!("{}\n", job.command))?;
        write("settings.sh", &settings(unpacked, job))?;
        let target = exec::programs("")?;
        write("folders", &format!("{}\n{}\n", exec::root().display(), target.display()))?;
        Ok(shared)
    }

    fn remove(&self) {
        // What stays is removed by the next run.
        let _ = fs::remove_dir_all(&self.path);
    }

    fn explain(&self, cause: Option<anyhow::Error>) -> anyhow::Error {
        let console = self.path.join(CONSOLE);
        let text = fs::read(&console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n  ");
        let cause = cause.map_or("it ended without an exit code".to_owned(), |e| format!("{e:#}"));
        anyhow::anyhow!(
            "the virtual machine failed: {cause}; the kernel's last words, from {}:\n  {last}",
            console.display()
        )
    }
}

fn settings(unpacked: &Unpacked, job: &Job<'_>) -> String {
    let terminal = matches!(job.output, Output::Terminal);
    let (rows, columns) = if terminal { terminal_size() } else { None }.unwrap_or((24, 80));
    let term = std::env::var("TERM").ok().filter(|_| terminal).unwrap_or_else(|| "dumb".into());
    let pairs = [
        ("root", exec::root().display().to_string()),
        ("modules", unpacked.modules.display().to_string()),
        ("busybox", unpacked.busybox.display().to_string()),
        ("terminal", if terminal { "yes" } else { "no" }.to_owned()),
        ("files_max", FILES_MAX.to_string()),
        ("rows", rows.to_string()),
        ("columns", columns.to_string()),
        ("TERM", term),
    ];
    pairs.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect()
}

/// As one word of a shell.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn terminal_size() -> Option<(u16, u16)> {
    let done = Command::new("stty").arg("size").stdin(Stdio::inherit()).output().ok()?;
    let text = String::from_utf8(done.stdout).ok()?;
    let (rows, columns) = text.trim().split_once(' ')?;
    Some((rows.parse().ok()?, columns.parse().ok()?))
}

/// Software emulation, so that it runs where there is no usable KVM, such as inside a virtual machine.
fn qemu(unpacked: &Unpacked, initramfs: &Path, results: &Path, shared: &Path) -> Command {
    let path = |path: &Path| path.display().to_string().replace(',', ",,");
    // It ends with this process, however this process ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", QEMU]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]);
    command.args(["-smp", "2", "-m", MEMORY]);
    command.arg("-kernel").arg(&unpacked.image).arg("-initrd").arg(initramfs);
    // A panic ends the machine at once.
    command.args(["-append", "console=ttyS0 panic=-1"]);
    command.args(["-serial", &format!("file:{}", path(&results.join(CONSOLE)))]);
    command.args(["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=terminal"]);
    for (tag, folder, access) in [("host", Path::new("/"), ",readonly=on"), ("results", shared, "")]
    {
        let folder = path(folder);
        command.arg("-virtfs").arg(format!(
            "local,path={folder},mount_tag={tag},security_model=none,multidevs=remap{access}"
        ));
    }
    command
}

fn terminal(command: &mut Command) -> Result<()> {
    // Ctrl-C is the guest's.
    command.args(["-chardev", "stdio,id=terminal,signal=off"]);
    succeeded(command.spawn().with_context(not_started)?)
}

/// Prints its lines as they come.
fn lines(command: &mut Command, label: Option<&str>, deadline: Duration) -> Result<()> {
    command.args(["-chardev", "stdio,id=terminal,signal=on"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().with_context(not_started)?;
    let output = child.stdout.take().context("the output of a child that was just started")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    if !print(&receiver, started, deadline, label) {
        child.kill().context("end the virtual machine")?;
        child.wait()?;
        bail!("it did not end within {} s and was switched off", deadline.as_secs());
    }
    succeeded(child)
}

/// False when the time is over before the output ends.
fn print(
    receiver: &Receiver<String>,
    started: Instant,
    deadline: Duration,
    label: Option<&str>,
) -> bool {
    loop {
        let line = match receiver.recv_timeout(deadline.saturating_sub(started.elapsed())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        };
        match label {
            Some(label) => {
                exec::say(&format!("{label:>5} {:>4} s | {line}", started.elapsed().as_secs()));
            }
            None => exec::say(&line),
        }
    }
}

fn succeeded(mut child: Child) -> Result<()> {
    let status = child.wait()?;
    if !status.success() {
        bail!("{QEMU} failed ({status})");
    }
    Ok(())
}

fn not_started() -> String {
    format!("start {QEMU}; cargo xtask deps installs it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_one_word() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn output_that_does_not_end_meets_the_deadline() {
        let (sender, receiver) = channel();
        let started = Instant::now();
        sender.send("one".to_owned()).expect("the receiver is there");
        assert!(!print(&receiver, started, Duration::ZERO, Some("test")));
        drop(sender);
        assert!(print(&receiver, started, Duration::from_secs(60), None));
    }
}
