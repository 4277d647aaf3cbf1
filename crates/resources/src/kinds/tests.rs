//! Each kind: which values are refused, which are mentioned, and what is left of the object.

use serde_yaml_ng::Value;

use crate::document::{self, Outcome};

/// `severity field: message` of each finding about an object.
fn findings(text: &str) -> Vec<String> {
    let value: Value = serde_yaml_ng::from_str(text).unwrap();
    let entries = document::entries(0, Ok(value));
    assert_eq!(entries.len(), 1, "{text}");
    let has_error =
        entries[0].findings.iter().any(|finding| finding.severity == crate::Severity::Error);
    assert_eq!(has_error, !matches!(entries[0].outcome, Outcome::Accepted(..)), "{text}");
    let findings = entries[0].findings.iter();
    findings.map(|it| format!("{} {}: {}", it.severity, it.field, it.message)).collect()
}

/// The object, of which nothing is an error.
pub(super) fn object(value: Value) -> crate::object::Object {
    let mut entries = document::entries(0, Ok(value));
    let entry = entries.remove(0);
    match entry.outcome {
        Outcome::Accepted(_, object) => (*object).clone(),
        _ => panic!("{:?}", entry.findings),
    }
}

/// Puts each value into the template and compares the beginnings of the findings.
pub(super) fn check(template: &str, cases: &[(&str, &[&str])]) {
    for (values, expected) in cases {
        let found = findings(&template.replace("VALUES", values));
        assert_eq!(found.len(), expected.len(), "{values}: {found:#?}");
        for (found, expected) in found.iter().zip(*expected) {
            assert!(found.starts_with(expected), "{values}:\n {found}\n {expected}");
        }
    }
}

#[test]
fn service() {
    let template = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {VALUES}}";
    check(
        template,
        &[
            ("clusterIP: 10.0.0.1, ports: [{port: 80, targetPort: http}]", &[]),
            ("clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 'fd00::1'], ports: [{port: 80}]", &[]),
            ("clusterIP: None", &[]),
            ("clusterIP: None, clusterIPs: [None], ports: null", &[]),
            ("ports: [{port: 80}]", &["warning spec.clusterIP: not set"]),
            ("clusterIP: 10.0.0.1", &["error spec.ports: missing"]),
            (
                "clusterIP: 10.0.0, ports: [{port: 80}]",
                &["error spec.clusterIP: \"10.0.0\" is not"],
            ),
            (
                "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2], ports: [{port: 80}]",
                &["error spec.clusterIPs[0]: \"10.0.0.2\" differs"],
            ),
            (
                "clusterIPs: [10.0.0.1, None], ports: [{port: 80}]",
                &["error spec.clusterIPs[1]: \"None\" is not an IP address"],
            ),
            (
                "type: ExternalName, externalName: a.example.com",
                &["warning spec.type: ExternalName is not served yet"],
            ),
            ("type: Cluster, clusterIP: None", &["error spec.type: \"Cluster\" is not one of"]),
            ("clusterIP: None, prots: []", &["warning spec.prots: not a field of this API"]),
            ("clusterIP: None, ports: 80", &["error spec.ports: invalid type"]),
            ("clusterIP: None, sessionAffinity: ClientIP", &[]),
            ("clusterIP: None, sessionAffinity: ClientIP, sessionAffinityConfig: {}", &[]),
            (
                "clusterIP: None, sessionAffinity: ClientIP, \
                 sessionAffinityConfig: {clientIP: {timeoutSeconds: 86400}}",
                &[],
            ),
            (
                "clusterIP: None, sessionAffinity: ClientIP, \
                 sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}",
                &["error spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0 is not a number"],
            ),
            (
                "clusterIP: None, sessionAffinity: ClientIP, \
                 sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}",
                &["error spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401 is not"],
            ),
            ("clusterIP: None, sessionAffinity: Client", &["error spec.sessionAffinity"]),
            ("clusterIP: None, externalIPs: [1.2.3.4]", &["warning spec.externalIPs"]),
            ("clusterIP: None, trafficDistribution: PreferSameNode", &[]),
            ("clusterIP: None, trafficDistribution: Near", &["error spec.trafficDistribution"]),
            ("clusterIP: None, internalTrafficPolicy: Local", &[]),
            ("clusterIP: None, internalTrafficPolicy: local", &["error spec.internalTrafficPol"]),
        ],
    );
}

