//! A test that needs root: only root can become somebody else.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use nix::unistd::{Uid, geteuid, setfsuid};

use super::*;
use crate::admin::Admin;

#[tokio::test]
async fn another_user_is_told_to_become_root() {
    assert!(geteuid().is_root(), "this test needs root");
    let directory = tempfile::tempdir().expect("tempdir");
    set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("open to all");
    let socket = directory.path().join("admin.sock");
    let _admin = Admin::bind(&socket, None).await.expect("bind");
    let asking = move || {
        // Changes this thread alone.
        setfsuid(Uid::from_raw(65534));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("runtime").block_on(AdminClient::new(socket).version())
    };
    let error = std::thread::spawn(asking).join().expect("thread").expect_err("denied");
    assert!(matches!(error, ClientError::Denied { .. }), "{error}");
}
