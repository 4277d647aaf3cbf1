//! Writes down at the pods that they are enrolled, as Kmesh does. Not in anybody's way: what cannot be
//! written now is written later.

use std::collections::BTreeMap;
use std::time::Duration;

use enrolment::plan::Annotation;
use enrolment::rules::{REDIRECTION_ANNOTATION, REDIRECTION_ENABLED};
use k8s_openapi::api::core::v1;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use runtime::shutdown::Shutdown;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long after a failure it is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What it answers when the pod is gone, or is another one under the same name.
const GONE: [u16; 2] = [404, 409];

/// Writes what `wanted` asks for, again and again, until `stop`.
pub async fn write(client: Client, mut wanted: watch::Receiver<Vec<Annotation>>, stop: Shutdown) {
    // What was written and is not in the view yet.
    let mut written: BTreeMap<String, bool> = BTreeMap::new();
    let mut last_failure = String::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        written.retain(|uid, _| now.iter().any(|it| it.object_uid == *uid));
        let result = tokio::select! {
            () = stop.wait() => return,
            result = write_all(&client, &now, &mut written) => result,
        };
        let failure = result.err().unwrap_or_default();
        if !failure.is_empty() && failure != last_failure {
            tracing::warn!(failure, "annotation {REDIRECTION_ANNOTATION} is not up to date");
        }
        let is_behind = !failure.is_empty();
        last_failure = failure;
        tokio::select! {
            () = stop.wait() => return,
            changed = wanted.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY_DELAY), if is_behind => {}
        }
    }
}

async fn write_all(
    client: &Client,
    now: &[Annotation],
    written: &mut BTreeMap<String, bool>,
) -> Result<(), String> {
    for it in now {
        if written.get(&it.object_uid) == Some(&it.enrolled) {
            continue;
        }
        let pods: Api<v1::Pod> = Api::namespaced(client.clone(), &it.namespace);
        // Both `pods` and `pods/status` take annotations; the second needs the smaller permission.
        let parameters = PatchParams::default();
        let patch = Patch::Merge(patch(it));
        let patched = pods.patch_status(&it.name, &parameters, &patch);
        match timeout(PATIENCE, patched).await {
            Ok(Ok(_)) => {}
            Ok(Err(kube::Error::Api(status))) if GONE.contains(&status.code) => {}
            Ok(Err(error)) => return Err(format!("{}/{}: {error}", it.namespace, it.name)),
            Err(_) => return Err(format!("no answer within {PATIENCE:?}")),
        }
        written.insert(it.object_uid.clone(), it.enrolled);
    }
    Ok(())
}

/// For this very pod: its uid is part of it, so that another one of its name is left alone.
fn patch(it: &Annotation) -> Value {
    let value = it.enrolled.then_some(REDIRECTION_ENABLED);
    json!({ "metadata": {
        "uid": it.object_uid,
        "annotations": { REDIRECTION_ANNOTATION: value },
    }})
}