#[test]
fn service_exposure() {
    let template = "{apiVersion: v1, kind: Service, metadata: {name: web}, \
                     spec: {clusterIP: 10.0.0.1, VALUES}, status: {loadBalancer: {ingress: \
                     [{ip: 192.0.2.1}, {hostname: lb.example.com}, {ip: x, ipMode: Proxy}]}}}";
    check(
        template,
        &[
            ("type: NodePort, ports: [{port: 80, nodePort: 30080}]", &[]),
            (
                "type: NodePort, ports: [{port: 53, nodePort: 30053, name: a}, \
                 {port: 53, protocol: UDP, nodePort: 30053, name: b}]",
                &[],
            ),
            (
                "type: NodePort, ports: [{port: 80}]",
                &["warning spec.ports[0].nodePort: not set, and there is no API server"],
            ),
            ("type: LoadBalancer, ports: [{port: 80}], externalTrafficPolicy: Local", &[]),
            (
                "type: LoadBalancer, ports: [{port: 80}], healthCheckNodePort: 30000, \
                 loadBalancerSourceRanges: [10.0.0.0/8]",
                &[
                    "warning spec.loadBalancerSourceRanges: not supported",
                    "info spec.healthCheckNodePort: not served",
                ],
            ),
            (
                "ports: [{port: 80, nodePort: 30080}]",
                &["error spec.ports[0].nodePort: must not be set with type ClusterIP"],
            ),
            (
                "type: NodePort, ports: [{port: 80, nodePort: 70000}]",
                &["error spec.ports[0].nodePort: 70000 is not a port"],
            ),
            (
                "type: NodePort, ports: [{port: 80, nodePort: 30080, name: a}, \
                 {port: 81, nodePort: 30080, name: b}]",
                &["error spec.ports[1].nodePort: another port has 30080 TCP"],
            ),
            ("ports: [{port: 80}], externalIPs: [192.0.2.1, 10.0.0.1]", &[]),
            (
                "ports: [{port: 80}], externalIPs: [192.0.2]",
                &["error spec.externalIPs[0]: \"192.0.2\" is not an IP address"],
            ),
            (
                "ports: [{port: 80}], externalIPs: [127.0.0.1]",
                &["error spec.externalIPs[0]: \"127.0.0.1\" is a loopback address"],
            ),
            (
                "ports: [{port: 80}], externalTrafficPolicy: Here",
                &["error spec.externalTrafficPolicy: \"Here\" is not one of Cluster, Local"],
            ),
        ],
    );
    let bad_status = template.replace("Proxy", "VIP");
    check(
        &bad_status,
        &[(
            "type: LoadBalancer, ports: [{port: 80}]",
            &["warning status.loadBalancer.ingress[2].ip: \"x\" is not an IP address"],
        )],
    );
}

#[test]
fn node() {
    let template = "{apiVersion: v1, kind: Node, metadata: {name: n1}, \
                     status: {addresses: [VALUES]}}";
    check(
        template,
        &[
            ("{type: InternalIP, address: 10.0.0.1}, {type: Hostname, address: n1}", &[]),
            (
                "{type: ExternalIP, address: n1}",
                &["warning status.addresses[0].address: \"n1\" is not an IP address"],
            ),
        ],
    );
}

#[test]
fn traffic_distribution() {
    let template = "{apiVersion: v1, kind: Service, metadata: {name: web, annotations: \
                     {networking.istio.io/traffic-distribution: VALUES}}, spec: {clusterIP: None}}";
    check(
        template,
        &[
            ("PreferClose", &[]),
            ("prefersamenode", &[]),
            ("Any", &[]),
            (
                "Near",
                &["warning metadata.annotations[networking.istio.io/traffic-distribution]: \"Near"],
            ),
        ],
    );
}

