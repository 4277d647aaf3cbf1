//! One type of resource on a delta stream: what is known of it, and what each response is answered.
//! The rules are those of the xDS protocol, "Incremental xDS".

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Map;

use crate::finding::Refusal;
use crate::wire::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource, Status};

/// `google.rpc.Code.INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;
/// Refusals that the message of an answer names; the number of the others follows.
const REFUSALS_NAMED_MAX: usize = 20;

/// A resource that came, or went.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<T> {
    /// This is what it says now.
    Set(Arc<str>, T),
    /// There is none of this name any more.
    Removed(Arc<str>),
}

/// Versions of what is in force, by the names of the resources.
pub type Versions = Map<Arc<str>, Arc<str>>;

/// A wildcard subscription: everything of one type.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    type_url: &'static str,
    versions: Versions,
    refused: BTreeMap<String, Refusal>,
    is_complete: bool,
}

impl Subscription {
    /// A subscription that knows nothing yet.
    pub fn new(type_url: &'static str) -> Self {
        Self { type_url, ..Self::default() }
    }

    /// The type that it is for.
    pub fn type_url(&self) -> &'static str {
        self.type_url
    }

    /// True once a response has come: what there is, is known.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The names that are known.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.versions.keys().map(AsRef::as_ref)
    }

    /// What is in force. A copy of it costs nothing.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Resources whose newest version was refused, in the order of their names.
    pub fn refused(&self) -> impl Iterator<Item = &Refusal> {
        self.refused.values()
    }

    /// The first request of a stream: names what is known, so that only the rest is sent and what
    /// has gone meanwhile is told.
    pub fn opening(&self) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: self.type_url.to_owned(),
            initial_resource_versions: self.initial_versions(),
            ..Default::default()
        }
    }

    /// Enters a version, and returns the name as it is kept: very many are, and shared.
    fn set(&mut self, name: &str, version: &str) -> Arc<str> {
        let known = self.versions.get_key_value(name).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| name.into());
        self.versions.insert(name.clone(), version.into());
        name
    }

    fn initial_versions(&self) -> BTreeMap<String, String> {
        let named = self.versions.iter();
        named.map(|(name, version)| (name.to_string(), version.to_string())).collect()
    }

    /// Takes a response and answers it. `read` validates one resource; those that it refuses make the
    /// answer a refusal that names them, and stay as they were.
    pub fn take<T>(
        &mut self,
        response: DeltaDiscoveryResponse,
        mut read: impl FnMut(&Resource) -> Result<T, Refusal>,
    ) -> (Vec<Change<T>>, Vec<Refusal>, DeltaDiscoveryRequest) {
        let mut changes = Vec::new();
        let mut refusals = Vec::new();
        for name in response.removed_resources {
            self.versions.remove(name.as_str());
            self.refused.remove(&name);
            changes.push(Change::Removed(name.into()));
        }
        for resource in &response.resources {
            match read(resource) {
                Ok(value) => {
                    self.refused.remove(&resource.name);
                    let name = self.set(&resource.name, &resource.version);
                    changes.push(Change::Set(name, value));
                }
                Err(refusal) => {
                    self.refused.insert(resource.name.clone(), refusal.clone());
                    refusals.push(refusal);
                }
            }
        }
        self.is_complete = true;
        let answer = DeltaDiscoveryRequest {
            type_url: self.type_url.to_owned(),
            response_nonce: response.nonce,
            error_detail: error_detail(&refusals),
            ..Default::default()
        };
        (changes, refusals, answer)
    }
}

fn error_detail(refusals: &[Refusal]) -> Option<Status> {
    if refusals.is_empty() {
        return None;
    }
    let named = refusals.iter().take(REFUSALS_NAMED_MAX).map(Refusal::to_string);
    let mut message = named.collect::<Vec<_>>().join("; ");
    if refusals.len() > REFUSALS_NAMED_MAX {
        message.push_str(&format!("; and {} more", refusals.len() - REFUSALS_NAMED_MAX));
    }
    Some(Status { code: INVALID_ARGUMENT, message, details: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, version: &str) -> Resource {
        Resource { name: name.into(), version: version.into(), ..Default::default() }
    }

    fn response(nonce: &str, resources: Vec<Resource>, removed: &[&str]) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse {
            nonce: nonce.into(),
            resources,
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        }
    }

    /// Refuses what has no version.
    fn read(resource: &Resource) -> Result<String, Refusal> {
        let Resource { name, version, .. } = resource.clone();
        let refusal = Refusal { resource: name, field: "version", message: "is empty".into() };
        if version.is_empty() { Err(refusal) } else { Ok(version) }
    }

    #[test]
    fn a_stream_opens_with_what_is_known() {
        let mut subscription = Subscription::new("a");
        assert!(subscription.opening().initial_resource_versions.is_empty());
        assert!(!subscription.is_complete());
        subscription.take(response("1", vec![resource("x", "7"), resource("y", "1")], &[]), read);
        subscription.take(response("2", vec![resource("x", "8")], &["y", "never"]), read);
        assert!(subscription.is_complete());
        let opening = subscription.opening();
        assert_eq!(opening.type_url, "a");
        assert!(opening.response_nonce.is_empty());
        let versions: Vec<_> = opening.initial_resource_versions.into_iter().collect();
        assert_eq!(versions, [("x".to_owned(), "8".to_owned())]);
    }

    #[test]
    fn a_good_response_is_accepted_by_its_nonce() {
        let mut subscription = Subscription::new("a");
        let (changes, refusals, answer) =
            subscription.take(response("n", vec![resource("x", "7")], &["z"]), read);
        assert_eq!(changes, [Change::Removed("z".into()), Change::Set("x".into(), "7".to_owned())]);
        assert_eq!(refusals, []);
        assert_eq!((answer.response_nonce.as_str(), answer.error_detail), ("n", None));
        assert!(answer.initial_resource_versions.is_empty());
    }

    #[test]
    fn a_bad_resource_is_refused_by_name_and_the_others_apply() {
        let mut subscription = Subscription::new("a");
        subscription.take(response("1", vec![resource("bad", "1")], &[]), read);
        let both = vec![resource("bad", ""), resource("good", "2")];
        let (changes, _, answer) = subscription.take(response("2", both, &[]), read);
        assert_eq!(changes, [Change::Set("good".into(), "2".to_owned())]);
        let detail = answer.error_detail.unwrap();
        assert_eq!((detail.code, detail.message.as_str()), (3, "bad: version: is empty"));
        let known = subscription.opening().initial_resource_versions;
        assert_eq!(known["bad"], "1", "the version that is in force");
        assert_eq!(subscription.refused().count(), 1, "until it is mended or removed");
        subscription.take(response("3", vec![resource("bad", "3")], &[]), read);
        assert_eq!(subscription.refused().count(), 0);
    }

    #[test]
    fn an_answer_does_not_name_thousands() {
        let bad = (0..1000).map(|n| resource(&n.to_string(), "")).collect();
        let (_, refusals, answer) = Subscription::new("a").take(response("1", bad, &[]), read);
        assert_eq!(refusals.len(), 1000);
        let message = answer.error_detail.unwrap().message;
        assert!(message.ends_with("; and 980 more"), "{message}");
    }
}
