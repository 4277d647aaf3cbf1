//! `cargo xtask vm`: a command as root in a virtual machine with one of Debian's kernels, over this
//! machine's own file system. Needs neither root nor BPF on the host.

mod apt;
mod image;
pub(crate) mod kernel;
mod machine;
pub(crate) mod ring;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub(crate) use apt::KEYRING;
use kernel::Kernel;
pub(crate) use machine::quoted;
use machine::{Job, Output};

use crate::deps::{self, Set};
use crate::exec;

/// Longest time for a command that nobody sits before.
const RUN_DEADLINE: Duration = Duration::from_secs(30 * 60);
/// For an interactive shell.
const SHELL: &str = "exec bash";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The series of the kernel
    #[arg(long, default_value = kernel::NEWEST.series, value_parser = ["6.1", "6.12", "all"])]
    kernel: String,
    /// What to run, for a shell; without it you get one
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
}

/// What one kernel answered.
pub(crate) struct Outcome {
    pub(crate) kernel: Kernel,
    pub(crate) code: Result<u8>,
    pub(crate) time: Duration,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kernels: Vec<Kernel> = kernel::ALL
        .into_iter()
        .filter(|kernel| arguments.kernel == "all" || arguments.kernel == kernel.series)
        .collect();
    let Some(command) = &arguments.run else {
        if kernels.len() > 1 {
            bail!("a shell runs on one kernel: choose one by --kernel, or give a command by --run");
        }
        return exit_with(interactive(kernels[0], SHELL)?);
    };
    let outcomes = on_each(&kernels, command, RUN_DEADLINE)?;
    let mut worst = 0;
    for outcome in outcomes {
        worst = worst.max(outcome.code?);
    }
    exit_with(worst)
}

/// What `cargo xtask demo --vm` does.
pub(crate) fn on_one(kernel: Kernel, command: &str) -> Result<()> {
    for outcome in on_each(&[kernel], command, RUN_DEADLINE)? {
        exit_with(outcome.code?)?;
    }
    Ok(())
}

/// As [`on_one`], with a shell at this terminal when the command is done.
pub(crate) fn on_one_with_shell(kernel: Kernel, command: &str) -> Result<()> {
    exit_with(interactive(kernel, &format!("{command}\n{SHELL}"))?)
}

fn interactive(kernel: Kernel, command: &str) -> Result<u8> {
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        bail!("this needs a terminal: without one, give a command by --run");
    }
    deps::ensure(&[Set::Vm])?;
    let folder = exec::programs("vm")?;
    let prepared = kernel::prepare(&[kernel], &folder)?;
    exec::say(&format!("vm: booting {}; `exit` or Ctrl-D ends it", kernel.series));
    machine::run(&prepared[0], &folder, &Job { command, output: Output::Terminal })
}

/// Runs the command on all `kernels` at the same time: an emulated machine keeps one core busy.
pub(crate) fn on_each(
    kernels: &[Kernel],
    command: &str,
    deadline: Duration,
) -> Result<Vec<Outcome>> {
    deps::ensure(&[Set::Vm])?;
    let folder = exec::programs("vm")?;
    let prepared = kernel::prepare(kernels, &folder)?;
    let names: Vec<&str> = kernels.iter().map(|kernel| kernel.series).collect();
    exec::say(&format!("vm: booting {} (software emulation: be patient)", names.join(" and ")));
    let outcomes = std::thread::scope(|scope| {
        let threads: Vec<_> = prepared
            .iter()
            .map(|unpacked| {
                let folder = &folder;
                let label = (kernels.len() > 1).then_some(unpacked.kernel.series);
                scope.spawn(move || {
                    let started = Instant::now();
                    let output = Output::Lines { label, deadline };
                    let code = machine::run(unpacked, folder, &Job { command, output });
                    Outcome { kernel: unpacked.kernel, code, time: started.elapsed() }
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
    });
    for outcome in &outcomes {
        let series = outcome.kernel.series;
        let seconds = outcome.time.as_secs_f64();
        match &outcome.code {
            Ok(code) => exec::say(&format!("vm: {series} ended with {code} after {seconds:.1} s")),
            Err(_) => exec::say(&format!("vm: {series} failed after {seconds:.1} s")),
        }
    }
    if outcomes.len() < kernels.len() {
        bail!("a thread that watched a virtual machine panicked, see above");
    }
    Ok(outcomes)
}

/// Ends this process as the command in the guest did, when it failed.
fn exit_with(code: u8) -> Result<()> {
    match code {
        0 => Ok(()),
        code => std::process::exit(code.into()),
    }
}
