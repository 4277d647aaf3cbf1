//! From what is known of the pods and who is enrolled to what is left to do.

use std::collections::BTreeSet;

use crate::rules::{Pod, Verdict};
use crate::view::NodeView;

/// An enrolment, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enrolled<'a> {
    /// Cookie of the network namespace.
    pub cookie: u64,
    /// The pod that lives in it.
    pub uid: &'a str,
    /// Somebody enrolled it: labels do not take it out.
    pub by_hand: bool,
}

/// What is left to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Namespaces to take out, by their cookies.
    pub leave: Vec<u64>,
    /// Pods to put in.
    pub enter: Vec<Pod>,
}

/// An annotation that does not say what is the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Uid of its object.
    pub object_uid: String,
    /// What it has to say.
    pub enrolled: bool,
}

/// What is left to do; nothing before the view is complete. Pods in `provisional` were enrolled before
/// anybody had seen them, so that they are not known does not mean that they are gone; the first look at
/// one ends that.
pub fn plan(
    view: &NodeView,
    enrolled: &[Enrolled<'_>],
    provisional: &mut BTreeSet<String>,
) -> Plan {
    if !view.is_complete() {
        return Plan::default();
    }
    provisional.retain(|uid| view.pod(uid).is_none());
    let leaves = |it: &&Enrolled<'_>| {
        let verdict = view.pod(it.uid).map(|pod| view.verdict(pod));
        let is_gone = verdict.is_none() && !provisional.contains(it.uid);
        !it.by_hand && (is_gone || matches!(verdict, Some(Verdict::Out(_))))
    };
    let known: BTreeSet<&str> = enrolled.iter().map(|it| it.uid).collect();
    let enters = |pod: &&Pod| {
        matches!(view.verdict(pod), Verdict::In(_)) && !known.contains(pod.uid.as_str())
    };
    Plan {
        leave: enrolled.iter().filter(leaves).map(|it| it.cookie).collect(),
        enter: view.pods().filter(enters).cloned().collect(),
    }
}

/// Annotations that have to be written; none before the view is complete, because who is to be enrolled
/// is not known either. Pods that have ended are left alone.
pub fn annotations(view: &NodeView, enrolled: &BTreeSet<&str>) -> Vec<Annotation> {
    if !view.is_complete() {
        return Vec::new();
    }
    let differs =
        |pod: &&Pod| !pod.is_finished && pod.is_annotated != enrolled.contains(pod.uid.as_str());
    let annotation = |pod: &Pod| Annotation {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        object_uid: pod.object_uid.clone(),
        enrolled: !pod.is_annotated,
    };
    view.pods().filter(differs).map(annotation).collect()
}
