//! `kmeshctl log`.

use anyhow::{Context, bail};
use runtime::api::LoggerInfo;
use runtime::client::{AdminClient, ClientError};

use crate::local::no_pods;
use crate::output;

/// Arguments of `log`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "kmeshctl log [OPTIONS] [LOGGER]")]
pub struct Args {
    /// Name of a logger: shows its level; without it, shows which loggers there are (two names, as
    /// in `log POD LOGGER`, need Kubernetes: not in this build)
    #[arg(value_name = "LOGGER", num_args = 0..=2)]
    names: Vec<String>,
    /// Set the level of a logger: error, warn, info, debug or trace, for bpf also 0-3
    #[arg(long, value_name = "NAME:LEVEL", value_parser = parse_set)]
    set: Option<LoggerInfo>,
}

/// Runs the command.
pub async fn run(client: &AdminClient, args: Args) -> anyhow::Result<String> {
    match (args.names.as_slice(), args.set) {
        ([], None) => Ok(render_names(&client.loggers().await?)),
        ([name], None) => match client.logger(name).await {
            Ok(logger) => Ok(render_level(&logger)),
            Err(error @ ClientError::Refused { .. }) => Err(error).context(format!(
                "no level of {name:?} (LOGGER is the only argument here: leave out the pod)"
            )),
            Err(error) => Err(error.into()),
        },
        ([], Some(logger)) => Ok(output::line(&client.set_logger(&logger).await?)),
        ([pod, ..], _) => bail!(no_pods(pod)),
    }
}

fn parse_set(text: &str) -> Result<LoggerInfo, String> {
    match text.split_once(':') {
        Some((name, level)) if !name.is_empty() && !level.is_empty() => {
            Ok(LoggerInfo { name: name.to_owned(), level: level.to_owned() })
        }
        _ => Err("it should be NAME:LEVEL, such as default:debug".to_owned()),
    }
}

fn render_names(names: &[String]) -> String {
    let names: String = names.iter().map(|name| format!("\t{name}\n")).collect();
    format!("Existing Loggers:\n{names}")
}

fn render_level(logger: &LoggerInfo) -> String {
    format!("Logger Name: {}\nLogger Level: {}\n", logger.name, logger.level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_kmesh() {
        let names = ["default".to_owned(), "bpf".to_owned()];
        assert_eq!(render_names(&names), "Existing Loggers:\n\tdefault\n\tbpf\n");
        let logger = LoggerInfo { name: "bpf".into(), level: "info".into() };
        assert_eq!(render_level(&logger), "Logger Name: bpf\nLogger Level: info\n");
    }

    #[test]
    fn a_setting_is_a_name_and_a_level() {
        let logger = parse_set("bpf:3").expect("valid");
        assert_eq!((logger.name.as_str(), logger.level.as_str()), ("bpf", "3"));
        for text in ["default", ":debug", "default:", ""] {
            assert!(parse_set(text).expect_err("invalid").contains("default:debug"));
        }
    }
}
