//! Reading the directory: which files count, and their text. All file I/O of this crate is here.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest file that is read.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// The deepest directory that is read; symbolic links make endless ones possible.
const DEPTH_MAX: usize = 32;

/// What a file contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// Text.
    Text(Arc<str>),
    /// Nothing that can be used, and why. For a directory it stands for all files below.
    Unreadable(String),
}

/// Reads every configuration file below `dir`: `*.yaml`, `*.yml` and `*.json`, names relative to it.
///
/// Hidden names are skipped and symbolic links are followed, which is what a mounted ConfigMap needs.
/// A file that can't be read is in the result as such; only `dir` itself being unreadable is an error.
pub fn load(dir: &Path) -> io::Result<BTreeMap<PathBuf, FileContent>> {
    let root = fs::canonicalize(dir)?;
    let mut walk = Walk { files: BTreeMap::new(), above: vec![root.clone()] };
    walk.directory(&root, Path::new(""))?;
    Ok(walk.files)
}

struct Walk {
    files: BTreeMap<PathBuf, FileContent>,
    /// Canonical paths of the directories that lead here: one that comes again is a loop.
    above: Vec<PathBuf>,
}

// === impl FileContent ===

impl FileContent {
    /// The content of a file, if it is text of a reasonable size.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Self::Unreadable(format!("larger than {FILE_BYTES_MAX} bytes"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text.into()),
            Err(error) => Self::Unreadable(format!("not UTF-8 text: {}", error.utf8_error())),
        }
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        // One byte more than allowed: a file may grow while it is read.
        fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(Self::from_bytes(bytes))
    }
}

// === impl Walk ===

impl Walk {
    fn directory(&mut self, dir: &Path, name: &Path) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let name = name.join(entry.file_name());
            if let Err(error) = self.entry(&entry, &name) {
                self.files.insert(name, FileContent::Unreadable(error.to_string()));
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &fs::DirEntry, name: &Path) -> io::Result<()> {
        let path = entry.path();
        let is_link = entry.file_type()?.is_symlink();
        let target = match fs::metadata(&path) {
            Ok(target) => target,
            // Removed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_link => return Ok(()),
            Err(_) if !is_configuration(name) => return Ok(()),
            Err(error) => return Err(error),
        };
        if target.is_dir() {
            self.subdirectory(&path, name)
        } else if target.is_file() && is_configuration(name) {
            self.files.insert(name.to_owned(), FileContent::read(&path)?);
            Ok(())
        } else {
            Ok(())
        }
    }

    fn subdirectory(&mut self, path: &Path, name: &Path) -> io::Result<()> {
        let real = fs::canonicalize(path)?;
        if self.above.contains(&real) {
            return Ok(());
        }
        if self.above.len() >= DEPTH_MAX {
            return Err(io::Error::other(format!("more than {DEPTH_MAX} directories deep")));
        }
        self.above.push(real);
        let result = self.directory(path, name);
        self.above.pop();
        result
    }
}

fn is_configuration(name: &Path) -> bool {
    let extension = name.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let files = load(dir).unwrap();
        files.keys().map(|name| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn reads_a_mounted_config_map() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("..2024_01_01");
        fs::create_dir_all(data.join("more")).unwrap();
        fs::write(data.join("mesh.yaml"), "a: 1").unwrap();
        fs::write(data.join("more/nested.yml"), "b: 1").unwrap();
        symlink("..2024_01_01", dir.path().join("..data")).unwrap();
        symlink("..data/mesh.yaml", dir.path().join("mesh.yaml")).unwrap();
        symlink("..data/more", dir.path().join("more")).unwrap();
        assert_eq!(names(dir.path()), ["mesh.yaml", "more/nested.yml"]);
    }

    #[test]
    fn skips_what_is_hidden_or_not_configuration() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.yaml", "b.json", ".hidden.yaml", "README.md", "c.yaml~", ".#d.yaml"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(names(dir.path()), ["a.yaml", "b.json"]);
    }

    #[test]
    fn a_loop_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), "").unwrap();
        symlink(".", dir.path().join("again")).unwrap();
        assert_eq!(names(dir.path()), ["a.yaml"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        symlink("nowhere", dir.path().join("dangling.yaml")).unwrap();
        fs::write(dir.path().join("latin1.yaml"), b"a: \xe9").unwrap();
        let files = load(dir.path()).unwrap();
        assert_eq!(files.len(), 2);
        for (name, content) in files {
            assert!(matches!(content, FileContent::Unreadable(_)), "{name:?}: {content:?}");
        }
        assert!(load(&dir.path().join("missing")).is_err());
    }
}
