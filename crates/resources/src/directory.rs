//! The whole way from a directory to a snapshot, the same for the daemon and for a check on the
//! command line.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Snapshot;

use crate::load::Scanner;
use crate::{Options, Problem, Severity, Store, Touched, Update};

/// A directory of configuration and what is in force of it.
#[derive(Debug)]
pub struct Directory {
    scanner: Scanner,
    store: Store,
}

impl Directory {
    /// A directory, which must be readable. Nothing is in force before the first `reload`.
    pub fn open(path: impl Into<PathBuf>, options: Options) -> io::Result<Self> {
        let path = path.into();
        std::fs::read_dir(&path)?;
        Ok(Self { scanner: Scanner::new(path), store: Store::new(options) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.scanner.dir()
    }

    /// The mesh as of the last reload.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.store.snapshot()
    }

    /// The objects in force, and where they are.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Looks at the whole directory again. When it can't be read at all, everything stays as it is.
    pub fn reload(&mut self) -> Update {
        self.refresh(&Touched::Everything)
    }

    /// Looks again at what was touched, as [`crate::Watcher::changed`] tells it. When the directory
    /// can't be read at all, everything stays as it is.
    pub fn refresh(&mut self, touched: &Touched) -> Update {
        let changes = match touched {
            Touched::Everything => self.scanner.all(),
            Touched::Names(names) => self.scanner.some(names),
        };
        match changes {
            Ok(changes) => self.store.update(changes),
            Err(error) => {
                let update = self.store.current();
                let problems = update.problems.iter().cloned().chain([self.unreadable(&error)]);
                Update { problems: problems.collect(), ..update }
            }
        }
    }

    fn unreadable(&self, error: &io::Error) -> Problem {
        Problem {
            severity: Severity::Error,
            file: self.path().to_string_lossy().into_owned(),
            document: None,
            object: None,
            field: String::new(),
            message: format!("the directory can't be read: {error}"),
            consequence: "everything stays as it was last good".to_owned(),
        }
    }
}
