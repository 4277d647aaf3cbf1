//! Clients that connect again and again, and remember every failure.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cluster::app::{LoadCounts, LoadKind};

use crate::client::{self, PATIENCE};
use crate::servers::GREETING;

/// Failures that are worth telling.
const FAILURES_MAX: usize = 10;

/// All loads of this pod by their id.
#[derive(Debug, Default)]
pub(crate) struct Loads(Mutex<HashMap<String, Load>>);

#[derive(Debug)]
struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    to: String,
    kind: LoadKind,
    every: Duration,
    started: Instant,
    stop: AtomicBool,
    counts: Mutex<LoadCounts>,
}

impl Loads {
    /// Starts one.
    pub(crate) fn start(
        &self,
        id: String,
        to: String,
        kind: LoadKind,
        threads: u32,
        every: Duration,
    ) {
        let shared = Arc::new(Shared {
            to,
            kind,
            every,
            started: Instant::now(),
            stop: AtomicBool::new(false),
            counts: Mutex::default(),
        });
        let client = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.repeat())
        };
        let threads = (0..threads).map(client).collect();
        self.0.lock().unwrap().insert(id, Load { shared, threads });
    }

    /// What it has seen.
    pub(crate) fn counts(&self, id: &str) -> Option<LoadCounts> {
        let loads = self.0.lock().unwrap();
        loads.get(id).map(|load| load.shared.counts.lock().unwrap().clone())
    }

    /// Ends it when its clients are through with what they do.
    pub(crate) fn stop(&self, id: &str) -> Option<LoadCounts> {
        let load = self.0.lock().unwrap().remove(id)?;
        load.shared.stop.store(true, Ordering::Relaxed);
        for thread in load.threads {
            let _ = thread.join();
        }
        Some(load.shared.counts.lock().unwrap().clone())
    }
}

impl Shared {
    fn repeat(&self) {
        let mut stream = None;
        let mut last = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let done = match self.kind {
                LoadKind::Connect => self.connect(None),
                LoadKind::Speak => self.connect(Some(GREETING)),
                LoadKind::Stream => self.message(&mut stream),
            };
            let mut counts = self.counts.lock().unwrap();
            match done {
                Ok(pod) => {
                    counts.succeeded += 1;
                    *counts.pods.entry(pod).or_default() += 1;
                    counts.longest_ms = counts.longest_ms.max(millis(last));
                    last = Instant::now();
                }
                Err(failure) => {
                    counts.failed += 1;
                    if counts.failures.len() < FAILURES_MAX {
                        counts.failures.push((millis(self.started), failure));
                    }
                    stream = None;
                }
            }
            drop(counts);
            std::thread::sleep(self.every);
        }
    }

    fn connect(&self, text: Option<&[u8]>) -> Result<String, String> {
        let answer = client::ask(&self.to, text);
        answer.error.map_or(Ok(answer.pod), Err)
    }

    fn message(&self, stream: &mut Option<TcpStream>) -> Result<String, String> {
        let error = |e: io::Error| format!("{}: {e}", self.to);
        let open = match stream {
            Some(open) => open,
            None => stream.insert(open(&self.to).map_err(error)?),
        };
        open.write_all(GREETING).map_err(error)?;
        open.read_exact(&mut [0; GREETING.len()]).map_err(error)?;
        Ok("stream".to_owned())
    }
}

fn open(to: &str) -> io::Result<TcpStream> {
    let address = to.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no address"))?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn millis(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}
