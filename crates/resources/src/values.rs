//! The values of single fields: text or number in, a value of the model or a sentence out.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{AddressBlock, Locality, Protocol};

/// The longest DNS name.
const NAME_CHARS_MAX: usize = 253;

/// A port number that traffic can go to.
pub(crate) fn port(number: impl Into<i64>) -> Result<u16, String> {
    let number = number.into();
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("{number} is not a port number (1 to 65535)"))
}

/// A transport protocol of the Kubernetes API; none for SCTP, which the mesh does not carry.
pub(crate) fn transport(text: Option<&str>) -> Result<Option<Protocol>, String> {
    match text.unwrap_or("TCP") {
        "TCP" => Ok(Some(Protocol::Tcp)),
        "UDP" => Ok(Some(Protocol::Udp)),
        "SCTP" => Ok(None),
        other => Err(format!("{other:?} is not one of TCP, UDP, SCTP")),
    }
}

/// One of the protocols that the Istio API knows (`Port.protocol`), in lower case.
pub(crate) fn istio_protocol(text: &str) -> Option<&'static str> {
    const NAMES: [&str; 12] = [
        "http", "https", "grpc", "grpc-web", "http2", "mongo", "redis", "mysql", "tcp", "tls",
        "udp", "hbone",
    ];
    NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(text))
}

/// The protocol that Istio reads from a port's name (`<protocol>[-<suffix>]`); empty when none.
pub(crate) fn protocol_of_port_name(name: &str) -> &'static str {
    if name.starts_with("grpc-web") {
        return "grpc-web";
    }
    let prefix = name.split_once('-').map_or(name, |(prefix, _)| prefix);
    istio_protocol(prefix).unwrap_or_default()
}

/// An address that traffic can go to; an IPv4 address written as IPv6 becomes IPv4.
pub(crate) fn address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| format!("{text:?} is not an IP address"))?;
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() {
        return Err(format!("{text:?} is not the address of one host"));
    }
    Ok(address)
}

/// An address where the Kubernetes API wants one that other hosts can reach: it refuses loopback and
/// link-local ones (`ValidateNonSpecialIP`).
pub(crate) fn address_of_others(text: &str) -> Result<IpAddr, String> {
    let address = address(text)?;
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if address.is_loopback() {
        return Err(format!(
            "{text:?} is a loopback address, which Kubernetes does not allow here"
        ));
    }
    if is_link_local {
        let what = "is a link-local address, which Kubernetes does not allow here";
        return Err(format!("{text:?} {what}"));
    }
    Ok(address)
}

/// A block of addresses in CIDR form, and whether the text has bits set that do not count. An IPv4
/// block written as IPv6 becomes IPv4.
pub(crate) fn block(net: IpNet) -> Result<(AddressBlock, bool), String> {
    let (address, bits) = canonical(net);
    let whole = IpNet::new(address, bits).map_err(|error| format!("{net}: {error}"))?;
    let first = whole.network();
    if first.is_multicast() {
        return Err(format!("{net}: these are not the addresses of hosts"));
    }
    Ok((AddressBlock { address: first, prefix_bits: bits }, first != address))
}

/// An address or a block of addresses, of which the bits that do not count may be set. An IPv4 block
/// written as IPv6 becomes IPv4.
pub(crate) fn any_block(text: &str) -> Result<AddressBlock, String> {
    let wrong = || format!("{text:?} is not an IP address or a CIDR block");
    let net = match text.contains('/') {
        true => text.parse::<IpNet>().map_err(|_| wrong())?,
        false => text.parse::<IpAddr>().map_err(|_| wrong())?.into(),
    };
    let (address, prefix_bits) = canonical(net);
    let whole = IpNet::new(address, prefix_bits).map_err(|_| wrong())?;
    Ok(AddressBlock { address: whole.network(), prefix_bits })
}

/// Address and bits of a block; IPv4 written as IPv6 is IPv4.
fn canonical(net: IpNet) -> (IpAddr, u8) {
    const MAPPED_BITS: u8 = 96;
    match (net.addr(), net.addr().to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(inner)) if net.prefix_len() >= MAPPED_BITS => {
            (IpAddr::V4(inner), net.prefix_len() - MAPPED_BITS)
        }
        (address, _) => (address, net.prefix_len()),
    }
}

