//! The CNI plugin, called as a runtime calls it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::daemon::binary;

/// What a runtime knows of a sandbox.
#[derive(Clone, Debug)]
pub struct CniCall {
    /// Further fields of the plugin's entry, such as `policy`.
    pub entry: Value,
    /// Path of the network namespace.
    pub netns: PathBuf,
    /// Id of the sandbox.
    pub container_id: String,
    /// `NAMESPACE/NAME` of the pod.
    pub workload: String,
    /// Its uid.
    pub uid: String,
}

/// What the plugin said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniAnswer {
    /// Whether it succeeded.
    pub ok: bool,
    /// Standard output.
    pub text: String,
    /// Standard error.
    pub errors: String,
}

/// What the plugin before has said; the odd form has to come back as it is.
pub const PREVIOUS: &str = "{ \"cniVersion\":\"1.0.0\",  \"ips\" : [], \"x\":1.50 }";

impl CniCall {
    /// Calls the plugin with a command such as `ADD`.
    #[track_caller]
    pub fn run(&self, command: &str) -> CniAnswer {
        let mut config = json!({
            "cniVersion": if matches!(command, "GC" | "STATUS") { "1.1.0" } else { "1.0.0" },
            "name": "pods", "type": "kmesh-cni",
        });
        for (key, value) in self.entry.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let config = config.to_string();
        let input = format!("{},\"prevResult\":{PREVIOUS}}}", &config[..config.len() - 1]);
        self.run_with(&binary("kmesh-cni"), command, &input)
    }

    /// Calls `plugin` with `input` on standard input.
    #[track_caller]
    pub fn run_with(&self, plugin: &Path, command: &str, input: &str) -> CniAnswer {
        let (namespace, name) = self.workload.split_once('/').unwrap_or_default();
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={};\
             K8S_POD_INFRA_CONTAINER_ID={}",
            self.uid, self.container_id
        );
        let mut child = Command::new(plugin)
            .env_clear()
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &self.container_id)
            .env("CNI_NETNS", &self.netns)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .env("CNI_ARGS", args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("run {}: {e}", plugin.display()));
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap_or_else(|e| panic!("write to the plugin: {e}"));
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (text, errors) = (text(&output.stdout), text(&output.stderr));
        CniAnswer { ok: output.status.success(), text, errors }
    }
}

impl CniAnswer {
    /// The error's code.
    #[track_caller]
    pub fn code(&self) -> u64 {
        assert!(!self.ok, "the plugin succeeded: {self:?}");
        let error: Value = serde_json::from_str(&self.text)
            .unwrap_or_else(|e| panic!("{e}: not an error of CNI: {self:?}"));
        error["code"].as_u64().unwrap_or_else(|| panic!("no code: {self:?}"))
    }
}
