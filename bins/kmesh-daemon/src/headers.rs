//! Clients of a waypoint that do not speak first: after a moment the daemon sends the header for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use abi::HeaderWait;
use datapath::{HeaderReader, HeaderSender, Maps, Outcome};
use runtime::shutdown::Shutdown;

/// How long the thread may sleep while no connection waits.
const IDLE_PERIOD: Duration = Duration::from_millis(100);

/// Sends headers on a thread of its own until shutdown, for clients that have said nothing for
/// `silence_max`.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(maps: Arc<Maps>, silence_max: Duration, shutdown: Shutdown) -> std::io::Result<()> {
    thread::Builder::new().name("headers".into()).spawn(move || {
        if let Err(error) = run(&maps, silence_max, &shutdown) {
            tracing::error!(
                %error,
                "clients that wait for the server to speak first get no answer through a waypoint; \
                 all others do"
            );
        }
    })?;
    Ok(())
}

fn run(maps: &Arc<Maps>, silence_max: Duration, shutdown: &Shutdown) -> anyhow::Result<()> {
    let sender = HeaderSender::new(Arc::clone(maps))?;
    let mut reader = HeaderReader::new(maps)?;
    // In the order in which the connections were established, so the first is the first to be due.
    let mut waiting: VecDeque<HeaderWait> = VecDeque::new();
    while !shutdown.is_fired() {
        let Some(first) = waiting.front() else {
            waiting.extend(reader.next_batch(IDLE_PERIOD));
            continue;
        };
        // Nobody wakes it from this: however many connections come, it works once in `silence_max`.
        thread::sleep(left(first, silence_max));
        waiting.extend(reader.next_batch(Duration::ZERO));
        let due = waiting.iter().take_while(|wait| left(wait, silence_max).is_zero()).count();
        let due: Vec<HeaderWait> = waiting.drain(..due).collect();
        let outcomes = sender.send(&due).unwrap_or_else(|error| {
            tracing::warn!(%error, connections = due.len(), "no header was sent for silent clients");
            Vec::new()
        });
        for (dialled, outcome) in outcomes {
            if let Outcome::Failed(error) = outcome {
                tracing::warn!(%dialled, %error, "no header was sent for a client that is silent");
            }
        }
    }
    Ok(())
}

/// How long the client may still be silent.
fn left(wait: &HeaderWait, silence_max: Duration) -> Duration {
    let silent = datapath::monotonic_ns().saturating_sub(wait.established_ns);
    silence_max.saturating_sub(Duration::from_nanos(silent))
}
