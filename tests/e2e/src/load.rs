//! Clients in a pod that connect again and again while a scene changes something.

use cluster::app::{LoadCounts, LoadKind, Request};
use testkit::wait_until;

use crate::pod::Pod;
use crate::world::PATIENCE;

/// Running clients. They go on when it is dropped, until their pod ends: a scene finishes its load.
#[derive(Debug)]
pub struct Load {
    pod: Pod,
    id: String,
}

impl Load {
    /// `threads` clients of `pod`, each with a pause of `every_ms` between two connections; returns when
    /// some have succeeded.
    #[track_caller]
    pub fn start(
        pod: &Pod,
        to: impl ToString,
        kind: LoadKind,
        threads: u32,
        every_ms: u64,
    ) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let request = Request::Load { id: id.clone(), to: to.to_string(), kind, threads, every_ms };
        pod.tell(&request);
        let load = Self { pod: pod.clone(), id };
        load.more(20);
        load
    }

    /// What it has seen so far.
    #[track_caller]
    pub fn counts(&self) -> LoadCounts {
        self.pod.tell(&Request::Count { id: self.id.clone() }).load
    }

    /// Waits until it has succeeded `count` times more.
    #[track_caller]
    pub fn more(&self, count: u64) {
        let goal = self.counts().succeeded + count;
        wait_until("the load to go on", PATIENCE, || {
            let counts = self.counts();
            if counts.succeeded >= goal { Ok(()) } else { Err(format!("{counts:?}")) }
        });
    }

    /// Ends it.
    ///
    /// # Panics
    /// When one connection failed.
    #[track_caller]
    pub fn finish(self) -> LoadCounts {
        let counts = self.stop();
        assert_eq!(
            counts.failed,
            0,
            "of {}: {:#?}",
            counts.succeeded + counts.failed,
            counts.failures
        );
        counts
    }

    /// Ends it, whatever it has seen.
    #[track_caller]
    pub fn stop(self) -> LoadCounts {
        self.pod.tell(&Request::Stop { id: self.id.clone() }).load
    }
}
