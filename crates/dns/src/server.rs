//! The server of one network namespace.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use runtime::shutdown::{self, Shutdown, Trigger};
use tokio::io::ReadBuf;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::forward::Forwarder;
use crate::resolver::{Resolver, Step};
use crate::sockets::SocketFactory;
use crate::tcp;
use crate::wire::{QUERY_BYTES_MAX, Rcode, Request, Transport};

/// How often a server shows that it runs.
const BEAT_PERIOD: Duration = Duration::from_millis(100);
/// Queries of one server that may wait for upstream resolvers; beyond it the answer is SERVFAIL.
pub(crate) const IN_FLIGHT_MAX: usize = 256;
/// Open TCP connections of one server; beyond it new ones are closed.
pub(crate) const CONNECTIONS_MAX: usize = 64;
/// How long queries that came before the end may still be answered.
const DRAIN_PERIOD: Duration = Duration::from_secs(1);
/// How long a socket that reports an error is left alone.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Whose queries a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Kubernetes namespace: short names are relative to it.
    pub namespace: String,
    /// What the logs call the client.
    pub name: String,
}

/// Sockets that a server answers at, bound where the client's queries arrive.
#[derive(Debug, Default)]
pub struct Listeners {
    /// UDP.
    pub udp: Vec<UdpSocket>,
    /// TCP.
    pub tcp: Vec<TcpListener>,
}

/// All that one server needs for itself.
pub struct ServerOptions {
    /// Whose queries.
    pub client: ClientIdentity,
    /// Where.
    pub listeners: Listeners,
    /// The client's own resolvers, in order; the first three count.
    pub upstreams: Vec<SocketAddr>,
    /// Makes the sockets towards them, in the client's network namespace.
    pub sockets: Arc<dyn SocketFactory>,
}

/// A running server. It ends with [`Server::stop`], with the shutdown it was given, or, at once,
/// when it is dropped.
#[derive(Debug)]
pub struct Server {
    task: JoinHandle<()>,
    trigger: Trigger,
    pulse: Arc<Pulse>,
    client: ClientIdentity,
}

/// When the loop last came round.
#[derive(Debug)]
struct Pulse {
    start: Instant,
    last_millis: AtomicU64,
}

/// What every query of a server needs.
pub(crate) struct Station {
    client: ClientIdentity,
    resolver: Arc<Resolver>,
    forwarder: Forwarder,
    /// Who shares cached answers: 0 for all, or a number of its own.
    scope: u64,
    in_flight: Arc<Semaphore>,
}

/// What becomes of one message.
pub(crate) enum Outcome {
    Reply(Vec<u8>),
    Silence,
    Wait(Request, OwnedSemaphorePermit),
}

// === impl Server ===

impl Server {
    /// Starts a server. Needs a tokio runtime.
    pub fn spawn(options: ServerOptions, resolver: Arc<Resolver>, shutdown: Shutdown) -> Self {
        let ServerOptions { client, listeners, upstreams, sockets } = options;
        let (trigger, own) = shutdown::channel();
        let pulse = Arc::new(Pulse { start: Instant::now(), last_millis: AtomicU64::new(0) });
        let station = Arc::new(Station {
            client: client.clone(),
            scope: if means_itself(&upstreams) { resolver.new_scope() } else { 0 },
            resolver,
            forwarder: Forwarder::new(&upstreams, sockets),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        });
        let beat = pulse.clone();
        let task = tokio::spawn(async move {
            let ended = async move {
                tokio::select! { () = shutdown.wait() => {}, () = own.wait() => {} }
            };
            run(listeners, station, &beat, ended).await;
        });
        Self { task, trigger, pulse, client }
    }

    /// True while the server's loop runs and came round within the last `within`. It comes round
    /// every 100 ms: less than several times that says more about the machine than the server.
    pub fn is_answering(&self, within: Duration) -> bool {
        !self.task.is_finished() && self.pulse.age() <= within
    }

    /// Whose queries it answers.
    pub fn client(&self) -> &ClientIdentity {
        &self.client
    }

    /// Takes no more queries, answers those that wait if that takes no more than a second, and
    /// closes the sockets.
    pub async fn stop(mut self) {
        self.trigger.fire();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, client = self.client.name, "a DNS server ended early");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Pulse ===

impl Pulse {
    fn beat(&self) {
        self.last_millis.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last)
    }
}

// === impl Station ===

impl Station {
    /// What can be done at once.
    pub(crate) fn begin(&self, wire: &[u8], transport: Transport) -> Outcome {
        let request = match self.resolver.begin(&self.client.namespace, wire, transport) {
            Step::Reply(reply) => return Outcome::Reply(reply),
            Step::Silence => return Outcome::Silence,
            Step::Forward(request) => request,
        };
        let (resolver, forwarder) = (&self.resolver, &self.forwarder);
        if let Some(reply) = resolver.remembered(forwarder, self.scope, &request, transport) {
            return Outcome::Reply(reply);
        }
        match self.in_flight.clone().try_acquire_owned() {
            Ok(permit) => Outcome::Wait(request, permit),
            Err(_) => {
                self.overloaded();
                Outcome::Reply(request.empty_reply(Rcode::ServFail))
            }
        }
    }

