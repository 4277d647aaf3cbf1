//! From files to the model.

mod affected;
mod allocation;
mod outside;
mod policies;
mod reuse;
mod waypoints;

use std::sync::Arc;

use model::{Algorithm, Health, Locality, LocalityMode, Scope, ServiceName, Source, WorkloadName};

use crate::testing::{Mesh, destination_rule, service, service_entry, workload_entry};
use crate::{Options, Severity};

const WEB: &str = "web.default.svc.cluster.local";

/// The only file.
fn mesh(text: &str) -> Mesh {
    let mesh = Mesh::new(&[("mesh.yaml", text)]);
    assert_eq!(mesh.errors(), [""; 0], "{text}");
    mesh
}

/// An EndpointSlice of service `web` in namespace `default`.
fn slice(name: &str, family: &str, ports: &str, endpoints: &str) -> String {
    format!(
        "---\n\
         apiVersion: discovery.k8s.io/v1\n\
         kind: EndpointSlice\n\
         metadata: {{name: {name}, labels: {{kubernetes.io/service-name: web}}}}\n\
         addressType: {family}\n\
         ports: [{ports}]\n\
         endpoints: [{endpoints}]\n"
    )
}

#[test]
fn a_dual_stack_service() {
    let mesh = mesh(&format!(
        "{}{}{}",
        service("web", "10.0.0.1").replace(
            "selector: {app: web}",
            "clusterIPs: [10.0.0.1, 'fd00::1'], ipFamilyPolicy: RequireDualStack"
        ),
        slice("v4", "IPv4", "{port: 8080}", "{addresses: [10.1.0.1]}"),
        slice("v6", "IPv6", "{port: 8080, name: ''}", "{addresses: ['fd01::1']}"),
    ));
    let service = mesh.service(WEB);
    let addresses: Vec<_> = service.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.1", "fd00::1"]);
    assert_eq!((service.object_name.as_str(), service.source), ("web", Source::Kubernetes));
    assert_eq!(mesh.endpoints(WEB), ["10.1.0.1 80->8080", "fd01::1 80->8080"]);
}

#[test]
fn named_target_ports_differ_from_slice_to_slice() {
    let service = service("web", "10.0.0.1").replace(
        "[{port: 80}]",
        "[{port: 80, name: http, targetPort: web}, {port: 53, name: dns, protocol: UDP}, \
          {port: 90, name: metrics, appProtocol: kubernetes.io/h2c}]",
    );
    let text = format!(
        "{service}{}{}{}",
        slice(
            "old",
            "IPv4",
            "{port: 8080, name: http}, {port: 53, name: dns, protocol: UDP}",
            "{addresses: [10.1.0.2]}, {addresses: [10.1.0.1]}"
        ),
        slice("new", "IPv4", "{port: 9090, name: http}", "{addresses: [10.1.0.3]}"),
        // The same address again, with a port that the other slice does not know.
        slice("more", "IPv4", "{port: 9100, name: metrics}", "{addresses: [10.1.0.1]}"),
    );
    let mesh = mesh(&text);
    assert_eq!(
        mesh.endpoints(WEB),
        [
            "10.1.0.1 53/udp->53 80->8080 90->9100",
            "10.1.0.2 53/udp->53 80->8080",
            "10.1.0.3 80->9090"
        ]
    );
    let app_protocols: Vec<_> =
        mesh.service(WEB).ports.iter().map(|port| port.app_protocol.as_str()).collect();
    assert_eq!(app_protocols, ["http", "", "kubernetes.io/h2c"]);
}

#[test]
fn services_without_addresses() {
    for (spec, endpoints) in [
        ("{clusterIP: None, ports: [{port: 80}]}", 1),
        ("{ports: [{port: 80}]}", 1),
        ("{type: ExternalName, externalName: a.example.com}", 1),
    ] {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {spec}\n{}",
            slice("s", "IPv4", "{port: 80}", "{addresses: [10.1.0.1]}")
        );
        let mesh = mesh(&text);
        assert_eq!(mesh.service(WEB).addresses, [] as [std::net::IpAddr; 0], "{spec}");
        assert_eq!(mesh.service(WEB).endpoints.len(), endpoints, "{spec}");
    }
}

