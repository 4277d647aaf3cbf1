//! The files that git knows, with their text; tests make small trees by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::exec;

/// Paths from the root, with `/`, and the text of each that is text.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
    binary: BTreeSet<String>,
}

/// Something to be put right.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Tree {
    /// What is committed or could be: not what `.gitignore` names.
    pub(crate) fn of_git(root: &Path) -> Result<Self> {
        let mut git = Command::new("git");
        git.current_dir(root);
        // The clone may belong to another user than the root that runs the tests.
        git.args(["-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"]);
        let mut tree = Self::default();
        for path in exec::capture(&mut git)?.split_terminator('\0') {
            // A file that is deleted but not committed as such is no file; a link leads elsewhere.
            if !root.join(path).symlink_metadata().is_ok_and(|meta| meta.is_file()) {
                continue;
            }
            let bytes = std::fs::read(root.join(path)).with_context(|| format!("read {path}"))?;
            match String::from_utf8(bytes) {
                Ok(text) => drop(tree.files.insert(path.to_owned(), text)),
                Err(_) => drop(tree.binary.insert(path.to_owned())),
            }
        }
        Ok(tree)
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Self { files: files.collect(), binary: BTreeSet::new() }
    }

    /// Text files.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Text files whose name has this ending, such as `.rs`.
    pub(crate) fn ending(&self, ending: &str) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter(move |(path, _)| path.ends_with(ending))
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether there is such a file or folder.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.files.contains_key(path)
            || self.binary.contains(path)
            || self.files.keys().chain(&self.binary).any(|file| file.starts_with(&folder))
    }
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}
