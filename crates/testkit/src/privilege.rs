//! Root or failure: a test that needs privilege is never skipped in silence.

/// # Panics
/// When this process is not root, with what to do.
#[track_caller]
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes network namespaces and loads BPF programs: run it as root (sudo make test)"
    );
}
