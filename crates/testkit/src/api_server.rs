//! A Kubernetes API server that knows pods and namespaces: list, watch and patch, as far as a node's
//! watch meets them, with everything that goes wrong in a cluster at the scene's command.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch};
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// An API server on loopback. Its objects outlive [`ApiServer::stop`].
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

/// `Pod` or `Namespace`, namespace, name.
type Key = (String, String, String);

#[derive(Debug)]
struct Shared {
    state: Mutex<Cluster>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Cluster {
    version: u64,
    objects: BTreeMap<Key, Value>,
    /// Version, kind, and the event as it is sent.
    log: Vec<(u64, String, Value)>,
    /// Watches from before this version are too late.
    oldest: u64,
    /// Watches of an earlier epoch end.
    epoch: u64,
    lists: usize,
    patches: usize,
}

impl ApiServer {
    /// An empty cluster.
    #[track_caller]
    pub fn start_new() -> Self {
        let state = Mutex::new(Cluster { version: 1, ..Cluster::default() });
        let shared = Arc::new(Shared { state, changed: watch::Sender::new(0) });
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut server = Self { address: any, shared, runtime: None };
        server.start();
        server
    }

    /// Answers again, at the same port.
    ///
    /// # Panics
    /// When it runs, or the port was taken meanwhile.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.runtime.is_none(), "the API server runs already");
        let listener = TcpListener::bind(self.address)
            .unwrap_or_else(|e| panic!("bind {}: {e}", self.address));
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let router = router(Arc::clone(&self.shared));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        self.runtime = Some(runtime);
    }