#[test]
fn service_ports() {
    let template = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, \
                     spec: {clusterIP: 10.0.0.1, ports: [VALUES]}}";
    check(
        template,
        &[
            ("{port: 53, protocol: UDP, name: a}, {port: 53, protocol: TCP, name: b}", &[]),
            ("{port: 0}", &["error spec.ports[0].port: 0 is not a port"]),
            ("{port: 65536}", &["error spec.ports[0].port: 65536 is not a port"]),
            ("{port: 80, protocol: tcp}", &["error spec.ports[0].protocol: \"tcp\" is not one of"]),
            ("{port: 80, protocol: SCTP}", &["warning spec.ports[0].protocol: the mesh does not"]),
            ("{port: 80, targetPort: '80'}", &["error spec.ports[0].targetPort: \"80\" is not"]),
            ("{port: 80, targetPort: 70000}", &["error spec.ports[0].targetPort: 70000 is not"]),
            ("{port: 80, name: a}, {port: 80, name: b}", &["error spec.ports[1].port: another"]),
            ("{port: 80, name: a}, {port: 81, name: a}", &["error spec.ports[1].name: another"]),
            ("{port: 80, name: a}, {port: 81}", &["error spec.ports[1].name: missing"]),
        ],
    );
}

#[test]
fn endpoint_slice() {
    let template = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, \
                     metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}, VALUES}";
    check(
        template,
        &[
            ("addressType: IPv4, endpoints: null, ports: null", &[]),
            ("addressType: IPv6, endpoints: [{addresses: ['fd00::1']}], ports: [{port: 80}]", &[]),
            ("addressType: FQDN, endpoints: []", &["error addressType: FQDN is not supported"]),
            ("addressType: ipv4, endpoints: []", &["error addressType: \"ipv4\" is not one of"]),
            (
                "addressType: IPv4, endpoints: [{addresses: ['fd00::1']}]",
                &["error endpoints[0].addresses[0]: \"fd00::1\" is not an IPv4 address"],
            ),
            (
                "addressType: IPv4, endpoints: [{addresses: []}]",
                &["error endpoints[0].addresses: no address"],
            ),
            (
                "addressType: IPv4, endpoints: [{addresses: [10.0.0.300]}]",
                &["error endpoints[0].addresses[0]: \"10.0.0.300\" is not an IP address"],
            ),
            (
                "addressType: IPv4, endpoints: [{addresses: [127.0.0.2]}]",
                &["error endpoints[0].addresses[0]: \"127.0.0.2\" is a loopback address"],
            ),
            (
                "addressType: IPv6, endpoints: [{addresses: ['fe80::1']}]",
                &["error endpoints[0].addresses[0]: \"fe80::1\" is a link-local address"],
            ),
            (
                "addressType: IPv4, endpoints: [], ports: [{port: 0}, {name: all}, {protocol: X}]",
                &[
                    "error ports[0].port: 0 is not",
                    "warning ports[1].port: not set",
                    "error ports[2].protocol: \"X\"",
                    "warning ports[2].port: not set",
                ],
            ),
        ],
    );
    let without_label = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, \
                          metadata: {name: web-1}, addressType: IPv4, endpoints: []}";
    assert!(findings(without_label)[0].starts_with("warning metadata.labels: no label"));
}

#[test]
fn workload_entry() {
    let template = "{apiVersion: networking.istio.io/v1alpha3, kind: WorkloadEntry, \
                     metadata: {name: vm}, spec: {VALUES}}";
    check(
        template,
        &[
            ("address: 10.0.0.1, weight: 0, locality: eu/a/1, network: n, serviceAccount: s", &[]),
            ("address: 'fd00::1', ports: {http: 8080}", &[]),
            ("network: n", &["warning spec.address: not set"]),
            ("address: vm.example.com", &[]),
            ("address: 127.0.0.1", &[]),
            ("address: 10.0.0.256", &["error spec.address: \"10.0.0.256\" is not an IP address"]),
            (
                "address: unix:///run/x",
                &["error spec.address: \"unix:///run/x\": the mesh does not"],
            ),
            ("address: 10.0.0.1, weight: -1", &["error spec.weight: -1 is not a weight"]),
            ("address: 10.0.0.1, locality: eu//1", &["error spec.locality: \"eu//1\" is not"]),
            ("address: 10.0.0.1, ports: {http: 0}", &["error spec.ports.http: 0 is not a port"]),
            ("address: 10.0.0.1, port: 80", &["warning spec.port: not a field of this API"]),
            ("address: [10.0.0.1]", &["error spec.address: invalid type"]),
        ],
    );
}

