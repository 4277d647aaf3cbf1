//! The same service by kernel NAT: the rules that kube-proxy's nftables mode writes for one service
//! with one endpoint, in the client's own network namespace.

use std::net::SocketAddr;
use std::process::Stdio;

use testkit::Pod;

/// Seconds; otherwise entries of earlier rounds fill the table and slow the later ones down.
const TIME_WAIT: &str = "2";

/// Installs the rules in the pod.
pub fn install(pod: &Pod, vip: &str, port: u16, endpoint: SocketAddr) {
    let mut command = pod.command("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("start nft: {e}"));
    let text = rules(vip, port, endpoint);
    let written =
        child.stdin.take().map(|mut pipe| std::io::Write::write_all(&mut pipe, text.as_bytes()));
    let status = child.wait().unwrap_or_else(|e| panic!("wait for nft: {e}"));
    assert!(status.success(), "nft: {status}, {written:?}, in\n{text}");
    // There once the rules have brought connection tracking up.
    pod.sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait", TIME_WAIT);
}

fn rules(vip: &str, port: u16, endpoint: SocketAddr) -> String {
    let address = endpoint.ip();
    format!(
        "table ip kube-proxy {{
  map service-ips {{
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = {{ {vip} . tcp . {port} : goto service-web }}
  }}
  map no-endpoint-services {{
    type ipv4_addr . inet_proto . inet_service : verdict
  }}
  set cluster-ips {{
    type ipv4_addr
    elements = {{ {vip} }}
  }}
  chain filter-output {{
    type filter hook output priority -110; policy accept;
    ct state new jump service-endpoints-check
  }}
  chain nat-output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority 100; policy accept;
    jump masquerading
  }}
  chain service-endpoints-check {{
    ip daddr . meta l4proto . th dport vmap @no-endpoint-services
  }}
  chain services {{
    ip daddr . meta l4proto . th dport vmap @service-ips
  }}
  chain mark-for-masquerade {{
    meta mark set meta mark | 0x4000
  }}
  chain masquerading {{
    meta mark & 0x4000 == 0x0 return
    meta mark set meta mark ^ 0x4000
    masquerade fully-random
  }}
  chain service-web {{
    ip daddr {vip} tcp dport {port} ip saddr != 10.77.0.0/24 jump mark-for-masquerade
    numgen random mod 1 vmap {{ 0 : goto endpoint-web }}
  }}
  chain endpoint-web {{
    ip saddr {address} jump mark-for-masquerade
    meta l4proto tcp dnat to {endpoint}
  }}
}}
"
    )
}
