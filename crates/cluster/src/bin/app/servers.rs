//! The servers of a test pod, each on every address of both families. They say who answered.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use cluster::app::{ECHO_PORT, HTTP_PORT, NAME_PORT, RECORDER_PORT, UDP_PORT};

/// What is kept of the first bytes of a connection: longer than any header of a mesh.
const RECORD_BYTES_MAX: usize = 256;
/// How long the name server waits for what a client says first, and the recorder for its end.
const LISTEN: Duration = Duration::from_millis(100);
/// The word that a client says when it speaks first; the recorder waits for it.
pub(crate) const GREETING: &[u8] = b"hello";

/// The first bytes of each connection, in hexadecimal.
pub(crate) type Records = Arc<Mutex<Vec<String>>>;

/// Starts all of them.
pub(crate) fn start() -> Records {
    let records = Records::default();
    listen(NAME_PORT, |stream, peer| say_name(stream, peer, ""));
    listen(HTTP_PORT, |stream, _| serve_http(stream));
    listen(ECHO_PORT, |stream, _| echo(stream));
    let shared = Arc::clone(&records);
    listen(RECORDER_PORT, move |stream, peer| record(stream, peer, &shared));
    thread::spawn(|| serve_udp(&bind_udp(UDP_PORT)));
    records
}

/// The pod's name.
pub(crate) fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Serves each connection on a thread of its own.
pub(crate) fn listen(
    port: u16,
    serve: impl Fn(TcpStream, SocketAddr) -> io::Result<()> + Clone + Send + 'static,
) {
    let bound = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port));
    let listener = bound.or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)));
    let listener = listener.unwrap_or_else(|e| panic!("listen on port {port}: {e}"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            // A client that went away is its own affair.
            thread::spawn(move || {
                let _ = stream.peer_addr().and_then(|peer| serve(stream, peer));
            });
        }
    });
}

fn say_name(mut stream: TcpStream, peer: SocketAddr, more: &str) -> io::Result<()> {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    stream.write_all(format!("{} {peer}{more}\n", own_name()).as_bytes())?;
    // What is unread at the end would reset the connection before the client has read the line.
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.set_read_timeout(Some(LISTEN))?;
    let _ = stream.read(&mut [0; RECORD_BYTES_MAX]);
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length])?;
    }
}

/// Requests without a body, one after the other.
fn serve_http(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let name = own_name();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&buffer[..length]);
        while let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            seen.drain(..end + 4);
            stream.write_all(answer.as_bytes())?;
        }
    }
}

/// Notes what comes until the greeting, or until nothing more comes, and answers as a name server.
fn record(mut stream: TcpStream, peer: SocketAddr, records: &Records) -> io::Result<()> {
    stream.set_read_timeout(Some(LISTEN * 5))?;
    let (mut seen, mut buffer) = (Vec::new(), [0; RECORD_BYTES_MAX]);
    while seen.len() < RECORD_BYTES_MAX && !seen.ends_with(GREETING) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => seen.extend_from_slice(&buffer[..length]),
        }
    }
    let text: String = seen.iter().map(|byte| format!("{byte:02x}")).collect();
    records.lock().unwrap().push(text.clone());
    say_name(stream, peer, &format!(" {text}"))
}

fn bind_udp(port: u16) -> UdpSocket {
    let bound = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port));
    let socket = bound.or_else(|_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)));
    socket.unwrap_or_else(|e| panic!("bind UDP port {port}: {e}"))
}

fn serve_udp(socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let mut reply = format!("{} ", own_name()).into_bytes();
        reply.extend_from_slice(&buffer[..length]);
        let _ = socket.send_to(&reply, from);
    }
}
