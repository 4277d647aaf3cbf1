//! What a runtime hands a plugin (environment and standard input) and what it wants back.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::VERSIONS;
use crate::wire::{Request, Sandbox};
use crate::{Attachment, DEFAULT_LOG, DEFAULT_SOCKET, DEFAULT_TIMEOUT_MS, Policy, TIMEOUT_MS_MAX};

/// Longest configuration on standard input.
pub const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Error codes of the CNI specification, and one of our own.
pub mod code {
    /// The CNI version is none that the plugin speaks.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A variable of the environment is missing or malformed.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Standard input cannot be read.
    pub const IO_FAILURE: u32 = 5;
    /// The configuration is no JSON of the expected shape.
    pub const DECODING_FAILURE: u32 = 6;
    /// The configuration lacks something.
    pub const INVALID_CONFIG: u32 = 7;
    /// The runtime should ask again.
    pub const TRY_AGAIN_LATER: u32 = 11;
    /// No sandbox can be added now.
    pub const NOT_AVAILABLE: u32 = 50;
    /// Ours: a sandbox is not enrolled as it should be.
    pub const NOT_AS_ENROLLED: u32 = 100;
}

/// An error as a runtime wants it on standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{msg}: {details}")]
#[serde(rename_all = "camelCase")]
pub struct Error {
    /// The version of the configuration, or the newest that the plugin speaks.
    pub cni_version: String,
    /// One of [`code`].
    pub code: u32,
    /// What is wrong.
    pub msg: String,
    /// What to do about it.
    pub details: String,
}

