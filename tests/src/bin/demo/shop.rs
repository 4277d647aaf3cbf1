//! The names and numbers of `examples/first-traffic` that the demo dials and expects.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;
use testkit::Daemon;

/// The service's addresses, as in a URL.
pub const WEB: [&str; 2] = ["10.96.0.10", "[fd96::10]"];
/// A service without endpoints, and a port that the service `web` does not have.
pub const IDLE: &str = "10.96.0.20:80";
pub const WRONG_PORT: &str = "10.96.0.10:81";
/// The ServiceEntry's address.
pub const PAYMENTS: &str = "10.96.1.1:80";
/// Listened on by web-2, and no object names it.
pub const UNNAMED_PORT: u16 = 7070;
/// Endpoints with the ports that they listen on.
pub const ENDPOINTS: [(&str, &[u16]); 2] =
    [("web-1", &[8080]), ("web-2", &[8081, 9090, UNNAMED_PORT])];
/// The file with the weights.
pub const WEIGHTS_FILE: &str = "web.yaml";

/// `examples/first-traffic`, in the working directory or beside this program's target directory.
///
/// # Errors
/// When it is in neither.
pub fn examples() -> anyhow::Result<PathBuf> {
    let place = Path::new("examples/first-traffic");
    let executable = std::env::current_exe().context("find this program")?;
    let places = std::iter::once(Path::new("")).chain(executable.ancestors().skip(1));
    let found = places.map(|above| above.join(place)).find(|path| path.is_dir());
    found.with_context(|| {
        format!("{} is not here: run the demo in the source tree", place.display())
    })
}

/// The files of the example, name and text.
///
/// # Errors
/// When one cannot be read.
pub fn files() -> anyhow::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(examples()?)? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, text));
    }
    files.sort();
    Ok(files)
}

/// The endpoints of `web` with their weights, as the daemon understood them.
///
/// # Errors
/// When it understood something else than two endpoints in each family.
pub fn weights(daemon: &Daemon) -> anyhow::Result<Vec<(String, u64)>> {
    let dump = daemon.get_json("/debug/config_dump/dual-engine");
    let services = dump["services"].as_array().into_iter().flatten();
    let web = services.into_iter().find(|service| service["name"] == "web");
    let endpoints = web.map(|web| &web["endpoints"]).and_then(Value::as_array);
    let of_pod = |pod: &str| {
        let workload = format!("shop/{pod}");
        let found = endpoints.into_iter().flatten().find(|it| it["workload"] == workload.as_str());
        found.and_then(|endpoint| endpoint["weight"].as_u64())
    };
    let mut weights = Vec::new();
    for (pod, _) in ENDPOINTS {
        let (v4, v6) = (of_pod(pod), of_pod(&format!("{pod}-v6")));
        let Some(weight) = v4.filter(|_| v4 == v6) else {
            bail!("{pod} should have one weight in both families, not {v4:?} and {v6:?}");
        };
        weights.push((pod.to_owned(), weight));
    }
    Ok(weights)
}

/// The file with the weights of the two endpoints exchanged.
pub fn swap_weights(text: &str) -> String {
    text.replace("weight: 80", "weight: new")
        .replace("weight: 20", "weight: 80")
        .replace("weight: new", "weight: 20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_the_weights_and_addresses_that_the_demo_tells() {
        let files = files().unwrap();
        let all: String = files.iter().map(|(_, text)| text.as_str()).collect();
        for part in
            WEB.iter().map(|vip| vip.trim_matches(['[', ']'])).chain(["10.96.1.1", "10.96.0.20"])
        {
            assert!(all.contains(part), "{part}");
        }
        for port in ENDPOINTS.iter().flat_map(|(_, ports)| *ports) {
            assert_eq!(all.contains(&port.to_string()), *port != UNNAMED_PORT, "{port}");
        }
        let (_, web) = files.iter().find(|(name, _)| name == WEIGHTS_FILE).unwrap();
        let swapped = swap_weights(web);
        assert_ne!(&swapped, web);
        assert_eq!(&swap_weights(&swapped), web);
    }
}
