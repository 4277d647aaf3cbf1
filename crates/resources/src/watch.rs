//! Learning that the directory may have changed: kernel notifications, debounced, with a periodic
//! look as the safety net for what they miss (a full queue, a link's target elsewhere).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A change is told when it has been quiet for so long ...
const QUIET: Duration = Duration::from_millis(50);
/// ... or so long after the first one.
const DELAY_MAX: Duration = Duration::from_millis(500);
/// A change is told at least so often.
const RESCAN: Duration = Duration::from_secs(30);

/// Tells when a directory may have changed.
#[derive(Debug)]
pub struct Watcher {
    dir: PathBuf,
    notifications: RecommendedWatcher,
    touched: Arc<Notify>,
    rescan_at: Instant,
    /// When the change that is not told yet began; kept here so that `changed` may be dropped.
    since: Option<Instant>,
}

impl Watcher {
    /// Watches `dir` and everything below.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let touched = Arc::new(Notify::new());
        let signal = touched.clone();
        let handler = move |event: notify::Result<notify::Event>| match event {
            Ok(event) if is_read(&event.kind) => {}
            Ok(_) => signal.notify_one(),
            Err(error) => {
                tracing::warn!(%error, "a notification about the directory was lost");
                signal.notify_one();
            }
        };
        let mut notifications = notify::recommended_watcher(handler).map_err(into_io)?;
        notify::Watcher::watch(&mut notifications, dir, RecursiveMode::Recursive)
            .map_err(into_io)?;
        Ok(Self {
            dir: dir.to_owned(),
            notifications,
            touched,
            rescan_at: Instant::now() + RESCAN,
            since: None,
        })
    }

    /// Waits until the directory may have changed. It may be dropped at any time without losing a
    /// change.
    pub async fn changed(&mut self) {
        if self.since.is_none() {
            tokio::select! {
                () = self.touched.notified() => {}
                () = sleep_until(self.rescan_at) => self.watch_again(),
            }
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let latest = since + DELAY_MAX;
        loop {
            let quiet_at = (Instant::now() + QUIET).min(latest);
            let touched = timeout_at(quiet_at, self.touched.notified()).await.is_ok();
            if !touched || Instant::now() >= latest {
                break;
            }
        }
        self.since = None;
        self.rescan_at = Instant::now() + RESCAN;
    }

    /// The directory itself may have been replaced by another of the same name.
    fn watch_again(&mut self) {
        let again =
            notify::Watcher::watch(&mut self.notifications, &self.dir, RecursiveMode::Recursive);
        if let Err(error) = again {
            tracing::warn!(%error, dir = %self.dir.display(), "the directory can't be watched");
        }
    }
}

/// Reading is no change, and our own reading must not wake us.
fn is_read(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}

fn into_io(error: notify::Error) -> io::Error {
    match error.kind {
        notify::ErrorKind::Io(error) => error,
        _ => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn tells_of_writes_renames_and_removals_and_not_of_reads() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("old.yaml"), "a: 1").unwrap();
        let mut watcher = Watcher::new(dir.path()).unwrap();

        let steps: [(&str, &dyn Fn(), bool); 5] = [
            ("read", &|| drop(fs::read(dir.path().join("old.yaml")).unwrap()), false),
            ("write", &|| fs::write(dir.path().join("new.yaml"), "a: 2").unwrap(), true),
            (
                "rename",
                &|| fs::rename(dir.path().join("new.yaml"), dir.path().join("old.yaml")).unwrap(),
                true,
            ),
            ("remove", &|| fs::remove_file(dir.path().join("old.yaml")).unwrap(), true),
            ("directory", &|| fs::create_dir(dir.path().join("sub")).unwrap(), true),
        ];
        for (name, step, told) in steps {
            step();
            let limit = if told { LONG } else { SHORT };
            assert_eq!(timeout(limit, watcher.changed()).await.is_ok(), told, "{name}");
        }
    }

    #[tokio::test]
    async fn a_dropped_wait_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new(dir.path()).unwrap();
        fs::write(dir.path().join("a.yaml"), "a: 1").unwrap();
        // Long enough to hear of it, not long enough for it to be quiet.
        assert!(timeout(Duration::from_millis(20), watcher.changed()).await.is_err());
        assert!(timeout(LONG, watcher.changed()).await.is_ok());
    }

    #[tokio::test]
    async fn steady_writing_does_not_put_it_off_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new(dir.path()).unwrap();
        let path = dir.path().join("a.yaml");
        let writer = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            loop {
                fs::write(&path, "a: 1").unwrap();
                pace.tick().await;
            }
        });
        assert!(timeout(LONG, watcher.changed()).await.is_ok());
        writer.abort();
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Watcher::new(&dir.path().join("missing")).is_err());
    }
}
