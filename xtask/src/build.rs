//! `cargo xtask build`: every program of the workspace, with those of the tests and benches.

use anyhow::Result;

use crate::{built, exec};

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

/// Builds for release what the demo and the benches start; else everything, with the tests.
pub(crate) fn programs(release: bool) -> Result<()> {
    if !release {
        return built::everything(&[]).map(drop);
    }
    let mut command = exec::cargo();
    command.args(["build", "--workspace", "--exclude", "xtask", "--bins", "--release"]);
    exec::run(&mut command, "where clang, libelf or zlib is missing: cargo xtask deps")?;
    static_plugin()
}

/// The CNI plugin is copied to nodes and runs there: it brings everything along.
fn static_plugin() -> Result<()> {
    let mut command = exec::cargo();
    command.args(["rustc", "--release", "--package", "kmesh-cni", "--bin", "kmesh-cni"]);
    command.args(["--", "-C", "target-feature=+crt-static"]);
    exec::run(&mut command, "the C library's static archive is missing: install libc6-dev")
}
