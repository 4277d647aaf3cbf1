//! Where kubelet keeps a pod's cgroup, for both of its cgroup drivers.

use std::path::PathBuf;

/// Below kubelet's `cgroupRoot`.
const PODS: &str = "kubepods";
/// The levels of quality of service; a guaranteed pod is directly below [`PODS`].
const QUALITIES: [Option<&str>; 3] = [Some("burstable"), Some("besteffort"), None];

/// Where the pod's cgroup may be, relative to the mount of the hierarchy: one path for each driver and
/// quality of service. `root` is kubelet's `cgroupRoot`, such as `/` or `/kubelet`, or where the whole of a
/// kubelet's hierarchy is when that runs in a container itself. A uid that could lead out of the
/// hierarchy has no place.
pub fn places_of(root: &str, uid: &str) -> Vec<PathBuf> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if uid.is_empty() || !uid.chars().all(is_plain) {
        return Vec::new();
    }
    let pod = format!("pod{uid}");
    let root: Vec<&str> = root.split('/').filter(|part| !part.is_empty()).collect();
    let names = QUALITIES.map(|quality| -> Vec<&str> {
        [PODS].into_iter().chain(quality).chain([pod.as_str()]).collect()
    });
    let below = |inner: PathBuf| root.iter().collect::<PathBuf>().join(inner);
    let cgroupfs = names.iter().map(|name| below(name.iter().collect()));
    let mut places: Vec<PathBuf> = cgroupfs.collect();
    places.extend(names.iter().map(|name| below(systemd(name))));
    if !root.is_empty() {
        places.extend(names.iter().map(|name| systemd(&[&root[..], name].concat())));
    }
    places
}

/// systemd nests slices by their names: `a-b.slice` is inside `a.slice`.
fn systemd(name: &[&str]) -> PathBuf {
    let mut slice = String::new();
    let mut path = PathBuf::new();
    for part in name {
        if !slice.is_empty() {
            slice.push('-');
        }
        slice.push_str(&part.replace('-', "_"));
        path.push(format!("{slice}.slice"));
    }
    path
}
