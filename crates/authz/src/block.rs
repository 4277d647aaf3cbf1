//! Blocks of addresses in the form of the kernel's trie: 128 bits, IPv4 in its v4-mapped form. A block
//! of IPv6 contains no IPv4 address, however large it is.

use std::net::{IpAddr, Ipv6Addr};

use abi::IpAddress;
use model::AddressBlock;

const ADDRESS_BITS: u32 = 128;
/// Bits that v4-mapping puts before an IPv4 address.
const MAPPED_BITS: u32 = 96;
const MAPPED_PREFIX: u128 = 0xffff << 32;

/// A block. The order is that of the addresses, a larger block before what it contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Block {
    first: u128,
    bits: u32,
}

// === impl Block ===

impl Block {
    /// All of IPv4.
    pub(crate) const V4: Self = Self { first: MAPPED_PREFIX, bits: MAPPED_BITS };

    /// One address.
    pub(crate) fn single(address: IpAddr) -> Self {
        Self::new(address, ADDRESS_BITS)
    }

    fn new(address: IpAddr, bits: u32) -> Self {
        let whole = u128::from_be_bytes(IpAddress::from(address).word);
        let first = if bits == 0 { 0 } else { whole & (u128::MAX << (ADDRESS_BITS - bits)) };
        Self { first, bits }
    }

    /// Is this a block of IPv4 addresses?
    pub(crate) fn is_v4(self) -> bool {
        self.bits >= MAPPED_BITS && self.first >> 32 == MAPPED_PREFIX >> 32
    }

    /// Is `other` a part of it, or the same?
    pub(crate) fn contains(self, other: Self) -> bool {
        self.surrounds(other) && self.is_v4() == other.is_v4()
    }

    /// The same for the trie, which knows no families.
    pub(crate) fn surrounds(self, other: Self) -> bool {
        let common = (self.first ^ other.first).leading_zeros();
        self.bits <= other.bits && common >= self.bits
    }

    pub(crate) fn bits(self) -> u32 {
        self.bits
    }

    pub(crate) fn address(self) -> IpAddress {
        IpAddress { word: self.first.to_be_bytes() }
    }
}

impl From<&AddressBlock> for Block {
    fn from(block: &AddressBlock) -> Self {
        let mapped = if block.address.is_ipv4() { MAPPED_BITS } else { 0 };
        Self::new(block.address, u32::from(block.prefix_bits) + mapped)
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv6Addr::from_bits(self.first), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block {
        let (address, bits) = text.split_once('/').expect("a block");
        let address = address.parse().expect("an address");
        Block::from(&AddressBlock { address, prefix_bits: bits.parse().expect("bits") })
    }

    #[test]
    fn a_block_contains_its_parts_of_its_own_family() {
        for (whole, part, expected) in [
            ("10.0.0.0/8", "10.1.2.3/32", true),
            ("10.1.2.3/8", "10.200.0.0/16", true),
            ("10.0.0.0/8", "11.0.0.0/32", false),
            ("10.0.0.0/8", "0.0.0.0/0", false),
            ("0.0.0.0/0", "203.0.113.7/32", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3/32", true),
            ("::/0", "fd00::1/128", true),
            ("::/0", "10.1.2.3/32", false),
            ("::/0", "0.0.0.0/0", false),
            ("0.0.0.0/0", "fd00::1/128", false),
            ("fd00::/64", "fd00::1:2:3:4/128", true),
            ("fd00::/64", "fd00:0:0:1::/128", false),
        ] {
            assert_eq!(block(whole).contains(block(part)), expected, "{whole} {part}");
        }
    }

    #[test]
    fn the_trie_would_find_ipv4_in_the_whole_of_ipv6() {
        assert!(block("::/0").surrounds(Block::V4));
        assert!(block("::/80").surrounds(Block::V4));
        assert!(!block("fd00::/8").surrounds(Block::V4));
        assert_eq!(block("0.0.0.0/0"), Block::V4);
    }
}
