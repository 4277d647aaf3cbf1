//! What the product needs from this machine: kernel features, privileges, mounts. Asked before
//! anything is changed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use caps::{CapSet, Capability};
use comfy_table::{Table, presets};
use datapath::{Need, Requirement};
use runtime::mounts;

use crate::args::Args;

/// Capabilities that the daemon uses, and for what.
const CAPABILITIES: [(Capability, &str); 4] = [
    (Capability::CAP_BPF, "no program can be loaded; run as root or add CAP_BPF"),
    (Capability::CAP_NET_ADMIN, "no program can be attached; run as root or add CAP_NET_ADMIN"),
    (Capability::CAP_PERFMON, "no connection events; run as root or add CAP_PERFMON"),
    (Capability::CAP_SYS_ADMIN, "no namespace can be enrolled; run as root or add CAP_SYS_ADMIN"),
];

/// Takes a copy of a client's socket, to speak on it.
const PTRACE: (Capability, &str) = (
    Capability::CAP_SYS_PTRACE,
    "clients that wait for the server to speak first get no answer through a waypoint; run as root \
     or add CAP_SYS_PTRACE",
);

/// Every requirement, met or not.
fn requirements(args: &Args) -> Vec<Requirement> {
    let mut rows = privileges();
    rows.extend(places(args));
    // Without privileges every question to the kernel would be answered with no.
    let is_asked =
        |row: &Requirement| row.present || row.kind != "capability" || row.need != Need::Required;
    if rows.iter().all(is_asked) {
        rows.extend(datapath::probe());
    }
    rows
}

fn privileges() -> Vec<Requirement> {
    let row = |need| {
        move |(capability, without): (Capability, &'static str)| Requirement {
            kind: "capability",
            name: capability.to_string(),
            need,
            present: caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false),
            without,
        }
    };
    let required = CAPABILITIES.into_iter().map(row(Need::Required));
    required.chain([PTRACE].map(row(Need::Useful))).collect()
}

fn places(args: &Args) -> [Requirement; 2] {
    let cgroup = cgroup_path(args);
    [
        Requirement {
            kind: "mount",
            name: match &cgroup {
                Ok(path) => format!("cgroup v2 at {}", path.display()),
                Err(_) => "cgroup v2".into(),
            },
            need: Need::Required,
            present: cgroup.is_ok_and(|path| path.is_dir()),
            without: "nothing to attach to; `mount -t cgroup2 none DIR` and name it by --cgroup2-path",
        },
        Requirement {
            kind: "mount",
            name: format!("bpf file system at {}", args.bpf_fs_path.display()),
            need: Need::Required,
            present: mounts::bpffs_at(&args.bpf_fs_path) || can_mount_bpffs(&args.bpf_fs_path),
            without: "nothing can be pinned; create the directory, or name another by --bpf-fs-path",
        },
    ]
}

fn can_mount_bpffs(path: &Path) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems")
        .is_ok_and(|text| text.lines().any(|line| line.split_whitespace().last() == Some("bpf")));
    known && path.is_dir()
}

/// The cgroup to attach to.
pub fn cgroup_path(args: &Args) -> Result<PathBuf, mounts::MountError> {
    match &args.cgroup2_path {
        Some(path) => Ok(path.clone()),
        None => mounts::cgroup2(),
    }
}

/// `kmesh-daemon probe`.
pub fn print(args: &Args) -> anyhow::Result<ExitCode> {
    let rows = requirements(args);
    println!("{}", table(&rows));
    let kernel_asked = rows.iter().any(|row| row.kind == "helper");
    if !kernel_asked {
        println!("\nThe kernel was not asked: that takes the capabilities above.");
    }
    Ok(if missing(&rows).is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Stops the daemon before it changes anything, when something that it needs is missing.
pub fn require(args: &Args) -> anyhow::Result<()> {
    let rows = requirements(args);
    let missing = missing(&rows);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> =
        missing.iter().map(|row| format!("  {} {}: {}", row.kind, row.name, row.without)).collect();
    bail!("this machine lacks what the mesh needs; nothing was changed\n{}", lines.join("\n"))
}

fn missing(rows: &[Requirement]) -> Vec<&Requirement> {
    rows.iter().filter(|row| row.need == Need::Required && !row.present).collect()
}

fn table(rows: &[Requirement]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["KIND", "NAME", "PRESENT", "NEED", "WITHOUT IT"]);
    for row in rows {
        let need = match row.need {
            Need::Required => "required",
            Need::Useful => "useful",
        };
        let present = if row.present { "yes" } else { "no" };
        table.add_row([row.kind, &row.name, present, need, row.without]);
    }
    table
}
