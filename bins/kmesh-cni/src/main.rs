//! The chained CNI plugin. It asks the node daemon over a Unix socket and nobody else; when there is no
//! answer, its entry in the conflist says what happens. All decisions are in crate `cni`.
#![forbid(unsafe_code)]

mod daemon;
mod record;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use cni::outcome::{self, Outcome};
use cni::runtime::{self, Call, Environment, Error, Question};
use cni::wire::Request;

fn main() -> ExitCode {
    match run() {
        Ok(text) => print(&text, ExitCode::SUCCESS),
        Err(error) => print(&serde_json::to_string(&error).unwrap_or_default(), ExitCode::FAILURE),
    }
}

/// What goes to standard output, or the error that does.
fn run() -> Result<String, Error> {
    let mut input = String::new();
    let bounded = io::stdin().take(runtime::CONFIG_BYTES_MAX);
    { bounded }.read_to_string(&mut input).map_err(|error| Error::unreadable(&error))?;
    let Call { cni_version, question, settings } = runtime::parse(&environment(), &input)?;
    let Some(Question { request, previous }) = question else {
        return Ok(runtime::versions(&cni_version));
    };
    let answer = daemon::ask(&settings, &request);
    let Outcome { result, trouble, let_go } =
        outcome::decide(&request, settings.policy, answer, &cni_version);
    if let Some(trouble) = trouble {
        record::log(&settings, &request, &trouble, &result);
        if let (true, Request::Add(sandbox)) = (let_go, &request) {
            record::leave_note(&settings, sandbox, &trouble);
        }
    }
    result.map(|()| previous.unwrap_or_default())
}

fn environment() -> Environment {
    let variable = |name| std::env::var(name).unwrap_or_default();
    Environment {
        command: variable("CNI_COMMAND"),
        container_id: variable("CNI_CONTAINERID"),
        netns: variable("CNI_NETNS"),
        ifname: variable("CNI_IFNAME"),
        args: variable("CNI_ARGS"),
    }
}

fn print(text: &str, code: ExitCode) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
