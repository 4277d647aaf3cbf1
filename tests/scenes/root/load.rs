//! Clients that connect without pause, and remember every failure.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use testkit::{Pod, ask, ask_udp, wait_until};

use super::bench::PATIENCE;

/// Failures that are worth showing.
const SHOWN_MAX: usize = 5;

/// Running clients; they stop on Drop.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    succeeded: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// `threads` clients in `pod`, each connecting to the name server at `address`.
    pub fn tcp(pod: &Pod, address: SocketAddr, threads: usize) -> Self {
        Self::start(pod, threads, move || match ask(address) {
            Ok(answer) if answer.peer == address => Ok(()),
            Ok(answer) => Err(format!("the peer is {}", answer.peer)),
            Err(e) => Err(format!("connect to {address}: {e}")),
        })
    }

    /// As [`Load::tcp`], each asking the UDP server at `address` from a fresh unconnected socket.
    pub fn udp(pod: &Pod, address: SocketAddr, threads: usize) -> Self {
        Self::start(pod, threads, move || match ask_udp(address, "x") {
            Ok((_, from)) if from == address => Ok(()),
            Ok((_, from)) => Err(format!("the reply is from {from}")),
            Err(e) => Err(format!("send to {address}: {e}")),
        })
    }

    /// Clients that do `work` again and again; the error says what was wrong.
    pub fn start(
        pod: &Pod,
        threads: usize,
        work: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = (0..threads).map(|_| {
            let (pod, shared, work) = (pod.clone(), Arc::clone(&shared), work.clone());
            std::thread::spawn(move || pod.run(|| shared.repeat(&work)))
        });
        let threads = threads.collect();
        let load = Self { shared, threads };
        load.more(100);
        load
    }

    /// Waits until the clients have succeeded `count` times more.
    #[track_caller]
    pub fn more(&self, count: u64) {
        let goal = self.shared.succeeded.load(Ordering::Relaxed) + count;
        wait_until("the load to go on", PATIENCE, || {
            let (succeeded, failed) = self.counts();
            if succeeded >= goal { Ok(()) } else { Err(format!("{succeeded} ok, {failed} failed")) }
        });
    }

    /// How often the clients succeeded so far.
    pub fn succeeded(&self) -> u64 {
        self.counts().0
    }

    /// Stops, and returns how often the clients succeeded.
    ///
    /// # Panics
    /// When one failed, even once.
    #[track_caller]
    pub fn finish(mut self) -> u64 {
        self.stop();
        let (succeeded, failed) = self.counts();
        let failures = self.shared.failures.lock().unwrap();
        assert_eq!(failed, 0, "of {}: {failures:#?}", succeeded + failed);
        succeeded
    }

    fn counts(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.shared.succeeded), read(&self.shared.failed))
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn repeat(&self, work: &impl Fn() -> Result<(), String>) {
        while !self.stop.load(Ordering::Relaxed) {
            match work() {
                Ok(()) => _ = self.succeeded.fetch_add(1, Ordering::Relaxed),
                Err(failure) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    let mut failures = self.failures.lock().unwrap();
                    if failures.len() < SHOWN_MAX {
                        failures.push(failure);
                    }
                }
            }
        }
    }
}