/// The variables that a runtime sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `CNI_COMMAND`
    pub command: String,
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_NETNS`
    pub netns: String,
    /// `CNI_IFNAME`
    pub ifname: String,
    /// `CNI_ARGS`
    pub args: String,
}

/// The plugin's entry, with what the runtime adds to it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    #[serde(default)]
    cni_version: String,
    #[serde(default)]
    name: String,
    #[serde(borrow, default)]
    prev_result: Option<&'a RawValue>,
    #[serde(default)]
    runtime_config: RuntimeConfig,
    /// The list of GC; libcni also writes it under an older name.
    #[serde(rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<Valid>>,
    socket: Option<PathBuf>,
    log_file: Option<PathBuf>,
    #[serde(default)]
    policy: Policy,
    timeout_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct RuntimeConfig {
    #[serde(default)]
    dns: Dns,
}

/// What kubelet wants for the containers. containerd writes the key with a capital letter.
#[derive(Debug, Default, Deserialize)]
struct Dns {
    #[serde(default, alias = "Servers")]
    servers: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Valid {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

/// What the plugin was called for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The version that the answer is in.
    pub cni_version: String,
    /// What to ask the daemon; nothing for a runtime that wants to know versions.
    pub question: Option<Question>,
    /// How to reach the daemon.
    pub settings: Settings,
}

/// What to ask the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// This.
    pub request: Request,
    /// And print this when all is well: the result of the plugin before.
    pub previous: Option<String>,
}

/// What the entry says about the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens.
    pub socket: PathBuf,
    /// Where the plugin writes what went wrong.
    pub log_file: PathBuf,
    /// What holds when there is no answer.
    pub policy: Policy,
    /// How long an answer is waited for.
    pub timeout_ms: u64,
}

/// Understands a call.
///
/// # Errors
/// What the runtime did not say, or said in a way that has no meaning.
pub fn parse(environment: &Environment, input: &str) -> Result<Call, Error> {
    let config: Config<'_> = serde_json::from_str(input).map_err(|error| {
        let details = "standard input is not a CNI network configuration";
        failure("", code::DECODING_FAILURE, error.to_string(), details)
    })?;
    let version = config.cni_version.clone();
    let settings = settings(&config)?;
    if environment.command == "VERSION" {
        return Ok(Call { cni_version: version, question: None, settings });
    }
    if !VERSIONS.contains(&version.as_str()) {
        let msg = format!("cniVersion {version:?} is not supported");
        let details = format!("this plugin speaks {}", VERSIONS.join(", "));
        return Err(failure("", code::INCOMPATIBLE_VERSION, msg, &details));
    }
    let question = Some(question(environment, &config)?);
    Ok(Call { cni_version: version, question, settings })
}

fn question(environment: &Environment, config: &Config<'_>) -> Result<Question, Error> {
    let sandbox = || sandbox(environment, config);
    let previous = config.prev_result.map(|raw| raw.get().to_owned());
    let needs_previous = || {
        previous.clone().ok_or_else(|| {
            let details = "the plugin is part of a chain: it belongs behind the plugin that makes \
                           the interface";
            failure(&config.cni_version, code::INVALID_CONFIG, "no prevResult".into(), details)
        })
    };
    let request = match environment.command.as_str() {
        "ADD" => {
            let previous = Some(needs_previous()?);
            return Ok(Question { request: Request::Add(sandbox()?), previous });
        }
        "CHECK" => {
            needs_previous()?;
            Request::Check(sandbox()?)
        }
        "DEL" => Request::Del(sandbox()?),
        "GC" => Request::Gc { network: config.name.clone(), valid: valid(config)? },
        "STATUS" => Request::Status,
        other => {
            let msg = format!("CNI_COMMAND {other:?} is none");
            let details = "ADD, CHECK, DEL, GC, STATUS and VERSION are";
            let version = &config.cni_version;
            return Err(failure(version, code::INVALID_ENVIRONMENT, msg, details));
        }
    };
    Ok(Question { request, previous: None })
}

fn sandbox(environment: &Environment, config: &Config<'_>) -> Result<Sandbox, Error> {
    let wrong = |name: &str, value: &str| {
        let msg = format!("{name} is {value:?}");
        failure(&config.cni_version, code::INVALID_ENVIRONMENT, msg, "the runtime has to set it")
    };
    if !is_name(&environment.container_id) {
        return Err(wrong("CNI_CONTAINERID", &environment.container_id));
    }
    if !is_name(&environment.ifname) {
        return Err(wrong("CNI_IFNAME", &environment.ifname));
    }
    if environment.netns.is_empty() && environment.command != "DEL" {
        return Err(wrong("CNI_NETNS", ""));
    }
    let arguments = || environment.args.split(';').filter_map(|pair| pair.split_once('='));
    let argument = |key: &str| {
        let found = arguments().find(|(name, _)| *name == key).map(|(_, value)| value);
        found.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let servers = config.runtime_config.dns.servers.iter();
    Ok(Sandbox {
        attachment: Attachment {
            network: config.name.clone(),
            container_id: environment.container_id.clone(),
            ifname: environment.ifname.clone(),
        },
        netns: environment.netns.clone(),
        pod_namespace: argument("K8S_POD_NAMESPACE").unwrap_or_default(),
        pod_name: argument("K8S_POD_NAME").unwrap_or_default(),
        pod_uid: argument("K8S_POD_UID"),
        resolvers: servers.filter_map(|text| text.parse::<IpAddr>().ok()).collect(),
    })
}

/// Names of containers and interfaces are part of file names.
fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && characters.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn valid(config: &Config<'_>) -> Result<Vec<Attachment>, Error> {
    let Some(valid) = &config.valid_attachments else {
        let msg = "no cni.dev/valid-attachments".into();
        let details = "without it everything would be garbage: nothing was done";
        return Err(failure(&config.cni_version, code::INVALID_CONFIG, msg, details));
    };
    let attachment = |it: &Valid| Attachment {
        network: config.name.clone(),
        container_id: it.container_id.clone(),
        ifname: it.ifname.clone(),
    };
    Ok(valid.iter().map(attachment).collect())
}

fn settings(config: &Config<'_>) -> Result<Settings, Error> {
    let timeout_ms = config.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS);
    if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
        let msg = format!("timeoutMs {timeout_ms} is not between 1 and {TIMEOUT_MS_MAX}");
        let details = "correct the plugin's entry in the conflist";
        return Err(failure(&config.cni_version, code::INVALID_CONFIG, msg, details));
    }
    Ok(Settings {
        socket: config.socket.clone().unwrap_or_else(|| DEFAULT_SOCKET.into()),
        log_file: config.log_file.clone().unwrap_or_else(|| DEFAULT_LOG.into()),
        policy: config.policy,
        timeout_ms,
    })
}

/// An error in `version`, or in the newest one where there is none.
pub(crate) fn failure(version: &str, code: u32, msg: String, details: &str) -> Error {
    let version = if VERSIONS.contains(&version) { version } else { newest() };
    Error { cni_version: version.to_owned(), code, msg, details: details.to_owned() }
}

// === impl Error ===

impl Error {
    /// Standard input cannot be read.
    pub fn unreadable(why: &std::io::Error) -> Self {
        let details = "the runtime has to write the network configuration to standard input";
        failure("", code::IO_FAILURE, why.to_string(), details)
    }
}

/// The answer to VERSION.
pub fn versions(asked: &str) -> String {
    let version = if asked.is_empty() { newest() } else { asked };
    serde_json::json!({ "cniVersion": version, "supportedVersions": VERSIONS }).to_string()
}

fn newest() -> &'static str {
    VERSIONS[VERSIONS.len() - 1]
}