#[test]
fn health_of_slice_endpoints() {
    for (conditions, health) in [
        ("{}", Health::Healthy),
        ("{ready: true}", Health::Healthy),
        ("{ready: null, serving: true}", Health::Healthy),
        ("{ready: false}", Health::Unhealthy),
        ("{ready: false, serving: true, terminating: true}", Health::Terminating),
        ("{ready: false, serving: false, terminating: true}", Health::Unhealthy),
    ] {
        let endpoint = format!("{{addresses: [10.1.0.1], conditions: {conditions}}}");
        let slice = slice("s", "IPv4", "{port: 80}", &endpoint);
        let web = service("web", "10.0.0.1");
        assert_eq!(mesh(&format!("{web}{slice}")).service(WEB).endpoints[0].health, health);
        let web = web.replace("ports:", "publishNotReadyAddresses: true, ports:");
        let healthy = mesh(&format!("{web}{slice}")).service(WEB).endpoints[0].health;
        assert_eq!(healthy, Health::Healthy);
    }
}

#[test]
fn pods_and_their_nodes() {
    let node = "---\napiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: \
                {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: a, \
                topology.istio.io/subzone: '1'}}\n";
    let endpoint = |address: &str, zone: &str| {
        format!(
            "{{addresses: ['{address}'], nodeName: n1, zone: {zone}, \
             targetRef: {{kind: Pod, name: web-1, namespace: default}}}}"
        )
    };
    let mesh = mesh(&format!(
        "{}{node}{}{}",
        service("web", "10.0.0.1"),
        slice("v4", "IPv4", "{port: 80}", &endpoint("10.1.0.1", "a")),
        slice("v6", "IPv6", "{port: 80}", &endpoint("fd01::1", "b")),
    ));
    assert_eq!(mesh.endpoints(WEB), ["10.1.0.1 80->80 eu/a/1 web-1", "fd01::1 80->80 eu/b web-1"]);
    assert_eq!(mesh.service(WEB).endpoints[0].topology.node, "n1");
    let pod = &mesh.snapshot.workloads[&WorkloadName::new("default", "web-1")];
    assert_eq!(pod.uid(), "Kubernetes//Pod/default/web-1");
    assert_eq!(pod.addresses.len(), 2);
    assert_eq!(pod.topology.locality, Locality::parse("eu/a/1"));
    assert_eq!(*pod.services, [ServiceName::new("default", WEB)]);
}

#[test]
fn pods_of_one_address_stay_apart() {
    let endpoint =
        |name| format!("{{addresses: [10.1.0.1], targetRef: {{kind: Pod, name: {name}}}}}");
    let mesh = mesh(&format!(
        "{}{}{}",
        service("web", "10.0.0.1"),
        slice("a", "IPv4", "{port: 8080}", &endpoint("a")),
        slice("b", "IPv4", "{port: 8081}", &endpoint("b")),
    ));
    assert_eq!(mesh.endpoints(WEB), ["10.1.0.1 80->8080 a", "10.1.0.1 80->8081 b"]);
}

#[test]
fn workload_entries_of_a_service() {
    for (target, entry, expected) in [
        ("", "address: 10.1.0.1", vec!["10.1.0.1 80->80 vm"]),
        (", targetPort: 8080", "address: 10.1.0.1", vec!["10.1.0.1 80->8080 vm"]),
        (", targetPort: web", "address: 10.1.0.1, ports: {web: 9}", vec!["10.1.0.1 80->9 vm"]),
        (", targetPort: web", "address: 10.1.0.1", vec!["10.1.0.1 vm"]),
        (
            ", name: http, targetPort: 8080",
            "address: 10.1.0.1, ports: {http: 9}",
            vec!["10.1.0.1 80->9 vm"],
        ),
        ("", "address: 10.1.0.1, weight: 0", vec!["10.1.0.1 80->80 weight=0 vm"]),
        (
            "",
            "address: 'fd01::1', weight: 7, locality: eu/a/1",
            vec!["fd01::1 80->80 weight=7 eu/a/1 vm"],
        ),
        ("", "address: VM.example.com.", vec!["vm.example.com 80->80 vm"]),
    ] {
        let web = service("web", "10.0.0.1").replace("{port: 80", &format!("{{port: 80{target}"));
        let mesh = mesh(&format!("{web}{}", workload_entry("vm", "web", entry)));
        assert_eq!(mesh.endpoints(WEB), expected, "{target} {entry}");
    }
}

