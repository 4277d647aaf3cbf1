//! Tables: labels and their verdicts, layouts of kubelet, and what a view forgets and keeps.

use std::collections::BTreeSet;
use std::path::Path;

use crate::plan::{Enrolled, Plan, annotations, plan};
use crate::rules::{Map, decide};
use crate::{Known, Mode, NodeView, Pod, Verdict, Why, cgroup};

const MODE: &str = "istio.io/dataplane-mode";

fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn pod(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Pod {
    let named = Pod {
        namespace: "shop".into(),
        name: "web".into(),
        object_uid: "u1".into(),
        ..Pod::default()
    };
    named.with_metadata(&map(labels), &map(annotations)).with_phase("Running")
}

#[test]
fn labels_of_pod_and_namespace_decide_as_in_kmesh() {
    let (yes, no) = (Some(Mode::Kmesh), Some(Mode::Unset));
    let rows = [
        (&[(MODE, "Kmesh")][..], no, Verdict::In(Why::PodLabel)),
        (&[(MODE, "kMESH")], no, Verdict::In(Why::PodLabel)),
        (&[(MODE, "Kmesh")], None, Verdict::In(Why::PodLabel)),
        (&[(MODE, "Kmesh")], Some(Mode::None), Verdict::In(Why::PodLabel)),
        (&[], yes, Verdict::In(Why::NamespaceLabel)),
        (&[(MODE, "ambient")], yes, Verdict::In(Why::NamespaceLabel)),
        (&[(MODE, "none")], yes, Verdict::Out(Why::OptedOut)),
        (&[(MODE, "None")], yes, Verdict::Out(Why::OptedOut)),
        (&[(MODE, "none")], None, Verdict::Out(Why::OptedOut)),
        (&[(MODE, "ambient")], no, Verdict::Out(Why::NotLabelled)),
        (&[], Some(Mode::None), Verdict::Out(Why::NotLabelled)),
        (&[], no, Verdict::Out(Why::NotLabelled)),
        (&[], None, Verdict::NeedsNamespace),
        (&[("app", "web")], None, Verdict::NeedsNamespace),
    ];
    for (labels, namespace, expected) in rows {
        assert_eq!(decide(&pod(labels, &[]), namespace), expected, "{labels:?} {namespace:?}");
    }
}

#[test]
fn some_pods_are_never_in_the_mesh_whatever_the_labels_say() {
    let managed = |by| [(MODE, "Kmesh"), ("gateway.istio.io/managed", by)];
    let labelled = pod(&[(MODE, "Kmesh")], &[]);
    let rows = [
        (pod(&[(MODE, "Kmesh")], &[("sidecar.istio.io/status", "{}")]), Why::Sidecar),
        (Pod { host_network: true, ..labelled.clone() }, Why::HostNetwork),
        (pod(&managed("istio.io-mesh-controller"), &[]), Why::MeshProxy),
        (pod(&managed("istio.io-eastwest-controller"), &[]), Why::MeshProxy),
        (labelled.clone().with_phase("Succeeded"), Why::Finished),
        (labelled.clone().with_phase("Failed"), Why::Finished),
    ];
    for (pod, why) in rows {
        for namespace in [None, Some(Mode::Kmesh), Some(Mode::Unset)] {
            assert_eq!(decide(&pod, namespace), Verdict::Out(why), "{pod:?}");
        }
    }
    let ingress = pod(&managed("istio.io-gateway-controller"), &[]);
    assert_eq!(decide(&ingress, None), Verdict::In(Why::PodLabel), "it follows the labels");
    for phase in ["Pending", "Running", "Unknown", ""] {
        let pod = labelled.clone().with_phase(phase);
        assert_eq!(decide(&pod, None), Verdict::In(Why::PodLabel), "{phase}");
    }
}

#[test]
fn a_pod_of_kubelets_own_manifests_is_known_by_its_hash() {
    assert_eq!(pod(&[], &[]).uid, "u1");
    let mirror = pod(&[], &[("kubernetes.io/config.mirror", "d3adb33f")]);
    assert_eq!((mirror.uid.as_str(), mirror.object_uid.as_str()), ("d3adb33f", "u1"));
    assert!(pod(&[], &[("kmesh.net/redirection", "enabled")]).is_annotated);
    assert!(!pod(&[], &[("kmesh.net/redirection", "disabled")]).is_annotated);
}

#[test]
fn a_cgroup_is_where_either_driver_puts_it() {
    let uid = "0a1b-2c3d";
    let expected = [
        "kubepods/burstable/pod0a1b-2c3d",
        "kubepods/besteffort/pod0a1b-2c3d",
        "kubepods/pod0a1b-2c3d",
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b_2c3d.slice",
        "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0a1b_2c3d.slice",
        "kubepods.slice/kubepods-pod0a1b_2c3d.slice",
    ];
    assert_eq!(cgroup::places_of("/", uid), expected.map(Path::new));
    let nested = cgroup::places_of("/kubelet", uid);
    assert_eq!(nested[0], Path::new("kubelet/kubepods/burstable/pod0a1b-2c3d"));
    let slices = "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
                  kubelet-kubepods-burstable-pod0a1b_2c3d.slice";
    assert_eq!(nested[6], Path::new(slices));
    let contained = "kubelet/kubepods.slice/kubepods-burstable.slice/\
                     kubepods-burstable-pod0a1b_2c3d.slice";
    assert_eq!(nested[3], Path::new(contained));
    for wrong in ["", "..", "a/b", "../../x", "a b", "ü"] {
        assert!(cgroup::places_of("/", wrong).is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_view_knows_a_pod_when_its_namespace_is_known_or_does_not_matter() {
    let mut view = NodeView::default();
    assert!(!view.is_complete());
    assert_eq!(view.find("shop", "web", Some("u1")), Known::Unknown(None));
    view.set_namespaces([("shop".to_owned(), Mode::Kmesh)]);
    assert_eq!(view.find("shop", "web", Some("u1")), Known::Unknown(Some(Mode::Kmesh)));
    view.set_pods([pod(&[], &[])]);
    assert!(view.is_complete());
    let inside = Known::Decided(Verdict::In(Why::NamespaceLabel));
    assert_eq!(view.find("shop", "web", Some("u1")), inside);
    assert_eq!(view.find("shop", "web", None), inside, "a runtime that tells no uid");
    let stranger = view.find("shop", "web", Some("u0"));
    assert_eq!(stranger, Known::Unknown(Some(Mode::Kmesh)), "an earlier pod of that name");
    assert_eq!(view.find("other", "web", Some("u1")), Known::Unknown(None));
    view.remove_namespace("shop");
    assert_eq!(view.find("shop", "web", Some("u1")), Known::Unknown(None));
    assert!(view.put_pod(pod(&[(MODE, "Kmesh")], &[])));
    assert!(!view.put_pod(pod(&[(MODE, "Kmesh")], &[])), "nothing has changed");
    let own = Known::Decided(Verdict::In(Why::PodLabel));
    assert_eq!(view.find("shop", "web", Some("u1")), own);
    assert!(view.put_namespace("shop".into(), Mode::None));
    assert!(!view.put_namespace("shop".into(), Mode::None));
    assert!(view.remove_pod("u1") && !view.remove_pod("u1"));
    assert_eq!(view.pods().count(), 0);
}

fn named(uid: &str, labels: &[(&str, &str)]) -> Pod {
    let pod = Pod { object_uid: uid.into(), ..pod(&[], &[]) };
    pod.with_metadata(&map(labels), &Map::new())
}

fn complete(pods: &[Pod]) -> NodeView {
    let mut view = NodeView::default();
    view.set_namespaces([("shop".to_owned(), Mode::Unset)]);
    view.set_pods(pods.iter().cloned());
    view
}

fn enrolled(cookie: u64, uid: &str) -> Enrolled<'_> {
    Enrolled { cookie, uid, by_hand: false }
}

#[test]
fn labels_put_pods_in_and_out_and_what_is_gone_leaves() {
    let (labelled, plain) = (named("a", &[(MODE, "Kmesh")]), named("b", &[]));
    let view = complete(&[labelled.clone(), plain, named("d", &[(MODE, "Kmesh")])]);
    let now = [enrolled(2, "b"), enrolled(3, "gone"), enrolled(4, "d")];
    let expected = Plan { leave: vec![2, 3], enter: vec![labelled] };
    assert_eq!(plan(&view, &now, &mut BTreeSet::new()), expected);
    let by_hand = now.map(|it| Enrolled { by_hand: true, ..it });
    assert_eq!(plan(&view, &by_hand, &mut BTreeSet::new()).leave, Vec::<u64>::new());
}

#[test]
fn nobody_leaves_before_everything_is_known() {
    let mut view = NodeView::default();
    let now = [enrolled(1, "a")];
    assert_eq!(plan(&view, &now, &mut BTreeSet::new()), Plan::default());
    view.set_pods([named("b", &[(MODE, "Kmesh")])]);
    assert_eq!(plan(&view, &now, &mut BTreeSet::new()), Plan::default());
    let mut view = complete(&[named("a", &[])]);
    view.remove_namespace("shop");
    let unknown = plan(&view, &now, &mut BTreeSet::new());
    assert_eq!(unknown, Plan::default(), "its namespace decides and is not known");
}

#[test]
fn a_pod_that_nobody_has_seen_yet_stays_until_it_is_seen() {
    let now = [enrolled(1, "new")];
    let mut provisional = BTreeSet::from(["new".to_owned()]);
    assert_eq!(plan(&complete(&[]), &now, &mut provisional), Plan::default());
    let seen = complete(&[named("new", &[(MODE, "none")])]);
    assert_eq!(plan(&seen, &now, &mut provisional).leave, [1]);
    assert!(provisional.is_empty());
    assert_eq!(plan(&complete(&[]), &now, &mut provisional).leave, [1], "seen, and gone again");
}

#[test]
fn annotations_follow_enrolment_and_are_written_once() {
    let annotated = |uid: &str| Pod { is_annotated: true, ..named(uid, &[]) };
    let finished = named("e", &[]).with_phase("Succeeded");
    let view =
        complete(&[named("a", &[]), annotated("b"), named("c", &[]), annotated("d"), finished]);
    let mut early = NodeView::default();
    early.set_pods([annotated("b")]);
    assert_eq!(annotations(&early, &BTreeSet::new()), [], "who is enrolled is not known yet");
    let wrong = annotations(&view, &BTreeSet::from(["a", "b", "e"]));
    let wrong: Vec<_> = wrong.iter().map(|it| (it.object_uid.as_str(), it.enrolled)).collect();
    assert_eq!(wrong, [("a", true), ("d", false)]);
}
