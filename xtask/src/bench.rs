//! `cargo xtask bench`: the programs of package `benches`, built for release, one after the other.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::deps::{self, Set};
use crate::{build, e2e, exec};

const PACKAGE: &str = "benches";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this one
    name: Option<String>,
    /// Arguments for the bench itself, after `--`
    #[arg(last = true)]
    rest: Vec<String>,
}

/// The bench that needs a cluster; it runs when it is asked for by name.
const IN_CLUSTER: &str = "cluster";

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.name.as_deref() == Some(IN_CLUSTER) {
        return e2e::bench(&arguments.rest);
    }
    let all = names()?;
    let chosen: Vec<&String> = match &arguments.name {
        Some(name) => all.iter().filter(|bench| *bench == name).collect(),
        None => all.iter().collect(),
    };
    if chosen.is_empty() {
        bail!("no such bench; there are: {}, {IN_CLUSTER}", all.join(", "));
    }
    if !exec::is_root() {
        bail!("benches make network namespaces and load BPF programs: run them as root");
    }
    deps::ensure(&[Set::Host])?;
    build::programs(true)?;
    let programs = exec::programs("release")?;
    for name in chosen {
        exec::say(&format!("\n== bench {name}"));
        let mut command = Command::new(programs.join(name));
        command.current_dir(exec::root()).args(&arguments.rest);
        exec::run(&mut command, "its last lines say why")?;
    }
    Ok(())
}

fn names() -> Result<Vec<String>> {
    let mut command = exec::cargo();
    command.args(["metadata", "--format-version", "1", "--no-deps"]);
    bins(&exec::capture(&mut command)?)
}

fn bins(metadata: &str) -> Result<Vec<String>> {
    let metadata: serde_json::Value = serde_json::from_str(metadata).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let benches = packages.filter(|package| package["name"] == PACKAGE);
    let targets = benches.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let bins = targets.filter(|target| target["kind"][0] == "bin");
    Ok(bins.filter_map(|target| target["name"].as_str()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_of_the_package_count() {
        let metadata = r#"{"packages": [
            {"name": "benches", "targets": [
                {"kind": ["lib"], "name": "benches"}, {"kind": ["bin"], "name": "requests"}]},
            {"name": "xtask", "targets": [{"kind": ["bin"], "name": "xtask"}]}]}"#;
        assert_eq!(bins(metadata).expect("parses"), ["requests"]);
    }
}
