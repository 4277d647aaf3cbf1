//! One request to stop, seen by every task.

use tokio::sync::watch;

/// Ends the program's tasks. Dropping it counts as firing: a task never outlives its owner unseen.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Tells a task when to end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// A connected pair.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

// === impl Trigger ===

impl Trigger {
    /// Asks every task to end. Further calls change nothing.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the last [`Shutdown`] is dropped: every task that held one has ended.
    pub async fn all_ended(&self) {
        self.0.closed().await;
    }
}

// === impl Shutdown ===

impl Shutdown {
    /// Returns once the trigger has fired; at once if it already has. Safe to drop at any time.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        // The error says that the trigger is gone, which counts as fired.
        let _ = receiver.wait_for(|fired| *fired).await;
    }

    /// True once the trigger has fired.
    pub fn is_fired(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_trigger() {
        let (trigger, shutdown) = channel();
        let clone = shutdown.clone();
        assert!(!clone.is_fired());
        let task = tokio::spawn(async move { clone.wait().await });
        trigger.fire();
        task.await.expect("the task ends");
        assert!(shutdown.is_fired());
        shutdown.wait().await;
        drop(shutdown);
        trigger.all_ended().await;
    }

    #[tokio::test]
    async fn a_dropped_trigger_counts_as_fired() {
        let (trigger, shutdown) = channel();
        drop(trigger);
        assert!(shutdown.is_fired());
        shutdown.wait().await;
    }
}
