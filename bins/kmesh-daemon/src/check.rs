//! `kmesh-daemon check DIR`: what is wrong with a directory of configuration, without running.

use std::path::Path;
use std::process::ExitCode;

use abi::limits;
use anyhow::Context;
use plan::{Layout, Planner};
use resources::{Directory, Severity};

use crate::args::Args;

/// Prints every problem; fails when one is an error. Goes through the same code as a running daemon,
/// up to and including the layout of the maps.
pub fn check(dir: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let mut directory = Directory::open(dir, args.resource_options())
        .with_context(|| format!("{} cannot be read", dir.display()))?;
    let update = directory.reload();
    for problem in update.problems.iter() {
        println!("{problem}");
    }
    let node = args.node().completed(&update.snapshot);
    let image = Planner::new(node, limits::SLOTS_PER_TABLE_MAX).image(&update.snapshot);
    let change = Layout::new(args.limits.limits()).change_to(&image);
    for problem in &change.problems {
        println!("error: service {}: {}", problem.service, problem.message);
    }

    let errors = update.problems.iter().filter(|p| p.severity == Severity::Error).count()
        + change.problems.len();
    let warnings = update.problems.iter().filter(|p| p.severity == Severity::Warning).count();
    println!(
        "{} services, {} workloads; {errors} errors, {warnings} warnings",
        update.snapshot.services.len(),
        update.snapshot.workloads.len(),
    );
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
