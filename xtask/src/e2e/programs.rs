//! The programs of the test cluster that no package has: Kubernetes and istiod, built from their modules.
//!
//! They are kept outside of the tree, in `$KMESH_CACHE/cluster` or `~/.cache/kmesh/cluster`, in a folder whose
//! name has their versions, and built again when a go.mod of ours changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::exec;

/// Where the end-to-end tests look for the folder.
pub(crate) const VARIABLE: &str = "KMESH_CLUSTER_BIN";
/// Where the two go.mod files are.
const MODULES: &str = "crates/cluster/go";
/// Says what a folder was built from.
const STAMP: &str = "built-from";

/// A folder that pins versions, and the programs that are built in it.
struct Module {
    /// Below [`MODULES`].
    folder: &'static str,
    /// The module whose version names the cache's folder.
    versioned: &'static str,
    packages: &'static [&'static str],
    /// How they are compiled.
    compiler_flags: &'static str,
    /// (module, file or folder in it, where it goes): definitions of resources.
    crds: &'static [(&'static str, &'static str, &'static str)],
}

const ALL: [Module; 2] = [
    Module {
        folder: "kubernetes",
        versioned: "k8s.io/kubernetes",
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kubectl",
        ],
        // Not optimized, which takes a third less time: they have little to do.
        compiler_flags: "-gcflags=all=-N -l -dwarf=false",
        crds: &[],
    },
    Module {
        folder: "istio",
        versioned: "istio.io/api",
        packages: &["istio.io/istio/pilot/cmd/pilot-discovery"],
        compiler_flags: "-gcflags=all=-dwarf=false",
        crds: &[
            ("istio.io/istio", "manifests/charts/base/files/crd-all.gen.yaml", "istio.yaml"),
            ("sigs.k8s.io/gateway-api", "config/crd/standard", "gateway-api"),
        ],
    },
];

/// What only the bench needs, of the first module.
const PROXY: &str = "k8s.io/kubernetes/cmd/kube-proxy";

/// Builds what is missing of what the bench needs, and returns the folder with all of it.
pub(crate) fn ensure_with_proxy() -> Result<PathBuf> {
    let folder = ensure()?;
    if !folder.join("kube-proxy").is_file() {
        build(&ALL[0], &[PROXY], &work_folder(&folder, &ALL[0]), &folder)?;
    }
    Ok(folder)
}

/// Builds what is missing, and returns the folder with all of it.
pub(crate) fn ensure() -> Result<PathBuf> {
    let mut pins = Vec::new();
    for module in &ALL {
        let path = exec::root().join(MODULES).join(module.folder).join("go.mod");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        pins.push((module, text));
    }
    let names: Vec<String> = pins
        .iter()
        .map(|(module, text)| format!("{}-{}", module.folder, version(text, module.versioned)))
        .collect();
    let folder = cache()?.join(names.join("-"));
    let stamp: String = pins.iter().map(|(_, text)| text.as_str()).collect();
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|built| built == stamp) {
        return Ok(folder);
    }
    exec::say(&format!(
        "building the test cluster's programs into {} (8 minutes on two processors)",
        folder.display()
    ));
    for (module, text) in &pins {
        module.build(text, &folder)?;
    }
    fs::write(folder.join(STAMP), stamp).context("note what was built")?;
    Ok(folder)
}

impl Module {
    /// Works on a copy: go adds to go.mod and go.sum what it finds out, and the tree stays as it is.
    fn build(&self, text: &str, folder: &Path) -> Result<()> {
        let work = work_folder(folder, self);
        fs::create_dir_all(&work).with_context(|| format!("make {}", work.display()))?;
        fs::write(work.join("go.mod"), text)?;
        let sums = exec::root().join(MODULES).join(self.folder).join("go.sum");
        fs::copy(&sums, work.join("go.sum")).with_context(|| format!("copy {}", sums.display()))?;
        build(self, self.packages, &work, folder)?;
        for (module, from, to) in self.crds {
            let from = self.module_folder(&work, module)?.join(from);
            copy_yaml(&from, &folder.join("crds"), to)?;
        }
        Ok(())
    }

