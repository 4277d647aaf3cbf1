//! Tests that need root: they mount, in a mount namespace of their own.

use nix::sched::{CloneFlags, unshare};

use super::*;

/// Runs `f` on a thread whose mounts nobody else sees.
fn with_own_mounts(f: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("unshare: this test needs root");
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
                .expect("make all mounts private");
            f();
        });
        thread.join().expect("the thread ends well");
    });
}

#[test]
fn a_mounted_bpf_filesystem_is_recognised() {
    let directory = tempfile::tempdir().expect("tempdir");
    with_own_mounts(|| {
        assert!(!bpffs_at(directory.path()));
        mount_bpffs(directory.path()).expect("mount");
        assert!(bpffs_at(directory.path()));
        assert!(bpffs_at(&directory.path().join("not/there/yet")));
    });
    assert!(!bpffs_at(directory.path()), "the mount was seen outside");
}
