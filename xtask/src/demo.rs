//! `cargo xtask demo`: everything that the demo needs, then the demo in place of this process.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::deps::{self, Set};
use crate::vm::kernel::{Kernel, NEWEST};
use crate::{build, exec, vm};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave everything up, and print commands to play with
    #[arg(long)]
    keep: bool,
    /// Run it inside a virtual machine, which needs no root; with this kernel
    #[arg(long, value_name = "SERIES", num_args = 0..=1, default_missing_value = NEWEST.series,
          value_parser = Kernel::of)]
    vm: Option<Kernel>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(kernel) = arguments.vm {
        return in_vm(kernel, arguments.keep);
    }
    if !exec::is_root() {
        bail!(
            "the demo makes network namespaces and loads BPF programs: run it as root, or in a \
             virtual machine: make demo VM=1"
        );
    }
    let program = built(&[Set::Host])?;
    let mut command = Command::new(&program);
    command.current_dir(exec::root());
    command.args(arguments.keep.then_some("--keep"));
    // Ctrl-C now reaches the demo alone, which removes what it made.
    Err(command.exec()).with_context(|| format!("start {}", program.display()))
}

/// With `keep`, a shell in the machine takes over; whatever was made ends with the machine.
fn in_vm(kernel: Kernel, keep: bool) -> Result<()> {
    let program = built(&[Set::Host, Set::Vm])?;
    let program = vm::quoted(&program.display().to_string());
    if keep {
        vm::on_one_with_shell(kernel, &format!("{program} --keep"))
    } else {
        vm::on_one(kernel, &program)
    }
}

fn built(sets: &[Set]) -> Result<PathBuf> {
    deps::ensure(sets)?;
    exec::say("building (the first time takes some minutes)");
    build::programs(true)?;
    Ok(exec::programs("release")?.join("demo"))
}
