//! Builders of configuration text: ordinary YAML, as a user would write it.

mod endpoint_slice;
mod istio;
mod service;

use std::fmt::{self, Display, Write as _};

pub use endpoint_slice::{EndpointSlice, endpoint_slice};
pub use istio::{
    DestinationRule, ServiceEntry, WorkloadEntry, destination_rule, service_entry, workload_entry,
};
pub use service::{Service, service};

/// Several documents in one file.
pub fn join(documents: &[&dyn Display]) -> String {
    documents.iter().map(ToString::to_string).collect::<Vec<_>>().join("---\n")
}

/// A Namespace with labels.
pub fn namespace(name: &str, labels: &[(&str, &str)]) -> String {
    let mut meta = Meta::new(name);
    meta.namespace.clear();
    meta.labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    format!("apiVersion: v1\nkind: Namespace\n{meta}")
}

/// `metadata`, common to all.
#[derive(Clone, Debug)]
struct Meta {
    name: String,
    namespace: String,
    labels: Vec<(String, String)>,
    annotations: Vec<(String, String)>,
}

impl Meta {
    fn new(name: &str) -> Self {
        let namespace = "default".to_owned();
        Self { name: name.to_owned(), namespace, labels: Vec::new(), annotations: Vec::new() }
    }
}

impl Display for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "metadata:\n  name: {}", self.name)?;
        if !self.namespace.is_empty() {
            writeln!(f, "  namespace: {}", self.namespace)?;
        }
        for (field, pairs) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            f.write_str(&pairs_at(2, field, pairs))?;
        }
        Ok(())
    }
}

/// A map of strings, or nothing when it is empty.
fn pairs_at(indent: usize, field: &str, pairs: &[(String, String)]) -> String {
    let mut text = String::new();
    if !pairs.is_empty() {
        let _ = writeln!(text, "{:indent$}{field}:", "");
        for (key, value) in pairs {
            let _ = writeln!(text, "{:indent$}  {key}: {}", "", quoted(value));
        }
    }
    text
}

/// Quoted, so that YAML does not take `yes`, `1` or `::1` for something else.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// Methods that every builder has.
macro_rules! with_meta {
    ($type:ty) => {
        impl $type {
            /// Another namespace than `default`.
            pub fn namespace(mut self, namespace: &str) -> Self {
                self.meta.namespace = namespace.to_owned();
                self
            }

            /// A label of the object itself.
            pub fn label(mut self, key: &str, value: &str) -> Self {
                self.meta.labels.push((key.to_owned(), value.to_owned()));
                self
            }

            /// An annotation.
            pub fn annotation(mut self, key: &str, value: &str) -> Self {
                self.meta.annotations.push((key.to_owned(), value.to_owned()));
                self
            }
        }
    };
}
use with_meta;

#[cfg(test)]
mod tests;
