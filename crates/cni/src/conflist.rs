//! The plugin's entry in a conflist: put in, found again, and taken out, without touching a byte of
//! anything else.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{PLUGIN, Policy, VERSIONS};

/// Endings of files that a runtime looks at.
const ENDINGS: [&str; 3] = ["conf", "conflist", "json"];
/// Longest file that is looked at.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The plugin's entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// [`PLUGIN`]
    #[serde(rename = "type")]
    kind: String,
    /// Where the daemon listens.
    pub socket: String,
    /// Where the plugin writes what went wrong.
    pub log_file: String,
    /// What holds when there is no answer.
    pub policy: Policy,
    /// How long an answer is waited for.
    pub timeout_ms: u64,
    /// Asks the runtime to tell the DNS servers that it gives the containers.
    capabilities: Capabilities,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capabilities {
    dns: bool,
}

/// Why a file is not edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConflistError {
    /// Not JSON, or no list of plugins.
    #[error("is not a CNI network configuration list: {0}")]
    Malformed(String),
    /// One plugin's own configuration.
    #[error(
        "is the configuration of a single plugin, which nothing can be chained to; make it a \
         .conflist with a list of plugins"
    )]
    Single,
    /// The plugin would refuse to work in it.
    #[error("has cniVersion {0:?}; kmesh-cni speaks {versions}", versions = VERSIONS.join(", "))]
    Version(String),
}

/// A file, as far as runtimes ask before they use it.
#[derive(Debug, Deserialize)]
struct File<'a> {
    #[serde(rename = "cniVersion", default)]
    cni_version: String,
    #[serde(default)]
    name: String,
    #[serde(borrow)]
    plugins: Option<&'a RawValue>,
    #[serde(rename = "type", default)]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct Plugin {
    #[serde(rename = "type")]
    kind: String,
}

/// The plugins of a list, each with its place in the text.
struct Plugins {
    /// Of the opening bracket.
    start: usize,
    each: Vec<(String, Range<usize>)>,
}

// === impl Entry ===

impl Entry {
    /// An entry.
    pub fn new(socket: &str, log_file: &str, policy: Policy, timeout_ms: u64) -> Self {
        Self {
            kind: PLUGIN.to_owned(),
            socket: socket.to_owned(),
            log_file: log_file.to_owned(),
            policy,
            timeout_ms,
            capabilities: Capabilities { dns: true },
        }
    }
}

/// Which of these files the runtime uses: in the order of their names the first that it would not pass
/// over. `read` gives the text of a file. Names and what is wrong with those before it come with it.
pub fn first_used(
    names: &[String],
    read: impl Fn(&str) -> Option<String>,
) -> Option<(&str, String)> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).filter(|n| is_config(n)).collect();
    names.sort_unstable();
    names.into_iter().find_map(|name| {
        let text = read(name)?;
        is_usable(name, &text).then_some((name, text))
    })
}

/// True for the name of a file that a runtime looks at.
fn is_config(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(stem, ending)| !stem.is_empty() && ENDINGS.contains(&ending))
}

fn is_usable(name: &str, text: &str) -> bool {
    let Ok(file) = serde_json::from_str::<File<'_>>(text) else { return false };
    if file.name.is_empty() {
        return false;
    }
    if !name.ends_with(".conflist") {
        return !file.kind.is_empty();
    }
    plugins(text, &file).is_ok_and(|plugins| !plugins.each.is_empty())
}

/// The text with the entry in it, as the last plugin where it was not there yet; `None` when it is
/// there already, just so. An entry of the same type, such as one of Kmesh's own plugin, is replaced.
///
/// # Errors
/// When the text is no list of plugins, or of a version that the plugin does not speak.
pub fn insert(text: &str, entry: &Entry) -> Result<Option<String>, ConflistError> {
    let file = parse(text)?;
    let plugins = plugins(text, &file)?;
    if !VERSIONS.contains(&file.cni_version.as_str()) {
        return Err(ConflistError::Version(file.cni_version));
    }
    let mut ours = plugins.ours();
    let written = serde_json::to_string(entry).map_err(malformed)?;
    let Some(first) = ours.next() else {
        return Ok(Some(append(text, &plugins, &written)));
    };
    let others: Vec<Range<usize>> = ours.collect();
    let is_so = text.get(first.clone()).and_then(|own| serde_json::from_str(own).ok());
    if others.is_empty() && is_so.as_ref() == Some(entry) {
        return Ok(None);
    }
    let mut edited = text.to_owned();
    for range in others.iter().rev() {
        edited.replace_range(plugins.with_separator(range), "");
    }
    edited.replace_range(first, &written);
    Ok(Some(edited))
}

/// The text without any entry of the plugin; `None` when there is none.
///
/// # Errors
/// When the text is no list of plugins.
pub fn remove(text: &str) -> Result<Option<String>, ConflistError> {
    let file = parse(text)?;
    let plugins = plugins(text, &file)?;
    let ours: Vec<Range<usize>> = plugins.ours().collect();
    if ours.is_empty() {
        return Ok(None);
    }
    let mut edited = text.to_owned();
    for range in ours.iter().rev() {
        edited.replace_range(plugins.with_separator(range), "");
    }
    // The first plugins were ours: what follows them has a comma too many before it.
    if plugins.each.first().is_some_and(|(kind, _)| kind == PLUGIN) {
        let rest = &edited[plugins.start + 1..];
        let blank = rest.len() - rest.trim_ascii_start().len();
        if rest[blank..].starts_with(',') {
            edited.replace_range(plugins.start + 1..plugins.start + 2 + blank, "");
        }
    }
    Ok(Some(edited))
}

fn parse(text: &str) -> Result<File<'_>, ConflistError> {
    serde_json::from_str(text).map_err(malformed)
}

fn malformed(error: serde_json::Error) -> ConflistError {
    ConflistError::Malformed(error.to_string())
}

fn plugins(text: &str, file: &File<'_>) -> Result<Plugins, ConflistError> {
    let Some(list) = file.plugins else {
        return Err(match file.kind.as_str() {
            "" => ConflistError::Malformed("it has no plugins".into()),
            _ => ConflistError::Single,
        });
    };
    let each: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(malformed)?;
    let named = |raw: &&RawValue| {
        let plugin: Plugin = serde_json::from_str(raw.get()).map_err(malformed)?;
        Ok((plugin.kind, place(text, raw.get())))
    };
    let each = each.iter().map(named).collect::<Result<_, _>>()?;
    Ok(Plugins { start: place(text, list.get()).start, each })
}

/// Where a part of a text is in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

/// Behind the last plugin, with the blanks that are before it.
fn append(text: &str, plugins: &Plugins, entry: &str) -> String {
    let mut edited = text.to_owned();
    match plugins.each.last() {
        None => edited.insert_str(plugins.start + 1, entry),
        Some((_, last)) => {
            let before = &text[..last.start];
            let blanks = &before[before.trim_ascii_end().len()..];
            edited.insert_str(last.end, &format!(",{blanks}{entry}"));
        }
    }
    edited
}

// === impl Plugins ===

impl Plugins {
    fn ours(&self) -> impl Iterator<Item = Range<usize>> {
        self.each.iter().filter(|(kind, _)| kind == PLUGIN).map(|(_, range)| range.clone())
    }

    /// A plugin and what is between it and the one before, or it alone where it is the first.
    fn with_separator(&self, range: &Range<usize>) -> Range<usize> {
        let before = self.each.iter().map(|(_, other)| other.end).filter(|end| *end <= range.start);
        before.max().unwrap_or(range.start)..range.end
    }
}
