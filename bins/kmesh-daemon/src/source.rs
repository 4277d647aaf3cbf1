//! Where the configuration comes from: a directory, or a control plane. The agent asks both the same
//! things.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use model::{PolicyName, ServiceName, Snapshot, Workload};
use resources::{Directory, Severity, Touched, Watcher};
use runtime::api::Origin;
use xds::client::Client;

/// A source of configuration.
pub enum Source {
    /// YAML files.
    Directory(Box<Files>),
    /// Workload discovery over delta xDS.
    ControlPlane(ControlPlane),
}

/// A directory, and who tells when it changes.
pub struct Files {
    directory: Directory,
    watcher: Watcher,
    told: Told<resources::Problem>,
}

/// A control plane, and what it has said.
pub struct ControlPlane {
    address: String,
    client: Client,
    /// What was last taken up; none before everything was told once.
    update: Option<xds::Update>,
    told: Told<xds::Finding>,
}

/// Problems as their source tells them, and as the agent has them: mostly the same as the last time.
struct Told<T> {
    raw: Arc<[T]>,
    problems: Arc<[Problem]>,
}

/// What is in force, and what is not although somebody said it.
pub struct Mesh {
    /// The mesh.
    pub snapshot: Arc<Snapshot>,
    /// What the operator should know; the same `Arc` as the last time when it is the same.
    pub problems: Arc<[Problem]>,
    /// When it was known that there is something new, if that was before it was asked for.
    pub since: Option<Instant>,
}

/// Something in the configuration that is not in force, or not as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// In a file.
    File(resources::Problem),
    /// In a resource of the control plane.
    Resource(xds::Finding),
}

// === impl Source ===

impl Source {
    /// Reads a directory.
    pub fn directory(directory: Directory, watcher: Watcher) -> Self {
        Self::Directory(Box::new(Files { directory, watcher, told: Told::default() }))
    }

    /// Listens to a control plane.
    pub fn control_plane(address: &str, client: Client) -> Self {
        let address = address.to_owned();
        Self::ControlPlane(ControlPlane { address, client, update: None, told: Told::default() })
    }

    /// Where it is, for the operator.
    pub fn place(&self) -> String {
        match self {
            Self::Directory(files) => files.directory.path().display().to_string(),
            Self::ControlPlane(plane) => plane.address.clone(),
        }
    }

    /// Waits until something may have changed, and says where. It may be dropped at any time.
    pub async fn changed(&mut self) -> Touched {
        match self {
            Self::Directory(files) => files.watcher.changed().await,
            Self::ControlPlane(plane) => {
                // The client ends with the daemon only.
                if plane.client.updates.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                Touched::Everything
            }
        }
    }

    /// Takes up what changed. None while a control plane has not told everything once: half a mesh
    /// would refuse connections.
    pub fn take(&mut self, touched: &Touched) -> Option<Mesh> {
        match self {
            Self::Directory(files) => {
                let resources::Update { snapshot, problems } = files.directory.refresh(touched);
                let problems = files.told.take(&problems, Problem::File);
                Some(Mesh { snapshot, problems, since: None })
            }
            Self::ControlPlane(plane) => {
                plane.update = plane.client.updates.borrow_and_update().clone();
                let update = plane.update.as_ref()?;
                let problems = plane.told.take(&update.findings, Problem::Resource);
                Some(Mesh { snapshot: update.snapshot.clone(), problems, since: update.received })
            }
        }
    }

    /// Why nothing is in force yet.
    pub fn waiting_for(&self) -> Option<String> {
        let Self::ControlPlane(plane) = self else { return None };
        if plane.update.is_some() {
            return None;
        }
        let state = plane.client.state.borrow();
        let why = if state.is_connected { "it has not answered yet" } else { state.error.as_str() };
        Some(format!("nothing is known from the control plane {}: {why}", plane.address))
    }

    /// Where a service comes from.
    pub fn origin_of_service(&self, name: &ServiceName) -> Origin {
        match self {
            Self::Directory(files) => of_files(files.directory.store().sources_of_service(name)),
            Self::ControlPlane(plane) => plane.origin(name.to_string()),
        }
    }

    /// Where a workload comes from.
    pub fn origin_of_workload(&self, workload: &Workload) -> Origin {
        match self {
            Self::Directory(files) => {
                of_files(files.directory.store().sources_of_workload(&workload.name))
            }
            Self::ControlPlane(plane) => plane.origin(workload.uid()),
        }
    }

    /// Where a policy comes from.
    pub fn origin_of_policy(&self, name: &PolicyName) -> Origin {
        match self {
            Self::Directory(files) => of_files(files.directory.store().sources_of_policy(name)),
            Self::ControlPlane(plane) => plane.origin(name.to_string()),
        }
    }

    /// How it stands with the control plane.
    pub fn control_plane_state(&self) -> Option<xds::client::State> {
        match self {
            Self::Directory(..) => None,
            Self::ControlPlane(plane) => Some(plane.client.state.borrow().clone()),
        }
    }
}

// === impl ControlPlane ===

impl ControlPlane {
    fn origin(&self, resource: String) -> Origin {
        let known = self.update.as_ref().and_then(|update| update.version(&resource));
        let version = known.map(|version| version.to_string()).unwrap_or_default();
        Origin { sources: vec![resource], version, in_kernel: false }
    }
}

fn of_files(sources: Vec<String>) -> Origin {
    Origin { sources, ..Origin::default() }
}

// === impl Told ===

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self { raw: Arc::default(), problems: Arc::default() }
    }
}

impl<T: Clone + PartialEq> Told<T> {
    fn take(&mut self, raw: &Arc<[T]>, problem: fn(T) -> Problem) -> Arc<[Problem]> {
        if !Arc::ptr_eq(&self.raw, raw) {
            if self.raw != *raw {
                self.problems = raw.iter().cloned().map(problem).collect();
            }
            self.raw = raw.clone();
        }
        self.problems.clone()
    }
}

// === impl Problem ===

impl Problem {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::File(problem) => problem.severity,
            Self::Resource(finding) if finding.is_refused => Severity::Error,
            Self::Resource(_) => Severity::Warning,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(problem) => problem.fmt(f),
            Self::Resource(finding) => write!(f, "{}: {finding}", self.severity()),
        }
    }
}
