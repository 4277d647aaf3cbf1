//! What is not ours stays byte for byte; ours comes and goes.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Policy;
use crate::conflist::{ConflistError, Entry, first_used, insert, remove};

const BRIDGE: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "pods", "unknown": {"b": 1, "a": [1.50, 2e3, "\u00e9"]},
  "plugins": [
    { "type": "bridge",  "ipMasq": false },
    {"type":"portmap"}
  ],
  "disableCheck": true
}
"#;

fn entry() -> Entry {
    Entry::new("/run/kmesh/cni.sock", "/run/kmesh/kmesh-cni.log", Policy::Open, 2000)
}

fn written() -> String {
    serde_json::to_string(&entry()).unwrap()
}

#[test]
fn the_entry_is_the_last_plugin_and_nothing_else_changes() {
    let edited = insert(BRIDGE, &entry()).unwrap().expect("it was not there");
    let line = format!("{{\"type\":\"portmap\"}},\n    {}\n  ],", written());
    assert_eq!(edited, BRIDGE.replace("{\"type\":\"portmap\"}\n  ],", &line));
    assert_eq!(insert(&edited, &entry()).unwrap(), None, "it is there");
    assert_eq!(remove(&edited).unwrap().as_deref(), Some(BRIDGE));
    assert_eq!(remove(BRIDGE).unwrap(), None);
    let entry: Value = serde_json::from_str(&written()).unwrap();
    let expected = json!({
        "type": "kmesh-cni", "socket": "/run/kmesh/cni.sock",
        "logFile": "/run/kmesh/kmesh-cni.log", "policy": "open", "timeoutMs": 2000,
        "capabilities": {"dns": true},
    });
    assert_eq!(entry, expected);
}

#[test]
fn an_entry_of_kmeshs_own_plugin_is_taken_over_and_doubles_are_removed() {
    let theirs = r#"{"cniVersion":"0.3.1","name":"k","plugins":[{"type":"ptp"},
        {"type":"kmesh-cni","kubeConfig":"/etc/cni/net.d/kmesh-cni-kubeconfig","mode":"dual-engine"},
        {"type":"portmap"}, {"type":"kmesh-cni"} ]}"#;
    let edited = insert(theirs, &entry()).unwrap().expect("it is another one");
    let expected = format!(
        "{{\"cniVersion\":\"0.3.1\",\"name\":\"k\",\"plugins\":[{{\"type\":\"ptp\"}},\n        {},\n        \
         {{\"type\":\"portmap\"}} ]}}",
        written()
    );
    assert_eq!(edited, expected);
    let none = r#"{"cniVersion":"0.3.1","name":"k","plugins":[{"type":"ptp"},
        {"type":"portmap"} ]}"#;
    assert_eq!(remove(theirs).unwrap().as_deref(), Some(none));
}

#[test]
fn a_changed_setting_replaces_the_entry_where_it_is() {
    let first = insert(BRIDGE, &entry()).unwrap().unwrap();
    let mut closed = entry();
    closed.policy = Policy::Closed;
    let second = insert(&first, &closed).unwrap().expect("another policy");
    assert_eq!(second, first.replace("\"open\"", "\"closed\""));
}

