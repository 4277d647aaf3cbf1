//! Passing queries on: which resolver is asked, over what, and what counts as its answer.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::sockets::{SocketFactory, SocketPool};
use crate::wire::{FLAG_TRUNCATED, Rcode, Request, Transport, rcode};

/// How long one resolver may take for one attempt.
pub(crate) const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a resolver that did not answer comes after the others.
const PENALTY_PERIOD: Duration = Duration::from_secs(10);
/// Resolvers asked for one query: as many as the C library asks.
const UPSTREAMS_MAX: usize = 3;
/// Room for an answer over UDP, if the query asks for no more.
const UDP_ANSWER_BYTES: usize = 4096;

/// No resolver answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("there is no resolver to ask")]
    NoUpstreams,
    #[error("no resolver answered; the last, {upstream}: {source}")]
    NoAnswer { upstream: SocketAddr, source: io::Error },
}

/// Resolvers, in order of preference, and what is remembered of them.
pub(crate) struct Forwarder {
    upstreams: Arc<[SocketAddr]>,
    health: Mutex<Health>,
    pool: SocketPool,
}

/// Until when each resolver is only asked after the others.
#[derive(Debug)]
struct Health(Vec<Option<Instant>>);

// === impl Forwarder ===

impl Forwarder {
    pub(crate) fn new(upstreams: &[SocketAddr], factory: Arc<dyn SocketFactory>) -> Self {
        let upstreams: Arc<[SocketAddr]> = upstreams.iter().copied().take(UPSTREAMS_MAX).collect();
        Self {
            health: Mutex::new(Health(vec![None; upstreams.len()])),
            upstreams,
            pool: SocketPool::new(factory),
        }
    }

    pub(crate) fn upstreams(&self) -> &Arc<[SocketAddr]> {
        &self.upstreams
    }

    /// The answer of the first resolver that has one, with the client's id. A failure that a
    /// resolver reports counts only when no other does better.
    pub(crate) async fn exchange(
        &self,
        request: &Request,
        transport: Transport,
    ) -> Result<Vec<u8>, ForwardError> {
        let mut failure = None;
        let mut error = ForwardError::NoUpstreams;
        let order = self.health().order(Instant::now());
        for index in order {
            let upstream = self.upstreams[index];
            match self.attempt(upstream, request, transport).await {
                Ok(reply) => {
                    self.health().0[index] = None;
                    if !is_failure(&reply) {
                        return Ok(reply);
                    }
                    failure.get_or_insert(reply);
                }
                Err(source) => {
                    self.health().0[index] = Some(Instant::now() + PENALTY_PERIOD);
                    error = ForwardError::NoAnswer { upstream, source };
                }
            }
        }
        failure.ok_or(error)
    }

    async fn attempt(
        &self,
        upstream: SocketAddr,
        request: &Request,
        transport: Transport,
    ) -> io::Result<Vec<u8>> {
        let mut reply = in_time(self.over_udp(upstream, request)).await?;
        // RFC 7766 section 5: a client that came by TCP has no other way to the whole answer.
        if transport == Transport::Tcp && reply[2] & FLAG_TRUNCATED != 0 {
            reply = in_time(self.over_tcp(upstream, request)).await?;
        }
        request.adopt(&mut reply);
        Ok(reply)
    }

    async fn over_udp(&self, upstream: SocketAddr, request: &Request) -> io::Result<Vec<u8>> {
        let pooled = self.pool.take(upstream).await?;
        let (query, id) = with_new_id(request);
        pooled.socket.send(&query).await?;
        let room = request.edns.map_or(0, |edns| usize::from(edns.udp_bytes));
        let mut reply = vec![0; room.max(UDP_ANSWER_BYTES)];
        loop {
            let length = pooled.socket.recv(&mut reply).await?;
            // Anything else is late, or forged.
            if request.is_answered_by(&reply[..length], id) {
                reply.truncate(length);
                self.pool.put_back(pooled);
                return Ok(reply);
            }
        }
    }

    async fn over_tcp(&self, upstream: SocketAddr, request: &Request) -> io::Result<Vec<u8>> {
        let mut stream = self.pool.tcp(upstream).await?.connect(upstream).await?;
        let (query, id) = with_new_id(request);
        stream.write_all(&framed(&query)).await?;
        let length = usize::from(stream.read_u16().await?);
        let mut reply = vec![0; length];
        stream.read_exact(&mut reply).await?;
        if !request.is_answered_by(&reply, id) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not an answer to the query"));
        }
        Ok(reply)
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Health ===

impl Health {
    /// Resolvers in the order in which they are asked: as configured, but those that failed lately
    /// last.
    fn order(&self, now: Instant) -> Vec<usize> {
        let ill = |index: &usize| self.0[*index].is_some_and(|until| now < until);
        let (last, mut first): (Vec<usize>, Vec<usize>) = (0..self.0.len()).partition(ill);
        first.extend(last);
        first
    }
}

/// A message with its length before it (RFC 1035 section 4.2.2), in one piece as RFC 7766 section 8
/// asks for. No message here is longer than that can say.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut frame = Vec::with_capacity(2 + message.len());
    frame.extend(length.to_be_bytes());
    frame.extend(&message[..usize::from(length)]);
    frame
}

/// The query under an id that cannot be guessed (RFC 5452 section 9.2).
fn with_new_id(request: &Request) -> (Vec<u8>, [u8; 2]) {
    let id: [u8; 2] = rand::random();
    let mut query = request.wire.clone();
    query[..2].copy_from_slice(&id);
    (query, id)
}

/// What the C library takes as a reason to ask the next resolver.
fn is_failure(reply: &[u8]) -> bool {
    [Rcode::ServFail, Rcode::NotImp, Rcode::Refused].iter().any(|code| *code as u8 == rcode(reply))
}

async fn in_time<T>(attempt: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(UPSTREAM_TIMEOUT, attempt).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn resolvers_that_failed_lately_come_last() {
        let now = Instant::now();
        let mut health = Health(vec![None; 3]);
        assert_eq!(health.order(now), [0, 1, 2]);
        health.0[0] = Some(now + PENALTY_PERIOD);
        assert_eq!(health.order(now), [1, 2, 0]);
        health.0[1] = Some(now + PENALTY_PERIOD);
        health.0[2] = Some(now + PENALTY_PERIOD);
        assert_eq!(health.order(now), [0, 1, 2]);
        assert_eq!(health.order(now + PENALTY_PERIOD), [0, 1, 2]);
    }
}
