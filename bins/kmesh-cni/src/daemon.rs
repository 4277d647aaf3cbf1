//! One question to the daemon, with a bound on everything.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use cni::outcome::Trouble;
use cni::runtime::Settings;
use cni::wire::{ANSWER_BYTES_MAX, Answer, Request};

/// The daemon's answer. A thread of its own asks: connecting to a daemon that hangs waits without a
/// bound, and so does reading from one that speaks too slowly. The thread ends with the process.
pub fn ask(settings: &Settings, request: &Request) -> Result<Answer, Trouble> {
    let question =
        serde_json::to_vec(request).map_err(|error| Trouble::Unclear(error.to_string()))?;
    let (sender, receiver) = mpsc::channel();
    let socket = settings.socket.clone();
    let work = move || sender.send(exchange(&socket, &question));
    let thread = std::thread::Builder::new().name("ask".into()).spawn(work);
    thread.map_err(|error| Trouble::Away(format!("no thread: {error}")))?;
    let patience = Duration::from_millis(settings.timeout_ms);
    receiver.recv_timeout(patience).unwrap_or_else(|_| {
        let place = settings.socket.display();
        Err(Trouble::Silent(format!("nothing on {place} within {} ms", settings.timeout_ms)))
    })
}

fn exchange(socket: &Path, question: &[u8]) -> Result<Answer, Trouble> {
    let away = |error: io::Error| Trouble::Away(format!("{}: {error}", socket.display()));
    let mut stream = UnixStream::connect(socket).map_err(away)?;
    stream.write_all(question).and_then(|()| stream.shutdown(Shutdown::Write)).map_err(away)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer).map_err(away)?;
    if answer.is_empty() {
        return Err(Trouble::Away(format!("{}: it closed without a word", socket.display())));
    }
    serde_json::from_slice(&answer).map_err(|error| Trouble::Unclear(error.to_string()))
}
