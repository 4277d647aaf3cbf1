//! Reading the event ring, and libbpf's own messages.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use abi::ConnectionEvent;
use libbpf_rs::{PrintLevel, RingBuffer, RingBufferBuilder};
use zerocopy::FromBytes;

use crate::maps::Maps;
use crate::{Error, Result};

/// Reads events. Not `Send`: make it on the thread that reads.
pub struct EventReader {
    ring: RingBuffer<'static>,
    batch: Rc<RefCell<Vec<ConnectionEvent>>>,
}

impl EventReader {
    /// A reader of the event ring. There must be only one for a ring.
    ///
    /// # Errors
    /// When the ring cannot be mapped.
    pub fn new(maps: &Maps) -> Result<Self> {
        let batch = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&batch);
        let failed = |source| Error::Bpf { action: "open the event ring".into(), source };
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&maps.events, move |bytes| {
                // A record of another size is not ours to read; the layout test rules it out.
                if let Ok((event, _)) = ConnectionEvent::read_from_prefix(bytes) {
                    sink.borrow_mut().push(event);
                }
                0
            })
            .map_err(failed)?;
        Ok(Self { ring: builder.build().map_err(failed)?, batch })
    }

    /// Waits until the ring is a quarter full or `period` has passed, then returns all events in it.
    pub fn next_batch(&mut self, period: Duration) -> Vec<ConnectionEvent> {
        self.ring.poll_raw(period);
        self.ring.consume_raw();
        self.batch.take()
    }
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
