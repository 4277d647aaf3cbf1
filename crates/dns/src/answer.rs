//! Answers from the name table, written out. By hand, since the DNS library compresses only the
//! first hundred names of a message, and a large service would not fit.

use std::net::IpAddr;

use hickory_proto::rr::{Name, RecordType};

use crate::TABLE_TTL_SECONDS;
use crate::names::Found;
use crate::wire::{FLAG_AUTHORITATIVE, FLAG_TRUNCATED, HEADER_BYTES, Rcode, Request, Transport};

/// RFC 1035 section 4.1.4: a pointer to an earlier name.
const POINTER: u16 = 0xc000;
const CLASS_INTERNET: u16 = 1;
/// Bytes of an OPT record without options.
const OPT_BYTES: usize = 11;

/// True for types that the table answers. Any other passes on: it cannot lead past the mesh. But
/// HTTPS and SVCB (RFC 9460) may carry addresses, so that names of the mesh have none.
pub(crate) fn is_ours(kind: RecordType) -> bool {
    use RecordType::{A, AAAA, ANY, HTTPS, SVCB};
    matches!(kind, A | AAAA | ANY | HTTPS | SVCB)
}

/// The answer to a question for a name that the table knows. `turn` says which of several
/// addresses comes first.
pub(crate) fn from_table(
    request: &Request,
    found: &Found,
    turn: usize,
    transport: Transport,
) -> Vec<u8> {
    let mut message = Writer::new(request);
    let mut owner = HEADER_BYTES as u16;
    if let Some(target) = &found.alias_of
        && let Some(name) = encode(target)
    {
        let at = message.record(owner, RecordType::CNAME, &name);
        owner = at as u16;
        message.answers += 1;
    }
    let kind = request.question.query_type;
    let mut addresses: Vec<IpAddr> = found
        .addresses
        .iter()
        .copied()
        .filter(|address| match kind {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            RecordType::ANY => true,
            _ => false,
        })
        .collect();
    if addresses.is_empty() {
        message.soa(owner);
        return message.finish(request);
    }
    let count = addresses.len();
    addresses.rotate_left(turn % count);
    let space =
        request.answer_bytes_max(transport) - if request.edns.is_some() { OPT_BYTES } else { 0 };
    for address in addresses {
        let before = message.bytes.len();
        message.address(owner, address);
        if message.bytes.len() > space {
            // Some resolvers do not come back by TCP: they have at least what fits.
            message.bytes.truncate(before);
            message.bytes[2] |= FLAG_TRUNCATED;
            break;
        }
        message.answers += 1;
    }
    message.finish(request)
}

/// A message being written.
struct Writer {
    bytes: Vec<u8>,
    answers: u16,
    authorities: u16,
}

// === impl Writer ===

impl Writer {
    fn new(request: &Request) -> Self {
        let mut bytes = request.reply_head(Rcode::NoError);
        bytes[2] |= FLAG_AUTHORITATIVE;
        Self { bytes, answers: 0, authorities: 0 }
    }

    /// Appends a record whose owner is the name at `owner`; returns where its data begins.
    fn record(&mut self, owner: u16, kind: RecordType, data: &[u8]) -> usize {
        self.bytes.extend((POINTER | owner).to_be_bytes());
        self.bytes.extend(u16::from(kind).to_be_bytes());
        self.bytes.extend(CLASS_INTERNET.to_be_bytes());
        self.bytes.extend(TABLE_TTL_SECONDS.to_be_bytes());
        self.bytes.extend((data.len() as u16).to_be_bytes());
        let at = self.bytes.len();
        self.bytes.extend_from_slice(data);
        at
    }

    fn address(&mut self, owner: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.record(owner, RecordType::A, &address.octets()),
            IpAddr::V6(address) => self.record(owner, RecordType::AAAA, &address.octets()),
        };
    }

    /// What lets a resolver remember that there is nothing (RFC 2308 section 3). The name is
    /// taken for a zone of its own, without servers: above it the mesh knows nothing.
    fn soa(&mut self, owner: u16) {
        let (root, serial, refresh, retry, expire) = (0u8, 1u32, 7200u32, 1800u32, 86400u32);
        let mut data = vec![root, root];
        for number in [serial, refresh, retry, expire, TABLE_TTL_SECONDS] {
            data.extend(number.to_be_bytes());
        }
        self.record(owner, RecordType::SOA, &data);
        self.authorities += 1;
    }

    fn finish(mut self, request: &Request) -> Vec<u8> {
        self.bytes[6..8].copy_from_slice(&self.answers.to_be_bytes());
        self.bytes[8..10].copy_from_slice(&self.authorities.to_be_bytes());
        request.append_edns(&mut self.bytes, Rcode::NoError);
        self.bytes
    }
}

/// A name as RFC 1035 section 3.1 writes it; nothing when it is none.
pub(crate) fn encode(name: &str) -> Option<Vec<u8>> {
    let name = Name::from_ascii(name).ok()?;
    let mut bytes = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        bytes.push(u8::try_from(label.len()).ok()?);
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    Some(bytes)
}
