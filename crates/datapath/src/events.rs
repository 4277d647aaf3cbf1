//! Reading the event rings, and libbpf's own messages.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use abi::{ConnectionEvent, HeaderWait};
use libbpf_rs::{MapHandle, PrintLevel, RingBuffer, RingBufferBuilder};
use zerocopy::{FromBytes, IntoBytes};

use crate::maps::Maps;
use crate::{Error, Result};

/// Reads the records of a ring. Not `Send`: make it on the thread that reads.
pub struct RingReader<T> {
    ring: RingBuffer<'static>,
    batch: Rc<RefCell<Vec<T>>>,
}

/// Reads connection events.
pub type EventReader = RingReader<ConnectionEvent>;

/// Reads which connections by a waypoint were established.
pub type HeaderReader = RingReader<HeaderWait>;

/// A record that has a ring.
pub trait Record: FromBytes + IntoBytes + 'static {
    /// The ring.
    fn ring(maps: &Maps) -> &MapHandle;
}

impl Record for ConnectionEvent {
    fn ring(maps: &Maps) -> &MapHandle {
        &maps.events
    }
}

impl Record for HeaderWait {
    fn ring(maps: &Maps) -> &MapHandle {
        &maps.header_waits
    }
}

impl<T: Record> RingReader<T> {
    /// A reader of the ring. There must be only one for a ring.
    ///
    /// # Errors
    /// When the ring cannot be mapped.
    pub fn new(maps: &Maps) -> Result<Self> {
        let batch = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&batch);
        let failed = |source| Error::Bpf { action: "open a ring of events".into(), source };
        let mut builder = RingBufferBuilder::new();
        builder
            .add(T::ring(maps), move |bytes| {
                sink.borrow_mut().push(record_of(bytes));
                0
            })
            .map_err(failed)?;
        Ok(Self { ring: builder.build().map_err(failed)?, batch })
    }

    /// Waits until the programs wake the reader or `period` has passed, then returns all records.
    pub fn next_batch(&mut self, period: Duration) -> Vec<T> {
        self.ring.poll_raw(period);
        self.ring.consume_raw();
        self.batch.take()
    }
}

/// A record as this build knows it. While programs are replaced, some are of another build: what a
/// shorter record lacks is zero, what a longer one has besides is not for us.
fn record_of<T: FromBytes + IntoBytes>(bytes: &[u8]) -> T {
    let mut record = T::new_zeroed();
    let known = bytes.len().min(size_of::<T>());
    record.as_mut_bytes()[..known].copy_from_slice(&bytes[..known]);
    record
}

/// Sends libbpf's messages to the log, under the target `bpf`.
pub fn init_libbpf_log() {
    libbpf_rs::set_print(Some((PrintLevel::Debug, |level, text| {
        let text = text.trim_end();
        match level {
            PrintLevel::Warn => tracing::warn!(target: "bpf", "{text}"),
            PrintLevel::Info => tracing::info!(target: "bpf", "{text}"),
            PrintLevel::Debug => tracing::trace!(target: "bpf", "{text}"),
        }
    })));
}
