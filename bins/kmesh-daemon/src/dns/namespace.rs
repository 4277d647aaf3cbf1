//! The sockets of a server, made inside the namespace that it serves.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use dns::{ClientIdentity, Listeners, NetnsSockets, Resolver, Server, ServerOptions};
use runtime::netns::{self, Held};
use runtime::shutdown::Shutdown;

/// Sockets that wait for a server.
pub struct Opened {
    netns: Held,
    sockets: Vec<(UdpSocket, TcpListener)>,
    upstreams: Vec<SocketAddr>,
    /// Resolvers of a family that the namespace has no loopback address of.
    pub problem: Option<String>,
}

/// A server, and the resolvers whose queries reach it.
pub struct Opening {
    pub server: Server,
    pub reachable: Vec<IpAddr>,
}

/// Binds the proxy's port on loopback in the namespace, in each family of `resolvers`.
pub fn open(path: &Path, resolvers: &[IpAddr]) -> anyhow::Result<Opened> {
    if resolvers.is_empty() {
        bail!("no resolver is known: its resolv.conf names none, name one by --resolver");
    }
    let netns = Held::open(path)?;
    let families = [
        (IpAddr::from(Ipv4Addr::LOCALHOST), resolvers.iter().any(IpAddr::is_ipv4)),
        (IpAddr::from(Ipv6Addr::LOCALHOST), resolvers.iter().any(IpAddr::is_ipv6)),
    ];
    let wanted = families.into_iter().filter(|(_, wanted)| *wanted);
    let wanted: Vec<SocketAddr> =
        wanted.map(|(address, _)| (address, abi::dns::PROXY_PORT).into()).collect();
    let bound = netns::in_netns(netns.path(), || -> Vec<_> { wanted.iter().map(bind).collect() })?;
    let mut sockets = Vec::new();
    let mut problem = None;
    for (address, result) in wanted.iter().zip(bound) {
        match result {
            Ok(pair) => sockets.push(pair),
            // IPv6 is off there, and so nobody asks its resolvers.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                problem = Some(format!("{address} cannot be bound: {error}"));
            }
            Err(error) => bail!("{address} cannot be bound: {error}"),
        }
    }
    if let (true, Some(problem)) = (sockets.is_empty(), &problem) {
        bail!("{problem}");
    }
    let upstreams = resolvers.iter().map(|address| (*address, abi::dns::PORT).into()).collect();
    Ok(Opened { netns, sockets, upstreams, problem })
}

fn bind(address: &SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let (udp, tcp) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((udp, tcp))
}

impl Opened {
    /// Starts the server. Needs a tokio runtime.
    pub fn serve(
        self,
        client: ClientIdentity,
        resolver: Arc<Resolver>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Opening> {
        let mut listeners = Listeners::default();
        let mut families = Vec::new();
        for (udp, tcp) in self.sockets {
            families.push(udp.local_addr().context("a socket without an address")?.is_ipv4());
            listeners.udp.push(tokio::net::UdpSocket::from_std(udp)?);
            listeners.tcp.push(tokio::net::TcpListener::from_std(tcp)?);
        }
        let addresses = self.upstreams.iter().map(SocketAddr::ip);
        let reachable = addresses.filter(|address| families.contains(&address.is_ipv4())).collect();
        let sockets = Arc::new(NetnsSockets::new(self.netns, abi::dns::PROXY_MARK));
        let options = ServerOptions { client, listeners, upstreams: self.upstreams, sockets };
        Ok(Opening { server: Server::spawn(options, resolver, shutdown.clone()), reachable })
    }
}
