//! Container images made on the spot: a program of this machine, with the libraries that it loads.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use testkit::must;

/// The image of every test pod and of the sandboxes; its entry point is `cluster-app`.
pub const IMAGE: &str = "docker.io/kmesh/e2e:latest";

/// What goes into an image.
#[derive(Debug)]
pub struct Image<'a> {
    /// Its name with its tag.
    pub name: &'a str,
    /// Programs of this machine, and where they go.
    pub programs: &'a [(PathBuf, &'a str)],
    /// Files as they are: path inside, text.
    pub files: &'a [(&'a str, &'a str)],
    /// What runs when the pod names nothing else.
    pub entrypoint: &'a [&'a str],
    /// Its arguments when the pod names none.
    pub cmd: &'a [&'a str],
}

impl Image<'_> {
    /// Writes it as an archive that `ctr image import` takes, below `folder`.
    #[track_caller]
    pub fn write(&self, folder: &Path) -> PathBuf {
        let short = self.name.replace(['/', ':'], "_");
        let work = folder.join(&short);
        let root = work.join("root");
        for directory in ["tmp", "etc", "proc", "sys", "dev", "run", "var/log", "var/lib"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for (inside, text) in self.files {
            let path = root.join(inside.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut libraries = BTreeSet::new();
        for (program, inside) in self.programs {
            let to = root.join(inside.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            // Debug information is two thirds of a program of ours.
            must(Command::new("strip").arg("-o").arg(&to).arg(program), "");
            libraries.extend(libraries_of(program));
        }
        for library in libraries {
            let to = root.join(library.strip_prefix("/").unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&library, &to).unwrap_or_else(|e| panic!("copy {}: {e}", library.display()));
        }
        self.pack(&work)
    }

    fn pack(&self, work: &Path) -> PathBuf {
        let layer = work.join("layer.tar");
        let mut tar = Command::new("tar");
        tar.arg("--create").arg("--file").arg(&layer).args(["--owner=0", "--group=0", "-C"]);
        must(tar.arg(work.join("root")).arg("."), "");
        let sum = must(Command::new("sha256sum").arg(&layer), "");
        let digest = sum.split_whitespace().next().unwrap();
        let config = json!({
            "architecture": architecture(), "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint, "Cmd": self.cmd,
                "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin:/"],
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        });
        let manifest = json!([
            {"Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"]}
        ]);
        fs::write(work.join("config.json"), config.to_string()).unwrap();
        fs::write(work.join("manifest.json"), manifest.to_string()).unwrap();
        let archive = work.with_extension("tar");
        let mut tar = Command::new("tar");
        tar.arg("--create").arg("--file").arg(&archive).arg("-C").arg(work);
        must(tar.args(["manifest.json", "config.json", "layer.tar"]), "");
        fs::remove_dir_all(work).unwrap();
        archive
    }
}

/// What the loader would load, and the loader. A static program has none.
fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let text = testkit::output(Command::new("ldd").arg(program), "").unwrap_or_default();
    text.lines().filter_map(library).collect()
}

/// Of `libz.so.1 => /lib/x/libz.so.1 (0x7f)` and `/lib64/ld-linux-x86-64.so.2 (0x7f)`.
fn library(line: &str) -> Option<PathBuf> {
    let path = line.split_once("=>").map_or(line, |(_, path)| path);
    let path = path.split_whitespace().next()?;
    path.starts_with('/').then(|| path.into())
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_and_the_loader() {
        assert_eq!(library("\tlibz.so.1 => /lib/libz.so.1 (0x7)"), Some("/lib/libz.so.1".into()));
        assert_eq!(library("\t/lib64/ld-linux.so.2 (0x7)"), Some("/lib64/ld-linux.so.2".into()));
        assert_eq!(library("\tlinux-vdso.so.1 (0x7ffd)"), None);
        assert_eq!(library("\tnot a dynamic executable"), None);
    }
}
