//! What upstream resolvers said, for as long as they said that it holds.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use tokio::time::Instant;

use crate::wire::{
    FLAG_AUTHORITATIVE, FLAG_TRUNCATED, Rcode, RecordAt, Request, Section, rcode, records, u16_at,
    u32_at,
};

/// Answers kept; beyond it those that end soonest go first.
pub(crate) const ANSWERS_MAX: usize = 4096;
/// A larger answer is not kept.
const ANSWER_BYTES_MAX: usize = 4096;
/// RFC 8767 section 4 advises to cap what resolvers believe; a node sees changes within this time.
const POSITIVE_TTL_MAX_SECONDS: u32 = 3600;
/// RFC 2308 section 5 advises one to three hours at most; a name that appears is seen sooner here.
const NEGATIVE_TTL_MAX_SECONDS: u32 = 300;

/// Answers by question and by whom it was put to.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    answers: HashMap<Arc<Key>, Entry>,
    /// By their end. The number tells those that end together apart.
    ends: BTreeMap<(Instant, u64), Arc<Key>>,
    next: u64,
}

/// The same key, the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Whose resolvers: 0, or the number of a server whose resolvers mean something else in each
    /// network namespace.
    pub(crate) scope: u64,
    pub(crate) upstreams: Arc<[SocketAddr]>,
    /// Name in lower case, type and class, as in a message.
    question: Vec<u8>,
    flags: u8,
    dnssec_ok: bool,
    edns: bool,
}

#[derive(Debug)]
struct Entry {
    /// Without OPT.
    message: Vec<u8>,
    /// Where its TTLs are.
    ttls_at: Vec<usize>,
    stored: Instant,
    end: (Instant, u64),
    negative: bool,
}

/// An answer that may be kept.
struct Storable {
    message: Vec<u8>,
    ttls_at: Vec<usize>,
    ttl_seconds: u32,
    negative: bool,
}

// === impl Cache ===

impl Cache {
    /// The answer to `request`, its TTLs shortened by its age.
    pub(crate) fn get(&self, key: &Key, request: &Request, now: Instant) -> Option<Vec<u8>> {
        let entry = self.answers.get(key)?;
        let left = entry.end.0.checked_duration_since(now)?;
        // Nothing is told to hold for no time at all: it would be asked for again at once.
        let left = u32::try_from(left.as_secs()).ok().filter(|left| *left > 0)?;
        let age = now.saturating_duration_since(entry.stored).as_secs();
        let age = u32::try_from(age).unwrap_or(u32::MAX);
        let mut message = entry.message.clone();
        for at in &entry.ttls_at {
            let mut ttl = u32_at(&message, *at)?.saturating_sub(age);
            if entry.negative {
                ttl = ttl.min(left);
            }
            message[*at..*at + 4].copy_from_slice(&ttl.to_be_bytes());
        }
        message[2] &= !FLAG_AUTHORITATIVE;
        request.adopt(&mut message);
        request.append_edns(&mut message, Rcode::NoError);
        Some(message)
    }

    /// Keeps an answer if it may be kept.
    pub(crate) fn put(&mut self, key: Key, request: &Request, reply: &[u8], now: Instant) {
        let Some(storable) = storable(request, reply) else { return };
        self.remove(&key);
        while self.answers.len() >= ANSWERS_MAX {
            let Some((_, key)) = self.ends.pop_first() else { break };
            self.answers.remove(&key);
        }
        let key = Arc::new(key);
        let end = (now + Duration::from_secs(storable.ttl_seconds.into()), self.next);
        self.next += 1;
        self.ends.insert(end, key.clone());
        let Storable { message, ttls_at, negative, .. } = storable;
        self.answers.insert(key, Entry { message, ttls_at, stored: now, end, negative });
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.answers.len(), self.ends.len());
        self.answers.len()
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.answers.remove(key) {
            self.ends.remove(&entry.end);
        }
    }
}

// === impl Key ===

impl Key {
    /// The key of a query; nothing when its answer may be for this client alone.
    pub(crate) fn of(request: &Request, scope: u64, upstreams: &Arc<[SocketAddr]>) -> Option<Self> {
        request.common.then(|| Self {
            scope,
            upstreams: upstreams.clone(),
            question: request.question_bytes().to_ascii_lowercase(),
            flags: request.asked_flags(),
            dnssec_ok: request.dnssec_ok(),
            edns: request.edns.is_some(),
        })
    }
}

fn storable(request: &Request, reply: &[u8]) -> Option<Storable> {
    let code = rcode(reply);
    let lasting = code == Rcode::NoError as u8 || code == Rcode::NxDomain as u8;
    let whole = reply[2] & FLAG_TRUNCATED == 0 && reply[4..6] == [0, 1];
    if !lasting || !whole || reply.len() > ANSWER_BYTES_MAX {
        return None;
    }
    let mut found = records(reply, request.question_end)?;
    let mut message = reply[..found.last().map_or(request.question_end, |r| r.end)].to_vec();
    // OPT belongs to one exchange (RFC 6891 section 6.1.1). Behind it nothing may lie, since names
    // may point at where they are.
    let opt = u16::from(RecordType::OPT);
    if found.last().is_some_and(|record| record.kind == opt) {
        let record = found.pop()?;
        // Upper bits of the response code.
        (reply[record.ttl_at] == 0).then_some(())?;
        message.truncate(record.start);
        let additional = u16_at(&message, 10)?.checked_sub(1)?;
        message[10..12].copy_from_slice(&additional.to_be_bytes());
    }
    if found.iter().any(|record| record.kind == opt) {
        return None;
    }
    let (ttl_seconds, negative) = lifetime(request, reply, &found)?;
    (ttl_seconds > 0).then_some(())?;
    let ttls_at = found.iter().map(|record| record.ttl_at).collect();
    Some(Storable { message, ttls_at, ttl_seconds, negative })
}

/// How long an answer holds, and whether it says that there is nothing. A negative one without SOA
/// holds for no time (RFC 2308 section 5).
fn lifetime(request: &Request, reply: &[u8], found: &[RecordAt]) -> Option<(u32, bool)> {
    let asked = request.question.query_type;
    let positive = rcode(reply) == Rcode::NoError as u8
        && found.iter().any(|record| {
            record.section == Section::Answer
                && (asked == RecordType::ANY || record.kind == u16::from(asked))
        });
    let mut seconds = if positive { POSITIVE_TTL_MAX_SECONDS } else { NEGATIVE_TTL_MAX_SECONDS };
    for record in found {
        let ttl = u32_at(reply, record.ttl_at)?;
        // RFC 2181 section 8: the highest bit set means zero.
        seconds = seconds.min(if ttl > i32::MAX as u32 { 0 } else { ttl });
    }
    if !positive {
        let soa = u16::from(RecordType::SOA);
        let soa = found.iter().find(|r| r.section == Section::Authority && r.kind == soa)?;
        // MINIMUM is the last of its numbers.
        (soa.end >= soa.data_at + 22).then_some(())?;
        seconds = seconds.min(u32_at(reply, soa.end - 4)?);
    }
    Some((seconds, !positive))
}
