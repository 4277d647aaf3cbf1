//! The watches: pods of this node and namespaces, from the API server into the view. While it is away,
//! what is known stays known.

use std::sync::Arc;

use enrolment::{Mode, NodeView, Pod};
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1;
use kube::api::PartialObjectMeta;
use kube::runtime::watcher::{Config, Error, Event, Result};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use runtime::shutdown::Shutdown;

use super::pauses::Pauses;
use super::view::SharedView;

/// The API server does not remember what was after the version that a watch goes on from.
const TOO_OLD: u16 = 410;

/// How objects of one kind become part of the view.
struct Table<K, T> {
    kind: &'static str,
    read: fn(K) -> T,
    set: fn(&mut NodeView, Vec<T>),
    put: fn(&mut NodeView, T) -> bool,
    remove: fn(&mut NodeView, &T) -> bool,
}

/// Follows the pods of `node` until `stop`.
pub async fn pods(client: Client, node: &str, view: Arc<SharedView>, stop: Shutdown) {
    let of_node = Config::default().fields(&format!("spec.nodeName={node}"));
    let table = Table {
        kind: "pods",
        read: pod,
        set: |view, pods| view.set_pods(pods),
        put: |view, pod| view.put_pod(pod),
        remove: |view, pod: &Pod| view.remove_pod(&pod.uid),
    };
    follow(watcher(Api::<v1::Pod>::all(client), of_node), table, view, stop).await;
}

/// Follows the labels of all namespaces until `stop`.
pub async fn namespaces(client: Client, view: Arc<SharedView>, stop: Shutdown) {
    let table = Table {
        kind: "namespaces",
        read: namespace,
        set: |view, all| view.set_namespaces(all),
        put: |view, (name, mode)| view.put_namespace(name, mode),
        remove: |view, (name, _): &(String, Mode)| view.remove_namespace(name),
    };
    // Nothing but metadata is asked for and sent.
    let all = Api::<PartialObjectMeta<v1::Namespace>>::all(client);
    follow(watcher(all, Config::default()), table, view, stop).await;
}

async fn follow<K: Resource, T>(
    events: impl Stream<Item = Result<Event<K>>>,
    table: Table<K, T>,
    view: Arc<SharedView>,
    stop: Shutdown,
) {
    let mut events = std::pin::pin!(events.backoff(Pauses::new()));
    let mut listed = Vec::new();
    loop {
        let event = tokio::select! {
            () = stop.wait() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(event)) => take(event, &table, &view, &mut listed),
            // The watch was away for long: everything is read anew.
            Some(Err(Error::WatchError(status))) if status.code == TOO_OLD => {
                tracing::debug!(kind = table.kind, "the version is too old");
            }
            Some(Err(error)) => {
                if view.note_failure() {
                    tracing::warn!(
                        kind = table.kind,
                        %error,
                        "the API server does not answer; what is known stays in force"
                    );
                }
            }
            None => return,
        }
    }
}

fn take<K: Resource, T>(
    event: Event<K>,
    table: &Table<K, T>,
    view: &SharedView,
    listed: &mut Vec<T>,
) {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => listed.push((table.read)(object)),
        Event::InitDone => {
            let all = std::mem::take(listed);
            tracing::info!(kind = table.kind, count = all.len(), "read from the API server");
            view.update(|view| {
                (table.set)(view, all);
                true
            });
        }
        Event::Apply(object) => view.update(|view| (table.put)(view, (table.read)(object))),
        Event::Delete(object) => view.update(|view| (table.remove)(view, &(table.read)(object))),
    }
}

/// What the rules ask of a pod.
fn pod(object: v1::Pod) -> Pod {
    let v1::Pod { metadata, spec, status } = object;
    let named = Pod {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        object_uid: metadata.uid.unwrap_or_default(),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        ..Pod::default()
    };
    let labels = metadata.labels.unwrap_or_default();
    let annotations = metadata.annotations.unwrap_or_default();
    let phase = status.and_then(|status| status.phase).unwrap_or_default();
    named.with_metadata(&labels, &annotations).with_phase(&phase)
}

fn namespace(object: PartialObjectMeta<v1::Namespace>) -> (String, Mode) {
    let labels = object.metadata.labels.unwrap_or_default();
    (object.metadata.name.unwrap_or_default(), Mode::of(&labels))
}
