//! Last good state: what stays, what goes, and who wins.

use crate::Severity;
use crate::testing::{Mesh, destination_rule, service, service_entry};

const STAYS: &str = "the object stays as it was last good";
const NOT_IN_FORCE: &str = "the object is not in force";

/// The only error, with all of these texts in it.
fn assert_error(mesh: &Mesh, texts: &[&str]) {
    let errors = mesh.errors();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    for text in texts {
        assert!(errors[0].contains(text), "{}\n{text}", errors[0]);
    }
}

fn address(mesh: &Mesh, name: &str) -> String {
    let service = mesh.service(&format!("{name}.default.svc.cluster.local"));
    service.addresses.iter().map(ToString::to_string).collect()
}

fn external(mesh: &Mesh, name: &str) -> String {
    let service = mesh.service(&format!("{name}.example.com"));
    service.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn an_object_follows_its_file() {
    let mut mesh = Mesh::new(&[("a.yaml", &service("web", "10.0.0.1"))]);
    assert_eq!(address(&mesh, "web"), "10.0.0.1");
    mesh.apply(&[("a.yaml", &service("web", "10.0.0.2"))]);
    assert_eq!(address(&mesh, "web"), "10.0.0.2");
    mesh.apply(&[("moved.yaml", &service("web", "10.0.0.2"))]);
    assert_eq!(mesh.keys(), ["Service default/web"]);
    mesh.apply(&[("moved.yaml", "")]);
    assert_eq!(mesh.keys(), [""; 0]);
    assert_eq!(mesh.problems, []);
}

#[test]
fn a_bad_version_changes_nothing() {
    let good = service("web", "10.0.0.1");
    for (bad, texts) in [
        (service("web", "10.0.0.300"), ["Service default/web", "spec.clusterIP", STAYS]),
        (good.replace("80", "0"), ["Service default/web", "spec.ports[0].port", STAYS]),
        (good.replace("80", "x"), ["Service default/web", "spec.ports[0].port", STAYS]),
        (good.replace("v1", "v9"), ["Service default/web", "apiVersion", STAYS]),
    ] {
        let mut mesh = Mesh::new(&[("a.yaml", &good)]);
        mesh.apply(&[("a.yaml", &bad)]);
        assert_eq!(address(&mesh, "web"), "10.0.0.1");
        assert_error(&mesh, &texts);
        // The error stays until the file is right, or gone.
        mesh.apply(&[("a.yaml", &bad)]);
        assert_error(&mesh, &texts);
        mesh.apply(&[("a.yaml", &good)]);
        assert_eq!(mesh.errors(), [""; 0]);

        let mesh = Mesh::new(&[("a.yaml", &bad)]);
        assert_eq!(mesh.keys(), [""; 0]);
        assert_error(&mesh, &[texts[0], texts[1], NOT_IN_FORCE]);
    }
}

#[test]
fn a_file_in_doubt_keeps_what_came_from_it() {
    let files = format!("{}{}", service("a", "10.0.0.1"), service("b", "10.0.0.2"));
    let changed = service("a", "10.0.0.9");
    for (text, field) in [
        (format!("{changed}---\nkind: [\n"), "line 8"),
        (format!("---\n] {{\n{changed}"), "line 2"),
        (format!("{changed}---\nkind: Service\n"), "apiVersion"),
        (format!("{changed}---\na: 1\na: 2\n"), "duplicate"),
        (format!("{changed}---\njust text\n"), "not an object"),
    ] {
        let mut mesh = Mesh::new(&[("a.yaml", &files)]);
        mesh.apply(&[("a.yaml", &text)]);
        assert_eq!(mesh.keys(), ["Service default/a", "Service default/b"], "{text}");
        // What could be read is in force.
        assert_eq!(address(&mesh, "a"), "10.0.0.9", "{text}");
        assert_error(&mesh, &["a.yaml", field, "stay as they were last good"]);
    }
    for text in ["UNREADABLE no permission", "\t\t[", "42"] {
        let mut mesh = Mesh::new(&[("a.yaml", &files)]);
        mesh.apply(&[("a.yaml", text)]);
        assert_eq!(mesh.keys(), ["Service default/a", "Service default/b"], "{text}");
        assert_error(&mesh, &["a.yaml"]);
        mesh.apply(&[]);
        assert_eq!(mesh.keys(), [""; 0], "{text}");
    }
}

#[test]
fn a_directory_that_cannot_be_read_keeps_what_is_below() {
    let mut mesh = Mesh::new(&[
        ("sub/a.yaml", &service("a", "10.0.0.1")),
        ("b.yaml", &service("b", "10.0.0.2")),
    ]);
    mesh.apply(&[("sub", "UNREADABLE no permission")]);
    assert_eq!(mesh.keys(), ["Service default/a"]);
}

#[test]
fn the_same_object_twice() {
    let (first, second) = (service("web", "10.0.0.1"), service("web", "10.0.0.2"));
    // At the start the first in the order of the paths counts.
    let mut mesh = Mesh::new(&[("a.yaml", &first), ("b.yaml", &second)]);
    assert_eq!(address(&mesh, "web"), "10.0.0.1");
    assert_error(&mesh, &["b.yaml", "Service default/web", "also in a.yaml document 1"]);
    // Without it, the other one.
    mesh.apply(&[("b.yaml", &second)]);
    assert_eq!(address(&mesh, "web"), "10.0.0.2");
    assert_eq!(mesh.errors(), [""; 0]);
    // Then that one is in force, and stays, even when it becomes bad.
    mesh.apply(&[("a.yaml", &first), ("b.yaml", &second)]);
    assert_eq!(address(&mesh, "web"), "10.0.0.2");
    assert_error(&mesh, &["a.yaml", "also in b.yaml"]);
    mesh.apply(&[("a.yaml", &first), ("b.yaml", &service("web", "x"))]);
    assert_eq!(address(&mesh, "web"), "10.0.0.2");
    // The same within one file: the version in force stays.
    let mut mesh = Mesh::new(&[("a.yaml", &second)]);
    mesh.apply(&[("a.yaml", &format!("{first}{second}"))]);
    assert_eq!(address(&mesh, "web"), "10.0.0.2");
    assert_error(&mesh, &["a.yaml document 1", "also in a.yaml document 2"]);
    // A bad copy at the start does not stand in the way of a good one.
    let mesh = Mesh::new(&[("a.yaml", &service("web", "x")), ("b.yaml", &second)]);
    assert_eq!(address(&mesh, "web"), "10.0.0.2");
}

#[test]
fn an_address_belongs_to_who_has_it() {
    let (a, b) = (service("a", "10.0.0.1"), service("b", "10.0.0.1"));
    let mut mesh = Mesh::new(&[("b.yaml", &b)]);
    mesh.apply(&[("a.yaml", &a), ("b.yaml", &b)]);
    assert_eq!(mesh.keys(), ["Service default/b"]);
    assert_error(
        &mesh,
        &["Service default/a: ", "10.0.0.1 belongs to Service default/b (b.yaml)", NOT_IN_FORCE],
    );
    mesh.apply(&[("a.yaml", &a), ("b.yaml", &service("b", "10.0.0.2"))]);
    assert_eq!(mesh.keys(), ["Service default/a", "Service default/b"]);
    assert_eq!(mesh.errors(), [""; 0]);
    mesh.apply(&[("a.yaml", &a), ("b.yaml", &b)]);
    assert_eq!(
        (address(&mesh, "a").as_str(), address(&mesh, "b").as_str()),
        ("10.0.0.1", "10.0.0.2")
    );
    assert_error(&mesh, &["Service default/b", "belongs to Service default/a", STAYS]);
    mesh.apply(&[("b.yaml", &b)]);
    assert_eq!(address(&mesh, "b"), "10.0.0.1");
}

#[test]
fn at_the_start_the_older_wins() {
    let aged = |name: &str, time: &str| {
        let metadata = format!("name: {name}, creationTimestamp: \"{time}\"");
        service(name, "10.0.0.1").replace(&format!("name: {name}"), &metadata)
    };
    let (a, b) = (aged("a", "2024-02-02T00:00:00Z"), aged("b", "2024-01-01T00:00:00Z"));
    let mesh = Mesh::new(&[("a.yaml", &a), ("b.yaml", &b)]);
    assert_eq!(mesh.keys(), ["Service default/b"]);
    let mesh = Mesh::new(&[("a.yaml", &b), ("b.yaml", &a)]);
    assert_eq!(mesh.keys(), ["Service default/b"]);
}

#[test]
fn two_objects_may_swap_their_addresses() {
    let both = |a, b| format!("{}{}", service("a", a), service("b", b));
    let mut mesh = Mesh::new(&[("a.yaml", &both("10.0.0.1", "10.0.0.2"))]);
    mesh.apply(&[("a.yaml", &both("10.0.0.2", "10.0.0.1"))]);
    assert_eq!(mesh.errors(), [""; 0]);
    assert_eq!(address(&mesh, "a"), "10.0.0.2");
}

#[test]
fn falling_back_takes_back_what_another_would_get() {
    let three = |a, b, c| format!("{}{}{}", service("a", a), service("b", b), service("c", c));
    let mut mesh = Mesh::new(&[("x.yaml", &three("10.0.0.1", "10.0.0.2", "10.0.0.3"))]);
    // c wants b's address, b wants a's, a wants one that d has: nobody moves.
    let files = [("x.yaml", &*three("10.0.0.4", "10.0.0.1", "10.0.0.2"))];
    let d = service("d", "10.0.0.4");
    mesh.apply(&[("d.yaml", &d), ("x.yaml", &three("10.0.0.1", "10.0.0.2", "10.0.0.3"))]);
    mesh.apply(&[("d.yaml", &d), files[0]]);
    assert_eq!(mesh.errors().len(), 3, "{:#?}", mesh.errors());
    assert!(mesh.errors().iter().all(|error| error.ends_with(STAYS)));
    let addresses: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| address(&mesh, name)).collect();
    assert_eq!(addresses, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    // d goes: everybody moves.
    mesh.apply(&files);
    assert_eq!(mesh.errors(), [""; 0]);
    assert_eq!(address(&mesh, "c"), "10.0.0.2");
}

#[test]
fn service_entries_share_an_address_by_port() {
    let a = service_entry("a", "10.0.0.1", 80);
    let mut mesh = Mesh::new(&[("a.yaml", &a), ("b.yaml", &service_entry("b", "10.0.0.1", 81))]);
    assert_eq!(mesh.errors(), [""; 0]);
    mesh.apply(&[("a.yaml", &a), ("b.yaml", &service_entry("b", "10.0.0.1", 80))]);
    assert_error(
        &mesh,
        &["ServiceEntry default/b: spec.addresses", "10.0.0.1 port 80 TCP belongs to", STAYS],
    );
    assert_eq!(mesh.service("b.example.com").ports[0].port, 81);
    assert_eq!(external(&mesh, "b"), "10.0.0.1");
    // A Service shares its address with nobody.
    mesh.apply(&[("a.yaml", &a), ("c.yaml", &service("c", "10.0.0.1"))]);
    assert_error(&mesh, &["Service default/c", "belongs to ServiceEntry default/a"]);
    let mesh = Mesh::new(&[
        ("c.yaml", &service("c", "10.0.0.1")),
        ("d.yaml", &service_entry("d", "10.0.0.1", 81)),
    ]);
    assert_error(&mesh, &["ServiceEntry default/d", "belongs to Service default/c"]);
}

#[test]
fn a_host_belongs_to_one_object_of_its_namespace() {
    let a = service_entry("a", "10.0.0.1", 80);
    let twin = service_entry("b", "10.0.0.2", 80).replace("b.example.com", "a.example.com");
    let mesh = Mesh::new(&[("a.yaml", &a), ("b.yaml", &twin)]);
    assert_error(&mesh, &["spec.hosts", "host a.example.com belongs to ServiceEntry default/a"]);
    let other = twin.replace("name: b}", "name: b, namespace: other}");
    let mesh = Mesh::new(&[("a.yaml", &a), ("b.yaml", &other)]);
    assert_eq!(mesh.errors(), [""; 0]);
}

#[test]
fn two_rules_for_a_host() {
    let web = service("web", "10.0.0.1");
    let short = destination_rule("z", "web", "{simple: PASSTHROUGH}");
    let full = destination_rule("a", "web.default.svc.cluster.local", "{simple: RANDOM}");
    let mut mesh = Mesh::new(&[("web.yaml", &web), ("z.yaml", &short)]);
    mesh.apply(&[("web.yaml", &web), ("a.yaml", &full), ("z.yaml", &short)]);
    assert_error(&mesh, &["DestinationRule default/a: spec.host", "DestinationRule default/z"]);
    assert!(!mesh.keys().contains(&"DestinationRule default/a".to_owned()));
    mesh.apply(&[("web.yaml", &web), ("a.yaml", &full)]);
    assert_eq!(mesh.errors(), [""; 0]);
}

#[test]
fn lists_and_several_documents() {
    let item = service("b", "10.0.0.2").replace("---\n", "").replace('\n', "\n  ");
    let list = format!(
        "# comment\n{}---\napiVersion: v1\nkind: List\nitems:\n- {item}\n- kind: ConfigMap\n  \
         apiVersion: v1\n- apiVersion: v1\n  kind: Service\n  metadata: {{name: c}}\n",
        service("a", "10.0.0.1")
    );
    let mesh = Mesh::new(&[("a.yaml", &list)]);
    assert_eq!(mesh.keys(), ["Service default/a", "Service default/b"]);
    assert_error(&mesh, &["a.yaml document 2", "Service default/c", "items[2].spec: missing"]);
    let info = mesh.of(Severity::Info);
    assert_eq!(info.len(), 1);
    assert!(info[0].contains("items[1].kind: v1 ConfigMap"), "{}", info[0]);
}

#[test]
fn what_did_not_change_is_not_parsed_again() {
    let file = |b: &str| format!("{}{}", service("a", "10.0.0.1"), service("b", b));
    let object = |mesh: &Mesh, name: &str| {
        let mut objects = mesh.store.registry().in_force().into_iter();
        objects.find(|(key, _)| key.name == name).unwrap().1
    };
    let mut mesh = Mesh::new(&[("x.yaml", &file("10.0.0.2"))]);
    let (a, b) = (object(&mesh, "a"), object(&mesh, "b"));
    mesh.apply(&[("x.yaml", &file("10.0.0.3"))]);
    assert!(std::sync::Arc::ptr_eq(&a, &object(&mesh, "a")));
    assert!(!std::sync::Arc::ptr_eq(&b, &object(&mesh, "b")));
}

#[test]
fn problems_come_in_the_order_of_the_files() {
    let bad = |name: &str| service(name, "x");
    let mesh = Mesh::new(&[
        ("b.yaml", &format!("{}{}", bad("d"), bad("c"))),
        ("a.yaml", &bad("b")),
        ("c.yaml", "UNREADABLE no"),
    ]);
    let places: Vec<_> =
        mesh.problems.iter().map(|problem| (problem.file.as_str(), problem.document)).collect();
    assert_eq!(
        places,
        [("a.yaml", Some(1)), ("b.yaml", Some(1)), ("b.yaml", Some(2)), ("c.yaml", None)]
    );
}
