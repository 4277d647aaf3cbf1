//! A real nginx in a pod, for the demo, the benches and scenes that want more than a name.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::command::OwnChild;
use crate::pod::Pod;
use crate::wait::wait_until;

const START_DEADLINE: Duration = Duration::from_secs(10);
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Answers every request with the pod's name, in the body and in the header `X-Pod`.
#[derive(Debug)]
pub struct Nginx {
    child: OwnChild,
    // Dropped after the child that writes into it.
    _dir: TempDir,
}

impl Nginx {
    /// Listens on `ports` of the pod, IPv4 and IPv6, and returns when it accepts.
    #[track_caller]
    pub fn start(pod: &Pod, ports: &[u16]) -> Self {
        let dir = tempfile::Builder::new().prefix(&netns_name(pod)).tempdir();
        let dir = dir.unwrap_or_else(|e| panic!("make a temp dir for nginx: {e}"));
        let path = dir.path();
        std::fs::write(path.join("nginx.conf"), config(path, &pod.name, ports)).unwrap();
        let mut command = pod.command("nginx");
        command.arg("-c").arg(path.join("nginx.conf")).arg("-e").arg(path.join("error.log"));
        let mut child = OwnChild::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let log = || std::fs::read_to_string(path.join("error.log")).unwrap_or_default();
        for port in ports {
            let address = SocketAddr::from((pod.v4, *port));
            wait_until(&format!("nginx of {} on {address}", pod.name), START_DEADLINE, || {
                if let Some(status) = child.exited() {
                    panic!("nginx of {} ended, {status}: {}", pod.name, log());
                }
                pod.run(|| TcpStream::connect(address)).map_err(|e| format!("{e}; {}", log()))
            });
        }
        Self { child, _dir: dir }
    }

    /// Leaves it running when this process ends; see [`crate::Scene::keep`].
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its worker; what is left of the group is killed.
        let _ = self.child.terminate(STOP_DEADLINE);
    }
}

fn netns_name(pod: &Pod) -> String {
    let name = pod.netns().file_name().unwrap_or_default();
    format!("{}-nginx-", name.to_string_lossy())
}

fn config(dir: &Path, name: &str, ports: &[u16]) -> String {
    let dir = dir.display();
    let mut listen = String::new();
    for port in ports {
        let _ = writeln!(listen, "    listen 0.0.0.0:{port} backlog=4096;");
        let _ = writeln!(listen, "    listen [::]:{port} ipv6only=on backlog=4096;");
    }
    format!(
        "user root;
worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  default_type text/plain;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  server {{
{listen}    location / {{
      add_header X-Pod {name} always;
      return 200 \"{name}\\n\";
    }}
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_listens_on_every_port_in_both_families() {
        let text = config(Path::new("/tmp/x"), "red", &[80, 8080]);
        for line in ["0.0.0.0:80 ", "[::]:80 ", "0.0.0.0:8080 ", "[::]:8080 ", "X-Pod red "] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
