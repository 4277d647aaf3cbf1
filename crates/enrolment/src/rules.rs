//! The rules of enrolment, as Kmesh has them: labels of a pod and of its namespace to a verdict.

use std::collections::BTreeMap;

/// Says for a pod or a namespace which data plane it is for.
pub const MODE_LABEL: &str = "istio.io/dataplane-mode";
/// Set on pods that are enrolled, removed when they are not any more.
pub const REDIRECTION_ANNOTATION: &str = "kmesh.net/redirection";
/// The value that an enrolled pod has there.
pub const REDIRECTION_ENABLED: &str = "enabled";

const MODE_KMESH: &str = "kmesh";
const MODE_NONE: &str = "none";
/// Injected sidecars leave their status here.
const SIDECAR_ANNOTATION: &str = "sidecar.istio.io/status";
/// istiod marks the proxies that it deploys for Gateways.
const GATEWAY_LABEL: &str = "gateway.istio.io/managed";
/// Waypoints and east-west gateways: they are the mesh, not its clients. An ingress gateway
/// (`istio.io-gateway-controller`) is a client like any other and follows the labels.
const MESH_PROXIES: [&str; 2] = ["istio.io-mesh-controller", "istio.io-eastwest-controller"];
/// kubelet knows a pod of its own manifests by this hash; the API server gives its mirror another uid.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// Phases in which no container will run again.
const FINISHED: [&str; 2] = ["Succeeded", "Failed"];

/// Labels or annotations.
pub type Map = BTreeMap<String, String>;

/// What [`MODE_LABEL`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `Kmesh`, in any case.
    Kmesh,
    /// `none`, in any case.
    None,
    /// Nothing, or another data plane.
    #[default]
    Unset,
}

/// A pod, as far as the rules ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The uid by which kubelet, the runtime and cgroups know it.
    pub uid: String,
    /// The uid of its object. Another one only for pods of kubelet's own manifests.
    pub object_uid: String,
    /// Its own label.
    pub mode: Mode,
    /// A sidecar was injected.
    pub has_sidecar: bool,
    /// It shares the host's network namespace.
    pub host_network: bool,
    /// It is a waypoint or an east-west gateway.
    pub is_mesh_proxy: bool,
    /// No container of it will run again.
    pub is_finished: bool,
    /// [`REDIRECTION_ANNOTATION`] says that it is enrolled.
    pub is_annotated: bool,
}

/// Whether a pod belongs to the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    In(Why),
    /// It does not.
    Out(Why),
    /// Its namespace decides, and is not known.
    NeedsNamespace,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The pod's label.
    PodLabel,
    /// The namespace's label.
    NamespaceLabel,
    /// Neither has one.
    NotLabelled,
    /// The pod's label is `none`.
    OptedOut,
    /// The pod has a sidecar.
    Sidecar,
    /// The pod has `hostNetwork`.
    HostNetwork,
    /// The pod is a waypoint or an east-west gateway.
    MeshProxy,
    /// The pod has ended.
    Finished,
}

// === impl Mode ===

impl Mode {
    /// What these labels say.
    pub fn of(labels: &Map) -> Self {
        match labels.get(MODE_LABEL) {
            Some(value) if value.eq_ignore_ascii_case(MODE_KMESH) => Self::Kmesh,
            Some(value) if value.eq_ignore_ascii_case(MODE_NONE) => Self::None,
            _ => Self::Unset,
        }
    }
}

// === impl Pod ===

impl Pod {
    /// Takes what labels and annotations say into a pod that has names already.
    #[must_use]
    pub fn with_metadata(mut self, labels: &Map, annotations: &Map) -> Self {
        self.mode = Mode::of(labels);
        let managed_by = labels.get(GATEWAY_LABEL).map(String::as_str);
        self.is_mesh_proxy = managed_by.is_some_and(|value| MESH_PROXIES.contains(&value));
        self.has_sidecar = annotations.contains_key(SIDECAR_ANNOTATION);
        let redirection = annotations.get(REDIRECTION_ANNOTATION).map(String::as_str);
        self.is_annotated = redirection == Some(REDIRECTION_ENABLED);
        let mirrored = annotations.get(MIRROR_ANNOTATION);
        self.uid = mirrored.unwrap_or(&self.object_uid).clone();
        self
    }

    /// Takes in what `status.phase` says.
    #[must_use]
    pub fn with_phase(mut self, phase: &str) -> Self {
        self.is_finished = FINISHED.contains(&phase);
        self
    }

    /// `NAMESPACE/NAME`.
    pub fn workload(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Whether `pod` belongs to the mesh; `namespace` is what its namespace says, where that is known.
pub fn decide(pod: &Pod, namespace: Option<Mode>) -> Verdict {
    let never = [
        (pod.is_finished, Why::Finished),
        (pod.host_network, Why::HostNetwork),
        (pod.has_sidecar, Why::Sidecar),
        (pod.is_mesh_proxy, Why::MeshProxy),
        (pod.mode == Mode::None, Why::OptedOut),
    ];
    if let Some((_, why)) = never.into_iter().find(|(holds, _)| *holds) {
        return Verdict::Out(why);
    }
    match (pod.mode, namespace) {
        (Mode::Kmesh, _) => Verdict::In(Why::PodLabel),
        (_, Some(Mode::Kmesh)) => Verdict::In(Why::NamespaceLabel),
        (_, Some(_)) => Verdict::Out(Why::NotLabelled),
        (_, None) => Verdict::NeedsNamespace,
    }
}

// === impl Why ===

impl Why {
    /// For an operator: ends the sentence "it is in the mesh (or not), because".
    pub fn sentence(self) -> &'static str {
        match self {
            Self::PodLabel => "the pod is labelled istio.io/dataplane-mode=Kmesh",
            Self::NamespaceLabel => "its namespace is labelled istio.io/dataplane-mode=Kmesh",
            Self::NotLabelled => {
                "neither the pod nor its namespace is labelled istio.io/dataplane-mode=Kmesh"
            }
            Self::OptedOut => "the pod is labelled istio.io/dataplane-mode=none",
            Self::Sidecar => "the pod has a sidecar (annotation sidecar.istio.io/status)",
            Self::HostNetwork => "the pod has hostNetwork",
            Self::MeshProxy => "the pod is a waypoint or an east-west gateway",
            Self::Finished => "the pod has ended",
        }
    }
}
