//! Puts the CNI plugin on the node and keeps it there: its file, and its entry in the conflist that the
//! runtime uses. It stays when the daemon stops; `uninstall` takes it away.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use cni::PLUGIN;
use cni::conflist::{self, ConflistError, Entry, FILE_BYTES_MAX};
use resources::Watcher;
use runtime::files;
use runtime::shutdown::Shutdown;

use super::args::{CniPlaces, KubernetesArgs};

/// Mode of the plugin.
const PLUGIN_MODE: u32 = 0o755;
/// Runtimes create the directory so.
const DIRECTORY_MODE: u32 = 0o755;

/// Installs the plugin, again and again.
pub struct Installer {
    plugin: PathBuf,
    binary: PathBuf,
    directory: PathBuf,
    conflist: Option<String>,
    entry: Entry,
    watcher: Watcher,
    /// What was said last, so that it is said once.
    said: String,
}

/// What became of one look.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The entry is in this file, and was before.
    Kept(PathBuf),
    /// The entry is in this file now.
    Written(PathBuf),
}

impl Installer {
    /// Watches the directory; nothing is installed yet.
    ///
    /// # Errors
    /// When there is no plugin to install, or the directory cannot be watched.
    pub fn new(args: &KubernetesArgs) -> anyhow::Result<Self> {
        let plugin = args.plugin().context("the path of this program")?;
        ensure!(
            plugin.is_file(),
            "{} is no file: name the CNI plugin by --cni-plugin, or say --install-cni off",
            plugin.display()
        );
        let CniPlaces { cni_etc_path, conflist_name, cni_bin_path } = &args.places;
        let unwatched = || format!("--cni-etc-path {}", cni_etc_path.display());
        make_directory(cni_etc_path).with_context(unwatched)?;
        make_directory(cni_bin_path)
            .with_context(|| format!("--cni-bin-path {}", cni_bin_path.display()))?;
        Ok(Self {
            plugin,
            binary: cni_bin_path.join(PLUGIN),
            directory: cni_etc_path.clone(),
            conflist: Some(conflist_name.clone()).filter(|name| !name.is_empty()),
            entry: args.entry(),
            watcher: Watcher::new(cni_etc_path).with_context(unwatched)?,
            said: String::new(),
        })
    }

    /// Installs, and again after every change of the directory, until `stop`: another plugin may write
    /// its conflist anew, or a conflist may come that the runtime uses instead.
    pub async fn keep(mut self, stop: Shutdown) {
        loop {
            let result = tokio::task::block_in_place(|| self.install());
            self.say(result);
            tokio::select! {
                () = stop.wait() => return,
                _ = self.watcher.changed() => {}
            }
        }
    }

    /// The plugin first: an entry without its plugin would keep pods from starting.
    fn install(&self) -> anyhow::Result<Outcome> {
        let binary = || format!("{} is not installed", self.binary.display());
        copy(&self.plugin, &self.binary).with_context(binary)?;
        let path = self.find_conflist()?;
        let (text, mode) =
            read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let edited = conflist::insert(&text, &self.entry)
            .with_context(|| format!("pods are not enrolled as they start: {}", path.display()))?;
        let Some(edited) = edited else { return Ok(Outcome::Kept(path)) };
        files::write_atomically(&path, edited.as_bytes(), mode)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Outcome::Written(path))
    }

    fn find_conflist(&self) -> anyhow::Result<PathBuf> {
        if let Some(name) = &self.conflist {
            return Ok(self.directory.join(name));
        }
        let directory = self.directory.display();
        let names = names(&self.directory).with_context(|| format!("{directory}"))?;
        let read = |name: &str| read(&self.directory.join(name)).ok().map(|found| found.0);
        let (used, _) = conflist::first_used(&names, read).with_context(|| {
            format!(
                "pods are not enrolled as they start: {directory} has no CNI network configuration \
                 that a runtime would use; the plugin is added as soon as there is one"
            )
        })?;
        Ok(self.directory.join(used))
    }

    fn say(&mut self, result: anyhow::Result<Outcome>) {
        let (text, is_good) = match result {
            Ok(Outcome::Kept(path)) => (format!("the CNI plugin is in {}", path.display()), true),
            Ok(Outcome::Written(path)) => {
                // Each time: somebody else had changed it.
                self.said.clear();
                (format!("the CNI plugin is in {} now", path.display()), true)
            }
            Err(error) => (format!("{error:#}"), false),
        };
        if text == self.said {
            return;
        }
        if is_good {
            tracing::info!("{text}");
        } else {
            tracing::error!("{text}");
        }
        self.said = text;
    }
}

/// Takes the plugin's entry out of every conflist, and then its file away. Returns what was changed.
///
/// # Errors
/// The first thing that cannot be undone; what was undone before stays so.
pub fn uninstall(places: &CniPlaces) -> anyhow::Result<BTreeMap<PathBuf, &'static str>> {
    let mut changed = BTreeMap::new();
    let names = match names(&places.cni_etc_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.with_context(|| format!("{}", places.cni_etc_path.display()))?,
    };
    for path in names.iter().map(|name| places.cni_etc_path.join(name)) {
        // What is no list has no entry.
        let Ok((text, mode)) = read(&path) else { continue };
        let edited: Result<Option<String>, ConflistError> = conflist::remove(&text);
        let Ok(Some(edited)) = edited else { continue };
        files::write_atomically(&path, edited.as_bytes(), mode)
            .with_context(|| format!("{} still has the entry of {PLUGIN}", path.display()))?;
        changed.insert(path, "without the CNI plugin");
    }
    let binary = places.cni_bin_path.join(PLUGIN);
    match fs::remove_file(&binary) {
        Ok(()) => drop(changed.insert(binary, "removed")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("{} is still there", binary.display()));
        }
    }
    Ok(changed)
}

fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(directory)?.flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    Ok(files.filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Text and mode of a file.
fn read(path: &Path) -> io::Result<(String, u32)> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > FILE_BYTES_MAX {
        let why = format!("not a file of at most {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok((fs::read_to_string(path)?, found.permissions().mode() & 0o7777))
}

/// Copies a program in one step, when it is another one. One that runs goes on.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let wanted = fs::read(from)?;
    let is_so = fs::metadata(to).is_ok_and(|found| {
        found.len() == wanted.len() as u64 && found.permissions().mode() & 0o7777 == PLUGIN_MODE
    });
    if is_so && fs::read(to)? == wanted {
        return Ok(());
    }
    files::write_atomically(to, &wanted, PLUGIN_MODE)
}

#[cfg(test)]
mod tests;
