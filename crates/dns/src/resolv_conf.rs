//! The name servers of a `resolv.conf`.

use std::net::{IpAddr, SocketAddr};

const DNS_PORT: u16 = 53;
/// As many as the C library asks (`MAXNS`).
const NAMESERVERS_MAX: usize = 3;

/// The name servers that a `resolv.conf` names, in its order: the first three, as the C library
/// does. Lines that name none, or one with a zone (`fe80::1%eth0`), are passed over.
pub fn nameservers(resolv_conf: &str) -> Vec<SocketAddr> {
    resolv_conf.lines().filter_map(nameserver).take(NAMESERVERS_MAX).collect()
}

fn nameserver(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_ascii_whitespace();
    if words.next()? != "nameserver" {
        return None;
    }
    let address: IpAddr = words.next()?.parse().ok()?;
    Some(SocketAddr::new(address, DNS_PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_name_servers_count() {
        let text = "# nameserver 9.9.9.9\nsearch a.b\nnameserver 10.96.0.10\noptions ndots:5\n\
                    nameserver fe80::1%eth0\nnameserver\tfd00::a  # comment\nnameservers 1.1.1.1\n\
                    nameserver x\n nameserver 1.1.1.1\nnameserver 8.8.8.8\n";
        let expected: Vec<SocketAddr> = ["10.96.0.10:53", "[fd00::a]:53", "1.1.1.1:53"]
            .map(|text| text.parse().expect("an address"))
            .to_vec();
        assert_eq!(nameservers(text), expected);
        assert_eq!(nameservers(""), []);
    }
}