#[test]
fn service_entry() {
    let template = "{apiVersion: networking.istio.io/v1beta1, kind: ServiceEntry, \
                     metadata: {name: ext}, spec: {VALUES}}";
    let inline = "hosts: [a.example.com], resolution: STATIC, endpoints: ";
    check(
        template,
        &[
            ("hosts: [a.example.com, '*.example.com'], location: MESH_EXTERNAL", &[]),
            ("resolution: STATIC", &["error spec: missing field `hosts`"]),
            ("hosts: []", &["error spec.hosts: no host"]),
            ("hosts: ['*']", &["error spec.hosts[0]: \"*\" is not a host name"]),
            ("hosts: [a], location: HERE", &["error spec.location: \"HERE\" is not one of"]),
            ("hosts: [a], resolution: static", &["error spec.resolution: \"static\" is not one"]),
            ("hosts: [a], subjectAltNames: [x]", &["warning spec.subjectAltNames: not supported"]),
            ("hosts: [a], exportTo: ['*']", &[]),
            ("hosts: [a], exportTo: [.]", &["warning spec.exportTo: [\".\"] is not supported"]),
            ("hosts: [a], addresses: [10.0.0.1/32, 'fd00::1']", &[]),
            ("hosts: [a], addresses: [10.0.0.0/8, 'fd00::/64', 0.0.0.0/0]", &[]),
            (
                "hosts: [a], addresses: [10.1.2.3/8]",
                &[
                    "warning spec.addresses[0]: 10.1.2.3/8: bits after the prefix are set; this is 10.0.0.0/8",
                ],
            ),
            ("hosts: [a], addresses: [224.0.0.0/4]", &["error spec.addresses[0]: 224.0.0.0/4: th"]),
            ("hosts: [a], addresses: [10.0.0.0/33]", &["error spec.addresses[0]: \"10.0.0.0/33\""]),
            ("hosts: [a], resolution: DNS", &[]),
            ("hosts: [a], resolution: DNS, endpoints: [{address: b.example.com}]", &[]),
            (
                "hosts: [a, '*.b'], resolution: DNS",
                &["error spec.hosts[1]: \"*.b\" can't be resolved, and there are no endpoints"],
            ),
            ("hosts: ['*.b'], resolution: DNS_ROUND_ROBIN, endpoints: [{address: b.c}]", &[]),
            (
                "hosts: [a], resolution: DNS_ROUND_ROBIN, \
                 endpoints: [{address: 1.2.3.4}, {address: 1.2.3.5}]",
                &["error spec.endpoints: at most one"],
            ),
            (
                "hosts: [a], endpoints: [{address: 1.2.3.4}]",
                &["error spec.endpoints: must be empty with resolution NONE"],
            ),
            (&format!("{inline} [{{address: 10.0.0.1, ports: {{http: 8080}}}}]"), &[]),
            (
                &format!("{inline} [{{address: b.example.com}}]"),
                &["error spec.endpoints[0].address: \"b.example.com\" is not an IP address"],
            ),
            (
                &format!(
                    "{inline} [{{address: 10.0.0.1}}], workloadSelector: {{labels: {{a: b}}}}"
                ),
                &["error spec.workloadSelector: must not be set together"],
            ),
            (
                "hosts: [a], resolution: STATIC, workloadSelector: {}",
                &["warning spec.workloadSelector: no labels"],
            ),
        ],
    );
}

#[test]
fn service_entry_ports() {
    let template = "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, \
                     metadata: {name: ext}, spec: {hosts: [a], ports: [VALUES]}}";
    for protocol in
        "HTTP HTTPS GRPC GRPC-WEB HTTP2 MONGO REDIS MYSQL TCP TLS UDP tcp Https".split(' ')
    {
        let port = format!("{{number: 80, name: p, protocol: {protocol}}}");
        assert_eq!(findings(&template.replace("VALUES", &port)), [""; 0], "{protocol}");
    }
    check(
        template,
        &[
            ("{number: 80, name: p}", &[]),
            ("{number: 80, name: p, protocol: SCTP}", &["error spec.ports[0].protocol: \"SCTP\""]),
            ("{number: 80}", &["error spec.ports[0]: missing field `name`"]),
            ("{number: 65536, name: p}", &["error spec.ports[0].number: 65536 is not a port"]),
            ("{number: 1, name: p, targetPort: -1}", &["error spec.ports[0].targetPort: -1"]),
            (
                "{number: 1, name: p}, {number: 1, name: q}",
                &["error spec.ports[1].number: another"],
            ),
            ("{number: 1, name: p}, {number: 2, name: p}", &["error spec.ports[1].name: another"]),
        ],
    );
}

