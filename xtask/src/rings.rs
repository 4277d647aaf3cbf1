//! `cargo xtask test`: the rings, cheapest first; the first failure ends the run and says what to do.
//!
//! | ring | what | needs |
//! |---|---|---|
//! | 0 | formatting, clippy, tidy | clang, clang-format |
//! | 1 | unit and property tests | nothing |
//! | 2 | kernel programs, and tests with `root` in their path | root |
//! | 3 | scenes, and drills (ring 5) | root |
//! | 4 | kernel programs and the main scenes on older kernels, emulated | QEMU; no root |

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::built::{self, TestProgram};
use crate::exec::{self, cargo};
use crate::tree::Tree;
use crate::{tidy, vm};

/// Packages that ring 1 leaves to the others, because they need clang, root, or both, and their folders.
const BEYOND_RING_1: [(&str, &str); 3] =
    [("datapath", DATAPATH), ("kmesh-daemon", DAEMON), ("scenes", SCENES)];
/// The kernel programs' package.
pub(crate) const DATAPATH: &str = "crates/datapath";
const DAEMON: &str = "bins/kmesh-daemon";
/// Of ring 3.
pub(crate) const SCENES: &str = "tests";
/// Part of the path of each test that needs root.
const ROOT_TESTS: &str = "root::";
const FAILED: &str = "the test that failed is named above";

#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Only this one (0 to 4)
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=4))]
    ring: Option<u8>,
}

struct Ring {
    number: u8,
    title: &'static str,
    root: bool,
    run: fn(&[TestProgram]) -> Result<()>,
}

const RINGS: [Ring; 5] = [
    Ring { number: 0, title: "formatting, clippy, tidy", root: false, run: statics },
    Ring { number: 1, title: "unit and property tests", root: false, run: units },
    Ring {
        number: 2,
        title: "kernel programs and other tests that need root",
        root: true,
        run: programs,
    },
    Ring {
        number: 3,
        title: "scenes and drills: real sockets, real servers",
        root: true,
        run: scenes,
    },
    Ring { number: 4, title: "older kernels, emulated", root: false, run: vm::ring::run },
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let chosen: Vec<&Ring> =
        RINGS.iter().filter(|ring| arguments.ring.is_none_or(|n| n == ring.number)).collect();
    let is_root_needed = chosen.iter().any(|ring| ring.root);
    if is_root_needed && !exec::is_root() {
        bail!(
            "rings 2 and 3 make network namespaces and load BPF programs: run them as root, or \
             the others alone: cargo xtask test --ring 0, --ring 1, --ring 4"
        );
    }
    let mut times = Vec::new();
    let built = timed("build", &mut times, || build(&chosen))?;
    if is_root_needed {
        timed("preflight", &mut times, preflight)?;
    }
    for ring in chosen {
        let title = format!("ring {}: {}", ring.number, ring.title);
        exec::say(&format!("\n== {title}"));
        timed(&title, &mut times, || (ring.run)(&built))?;
    }
    exec::say("\n== all passed");
    for (what, time) in times {
        exec::say(&format!("{:>7.1} s  {what}", time.as_secs_f64()));
    }
    Ok(())
}

fn timed<T>(
    title: &str,
    times: &mut Vec<(String, Duration)>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    let result = work()?;
    times.push((title.to_owned(), started.elapsed()));
    Ok(result)
}

/// What the rings run, which is nothing for ring 0 alone.
fn build(chosen: &[&Ring]) -> Result<Vec<TestProgram>> {
    match chosen {
        [ring] if ring.number == 0 => Ok(Vec::new()),
        [ring] if ring.number == 1 => built::everything(&BEYOND_RING_1.map(|(package, _)| package)),
        _ => built::everything(&[]),
    }
}

/// Stops before anything is changed where something that the tests need is missing.
fn preflight() -> Result<()> {
    exec::say("== preflight: what the kernel has");
    let mut probe = Command::new(exec::programs("debug")?.join("kmesh-daemon"));
    exec::run(probe.arg("probe"), "the table above says what is missing and what to do about it")
}

fn statics(_: &[TestProgram]) -> Result<()> {
    exec::run(cargo().args(["fmt", "--all", "--check"]), "run: cargo fmt --all")?;
    let tree = Tree::of_git(exec::root())?;
    let sources = tree.paths().filter(|path| is_kernel_source(path));
    let sources: Vec<&str> = sources.collect();
    if !sources.is_empty() {
        let mut format = Command::new("clang-format-19");
        format.current_dir(exec::root()).args(["--dry-run", "-Werror"]).args(&sources);
        exec::run(&mut format, "run: clang-format-19 -i on those files")?;
    }
    exec::say("$ cargo xtask tidy");
    tidy::run()?;
    let mut clippy = cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    exec::run(&mut clippy, "each finding says what to write instead")
}

fn is_kernel_source(path: &str) -> bool {
    path.starts_with("bpf/") && (path.ends_with(".c") || path.ends_with(".h"))
}

fn units(built: &[TestProgram]) -> Result<()> {
    for program in built.iter().filter(|program| is_of_ring_1(program)) {
        program.run(&["--skip", ROOT_TESTS], FAILED)?;
    }
    Ok(())
}

fn programs(built: &[TestProgram]) -> Result<()> {
    for program in built.iter().filter(|it| it.is_of(DATAPATH) || it.is_of(DAEMON)) {
        program.run(&[], FAILED)?;
    }
    for program in built.iter().filter(|program| is_of_ring_1(program)) {
        program.run(&[ROOT_TESTS], FAILED)?;
    }
    Ok(())
}

fn scenes(built: &[TestProgram]) -> Result<()> {
    for program in built.iter().filter(|program| program.is_of(SCENES)) {
        program
            .run(&["--test-threads=1"], "the daemon's log is printed with the scene that failed")?;
    }
    Ok(())
}

fn is_of_ring_1(program: &TestProgram) -> bool {
    !BEYOND_RING_1.iter().any(|(_, folder)| program.is_of(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_in_order_and_two_of_them_need_root() {
        let numbers: Vec<u8> = RINGS.iter().map(|ring| ring.number).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        assert!(RINGS.iter().all(|ring| ring.root == [2, 3].contains(&ring.number)));
    }

    #[test]
    fn kernel_sources_are_c_below_bpf() {
        assert!(is_kernel_source("bpf/progs/connect.bpf.c"));
        assert!(is_kernel_source("bpf/include/kmesh/abi.h"));
        assert!(!is_kernel_source("bpf/README.md"));
        assert!(!is_kernel_source("crates/x/y.c"));
    }
}
