//! What the kernel programs, the daemon and a waypoint agree on.

use std::net::{IpAddr, SocketAddr};

/// Where a waypoint listens for connections that begin with a header.
pub const PORT: u16 = 15_019;
/// The header of an IPv4 destination, in bytes.
pub const HEADER_V4_BYTES: usize = 16;
/// The header of an IPv6 destination, in bytes.
pub const HEADER_V6_BYTES: usize = 28;
/// Type of the value that is the destination.
pub const HEADER_TYPE_ADDRESS: u8 = 0x01;
/// Type that ends the header.
pub const HEADER_TYPE_END: u8 = 0xfe;

/// The bytes before the first of a connection by a waypoint: type, length and value of what the
/// application dialled, then the end. The same as `bpf/include/kmesh/waypoint.h` makes.
pub fn header(dialled: SocketAddr) -> Vec<u8> {
    let mut value = match dialled.ip().to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    value.extend(dialled.port().to_be_bytes());
    let length = value.len() as u32;
    let mut header = vec![HEADER_TYPE_ADDRESS];
    header.extend(length.to_be_bytes());
    header.extend(value);
    header.push(HEADER_TYPE_END);
    header.extend(0_u32.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_ipv4_has_16_bytes_and_that_of_ipv6_28() {
        let v4: SocketAddr = "10.96.0.7:80".parse().expect("an address");
        let bytes = [1, 0, 0, 0, 6, 10, 96, 0, 7, 0, 80, 0xfe, 0, 0, 0, 0];
        assert_eq!(header(v4), bytes);
        assert_eq!(header(v4).len(), HEADER_V4_BYTES);
        let v6: SocketAddr = "[fd00:96::7]:8080".parse().expect("an address");
        let mut bytes = vec![1, 0, 0, 0, 18, 0xfd, 0, 0, 0x96];
        bytes.extend([0; 11]);
        bytes.extend([7, 0x1f, 0x90, 0xfe, 0, 0, 0, 0]);
        assert_eq!(header(v6), bytes);
        assert_eq!(header(v6).len(), HEADER_V6_BYTES);
    }

    #[test]
    fn a_v4_mapped_destination_is_an_ipv4_destination() {
        let mapped: SocketAddr = "[::ffff:10.96.0.7]:80".parse().expect("an address");
        let plain: SocketAddr = "10.96.0.7:80".parse().expect("an address");
        assert_eq!(header(mapped), header(plain));
    }
}
