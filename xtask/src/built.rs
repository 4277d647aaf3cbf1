//! What cargo built: every program and every test of the workspace, by one command.
//!
//! One, because which features a dependency gets depends on what is built together: two selections of
//! packages are two builds of nearly everything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::exec;

const HINT: &str = "where clang, libelf or zlib is missing: cargo xtask deps";
/// Lies beside the programs once everything was built.
const STAMP: &str = ".everything";

/// A program with tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestProgram {
    /// Name of the library, program or file of tests.
    pub(crate) target: String,
    /// Of its package, where cargo would run it.
    pub(crate) folder: PathBuf,
    pub(crate) program: PathBuf,
}

/// Builds everything but `excluded` packages; returns the programs with tests, in the order of their
/// packages.
pub(crate) fn everything(excluded: &[&str]) -> Result<Vec<TestProgram>> {
    let mut command = exec::cargo();
    command.args(["build", "--workspace", "--all-targets"]);
    command.args(excluded.iter().flat_map(|package| ["--exclude", package]));
    command.arg("--message-format=json-render-diagnostics");
    let messages = exec::output(&mut command, HINT)?;
    let mut programs: Vec<_> = messages.lines().filter_map(parse).collect();
    programs.sort_by(|a, b| (&a.folder, &a.target).cmp(&(&b.folder, &b.target)));
    if excluded.is_empty() {
        fs::write(exec::programs("debug")?.join(STAMP), "").context("note that all is built")?;
    }
    Ok(programs)
}

/// Builds the programs of these packages: by themselves in half the time, unless everything was built
/// before and only has to be brought up to date.
pub(crate) fn programs_of(packages: &[&str]) -> Result<()> {
    if exec::programs("debug")?.join(STAMP).exists() {
        return everything(&[]).map(drop);
    }
    let mut command = exec::cargo();
    command.args(["build", "--bins"]).args(packages.iter().flat_map(|it| ["--package", it]));
    exec::run(&mut command, HINT)
}

/// A line that cargo prints for what it has built.
fn parse(line: &str) -> Option<TestProgram> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message["profile"]["test"].as_bool()?;
    let program = message["executable"].as_str().filter(|_| is_test)?;
    let manifest = message["manifest_path"].as_str()?;
    Some(TestProgram {
        target: message["target"]["name"].as_str()?.to_owned(),
        folder: Path::new(manifest).parent()?.to_owned(),
        program: program.into(),
    })
}

// === impl TestProgram ===

impl TestProgram {
    /// Is it of the package in this folder of the tree?
    pub(crate) fn is_of(&self, folder: &str) -> bool {
        self.folder == exec::root().join(folder)
    }

    /// Runs it as `cargo test` does.
    pub(crate) fn run(&self, arguments: &[&str], hint: &str) -> Result<()> {
        let folder = self.folder.strip_prefix(exec::root()).unwrap_or(&self.folder);
        exec::say(&format!("-- {}: {}", folder.display(), self.target));
        let mut command = Command::new(&self.program);
        exec::run(command.current_dir(&self.folder).args(arguments), hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_with_tests_count() {
        let test = r#"{"reason": "compiler-artifact", "manifest_path": "/w/crates/x/Cargo.toml",
            "target": {"name": "x"}, "profile": {"test": true}, "executable": "/t/x-1"}"#;
        let found = TestProgram {
            target: "x".to_owned(),
            folder: "/w/crates/x".into(),
            program: "/t/x-1".into(),
        };
        assert_eq!(parse(test), Some(found));
        assert_eq!(parse(&test.replace("true", "false")), None);
        assert_eq!(parse(r#"{"reason": "build-finished", "success": true}"#), None);
        assert_eq!(parse("warning: x"), None);
    }
}
