//! What is kept up to date must be what comes out when everything is worked out anew: random edits of
//! files, taken one by one and slowly.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{FileContent, Options, Store};

const FILES: [&str; 5] = ["a.yaml", "b.yaml", "sub/c.yaml", "sub/d.yaml", "sub"];

/// A file, or a directory, as it is from now on.
type Edit = (&'static str, Option<FileContent>);

fn name() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c"])
}

/// Where an object is, and sometimes since when.
fn metadata() -> impl Strategy<Value = String> {
    let created = select(vec!["", ", creationTimestamp: 2024-01-01T00:00:00Z"]);
    (name(), select(vec!["x", "y"]), created).prop_map(|(name, namespace, created)| {
        format!("name: {name}, namespace: {namespace}{created}")
    })
}

fn document(api: &str, kind: &str, metadata: &str, rest: &str) -> String {
    format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{{metadata}}}\n{rest}\n")
}

fn node() -> impl Strategy<Value = String> {
    (select(vec!["n1", "n2"]), select(vec!["eu", "us"])).prop_map(|(name, region)| {
        let labels = format!("name: {name}, labels: {{topology.kubernetes.io/region: {region}}}");
        document("v1", "Node", &labels, "")
    })
}

fn service() -> impl Strategy<Value = String> {
    let selector = select(vec!["{}", "{app: a}", "{app: a, tier: t}", "{tier: t}"]);
    let more = select(vec![
        "ports: [{port: 80}]",
        "ports: [{port: 80, nodePort: 30080}], type: NodePort",
        "ports: [{port: 80}], externalIPs: [10.0.0.2]",
        "ports: [{port: 80}], trafficDistribution: PreferClose, sessionAffinity: ClientIP",
        "ports: [{port: x}]",
    ]);
    (metadata(), 1..4u8, selector, more).prop_map(|(metadata, address, selector, more)| {
        let spec = format!("spec: {{clusterIP: 10.0.0.{address}, selector: {selector}, {more}}}");
        document("v1", "Service", &metadata, &spec)
    })
}

fn slice() -> impl Strategy<Value = String> {
    let endpoint = (1..4u8, select(vec!["n1", "n2"]), name()).prop_map(|(address, node, pod)| {
        format!(
            "{{addresses: [10.1.0.{address}], nodeName: {node}, \
             targetRef: {{kind: Pod, name: {pod}}}}}"
        )
    });
    (metadata(), name(), vec(endpoint, 0..3)).prop_map(|(metadata, service, endpoints)| {
        let metadata = format!("{metadata}, labels: {{kubernetes.io/service-name: {service}}}");
        let rest = format!(
            "addressType: IPv4\nports: [{{port: 8080}}]\nendpoints: [{}]",
            endpoints.join(", ")
        );
        document("discovery.k8s.io/v1", "EndpointSlice", &metadata, &rest)
    })
}

fn service_entry() -> impl Strategy<Value = String> {
    let addresses = select(vec![
        "",
        "addresses: [10.0.0.1]",
        "addresses: [10.0.0.2, 10.2.0.0/16]",
        "addresses: [10.2.0.0/16]",
        // What would be allocated for a.example.com of a in x.
        "addresses: [ALLOCATED]",
    ]);
    let endpoints = select(vec![
        "resolution: NONE",
        "resolution: DNS",
        "resolution: DNS_ROUND_ROBIN, endpoints: [{address: e.example.com}]",
        "resolution: STATIC, workloadSelector: {labels: {app: a}}",
        "resolution: STATIC, endpoints: \
         [{address: 10.1.0.1, labels: {kubernetes.io/hostname: n1}}, {address: 10.1.0.2}]",
    ]);
    (metadata(), vec(name(), 1..3), addresses, 80..82u16, endpoints).prop_map(
        |(metadata, hosts, addresses, port, endpoints)| {
            let hosts: Vec<_> = hosts.iter().map(|host| format!("{host}.example.com")).collect();
            let spec = format!(
                "spec: {{hosts: [{}], ports: [{{number: {port}, name: p, protocol: TCP}}], \
                 {endpoints}, {addresses}}}",
                hosts.join(", ")
            );
            document("networking.istio.io/v1", "ServiceEntry", &metadata, &spec)
        },
    )
}

fn workload_entry() -> impl Strategy<Value = String> {
    let labels = select(vec!["app: a", "app: a, tier: t", "app: b", "tier: t"]);
    let node = select(vec!["", ", kubernetes.io/hostname: n1", ", kubernetes.io/hostname: n2"]);
    let address = select(vec!["10.1.0.1", "10.1.0.2", "w.example.com", "''"]);
    (metadata(), labels, node, address).prop_map(|(metadata, labels, node, address)| {
        let spec = format!("spec: {{address: {address}, labels: {{{labels}{node}}}}}");
        document("networking.istio.io/v1", "WorkloadEntry", &metadata, &spec)
    })
}

