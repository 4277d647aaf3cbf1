//! Flags about the cluster and the CNI plugin. Those that Kmesh has keep their names and meanings.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cni::{DEFAULT_LOG, DEFAULT_SOCKET, DEFAULT_TIMEOUT_MS, PLUGIN, TIMEOUT_MS_MAX};

/// Set in every pod of a cluster.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

/// Enrolment of pods by their labels.
#[derive(Debug, Args)]
pub struct KubernetesArgs {
    /// Enrol this node's pods as their labels and those of their namespaces say. `auto`: in a pod of the
    /// cluster, or when --kubeconfig names one.
    #[arg(long, value_enum, default_value_t = Switch::Auto)]
    pub kubernetes: Switch,
    /// How to reach the API server; in a pod of the cluster its service account is used.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// kubelet's cgroupRoot, below which it keeps the cgroups of pods.
    #[arg(long, default_value = "/")]
    pub kubelet_cgroup_root: String,
    /// Where the daemon listens for the CNI plugin.
    #[arg(long, default_value = DEFAULT_SOCKET)]
    pub cni_socket: PathBuf,
    /// Put the CNI plugin on this node and keep it there; with `uninstall`, take it away. `auto`: in a pod
    /// of the cluster.
    #[arg(long, global = true, value_enum, default_value_t = Switch::Auto)]
    pub install_cni: Switch,
    /// The plugin to install; by default the one beside this program.
    #[arg(long)]
    pub cni_plugin: Option<PathBuf>,
    /// What the plugin does when the daemon gives no answer: let pods start, or not.
    #[arg(long, value_enum, default_value_t = CniPolicy::Open)]
    pub cni_policy: CniPolicy,
    /// How long the plugin waits for an answer, in milliseconds.
    #[arg(long, default_value_t = DEFAULT_TIMEOUT_MS, value_parser = clap::value_parser!(u64).range(1..=TIMEOUT_MS_MAX))]
    pub cni_timeout_ms: u64,
    /// Where the plugin writes what went wrong.
    #[arg(long, default_value = DEFAULT_LOG)]
    pub cni_log_file: PathBuf,
    /// Add the plugin to the chain of the CNI plugin that is there. Nothing else is supported.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub plugin_cni_chained: bool,
    /// Where and to which file the plugin is added.
    #[command(flatten)]
    pub places: CniPlaces,
}

/// Where runtimes look for CNI.
#[derive(Debug, Args)]
pub struct CniPlaces {
    /// Directory of CNI network configurations.
    #[arg(long, global = true, default_value = "/etc/cni/net.d")]
    pub cni_etc_path: PathBuf,
    /// The file in it to add the plugin to; by default the one that the runtime uses.
    #[arg(long, global = true, default_value = "")]
    pub conflist_name: String,
    /// Directory of CNI plugins.
    #[arg(long, global = true, default_value = "/opt/cni/bin")]
    pub cni_bin_path: PathBuf,
}

/// Whether a part of the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// As the surroundings say.
    Auto,
    /// It does.
    On,
    /// It does not.
    Off,
}

/// The plugin's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CniPolicy {
    /// Pods start; they are enrolled when the daemon is back.
    Open,
    /// Pods do not start without the daemon.
    Closed,
}

// === impl KubernetesArgs ===

impl KubernetesArgs {
    /// Whether pods are enrolled by their labels.
    pub fn watches(&self) -> bool {
        self.kubernetes.decide(self.kubeconfig.is_some() || in_cluster())
    }

    /// Whether the plugin is installed.
    pub fn installs(&self) -> bool {
        self.watches() && self.install_cni.decide(in_cluster())
    }

    /// Whether the plugin is taken away.
    pub fn uninstalls(&self) -> bool {
        self.install_cni.decide(in_cluster())
    }

    /// Whether somebody has said that the plugin is to be installed.
    pub fn must_install(&self) -> bool {
        self.install_cni == Switch::On
    }

    /// The plugin's entry in a conflist.
    pub fn entry(&self) -> cni::conflist::Entry {
        let policy = match self.cni_policy {
            CniPolicy::Open => cni::Policy::Open,
            CniPolicy::Closed => cni::Policy::Closed,
        };
        let (socket, log) =
            (self.cni_socket.to_string_lossy(), self.cni_log_file.to_string_lossy());
        cni::conflist::Entry::new(&socket, &log, policy, self.cni_timeout_ms)
    }

    /// The plugin as a file, to be copied.
    pub fn plugin(&self) -> std::io::Result<PathBuf> {
        match &self.cni_plugin {
            Some(path) => Ok(path.clone()),
            None => Ok(std::env::current_exe()?.with_file_name(PLUGIN)),
        }
    }
}

// === impl Switch ===

impl Switch {
    fn decide(self, surroundings: bool) -> bool {
        match self {
            Self::Auto => surroundings,
            Self::On => true,
            Self::Off => false,
        }
    }
}

fn in_cluster() -> bool {
    std::env::var_os(IN_CLUSTER).is_some_and(|host| !host.is_empty())
}
