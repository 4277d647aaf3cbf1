//! Tests of the whole crate, and what they share: services, queries, and a resolver to ask.

mod answers;
mod bytes;
mod caching;
mod forwarding;
mod fuzz;
mod hosts;
mod keeping;
mod schedule;
mod serving;
mod table;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use model::{
    Endpoint, Health, LoadBalancing, Map, Service, ServiceName, Snapshot, Source, WorkloadName,
};
use runtime::shutdown::{self, Trigger};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::wire::Transport;
use crate::{ClientIdentity, Listeners, OwnSockets, Resolver, Server, ServerOptions};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| ip(text)).collect()
}

/// A service of `namespace`.
pub(crate) fn service(
    namespace: &str,
    hostname: &str,
    source: Source,
    addresses: &[&str],
) -> Service {
    Service {
        name: ServiceName::new(namespace, hostname),
        object_name: hostname.split('.').next().unwrap_or_default().to_owned(),
        source,
        addresses: ips(addresses),
        auto_addresses: false,
        networks: Vec::new(),
        external_addresses: Vec::new(),
        node_ports: Vec::new(),
        external_local: false,
        ports: Vec::new(),
        load_balancing: LoadBalancing::default(),
        endpoints: Vec::new(),
        unresolved: Vec::new(),
        waypoints: Default::default(),
    }
}

pub(crate) fn kubernetes(namespace: &str, name: &str, addresses: &[&str]) -> Service {
    let host = format!("{name}.{namespace}.svc.cluster.local");
    service(namespace, &host, Source::Kubernetes, addresses)
}

pub(crate) fn entry(namespace: &str, host: &str, addresses: &[&str]) -> Service {
    service(namespace, host, Source::ServiceEntry, addresses)
}

pub(crate) fn endpoint(workload: Option<&str>, address: &str, health: Health) -> Endpoint {
    Endpoint {
        workload: workload.map(|name| Arc::new(WorkloadName::new("shop", name))),
        address: ip(address),
        target_ports: Arc::default(),
        health,
        weight: 1,
        topology: Arc::default(),
    }
}

pub(crate) fn snapshot(services: impl IntoIterator<Item = Service>) -> Snapshot {
    let services: Map<ServiceName, Arc<Service>> =
        services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect();
    Snapshot { services, ..Snapshot::default() }
}

pub(crate) fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message
}

pub(crate) fn with_edns(mut message: Message, udp_bytes: u16, dnssec_ok: bool) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(udp_bytes).set_dnssec_ok(dnssec_ok);
    message.set_edns(edns);
    message
}

pub(crate) fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("a message")
}

pub(crate) fn parsed(wire: &[u8]) -> Message {
    Message::from_vec(wire).expect("a message")
}

/// Addresses of the answer section.
pub(crate) fn answered(message: &Message) -> Vec<IpAddr> {
    let records = message.answers.iter();
    records
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
        .collect()
}

pub(crate) fn address_record(name: &Name, ttl: u32, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(name.clone(), ttl, data)
}

/// An answer to a query, with these addresses.
pub(crate) fn reply_to(query: &[u8], ttl: u32, addresses: &[IpAddr]) -> Message {
    let query = parsed(query);
    let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    reply.metadata.recursion_desired = true;
    reply.metadata.recursion_available = true;
    reply.add_queries(query.queries.clone());
    for address in addresses {
        reply.add_answer(address_record(&query.queries[0].name, ttl, *address));
    }
    reply.edns = query.edns;
    reply
}

pub(crate) fn error_to(query: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut reply = reply_to(query, 0, &[]);
    reply.metadata.response_code = code;
    bytes(&reply)
}

type Answer = dyn Fn(&[u8], Transport) -> Vec<Vec<u8>> + Send + Sync;

/// A resolver that answers what the test says, over UDP and TCP at one port.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// Queries as they came.
    pub(crate) seen: Arc<Mutex<Vec<Vec<u8>>>>,
    tasks: JoinSet<()>,
}

