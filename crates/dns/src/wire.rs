//! Messages as bytes: enough of RFC 1035 to answer a query or pass it on without changing it.
//!
//! Whole messages are not decoded: record types that nobody here knows must pass through as they
//! are. Only names and questions are read by the DNS library.

use hickory_proto::op::Query;
use hickory_proto::rr::{DNSClass, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// RFC 1035 section 4.1.1.
pub(crate) const HEADER_BYTES: usize = 12;
/// RFC 1035 section 4.2.1: what a client without EDNS takes over UDP.
pub(crate) const UDP_BYTES_WITHOUT_EDNS: usize = 512;
/// No answer over UDP is larger, whatever the client says.
const UDP_BYTES_MAX: usize = 4096;
/// A query larger than this is refused; real ones have some hundred bytes at most.
pub(crate) const QUERY_BYTES_MAX: usize = 4096;
/// What this server says that it takes over UDP.
const OWN_UDP_BYTES: u16 = 1232;

const FLAG_RESPONSE: u8 = 0x80;
const OPCODE_MASK: u8 = 0x78;
pub(crate) const FLAG_AUTHORITATIVE: u8 = 0x04;
pub(crate) const FLAG_TRUNCATED: u8 = 0x02;
const FLAG_RECURSION_DESIRED: u8 = 0x01;
pub(crate) const FLAG_RECURSION_AVAILABLE: u8 = 0x80;
const FLAG_CHECKING_DISABLED: u8 = 0x10;
const RCODE_MASK: u8 = 0x0f;
const DNSSEC_OK: u16 = 0x8000;

/// EDNS options that do not change what the answer says: a cookie (RFC 7873) and padding (7830).
const NEUTRAL_OPTIONS: [u16; 2] = [10, 12];

/// Response codes that this server makes itself. `BadVersion` needs EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    BadVersion = 16,
}

/// How a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// A query that can be answered or passed on.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) wire: Vec<u8>,
    pub(crate) question: Query,
    /// Where the question ends in `wire`.
    pub(crate) question_end: usize,
    pub(crate) edns: Option<Edns>,
    /// Nothing in it makes its answer differ from that of another client.
    pub(crate) common: bool,
}

/// What the OPT record of a query says (RFC 6891 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edns {
    pub(crate) udp_bytes: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    /// It has an option that may change the answer.
    pub(crate) particular: bool,
}

/// Why something that came in is no [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// No query at all: an answer could start a loop.
    Silently,
    /// With this answer.
    With(Vec<u8>),
}

/// One record as it lies in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordAt {
    pub(crate) section: Section,
    pub(crate) start: usize,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) ttl_at: usize,
    pub(crate) data_at: usize,
    pub(crate) end: usize,
}

/// Sections with records, RFC 1035 section 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

// === impl Request ===

impl Request {
    /// Reads a query.
    pub(crate) fn parse(wire: &[u8]) -> Result<Self, Rejected> {
        if wire.len() < HEADER_BYTES || wire[2] & FLAG_RESPONSE != 0 {
            return Err(Rejected::Silently);
        }
        if wire[2] & OPCODE_MASK != 0 {
            return Err(Rejected::With(bare_reply(wire, Rcode::NotImp)));
        }
        Self::parse_query(wire).ok_or_else(|| Rejected::With(bare_reply(wire, Rcode::FormErr)))
    }

    fn parse_query(wire: &[u8]) -> Option<Self> {
        if wire.len() > QUERY_BYTES_MAX {
            return None;
        }
        let (question, question_end) = question(wire)?;
        let mut edns = None;
        let mut common = true;
        for record in records(wire, question_end)? {
            if record.kind != u16::from(RecordType::OPT) {
                // Such as a signature.
                common = false;
                continue;
            }
            let misplaced = record.section != Section::Additional || wire[record.start] != 0;
            if misplaced || edns.is_some() {
                return None;
            }
            let parsed = Edns::parse(wire, &record)?;
            common &= !parsed.particular;
            edns = Some(parsed);
        }
        Some(Self { wire: wire.to_vec(), question, question_end, edns, common })
    }

