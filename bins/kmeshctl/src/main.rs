//! `kmeshctl`: asks the daemon of this node and shows what it answers. Needs no cluster.
#![forbid(unsafe_code)]

mod authz;
mod dump;
mod enroll;
mod explain;
mod local;
mod log;
mod output;
mod status;
mod table;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use runtime::api::DEFAULT_SOCKET;
use runtime::client::AdminClient;

/// Asks the daemon of this node and shows what it answers
#[derive(Debug, Parser)]
#[command(name = "kmeshctl", version, max_term_width = 100)]
struct Cli {
    /// Admin socket of the daemon
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "KMESH_ADMIN_SOCKET",
        default_value = DEFAULT_SOCKET
    )]
    socket: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the versions of kmeshctl and of the daemon
    Version(version::Args),
    /// Show how the daemon is, what it enrolled, and what its programs counted
    Status(status::Args),
    /// Show the configuration as the daemon understood it, or what is in the kernel's maps
    Dump(dump::Args),
    /// Ask the kernel's maps what would happen to a connection, station by station
    Explain(explain::Args),
    /// Show what policies do, switch them on or off, ask why a connection is allowed or refused
    Authz(authz::Args),
    /// Show or set the level of a logger of the daemon
    Log(log::Args),
    /// Let the mesh handle the traffic of a network namespace
    Enroll(enroll::EnrollArgs),
    /// Let the mesh leave a network namespace alone
    Unenroll(enroll::UnenrollArgs),
}

/// Exits with 0, with 1 for a failure, or with 2 for a command line that makes no sense.
fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<clap::Error>() {
            Ok(usage) => usage.exit(),
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    output::print(&runtime.block_on(execute(cli))?)
}

/// Runs one command and returns what it prints.
async fn execute(cli: Cli) -> anyhow::Result<String> {
    let client = AdminClient::new(cli.socket);
    match cli.verb {
        Verb::Version(args) => version::run(&client, args).await,
        Verb::Status(args) => status::run(&client, args).await,
        Verb::Dump(args) => dump::run(&client, args).await,
        Verb::Explain(args) => explain::run(&client, args).await,
        Verb::Authz(args) => authz::run(&client, args).await,
        Verb::Log(args) => log::run(&client, args).await,
        Verb::Enroll(args) => enroll::run_enroll(&client, args).await,
        Verb::Unenroll(args) => enroll::run_unenroll(&client, args).await,
    }
}

#[cfg(test)]
mod tests;