#[test]
fn destination_rule() {
    let template = "{apiVersion: networking.istio.io/v1, kind: DestinationRule, \
                     metadata: {name: rule}, spec: {VALUES}}";
    check(
        template,
        &[
            ("host: web", &[]),
            ("host: '*.example.com'", &[]),
            ("exportTo: []", &["error spec: missing field `host`"]),
            ("host: 'a b'", &["error spec.host: \"a b\" is not a host name"]),
            (
                "host: web, subsets: [{name: v1}], workloadSelector: {}, exportTo: [.]",
                &[
                    "warning spec.subsets: not supported",
                    "warning spec.workloadSelector: not supported",
                    "warning spec.exportTo: [\".\"] is not supported",
                ],
            ),
            (
                "host: web, trafficPolicy: {connectionPool: {tcp: {}}, outlierDetection: {}, \
                 tls: {mode: DISABLE}, portLevelSettings: []}",
                &[
                    "warning spec.trafficPolicy.connectionPool: not supported",
                    "warning spec.trafficPolicy.outlierDetection: not supported",
                    "warning spec.trafficPolicy.tls: not supported",
                    "warning spec.trafficPolicy.portLevelSettings: not supported",
                ],
            ),
        ],
    );
}

#[test]
fn load_balancer() {
    let template = "{apiVersion: networking.istio.io/v1, kind: DestinationRule, \
                     metadata: {name: rule}, \
                     spec: {host: web, trafficPolicy: {loadBalancer: {VALUES}}}}";
    const FIELD: &str = "spec.trafficPolicy.loadBalancer";
    check(
        template,
        &[
            ("simple: RANDOM", &[]),
            ("simple: UNSPECIFIED", &[]),
            ("simple: PASSTHROUGH", &[]),
            ("simple: ROUND_ROBIN", &[]),
            ("simple: LEAST_REQUEST", &[]),
            ("simple: LEAST_CONN", &[]),
            ("simple: random", &[&format!("error {FIELD}.simple: \"random\" is not one of")]),
            ("consistentHash: {useSourceIp: true}", &[]),
            ("consistentHash: {useSourceIp: true, maglev: {}}", &[]),
            (
                "consistentHash: {useSourceIp: false}",
                &[&format!("warning {FIELD}.consistentHash.useSourceIp: no other key")],
            ),
            ("consistentHash: {}", &[&format!("warning {FIELD}.consistentHash: no hash key")]),
            (
                "consistentHash: {httpHeaderName: x-user, ringHash: {minimumRingSize: 1024}}",
                &[
                    &format!("warning {FIELD}.consistentHash.httpHeaderName: the L4 data path"),
                    &format!("info {FIELD}.consistentHash.ringHash: there is no ring"),
                ],
            ),
            (
                "consistentHash: {httpCookie: {name: user, ttl: 0s}, maglev: {tableSize: 65537}}",
                &[
                    &format!("warning {FIELD}.consistentHash.httpCookie: the L4 data path"),
                    &format!("info {FIELD}.consistentHash.maglev.tableSize: not used"),
                ],
            ),
            (
                "consistentHash: {httpQueryParameterName: user, minimumRingSize: 5}",
                &[
                    &format!("warning {FIELD}.consistentHash.httpQueryParameterName: the L4"),
                    &format!("info {FIELD}.consistentHash.minimumRingSize: not used"),
                ],
            ),
            (
                "consistentHash: {useSourceIp: true, httpHeaderName: x}",
                &[&format!("error {FIELD}.consistentHash: only one of httpHeaderName, useSource")],
            ),
            (
                "consistentHash: {useSourceIp: true, ringHash: {}, maglev: {}}",
                &[
                    &format!("error {FIELD}.consistentHash: only one of ringHash, maglev"),
                    &format!("info {FIELD}.consistentHash.ringHash"),
                ],
            ),
            (
                "simple: RANDOM, consistentHash: {useSourceIp: true}",
                &[&format!("error {FIELD}: only one of simple and consistentHash")],
            ),
        ],
    );
}