fn rule() -> impl Strategy<Value = String> {
    let host = select(vec![
        "a",
        "a.x",
        "b.y",
        "a.x.svc.cluster.local",
        "'*.local'",
        "'*'",
        "a.example.com",
        "'*.example.com'",
    ]);
    let simple = select(vec!["ROUND_ROBIN", "PASSTHROUGH", "x"]);
    let more = select(vec!["", "", ", workloadSelector: {}"]);
    (metadata(), host, simple, more).prop_map(|(metadata, host, simple, more)| {
        let policy = format!("trafficPolicy: {{loadBalancer: {{simple: {simple}}}}}");
        let spec = format!("spec: {{host: {host}, {policy}{more}}}");
        document("networking.istio.io/v1", "DestinationRule", &metadata, &spec)
    })
}

fn policy() -> impl Strategy<Value = String> {
    let namespace = select(vec!["x", "y", "istio-system"]);
    let selector = select(vec!["", "app: a", "app: a, tier: t", "tier: t"]);
    let rest = select(vec!["", ", rules: [{}]", ", action: DENY, rules: [{}]", ", action: x"]);
    let target = select(vec!["", "", ", targetRefs: [{kind: Gateway}]"]);
    (name(), namespace, selector, rest, target).prop_map(
        |(name, namespace, labels, rest, target)| {
            let selector = match labels {
                "" => "selector: null".to_owned(),
                labels => format!("selector: {{matchLabels: {{{labels}}}}}"),
            };
            let spec = format!("spec: {{{selector}{rest}{target}}}");
            let metadata = format!("name: {name}, namespace: {namespace}");
            document("security.istio.io/v1", "AuthorizationPolicy", &metadata, &spec)
        },
    )
}

fn pod() -> impl Strategy<Value = String> {
    let labels = select(vec!["app: a", "app: a, tier: t", "tier: t", ""]);
    (name(), select(vec!["x", "y"]), labels).prop_map(|(name, namespace, labels)| {
        let metadata = format!("name: {name}, namespace: {namespace}, labels: {{{labels}}}");
        document("v1", "Pod", &metadata, "spec: {containers: []}")
    })
}

fn any_document() -> impl Strategy<Value = String> {
    let namespace = select(vec!["{a: b}", "{}"])
        .prop_map(|labels| document("v1", "Namespace", &format!("name: x, labels: {labels}"), ""));
    prop_oneof![
        1 => namespace,
        3 => node(),
        8 => service(),
        6 => slice(),
        8 => service_entry(),
        8 => workload_entry(),
        4 => rule(),
        6 => policy(),
        4 => pod(),
        1 => Just("kind: [\n".to_owned()),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let content = prop_oneof![
        8 => vec(any_document(), 0..5).prop_map(|documents| {
            Some(FileContent::Text(documents.join("---\n").into()))
        }),
        1 => Just(Some(FileContent::Unreadable("no permission".to_owned()))),
        2 => Just(None),
    ];
    (select(FILES.to_vec()), content).prop_map(|(file, content)| match (file, content) {
        // A directory is only a file when it can't be read.
        ("sub", Some(FileContent::Text(_))) => ("sub", None),
        edit => edit,
    })
}

/// The address that is allocated when nobody is in the way.
fn allocated() -> String {
    let text = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
                metadata: {name: a, namespace: x}\nspec: {hosts: [a.example.com], resolution: DNS}";
    let files = BTreeMap::from([("a.yaml".into(), FileContent::Text(text.into()))]);
    let snapshot = Store::default().apply(&files).snapshot;
    snapshot.services.values().map(|service| service.addresses[0].to_string()).collect()
}

fn with_address(content: &FileContent, address: &str) -> FileContent {
    match content {
        FileContent::Text(text) => FileContent::Text(text.replace("ALLOCATED", address).into()),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 400, ..ProptestConfig::default()
    })]

    #[test]
    fn step_by_step_is_the_same_as_from_scratch(steps in vec(vec(edit(), 1..4), 1..10)) {
        let address = allocated();
        let mut store = Store::new(Options::default());
        let mut slow = Store::new(Options::default());
        let mut files: BTreeMap<PathBuf, FileContent> = BTreeMap::new();
        for step in &steps {
            let mut changes = BTreeMap::new();
            for (name, content) in step {
                let content = content.as_ref().map(|content| with_address(content, &address));
                changes.insert(PathBuf::from(name), content.clone());
                match content {
                    Some(content) => files.insert(name.into(), content),
                    None => files.remove(&PathBuf::from(name)),
                };
            }
            let before = store.snapshot();
            let (fast, slow) = (store.update(changes), slow.apply_slowly(&files));
            prop_assert_eq!(&*fast.snapshot, &*slow.snapshot);
            prop_assert_eq!(&fast.problems, &slow.problems);
            prop_assert_eq!(before == fast.snapshot, Arc::ptr_eq(&before, &fast.snapshot));
        }
    }
}
