//! Reading the directory: which files count, and which of them must be read again. All file I/O of
//! this crate is here and in `content`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use crate::FileContent;
use crate::content::Stamp;
use crate::registry::FileChanges;

/// The deepest directory that is read; symbolic links make endless ones possible.
const DEPTH_MAX: usize = 32;

/// Reads every configuration file below `dir`: `*.yaml`, `*.yml` and `*.json`, names relative to it.
///
/// Hidden names are skipped and symbolic links are followed, which is what a mounted ConfigMap needs.
/// A file that can't be read is in the result as such; only `dir` itself being unreadable is an error.
pub fn load(dir: &Path) -> io::Result<BTreeMap<PathBuf, FileContent>> {
    let changes = Scanner::new(dir.to_owned()).all()?;
    Ok(changes.into_iter().filter_map(|(name, content)| Some((name, content?))).collect())
}

/// Reads a directory again and again, and each file only when it changed.
#[derive(Debug)]
pub(crate) struct Scanner {
    dir: PathBuf,
    /// The files that there are; the stamp says that the content is known.
    known: BTreeMap<PathBuf, Option<Stamp>>,
    /// With a symbolic link, a file may change without being touched under its name.
    has_links: bool,
    /// What time it is.
    clock: fn() -> SystemTime,
}

/// What a file that was touched turned out to be.
enum Finding {
    /// Nothing that counts.
    Nothing,
    Change(Option<FileContent>, Option<Stamp>),
    /// Something that other files depend on.
    Everything,
}

struct Walk<'a> {
    known: &'a BTreeMap<PathBuf, Option<Stamp>>,
    seen: BTreeMap<PathBuf, Option<Stamp>>,
    changes: FileChanges,
    has_links: bool,
    now: SystemTime,
    /// Canonical paths of the directories that lead here: one that comes again is a loop.
    above: Vec<PathBuf>,
}

// === impl Scanner ===

