//! `trafficDistribution`: which endpoints a Service or a ServiceEntry prefers by itself
//! (<https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-distribution>).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{LocalityMode, Scope};

use crate::findings::Findings;

/// Istio's annotation for what the field says; the field wins.
const ANNOTATION: &str = "networking.istio.io/traffic-distribution";

/// What `PreferClose` prefers, most important first.
const CLOSE: [Scope; 4] = [Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone];

const KNOWN: &str = "PreferClose, PreferSameZone, PreferSameNode";

/// What `spec.trafficDistribution`, else the annotation, says.
pub(super) fn read(
    field: Option<&str>,
    metadata: &ObjectMeta,
    findings: &mut Findings,
) -> LocalityMode {
    let Some(text) = field else { return annotated(metadata, findings) };
    match text {
        "PreferClose" | "PreferSameZone" => close(),
        "PreferSameNode" => same_node(),
        other => {
            let message = format!("{other:?} is not one of {KNOWN}");
            findings.error("spec.trafficDistribution", message);
            LocalityMode::Ignore
        }
    }
}

/// What the annotation says; upper and lower case do not matter.
pub(super) fn annotated(metadata: &ObjectMeta, findings: &mut Findings) -> LocalityMode {
    let annotations = metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|annotations| annotations.get(ANNOTATION)) else {
        return LocalityMode::Ignore;
    };
    match text.to_ascii_lowercase().as_str() {
        "preferclose" | "prefersamezone" => close(),
        "prefersamenode" => same_node(),
        "any" => LocalityMode::Ignore,
        _ => {
            let field = format!("metadata.annotations[{ANNOTATION}]");
            let message = format!("{text:?} is not one of {KNOWN}, Any");
            findings.warning(field, message, "no endpoint is preferred");
            LocalityMode::Ignore
        }
    }
}

fn close() -> LocalityMode {
    LocalityMode::Failover(CLOSE.to_vec())
}

fn same_node() -> LocalityMode {
    LocalityMode::Failover(CLOSE.into_iter().chain([Scope::Node]).collect())
}
