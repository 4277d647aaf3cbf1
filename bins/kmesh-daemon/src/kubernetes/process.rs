//! The processes of a pod, found in its cgroup: the way to the network namespace and the resolv.conf of
//! one that was there before the daemon. Never by looking at every process of the host.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use enrolment::cgroup;
use runtime::{mounts, netns};

/// Groups below a pod's that are looked at: its containers, and what they make below.
const GROUPS_MAX: usize = 256;
/// The network namespace of the host.
const HOST: &str = "/proc/1/ns/net";

/// Where a pod lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its network namespace: a mount of it where there is one, which outlives the process.
    pub netns: PathBuf,
    /// That of one of its processes.
    pub process: PathBuf,
}

/// Where the pod with this uid lives; nothing while none of its containers runs. Most of its containers
/// share one network namespace that is not the host's; one that made another for itself does not count.
pub fn find(cgroup_root: &str, uid: &str) -> Option<Found> {
    let hierarchies = mounts::cgroup_hierarchies().ok()?;
    let places = cgroup::places_of(cgroup_root, uid);
    let groups = hierarchies.iter().flat_map(|mount| places.iter().map(|it| mount.join(it)));
    groups.filter(|group| group.is_dir()).find_map(|group| locate(&first_processes(&group)))
}

/// The lowest process id of each group below `group`.
fn first_processes(group: &Path) -> Vec<u32> {
    let mut groups = vec![group.to_owned()];
    let mut next = 0;
    while next < groups.len() && groups.len() < GROUPS_MAX {
        let below = fs::read_dir(&groups[next]).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        groups.extend(below.map(|entry| entry.path()).take(GROUPS_MAX));
        next += 1;
    }
    let first = |group: &PathBuf| {
        let text = fs::read_to_string(group.join("cgroup.procs")).ok()?;
        // A process of another process id namespace is shown as 0.
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).min()
    };
    groups.iter().filter_map(first).collect()
}

fn locate(processes: &[u32]) -> Option<Found> {
    let host = netns::inode(Path::new(HOST)).ok();
    let mut by_inode: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for pid in processes {
        if let Ok(inode) = netns::inode(&path_of(*pid))
            && Some(inode) != host
        {
            by_inode.entry(inode).or_default().push(*pid);
        }
    }
    let (inode, pids) = by_inode.into_iter().max_by_key(|(_, pids)| pids.len())?;
    let process = path_of(pids.into_iter().min()?);
    Some(Found { netns: netns::find_mount(inode).unwrap_or_else(|| process.clone()), process })
}

fn path_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}
