//! One scene: everything a whole-system test needs, made in order and removed in reverse.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::bpffs::Bpffs;
use crate::cgroup::Cgroup;
use crate::daemon::{Daemon, DaemonOptions};
use crate::ident::Ident;
use crate::network::Network;
use crate::pod::Pod;
use crate::privilege::require_root;
use crate::sweep::sweep;

const READY_DEADLINE: Duration = Duration::from_secs(30);

/// A cgroup that this process is in, a bpffs, a network and a config directory of the scene's own.
///
/// The scenes of one process run one at a time, because entering a cgroup moves the whole process.
/// Make it first: servers and daemons that are declared after it are dropped before it.
#[derive(Debug)]
pub struct Scene {
    // Dropped in this order: the pods, then what the daemon had pinned, then every process that is
    // left, then the files.
    network: Network,
    bpffs: Bpffs,
    cgroup: Cgroup,
    dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    /// An empty scene. Removes what scenes of this name left whose process was killed.
    ///
    /// # Panics
    /// Without root, or when something cannot be made.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        require_root();
        // A scene that panicked has cleaned up after itself all the same.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let ident = Ident::new(name);
        sweep(ident.scene());
        let dir = tempfile::Builder::new().prefix(&ident.part("")).tempdir();
        let dir = dir.unwrap_or_else(|e| panic!("make a temp dir: {e}"));
        for sub in ["config", "state"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let mut cgroup = Cgroup::with_ident(&ident);
        cgroup.enter();
        let bpffs = Bpffs::mount(dir.path().join("bpf"));
        let network = Network::with_ident(ident);
        Self { network, bpffs, cgroup, dir, _turn: turn }
    }

    /// Leaves everything up when this process ends, for somebody to look at. The next scene of the
    /// same name removes it.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// Adds a pod.
    #[track_caller]
    pub fn pod(&mut self, name: &str) -> Pod {
        self.network.pod(name)
    }

    /// Removes a pod while the scene goes on.
    #[track_caller]
    pub fn remove_pod(&mut self, pod: &Pod) {
        self.network.remove(pod);
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The cgroup that this process is in.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// The bpffs that the daemon pins to.
    pub fn bpffs(&self) -> &Bpffs {
        &self.bpffs
    }

    /// A directory for whatever else the scene needs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The directory that the daemon watches.
    pub fn config_dir(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    /// Writes a file of the config directory in one step, as an editor or kubelet does. Takes text
    /// or anything of [`crate::yaml`].
    #[track_caller]
    pub fn config(&self, file: &str, text: impl ToString) {
        let draft = self.dir.path().join("draft");
        let path = self.config_dir().join(file);
        let written = std::fs::write(&draft, text.to_string());
        let done = written.and_then(|()| std::fs::rename(&draft, &path));
        done.unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
    }

    /// Removes a file of the config directory.
    #[track_caller]
    pub fn remove_config(&self, file: &str) {
        let path = self.config_dir().join(file);
        std::fs::remove_file(&path).unwrap_or_else(|e| panic!("remove {}: {e}", path.display()));
    }

    /// Options of a daemon of this scene: on node `node`, locality `region/zone/subzone`, without a
    /// status port.
    pub fn options(&self) -> DaemonOptions {
        DaemonOptions {
            config_dir: self.config_dir(),
            xds_address: None,
            bpf_fs_path: self.bpffs.path().to_owned(),
            cgroup2_path: self.cgroup.path().to_owned(),
            state_dir: self.dir.path().join("state"),
            status_addr: "none".to_owned(),
            node_name: "node".to_owned(),
            locality: "region/zone/subzone".to_owned(),
            netns: None,
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// Starts a daemon with [`Scene::options`] and waits until it is ready.
    #[track_caller]
    pub fn start_daemon(&self) -> Daemon {
        self.start_daemon_with(|_| ())
    }

    /// As [`Scene::start_daemon`], with changed options.
    #[track_caller]
    pub fn start_daemon_with(&self, change: impl FnOnce(&mut DaemonOptions)) -> Daemon {
        let mut options = self.options();
        change(&mut options);
        let mut daemon = Daemon::spawn(options);
        daemon.wait_ready(READY_DEADLINE);
        daemon
    }
}
