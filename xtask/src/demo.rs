//! `cargo xtask demo`: everything that the demo needs, then the demo in place of this process.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{build, deps, exec};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave everything up, and print commands to play with
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !exec::is_root() {
        bail!("the demo makes network namespaces and loads BPF programs: run it as root");
    }
    deps::run(&deps::Arguments::default())?;
    exec::say("building (the first time takes some minutes)");
    build::programs(true)?;
    let program = exec::programs("release")?.join("demo");
    let mut command = Command::new(&program);
    command.current_dir(exec::root());
    command.args(arguments.keep.then_some("--keep"));
    // Ctrl-C now reaches the demo alone, which removes what it made.
    Err(command.exec()).with_context(|| format!("start {}", program.display()))
}
