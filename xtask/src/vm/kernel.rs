//! The kernels that virtual machines boot: Debian's packages, unpacked below `target/vm`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::Apt;
use crate::exec;

/// The stable releases whose kernels we test on, the oldest supported one first.
pub(crate) const ALL: [Kernel; 2] =
    [Kernel { series: "6.1", suite: "bookworm" }, Kernel { series: "6.12", suite: "trixie" }];
/// What runs where no other one is asked for.
pub(crate) const NEWEST: Kernel = ALL[ALL.len() - 1];
/// A shell and the tools of the initramfs, without any library.
const BUSYBOX: &str = "busybox-static";

/// A series of kernels and the Debian release that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) series: &'static str,
    suite: &'static str,
}

/// What has been unpacked.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) kernel: Kernel,
    pub(super) image: PathBuf,
    /// `lib/modules/<release>`.
    pub(super) modules: PathBuf,
    pub(super) busybox: PathBuf,
}

/// Makes each of `kernels` ready, from the network where that was not done before.
pub(super) fn prepare(kernels: &[Kernel], folder: &Path) -> Result<Vec<Unpacked>> {
    let missing: Vec<&Kernel> =
        kernels.iter().filter(|kernel| !folder.join(kernel.series).exists()).collect();
    let tools = folder.join(BUSYBOX);
    if !missing.is_empty() || !tools.exists() {
        if !cfg!(target_arch = "x86_64") {
            bail!("virtual machines run Debian's kernels for x86-64: this is another machine");
        }
        exec::say("vm: reading Debian's package index");
        let suites = ALL.map(|kernel| kernel.suite);
        let apt = Apt::update(&folder.join("apt"), &suites)?;
        for kernel in missing {
            let package = newest(&apt.search(&kernel.packages())?)
                .with_context(|| format!("the mirror has no kernel {}", kernel.series))?;
            fetch(&apt, &package, &folder.join(kernel.series), index_modules)?;
        }
        if !tools.exists() {
            fetch(&apt, BUSYBOX, &tools, |_| Ok(()))?;
        }
    }
    let busybox = only_entry(&tools.join("bin"))
        .or_else(|_| only_entry(&tools.join("usr/bin")))
        .context("find busybox in its package")?;
    kernels.iter().map(|kernel| kernel.unpacked(&folder.join(kernel.series), &busybox)).collect()
}

impl Kernel {
    /// The supported kernel of a series, as an argument names it.
    pub(crate) fn of(series: &str) -> Result<Self> {
        let found = ALL.into_iter().find(|kernel| kernel.series == series);
        found.with_context(|| {
            let known = ALL.map(|kernel| kernel.series).join(" and ");
            format!("no virtual machine runs Linux {series}: there are {known}")
        })
    }

    /// Matches the packages of the general kernel: that for clouds lacks the 9p file system.
    fn packages(&self) -> String {
        format!(
            r"^linux-image-{}\.[0-9.-]+(\+deb[0-9.u]+)?-amd64$",
            self.series.replace('.', r"\.")
        )
    }

    fn unpacked(self, folder: &Path, busybox: &Path) -> Result<Unpacked> {
        let modules = only_entry(&folder.join("lib/modules"))?;
        let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let image = folder.join("boot").join(format!("vmlinuz-{release}"));
        Ok(Unpacked { kernel: self, image, modules, busybox: busybox.to_owned() })
    }
}

/// Complete or not there at all: what an interrupted download left is removed first.
fn fetch(apt: &Apt, package: &str, folder: &Path, finish: fn(&Path) -> Result<()>) -> Result<()> {
    let draft = folder.with_extension("part");
    if draft.exists() {
        fs::remove_dir_all(&draft).with_context(|| format!("remove {}", draft.display()))?;
    }
    apt.unpack(package, &draft)?;
    finish(&draft)?;
    fs::rename(&draft, folder).with_context(|| format!("make {}", folder.display()))
}

fn index_modules(folder: &Path) -> Result<()> {
    let newer_place = folder.join("usr/lib/modules");
    if newer_place.exists() {
        fs::create_dir_all(folder.join("lib"))?;
        fs::rename(&newer_place, folder.join("lib/modules"))?;
    }
    let modules = only_entry(&folder.join("lib/modules"))?;
    let release = modules.file_name().unwrap_or_default();
    exec::capture(Command::new("depmod").arg("-b").arg(folder).arg(release)).map(drop)
}

fn only_entry(folder: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let entry = entries.next().with_context(|| format!("{} is empty", folder.display()))?;
    Ok(entry?.path())
}

/// The one with the highest numbers in its name.
fn newest(packages: &[String]) -> Option<String> {
    packages.iter().max_by_key(|name| numbers(name)).cloned()
}

fn numbers(name: &str) -> Vec<u64> {
    let parts = name.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_so_by_number_and_not_by_letter() {
        let names = ["linux-image-6.12.94+deb13-amd64", "linux-image-6.12.107+deb13-amd64"];
        let names = names.map(str::to_owned);
        assert_eq!(newest(&names).as_deref(), Some("linux-image-6.12.107+deb13-amd64"));
        assert_eq!(newest(&[]), None);
    }

    #[test]
    fn a_kernel_is_named_by_its_whole_series() {
        assert_eq!(Kernel::of("6.12").expect("supported").suite, "trixie");
        let error = Kernel::of("6").expect_err("no series");
        assert_eq!(error.to_string(), "no virtual machine runs Linux 6: there are 6.1 and 6.12");
    }

    #[test]
    fn a_pattern_names_one_series() {
        assert_eq!(
            ALL[0].packages(),
            r"^linux-image-6\.1\.[0-9.-]+(\+deb[0-9.u]+)?-amd64$",
            "the dot after the series keeps 6.12 out"
        );
    }
}