    /// The rest of an [`Outcome::Wait`].
    pub(crate) async fn finish(
        &self,
        request: Request,
        permit: OwnedSemaphorePermit,
        transport: Transport,
    ) -> Vec<u8> {
        let reply = self.resolver.forward(&self.forwarder, self.scope, &request, transport).await;
        drop(permit);
        reply
    }

    pub(crate) fn malformed(&self) {
        self.resolver.counters.malformed.add();
    }

    fn overloaded(&self) {
        self.resolver.counters.dropped_overload.add();
    }
}

async fn run(
    listeners: Listeners,
    station: Arc<Station>,
    pulse: &Pulse,
    ended: impl Future<Output = ()>,
) {
    let udp: Vec<Arc<UdpSocket>> = listeners.udp.into_iter().map(Arc::new).collect();
    let mut tasks = JoinSet::new();
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut beats = interval(BEAT_PERIOD);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; QUERY_BYTES_MAX + 1];
    let mut ended = std::pin::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => break,
            _ = beats.tick() => pulse.beat(),
            received = receive(&udp, &mut buffer) => match received {
                Ok((socket, length, peer)) => {
                    datagram(&station, &mut tasks, socket, &buffer[..length], peer).await;
                }
                Err(error) => pause(&station, &error).await,
            },
            accepted = accept(&listeners.tcp) => match accepted {
                Ok(stream) => connection(&station, &mut tasks, &connections, stream),
                Err(error) => pause(&station, &error).await,
            },
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
    drop(listeners.tcp);
    let drained = async { while tasks.join_next().await.is_some() {} };
    if timeout(DRAIN_PERIOD, drained).await.is_err() {
        tracing::debug!(client = station.client.name, "queries were cut off at the end");
    }
}

async fn datagram(
    station: &Arc<Station>,
    tasks: &mut JoinSet<()>,
    socket: &Arc<UdpSocket>,
    wire: &[u8],
    peer: SocketAddr,
) {
    match station.begin(wire, Transport::Udp) {
        Outcome::Reply(reply) => send(socket, &reply, peer).await,
        Outcome::Silence => {}
        Outcome::Wait(request, permit) => {
            let (station, socket) = (station.clone(), socket.clone());
            tasks.spawn(async move {
                let reply = station.finish(request, permit, Transport::Udp).await;
                send(&socket, &reply, peer).await;
            });
        }
    }
}

fn connection(
    station: &Arc<Station>,
    tasks: &mut JoinSet<()>,
    connections: &Arc<Semaphore>,
    stream: TcpStream,
) {
    let Ok(permit) = connections.clone().try_acquire_owned() else {
        station.overloaded();
        return;
    };
    let station = station.clone();
    tasks.spawn(async move {
        if let Err(error) = tcp::serve(stream, &station).await {
            tracing::debug!(%error, client = station.client.name, "a DNS connection broke");
        }
        drop(permit);
    });
}

async fn send(socket: &UdpSocket, reply: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.send_to(reply, peer).await {
        tracing::debug!(%error, %peer, "an answer was not sent");
    }
}

/// Keeps an error that does not go away from taking the whole processor.
async fn pause(station: &Station, error: &io::Error) {
    tracing::debug!(%error, client = station.client.name, "a DNS socket reports an error");
    tokio::time::sleep(ERROR_PAUSE).await;
}

/// The next datagram at any of the sockets. Safe to drop at any time.
async fn receive<'a>(
    sockets: &'a [Arc<UdpSocket>],
    buffer: &mut [u8],
) -> io::Result<(&'a Arc<UdpSocket>, usize, SocketAddr)> {
    std::future::poll_fn(|context: &mut Context<'_>| {
        for socket in sockets {
            let mut space = ReadBuf::new(buffer);
            if let Poll::Ready(received) = socket.poll_recv_from(context, &mut space) {
                let length = space.filled().len();
                return Poll::Ready(received.map(|peer| (socket, length, peer)));
            }
        }
        Poll::Pending
    })
    .await
}

/// The next connection at any of the listeners. Safe to drop at any time.
async fn accept(listeners: &[TcpListener]) -> io::Result<TcpStream> {
    std::future::poll_fn(|context: &mut Context<'_>| {
        for listener in listeners {
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                return Poll::Ready(accepted.map(|(stream, _)| stream));
            }
        }
        Poll::Pending
    })
    .await
}

/// True for addresses that mean another resolver in each network namespace.
fn means_itself(upstreams: &[SocketAddr]) -> bool {
    upstreams.iter().any(|upstream| match upstream.ip().to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    })
}
