//! The whole way from a directory to a snapshot, the same for the daemon and for a check on the
//! command line.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Snapshot;

use crate::{Options, Problem, Severity, Store, load, snapshot};

/// A directory of configuration and what is in force of it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    store: Store,
    snapshot: Arc<Snapshot>,
    /// What was said when the snapshot was made.
    problems: Vec<Problem>,
    /// The generation of the store that it was made from.
    generation: u64,
}

/// What is in force after a reload.
#[derive(Clone, Debug)]
pub struct Update {
    /// The mesh; the same `Arc` as before when nothing changed.
    pub snapshot: Arc<Snapshot>,
    /// Everything there is to say about the directory now, not only what is new.
    pub problems: Vec<Problem>,
}

impl Directory {
    /// A directory, which must be readable. Nothing is in force before the first `reload`.
    pub fn open(path: impl Into<PathBuf>, options: Options) -> io::Result<Self> {
        let path = path.into();
        std::fs::read_dir(&path)?;
        Ok(Self {
            path,
            store: Store::new(options),
            snapshot: Arc::default(),
            problems: Vec::new(),
            generation: 0,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mesh as of the last reload.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.clone()
    }

    /// Reads the directory again. When it can't be read at all, everything stays as it is.
    pub fn reload(&mut self) -> Update {
        let (files, unreadable) = match load(&self.path) {
            Ok(files) => (files, None),
            Err(error) => (self.store.sources(), Some(self.unreadable(&error))),
        };
        let mut problems = self.store.apply(&files);
        self.compile();
        problems.extend(unreadable);
        problems.extend(self.problems.iter().cloned());
        Update { snapshot: self.snapshot.clone(), problems }
    }

    fn compile(&mut self) {
        if self.generation == self.store.generation() {
            return;
        }
        let (next, problems) = snapshot(&self.store, &self.snapshot);
        if next != *self.snapshot {
            self.snapshot = Arc::new(next);
        }
        self.problems = problems;
        self.generation = self.store.generation();
    }

    fn unreadable(&self, error: &io::Error) -> Problem {
        Problem {
            severity: Severity::Error,
            file: self.path.to_string_lossy().into_owned(),
            document: None,
            object: None,
            field: String::new(),
            message: format!("the directory can't be read: {error}"),
            consequence: "everything stays as it was last good".to_owned(),
        }
    }
}
