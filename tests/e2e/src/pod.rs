//! A test pod, and what its agent does for a scene.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use cluster::Kubectl;
use cluster::app::{AGENT_PORT, Answer, Request, Response, tell};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use testkit::wait_until;

use crate::world::PATIENCE;

/// Longer than the longest request.
const AGENT_PATIENCE: Duration = Duration::from_secs(60);

/// A pod that is ready. It may be gone later: then asking it fails.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its addresses, the first family first.
    pub addresses: Vec<IpAddr>,
    /// Where it runs.
    pub node: String,
    /// What makes it this pod and no other of the same name.
    pub uid: String,
    kubectl: Kubectl,
    /// Where its agent is reached from; through `kubectl exec` without one.
    netns: Option<PathBuf>,
}

impl Pod {
    /// From its object.
    pub fn of(object: &Value, kubectl: &Kubectl, netns: Option<PathBuf>) -> Self {
        let text = |path: &str| {
            object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let addresses = object["status"]["podIPs"].as_array().into_iter().flatten();
        let addresses = addresses.filter_map(|address| address["ip"].as_str()?.parse().ok());
        Self {
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            addresses: addresses.collect(),
            node: text("/spec/nodeName"),
            uid: text("/metadata/uid"),
            kubectl: kubectl.clone(),
            netns,
        }
    }

    /// The address of one family.
    #[track_caller]
    pub fn address(&self, v6: bool) -> IpAddr {
        let found = self.addresses.iter().find(|address| address.is_ipv6() == v6);
        *found.unwrap_or_else(|| panic!("{} has {:?}", self.name, self.addresses))
    }

    /// What the agent answers.
    ///
    /// # Errors
    /// When the agent cannot be reached, or says that it cannot be done.
    pub fn try_tell(&self, request: &Request) -> Result<Response, String> {
        let response = match &self.netns {
            Some(netns) => self.tell_directly(netns, request)?,
            None => self.tell_by_exec(request)?,
        };
        match &response.error {
            Some(error) => Err(format!("{}: {error}", self.name)),
            None => Ok(response),
        }
    }

    /// As [`Pod::try_tell`], for what must succeed.
    #[track_caller]
    pub fn tell(&self, request: &Request) -> Response {
        self.try_tell(request).unwrap_or_else(|e| panic!("{e}"))
    }

    /// One connection to HOST:PORT.
    pub fn ask(&self, to: impl ToString) -> Result<Answer, String> {
        let mut answers = self.ask_times(to, 1)?;
        answers.pop().ok_or_else(|| "no answer".to_owned())
    }

    /// `count` connections, all of which must succeed.
    pub fn ask_times(&self, to: impl ToString, count: u32) -> Result<Vec<Answer>, String> {
        self.ask_with(to, None, count)
    }

    /// As [`Pod::ask_times`]; the client sends `text` first.
    pub fn ask_with(
        &self,
        to: impl ToString,
        text: Option<&str>,
        count: u32,
    ) -> Result<Vec<Answer>, String> {
        let request = Request::Ask { to: to.to_string(), text: text.map(str::to_owned), count };
        let answers = self.try_tell(&request)?.answers;
        match answers.iter().find_map(|answer| answer.error.as_ref()) {
            Some(error) => Err(format!("{}: {error}", self.name)),
            None => Ok(answers),
        }
    }

    /// Asks until there is an answer.
    #[track_caller]
    pub fn must_ask(&self, to: impl ToString) -> Answer {
        let to = to.to_string();
        wait_until(&format!("{} to reach {to}", self.name), PATIENCE, || self.ask(&to))
    }

    /// Asks until connections fail.
    #[track_caller]
    pub fn must_not_reach(&self, to: impl ToString) -> String {
        let to = to.to_string();
        wait_until(&format!("{} to be refused by {to}", self.name), PATIENCE, || {
            match self.ask(&to) {
                Ok(answer) => Err(format!("{answer:?}")),
                Err(e) => Ok(e),
            }
        })
    }

    /// Looks a name up until it has addresses.
    #[track_caller]
    pub fn resolve(&self, name: &str) -> Vec<IpAddr> {
        let request = Request::Resolve { name: name.to_owned() };
        wait_until(&format!("{} to find {name}", self.name), PATIENCE, || {
            let mut addresses = self.try_tell(&request)?.addresses;
            // libc names an address once for each kind of socket.
            addresses.sort_unstable();
            addresses.dedup();
            if addresses.is_empty() { Err("no address".to_owned()) } else { Ok(addresses) }
        })
    }

    fn tell_directly(&self, netns: &PathBuf, request: &Request) -> Result<Response, String> {
        let address = SocketAddr::new(self.addresses[0], AGENT_PORT);
        let done = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let file = File::open(netns)?;
                setns(&file, CloneFlags::CLONE_NEWNET)?;
                tell(address, request, AGENT_PATIENCE)
            });
            inside.join()
        });
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        done.map_err(|e| format!("the agent of {}: {e}", self.name))
    }

    fn tell_by_exec(&self, request: &Request) -> Result<Response, String> {
        let line = serde_json::to_string(request).map_err(|e| e.to_string())?;
        let arguments =
            ["exec", "-i", "-n", &self.namespace, &self.name, "--", "/cluster-app", "tell"];
        let text = self.kubectl.try_run(&arguments, &line)?;
        serde_json::from_str(&text).map_err(|e| format!("{e} in {text}"))
    }
}

/// Whether the object is a pod that is ready and not about to end.
pub fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    object["metadata"]["deletionTimestamp"].is_null()
        && conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}
