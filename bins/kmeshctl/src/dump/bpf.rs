//! The kernel's maps as tables: keys first, then values.

use runtime::api::BpfDump;

use crate::table::section;

/// One table per map that has any entry, each followed by an empty line.
pub fn render(dump: &BpfDump) -> String {
    [frontends(dump), services(dump), endpoints(dump), backends(dump), policies(dump)].concat()
}

fn frontends(dump: &BpfDump) -> String {
    let rows = dump.frontends.iter().map(|f| {
        [
            f.address.clone(),
            f.port.to_string(),
            f.protocol.clone(),
            f.action.clone(),
            f.upstream_id.clone(),
            if f.waypoint_id.is_empty() { "-".into() } else { f.waypoint_id.clone() },
            f.owner.clone(),
        ]
    });
    let heading = ["FRONTEND", "PORT", "PROTOCOL", "ACTION", "UPSTREAM", "WAYPOINT", "OWNER"];
    section(heading, rows.collect())
}

fn services(dump: &BpfDump) -> String {
    let heading = [
        "SERVICE",
        "NAME",
        "PORT",
        "TARGET_PORT",
        "LB_POLICY",
        "ENDPOINTS",
        "FIRST_SLOT",
        "WAYPOINT",
    ];
    let rows = dump.services.iter().map(|s| {
        [
            s.service_id.to_string(),
            s.name.clone(),
            s.service_port.clone(),
            s.target_port.clone(),
            s.lb_policy.clone(),
            s.endpoint_count.clone(),
            s.first_slot.to_string(),
            waypoint(&s.waypoint_addr, s.waypoint_port),
        ]
    });
    section(heading, rows.collect())
}

fn endpoints(dump: &BpfDump) -> String {
    let rows = dump.endpoints.iter().map(|e| {
        [
            e.service_id.to_string(),
            e.slot.to_string(),
            e.backend_uid.clone(),
            e.target_port.to_string(),
        ]
    });
    section(["SERVICE", "SLOT", "BACKEND", "TARGET_PORT"], rows.collect())
}

fn backends(dump: &BpfDump) -> String {
    let rows = dump.backends.iter().map(|b| {
        [
            b.backend_uid.clone(),
            b.ip.clone(),
            b.services.join(","),
            waypoint(&b.waypoint_addr, b.waypoint_port),
        ]
    });
    section(["BACKEND", "IP", "SERVICES", "WAYPOINT"], rows.collect())
}

fn policies(dump: &BpfDump) -> String {
    let rows = dump.workload_policies.iter().map(|p| [p.workload.clone(), p.policy_ids.join(",")]);
    section(["WORKLOAD", "POLICIES"], rows.collect())
}

fn waypoint(address: &str, port: u32) -> String {
    match address {
        "" => "-".to_owned(),
        v6 if v6.contains(':') => format!("[{v6}]:{port}"),
        v4 => format!("{v4}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use runtime::api::{BackendEntry, EndpointEntry, FrontendEntry, ServiceEntry};

    use super::*;

    #[test]
    fn every_entry_shows_its_key() {
        let dump = BpfDump {
            frontends: vec![FrontendEntry {
                address: "10.96.0.1".into(),
                port: 80,
                protocol: "TCP".into(),
                action: "balance".into(),
                upstream_id: "3".into(),
                waypoint_id: "7".into(),
                owner: "shop/web".into(),
            }],
            services: vec![ServiceEntry {
                service_id: 3,
                name: "shop/web".into(),
                endpoint_count: "1".into(),
                lb_policy: "RANDOM".into(),
                service_port: "80".into(),
                target_port: "8080".into(),
                first_slot: 16,
                ..ServiceEntry::default()
            }],
            endpoints: vec![EndpointEntry {
                service_id: 3,
                slot: 0,
                backend_uid: "Kubernetes//Pod/shop/web-1".into(),
                target_port: 8080,
            }],
            backends: vec![BackendEntry {
                backend_uid: "Kubernetes//Pod/shop/web-1".into(),
                ip: "10.0.0.1".into(),
                service_count: 1,
                services: vec!["shop/web".into()],
                waypoint_addr: "fd00::9".into(),
                waypoint_port: 15008,
            }],
            workload_policies: vec![],
        };
        let expected = "\
FRONTEND    PORT   PROTOCOL   ACTION    UPSTREAM   WAYPOINT   OWNER
10.96.0.1   80     TCP        balance   3          7          shop/web

SERVICE   NAME       PORT   TARGET_PORT   LB_POLICY   ENDPOINTS   FIRST_SLOT   WAYPOINT
3         shop/web   80     8080          RANDOM      1           16           -

SERVICE   SLOT   BACKEND                      TARGET_PORT
3         0      Kubernetes//Pod/shop/web-1   8080

BACKEND                      IP         SERVICES   WAYPOINT
Kubernetes//Pod/shop/web-1   10.0.0.1   shop/web   [fd00::9]:15008

";
        assert_eq!(render(&dump), expected);
    }
}
