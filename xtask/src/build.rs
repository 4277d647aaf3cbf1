//! `cargo xtask build`: every program of the workspace, with those of the tests and benches.

use anyhow::Result;

use crate::exec;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// With optimisation
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    programs(arguments.release)?;
    let profile = if arguments.release { "release" } else { "debug" };
    exec::say(&format!("the programs are in {}", exec::programs(profile)?.display()));
    Ok(())
}

/// Builds what tests, the demo and the benches start.
pub(crate) fn programs(release: bool) -> Result<()> {
    let mut command = exec::cargo();
    command.args(["build", "--workspace", "--exclude", "xtask", "--bins"]);
    if release {
        command.arg("--release");
    }
    exec::run(&mut command, "where clang, libelf or zlib is missing: cargo xtask deps")
}
