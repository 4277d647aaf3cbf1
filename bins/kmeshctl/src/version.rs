//! `kmeshctl version`.

use anyhow::bail;
use runtime::api::Version;
use runtime::client::{AdminClient, ClientError};
use serde::Serialize;

use crate::local::no_pods;
use crate::output::{self, Format};

/// Arguments of `version`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pod of a daemon (needs Kubernetes: not in this build)
    pod: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// Both versions for programs.
#[derive(Debug, Serialize)]
struct Both {
    client: Version,
    daemon: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs the command. A daemon that cannot be reached is told, and is no failure.
pub async fn run(client: &AdminClient, args: Args) -> anyhow::Result<String> {
    if let Some(pod) = args.pod {
        bail!(no_pods(&pod));
    }
    let (ours, daemon) = (Version::current(), client.version().await);
    match args.output {
        Format::Table => Ok(render(&ours, &daemon)),
        Format::Json => {
            let error = daemon.as_ref().err().map(ToString::to_string);
            output::json(&Both { client: ours, daemon: daemon.ok(), error })
        }
    }
}

fn render(ours: &Version, daemon: &Result<Version, ClientError>) -> String {
    let daemon = match daemon {
        Ok(version) => format!("kmesh-daemon version: {version} (1 daemon)"),
        Err(error) => format!("kmesh-daemon version: not known ({error})"),
    };
    format!("client version: {ours}\n{daemon}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_shown() {
        let ours = Version { git_version: "0.1.0".into(), ..Version::default() };
        let theirs = Version { git_commit: "abc".into(), ..ours.clone() };
        assert_eq!(
            render(&ours, &Ok(theirs)),
            "client version: 0.1.0\nkmesh-daemon version: 0.1.0-abc (1 daemon)\n"
        );
    }

    #[test]
    fn a_missing_daemon_is_told() {
        let ours = Version { git_version: "0.1.0".into(), ..Version::default() };
        let error = ClientError::NoDaemon { path: "/run/kmesh/admin.sock".into() };
        assert_eq!(
            render(&ours, &Err(error)),
            "client version: 0.1.0\n\
             kmesh-daemon version: not known (no daemon answers at /run/kmesh/admin.sock; is \
             kmesh-daemon running? use --socket for another path)\n"
        );
    }
}