#[test]
fn the_first_or_only_plugin_may_be_ours() {
    for (text, expected) in [
        (r#"{"plugins":[ ]}"#, r#"{"plugins":[ ]}"#),
        (r#"{"plugins":[{"type":"kmesh-cni"}]}"#, r#"{"plugins":[]}"#),
        (r#"{"plugins":[ {"type":"kmesh-cni"} , {"type":"a"}]}"#, r#"{"plugins":[ {"type":"a"}]}"#),
        (
            r#"{"plugins":[{"type":"kmesh-cni"},{"type":"kmesh-cni"},{"type":"a"}]}"#,
            r#"{"plugins":[{"type":"a"}]}"#,
        ),
    ] {
        assert_eq!(remove(text).unwrap().as_deref().unwrap_or(text), expected);
    }
    let empty = r#"{"cniVersion":"1.1.0","plugins":[ ]}"#;
    let filled = insert(empty, &entry()).unwrap().unwrap();
    assert_eq!(remove(&filled).unwrap().as_deref(), Some(empty));
}

#[test]
fn what_cannot_be_chained_to_is_refused_by_name() {
    let single = insert(r#"{"cniVersion":"1.0.0","name":"a","type":"ptp"}"#, &entry());
    assert_eq!(single, Err(ConflistError::Single));
    for version in ["0.2.0", "2.0.0", ""] {
        let text = format!(r#"{{"cniVersion":"{version}","name":"a","plugins":[]}}"#);
        assert_eq!(insert(&text, &entry()), Err(ConflistError::Version(version.into())));
    }
    for text in ["", "[]", "{}", r#"{"cniVersion":"1.0.0","plugins":{}}"#, r#"{"plugins":[1]}"#] {
        let refused = insert(text, &entry());
        assert!(matches!(refused, Err(ConflistError::Malformed(_))), "{text}: {refused:?}");
    }
}

#[test]
fn the_file_that_the_runtime_uses_is_found_in_its_order() {
    let list = r#"{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"ptp"}]}"#;
    let files = [
        ("05-empty.conflist", r#"{"cniVersion":"1.0.0","name":"e","plugins":[]}"#),
        ("06-broken.conflist", "{"),
        ("07-nameless.conflist", r#"{"cniVersion":"1.0.0","plugins":[{"type":"ptp"}]}"#),
        ("08-a.conflist.bak", list),
        (".09-hidden", list),
        ("20-late.conflist", list),
        ("10-used.conflist", list),
    ];
    let read = |name: &str| {
        files.iter().find(|(other, _)| *other == name).map(|(_, text)| (*text).to_owned())
    };
    let mut names: Vec<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(first_used(&names, read).map(|found| found.0), Some("10-used.conflist"));
    names.retain(|name| !name.contains("used") && !name.contains("late"));
    assert_eq!(first_used(&names, read), None);
    let single = ["09-one.conf".to_owned(), "10-used.conflist".to_owned()];
    let read = |name: &str| match name {
        "09-one.conf" => Some(r#"{"name":"one","type":"ptp"}"#.to_owned()),
        other => read(other),
    };
    assert_eq!(first_used(&single, read).map(|found| found.0), Some("09-one.conf"));
}

/// JSON with blanks anywhere that a person or a tool may put them.
fn blanks() -> impl Strategy<Value = String> {
    "[ \\t\\n]{0,3}"
}

fn plugin() -> impl Strategy<Value = String> {
    let extra = "[a-z]{1,5}";
    (extra, blanks(), blanks(), any::<u32>(), "[ -~é]{0,6}").prop_map(
        |(key, a, b, number, text)| {
            let text = serde_json::to_string(&text).unwrap();
            format!("{{{a}\"type\"{b}:\"p-{key}\",\"x{key}\" :{number}e1,{a}\"y\":[{text}]{b}}}")
        },
    )
}

fn list() -> impl Strategy<Value = String> {
    (prop::collection::vec((blanks(), plugin(), blanks()), 0..4), blanks(), any::<bool>()).prop_map(
        |(plugins, blank, before)| {
            let plugins: Vec<String> =
                plugins.into_iter().map(|(a, plugin, b)| format!("{a}{plugin}{b}")).collect();
            let name = format!("{blank}\"name\":{blank}\"n\"");
            let list = format!("\"plugins\"{blank}:[{}]", plugins.join(","));
            let (first, second) = if before { (name, list) } else { (list, name) };
            format!("{blank}{{\"cniVersion\":\"1.0.0\",{first},{second}{blank}}}{blank}")
        },
    )
}

proptest! {
    #[test]
    fn what_was_put_in_comes_out_without_a_trace(text in list()) {
        let edited = insert(&text, &entry()).unwrap().expect("it was not there");
        let mut expected: Value = serde_json::from_str(&text).unwrap();
        let ours = serde_json::to_value(entry()).unwrap();
        expected["plugins"].as_array_mut().unwrap().push(ours);
        prop_assert_eq!(serde_json::from_str::<Value>(&edited).unwrap(), expected);
        prop_assert_eq!(insert(&edited, &entry()).unwrap(), None);
        prop_assert_eq!(remove(&edited).unwrap(), Some(text));
    }

    #[test]
    fn no_text_makes_an_edit_fail_otherwise_than_by_name(text in "[\\[\\]{}\",: a-z0-9]{0,60}") {
        let _ = insert(&text, &entry());
        let _ = remove(&text);
    }
}