/// Does the text, which is not an IP address, look like the name of a host?
pub(crate) fn is_host_name(text: &str) -> bool {
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    is_dns_name(text) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// A DNS name, by the characters that one may contain.
pub(crate) fn is_dns_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= NAME_CHARS_MAX
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// A host of the Istio API: a DNS name, or `*.` and a DNS name.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if !is_dns_name(name) {
        return Err(format!("{text:?} is not a host name"));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("{text:?} is an address where a host name belongs"));
    }
    Ok(text.trim_end_matches('.').to_ascii_lowercase())
}

/// The name of an object.
pub(crate) fn object_name(text: &str) -> Result<(), String> {
    let is_lower = text.bytes().all(|byte| !byte.is_ascii_uppercase());
    if is_dns_name(text) && is_lower && !text.contains('_') && !text.ends_with('.') {
        Ok(())
    } else {
        Err(format!("{text:?} is not a name (lower case letters, digits, '-' and '.')"))
    }
}

/// A place: `region[/zone[/subzone]]`.
pub(crate) fn locality(text: &str) -> Result<Locality, String> {
    let is_well_formed = text.split('/').count() <= 3
        && text.split('/').all(|part| !part.is_empty() && !part.contains('*'));
    if is_well_formed {
        Ok(Locality::parse(text))
    } else {
        Err(format!("{text:?} is not a locality (region/zone/subzone)"))
    }
}

/// A set of places: `*`, or a place whose last part may be `*`. An empty part of the result matches
/// all.
pub(crate) fn locality_pattern(text: &str) -> Result<Locality, String> {
    let place = match text {
        "*" => return Ok(Locality::default()),
        _ => text.strip_suffix("/*").unwrap_or(text),
    };
    match locality(place) {
        Ok(place) if text.split('/').count() <= 3 => Ok(place),
        _ => Err(format!("{text:?} is not a locality pattern (region/zone/*)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (number, is_good) in [(1, true), (65535, true), (0, false), (65536, false), (-1, false)]
        {
            assert_eq!(port(number).is_ok(), is_good, "{number}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(address("::ffff:10.0.0.1").unwrap().to_string(), "10.0.0.1");
        assert!(address("127.0.0.1").is_ok());
        for bad in ["", "10.0.0", "10.0.0.256", "010.0.0.1", "0.0.0.0", "::", "224.0.0.1", "web"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn blocks() {
        for (text, expected, has_host_bits) in [
            ("10.0.0.0/8", "10.0.0.0/8", false),
            ("10.1.2.3/8", "10.0.0.0/8", true),
            ("0.0.0.0/0", "0.0.0.0/0", false),
            ("fd00::1/64", "fd00::/64", true),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", false),
            ("::/0", "::/0", false),
        ] {
            let (found, masked) = block(text.parse().unwrap()).unwrap();
            assert_eq!((found.to_string().as_str(), masked), (expected, has_host_bits), "{text}");
        }
        for bad in ["224.0.0.0/4", "ff00::/8"] {
            assert!(block(bad.parse().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts() {
        for good in ["web", "web.shop.svc.cluster.local", "*.example.com", "a_b.example.com"] {
            assert!(host(good).is_ok(), "{good}");
        }
        for bad in ["", "*", "*.", "a..b", "a b", "*a.com", "10.0.0.1", "fd00::1", "-a.com"] {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert_eq!(host("API.Example.COM.").unwrap(), "api.example.com");
        assert!(is_host_name("db.example.com"));
        assert!(!is_host_name("10.0.0.256"));
        assert!(!is_host_name("fd00::g"));
    }

    #[test]
    fn localities() {
        assert_eq!(locality("eu/a/1").unwrap(), Locality::parse("eu/a/1"));
        assert_eq!(locality("eu").unwrap(), Locality::parse("eu"));
        for bad in ["", "/a", "eu//1", "eu/", "a/b/c/d", "eu/*"] {
            assert!(locality(bad).is_err(), "{bad}");
        }
        assert_eq!(locality_pattern("*").unwrap(), Locality::default());
        assert_eq!(locality_pattern("eu/a/*").unwrap(), Locality::parse("eu/a"));
        for bad in ["", "eu/*/1", "a/b/c/*", "eu*", "**"] {
            assert!(locality_pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn protocols_in_port_names() {
        for (name, protocol) in [
            ("http", "http"),
            ("http2-api", "http2"),
            ("grpc-web-x", "grpc-web"),
            ("grpc-x", "grpc"),
            ("tcp-mysql", "tcp"),
            ("mysql", "mysql"),
            ("httpx", ""),
            ("", ""),
        ] {
            assert_eq!(protocol_of_port_name(name), protocol, "{name}");
        }
    }
}
