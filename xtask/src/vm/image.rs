//! The initramfs: busybox, `init.sh`, and the modules without which the host's files are out of reach.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::kernel::Unpacked;

const INIT: &str = include_str!("init.sh");
/// What the guest needs before it sees the host's file system; some kernels have it built in.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"];
/// Empty folders of the initramfs.
const FOLDERS: [&str; 6] = ["bin", "modules", "dev", "proc", "sys", "mnt"];

/// Writes it to `folder`.
pub(super) fn make(unpacked: &Unpacked, folder: &Path) -> Result<PathBuf> {
    let tree = folder.join("initramfs");
    for name in FOLDERS {
        let path = tree.join(name);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    }
    let init = tree.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    fs::copy(&unpacked.busybox, tree.join("bin/busybox")).context("copy busybox")?;
    add_modules(unpacked, &tree.join("modules"))?;
    let image = folder.join("initramfs.cpio");
    pack(&unpacked.busybox, &tree, &image)?;
    Ok(image)
}

fn add_modules(unpacked: &Unpacked, folder: &Path) -> Result<()> {
    let list = |name: &str| {
        let path = unpacked.modules.join(name);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    let files = load_order(&list("modules.dep")?, &list("modules.builtin")?, &MODULES)?;
    let mut order = String::new();
    for file in files {
        let from = unpacked.modules.join(&file);
        let name = file.rsplit('/').next().unwrap_or_default();
        let name = name.strip_suffix(".xz").unwrap_or(name);
        if file.ends_with(".xz") {
            let mut unpack = Command::new(&unpacked.busybox);
            run(unpack.arg("unxz").arg("-c").stdin(File::open(&from)?), &folder.join(name))?;
        } else {
            fs::copy(&from, folder.join(name))
                .with_context(|| format!("copy {}", from.display()))?;
        }
        order += name;
        order.push('\n');
    }
    fs::write(folder.join("order"), order).context("write the order of the modules")
}

/// Files in an order in which each finds what it needs already loaded.
fn load_order(dependencies: &str, builtin: &str, wanted: &[&str]) -> Result<Vec<String>> {
    let mut order: Vec<String> = Vec::new();
    for name in wanted {
        let is_it = |path: &str| {
            let file = path.rsplit('/').next().unwrap_or_default();
            file.split_once(".ko").is_some_and(|(stem, _)| stem == *name)
        };
        let line = dependencies.lines().filter_map(|line| line.split_once(':'));
        match line.clone().find(|(path, _)| is_it(path)) {
            Some((path, needs)) => {
                // What is needed by others stands last in the line.
                let files = needs.split_whitespace().rev().chain([path]);
                for file in files {
                    if !order.iter().any(|known| known == file) {
                        order.push(file.to_owned());
                    }
                }
            }
            None if builtin.lines().any(is_it) => {}
            None => bail!("the kernel has no module {name}: remove its folder and try again"),
        }
    }
    Ok(order)
}

fn pack(busybox: &Path, tree: &Path, image: &Path) -> Result<()> {
    let mut names = vec![String::from("init")];
    for folder in FOLDERS {
        names.push(folder.to_owned());
        for entry in fs::read_dir(tree.join(folder))? {
            names.push(format!("{folder}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    let list = tree.with_extension("list");
    fs::write(&list, names.join("\n") + "\n")?;
    let mut cpio = Command::new(busybox);
    cpio.args(["cpio", "-o", "-H", "newc"]).current_dir(tree).stdin(File::open(&list)?);
    run(&mut cpio, image)
}

/// Runs with standard output in a file.
fn run(command: &mut Command, to: &Path) -> Result<()> {
    let file = File::create(to).with_context(|| format!("make {}", to.display()))?;
    let done = command.stdout(file).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    if !done.status.success() {
        bail!("{} was not made: {}", to.display(), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/netfs.ko\n\
                                kernel/net/9p/9pnet.ko: kernel/fs/netfs.ko\n\
                                kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko\n";

    #[test]
    fn each_module_comes_after_what_it_needs_and_once() {
        let order = load_order(DEPENDENCIES, "", &["9p", "9pnet_virtio"]).expect("all there");
        assert_eq!(
            order,
            [
                "kernel/fs/netfs.ko",
                "kernel/net/9p/9pnet.ko",
                "kernel/fs/9p/9p.ko",
                "kernel/net/9p/9pnet_virtio.ko.xz"
            ]
        );
    }

    #[test]
    fn what_is_built_in_is_left_out_and_what_is_missing_is_named() {
        let builtin = "kernel/drivers/virtio/virtio_pci.ko\n";
        assert!(load_order("", builtin, &["virtio_pci"]).expect("built in").is_empty());
        let error = load_order("", builtin, &["overlay"]).expect_err("missing");
        assert!(error.to_string().contains("overlay"), "{error}");
    }
}
