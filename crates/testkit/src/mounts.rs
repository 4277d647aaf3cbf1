//! Where things are mounted, read from the mount table: cgroup v2 is not always at `/sys/fs/cgroup`.

use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo`, as far as it is needed here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) point: PathBuf,
    pub(crate) fstype: String,
    /// The directory of the filesystem that is mounted; `/` but for bind mounts.
    root: String,
}

/// Every mount of this process's mount namespace.
pub(crate) fn table() -> Vec<Mount> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_else(|e| panic!("read /proc/self/mountinfo: {e}"));
    parse(&text)
}

fn parse(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let root = unescape(left.next()?);
        let point = PathBuf::from(unescape(left.next()?));
        Some(Mount { point, root, fstype: right.split(' ').next()?.to_owned() })
    };
    text.lines().filter_map(mount).collect()
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(field.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The mount point of the cgroup v2 hierarchy.
///
/// # Panics
/// When cgroup v2 is not mounted.
pub fn cgroup2_mount() -> PathBuf {
    first_cgroup2(table()).unwrap_or_else(|| {
        panic!("cgroup v2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified, or boot with it")
    })
}

fn first_cgroup2(mounts: Vec<Mount>) -> Option<PathBuf> {
    mounts.into_iter().find(|m| m.fstype == "cgroup2" && m.root == "/").map(|m| m.point)
}

/// The directory of the cgroup v2 group that this process is in.
pub fn own_cgroup() -> PathBuf {
    let text = std::fs::read_to_string("/proc/self/cgroup")
        .unwrap_or_else(|e| panic!("read /proc/self/cgroup: {e}"));
    own_directory(&cgroup2_mount(), &text)
}

fn own_directory(mount: &Path, text: &str) -> PathBuf {
    let own = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    // Outside of a cgroup namespace's view the path starts with `/..`: its root is the best we can name.
    if own.contains("..") { mount.to_owned() } else { mount.join(own.trim_start_matches('/')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
40 31 0:37 /a /mnt/bound rw,relatime shared:7 - cgroup2 cgroup2 rw
41 31 0:38 / /sys/fs/cgroup/unified\\0402 rw,relatime shared:9 - cgroup2 cgroup2 rw
";

    #[test]
    fn finds_the_whole_hierarchy_in_hybrid_mode() {
        assert_eq!(first_cgroup2(parse(HYBRID)), Some(PathBuf::from("/sys/fs/cgroup/unified 2")));
        assert_eq!(first_cgroup2(parse("31 23 0:28 / /x rw - tmpfs tmpfs rw\n")), None);
    }

    #[test]
    fn own_cgroup_is_the_line_with_hierarchy_zero() {
        let mount = Path::new("/cg");
        assert_eq!(own_directory(mount, "8:pids:/x\n0::/a/b\n"), Path::new("/cg/a/b"));
        assert_eq!(own_directory(mount, "0::/\n"), Path::new("/cg"));
        assert_eq!(own_directory(mount, "0::/../../other\n"), Path::new("/cg"));
    }
}
