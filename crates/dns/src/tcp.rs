//! One TCP connection of a client (RFC 7766).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::forward::framed;
use crate::server::{Outcome, Station};
use crate::wire::{HEADER_BYTES, QUERY_BYTES_MAX, Transport};

/// How long a connection without a query lasts (RFC 7766 section 6.2.3); parts of one do not count.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to accept an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Queries of one connection that may wait at a time; the rest stays in the socket.
const PIPELINE_MAX: usize = 32;

/// A frame that no client sends on purpose.
struct BadFrame;

/// Answers the queries of a connection, each as soon as its answer is there (RFC 7766 section
/// 6.2.1.1), until the client has no more.
pub(crate) async fn serve(
    mut stream: TcpStream,
    station: &std::sync::Arc<Station>,
) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let mut waiting: JoinSet<Vec<u8>> = JoinSet::new();
    let mut received = Vec::new();
    let mut buffer = [0; 2048];
    let mut open = true;
    let mut idle_at = Instant::now() + IDLE_TIMEOUT;
    loop {
        while waiting.len() < PIPELINE_MAX {
            let frame = match take_frame(&mut received) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(BadFrame) => {
                    station.malformed();
                    return Ok(());
                }
            };
            idle_at = Instant::now() + IDLE_TIMEOUT;
            match station.begin(&frame, Transport::Tcp) {
                Outcome::Reply(reply) => write(&mut writer, &reply).await?,
                Outcome::Silence => return Ok(()),
                Outcome::Wait(request, permit) => {
                    let station = station.clone();
                    waiting.spawn(
                        async move { station.finish(request, permit, Transport::Tcp).await },
                    );
                }
            }
        }
        if !open && waiting.is_empty() {
            return Ok(());
        }
        tokio::select! {
            read = reader.read(&mut buffer), if open && waiting.len() < PIPELINE_MAX => {
                let length = read?;
                open = length > 0;
                received.extend_from_slice(&buffer[..length]);
            }
            Some(reply) = waiting.join_next(), if !waiting.is_empty() => {
                write(&mut writer, &reply.map_err(io::Error::other)?).await?;
                idle_at = Instant::now() + IDLE_TIMEOUT;
            }
            () = sleep_until(idle_at), if waiting.is_empty() => return Ok(()),
        }
    }
}

/// Takes a whole message from the front of what was received.
fn take_frame(received: &mut Vec<u8>) -> Result<Option<Vec<u8>>, BadFrame> {
    let Some(length) = received.first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if !(HEADER_BYTES..=QUERY_BYTES_MAX).contains(&length) {
        return Err(BadFrame);
    }
    if received.len() < 2 + length {
        return Ok(None);
    }
    let rest = received.split_off(2 + length);
    let mut frame = std::mem::replace(received, rest);
    frame.drain(..2);
    Ok(Some(frame))
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), reply: &[u8]) -> io::Result<()> {
    timeout(WRITE_TIMEOUT, writer.write_all(&framed(reply)))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
