//! networking.istio.io DestinationRule
//! (<https://istio.io/latest/docs/reference/config/networking/destination-rule/>).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{istio, service_entry, traffic_policy};
use crate::findings::{Findings, IGNORED_BY_L4};
use crate::object::{Body, DestinationRule};
use crate::values;

pub(super) fn read(
    api: istio::Resource<istio::DestinationRule>,
    findings: &mut Findings,
) -> Option<(ObjectMeta, Body)> {
    let spec = api.spec;
    let host = match spec.host.as_str() {
        "*" => Some("*".to_owned()),
        host => findings.take("spec.host", values::host(host)),
    };
    findings.unsupported("spec.subsets", &spec.subsets, IGNORED_BY_L4);
    findings.unsupported(
        "spec.workloadSelector",
        &spec.workload_selector,
        "the rule, which is for some clients only, has no effect",
    );
    service_entry::export_to(&spec.export_to, findings);
    let balancing = traffic_policy::read(spec.traffic_policy, findings);
    let rule = DestinationRule {
        host: host?,
        is_for_all_clients: spec.workload_selector.is_none(),
        algorithm: balancing.algorithm,
        locality: balancing.locality,
    };
    Some((api.metadata, Body::DestinationRule(Box::new(rule))))
}