#[test]
fn a_workload_entry_as_workload() {
    let entry = workload_entry("vm", "web", "address: 10.1.0.1, network: vpc, serviceAccount: sa")
        .replace("{name: vm}", "{name: vm, labels: {app: web, kubernetes.io/hostname: n1}}")
        + "status: {conditions: [{type: Healthy, status: 'False'}]}\n";
    let other = "---\napiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: \
                 {topology.kubernetes.io/region: eu}}\n";
    let text = format!("{}{entry}{other}", service("web", "10.0.0.1"));
    let mesh = mesh(&text);
    let vm = &mesh.snapshot.workloads[&WorkloadName::new("default", "vm")];
    assert_eq!(vm.uid(), "Kubernetes/networking.istio.io/WorkloadEntry/default/vm");
    assert_eq!((vm.topology.network.as_str(), &*vm.service_account), ("vpc", "sa"));
    assert_eq!((vm.topology.node.as_str(), vm.health), ("n1", Health::Unhealthy));
    assert_eq!(*vm.services, [ServiceName::new("default", WEB)]);
    assert_eq!(mesh.endpoints(WEB), ["10.1.0.1 80->80 Unhealthy eu vm"]);

    let options = Options {
        cluster_domain: "mesh.test".to_owned(),
        cluster: "c1".to_owned(),
        network: "vpc".to_owned(),
        ..Options::default()
    };
    let mesh = Mesh::with_options(options, &[("a.yaml", &text)]);
    let vm = &mesh.snapshot.workloads[&WorkloadName::new("default", "vm")];
    assert_eq!(vm.topology.network, "");
    assert!(vm.uid().starts_with("c1/"));
    assert_eq!(mesh.service("web.default.svc.mesh.test").endpoints[0].topology.network, "");
}

#[test]
fn selection_is_by_all_labels_and_namespace() {
    let vm = |name: &str, labels: &str| {
        workload_entry(name, "web", "address: 10.1.0.1").replace("app: web", labels)
    };
    let web = service("web", "10.0.0.1").replace("app: web", "app: web, tier: front");
    let elsewhere = vm("d", "app: web, tier: front").replace("name: d", "name: d, namespace: o");
    let mesh = mesh(&format!(
        "{web}{}{}{}{elsewhere}",
        vm("a", "app: web, tier: front, more: yes-please"),
        vm("b", "app: web"),
        vm("c", "app: web, tier: back"),
    ));
    assert_eq!(mesh.endpoints(WEB), ["10.1.0.1 80->80 a"]);
    let unselective = service("web", "10.0.0.1").replace("{app: web}", "{}");
    let mesh = Mesh::new(&[("a.yaml", &format!("{unselective}{}", vm("a", "app: web")))]);
    assert_eq!(mesh.endpoints(WEB), [""; 0]);
}

