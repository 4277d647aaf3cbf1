//! What was asked through the CNI plugin and what became of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cni::outcome::Trouble;
use cni::wire::Note;
use runtime::api::CniStatus;

/// Longest note that is read.
const NOTE_BYTES_MAX: u64 = 64 * 1024;
/// Counts notes that cannot be read.
const UNREADABLE: &str = "unreadable";

/// Counters since the daemon started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sandboxes that were enrolled.
    pub enrolled: Count,
    /// Sandboxes that do not belong to the mesh.
    pub left_alone: Count,
    /// Sandboxes of which that was not known in time.
    pub undecided: Count,
    /// Sandboxes that could not be enrolled.
    pub failed: Count,
    /// Sandboxes that ended.
    pub released: Count,
    /// Questions that could not be read.
    pub malformed: Count,
    let_go: Mutex<BTreeMap<&'static str, u64>>,
}

/// One of them.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Once more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Counts the notes that the plugin left in `directory`, tells of them, and removes them.
    pub fn take_notes(&self, directory: &Path) {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        // One that begins with a dot is being written.
        let is_whole = |path: &PathBuf| {
            path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
        };
        for path in entries.map(|entry| entry.path()).filter(is_whole) {
            let note = read(directory, &path);
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "a note stays: it is not counted");
                continue;
            }
            let known = Trouble::NAMES.into_iter().find(|name| *name == note.reason);
            let reason = known.unwrap_or(UNREADABLE);
            tracing::warn!(
                workload = note.workload,
                sandbox = note.attachment.container_id,
                reason,
                detail = note.detail,
                "a pod started without an answer of this daemon"
            );
            let mut let_go = self.let_go.lock().unwrap_or_else(PoisonError::into_inner);
            *let_go.entry(reason).or_default() += 1;
        }
    }

    /// For the status page.
    pub fn status(&self) -> CniStatus {
        let let_go = self.let_go.lock().unwrap_or_else(PoisonError::into_inner);
        CniStatus {
            enrolled: self.enrolled.get(),
            left_alone: self.left_alone.get(),
            undecided: self.undecided.get(),
            failed: self.failed.get(),
            released: self.released.get(),
            malformed: self.malformed.get(),
            let_go: let_go.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }
}

fn read(directory: &Path, path: &Path) -> Note {
    let name = Path::new(path.file_name().unwrap_or_default());
    let text = runtime::files::read_below(directory, name, NOTE_BYTES_MAX).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}
