//! `cargo xtask tidy`: the rules of this tree that no other tool checks, each in its own module.

mod banned;
mod edges;
mod functions;
mod headers;
mod lengths;
mod lists;
mod machine;
mod paths;
mod stations;
mod tokens;
mod unsafety;

use anyhow::{Result, bail};

use crate::exec;
use crate::tree::{Finding, Tree};

type Check = fn(&Tree) -> Vec<Finding>;

const CHECKS: &[(&str, Check)] = &[
    ("headers", headers::check),
    ("dependency table", edges::check),
    ("unsafe only in datapath", unsafety::check),
    ("lengths", lengths::check),
    ("paths in documents", paths::check),
    ("stations", stations::check),
    ("banned words and calls", banned::check),
    ("lists in documents", lists::check),
    ("paths of the build machine", machine::check),
];

pub(crate) fn run() -> Result<()> {
    let tree = Tree::of_git(exec::root())?;
    let mut findings: Vec<Finding> = CHECKS.iter().flat_map(|(_, check)| check(&tree)).collect();
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} to put right, each named above", findings.len());
    }
    let names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    println!("tidy: {} files in order ({})", tree.paths().count(), names.join(", "));
    Ok(())
}
