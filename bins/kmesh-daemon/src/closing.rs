//! Ending connections that are not allowed any more, on a thread of its own: a namespace may have very
//! many, and the loop has others to serve.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
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
    /// It was said that this did not work.
    has_failed: bool,
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
            .spawn(move || serve(&received, &count, |place| close(&own, place)))?;
        Ok(Self { orders, closer, ended })
    }

    /// Has every connection into these namespaces looked at, at once or within [`PAUSE`].
    pub fn close_refused<'a>(&self, enrolments: impl Iterator<Item = &'a Enrolment>) {
        let place = |enrolment: &Enrolment| Place {
            netns: (&enrolment.netns).into(),
            workload: enrolment.workload.clone().unwrap_or_default(),
            has_failed: false,
        };
        // The thread ends with the daemon alone.
        let _ = self.orders.send(enrolments.map(place).collect());
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

/// Does orders until nobody can give any. What could not be done is done again.
fn serve(
    orders: &Receiver<Vec<Place>>,
    ended: &AtomicU64,
    close: impl Fn(&Place) -> std::io::Result<usize>,
) {
    let mut left = Vec::new();
    loop {
        let order = match left.is_empty() {
            true => orders.recv().map_err(RecvTimeoutError::from),
            false => orders.recv_timeout(PAUSE),
        };
        let order = match order {
            // The newest names everybody that the older ones do, or those that are left of them.
            Ok(order) => orders.try_iter().last().unwrap_or(order),
            Err(RecvTimeoutError::Timeout) => std::mem::take(&mut left),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        left = order.into_iter().filter_map(|place| attempt(place, ended, &close)).collect();
        std::thread::sleep(PAUSE);
    }
}

/// Closes what is refused at a place; returns the place where that has to be tried again.
fn attempt(
    mut place: Place,
    ended: &AtomicU64,
    close: impl Fn(&Place) -> std::io::Result<usize>,
) -> Option<Place> {
    let workload = &place.workload;
    match close(&place) {
        Ok(count) => {
            ended.fetch_add(count as u64, Ordering::Relaxed);
            if count > 0 {
                tracing::info!(workload, count, "ended connections that policies refuse now");
            }
            None
        }
        Err(error) if !place.netns.exists() => {
            tracing::debug!(workload, %error, "its namespace is gone");
            None
        }
        Err(error) => {
            if !place.has_failed {
                tracing::error!(
                    workload,
                    %error,
                    "connections that policies refuse now go on; they are looked at again and again"
                );
            }
            place.has_failed = true;
            Some(place)
        }
    }
}

fn close(closer: &Closer, place: &Place) -> std::io::Result<usize> {
    closer.close_refused(File::open(&place.netns)?.as_fd())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn what_fails_is_done_again_until_it_works_and_the_rest_once() {
        let (orders, received) = channel();
        let place = |workload: &str| Place {
            netns: "/proc/self/ns/net".into(),
            workload: workload.into(),
            has_failed: false,
        };
        orders.send(vec![place("a"), place("b")]).expect("a receiver");
        let orders = Mutex::new(Some(orders));
        let calls = Mutex::new(Vec::new());
        let ended = AtomicU64::new(0);
        serve(&received, &ended, |place| {
            let mut calls = calls.lock().expect("not poisoned");
            calls.push(place.workload.clone());
            match calls.len() {
                4 => drop(orders.lock().expect("not poisoned").take()),
                _ if place.workload == "b" => return Err(std::io::Error::other("busy")),
                _ => {}
            }
            Ok(3)
        });
        assert_eq!(*calls.lock().expect("not poisoned"), ["a", "b", "b", "b"]);
        assert_eq!(ended.load(Ordering::Relaxed), 6);
    }
}
