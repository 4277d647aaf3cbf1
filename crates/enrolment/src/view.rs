//! What is known of the node's pods and of all namespaces, as the API server last told it.

use std::collections::BTreeMap;

use crate::rules::{Mode, Pod, Verdict, decide};

/// Pods of one node and labels of all namespaces. What is known stays known while the API server is
/// away; before the first answer nothing is.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    pods: Option<BTreeMap<String, Pod>>,
    namespaces: Option<BTreeMap<String, Mode>>,
}

/// What is known of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Whether it belongs to the mesh.
    Decided(Verdict),
    /// Not there yet; this is what its namespace says, where that is known.
    Unknown(Option<Mode>),
}

impl NodeView {
    /// True once both lists have been read.
    pub fn is_complete(&self) -> bool {
        self.pods.is_some() && self.namespaces.is_some()
    }

    /// Takes a whole list of pods.
    pub fn set_pods(&mut self, pods: impl IntoIterator<Item = Pod>) {
        self.pods = Some(pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect());
    }

    /// Takes a whole list of namespaces.
    pub fn set_namespaces(&mut self, namespaces: impl IntoIterator<Item = (String, Mode)>) {
        self.namespaces = Some(namespaces.into_iter().collect());
    }

    /// A pod is new or has changed. True when that can matter to anybody.
    pub fn put_pod(&mut self, pod: Pod) -> bool {
        let pods = self.pods.get_or_insert_default();
        pods.insert(pod.uid.clone(), pod.clone()).as_ref() != Some(&pod)
    }

    /// A pod is gone.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        self.pods.as_mut().is_some_and(|pods| pods.remove(uid).is_some())
    }

    /// A namespace is new or has changed. True when that can matter to anybody.
    pub fn put_namespace(&mut self, name: String, mode: Mode) -> bool {
        self.namespaces.get_or_insert_default().insert(name, mode) != Some(mode)
    }

    /// A namespace is gone.
    pub fn remove_namespace(&mut self, name: &str) -> bool {
        self.namespaces.as_mut().is_some_and(|all| all.remove(name).is_some())
    }

    /// All pods, in the order of their uids.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().flat_map(BTreeMap::values)
    }

    /// The pod that kubelet knows by this uid.
    pub fn pod(&self, uid: &str) -> Option<&Pod> {
        self.pods.as_ref()?.get(uid)
    }

    /// Whether a pod belongs to the mesh.
    pub fn verdict(&self, pod: &Pod) -> Verdict {
        decide(pod, self.namespace(&pod.namespace))
    }

    /// Whether the pod of this name belongs to the mesh. A runtime that does not tell the uid gets an
    /// answer for whatever pod has the name now.
    pub fn find(&self, namespace: &str, name: &str, uid: Option<&str>) -> Known {
        let found = match uid {
            Some(uid) => self.pod(uid).filter(|pod| pod.namespace == namespace),
            None => self.pods().find(|pod| pod.namespace == namespace && pod.name == name),
        };
        match found.map(|pod| self.verdict(pod)) {
            None | Some(Verdict::NeedsNamespace) => Known::Unknown(self.namespace(namespace)),
            Some(verdict) => Known::Decided(verdict),
        }
    }

    fn namespace(&self, name: &str) -> Option<Mode> {
        self.namespaces.as_ref()?.get(name).copied()
    }
}
