//! Tests that need root: they make network namespaces, on threads of their own.

use std::net::TcpListener;
use std::sync::mpsc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::unshare;

use super::*;

/// Runs `f` with the path of a new network namespace that a thread keeps alive meanwhile.
fn with_new_netns(f: impl FnOnce(&Path)) {
    let (ready, is_ready) = mpsc::channel();
    let (done, is_done) = mpsc::channel::<()>();
    let keeper = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("unshare: this test needs root");
        ready.send(nix::unistd::gettid()).expect("the test waits");
        let _ = is_done.recv();
    });
    let thread = is_ready.recv().expect("the keeper has its namespace");
    f(Path::new(&format!("/proc/{thread}/ns/net")));
    drop(done);
    keeper.join().expect("the keeper ends");
}

#[test]
fn a_closure_runs_inside_and_the_caller_stays_outside() {
    with_new_netns(|path| {
        let own = inode(Path::new("/proc/thread-self/ns/net")).expect("own");
        let inside = in_netns(path, || inode(Path::new("/proc/thread-self/ns/net")).expect("in"));
        assert_eq!(inside.expect("enter"), inode(path).expect("inode"));
        assert_eq!(inode(Path::new("/proc/thread-self/ns/net")).expect("own"), own);
        // Nobody listens in a new namespace, so even a well-known port is free there.
        let bound = in_netns(path, || TcpListener::bind("127.0.0.1:22").is_ok());
        assert!(bound.expect("enter"), "a socket can be made inside");
    });
}

#[test]
fn a_namespace_that_is_held_can_be_entered_when_its_path_is_gone() {
    let mut held = None;
    let mut inside = 0;
    with_new_netns(|path| {
        held = Some(Held::open(path).expect("held"));
        inside = inode(path).expect("inode");
    });
    let held = held.expect("held");
    assert_eq!(inode(held.path()).expect("inode"), inside);
    let own = in_netns(held.path(), || inode(Path::new("/proc/thread-self/ns/net")).expect("in"));
    assert_eq!(own.expect("enter"), inside);
    Held::open(Path::new("/proc/self/ns/mnt")).expect_err("no network namespace");
}

#[test]
fn a_mounted_namespace_is_found_by_its_inode() {
    let directory = tempfile::tempdir().expect("tempdir");
    let name = directory.path().join("kept");
    File::create(&name).expect("mount point");
    let mut kept = 0;
    with_new_netns(|path| {
        mount(Some(path), &name, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("bind");
        kept = inode(path).expect("inode");
    });
    let found = find_by_inode(kept);
    let alive_while_mounted = alive(&name, kept);
    umount2(&name, MntFlags::MNT_DETACH).expect("umount");
    assert_eq!(found.as_deref(), Some(name.as_path()));
    assert!(alive_while_mounted);
    assert!(!alive(&name, kept));
}
