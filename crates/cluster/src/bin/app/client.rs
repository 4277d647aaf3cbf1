//! One connection, or one datagram, and what was learned from it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use cluster::app::Answer;

/// Longer than any healthy answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Connects to HOST:PORT, sends `text` when there is one, and reads to the end.
pub(crate) fn ask(to: &str, text: Option<&[u8]>) -> Answer {
    try_ask(to, text).unwrap_or_else(|e| failed(to, &e))
}

/// Sends a datagram from a fresh socket, and waits for the answer.
pub(crate) fn ask_udp(to: &str, text: &str) -> Answer {
    try_ask_udp(to, text).unwrap_or_else(|e| failed(to, &e))
}

/// Addresses of a name, in libc's order.
pub(crate) fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

fn try_ask(to: &str, text: Option<&[u8]>) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&first(to)?, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let peer = Some(stream.peer_addr()?);
    if let Some(text) = text {
        stream.write_all(text)?;
    }
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(answer(text, peer))
}

fn try_ask_udp(to: &str, text: &str) -> io::Result<Answer> {
    let address = first(to)?;
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(text.as_bytes(), address)?;
    let mut buffer = [0; 2048];
    let (length, from) = socket.recv_from(&mut buffer)?;
    Ok(answer(String::from_utf8_lossy(&buffer[..length]).into_owned(), Some(from)))
}

fn first(to: &str) -> io::Result<SocketAddr> {
    to.to_socket_addrs()?.next().ok_or_else(|| io::Error::other(format!("{to} has no address")))
}

fn answer(text: String, peer: Option<SocketAddr>) -> Answer {
    let pod = text.split_whitespace().next().unwrap_or_default().to_owned();
    let error = pod.is_empty().then(|| "an empty answer".to_owned());
    Answer { error, pod, text, peer }
}

fn failed(to: &str, error: &io::Error) -> Answer {
    Answer { error: Some(format!("{to}: {error}")), ..Answer::default() }
}
