//! Debian packages in a folder of our own: the machine's apt stays as it is, and root is not needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::exec;

/// Where Debian keeps the keys that its indices are signed with.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Overrides the mirror that the machine's own sources name.
const MIRROR_VARIABLE: &str = "KMESH_DEBIAN_MIRROR";

/// An index of some suites.
pub(super) struct Apt {
    config: PathBuf,
}

impl Apt {
    /// Downloads the indices of `suites` to `folder`, from the mirror that this machine uses.
    pub(super) fn update(folder: &Path, suites: &[&str]) -> Result<Self> {
        let mirror = match std::env::var(MIRROR_VARIABLE) {
            Ok(mirror) => mirror,
            Err(_) => mirror_of(&machine_sources()).with_context(|| {
                format!("no Debian mirror in /etc/apt: name one by {MIRROR_VARIABLE}=URL")
            })?,
        };
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("make {}", folder.display()))?;
        }
        let config = folder.join("apt.conf");
        let sources =
            suites.iter().map(|suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"));
        fs::write(folder.join("sources.list"), sources.collect::<String>())?;
        fs::write(folder.join("status"), "")?;
        fs::write(&config, configuration(folder))?;
        let apt = Self { config };
        exec::capture(apt.command("apt-get").args(["--error-on=any", "update"]))
            .context("is there a network?")?;
        Ok(apt)
    }

    /// Names of the packages whose name matches.
    pub(super) fn search(&self, pattern: &str) -> Result<Vec<String>> {
        let found =
            exec::capture(self.command("apt-cache").args(["search", "--names-only", pattern]))?;
        let names = found.lines().filter_map(|line| line.split(' ').next());
        Ok(names.map(str::to_owned).collect())
    }

    /// Downloads a package and unpacks its files below `folder`, which is made.
    pub(super) fn unpack(&self, package: &str, folder: &Path) -> Result<()> {
        let draft = folder.join("download");
        fs::create_dir_all(&draft).with_context(|| format!("make {}", draft.display()))?;
        exec::say(&format!("vm: downloading {package}"));
        let mut download = self.command("apt-get");
        exec::capture(download.current_dir(&draft).args(["download", package]))?;
        for entry in fs::read_dir(&draft)? {
            exec::capture(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(folder))?;
        }
        fs::remove_dir_all(&draft).with_context(|| format!("remove {}", draft.display()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-q").arg("-c").arg(&self.config);
        command
    }
}

/// Read after the machine's own configuration, so that a proxy named there is still used.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "#clear APT::Update;\n\
         Dir::Etc::sourcelist \"{folder}/sources.list\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\n\
         Dir::State \"{folder}/state\";\n\
         Dir::State::status \"{folder}/status\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         APT::Sandbox::User \"\";\n\
         Acquire::Languages \"none\";\n"
    )
}

/// The text of the machine's own source lists.
fn machine_sources() -> String {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "list" || end == "sources"));
    paths.sort();
    paths.insert(0, "/etc/apt/sources.list".into());
    let texts = paths.iter().filter_map(|path| fs::read_to_string(path).ok());
    texts.collect::<Vec<_>>().join("\n")
}

/// The first address in either format whose last part is `debian`: not the security archive, nor
/// that of another vendor.
fn mirror_of(sources: &str) -> Result<String> {
    let lines = sources.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    let mirror = words.find(|word| {
        word.contains("://") && word.trim_end_matches('/').rsplit('/').next() == Some("debian")
    });
    match mirror {
        Some(mirror) => Ok(mirror.to_owned()),
        None => bail!("its sources name no address that ends with /debian"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_found_in_both_formats() {
        let lines = "# deb http://old.example/debian x main\n\
                     deb [arch=amd64] https://packages.example/apt stable main\n\
                     deb http://a.example/debian-security bookworm-security main\n\
                     deb [signed-by=/k.gpg] http://a.example/debian/ bookworm main\n";
        assert_eq!(mirror_of(lines).expect("found"), "http://a.example/debian/");
        let fields = "Types: deb\nURIs: http://b.example/debian\nSuites: bookworm\n";
        assert_eq!(mirror_of(fields).expect("found"), "http://b.example/debian");
        assert!(mirror_of("deb http://c.example/ubuntu noble main\n").is_err());
    }
}
