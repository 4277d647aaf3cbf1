//! The node daemon. Arguments and wiring: what happens is in `agent`, where it is decided in `plan`.
#![forbid(unsafe_code)]

mod admin;
mod agent;
mod args;
mod authz;
mod check;
mod closing;
mod commit;
mod connections;
mod dns;
mod dump;
mod enrolments;
mod explain;
mod headers;
mod kubernetes;
mod metrics;
mod policy_dump;
mod preflight;
mod provenance;
mod run;
mod source;
mod status;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.command {
        None => run::run(&args),
        Some(Command::Check { dir }) => check::check(dir, &args),
        Some(Command::Probe) => preflight::print(&args),
        Some(Command::Uninstall) => run::uninstall(&args),
        Some(Command::Version) => print_version(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kmesh-daemon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_version() -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::to_string_pretty(&runtime::api::Version::current())?);
    Ok(ExitCode::SUCCESS)
}
