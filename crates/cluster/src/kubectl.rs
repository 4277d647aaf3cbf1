//! `kubectl`, inside a node of ours or against the cluster of `KUBECONFIG`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testkit::{output, wait_until};

use crate::node::Node;
use crate::programs::Programs;

/// How to run it.
#[derive(Clone, Debug)]
pub struct Kubectl {
    /// The program and the arguments before those of each call.
    words: Vec<OsString>,
}

impl Kubectl {
    pub(crate) fn new(node: &Node, programs: &Programs, kubeconfig: &Path) -> Self {
        let mut command = node.command(programs.path("kubectl"));
        command.arg("--kubeconfig").arg(kubeconfig);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        Self { words: words.map(OsString::from).collect() }
    }

    /// Of the cluster that `KUBECONFIG` names.
    pub fn of_env() -> Self {
        Self { words: vec!["kubectl".into()] }
    }

    /// Runs to the end with `stdin`.
    ///
    /// # Errors
    /// What it wrote.
    pub fn try_run(&self, arguments: &[&str], stdin: &str) -> Result<String, String> {
        output(self.command().args(arguments), stdin)
    }

    /// As [`Kubectl::try_run`], for what must succeed.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments, "").unwrap_or_else(|e| panic!("{e}"))
    }

    /// Applies YAML, as the field manager `kubectl` on the server's side.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.try_run(&arguments, yaml).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Deletes what YAML names and waits until it is gone; what is not there is no error.
    #[track_caller]
    pub fn delete(&self, yaml: &str) {
        let arguments = ["delete", "--ignore-not-found", "-f", "-"];
        self.try_run(&arguments, yaml).unwrap_or_else(|e| panic!("{e}"));
    }

    /// An object, or a list of objects.
    #[track_caller]
    pub fn get(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[&["get", "-o", "json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e} in {text}"))
    }

    /// Waits until `look` finds what it wants in the object.
    #[track_caller]
    pub fn wait_for<T>(
        &self,
        what: &str,
        deadline: Duration,
        arguments: &[&str],
        look: impl Fn(&Value) -> Option<T>,
    ) -> T {
        wait_until(what, deadline, || {
            let text = self.try_run(&[&["get", "-o", "json"], arguments].concat(), "")?;
            let object: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
            look(&object).ok_or_else(|| shown(&object))
        })
    }

    /// The start of a command line of `kubectl`.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }
}

/// The part of an object that changes by itself.
fn shown(object: &Value) -> String {
    let items = object["items"].as_array();
    match items {
        Some(items) => {
            items.iter().map(|item| item["status"].to_string()).collect::<Vec<_>>().join("; ")
        }
        None => object["status"].to_string(),
    }
}