    /// Only RFC 1035's internet class is looked up in the table.
    pub(crate) fn is_internet_class(&self) -> bool {
        self.question.query_class == DNSClass::IN
    }

    /// The question's bytes, in the case that the client wrote.
    pub(crate) fn question_bytes(&self) -> &[u8] {
        &self.wire[HEADER_BYTES..self.question_end]
    }

    pub(crate) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// The header flags that the answer depends on.
    pub(crate) fn asked_flags(&self) -> u8 {
        (self.wire[2] & FLAG_RECURSION_DESIRED) | (self.wire[3] & FLAG_CHECKING_DISABLED)
    }

    /// The largest answer that the client takes.
    pub(crate) fn answer_bytes_max(&self, transport: Transport) -> usize {
        match transport {
            Transport::Tcp => usize::from(u16::MAX),
            Transport::Udp => self
                .edns
                .map_or(0, |edns| usize::from(edns.udp_bytes))
                .clamp(UDP_BYTES_WITHOUT_EDNS, UDP_BYTES_MAX),
        }
    }

    /// The name asked for, in lower case, its labels joined by dots; nothing for the root and for
    /// names with bytes that no host name has.
    pub(crate) fn host(&self) -> Option<String> {
        let mut host = String::new();
        for label in self.question.name.iter() {
            if !label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.') {
                return None;
            }
            if !host.is_empty() {
                host.push('.');
            }
            host.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        }
        (!host.is_empty()).then_some(host)
    }

    /// The start of an answer: header and question. The counts of records are zero.
    pub(crate) fn reply_head(&self, rcode: Rcode) -> Vec<u8> {
        let mut reply = bare_reply(&self.wire, rcode);
        reply[5] = 1;
        reply.extend_from_slice(self.question_bytes());
        reply
    }

    /// Appends the OPT record that an answer has if the query had one (RFC 6891 section 6.1.1).
    pub(crate) fn append_edns(&self, reply: &mut Vec<u8>, rcode: Rcode) {
        let Some(edns) = self.edns else { return };
        let flags: u16 = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
        reply.push(0);
        reply.extend(u16::from(RecordType::OPT).to_be_bytes());
        reply.extend(OWN_UDP_BYTES.to_be_bytes());
        reply.extend([(rcode as u8) >> 4, 0]);
        reply.extend(flags.to_be_bytes());
        reply.extend([0, 0]);
        let additional = u16_at(reply, 10).unwrap_or(0).saturating_add(1);
        reply[10..12].copy_from_slice(&additional.to_be_bytes());
    }

    /// An answer without records.
    pub(crate) fn empty_reply(&self, rcode: Rcode) -> Vec<u8> {
        let mut reply = self.reply_head(rcode);
        self.append_edns(&mut reply, rcode);
        reply
    }

    /// `reply` if the client takes so much, or else one that says to come again by TCP.
    pub(crate) fn fit(&self, reply: Vec<u8>, transport: Transport) -> Vec<u8> {
        if reply.len() <= self.answer_bytes_max(transport) {
            return reply;
        }
        let mut short = self.reply_head(Rcode::NoError);
        short[2] = reply[2] | FLAG_TRUNCATED;
        short[3] = reply[3];
        self.append_edns(&mut short, Rcode::NoError);
        short
    }

    /// True when `reply` answers this query sent with `id`: RFC 5452 section 4.2, and 4.3 by the
    /// connected socket. Some servers leave the question out of an error.
    pub(crate) fn is_answered_by(&self, reply: &[u8], id: [u8; 2]) -> bool {
        if reply.len() < HEADER_BYTES || reply[..2] != id {
            return false;
        }
        if reply[2] & FLAG_RESPONSE == 0 || reply[2] & OPCODE_MASK != 0 {
            return false;
        }
        if reply[4..6] == [0, 0] {
            let error = rcode(reply);
            return error != Rcode::NoError as u8 && error != Rcode::NxDomain as u8;
        }
        reply[4..6] == [0, 1]
            && reply
                .get(HEADER_BYTES..self.question_end)
                .is_some_and(|question| question.eq_ignore_ascii_case(self.question_bytes()))
    }

    /// Gives a reply of [`Self::is_answered_by`] the client's own id and writing of the name.
    pub(crate) fn adopt(&self, reply: &mut [u8]) {
        reply[..2].copy_from_slice(&self.wire[..2]);
        if reply[4..6] == [0, 1] {
            reply[HEADER_BYTES..self.question_end].copy_from_slice(self.question_bytes());
        }
    }
}

