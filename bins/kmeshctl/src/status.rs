//! `kmeshctl status`.

mod render;

use runtime::api::{Enrolment, Status};
use runtime::client::AdminClient;
use serde::Serialize;

use crate::output::{self, Format};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// Everything for programs: the daemon's status with the enrolments beside it.
#[derive(Debug, Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    status: &'a Status,
    enrolments: &'a [Enrolment],
}

/// Runs the command.
pub async fn run(client: &AdminClient, args: Args) -> anyhow::Result<String> {
    let status = client.status().await?;
    let enrolments = client.enrolments().await?;
    match args.output {
        Format::Table => Ok(render::render(&status, &enrolments)),
        Format::Json => output::json(&Whole { status: &status, enrolments: &enrolments }),
    }
}