impl Scanner {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, known: BTreeMap::new(), has_links: false, clock: SystemTime::now }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Looks at everything. Returns the files that may have changed, with what they contain now.
    pub(crate) fn all(&mut self) -> io::Result<FileChanges> {
        let root = fs::canonicalize(&self.dir)?;
        let mut walk = Walk {
            known: &self.known,
            seen: BTreeMap::new(),
            changes: FileChanges::new(),
            has_links: false,
            now: (self.clock)(),
            above: vec![root.clone()],
        };
        walk.directory(&root, Path::new(""))?;
        let Walk { seen, mut changes, has_links, .. } = walk;
        let gone = self.known.keys().filter(|name| !seen.contains_key(*name));
        changes.extend(gone.map(|name| (name.clone(), None)));
        (self.known, self.has_links) = (seen, has_links);
        Ok(changes)
    }

    /// Looks at these names, relative to the directory, and at everything if need be.
    pub(crate) fn some(&mut self, names: &BTreeSet<PathBuf>) -> io::Result<FileChanges> {
        if self.has_links || !fs::metadata(&self.dir)?.is_dir() {
            return self.all();
        }
        let mut changes = FileChanges::new();
        let mut seen = Vec::new();
        for name in names.iter().filter(|name| !is_hidden(name)) {
            match self.touched(name) {
                Finding::Nothing => {}
                Finding::Everything => return self.all(),
                Finding::Change(content, stamp) => {
                    seen.push((name.clone(), content.as_ref().map(|_| stamp)));
                    changes.insert(name.clone(), content);
                }
            }
        }
        for (name, stamp) in seen {
            match stamp {
                Some(stamp) => self.known.insert(name, stamp),
                None => self.known.remove(&name),
            };
        }
        Ok(changes)
    }

    fn touched(&self, name: &Path) -> Finding {
        let path = self.dir.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {}
            // It may be anything that leads to files.
            Ok(metadata) if metadata.is_dir() || metadata.is_symlink() => {
                return Finding::Everything;
            }
            Ok(_) => return Finding::Nothing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.gone(name),
            Err(_) => return Finding::Everything,
        }
        if !is_configuration(name) {
            return Finding::Nothing;
        }
        match FileContent::read(&path, (self.clock)()) {
            Ok((content, stamp)) => Finding::Change(Some(content), stamp),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.gone(name),
            Err(error) => Finding::Change(Some(FileContent::Unreadable(error.to_string())), None),
        }
    }

    fn gone(&self, name: &Path) -> Finding {
        let from = (Bound::Included(name), Bound::Unbounded);
        match self.known.range::<Path, _>(from).map(|(known, _)| known).next() {
            Some(known) if known == name => Finding::Change(None, None),
            // It was a directory.
            Some(known) if known.starts_with(name) => Finding::Everything,
            _ => Finding::Nothing,
        }
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn directory(&mut self, dir: &Path, name: &Path) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = name.join(entry.file_name());
            if is_hidden(Path::new(&entry.file_name())) {
                continue;
            }
            if let Err(error) = self.entry(&entry, &name) {
                self.seen.insert(name.clone(), None);
                self.changes.insert(name, Some(FileContent::Unreadable(error.to_string())));
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &fs::DirEntry, name: &Path) -> io::Result<()> {
        let path = entry.path();
        let is_link = entry.file_type()?.is_symlink();
        self.has_links |= is_link;
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
            self.file(&path, name, &target)
        } else {
            Ok(())
        }
    }

    fn file(&mut self, path: &Path, name: &Path, target: &fs::Metadata) -> io::Result<()> {
        let known = self.known.get(name).copied().flatten();
        if known.is_some() && known == Stamp::of(target, self.now) {
            self.seen.insert(name.to_owned(), known);
            return Ok(());
        }
        let (content, stamp) = FileContent::read(path, self.now)?;
        self.seen.insert(name.to_owned(), stamp);
        self.changes.insert(name.to_owned(), Some(content));
        Ok(())
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

/// Is it, or something that it is in, hidden?
fn is_hidden(name: &Path) -> bool {
    name.components().any(|component| match component {
        Component::Normal(name) => name.as_encoded_bytes().starts_with(b"."),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

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

    /// So late that no file is young.
    fn late() -> SystemTime {
        SystemTime::now() + Duration::from_secs(60)
    }

    /// The names that a scan has something to say about; with a minus, those that are gone.
    fn told(changes: io::Result<FileChanges>) -> Vec<String> {
        let changes = changes.unwrap().into_iter().map(|(name, content)| {
            let sign = if content.is_some() { "" } else { "-" };
            format!("{sign}{}", name.display())
        });
        changes.collect()
    }

    fn some(scanner: &mut Scanner, names: &[&str]) -> Vec<String> {
        told(scanner.some(&names.iter().map(PathBuf::from).collect()))
    }

    #[test]
    fn what_did_not_change_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        for name in ["a.yaml", "b.yaml", "sub/c.yaml"] {
            fs::write(dir.path().join(name), "a: 1").unwrap();
        }
        let mut scanner = Scanner::new(dir.path().to_owned());
        assert_eq!(told(scanner.all()), ["a.yaml", "b.yaml", "sub/c.yaml"]);
        // Young files might change without a trace.
        assert_eq!(told(scanner.all()).len(), 3);
        scanner.clock = late;
        assert_eq!(told(scanner.all()).len(), 3);
        assert_eq!(told(scanner.all()), [""; 0]);
        // The same size and time of modification.
        let modified = fs::metadata(dir.path().join("a.yaml")).unwrap().modified().unwrap();
        fs::write(dir.path().join("a.yaml"), "a: 2").unwrap();
        fs::File::options()
            .write(true)
            .open(dir.path().join("a.yaml"))
            .and_then(|file| file.set_modified(modified))
            .unwrap();
        fs::remove_file(dir.path().join("b.yaml")).unwrap();
        assert_eq!(told(scanner.all()), ["a.yaml", "-b.yaml"]);
        assert_eq!(told(scanner.all()), [""; 0]);
    }

    #[test]
    fn what_is_touched_is_looked_at_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        for name in ["a.yaml", "b.yaml", "sub/c.yaml"] {
            fs::write(path(name), "a: 1").unwrap();
        }
        let mut scanner = Scanner::new(dir.path().to_owned());
        scanner.clock = late;
        scanner.all().unwrap();
        assert_eq!(some(&mut scanner, &["a.yaml"]), ["a.yaml"]);
        fs::write(path("b.yaml"), "a: 2").unwrap();
        fs::write(path("new.yaml"), "a: 1").unwrap();
        fs::write(path("README.md"), "text").unwrap();
        fs::write(path(".a.yaml.swp"), "text").unwrap();
        assert_eq!(some(&mut scanner, &["README.md", ".a.yaml.swp", "nothing.yaml"]), [""; 0]);
        assert_eq!(some(&mut scanner, &["b.yaml", "new.yaml"]), ["b.yaml", "new.yaml"]);
        fs::remove_file(path("new.yaml")).unwrap();
        assert_eq!(some(&mut scanner, &["new.yaml"]), ["-new.yaml"]);
        assert_eq!(told(scanner.all()), [""; 0]);
        // A directory stands for everything.
        fs::write(path("a.yaml"), "a: 3").unwrap();
        fs::create_dir(path("more")).unwrap();
        assert_eq!(some(&mut scanner, &["more"]), ["a.yaml"]);
        fs::remove_dir_all(path("sub")).unwrap();
        assert_eq!(some(&mut scanner, &["sub"]), ["-sub/c.yaml"]);
    }

    #[test]
    fn with_a_link_everything_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("a.yaml"), "a: 1").unwrap();
        let mut scanner = Scanner::new(dir.path().to_owned());
        scanner.clock = late;
        scanner.all().unwrap();
        symlink("a.yaml", path("b.yaml")).unwrap();
        assert_eq!(some(&mut scanner, &["b.yaml"]), ["b.yaml"]);
        fs::write(path("a.yaml"), "a: 2").unwrap();
        assert_eq!(some(&mut scanner, &["a.yaml"]), ["a.yaml", "b.yaml"]);
        fs::remove_file(path("b.yaml")).unwrap();
        assert_eq!(some(&mut scanner, &["b.yaml"]), ["-b.yaml"]);
        fs::write(path("a.yaml"), "a: 3").unwrap();
        assert_eq!(some(&mut scanner, &["nothing.yaml"]), [""; 0]);
    }

    #[test]
    fn a_directory_that_is_gone_is_an_error_and_not_empty() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("config");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.yaml"), "a: 1").unwrap();
        let mut scanner = Scanner::new(dir.clone());
        scanner.all().unwrap();
        fs::rename(&dir, parent.path().join("elsewhere")).unwrap();
        assert!(scanner.some(&BTreeSet::from(["a.yaml".into()])).is_err());
        assert!(scanner.all().is_err());
        fs::create_dir(&dir).unwrap();
        assert_eq!(told(scanner.all()), ["-a.yaml"]);
    }
}