    /// Is away: connections end, new ones are refused.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
    }

    /// Writes a kubeconfig into `dir`.
    #[track_caller]
    pub fn kubeconfig(&self, dir: &Path) -> PathBuf {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "scene",
            "clusters": [{"name": "scene", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "scene", "user": {}}],
            "contexts": [{"name": "scene", "context": {"cluster": "scene", "user": "scene"}}],
        });
        let path = dir.join("kubeconfig");
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// Creates an object, or puts it in the place of the one of its name.
    pub fn put(&self, object: Value) {
        let mut state = self.shared.lock();
        state.put(object);
        drop(state);
        self.shared.tell();
    }

    /// Sets a label, or removes it with `None`.
    #[track_caller]
    pub fn label(&self, kind: &str, namespace: &str, name: &str, label: (&str, Option<&str>)) {
        let mut state = self.shared.lock();
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let found = state.objects.get(&key);
        let mut object = found.unwrap_or_else(|| panic!("there is no {key:?}")).clone();
        object["metadata"]["labels"][label.0] = label.1.into();
        strip_nulls(&mut object["metadata"]["labels"]);
        state.put(object);
        drop(state);
        self.shared.tell();
    }

    /// Deletes an object.
    #[track_caller]
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let mut state = self.shared.lock();
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = state.objects.remove(&key).unwrap_or_else(|| panic!("no {key:?}"));
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        state.tell("DELETED", object);
        drop(state);
        self.shared.tell();
    }

    /// Forgets what was: who watches from before now is told that it is too late (410).
    pub fn compact(&self) {
        let mut state = self.shared.lock();
        state.version += 1;
        state.oldest = state.version;
        state.epoch += 1;
        drop(state);
        self.shared.tell();
    }

    /// Ends all watches, as a proxy in between may.
    pub fn disconnect(&self) {
        self.shared.lock().epoch += 1;
        self.shared.tell();
    }

    /// Tells all watches how far they are.
    pub fn bookmark(&self) {
        let mut state = self.shared.lock();
        state.version += 1;
        let version = state.version;
        for kind in ["Pod", "Namespace"] {
            let metadata = json!({"resourceVersion": version.to_string()});
            let object = json!({"kind": kind, "apiVersion": "v1", "metadata": metadata});
            let event = json!({"type": "BOOKMARK", "object": object});
            state.log.push((version, kind.to_owned(), event));
        }
        drop(state);
        self.shared.tell();
    }

    /// An annotation of a pod.
    pub fn annotation(&self, namespace: &str, name: &str, annotation: &str) -> Option<String> {
        let key = ("Pod".to_owned(), namespace.to_owned(), name.to_owned());
        let state = self.shared.lock();
        let value = &state.objects.get(&key)?["metadata"]["annotations"][annotation];
        value.as_str().map(str::to_owned)
    }

    /// Whole lists that were read so far.
    pub fn lists(&self) -> usize {
        self.shared.lock().lists
    }

    /// Patches that were taken so far.
    pub fn patches(&self) -> usize {
        self.shared.lock().patches
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop();
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Cluster> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

// === impl Cluster ===

impl Cluster {
    fn put(&mut self, mut object: Value) {
        self.version += 1;
        object["apiVersion"] = "v1".into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let known = self.objects.insert(key_of(&object), object.clone());
        self.tell(if known.is_some() { "MODIFIED" } else { "ADDED" }, object);
    }

    fn tell(&mut self, kind: &str, object: Value) {
        let of = object["kind"].as_str().unwrap_or_default().to_owned();
        self.log.push((self.version, of, json!({"type": kind, "object": object})));
    }
}

fn key_of(object: &Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    (text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
}

fn strip_nulls(map: &mut Value) {
    if let Some(map) = map.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/v1/pods", get(|state, query| read("Pod", state, query)))
        .route("/api/v1/namespaces", get(|state, query| read("Namespace", state, query)))
        .route("/api/v1/namespaces/{namespace}/pods/{name}/status", patch(annotate))
        .with_state(shared)
}

/// A list, or a watch.
async fn read(
    kind: &'static str,
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let selector = query.get("fieldSelector").cloned().unwrap_or_default();
    let node = selector.strip_prefix("spec.nodeName=").unwrap_or_default().to_owned();
    if (kind == "Pod") == node.is_empty() {
        return (StatusCode::FORBIDDEN, "this node sees its own pods, and no others")
            .into_response();
    }
    if query.get("watch").is_some_and(|watch| watch == "true") {
        let since = query.get("resourceVersion").and_then(|it| it.parse().ok()).unwrap_or(0);
        return follow(shared, kind, node, since);
    }
    let mut state = shared.lock();
    state.lists += 1;
    let items = state.objects.iter().filter(|(key, object)| key.0 == kind && is_on(object, &node));
    let items: Vec<&Value> = items.map(|(_, object)| object).collect();
    let metadata = json!({"resourceVersion": state.version.to_string()});
    let list = format!("{kind}List");
    Json(json!({"kind": list, "apiVersion": "v1", "metadata": metadata, "items": items}))
        .into_response()
}

fn is_on(object: &Value, node: &str) -> bool {
    node.is_empty() || object["spec"]["nodeName"] == node || object["spec"].is_null()
}

/// Events after `since`, as they come.
fn follow(shared: Arc<Shared>, kind: &'static str, node: String, since: u64) -> Response {
    let epoch = shared.lock().epoch;
    let changed = shared.changed.subscribe();
    let start = (shared, changed, since, false);
    let events = stream::unfold(start, move |(shared, mut changed, since, ended)| {
        let node = node.clone();
        async move {
            if ended {
                return None;
            }
            loop {
                changed.mark_unchanged();
                let (text, last, ends) = news(&shared.lock(), kind, &node, since, epoch);
                if !text.is_empty() {
                    return Some((Ok::<_, Infallible>(text), (shared, changed, last, ends)));
                }
                if ends || changed.changed().await.is_err() {
                    return None;
                }
            }
        }
    });
    Body::from_stream(events).into_response()
}

/// Events after `since`, the last version that was looked at, and whether the watch ends here.
fn news(state: &Cluster, kind: &str, node: &str, since: u64, epoch: u64) -> (String, u64, bool) {
    if since < state.oldest {
        let status = json!({"type": "ERROR", "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "too old resource version", "reason": "Expired", "code": 410,
        }});
        return (format!("{status}\n"), since, true);
    }
    if state.epoch != epoch {
        return (String::new(), since, true);
    }
    let new = state.log.iter().filter(|(version, of, event)| {
        *version > since && of == kind && is_on(&event["object"], node)
    });
    let text: String = new.map(|(_, _, event)| format!("{event}\n")).collect();
    (text, state.version, false)
}

/// A merge patch of annotations.
async fn annotate(
    State(shared): State<Arc<Shared>>,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
    Json(patch): Json<Value>,
) -> Response {
    let mut state = shared.lock();
    let failure = |code: StatusCode| {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": code.to_string(), "reason": code.to_string(), "code": code.as_u16(),
        });
        (code, Json(status)).into_response()
    };
    let key = ("Pod".to_owned(), namespace, name);
    let Some(mut object) = state.objects.get(&key).cloned() else {
        return failure(StatusCode::NOT_FOUND);
    };
    if patch["metadata"]["uid"] != object["metadata"]["uid"] {
        return failure(StatusCode::CONFLICT);
    }
    for (annotation, value) in patch["metadata"]["annotations"].as_object().into_iter().flatten() {
        object["metadata"]["annotations"][annotation] = value.clone();
    }
    strip_nulls(&mut object["metadata"]["annotations"]);
    state.patches += 1;
    state.put(object.clone());
    drop(state);
    shared.tell();
    Json(object).into_response()
}
