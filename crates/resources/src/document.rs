//! A document of a file into the objects that it contains.

use std::sync::Arc;

use serde_yaml_ng::Value;

use crate::findings::{Finding, Findings};
use crate::object::Object;
use crate::{Kind, ObjectKey, kinds, values};

/// One object of a document.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) outcome: Outcome,
    pub(crate) findings: Vec<Finding>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It is valid.
    Accepted(ObjectKey, Arc<Object>),
    /// It is known which object it is, but this version can't be in force.
    Rejected(ObjectKey),
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

/// The objects of a document that could be parsed, lists expanded.
pub(crate) fn entries(value: Value) -> Vec<Entry> {
    let mut entries = Vec::new();
    expand(value, String::new(), &mut entries);
    entries
}

/// The entry for text that is no document.
pub(crate) fn broken(message: String) -> Entry {
    unidentified("", message, "")
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
    let object = if findings.has_errors() { None } else { kinds::read(&key, value, &mut findings) };
    let outcome = match object {
        Some(object) if !findings.has_errors() => Outcome::Accepted(key, Arc::new(object)),
        _ => Outcome::Rejected(key),
    };
    Entry { outcome, findings: findings.into_vec(prefix) }
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
    Entry { outcome: Outcome::Ignored, findings: findings.into_vec(prefix) }
}

fn unidentified(field: &str, message: impl Into<String>, prefix: &str) -> Entry {
    let mut findings = Findings::default();
    findings.error(field, message);
    Entry { outcome: Outcome::Unidentified, findings: findings.into_vec(prefix) }
}
