//! The link between two nodes, and what each knows about the other's pods.
//!
//! ```text
//!   node1: eth0 10.99.0.1, fd99::1  ------  node2: eth0 10.99.0.2, fd99::2
//!          cni0 10.244.1.1, fd44:0:0:1::1          cni0 10.244.2.1, fd44:0:0:2::1
//! ```
//!
//! What neither is nor is a pod's has no route: a service address that nobody translates fails at once.

use std::process::Command;

use testkit::must;

use crate::node::Node;

/// Addresses of pods, both families.
pub(crate) const POD_CIDR: &str = "10.244.0.0/16,fd44::/48";
/// Addresses of services, both families.
pub(crate) const SERVICE_CIDR: &str = "10.96.0.0/16,fd96::/112";

const SYSCTLS: [&str; 3] = [
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv6/conf/all/forwarding",
    "/proc/sys/net/ipv6/conf/default/forwarding",
];

/// Connects them.
#[track_caller]
pub(crate) fn connect(nodes: &[Node]) {
    let [one, two] = nodes else { panic!("the link is between two nodes") };
    let mut link = Command::new("ip");
    link.args(["link", "add", "eth0", "netns", &one.pid().to_string(), "type", "veth"]);
    link.args(["peer", "name", "eth0", "netns", &two.pid().to_string()]);
    must(&mut link, "");
    for (node, other) in [(one, two), (two, one)] {
        must(node.command("ip").args(["-batch", "-"]), &addresses(node, other));
        node.run(|| {
            for path in SYSCTLS {
                std::fs::write(path, "1").unwrap_or_else(|e| panic!("write {path}: {e}"));
            }
        });
    }
}

fn addresses(node: &Node, other: &Node) -> String {
    let (v4, v6) = (node.v4, node.v6);
    // With a hardware address of its own: a bridge without one takes the lowest of its ports, and pods that
    // know the old one lose the node for ten seconds whenever a pod comes or goes.
    let (via4, via6, index) = (other.v4, other.v6, other.index);
    format!(
        "link set lo up\nlink set eth0 up\n\
         link add cni0 address 0a:58:0a:f4:{index:02x}:01 type bridge forward_delay 0\nlink set cni0 up\n\
         address add {v4}/24 dev eth0\naddress add {v6}/64 dev eth0 nodad\n\
         route add 10.244.{index}.0/24 via {via4}\nroute add fd44:0:0:{index}::/64 via {via6}\n\
         route add unreachable 0.0.0.0/0\nroute add unreachable ::/0\n"
    )
}
