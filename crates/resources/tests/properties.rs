//! What must hold for every input: nothing panics, nobody loses what is theirs, and the same files
//! mean the same mesh.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use model::{Snapshot, Source};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use resources::{FileContent, Options, Problem, Severity, Store, Update};

type Files = BTreeMap<PathBuf, FileContent>;

/// One object of each kind, with most of the fields that are read.
const EVERYTHING: &str = include_str!("everything.yaml");

/// Pieces that mean something to the parser or to the validation.
const PIECES: [&str; 24] = [
    "---\n",
    "- ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "  ",
    "\t",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!str ",
    "|\n",
    "'",
    "\"",
    "null",
    "-1",
    "99999999999999999999",
    "kind: List\nitems:\n",
    "\u{feff}",
    "%YAML 1.2\n",
    "*",
];

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

fn apply(store: &mut Store, files: &Files) -> (Arc<Snapshot>, Vec<Problem>) {
    let Update { snapshot, problems } = store.apply(files);
    for problem in problems.iter() {
        assert!(!problem.message.is_empty() && !problem.consequence.is_empty(), "{problem:?}");
        assert!(!problem.to_string().contains('\n'));
    }
    (snapshot, problems.to_vec())
}

fn file(name: &str, bytes: Vec<u8>) -> Files {
    Files::from([(PathBuf::from(name), FileContent::from_bytes(bytes))])
}

/// Objects that compete for few names, hosts, addresses and ports; some are not valid.
fn competitor() -> impl Strategy<Value = String> {
    let name = select(vec!["a", "b", "c", "d"]);
    let service = (name.clone(), 0..5u8).prop_map(|(name, address)| {
        // Address 0 is not valid.
        let address = if address == 0 { "x".to_owned() } else { format!("10.0.0.{address}") };
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
             spec: {{clusterIP: {address}, ports: [{{port: 80}}]}}\n"
        )
    });
    let entry =
        (name.clone(), name.clone(), 0..5u8, 80..82u16).prop_map(|(name, host, address, port)| {
            format!(
                "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
                 metadata: {{name: {name}}}\nspec: {{hosts: [{host}.example.com], \
                 addresses: [10.0.0.{address}], \
                 ports: [{{number: {port}, name: p, protocol: TCP}}], resolution: STATIC}}\n"
            )
        });
    let rule = (name.clone(), name).prop_map(|(name, host)| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
             metadata: {{name: {name}}}\nspec: {{host: {host}}}\n"
        )
    });
    let broken = Just("kind: [\n".to_owned());
    prop_oneof![8 => service, 8 => entry, 3 => rule, 1 => broken]
}

fn directory() -> impl Strategy<Value = Files> {
    let text = vec(competitor(), 0..5).prop_map(|documents| documents.join("---\n"));
    btree_map(select(vec!["1.yaml", "2.yaml", "3.yaml"]), text, 0..3).prop_map(|files| {
        let files = files.into_iter();
        files.map(|(name, text)| (name.into(), FileContent::Text(text.into()))).collect()
    })
}

/// A Service has its addresses for itself; ServiceEntries share them by port.
fn assert_no_conflict(snapshot: &Snapshot) {
    let mut owned = BTreeSet::new();
    let services = || snapshot.services.values();
    for service in services().filter(|service| service.source == Source::Kubernetes) {
        assert!(service.addresses.iter().all(|address| owned.insert((*address, 0))));
    }
    let whole: BTreeSet<_> = owned.iter().map(|(address, _)| *address).collect();
    for service in services().filter(|service| service.source == Source::ServiceEntry) {
        for address in &service.addresses {
            assert!(!whole.contains(address));
            assert!(service.ports.iter().all(|port| owned.insert((*address, port.port))));
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200), name in select(vec!["a.yaml", "a.json"])) {
        apply(&mut Store::default(), &file(name, bytes));
    }

    #[test]
    fn any_pieces(pieces in vec(select(PIECES.to_vec()), 0..30), name in select(vec!["a.yaml", "a.json"])) {
        apply(&mut Store::default(), &file(name, pieces.concat().into_bytes()));
    }

    /// Good files with some places overwritten: whatever happens, everything stays in force, because
    /// it is either still there or was last good.
    #[test]
    fn damage(edits in vec((any::<Index>(), 0..12usize, select(PIECES.to_vec())), 1..4)) {
        let mut store = Store::new(Options::default());
        let (before, problems) = apply(&mut store, &file("a.yaml", EVERYTHING.into()));
        prop_assert!(problems.iter().all(|it| it.severity != Severity::Error), "{problems:?}");
        let mut text: Vec<char> = EVERYTHING.chars().collect();
        for (place, length, piece) in edits {
            let from = place.index(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, piece.chars());
        }
        let text: String = text.into_iter().collect();
        apply(&mut store, &file("a.yaml", text.into_bytes()));
        let (after, problems) = apply(&mut store, &file("a.yaml", EVERYTHING.into()));
        prop_assert!(problems.iter().all(|it| it.severity != Severity::Error), "{problems:?}");
        prop_assert_eq!(before, after);
    }

    #[test]
    fn competition(directories in vec(directory(), 1..6)) {
        let mut store = Store::new(Options::default());
        for files in &directories {
            let (next, problems) = apply(&mut store, files);
            assert_no_conflict(&next);
            // The same objects again change nothing. The file without content sees to it that they
            // are looked at again.
            let mut again = files.clone();
            again.insert("z.yaml".into(), FileContent::Text("# nothing".into()));
            let (same, same_problems) = apply(&mut store, &again);
            prop_assert!(Arc::ptr_eq(&next, &same));
            prop_assert_eq!(problems, same_problems);
        }
        // An empty directory is a well-formed one.
        let (empty, problems) = apply(&mut store, &Files::new());
        prop_assert_eq!(problems, vec![]);
        prop_assert_eq!(&*empty, &Snapshot::default());
    }

    /// What was in force and still has a document of its own stays in force in some version.
    #[test]
    fn nobody_is_put_out(first in directory(), second in directory()) {
        let mut store = Store::new(Options::default());
        let before = store.apply(&first).snapshot;
        let after = store.apply(&second).snapshot;
        let text: String = second.values().map(|content| match content {
            FileContent::Text(text) => text.to_string(),
            FileContent::Unreadable(_) => String::new(),
        }).collect();
        for service in before.services.values() {
            let (kind, name) = match service.source {
                Source::Kubernetes => ("Service", &service.object_name),
                Source::ServiceEntry => ("ServiceEntry", &service.object_name),
            };
            let document = format!("kind: {kind}\nmetadata: {{name: {name}}}");
            let is_there = after.services.values().any(|other| {
                other.source == service.source && other.object_name == service.object_name
            });
            prop_assert!(is_there || !text.contains(&document), "{kind} {name}");
        }
    }
}