#[test]
fn service_entries() {
    let entry = |spec: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
             metadata: {{name: ext}}\nspec: {{hosts: [a.example.com, b.example.com], \
             addresses: [240.0.0.1], ports: [{{number: 80, name: http, protocol: HTTP, \
             targetPort: 8080}}], {spec}}}\n"
        )
    };
    for (spec, more, algorithm, expected) in [
        ("resolution: NONE", "", Algorithm::Passthrough, vec![]),
        ("location: MESH_INTERNAL", "", Algorithm::Passthrough, vec![]),
        (
            "resolution: STATIC, endpoints: [{address: 10.1.0.2, ports: {http: 9}}, \
             {address: 10.1.0.1, weight: 2, locality: eu}, {address: 10.1.0.1, ports: {http: 7}}]",
            "",
            Algorithm::WeightedRandom,
            vec!["10.1.0.1 80->7", "10.1.0.1 80->8080 weight=2 eu", "10.1.0.2 80->9"],
        ),
        (
            "resolution: DNS, endpoints: [{address: 10.1.0.1}, {address: c.example.com}]",
            "",
            Algorithm::WeightedRandom,
            vec!["10.1.0.1 80->8080", "c.example.com 80->8080"],
        ),
        ("resolution: STATIC", "", Algorithm::WeightedRandom, vec![]),
        (
            "resolution: STATIC, workloadSelector: {labels: {app: x}}",
            &workload_entry("vm", "x", "address: 10.1.0.1"),
            Algorithm::WeightedRandom,
            vec!["10.1.0.1 80->8080 vm"],
        ),
    ] {
        let mesh = mesh(&format!("{}{more}", entry(spec)));
        assert_eq!(mesh.endpoints("a.example.com"), expected, "{spec}");
        assert_eq!(mesh.endpoints("b.example.com"), expected, "{spec}");
        let (a, b) = (mesh.service("a.example.com"), mesh.service("b.example.com"));
        assert_eq!(a.load_balancing.algorithm, algorithm, "{spec}");
        assert_eq!((a.addresses.len(), b.addresses.len()), (1, 0), "{spec}");
        assert_eq!((a.source, a.object_name.as_str()), (Source::ServiceEntry, "ext"));
        assert_eq!(a.ports[0].app_protocol, "http");
    }
}

#[test]
fn which_rule_counts() {
    let web = service("web", "10.0.0.1");
    let rule = |name: &str, host: &str| destination_rule(name, host, "{simple: PASSTHROUGH}");
    let elsewhere = |host: &str| rule("r", host).replace("{name: r}", "{name: r, namespace: o}");
    for (rules, is_passthrough) in [
        (rule("r", "web"), true),
        (rule("r", "web.default"), true),
        (rule("r", "web.default.svc"), true),
        (rule("r", WEB), true),
        (rule("r", "*.default.svc.cluster.local"), true),
        (rule("r", "*.local"), true),
        (rule("r", "*"), true),
        (rule("r", "other"), false),
        (rule("r", "*.other.svc.cluster.local"), false),
        (elsewhere("web"), false),
        (elsewhere("web.default"), true),
        (elsewhere(WEB), true),
        // The most specific one.
        (rule("r", "*.local") + &destination_rule("s", "web", "{simple: RANDOM}"), false),
        (rule("r", "web") + &destination_rule("s", "*.local", "{simple: RANDOM}"), true),
        // The one of the service's own namespace, even if it is less specific.
        (elsewhere(WEB) + &destination_rule("s", "*", "{simple: RANDOM}"), false),
        (rule("r", "web").replace("spec: {", "spec: {workloadSelector: {}, "), false),
    ] {
        let mesh = mesh(&format!("{web}{rules}"));
        let is = mesh.service(WEB).load_balancing.algorithm == Algorithm::Passthrough;
        assert_eq!(is, is_passthrough, "{rules}");
    }
    let mesh = mesh(&format!("{web}{}", rule("r", "other")));
    assert!(mesh.of(Severity::Info)[0].contains("no service has this host"));
}

#[test]
fn rules_that_turn_out_to_be_about_one_host() {
    let rules = destination_rule("a", "web.default", "{simple: PASSTHROUGH}")
        + &destination_rule("b", WEB, "{simple: RANDOM}");
    let text = format!("{}{rules}", service("web", "10.0.0.1"));
    let mesh = Mesh::new(&[("a.yaml", &text)]);
    assert_eq!(mesh.service(WEB).load_balancing.algorithm, Algorithm::Passthrough);
    assert_eq!(mesh.errors().len(), 1);
    assert!(mesh.errors()[0].contains("DestinationRule default/b: spec.host"));
}

