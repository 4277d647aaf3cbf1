//! What is done with bytes from outside, one function for each decoder: none may panic, whatever the
//! bytes are. `cargo xtask fuzz TARGET` lets libFuzzer look for some that do; the tests here try each
//! target on what is valid with a few bytes changed.
#![forbid(unsafe_code)]

use prost::Message;
use xds::facts::{read_address, read_policy};
use xds::wire::discovery::{DeltaDiscoveryResponse, Payload, Resource};
use xds::{ADDRESS_TYPE, AUTHORIZATION_TYPE, Change, Options, Registry, Subscription};

fn resource(type_url: &str, bytes: &[u8]) -> Resource {
    let any = Payload { type_url: type_url.to_owned(), value: bytes.to_vec().into() };
    Resource { name: "a/b".into(), resource: Some(any), ..Resource::default() }
}

fn registry() -> Registry {
    Registry::new(Options {
        domain: "cluster.local".into(),
        cluster: "Kubernetes".into(),
        network: String::new(),
    })
}

/// An `istio.workload.Address`, as far as the model.
pub fn xds_address(bytes: &[u8]) {
    if let Ok(facts) = read_address(&resource(ADDRESS_TYPE, bytes)) {
        let mut registry = registry();
        registry.update(vec![Change::Set("a/b".into(), facts)]);
        registry.current();
        registry.update(vec![Change::Removed("a/b".into())]);
    }
}

/// An `istio.security.Authorization`, as far as the kernel's tables.
pub fn xds_authorization(bytes: &[u8]) {
    let Ok(policy) = read_policy(&resource(AUTHORIZATION_TYPE, bytes)) else { return };
    let policies = [(policy.name.clone(), std::sync::Arc::new(policy))].into_iter().collect();
    let snapshot = model::Snapshot { policies, ..model::Snapshot::default() };
    let mut authz = authz::Authz::new(authz::Options::default());
    authz.update(&snapshot, &[], true);
    authz.problems();
    authz.explain([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 80);
}

/// A whole response, with several resources that may have to do with each other.
pub fn xds_response(bytes: &[u8]) {
    let Ok(response) = DeltaDiscoveryResponse::decode(bytes) else { return };
    let mut subscription = Subscription::new(ADDRESS_TYPE);
    let (changes, _, _) = subscription.take(response, read_address);
    registry().update(changes);
    subscription.opening();
}

/// A file of the directory.
pub fn yaml(bytes: &[u8]) {
    let content = resources::FileContent::from_bytes(bytes.to_vec());
    let mut store = resources::Store::default();
    store.apply(&[("a.yaml".into(), content)].into());
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use xds::encode::{EncodeOptions, Encoder, Resources};

    const EVERYTHING: &str = include_str!("../../crates/resources/tests/everything.yaml");

    /// Valid messages of every kind of policy.
    fn policies() -> Vec<Vec<u8>> {
        values(encoder().policies())
    }

    /// Valid messages of every kind of service and workload.
    fn addresses() -> Vec<Vec<u8>> {
        values(encoder().resources())
    }

    fn encoder() -> Encoder {
        let mut store = resources::Store::default();
        let content = resources::FileContent::Text(EVERYTHING.into());
        let snapshot = store.apply(&[("a.yaml".into(), content)].into()).snapshot;
        let mut encoder = Encoder::new(EncodeOptions::default());
        encoder.update(&snapshot);
        encoder
    }

    fn values(resources: &Resources) -> Vec<Vec<u8>> {
        let messages = resources.values();
        messages.filter_map(|it| it.resource.as_ref().map(|any| any.value.to_vec())).collect()
    }

    fn changed(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
        let length = bytes.len();
        for (index, byte) in changes.iter().filter(|_| length > 0) {
            bytes[index.index(length)] = *byte;
        }
        bytes
    }

    proptest! {
        #[test]
        fn no_target_panics_on_changed_bytes(
            which in any::<prop::sample::Index>(),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let messages = addresses();
            let bytes = changed(messages[which.index(messages.len())].clone(), &changes);
            crate::xds_address(&bytes);
            crate::xds_authorization(&bytes);
            crate::xds_response(&bytes);
            let policies = policies();
            let policy = policies[which.index(policies.len())].clone();
            crate::xds_authorization(&changed(policy, &changes));
            crate::yaml(&changed(EVERYTHING.as_bytes().to_vec(), &changes));
        }

        #[test]
        fn no_target_panics_on_any_bytes(bytes in vec(any::<u8>(), 0..300)) {
            crate::xds_address(&bytes);
            crate::xds_authorization(&bytes);
            crate::xds_response(&bytes);
            crate::yaml(&bytes);
        }
    }
}
