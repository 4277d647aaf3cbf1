//! `kmeshctl dump`.

mod bpf;
mod config;

use anyhow::{Context, bail};
use clap::ValueEnum;
use clap::error::ErrorKind;
use runtime::api::path;
use runtime::client::{AdminClient, ClientError};

use crate::local::no_pods;
use crate::output::{self, Format};

/// Arguments of `dump`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "kmeshctl dump [OPTIONS] [POD] <kernel-native|dual-engine>")]
pub struct Args {
    /// What to dump (a pod before it needs Kubernetes: not in this build)
    #[arg(value_name = "kernel-native|dual-engine", required = true, num_args = 1..=2)]
    target: Vec<String>,
    /// Dump the kernel's maps instead of the configuration
    #[arg(long)]
    bpf: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// Tables of the configuration with where each thing comes from, its version, and whether it is in
    /// the kernel
    #[arg(long, conflicts_with = "bpf")]
    origins: bool,
}

/// The daemon's two modes of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    KernelNative,
    DualEngine,
}

/// Runs the command.
pub async fn run(client: &AdminClient, args: Args) -> anyhow::Result<String> {
    let mode = mode_of(&args.target)?;
    let body = match client.get_text(path_of(mode, args.bpf)).await {
        Ok(body) => body,
        Err(error @ ClientError::Refused { status: 400, .. }) => {
            return Err(error).context("the daemon does not run in this mode");
        }
        Err(error) => return Err(error.into()),
    };
    let text = match (args.output, args.bpf) {
        (Format::Json, _) => return Ok(output::line(&body)),
        (Format::Table, false) if args.origins => config::render_origins(&parse(&body)?),
        (Format::Table, false) => config::render(&parse(&body)?),
        (Format::Table, true) => bpf::render(&parse(&body)?),
    };
    if text.is_empty() {
        eprintln!("nothing there: no table has a row");
    }
    Ok(text)
}

fn mode_of(target: &[String]) -> anyhow::Result<Mode> {
    match target {
        [pod, _, ..] => bail!(no_pods(pod)),
        [mode] => Mode::from_str(mode, false).map_err(|_| {
            let text = format!("{mode:?} is no mode: it must be kernel-native or dual-engine\n");
            clap::Error::raw(ErrorKind::InvalidValue, text).into()
        }),
        [] => bail!("name a mode: kernel-native or dual-engine"),
    }
}

fn path_of(mode: Mode, bpf: bool) -> &'static str {
    match (mode, bpf) {
        (Mode::KernelNative, false) => path::CONFIG_DUMP_KERNEL_NATIVE,
        (Mode::KernelNative, true) => path::BPF_DUMP_KERNEL_NATIVE,
        (Mode::DualEngine, false) => path::CONFIG_DUMP_DUAL_ENGINE,
        (Mode::DualEngine, true) => path::BPF_DUMP_DUAL_ENGINE,
    }
}

fn parse<T: serde::de::DeserializeOwned>(body: &str) -> anyhow::Result<T> {
    serde_json::from_str(body).context("the dump is not understood; `-o json` shows it as it is")
}
