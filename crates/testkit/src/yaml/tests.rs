//! The text is exactly what a user would write.

use super::*;

#[test]
fn a_dual_stack_service_and_its_slice() {
    let text = join(&[
        &service("web").cluster_ip("10.96.0.10").cluster_ip("fd96::10").port("http", 80, "http"),
        &endpoint_slice("web", [("10.77.0.3", true, "z1", "n1"), ("10.77.0.4", false, "", "")])
            .port("http", 8080)
            .pod("10.77.0.3", "web-1"),
    ]);
    let expected = "\
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: default
spec:
  clusterIP: \"10.96.0.10\"
  clusterIPs:
    - \"10.96.0.10\"
    - \"fd96::10\"
  ports:
    - name: \"http\"
      protocol: TCP
      port: 80
      targetPort: http
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-v4
  namespace: default
  labels:
    kubernetes.io/service-name: \"web\"
addressType: IPv4
ports:
  - name: \"http\"
    protocol: TCP
    port: 8080
endpoints:
  - addresses: [\"10.77.0.3\"]
    conditions:
      ready: true
    zone: \"z1\"
    nodeName: \"n1\"
    targetRef:
      kind: Pod
      name: web-1
      namespace: default
  - addresses: [\"10.77.0.4\"]
    conditions:
      ready: false
";
    assert_eq!(text, expected);
}

#[test]
fn a_weighted_service_entry_with_workloads() {
    let text = join(&[
        &service_entry("db", "db.example.com")
            .namespace("shop")
            .address("10.96.1.1")
            .port("tcp", 5432, 15432)
            .workload_selector("app", "db"),
        &workload_entry("db-1", "10.77.0.5")
            .namespace("shop")
            .workload_label("app", "db")
            .weight(3)
            .locality("r/z/s"),
    ]);
    let expected = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: db
  namespace: shop
spec:
  hosts: [\"db.example.com\"]
  addresses:
    - \"10.96.1.1\"
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
    - name: \"tcp\"
      number: 5432
      protocol: TCP
      targetPort: 15432
  workloadSelector:
    labels:
      app: \"db\"
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: db-1
  namespace: shop
spec:
  address: \"10.77.0.5\"
  labels:
    app: \"db\"
  weight: 3
  locality: r/z/s
";
    assert_eq!(text, expected);
}

#[test]
fn a_destination_rule_with_locality() {
    let rule = destination_rule("web", "web.default.svc.cluster.local")
        .simple("RANDOM")
        .failover("us", "eu")
        .failover_priority(&["topology.kubernetes.io/zone"])
        .distribute("us/*", &[("us/*", 80), ("eu/*", 20)]);
    let expected = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: web
  namespace: default
spec:
  host: web.default.svc.cluster.local
  trafficPolicy:
    loadBalancer:
      simple: RANDOM
      localityLbSetting:
        failover:
          - from: us
            to: eu
        failoverPriority:
          - \"topology.kubernetes.io/zone\"
        distribute:
          - from: \"us/*\"
            to:
              \"us/*\": 80
              \"eu/*\": 20
";
    assert_eq!(rule.to_string(), expected);
}

#[test]
fn empty_lists_are_lists() {
    let none: [(&str, bool, &str, &str); 0] = [];
    let text = endpoint_slice("idle", none).to_string();
    assert!(text.contains("ports: []\nendpoints: []\n"), "{text}");
    assert!(namespace("shop", &[("istio.io/dataplane-mode", "Kmesh")]).contains("\"Kmesh\""));
}

#[test]
fn documents_are_joined_to_one_file() {
    let text = join(&[
        &service("web").cluster_ip("10.96.0.10").port("http", 80, 8080),
        &endpoint_slice("web", [("10.77.0.3", true, "z1", "node")]).port("http", 8080),
    ]);
    assert!(text.contains("kind: EndpointSlice"));
}
