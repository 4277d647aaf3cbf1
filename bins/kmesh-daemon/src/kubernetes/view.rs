//! What is known of pods and namespaces, shared by the watch, the loop and the server for the plugin.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use enrolment::{Known, NodeView};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// For so long a failed request means that the API server is away: longer than the longest pause
/// between two attempts and the time that one of them may take.
const FAILURE_COUNTS: Duration = Duration::from_secs(15);

/// The shared view.
pub struct SharedView {
    view: Mutex<NodeView>,
    changes: watch::Sender<u64>,
    /// When a request to the API server failed last.
    last_failure: Mutex<Option<Instant>>,
}

impl SharedView {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self {
            view: Mutex::default(),
            changes: watch::Sender::new(0),
            last_failure: Mutex::new(None),
        }
    }

    /// The view, for a short look.
    pub fn lock(&self) -> MutexGuard<'_, NodeView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the view; `change` says whether that can matter to anybody.
    pub fn update(&self, change: impl FnOnce(&mut NodeView) -> bool) {
        let matters = change(&mut self.lock());
        if matters {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Notes that a request to the API server failed. True when that is news.
    pub fn note_failure(&self) -> bool {
        let was_connected = self.is_connected();
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        was_connected
    }

    /// True while the API server answers, as far as that is known: a watch that waits for news says
    /// nothing, and one that cannot connect fails again soon.
    pub fn is_connected(&self) -> bool {
        let last = *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|at| at.elapsed() > FAILURE_COUNTS)
    }

    /// What is known of a pod, once it is known whether it belongs to the mesh, or at the end of
    /// `patience`. A pod that a runtime asks for may be on its way: kubelet learns of it by a watch of
    /// its own.
    pub async fn await_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        patience: Duration,
    ) -> Known {
        let end = Instant::now() + patience;
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let known = self.lock().find(namespace, name, uid);
            if matches!(known, Known::Decided(_)) {
                return known;
            }
            if timeout_at(end, changes.changed()).await.is_err() {
                return known;
            }
        }
    }
}
