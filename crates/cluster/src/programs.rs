//! Where the programs of the cluster are: those that `cargo xtask e2e` built, and those of Debian.

use std::path::PathBuf;

/// Names the folder with the programs; `cargo xtask e2e` sets it.
const VARIABLE: &str = "KMESH_CLUSTER_BIN";

/// The folder that `cargo xtask e2e` keeps: Kubernetes, istiod, and the CRDs of both Istio and the
/// Gateway API.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// As the environment says.
    ///
    /// # Panics
    /// When it says nothing.
    #[track_caller]
    pub fn from_env() -> Self {
        let folder = std::env::var_os(VARIABLE).map(PathBuf::from);
        Self {
            folder: folder.unwrap_or_else(|| panic!("{VARIABLE} is not set: run cargo xtask e2e")),
        }
    }

    /// The path of a program.
    #[track_caller]
    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        assert!(path.is_file(), "{} is missing: run cargo xtask e2e", path.display());
        path
    }

    /// The folder of the CRDs.
    pub fn crds(&self) -> PathBuf {
        self.folder.join("crds")
    }
}