// === impl Edns ===

impl Edns {
    fn parse(wire: &[u8], record: &RecordAt) -> Option<Self> {
        let mut particular = false;
        let mut at = record.data_at;
        while at < record.end {
            let (code, length) = (u16_at(wire, at)?, u16_at(wire, at + 2)?);
            particular |= !NEUTRAL_OPTIONS.contains(&code);
            at += 4 + usize::from(length);
        }
        (at == record.end).then_some(())?;
        Some(Self {
            udp_bytes: record.class,
            version: wire[record.ttl_at + 1],
            dnssec_ok: u16_at(wire, record.ttl_at + 2)? & DNSSEC_OK != 0,
            particular,
        })
    }
}

/// An answer of a header alone, to something that need not be readable beyond its own header.
fn bare_reply(wire: &[u8], rcode: Rcode) -> Vec<u8> {
    let kept = wire[2] & (OPCODE_MASK | FLAG_RECURSION_DESIRED);
    let low = (rcode as u8 & RCODE_MASK) | (wire[3] & FLAG_CHECKING_DISABLED);
    let mut reply = vec![wire[0], wire[1], FLAG_RESPONSE | kept, FLAG_RECURSION_AVAILABLE | low];
    reply.resize(HEADER_BYTES, 0);
    reply
}

/// The lower bits of a message's response code.
pub(crate) fn rcode(message: &[u8]) -> u8 {
    message[3] & RCODE_MASK
}

/// The one question of a message (RFC 9619) and where it ends.
fn question(wire: &[u8]) -> Option<(Query, usize)> {
    if u16_at(wire, 4)? != 1 {
        return None;
    }
    let mut decoder = BinDecoder::new(wire);
    decoder.read_slice(HEADER_BYTES).ok()?;
    let question = Query::read(&mut decoder).ok()?;
    // A pointer could only lead into the header.
    let labels: usize = question.name.iter().map(|label| label.len() + 1).sum();
    (decoder.index() == HEADER_BYTES + labels + 1 + 4).then_some((question, decoder.index()))
}

/// All records after the question, which ends at `at`; nothing when they do not fit the message.
pub(crate) fn records(wire: &[u8], mut at: usize) -> Option<Vec<RecordAt>> {
    let sections = [(Section::Answer, 6), (Section::Authority, 8), (Section::Additional, 10)];
    let mut found = Vec::new();
    for (section, count_at) in sections {
        for _ in 0..u16_at(wire, count_at)? {
            let name_end = skip_name(wire, at)?;
            let data_at = name_end + 10;
            let end = data_at + usize::from(u16_at(wire, name_end + 8)?);
            if end > wire.len() {
                return None;
            }
            found.push(RecordAt {
                section,
                start: at,
                kind: u16_at(wire, name_end)?,
                class: u16_at(wire, name_end + 2)?,
                ttl_at: name_end + 4,
                data_at,
                end,
            });
            at = end;
        }
    }
    Some(found)
}

/// Where the name at `at` ends. A pointer ends it (RFC 1035 section 4.1.4) and is not followed.
fn skip_name(wire: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *wire.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

pub(crate) fn u16_at(wire: &[u8], at: usize) -> Option<u16> {
    let bytes = wire.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

pub(crate) fn u32_at(wire: &[u8], at: usize) -> Option<u32> {
    let bytes = wire.get(at..at + 4)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
