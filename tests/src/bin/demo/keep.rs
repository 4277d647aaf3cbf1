//! `--keep`: the commands to play with.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use testkit::binary;

use crate::screen::{print, short, step};
use crate::shop;
use crate::stage::Stage;

/// Says how to use what is up, and how to remove it.
///
/// # Errors
/// When the helper script cannot be written.
pub fn invite(stage: &Stage) -> anyhow::Result<()> {
    let scene = stage.scene();
    let client = write_script(stage)?;
    let client = client.display();
    let socket = scene.options().admin_socket();
    let kmeshctl = short(&binary("kmeshctl"));
    let own = short(&std::env::current_exe().context("find this program")?);
    let netns = stage.client.netns().display();
    let web = scene.config_dir().join(shop::WEIGHTS_FILE);
    step("Everything is still up: play with it");
    print(&format!(
        "
   A request from inside the client pod, and twenty with the name of who answered:
     {client} curl -i http://{vip}/
     {client} curl -s -H 'Connection: close' 'http://{vip}/?[1-20]'

   Other weights: edit this file, save, and send the twenty again:
     {web}

   What the daemon says:
     export KMESH_ADMIN_SOCKET={socket}
     {kmeshctl} status
     {kmeshctl} dump dual-engine

   Out of the mesh, and in again:
     {kmeshctl} unenroll --netns {netns}
     {kmeshctl} enroll --netns {netns} --workload shop/client

   Remove everything:
     make demo-clean        (or: {own} --clean)
",
        vip = shop::WEB[0],
        web = web.display(),
        socket = socket.display(),
    ));
    Ok(())
}

/// A pod is a network namespace and a place in the cgroup tree: the script enters both.
fn write_script(stage: &Stage) -> anyhow::Result<PathBuf> {
    let scene = stage.scene();
    let path = scene.dir().join("client");
    let text = script(scene.cgroup().path(), stage.client.netns());
    let written = std::fs::write(&path, text)
        .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)));
    written.with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn script(cgroup: &Path, netns: &Path) -> String {
    format!(
        "#!/bin/sh -e\n\
         # Runs a command as if inside the client pod: in the cgroup that the programs are attached\n\
         # to, and in the pod's network namespace.\n\
         echo 0 > {}/cgroup.procs\n\
         exec nsenter --net={} -- \"$@\"\n",
        cgroup.display(),
        netns.display()
    )
}
