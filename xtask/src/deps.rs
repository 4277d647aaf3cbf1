//! `cargo xtask deps`: the Debian packages that building and testing need; installs those that are missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::exec;
use crate::vm::KEYRING;

#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Only say what is missing; exit code 1 when something is
    #[arg(long)]
    check: bool,
    /// Leave out those of virtual machines
    #[arg(long)]
    no_vm: bool,
    /// With those of the test cluster
    #[arg(long)]
    cluster: bool,
}

/// What a package is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// Building, and tests, demo and benches on this machine's kernel.
    Host,
    /// Virtual machines.
    Vm,
    /// The Kubernetes of the end-to-end tests.
    Cluster,
}

/// One package, what it is for, and a file that shows that it is there, however it was installed.
struct Need {
    set: Set,
    package: &'static str,
    why: &'static str,
    proof: Proof,
}

enum Proof {
    Program(&'static str),
    Header(&'static str),
    File(&'static str),
}

use Proof::{File, Header, Program};

const NEEDS: &[Need] = &[
    need("gcc", "links every Rust program", Program("cc")),
    need("make", "builds libbpf", Program("make")),
    need("libc6-dev", "headers for libbpf", Header("stdio.h")),
    need("pkg-config", "finds libelf and zlib", Program("pkg-config")),
    need("libelf-dev", "libbpf reads object files with it", Header("libelf.h")),
    need("zlib1g-dev", "libelf needs it", Header("zlib.h")),
    need("clang-19", "compiles the kernel programs", Program("clang-19")),
    need("llvm-19", "inspects the kernel programs", Program("llvm-objdump-19")),
    need("clang-format-19", "checks the style of the kernel programs", Program("clang-format-19")),
    need("iproute2", "makes network namespaces (ip)", Program("ip")),
    need("util-linux", "enters network namespaces (nsenter)", Program("nsenter")),
    need("nginx-light", "the server of the demo and the benches", Program("nginx")),
    need("curl", "the client of the demo", Program("curl")),
    need("openssl", "certificates and keys of the tests", Program("openssl")),
    need("dnsmasq-base", "the resolver of the scenes about DNS", Program("dnsmasq")),
    need("bind9-dnsutils", "the client of the scenes about DNS (dig)", Program("dig")),
    need("wrk", "the load of the benches", Program("wrk")),
    need("nftables", "the kernel NAT that the benches compare with", Program("nft")),
    vm("qemu-system-x86", "runs the virtual machines", Program("qemu-system-x86_64")),
    vm("kmod", "lists and loads the modules of their kernels", Program("depmod")),
    cluster("etcd-server", "the API server's store", Program("etcd")),
    cluster("containerd", "runs the pods", Program("containerd")),
    cluster("runc", "runs their containers", Program("runc")),
    cluster("containernetworking-plugins", "the pods' network", File("/usr/lib/cni/bridge")),
    cluster("binutils", "makes programs small for images (strip)", Program("strip")),
    vm("debian-archive-keyring", "the keys that their packages are signed with", File(KEYRING)),
];

/// Packages do not start their services meanwhile: nobody wants a web server on port 80 of the machine
/// for a demo that runs its own in namespaces. A shell, because its trap outlives Ctrl-C.
const INSTALL: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
apt-get install -y --no-install-recommends "$@"
"#;

const fn need(package: &'static str, why: &'static str, proof: Proof) -> Need {
    Need { set: Set::Host, package, why, proof }
}

const fn vm(package: &'static str, why: &'static str, proof: Proof) -> Need {
    Need { set: Set::Vm, package, why, proof }
}

const fn cluster(package: &'static str, why: &'static str, proof: Proof) -> Need {
    Need { set: Set::Cluster, package, why, proof }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut sets = vec![Set::Host];
    sets.extend((!arguments.no_vm).then_some(Set::Vm));
    sets.extend(arguments.cluster.then_some(Set::Cluster));
    let needs = needs(&sets);
    let missing = missing(&needs);
    if missing.is_empty() {
        exec::say(&format!("deps: all {} packages are there", needs.len()));
        return Ok(());
    }
    provide(&missing, arguments.check)
}

/// Installs what is missing of `sets`, and says nothing when nothing is.
pub(crate) fn ensure(sets: &[Set]) -> Result<()> {
    let needs = needs(sets);
    let missing = missing(&needs);
    if missing.is_empty() { Ok(()) } else { provide(&missing, false) }
}

fn needs(sets: &[Set]) -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| sets.contains(&need.set)).collect()
}

fn missing(needs: &[&'static Need]) -> Vec<&'static Need> {
    let installed = installed();
    needs
        .iter()
        .copied()
        .filter(|need| !installed.iter().any(|name| name == need.package) && !need.is_there())
        .collect()
}

fn provide(missing: &[&Need], only_say: bool) -> Result<()> {
    exec::say(&format!("deps: {} of {} packages are missing", missing.len(), NEEDS.len()));
    for need in missing {
        exec::say(&format!("  {:<22} {}", need.package, need.why));
    }
    let names: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let by_hand = format!("apt-get install -y --no-install-recommends {}", names.join(" "));
    if only_say {
        bail!("install them: {by_hand}");
    }
    if find_program("apt-get").is_none() {
        bail!("this is not a Debian machine: install what corresponds to them, as named above");
    }
    if !exec::is_root() {
        bail!("installing needs root; as root: {by_hand}");
    }
    install(&names)
}

fn install(names: &[&str]) -> Result<()> {
    if !names.iter().all(|name| is_known(name)) {
        exec::say("deps: the package index does not know all of them: updating it");
        let mut update = Command::new("apt-get");
        exec::run(update.arg("update"), "is there a network, and is /etc/apt/sources.list right?")?;
    }
    exec::say("deps: installing (services are not started)");
    let mut command = Command::new("sh");
    command.args(["-ec", INSTALL, "install"]).args(names).env("DEBIAN_FRONTEND", "noninteractive");
    exec::run(&mut command, "the packages are those of Debian 12 or later; apt says what failed")
}

fn is_known(package: &str) -> bool {
    let shown =
        exec::capture(Command::new("apt-cache").args(["show", "--no-all-versions", package]));
    shown.is_ok_and(|text| !text.is_empty())
}

/// Packages that dpkg has installed; none where there is no dpkg.
fn installed() -> Vec<String> {
    let mut command = Command::new("dpkg-query");
    command.args(["-W", "-f", "${db:Status-Abbrev}\t${Package}\n"]);
    command.args(NEEDS.iter().map(|need| need.package));
    // It exits with an error when one of the names is unknown, and lists the others all the same.
    let listed = command.output().map(|done| done.stdout).unwrap_or_default();
    parse_installed(&String::from_utf8_lossy(&listed))
}

fn parse_installed(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    let installed = lines.filter(|(status, _)| status.trim() == "ii");
    installed.map(|(_, name)| name.to_owned()).collect()
}

impl Need {
    fn is_there(&self) -> bool {
        match self.proof {
            Program(name) => find_program(name).is_some(),
            File(path) => Path::new(path).exists(),
            Header(name) => Path::new("/usr/include").join(name).exists(),
        }
    }
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    places.iter().map(|place| place.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fully_installed_packages_count() {
        let text = "ii \tgcc\nrc \tnginx-light\nun \tllvm-19\nii \tmake\n";
        assert_eq!(parse_installed(text), ["gcc", "make"]);
    }

    #[test]
    fn no_package_is_named_twice() {
        let mut names: Vec<_> = NEEDS.iter().map(|need| need.package).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NEEDS.len());
    }
}