    /// Where go has put a module that a program of ours is built from. `go list -m` would ask the proxy
    /// for more than a build needs.
    fn module_folder(&self, work: &Path, module: &str) -> Result<PathBuf> {
        let mut go = go(work);
        go.args(["list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Dir}}{{end}}"]);
        let text = exec::capture(go.args(self.packages))?;
        let found = text.lines().find_map(|line| line.strip_prefix(module)?.strip_prefix(' '));
        found.map(PathBuf::from).with_context(|| format!("{module} is not part of the build"))
    }
}

/// Where the module's copy is.
fn work_folder(folder: &Path, module: &Module) -> PathBuf {
    folder.join("modules").join(module.folder)
}

/// All packages at once, so that one is linked while others are compiled.
fn build(module: &Module, packages: &[&str], work: &Path, folder: &Path) -> Result<()> {
    let started = Instant::now();
    let mut go = go(work);
    // With a slash at the end: a folder, also for one package.
    go.args(["build", "-ldflags=-s -w", module.compiler_flags, "-o"]).arg(folder.join(""));
    exec::run(go.args(packages), "is there a way to the Go module proxy (GOPROXY)?")?;
    let names = packages.iter().filter_map(|package| package.rsplit('/').next());
    let names: Vec<_> = names.collect();
    exec::say(&format!("{:>7.1} s  {}", started.elapsed().as_secs_f64(), names.join(", ")));
    Ok(())
}

/// Without C: nothing of what is needed has any, and Go's own linker is faster.
fn go(work: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(work).env("GOFLAGS", "-mod=mod -buildvcs=false").env("CGO_ENABLED", "0");
    command
}

/// One file, or every YAML file of a folder, the names of which then begin with `name`.
fn copy_yaml(from: &Path, folder: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    let files: Vec<PathBuf> = match from.is_dir() {
        false => vec![from.to_owned()],
        true => fs::read_dir(from)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?,
    };
    for file in files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "yaml"))
    {
        let own = file.file_name().unwrap_or_default().to_string_lossy();
        let to = if from.is_dir() { format!("{name}-{own}") } else { name.to_owned() };
        // Not fs::copy: files of the module cache are read-only, and so would be the copies.
        let text = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        fs::write(folder.join(&to), text).with_context(|| format!("write {to}"))?;
    }
    Ok(())
}

fn cache() -> Result<PathBuf> {
    let own = std::env::var_os("KMESH_CACHE").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/kmesh"));
    let Some(folder) = own.or_else(home) else {
        bail!("name a folder for programs that are built once: KMESH_CACHE=FOLDER");
    };
    let folder = folder.join("cluster");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

/// The version that a go.mod pins a module to: what it requires, or what it replaces it by.
fn version<'a>(text: &'a str, module: &str) -> &'a str {
    let lines = text.lines().filter(|line| line.split_whitespace().nth(1) == Some(module));
    let last = lines.filter_map(|line| line.split_whitespace().last()).next_back();
    last.unwrap_or("unknown").trim_start_matches('v')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_names_the_version_that_is_built() {
        let text = "module x\nrequire a.io/b v1.2.3\nreplace a.io/c => a.io/c v1.29.2\n";
        assert_eq!(version(text, "a.io/b"), "1.2.3");
        assert_eq!(version(text, "a.io/c"), "1.29.2");
        assert_eq!(version(text, "a.io/d"), "unknown");
    }

    #[test]
    fn both_modules_pin_what_names_their_folder() {
        for module in &ALL {
            let path = exec::root().join(MODULES).join(module.folder).join("go.mod");
            let text = fs::read_to_string(path).expect("go.mod");
            assert_ne!(version(&text, module.versioned), "unknown", "{}", module.folder);
        }
    }
}
