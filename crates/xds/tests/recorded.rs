//! What a real istiod said, recorded by `examples/record.rs`, read again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use prost::Message;
use xds::facts::{read_address, read_policy};
use xds::wire::discovery::DeltaDiscoveryResponse;
use xds::{ADDRESS_TYPE, AUTHORIZATION_TYPE, Options, Registry, Subscription};

const RECORDED: &[u8] = include_bytes!("data/istiod-1.29.2.bin");

#[test]
fn a_recorded_stream_of_istiod_is_a_mesh() {
    let mut bytes = RECORDED;
    let mut registry = Registry::new(Options {
        domain: "cluster.local".into(),
        cluster: "Kubernetes".into(),
        network: String::new(),
    });
    let mut responses = Vec::new();
    while !bytes.is_empty() {
        responses.push(DeltaDiscoveryResponse::decode_length_delimited(&mut bytes).unwrap());
    }
    for response in responses {
        match response.type_url.as_str() {
            ADDRESS_TYPE => {
                let mut addresses = Subscription::new(ADDRESS_TYPE);
                let (changes, refusals, _) = addresses.take(response, read_address);
                assert_eq!(refusals, []);
                registry.update(changes);
            }
            AUTHORIZATION_TYPE => {
                let mut policies = Subscription::new(AUTHORIZATION_TYPE);
                let (changes, refusals, _) = policies.take(response, read_policy);
                assert_eq!(refusals, []);
                registry.update_policies(changes);
            }
            other => panic!("{other}"),
        }
    }
    let snapshot = registry.current().snapshot;
    let web = snapshot.services.values().find(|it| it.object_name == "web").expect("a service");
    assert_eq!(web.name.to_string(), "mesh/web.mesh.svc.cluster.local");
    assert_eq!(web.addresses.len(), 2, "of both families");
    assert!(web.endpoints.iter().all(|it| it.target_ports.values().all(|port| *port > 0)));
    assert!(!web.endpoints.is_empty() && snapshot.workloads.len() >= web.endpoints.len() / 2);
    let policy = snapshot.policies.values().next().expect("a policy");
    assert_eq!(policy.name.to_string(), "plain/recorded");
    let clauses: usize = policy.rules.iter().map(|rule| rule.clauses.len()).sum();
    assert!(clauses > 0, "{policy:?}");
}
