//! `cargo xtask e2e`: packages, the cluster's programs, ours, then the scenes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::deps::{self, Set};
use crate::{build, built, exec};

mod programs;

/// Whose programs the scenes start.
const PACKAGES: [&str; 5] = ["kmesh-daemon", "kmesh-cni", "kmeshctl", "cluster", "e2e"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only make what is missing: packages and the cluster's programs
    #[arg(long)]
    prepare: bool,
    /// Arguments for the scenes: parts of their names, --list, --keep, --logs FOLDER
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_foreign = std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty());
    if !is_foreign && !exec::is_root() {
        bail!(
            "the cluster is made of namespaces, cgroups and containers: run it as root, or name a \
             cluster of yours: KUBECONFIG=FILE make e2e"
        );
    }
    let mut command = Command::new(exec::programs("debug")?.join("e2e"));
    if !is_foreign {
        deps::ensure(&[Set::Host, Set::Cluster])?;
        command.env(programs::VARIABLE, all_built(!arguments.prepare)?);
    } else if !arguments.prepare {
        built::programs_of(&PACKAGES)?;
    }
    if arguments.prepare {
        return Ok(());
    }
    command.current_dir(exec::root()).args(&arguments.rest);
    exec::run(&mut command, "the scene that failed is named above, with the folder of the logs")
}

/// The bench in the cluster: programs of release there.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    if !exec::is_root() {
        bail!("the cluster is made of namespaces, cgroups and containers: run it as root");
    }
    deps::ensure(&[Set::Host, Set::Cluster])?;
    let folder = programs::ensure_with_proxy()?;
    build::programs(true)?;
    let mut command = Command::new(exec::programs("release")?.join("bench-cluster"));
    command.env(programs::VARIABLE, folder).current_dir(exec::root()).args(arguments);
    exec::run(&mut command, "its last lines say why")
}

/// Builds the cluster's programs, and ours at the same time: while one waits for the network or for a
/// linker, the other has the processors. Returns the folder of the cluster's.
fn all_built(with_ours: bool) -> Result<PathBuf> {
    std::thread::scope(|scope| {
        let cluster = scope.spawn(programs::ensure);
        let ours = if with_ours { built::programs_of(&PACKAGES) } else { Ok(()) };
        let cluster = cluster.join().unwrap_or_else(|_| bail!("the build of the cluster panicked"));
        ours.and(cluster)
    })
}
