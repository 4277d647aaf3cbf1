//! A real directory from end to end: open, reload, watch.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use resources::{Directory, Options, Severity, Touched, Watcher};

const EVERYTHING: &str = include_str!("everything.yaml");

fn service(address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n\
         spec: {{clusterIP: {address}, ports: [{{port: 80}}]}}\n"
    )
}

const LONG: Duration = Duration::from_secs(10);

fn addresses(directory: &mut Directory) -> Vec<String> {
    refreshed(directory, &Touched::Everything)
}

fn refreshed(directory: &mut Directory, touched: &Touched) -> Vec<String> {
    let snapshot = directory.refresh(touched).snapshot;
    let addresses = snapshot.services.values().flat_map(|service| &service.addresses);
    addresses.map(ToString::to_string).collect()
}

#[test]
fn everything_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("everything.yaml"), EVERYTHING).unwrap();
    let mut directory = Directory::open(dir.path(), Options::default()).unwrap();
    let update = directory.reload();
    let problems: Vec<_> = update.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(update.problems[0].severity, Severity::Info);
    assert_eq!(update.snapshot.services.len(), 5);
    assert_eq!(update.snapshot.workloads.len(), 2);
}

#[test]
fn nothing_changes_without_a_change() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), EVERYTHING).unwrap();
    let mut directory = Directory::open(dir.path(), Options::default()).unwrap();
    let first = directory.reload().snapshot;
    assert!(Arc::ptr_eq(&first, &directory.reload().snapshot));
    fs::write(dir.path().join("b.yaml"), service("10.0.0.1")).unwrap();
    assert!(!Arc::ptr_eq(&first, &directory.reload().snapshot));
}

#[test]
fn a_directory_that_is_gone_keeps_everything() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("config");
    assert!(Directory::open(&path, Options::default()).is_err());
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), service("10.0.0.1")).unwrap();
    let mut directory = Directory::open(&path, Options::default()).unwrap();
    assert_eq!(addresses(&mut directory), ["10.0.0.1"]);
    fs::rename(&path, parent.path().join("elsewhere")).unwrap();
    let update = directory.reload();
    assert_eq!(update.snapshot.services.len(), 1);
    assert_eq!(update.problems.len(), 1);
    assert_eq!(update.problems[0].consequence, "everything stays as it was last good");
    fs::create_dir(&path).unwrap();
    assert_eq!(addresses(&mut directory), [""; 0]);
}

/// As the kubelet does it: new data beside the old, then one rename.
fn publish(dir: &Path, version: &str, text: &str) {
    fs::create_dir(dir.join(version)).unwrap();
    fs::write(dir.join(version).join("mesh.yaml"), text).unwrap();
    symlink(version, dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
}

#[tokio::test]
async fn an_update_of_a_config_map_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    publish(dir.path(), "..1", &service("10.0.0.1"));
    symlink("..data/mesh.yaml", dir.path().join("mesh.yaml")).unwrap();
    let mut watcher = Watcher::new(dir.path()).unwrap();
    let mut directory = Directory::open(dir.path(), Options::default()).unwrap();
    assert_eq!(addresses(&mut directory), ["10.0.0.1"]);
    publish(dir.path(), "..2", &service("10.0.0.2"));
    let touched = tokio::time::timeout(LONG, watcher.changed()).await.unwrap();
    assert_eq!(refreshed(&mut directory, &touched), ["10.0.0.2"]);
}

#[tokio::test]
async fn files_that_are_touched_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let (a, b) = (dir.path().join("a.yaml"), dir.path().join("sub/b.yaml"));
    let mut watcher = Watcher::new(dir.path()).unwrap();
    let mut directory = Directory::open(dir.path(), Options::default()).unwrap();
    assert_eq!(addresses(&mut directory), [""; 0]);
    let steps: [(&dyn Fn(), &[&str]); 5] = [
        (&|| fs::write(&a, service("10.0.0.1")).unwrap(), &["10.0.0.1"]),
        (&|| fs::write(&a, service("10.0.0.2")).unwrap(), &["10.0.0.2"]),
        (&|| fs::rename(&a, &b).unwrap(), &["10.0.0.2"]),
        (&|| fs::write(&b, "kind: [").unwrap(), &["10.0.0.2"]),
        (&|| fs::remove_file(&b).unwrap(), &[]),
    ];
    for (index, (step, expected)) in steps.into_iter().enumerate() {
        step();
        let touched = tokio::time::timeout(LONG, watcher.changed()).await.unwrap();
        assert!(matches!(touched, Touched::Names(_)), "{index}");
        assert_eq!(refreshed(&mut directory, &touched), expected, "{index}");
    }
}
