//! security.istio.io PeerAuthentication
//! (<https://istio.io/latest/docs/reference/config/security/peer_authentication/>): checked, and not
//! enforced, because nothing here proves an identity yet.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::istio::Resource;
use super::security as api;
use crate::findings::Findings;
use crate::object::Body;
use crate::values;

const NOT_ENFORCED: &str = "connections are taken with and without mutual TLS";

pub(super) fn read(
    api: Resource<api::PeerAuthentication>,
    findings: &mut Findings,
) -> (ObjectMeta, Body) {
    let spec = api.spec;
    let has_selector = spec.selector.is_some_and(|it| !it.match_labels.is_empty());
    if !has_selector && !spec.port_level_mtls.is_empty() {
        findings.error("spec.portLevelMtls", "set without a selector");
    }
    if let Some(mtls) = &spec.mtls {
        mode("spec.mtls.mode", mtls, findings);
    }
    for (port, mtls) in &spec.port_level_mtls {
        let field = format!("spec.portLevelMtls.{port}");
        findings.take(field.as_str(), values::port(*port));
        mode(&format!("{field}.mode"), mtls, findings);
    }
    findings.info("spec", "identities are not proven yet", NOT_ENFORCED);
    (api.metadata, Body::PeerAuthentication)
}

fn mode(field: &str, mtls: &api::MutualTls, findings: &mut Findings) {
    match mtls.mode.as_deref() {
        None | Some("UNSET" | "DISABLE" | "PERMISSIVE") => {}
        Some("STRICT") => findings.warning(field, "STRICT is not enforced yet", NOT_ENFORCED),
        Some(other) => {
            let known = "UNSET, DISABLE, PERMISSIVE, STRICT";
            findings.error(field, format!("{other:?} is not one of {known}"));
        }
    }
}
