//! The configuration as tables, with Kmesh's columns.

use runtime::api::{ConfigDump, Origin};

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

/// As [`render`], with where each thing comes from in the place of what it says.
pub fn render_origins(dump: &ConfigDump) -> String {
    let row = |kind: &str, namespace: &str, name: &str, origin: &Option<Origin>| {
        let origin = origin.clone().unwrap_or_default();
        let in_kernel = if origin.in_kernel { "yes" } else { "no" };
        let sources = origin.sources.join(",");
        let name = format!("{namespace}/{name}");
        [kind.to_owned(), name, in_kernel.to_owned(), origin.version, sources]
    };
    let workloads =
        dump.workloads.iter().map(|it| row("workload", &it.namespace, &it.name, &it.origin));
    let services =
        dump.services.iter().map(|it| row("service", &it.namespace, &it.hostname, &it.origin));
    let policies =
        dump.policies.iter().map(|it| row("policy", &it.namespace, &it.name, &it.origin));
    let rows = services.chain(workloads).chain(policies).collect();
    section(["KIND", "NAME", "IN KERNEL", "VERSION", "SOURCE"], rows)
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
    fn origins_are_told_for_each_object() {
        let origin = Origin {
            sources: vec!["shop/web.shop.svc.cluster.local".into()],
            version: "7".into(),
            in_kernel: true,
        };
        let service = ServiceDump {
            namespace: "shop".into(),
            hostname: "web".into(),
            origin: Some(origin),
            ..ServiceDump::default()
        };
        let dump = ConfigDump { services: vec![service], ..ConfigDump::default() };
        let expected = "\
KIND      NAME       IN KERNEL   VERSION   SOURCE
service   shop/web   yes         7         shop/web.shop.svc.cluster.local

";
        assert_eq!(render_origins(&dump), expected);
    }

    #[test]
    fn a_kind_without_objects_has_no_table() {
        assert_eq!(render(&ConfigDump::default()), "");
    }
}
