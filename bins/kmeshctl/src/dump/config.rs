//! The configuration as tables, with Kmesh's columns.

use runtime::api::ConfigDump;

use crate::table::section;

/// One table per kind that has any object, each followed by an empty line.
pub fn render(dump: &ConfigDump) -> String {
    let workloads = dump.workloads.iter().map(|w| {
        [
            w.name.clone(),
            w.namespace.clone(),
            w.addresses.join(","),
            w.protocol.clone(),
            w.status.clone(),
        ]
    });
    let services = dump
        .services
        .iter()
        .map(|s| [s.name.clone(), s.namespace.clone(), s.hostname.clone(), s.vips.join(",")]);
    let policies = dump
        .policies
        .iter()
        .map(|p| [p.name.clone(), p.namespace.clone(), p.scope.clone(), p.action.clone()]);
    [
        section(["NAME", "NAMESPACE", "ADDRESSES", "PROTOCOL", "STATUS"], workloads.collect()),
        section(["NAME", "NAMESPACE", "HOSTNAME", "VIPS"], services.collect()),
        section(["NAME", "NAMESPACE", "SCOPE", "ACTION"], policies.collect()),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use runtime::api::{PolicyDump, ServiceDump, WorkloadDump};

    use super::*;

    #[test]
    fn each_kind_has_a_table_and_an_empty_line_after_it() {
        let dump = ConfigDump {
            workloads: vec![
                WorkloadDump {
                    name: "web-1".into(),
                    namespace: "shop".into(),
                    addresses: vec!["10.0.0.1".into(), "fd00::1".into()],
                    protocol: "NONE".into(),
                    status: "HEALTHY".into(),
                    ..WorkloadDump::default()
                },
                WorkloadDump { name: "a".into(), ..WorkloadDump::default() },
            ],
            services: vec![ServiceDump {
                name: "web".into(),
                namespace: "shop".into(),
                hostname: "web.shop.svc.cluster.local".into(),
                vips: vec!["/10.96.0.1".into()],
                ..ServiceDump::default()
            }],
            policies: vec![PolicyDump {
                name: "deny".into(),
                namespace: "shop".into(),
                scope: "NAMESPACE".into(),
                action: "DENY".into(),
                ..PolicyDump::default()
            }],
        };
        let expected = "\
NAME    NAMESPACE   ADDRESSES          PROTOCOL   STATUS
web-1   shop        10.0.0.1,fd00::1   NONE       HEALTHY
a

NAME   NAMESPACE   HOSTNAME                     VIPS
web    shop        web.shop.svc.cluster.local   /10.96.0.1

NAME   NAMESPACE   SCOPE       ACTION
deny   shop        NAMESPACE   DENY

";
        assert_eq!(render(&dump), expected);
    }

    #[test]
    fn a_kind_without_objects_has_no_table() {
        assert_eq!(render(&ConfigDump::default()), "");
    }
}