#[test]
fn locality_modes() {
    use Scope::{Network, Node, Region, Subzone, Zone};
    let close = LocalityMode::Failover(vec![Network, Region, Zone, Subzone]);
    let regions = |pairs: &[(&str, &str)]| LocalityMode::RegionFailover {
        failover: pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
    };
    let cases = [
        ("", "", LocalityMode::Ignore),
        ("trafficDistribution: PreferClose", "", close.clone()),
        ("trafficDistribution: PreferSameZone", "", close.clone()),
        (
            "trafficDistribution: PreferSameNode",
            "",
            LocalityMode::Failover(vec![Network, Region, Zone, Subzone, Node]),
        ),
        ("internalTrafficPolicy: Local", "", LocalityMode::Strict(vec![Node])),
        ("internalTrafficPolicy: Local", "enabled: false", LocalityMode::Strict(vec![Node])),
        ("trafficDistribution: PreferClose", "enabled: false", LocalityMode::Ignore),
        ("", "enabled: true", regions(&[])),
        ("", "failover: [{from: eu, to: us}]", regions(&[("eu", "us")])),
        (
            "trafficDistribution: PreferClose",
            "failoverPriority: [topology.kubernetes.io/region, kubernetes.io/hostname]",
            LocalityMode::Failover(vec![Region, Node]),
        ),
    ];
    for (spec, setting, expected) in cases {
        let spec = if spec.is_empty() { String::new() } else { format!("{spec}, ") };
        let web = service("web", "10.0.0.1").replace("ports:", &format!("{spec}ports:"));
        let rule = destination_rule("r", "web", &format!("{{localityLbSetting: {{{setting}}}}}"));
        let rule = if setting.is_empty() { String::new() } else { rule };
        let mesh = mesh(&format!("{web}{rule}"));
        assert_eq!(mesh.service(WEB).load_balancing.locality, expected, "{spec} {setting}");
    }
}

#[test]
fn an_annotation_speaks_where_the_field_is_silent() {
    use Scope::{Network, Node, Region, Subzone, Zone};
    let close = LocalityMode::Failover(vec![Network, Region, Zone, Subzone]);
    let same_node = LocalityMode::Failover(vec![Network, Region, Zone, Subzone, Node]);
    for (annotation, spec, expected) in [
        ("PreferClose", "", close.clone()),
        ("prefersamezone", "", close.clone()),
        ("PreferSameNode", "", same_node.clone()),
        ("Any", "", LocalityMode::Ignore),
        ("Any", "trafficDistribution: PreferClose, ", close.clone()),
        ("PreferClose", "trafficDistribution: PreferSameNode, ", same_node),
        ("PreferClose", "internalTrafficPolicy: Local, ", LocalityMode::Strict(vec![Node])),
    ] {
        let annotations =
            format!("annotations: {{networking.istio.io/traffic-distribution: {annotation}}}");
        let web = service("web", "10.0.0.1")
            .replace("{name: web}", &format!("{{name: web, {annotations}}}"))
            .replace("ports:", &format!("{spec}ports:"));
        let mesh = mesh(&web);
        assert_eq!(mesh.service(WEB).load_balancing.locality, expected, "{annotation} {spec}");
        let entry = service_entry("ext", "10.0.0.2", 80)
            .replace("{name: ext}", &format!("{{name: ext, {annotations}}}"));
        let mesh = Mesh::new(&[("a.yaml", &entry)]);
        let is_close = mesh.service("ext.example.com").load_balancing.locality == close;
        assert_eq!(
            is_close,
            annotation.to_lowercase().contains("close") || annotation.contains("zone")
        );
    }
}

#[test]
fn algorithms_and_affinity() {
    for (balancer, algorithm) in [
        ("{}", Algorithm::WeightedRandom),
        ("{simple: UNSPECIFIED}", Algorithm::WeightedRandom),
        ("{simple: RANDOM}", Algorithm::WeightedRandom),
        ("{simple: ROUND_ROBIN}", Algorithm::RoundRobin),
        ("{simple: LEAST_REQUEST}", Algorithm::LeastRequest),
        ("{simple: LEAST_CONN}", Algorithm::LeastRequest),
        ("{simple: PASSTHROUGH}", Algorithm::Passthrough),
        ("{consistentHash: {useSourceIp: true}}", Algorithm::ConsistentHash),
        ("{consistentHash: {httpHeaderName: x-user}}", Algorithm::ConsistentHash),
    ] {
        for (affinity, seconds) in [
            ("", None),
            ("sessionAffinity: None, ", None),
            ("sessionAffinity: ClientIP, ", Some(10_800)),
            (
                "sessionAffinity: ClientIP, \
                 sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}, ",
                Some(60),
            ),
        ] {
            let web = service("web", "10.0.0.1").replace("ports:", &format!("{affinity}ports:"));
            let mesh = mesh(&format!("{web}{}", destination_rule("r", "web", balancer)));
            let balancing = &mesh.service(WEB).load_balancing;
            assert_eq!((balancing.algorithm, balancing.affinity_seconds), (algorithm, seconds));
        }
    }
}

