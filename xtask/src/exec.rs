//! Running other programs, with their output where the user sees it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    // The directory of this package is one below the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The cargo that runs us, in the root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where cargo puts the programs of a profile: this program is in one such directory itself.
pub(crate) fn programs(profile: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let target = own.ancestors().nth(2).context("find the target directory")?;
    Ok(target.join(profile))
}

/// Runs with the output passed through; `hint` says what to do when it fails.
pub(crate) fn run(command: &mut Command, hint: &str) -> Result<()> {
    say(&format!("$ {}", shown(command)));
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("start {name}; {hint}"))?;
    if !status.success() {
        bail!("{} failed ({status}): {hint}", shown(command));
    }
    Ok(())
}

/// Runs with errors passed through, and returns standard output.
pub(crate) fn output(command: &mut Command, hint: &str) -> Result<String> {
    say(&format!("$ {}", shown(command)));
    let done = command.stderr(Stdio::inherit()).output();
    let done = done.with_context(|| format!("start {}; {hint}", shown(command)))?;
    if !done.status.success() {
        bail!("{} failed ({}): {hint}", shown(command), done.status);
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs and returns standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let done = command.output().with_context(|| format!("start {line}"))?;
    if !done.status.success() {
        bail!("{line} failed ({}): {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A line on standard output, before whatever a child writes next.
pub(crate) fn say(line: &str) {
    println!("{line}");
    // A closed pipe is met by the next println.
    let _ = std::io::stdout().flush();
}

/// Whether this process is root: the effective uid is the second number of the line.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    // A script is shown by its first words: what it says itself tells the rest.
    let words = words.map(OsStr::to_string_lossy).filter(|word| !word.contains('\n'));
    words.collect::<Vec<_>>().join(" ")
}
