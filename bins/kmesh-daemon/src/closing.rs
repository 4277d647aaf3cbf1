//! Ending connections that are not allowed any more, on a thread of its own: a namespace may have very
//! many, and the loop has others to serve.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use datapath::{Closer, Means};
use runtime::api::Enrolment;

/// Between two walks over all connections, so that a mesh that changes all the time does not make a
/// walk of each change. An order that comes meanwhile is done by the next one.
const PAUSE: Duration = Duration::from_millis(200);

/// A namespace whose connections are looked at.
struct Place {
    netns: PathBuf,
    workload: String,
}

/// Orders to the thread. It ends when this is dropped.
pub struct Closing {
    orders: Sender<Vec<Place>>,
    closer: Arc<Closer>,
    ended: Arc<AtomicU64>,
}

impl Closing {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn(closer: Arc<Closer>) -> std::io::Result<Self> {
        let (orders, received) = channel();
        let ended = Arc::new(AtomicU64::new(0));
        let (own, count) = (Arc::clone(&closer), Arc::clone(&ended));
        std::thread::Builder::new()
            .name("closing".into())
            .spawn(move || serve(&own, &received, &count))?;
        Ok(Self { orders, closer, ended })
    }

    /// Has every connection into these namespaces looked at, at once or within [`PAUSE`].
    pub fn close_refused(&self, enrolments: &[Enrolment]) {
        let place = |enrolment: &Enrolment| Place {
            netns: (&enrolment.netns).into(),
            workload: enrolment.workload.clone().unwrap_or_default(),
        };
        // The thread ends with the daemon alone.
        let _ = self.orders.send(enrolments.iter().map(place).collect());
    }

    /// Connections ended so far.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// How they are ended.
    pub fn means(&self) -> Means {
        self.closer.means()
    }
}

fn serve(closer: &Closer, orders: &Receiver<Vec<Place>>, ended: &AtomicU64) {
    while let Ok(order) = orders.recv() {
        // The newest names everybody that the older ones do, or those that are left of them.
        let newest = orders.try_iter().last().unwrap_or(order);
        for place in newest {
            match close(closer, &place) {
                Ok(0) => {}
                Ok(count) => {
                    ended.fetch_add(count as u64, Ordering::Relaxed);
                    tracing::info!(
                        workload = place.workload,
                        count,
                        "ended connections that policies refuse now"
                    );
                }
                Err(error) if !place.netns.exists() => {
                    tracing::debug!(workload = place.workload, %error, "its namespace is gone");
                }
                Err(error) => tracing::error!(
                    workload = place.workload,
                    %error,
                    "connections that policies refuse now may go on; the next change tries again"
                ),
            }
        }
        std::thread::sleep(PAUSE);
    }
}

fn close(closer: &Closer, place: &Place) -> std::io::Result<usize> {
    closer.close_refused(File::open(&place.netns)?.as_fd())
}