#[test]
fn locality_setting() {
    let template = "{apiVersion: networking.istio.io/v1, kind: DestinationRule, \
                     metadata: {name: rule}, spec: {host: web, \
                     trafficPolicy: {loadBalancer: {localityLbSetting: {VALUES}}}}}";
    const FIELD: &str = "error spec.trafficPolicy.loadBalancer.localityLbSetting";
    check(
        template,
        &[
            ("enabled: false", &[]),
            ("distribute: [{from: eu/a/*, to: {eu/a/*: 80, eu/b/*: 20}}]", &[]),
            ("distribute: [{from: '*', to: {'*': 100}}]", &[]),
            (
                "distribute: [{from: eu/*, to: {eu/*: 80, us/*: 10}}]",
                &[&format!("{FIELD}.distribute[0].to: the weights sum to 90")],
            ),
            (
                "distribute: [{from: eu/*, to: {eu/*: 100, us/*: 0}}]",
                &[&format!("{FIELD}.distribute[0].to[us/*]: 0 is not a weight")],
            ),
            (
                "distribute: [{from: eu//*, to: {eu: 50, eu/a: 50}}]",
                &[
                    &format!("{FIELD}.distribute[0].to[eu/a]: \"eu/a\" overlaps \"eu\""),
                    &format!("{FIELD}.distribute[0].from: \"eu//*\" is not"),
                ],
            ),
            (
                "distribute: [{from: '*', to: {eu: 100}}, {from: us, to: {us: 100}}]",
                &[&format!("{FIELD}.distribute[1].from: \"us\" overlaps \"*\"")],
            ),
            ("failover: [{from: eu, to: us}, {from: us, to: eu}]", &[]),
            (
                "failover: [{from: eu/a, to: us}, {from: us, to: us}]",
                &[
                    &format!("{FIELD}.failover[0].from: \"eu/a\" is not a region"),
                    &format!("{FIELD}.failover[1]: from and to are the same"),
                ],
            ),
            (
                "failoverPriority: [topology.istio.io/network, topology.kubernetes.io/region, \
                 topology.kubernetes.io/zone, topology.istio.io/subzone, kubernetes.io/hostname, \
                 topology.istio.io/cluster]",
                &[],
            ),
            (
                "failoverPriority: [version]",
                &[&format!("{FIELD}.failoverPriority[0]: \"version\" is not a label")],
            ),
            (
                "distribute: [{from: eu, to: {eu: 100}}], failover: [{from: eu, to: us}]",
                &[&format!("{FIELD}: distribute can't be set together")],
            ),
        ],
    );
}

#[test]
fn what_is_not_ours() {
    for (api_version, kind, expected) in [
        ("apps/v1", "Deployment", "info kind: apps/v1 Deployment is none"),
        ("serving.knative.dev/v1", "Service", "info kind: serving.knative.dev/v1 Service is none"),
        ("security.istio.io/v1", "RequestAuthentication", "warning kind: security.istio.io/v1 Req"),
    ] {
        let text = format!("{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: x}}}}");
        let entries = document::entries(0, Ok(serde_yaml_ng::from_str(&text).unwrap()));
        assert!(matches!(entries[0].outcome, Outcome::Ignored));
        let finding = &entries[0].findings[0];
        let found = format!("{} {}: {}", finding.severity, finding.field, finding.message);
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn what_cannot_be_identified_or_has_a_bad_name() {
    for (text, expected) in [
        ("[1, 2]", "error : not an object"),
        ("{kind: Service}", "error apiVersion: missing"),
        ("{apiVersion: v1}", "error kind: missing"),
        ("{apiVersion: v1, kind: Service}", "error metadata.name: missing"),
        ("{apiVersion: v2, kind: Service, metadata: {name: a}}", "error apiVersion: \"v2\""),
        ("{apiVersion: v1, kind: Service, metadata: {name: A/b}}", "error metadata.name: \"A/b\""),
        ("{apiVersion: v1, kind: Service, metadata: {name: a}}", "error spec: missing"),
    ] {
        assert!(findings(text)[0].starts_with(expected), "{:?}", findings(text));
    }
}
