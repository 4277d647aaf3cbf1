//! One node and its pods, all of them network namespaces: the host's own interfaces stay as they are.
//!
//! ```text
//!   node netns:   br0 10.77.0.1/24, fd77::1/64
//!                  | v2        | v3
//!   pod netns:    eth0        eth0        10.77.0.2, fd77::2 ...
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::command::{must, output};
use crate::ident::Ident;
use crate::pod::Pod;
use crate::wait::wait_until;

/// The last byte of a pod's address; 255 is the broadcast address.
const PODS_MAX: u8 = 253;
const LINK_DEADLINE: Duration = Duration::from_secs(10);
/// tcpmux: nobody serves it.
const CLOSED_PORT: u16 = 1;

/// A topology that is removed on Drop.
#[derive(Debug)]
pub struct Network {
    ident: Ident,
    node: Pod,
    pods: Vec<Pod>,
    /// Namespaces that exist, also of a pod whose set-up failed half way.
    made: Vec<String>,
}

impl Network {
    /// A node without pods.
    pub fn new(scene: &str) -> Self {
        Self::with_ident(Ident::new(scene))
    }

    pub(crate) fn with_ident(ident: Ident) -> Self {
        let node = Pod::new("node", v4(1), v6(1), &ident.part("node"));
        let mut network = Self { ident, node, pods: Vec::new(), made: Vec::new() };
        let name = network.ident.part("node");
        network.add_netns(&name);
        let bridge = format!(
            "link set lo up\nlink add br0 type bridge forward_delay 0\nlink set br0 up\n\
             address add {}/24 dev br0\naddress add {}/64 dev br0 nodad\n",
            network.node.v4, network.node.v6
        );
        ip_batch(&name, &bridge);
        network.node.sysctl("net.ipv4.ip_forward", "1");
        network
    }

    /// A new pod on the node's bridge.
    pub fn pod(&mut self, name: &str) -> Pod {
        assert!(self.find(name).is_none(), "the scene has a pod {name} already");
        assert!(self.pods.len() < usize::from(PODS_MAX), "a scene has at most {PODS_MAX} pods");
        let last = self.pods.len() as u8 + 2;
        let netns = self.ident.part(name);
        self.add_netns(&netns);
        let pod = Pod::new(name, v4(last), v6(last), &netns);
        ip_batch(
            &self.ident.part("node"),
            &format!(
                "link add v{last} type veth peer name eth0 netns {netns}\n\
                 link set v{last} master br0\nlink set v{last} up\n"
            ),
        );
        ip_batch(
            &netns,
            &format!(
                "link set lo up\nlink set eth0 up\naddress add {}/24 dev eth0\n\
                 address add {}/64 dev eth0 nodad\nroute add default via {}\nroute add default via {}\n",
                pod.v4, pod.v6, self.node.v4, self.node.v6
            ),
        );
        self.wait_connected(&pod);
        self.pods.push(pod.clone());
        pod
    }

    /// Removes a pod: its namespace has no name any more, and goes when nobody uses it.
    #[track_caller]
    pub fn remove(&mut self, pod: &Pod) {
        let name = pod.netns().file_name().unwrap_or_default().to_string_lossy().into_owned();
        must(Command::new("ip").args(["netns", "delete", &name]), "");
        self.made.retain(|made| *made != name);
        self.pods.retain(|other| other.name != pod.name);
    }

    /// The node: the namespace with the bridge, `br0`.
    pub fn node(&self) -> &Pod {
        &self.node
    }

    /// The pods, in the order of their making.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// The pod of this name.
    pub fn find(&self, name: &str) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.name == name)
    }

    /// The name that everything of this network starts with.
    pub fn ident(&self) -> &Ident {
        &self.ident
    }

    /// The kernel brings a link up, and with it the IPv6 addresses, some time after `ip` returns.
    #[track_caller]
    fn wait_connected(&self, pod: &Pod) {
        let all: [IpAddr; 4] =
            [pod.v4.into(), pod.v6.into(), self.node.v4.into(), self.node.v6.into()];
        wait_until(&format!("the network of {}", pod.name), LINK_DEADLINE, || {
            pod.run(|| all.iter().try_for_each(|address| refuses(*address)))
        });
    }

    fn add_netns(&mut self, name: &str) {
        must(Command::new("ip").args(["netns", "add", name]), "");
        self.made.push(name.to_owned());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Pods first: their veth pairs go with them, and the bridge's ports with those.
        for name in self.made.iter().rev() {
            if let Err(e) = output(Command::new("ip").args(["netns", "delete", name]), "") {
                eprintln!("testkit: could not remove the network namespace {name}: {e}");
            }
        }
    }
}

/// Nobody listens there yet: the refusal is the sign that packets come through.
fn refuses(address: IpAddr) -> Result<(), String> {
    let address = SocketAddr::new(address, CLOSED_PORT);
    match TcpStream::connect_timeout(&address, LINK_DEADLINE) {
        Err(e) if e.kind() != io::ErrorKind::ConnectionRefused => Err(format!("{address}: {e}")),
        _ => Ok(()),
    }
}

fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

fn v6(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(last))
}

#[track_caller]
fn ip_batch(netns: &str, lines: &str) {
    must(Command::new("ip").args(["-netns", netns, "-batch", "-"]), lines);
}