#[test]
fn distribution_by_locality() {
    let setting = "{localityLbSetting: {distribute: [\
                   {from: eu/a/*, to: {eu/a/*: 80, eu/b/*: 20}}, {from: us/*, to: {us: 100}}]}}";
    let rule = destination_rule("r", "web", setting);
    let mesh = mesh(&format!("{}{rule}", service("web", "10.0.0.1")));
    let LocalityMode::Distribute(list) = &mesh.service(WEB).load_balancing.locality else {
        panic!("{:?}", mesh.service(WEB).load_balancing)
    };
    let text: Vec<_> = list
        .iter()
        .map(|(from, to)| {
            let shares = to.shares.iter();
            let shares: Vec<_> =
                shares.map(|it| format!("{}={}", it.locality, it.weight_percent)).collect();
            format!("{from}: {}", shares.join(" "))
        })
        .collect();
    assert_eq!(text, ["eu/a: eu/a=80 eu/b=20", "us: us=100"]);
}

#[test]
fn namespaces() {
    let mesh = mesh("{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {a: b}}}");
    assert_eq!(mesh.snapshot.namespaces["shop"]["a"], "b");
}

#[test]
fn nodes() {
    let mesh = mesh(
        "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: \
         {topology.kubernetes.io/region: eu}}, status: {addresses: [\
         {type: InternalIP, address: 10.0.0.1}, {type: InternalIP, address: 'fd00::1'}, \
         {type: ExternalIP, address: 192.0.2.1}, {type: ExternalIP, address: 10.0.0.1}, \
         {type: Hostname, address: n1}]}}",
    );
    let node = &mesh.snapshot.nodes["n1"];
    assert_eq!(node.locality, Locality::parse("eu"));
    let addresses: Vec<_> = node.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.1", "fd00::1", "192.0.2.1"]);
}

#[test]
fn what_dangles_is_no_error() {
    let slice = slice("s", "IPv4", "{port: 80}", "{addresses: [10.1.0.1]}");
    let info = mesh(&slice).of(Severity::Info);
    assert!(info[0].contains("Service default/web does not exist"), "{info:?}");
}

#[test]
fn a_pod_with_the_name_of_a_workload_entry() {
    let endpoint = "{addresses: [10.1.0.2], targetRef: {kind: Pod, name: vm}}";
    let mesh = mesh(&format!(
        "{}{}{}",
        service("web", "10.0.0.1"),
        slice("s", "IPv4", "{port: 80}", endpoint),
        workload_entry("vm", "other", "address: 10.1.0.1"),
    ));
    assert_eq!(mesh.of(Severity::Warning).len(), 1);
    assert_eq!(mesh.snapshot.workloads.len(), 1);
}

#[test]
fn what_did_not_change_is_shared() {
    let files = |b: &str| {
        let vm = workload_entry("vm", "a", "address: 10.1.0.1");
        format!("{}{}{vm}", service("a", "10.0.0.1"), service("b", b))
    };
    let mut mesh = mesh(&files("10.0.0.2"));
    let before = mesh.snapshot.clone();
    mesh.apply(&[("mesh.yaml", &files("10.0.0.3"))]);
    let is_shared = |name: &str| {
        let name = ServiceName::new("default", format!("{name}.default.svc.cluster.local"));
        Arc::ptr_eq(&before.services[&name], &mesh.snapshot.services[&name])
    };
    assert_eq!((is_shared("a"), is_shared("b")), (true, false));
    let vm = WorkloadName::new("default", "vm");
    assert!(Arc::ptr_eq(&before.workloads[&vm], &mesh.snapshot.workloads[&vm]));
}
