//! The keys that programs written for Kmesh rely on.

use serde_json::{Value, json};

use super::*;

fn value<T: Serialize>(it: &T) -> Value {
    serde_json::to_value(it).expect("wire types always serialize")
}

#[test]
fn a_workload_has_the_keys_of_kmesh() {
    let workload = WorkloadDump {
        uid: "cluster0//Pod/ns/workload-0".into(),
        addresses: vec!["1.2.3.4".into()],
        waypoint: "testnetwork/192.168.1.10".into(),
        protocol: "NONE".into(),
        name: "workload-0".into(),
        namespace: "ns".into(),
        workload_name: "name".into(),
        workload_type: "POD".into(),
        canonical_name: "foo".into(),
        canonical_revision: "latest".into(),
        cluster_id: "cluster0".into(),
        network: "testnetwork".into(),
        status: "HEALTHY".into(),
        services: vec!["ns/hostname".into()],
        ..WorkloadDump::default()
    };
    let expected = json!({
        "uid": "cluster0//Pod/ns/workload-0", "addresses": ["1.2.3.4"],
        "waypoint": "testnetwork/192.168.1.10", "protocol": "NONE", "name": "workload-0",
        "namespace": "ns", "serviceAccount": "", "workloadName": "name", "workloadType": "POD",
        "canonicalName": "foo", "canonicalRevision": "latest", "clusterId": "cluster0",
        "locality": {}, "node": "", "network": "testnetwork", "status": "HEALTHY",
        "applicationTunnel": {"protocol": ""}, "services": ["ns/hostname"]
    });
    assert_eq!(value(&workload), expected);
}

#[test]
fn a_service_has_the_keys_of_kmesh() {
    let service = ServiceDump {
        name: "service-0".into(),
        namespace: "ns".into(),
        hostname: "hostname-0".into(),
        ports: vec![
            PortDump { service_port: 80, target_port: 8080, ..PortDump::default() },
            PortDump { service_port: 81, ..PortDump::default() },
        ],
        waypoint: Some(WaypointDump { destination: "testnetwork/192.168.1.11".into() }),
        ..ServiceDump::default()
    };
    let expected = json!({
        "name": "service-0", "namespace": "ns", "hostname": "hostname-0", "vips": [],
        "ports": [{"service_port": 80, "target_port": 8080}, {"service_port": 81}],
        "loadBalancer": null, "waypoint": {"destination": "testnetwork/192.168.1.11"}
    });
    assert_eq!(value(&service), expected);
    let policy = PolicyDump { name: "policy".into(), ..PolicyDump::default() };
    assert_eq!(
        value(&policy),
        json!({"name": "policy", "namespace": "", "scope": "", "action": "", "rules": null})
    );
}

#[test]
fn a_map_entry_has_the_keys_of_kmesh_and_its_own_key() {
    let service = ServiceEntry {
        service_id: 7,
        name: "shop/web.shop.svc.cluster.local".into(),
        endpoint_count: BpfDump::joined([2, 0]),
        lb_policy: "RANDOM".into(),
        service_port: "80".into(),
        target_port: "8080".into(),
        ..ServiceEntry::default()
    };
    let expected = json!({
        "serviceId": 7, "name": "shop/web.shop.svc.cluster.local", "endpointCount": "2, 0",
        "lbPolicy": "RANDOM", "servicePort": "80", "targetPort": "8080", "firstSlot": 0
    });
    assert_eq!(value(&service), expected);
    let keys: Vec<String> = match value(&BpfDump::default()) {
        Value::Object(map) => map.keys().cloned().collect(),
        other => panic!("not an object: {other}"),
    };
    assert_eq!(keys, ["backends", "endpoints", "frontends", "services", "workloadPolicies"]);
    assert_eq!(
        value(&EndpointEntry { service_id: 7, backend_uid: "u".into(), ..Default::default() }),
        json!({"serviceId": 7, "slot": 0, "backendUid": "u"})
    );
}

#[test]
fn the_version_keeps_every_key_even_when_empty() {
    let keys: Vec<String> = match value(&Version::default()) {
        Value::Object(map) => map.keys().cloned().collect(),
        other => panic!("not an object: {other}"),
    };
    assert_eq!(
        keys,
        [
            "buildDate",
            "compiler",
            "gitCommit",
            "gitTreeState",
            "gitVersion",
            "goVersion",
            "platform"
        ]
    );
}

#[test]
fn an_older_daemon_is_understood() {
    let status: Status = serde_json::from_str(r#"{"ready": true, "new": 1}"#).expect("tolerant");
    assert!(status.ready);
    assert_eq!(status.maps, []);
    let dump: ConfigDump = serde_json::from_str(r#"{"services": [{"name": "a"}]}"#).expect("ok");
    assert_eq!(dump.services[0].name, "a");
}

#[test]
fn a_request_with_a_misspelt_key_is_not_understood() {
    assert!(serde_json::from_str::<UnenrolRequest>(r#"{"cookie": 3}"#).is_err());
    assert!(serde_json::from_str::<EnrolRequest>(r#"{"workload": "a/b"}"#).is_err());
    let request: EnrolRequest = serde_json::from_str(r#"{"netns": "/run/netns/a"}"#).expect("ok");
    assert_eq!(request.workload, None);
}

#[test]
fn a_program_that_never_ran_has_no_mean() {
    let mut program = ProgramStats { run_time_ns: 900, ..ProgramStats::default() };
    assert_eq!(program.mean_ns(), None);
    program.run_count = 3;
    assert_eq!(program.mean_ns(), Some(300));
}
