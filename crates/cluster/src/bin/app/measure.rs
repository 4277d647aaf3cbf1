//! As many HTTP requests as possible, on one connection each or on connections that are kept.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::client::PATIENCE;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: e2e\r\n\r\n";
/// The server ends the connection, so that it is the one to remember the end: clients do not run out of ports.
const LAST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n";
/// Longer than any answer.
const ANSWER_BYTES_MAX: usize = 4096;

/// (done, failed) of `threads` clients within `duration`.
pub(crate) fn measure(
    to: SocketAddr,
    connects: bool,
    threads: u32,
    duration: Duration,
) -> (u64, u64) {
    let until = Instant::now() + duration;
    let clients: Vec<_> = (0..threads)
        .map(|_| {
            std::thread::spawn(move || if connects { many(to, until) } else { one(to, until) })
        })
        .collect();
    let counts = clients.into_iter().filter_map(|client| client.join().ok());
    counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
}

fn many(to: SocketAddr, until: Instant) -> (u64, u64) {
    let (mut done, mut failed) = (0, 0);
    while Instant::now() < until {
        match open(to).and_then(|mut stream| last_request(&mut stream)) {
            Ok(()) => done += 1,
            Err(_) => failed += 1,
        }
    }
    (done, failed)
}

fn one(to: SocketAddr, until: Instant) -> (u64, u64) {
    let (mut done, mut failed) = (0, 0);
    while Instant::now() < until {
        let Ok(mut stream) = open(to) else {
            failed += 1;
            continue;
        };
        while Instant::now() < until {
            if request(&mut stream).is_err() {
                failed += 1;
                break;
            }
            done += 1;
        }
    }
    (done, failed)
}

fn open(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn last_request(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(LAST_REQUEST)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if is_whole(&answer) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Answers are so short that they come in one piece, or nearly.
fn request(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(REQUEST)?;
    let mut buffer = [0; ANSWER_BYTES_MAX];
    let mut length = 0;
    loop {
        let more = stream.read(&mut buffer[length..])?;
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += more;
        if is_whole(&buffer[..length]) {
            return Ok(());
        }
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let field = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
    });
    field.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| body.len() >= length)
}
