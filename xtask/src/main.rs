//! The one tool of this tree: `cargo xtask <command>`. The Makefile and CI call it and do nothing else.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod built;
mod demo;
mod deps;
mod e2e;
mod exec;
mod fuzz;
mod rings;
mod tidy;
mod tree;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Packages, build, tests, demo, benches and the tree's own checks"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs the Debian packages that are missing
    Deps(deps::Arguments),
    /// Builds the programs
    Build(build::Arguments),
    /// Runs the tests, ring by ring, cheapest first
    Test(rings::Arguments),
    /// What CI runs: deps, then test
    Ci,
    /// Runs the scenes in a real Kubernetes under a real istiod, or in the cluster of KUBECONFIG
    E2e(e2e::Arguments),
    /// Shows the mesh at work on this machine, and removes everything it made
    Demo(demo::Arguments),
    /// libFuzzer on one decoder of bytes from outside
    Fuzz(fuzz::Arguments),
    /// Runs the benches, each against "no mesh" in the same run
    Bench(bench::Arguments),
    /// Runs a command, or a shell, as root in a virtual machine with an older kernel
    Vm(vm::Arguments),
    /// Checks the tree itself: headers, dependency table, lengths, documents
    Tidy,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Deps(arguments) => deps::run(&arguments),
        Command::Build(arguments) => build::run(&arguments),
        Command::Test(arguments) => rings::run(&arguments),
        Command::Ci => deps::run(&deps::Arguments::default())
            .and_then(|()| rings::run(&rings::Arguments::default())),
        Command::E2e(arguments) => e2e::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Vm(arguments) => vm::run(&arguments),
        Command::Tidy => tidy::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
