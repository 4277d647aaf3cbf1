//! What the operator should know about the files: one value for each thing, the same in the log, on
//! the command line and on the wire.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is wrong: something that is normal has no effect (yet).
    Info,
    /// The object is in force, but part of what it says is not.
    Warning,
    /// This version of the object, or this file, is not in force.
    Error,
}

/// The kinds of objects that this crate understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// v1 Namespace.
    Namespace,
    /// v1 Node.
    Node,
    /// v1 Service.
    Service,
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice,
    /// networking.istio.io ServiceEntry.
    ServiceEntry,
    /// networking.istio.io WorkloadEntry.
    WorkloadEntry,
    /// networking.istio.io DestinationRule.
    DestinationRule,
    /// gateway.networking.k8s.io Gateway, of which only waypoints have an effect.
    Gateway,
    /// v1 Pod, for its labels and its service account: where it is, slices say.
    Pod,
    /// security.istio.io AuthorizationPolicy.
    AuthorizationPolicy,
    /// security.istio.io PeerAuthentication.
    PeerAuthentication,
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds that have none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// One thing that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the directory.
    pub file: String,
    /// Which YAML document of the file, from 1; none when it concerns the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    /// The object, when it could be identified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectKey>,
    /// Path of the field, such as `spec.ports[0].protocol`; empty for the object as a whole.
    pub field: String,
    /// What is the matter.
    pub message: String,
    /// What happens now.
    pub consequence: String,
}

// === impl Severity ===

impl Severity {
    /// Logs a problem at the level of its severity.
    pub fn log(self, problem: &impl fmt::Display) {
        match self {
            Severity::Error => tracing::error!("{problem}"),
            Severity::Warning => tracing::warn!("{problem}"),
            Severity::Info => tracing::info!("{problem}"),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

// === impl Kind ===

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 11] = [
        Kind::Namespace,
        Kind::Node,
        Kind::Service,
        Kind::EndpointSlice,
        Kind::ServiceEntry,
        Kind::WorkloadEntry,
        Kind::DestinationRule,
        Kind::Gateway,
        Kind::Pod,
        Kind::AuthorizationPolicy,
        Kind::PeerAuthentication,
    ];

    /// The name in `kind:`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Namespace => "Namespace",
            Kind::Node => "Node",
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::ServiceEntry => "ServiceEntry",
            Kind::WorkloadEntry => "WorkloadEntry",
            Kind::DestinationRule => "DestinationRule",
            Kind::Gateway => "Gateway",
            Kind::Pod => "Pod",
            Kind::AuthorizationPolicy => "AuthorizationPolicy",
            Kind::PeerAuthentication => "PeerAuthentication",
        }
    }

    /// The API group, empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Kind::Namespace | Kind::Node | Kind::Service | Kind::Pod => "",
            Kind::EndpointSlice => "discovery.k8s.io",
            Kind::Gateway => "gateway.networking.k8s.io",
            Kind::ServiceEntry | Kind::WorkloadEntry | Kind::DestinationRule => {
                "networking.istio.io"
            }
            Kind::AuthorizationPolicy | Kind::PeerAuthentication => "security.istio.io",
        }
    }

    /// The API versions that are understood.
    pub fn versions(self) -> &'static [&'static str] {
        match self.group() {
            "networking.istio.io" => &["v1", "v1beta1", "v1alpha3"],
            "gateway.networking.k8s.io" | "security.istio.io" => &["v1", "v1beta1"],
            _ => &["v1"],
        }
    }

    /// Do objects of this kind live in a namespace?
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Kind::Namespace | Kind::Node)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl ObjectKey ===

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind.is_namespaced() {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        } else {
            write!(f, "{} {}", self.kind, self.name)
        }
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    /// One line, whatever the texts contain.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{}: {}", self.severity, self.file);
        if let Some(document) = self.document {
            text.push_str(&format!(" document {document}"));
        }
        if let Some(object) = &self.object {
            text.push_str(&format!(": {object}"));
        }
        if !self.field.is_empty() {
            text.push_str(&format!(": {}", self.field));
        }
        text.push_str(&format!(": {}; {}", self.message, self.consequence));
        f.write_str(&text.replace(|c: char| c.is_control(), " "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line() {
        let problem = Problem {
            severity: Severity::Error,
            file: "a.yaml".to_owned(),
            document: Some(2),
            object: Some(ObjectKey {
                kind: Kind::Service,
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
            }),
            field: "spec.ports[0].protocol".to_owned(),
            message: "not a\nprotocol".to_owned(),
            consequence: "the object is not in force".to_owned(),
        };
        assert_eq!(
            problem.to_string(),
            "error: a.yaml document 2: Service shop/web: spec.ports[0].protocol: \
             not a protocol; the object is not in force"
        );
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["severity"], "error");
        assert_eq!(json["object"]["kind"], "Service");
    }
}