impl Upstream {
    pub(crate) async fn start(
        answer: impl Fn(&[u8], Transport) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = pair().await;
        let address = udp.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Answer> = Arc::new(answer);
        let mut tasks = JoinSet::new();
        tasks.spawn(answer_udp(udp, answer.clone(), seen.clone()));
        tasks.spawn(answer_tcp(tcp, answer, seen.clone()));
        Self { address, seen, tasks }
    }

    /// One that never answers.
    pub(crate) async fn silent() -> Self {
        Self::start(|_, _| Vec::new()).await
    }

    /// One that knows one address for everything, the n-th time 10.0.0.n.
    pub(crate) async fn counting(ttl: u32) -> Self {
        let count = AtomicUsize::new(0);
        Self::start(move |query, _| {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            vec![bytes(&reply_to(query, ttl, &[ip(&format!("10.0.0.{number}"))]))]
        })
        .await
    }

    pub(crate) fn count(&self) -> usize {
        assert!(!self.tasks.is_empty());
        self.seen.lock().expect("not poisoned").len()
    }
}

async fn answer_udp(socket: UdpSocket, answer: Arc<Answer>, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    let mut buffer = vec![0; 65535];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        seen.lock().expect("not poisoned").push(buffer[..length].to_vec());
        for reply in answer(&buffer[..length], Transport::Udp) {
            socket.send_to(&reply, peer).await.expect("the reply is sent");
        }
    }
}

async fn answer_tcp(listener: TcpListener, answer: Arc<Answer>, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        while let Ok(query) = read_frame(&mut stream).await {
            seen.lock().expect("not poisoned").push(query.clone());
            for reply in answer(&query, Transport::Tcp) {
                write_frame(&mut stream, &reply).await;
            }
        }
    }
}

/// UDP and TCP at the same free port.
pub(crate) async fn pair() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = tcp.local_addr().expect("an address");
        if let Ok(udp) = UdpSocket::bind(address).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both");
}

pub(crate) async fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

pub(crate) async fn write_frame(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(&crate::forward::framed(message)).await.expect("the message is sent");
}

/// A server for a client in namespace `shop`.
pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) address: SocketAddr,
    pub(crate) trigger: Trigger,
}

impl Bench {
    pub(crate) async fn start(services: Vec<Service>, upstreams: &[SocketAddr]) -> Self {
        let resolver = Arc::new(Resolver::new("cluster.local"));
        resolver.update(&snapshot(services));
        let (udp, tcp) = pair().await;
        let address = udp.local_addr().expect("an address");
        let (trigger, shutdown) = shutdown::channel();
        let options = ServerOptions {
            client: ClientIdentity { namespace: "shop".into(), name: "shop/client".into() },
            listeners: Listeners { udp: vec![udp], tcp: vec![tcp] },
            upstreams: upstreams.to_vec(),
            sockets: Arc::new(OwnSockets),
        };
        let server = Server::spawn(options, resolver.clone(), shutdown);
        Self { server, resolver, address, trigger }
    }

    pub(crate) async fn client(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        socket.connect(self.address).await.expect("connected");
        socket
    }

    pub(crate) async fn ask(&self, query: &Message) -> Message {
        parsed(&self.ask_bytes(&bytes(query)).await)
    }

    pub(crate) async fn ask_bytes(&self, query: &[u8]) -> Vec<u8> {
        let socket = self.client().await;
        socket.send(query).await.expect("the query is sent");
        let mut buffer = vec![0; 65535];
        let length = socket.recv(&mut buffer).await.expect("an answer");
        buffer.truncate(length);
        buffer
    }

    pub(crate) async fn ask_tcp(&self, query: &Message) -> Message {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        write_frame(&mut stream, &bytes(query)).await;
        parsed(&read_frame(&mut stream).await.expect("an answer"))
    }
}
