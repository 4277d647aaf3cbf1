//! A document of a file into the objects that it contains.

use std::sync::Arc;

use serde_yaml_ng::Value;

use crate::findings::{Finding, Findings};
use crate::object::Object;
use crate::{Kind, ObjectKey, kinds, values};

/// One object of a document.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Which document of its segment, from 0.
    pub(crate) document: u32,
    /// Which object of its document, from 0.
    pub(crate) index: u32,
    pub(crate) outcome: Outcome,
    pub(crate) findings: Box<[Finding]>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It is valid.
    Accepted(Arc<ObjectKey>, Arc<Object>),
    /// It is known which object it is, but this version can't be in force.
    Rejected(Arc<ObjectKey>),
    /// It is of a kind that does not concern us.
    Ignored,
    /// It might be any object of the file.
    Unidentified,
}

/// API groups whose objects say what the mesh should do: leaving one out is worth a warning.
const MESH_GROUPS: [&str; 6] = [
    "networking.istio.io",
    "security.istio.io",
    "telemetry.istio.io",
    "extensions.istio.io",
    "gateway.networking.k8s.io",
    "networking.k8s.io",
];

/// The objects of a document, lists expanded; text that is no document is one that can't be
/// identified.
pub(crate) fn entries(document: u32, value: Result<Value, String>) -> Vec<Entry> {
    let mut entries = Vec::new();
    match value {
        Ok(value) => expand(value, String::new(), &mut entries),
        Err(message) => entries.push(unidentified("", message, "")),
    }
    for (entry, index) in entries.iter_mut().zip(0..) {
        (entry.document, entry.index) = (document, index);
    }
    entries
}

fn expand(mut value: Value, prefix: String, entries: &mut Vec<Entry>) {
    let kind = text(&value, "kind").unwrap_or_default();
    let (is_list, is_plain_list) = (kind.ends_with("List"), kind == "List");
    let items = match value.get_mut("items") {
        Some(Value::Sequence(items)) if is_list => std::mem::take(items),
        None if is_plain_list => return,
        _ => return entries.push(entry(value, &prefix)),
    };
    for (index, item) in items.into_iter().enumerate() {
        let place = format!("items[{index}]");
        let prefix = if prefix.is_empty() { place } else { format!("{prefix}.{place}") };
        expand(item, prefix, entries);
    }
}

fn entry(value: Value, prefix: &str) -> Entry {
    if !value.is_mapping() {
        return unidentified("", "not an object with apiVersion, kind and metadata", prefix);
    }
    let (Some(api_version), Some(kind_name)) = (text(&value, "apiVersion"), text(&value, "kind"))
    else {
        let missing = if text(&value, "kind").is_none() { "kind" } else { "apiVersion" };
        return unidentified(missing, "missing, so it is not known which object this is", prefix);
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == kind_name && kind.group() == group);
    let Some(kind) = kind else {
        return ignored(&format!("{api_version} {kind_name}"), group, prefix);
    };
    let Some(key) = key(kind, &value) else {
        let message = "missing, so it is not known which object this is";
        return unidentified("metadata.name", message, prefix);
    };
    let mut findings = Findings::default();
    if !kind.versions().contains(&version) {
        let known = kind.versions().join(", ");
        findings.error("apiVersion", format!("{version:?} is not one of {known}"));
    }
    findings.take("metadata.name", values::object_name(&key.name));
    if kind.is_namespaced() {
        findings.take("metadata.namespace", values::object_name(&key.namespace));
    }
    let object =
        if findings.has_errors() { None } else { kinds::read(&key, &value, &mut findings) };
    let key = Arc::new(key);
    let outcome = match object {
        Some(object) if !findings.has_errors() => Outcome::Accepted(key, Arc::new(object)),
        _ => Outcome::Rejected(key),
    };
    Entry::new(outcome, findings, prefix)
}

fn key(kind: Kind, value: &Value) -> Option<ObjectKey> {
    let metadata = value.get("metadata")?;
    let name = text(metadata, "name").filter(|name| !name.is_empty())?;
    let namespace = match text(metadata, "namespace") {
        _ if !kind.is_namespaced() => "",
        None | Some("") => "default",
        Some(namespace) => namespace,
    };
    Some(ObjectKey { kind, namespace: namespace.to_owned(), name: name.to_owned() })
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

fn ignored(what: &str, group: &str, prefix: &str) -> Entry {
    let mut findings = Findings::default();
    if MESH_GROUPS.contains(&group) {
        findings.warning(
            "kind",
            format!("{what} is not supported yet"),
            "the object has no effect",
        );
    } else {
        findings.info("kind", format!("{what} is none of the mesh's kinds"), "ignored");
    }
    Entry::new(Outcome::Ignored, findings, prefix)
}

fn unidentified(field: &str, message: impl Into<String>, prefix: &str) -> Entry {
    let mut findings = Findings::default();
    findings.error(field, message);
    Entry::new(Outcome::Unidentified, findings, prefix)
}

// === impl Entry ===

impl Entry {
    fn new(outcome: Outcome, findings: Findings, prefix: &str) -> Self {
        let findings = findings.into_vec(prefix).into_boxed_slice();
        Self { document: 0, index: 0, outcome, findings }
    }

    /// Which object it is, and the object if it is valid.
    pub(crate) fn identity(&self) -> Option<(&Arc<ObjectKey>, Option<&Arc<Object>>)> {
        match &self.outcome {
            Outcome::Accepted(key, object) => Some((key, Some(object))),
            Outcome::Rejected(key) => Some((key, None)),
            Outcome::Ignored | Outcome::Unidentified => None,
        }
    }
}
