//! A client that asks a server of [`crate::Servers`] who it is. To be called inside `Pod::run`.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::wait::patient;

/// Longer than any healthy answer, shorter than a test's patience.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one connection learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The pod that answered.
    pub pod: String,
    /// The client's address as the server saw it.
    pub seen_from: SocketAddr,
    /// What getpeername() says to the client: where it dialled, when the mesh does its work well.
    pub peer: SocketAddr,
    /// What getsockname() says to the client.
    pub local: SocketAddr,
}

/// Connects by TCP and reads the line of a name server.
///
/// # Errors
/// What connect() or read() said: a service without an endpoint is `ConnectionRefused`.
pub fn ask(address: SocketAddr) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, patient(PATIENCE))?;
    stream.set_read_timeout(Some(patient(PATIENCE)))?;
    let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
    let mut line = String::new();
    stream.read_to_string(&mut line)?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("not a name server: {line:?}"));
    let (pod, from) = line.trim_end().split_once(' ').ok_or_else(bad)?;
    let seen_from = from.parse().map_err(|_| bad())?;
    Ok(Answer { pod: pod.to_owned(), seen_from, peer, local })
}

/// Sends `text` from a fresh unconnected UDP socket; returns the reply and the address it came from.
///
/// # Errors
/// What sendto() or recvfrom() said; `WouldBlock` when no reply came.
pub fn ask_udp(address: SocketAddr, text: &str) -> io::Result<(String, SocketAddr)> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(patient(PATIENCE)))?;
    socket.send_to(text.as_bytes(), address)?;
    let mut buffer = [0; 2048];
    let (length, from) = socket.recv_from(&mut buffer)?;
    Ok((String::from_utf8_lossy(&buffer[..length]).into_owned(), from))
}
