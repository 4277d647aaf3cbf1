//! Learning what may have changed in the directory: kernel notifications, debounced, with a periodic
//! look at everything as the safety net for what they miss (a full queue, a link's target elsewhere).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A change is told when it has been quiet for so long ...
const QUIET: Duration = Duration::from_millis(50);
/// ... or so long after the first one.
const DELAY_MAX: Duration = Duration::from_millis(500);
/// Everything is looked at at least so often.
const RESCAN: Duration = Duration::from_secs(30);

/// More names than these are no better than a look at everything.
const NAMES_MAX: usize = 1000;

/// Tells when a directory may have changed.
#[derive(Debug)]
pub struct Watcher {
    dir: PathBuf,
    notifications: RecommendedWatcher,
    pending: Arc<Pending>,
    rescan_at: Instant,
    /// When the change that is not told yet began; kept here so that `changed` may be dropped.
    since: Option<Instant>,
}

/// What may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// These files, or what was there under these names; relative to the directory.
    Names(BTreeSet<PathBuf>),
    /// Anything.
    Everything,
}

/// What was touched and is not told yet.
#[derive(Debug)]
struct Pending {
    touched: Mutex<Touched>,
    signal: Notify,
}

// === impl Touched ===

impl Touched {
    /// Nothing.
    fn none() -> Self {
        Self::Names(BTreeSet::new())
    }

    fn add(&mut self, name: PathBuf) {
        let Self::Names(names) = self else { return };
        names.insert(name);
        if names.len() > NAMES_MAX {
            *self = Self::Everything;
        }
    }
}

// === impl Pending ===

impl Pending {
    fn touch(&self, dir: &Path, event: notify::Result<notify::Event>) {
        let mut touched = self.lock();
        match event {
            Ok(event) if is_read(&event.kind) => return,
            Ok(event) if event.need_rescan() || event.paths.is_empty() => {
                *touched = Touched::Everything;
            }
            Ok(event) => {
                for path in event.paths {
                    match path.strip_prefix(dir) {
                        Ok(name) if name != Path::new("") => touched.add(name.to_owned()),
                        _ => *touched = Touched::Everything,
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a notification about the directory was lost");
                *touched = Touched::Everything;
            }
        }
        drop(touched);
        self.signal.notify_one();
    }

    fn take(&self) -> Touched {
        std::mem::replace(&mut *self.lock(), Touched::none())
    }

    fn lock(&self) -> MutexGuard<'_, Touched> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Watcher ===

impl Watcher {
    /// Watches `dir` and everything below.
    pub fn new(dir: &Path) -> io::Result<Self> {
        // Notifications have absolute paths.
        let dir = std::path::absolute(dir)?;
        let touched = Mutex::new(Touched::none());
        let pending = Arc::new(Pending { touched, signal: Notify::new() });
        let (inbox, base) = (pending.clone(), dir.clone());
        let handler = move |event| inbox.touch(&base, event);
        let mut notifications = notify::recommended_watcher(handler).map_err(into_io)?;
        notify::Watcher::watch(&mut notifications, &dir, RecursiveMode::Recursive)
            .map_err(into_io)?;
        let rescan_at = Instant::now() + RESCAN;
        Ok(Self { dir, notifications, pending, rescan_at, since: None })
    }

    /// Waits until the directory may have changed, and tells where. It may be dropped at any time
    /// without losing a change.
    pub async fn changed(&mut self) -> Touched {
        let signal = &self.pending.signal;
        if self.since.is_none() {
            tokio::select! {
                () = signal.notified() => {}
                () = sleep_until(self.rescan_at) => {
                    *self.pending.lock() = Touched::Everything;
                    self.watch_again();
                }
            }
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let latest = since + DELAY_MAX;
        let signal = &self.pending.signal;
        loop {
            let quiet_at = (Instant::now() + QUIET).min(latest);
            let is_touched = timeout_at(quiet_at, signal.notified()).await.is_ok();
            if !is_touched || Instant::now() >= latest {
                break;
            }
        }
        self.since = None;
        let touched = self.pending.take();
        let now = Instant::now();
        if touched != Touched::Everything && now < self.rescan_at {
            return touched;
        }
        self.rescan_at = now + RESCAN;
        Touched::Everything
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
            let touched = timeout(limit, watcher.changed()).await;
            assert_eq!(touched.is_ok(), told, "{name}");
            let names = match touched {
                Ok(Touched::Names(names)) => names,
                Ok(Touched::Everything) => panic!("{name}"),
                Err(_) => continue,
            };
            assert!(!names.is_empty() && names.iter().all(|name| name.is_relative()), "{names:?}");
        }
    }

    #[tokio::test]
    async fn a_dropped_wait_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new(dir.path()).unwrap();
        fs::write(dir.path().join("a.yaml"), "a: 1").unwrap();
        // Long enough to hear of it, not long enough for it to be quiet.
        assert!(timeout(Duration::from_millis(20), watcher.changed()).await.is_err());
        let touched = timeout(LONG, watcher.changed()).await.unwrap();
        assert_eq!(touched, Touched::Names(BTreeSet::from(["a.yaml".into()])));
    }

    #[tokio::test(start_paused = true)]
    async fn everything_is_told_now_and_then() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new(dir.path()).unwrap();
        let started = Instant::now();
        assert_eq!(watcher.changed().await, Touched::Everything);
        assert!(started.elapsed() >= RESCAN);
        // Not only when it is quiet.
        let mut told = 0;
        while told < 2 {
            watcher.pending.touch(dir.path(), event("a.yaml", dir.path()));
            told += usize::from(watcher.changed().await == Touched::Everything);
            assert!(started.elapsed() < 4 * RESCAN);
        }
    }

    fn event(name: &str, dir: &Path) -> notify::Result<notify::Event> {
        Ok(notify::Event::new(EventKind::Any).add_path(dir.join(name)))
    }

    #[tokio::test]
    async fn what_is_not_known_is_everything() {
        let dir = Path::new("/dir");
        let overflow = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        let many = (0..=NAMES_MAX).map(|number| dir.join(number.to_string()));
        let many = many.fold(notify::Event::new(EventKind::Any), notify::Event::add_path);
        for (event, expected) in [
            (event("a/b.yaml", dir), Touched::Names(BTreeSet::from(["a/b.yaml".into()]))),
            (event("", dir), Touched::Everything),
            (event("/elsewhere", dir), Touched::Everything),
            (Ok(overflow), Touched::Everything),
            (Ok(notify::Event::new(EventKind::Any)), Touched::Everything),
            (Err(notify::Error::generic("lost")), Touched::Everything),
            (Ok(many), Touched::Everything),
        ] {
            let pending = Pending { touched: Mutex::new(Touched::none()), signal: Notify::new() };
            pending.touch(dir, event);
            assert_eq!(pending.take(), expected);
            assert_eq!(pending.take(), Touched::none());
        }
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
