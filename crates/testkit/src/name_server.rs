//! A real DNS server in a pod: the resolver that a pod would have without the mesh.

use std::fmt::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::command::OwnChild;
use crate::pod::Pod;
use crate::wait::wait_until;

const START_DEADLINE: Duration = Duration::from_secs(10);
const STOP_DEADLINE: Duration = Duration::from_secs(2);
/// A header, the root as name, type A, class IN: any server has an answer to it.
const PROBE: &[u8] = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01";

/// dnsmasq on port 53 of a pod, over UDP and TCP, IPv4 and IPv6. It knows its records, and says of
/// every other name that there is none.
#[derive(Debug)]
pub struct NameServer {
    child: OwnChild,
    log: PathBuf,
    // Dropped after the child that writes into it.
    _dir: TempDir,
}

impl NameServer {
    /// Starts it with records of name, address and TTL, and returns when it answers.
    #[track_caller]
    pub fn start(pod: &Pod, records: &[(&str, IpAddr, u32)]) -> Self {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("make a temp dir: {e}"));
        let (file, log) = (dir.path().join("dnsmasq.conf"), dir.path().join("log"));
        std::fs::write(&file, config(pod, records)).unwrap();
        let mut command = pod.command("dnsmasq");
        command.arg("--keep-in-foreground").arg(format!("--conf-file={}", file.display()));
        command.arg(format!("--log-facility={}", log.display()));
        let child = OwnChild::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let mut server = Self { child, log, _dir: dir };
        for address in [IpAddr::from(pod.v4), pod.v6.into()] {
            let what = format!("dnsmasq of {} to answer", pod.name);
            wait_until(&what, START_DEADLINE, || server.answers(pod, address));
        }
        server
    }

    /// How many questions for `name` it got so far.
    pub fn asked(&self, name: &str) -> usize {
        let needle = format!("] {name} from ");
        self.log().lines().filter(|line| line.contains(&needle)).count()
    }

    fn answers(&mut self, pod: &Pod, address: IpAddr) -> Result<(), String> {
        if let Some(status) = self.child.exited() {
            panic!("dnsmasq of {} ended, {status}: {}", pod.name, self.log());
        }
        let socket =
            pod.run(|| UdpSocket::bind((if address.is_ipv4() { "0.0.0.0" } else { "::" }, 0)));
        let socket = socket.map_err(|e| e.to_string())?;
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let ask = || -> std::io::Result<usize> {
            socket.connect((address, 53))?;
            socket.send(PROBE)?;
            socket.recv(&mut [0; 512])
        };
        ask().map(drop).map_err(|e| format!("{e}; {}", self.log()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.child.terminate(STOP_DEADLINE);
    }
}

fn config(pod: &Pod, records: &[(&str, IpAddr, u32)]) -> String {
    let mut text = format!(
        "user=root\npid-file=\nno-resolv\nno-hosts\nlocal=/#/\nlog-queries\nbind-interfaces\n\
         listen-address={}\nlisten-address={}\n",
        pod.v4, pod.v6
    );
    for (name, address, ttl) in records {
        let _ = writeln!(text, "host-record={name},{address},{ttl}");
    }
    text
}
