//! The thread that writes checkpoints, the only one that writes the store.
//!
//! Promises: what is handed over is written in order, each followed by a word to the coordinator;
//! when the value is dropped, the thread has ended and the store is let go of.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use super::Command;
use super::inbox::Inbox;
use crate::checkpoint::Frozen;
use crate::error::{Error, Result};
use crate::storage::Store;

/// The thread's handle.
pub(crate) struct Writer {
    frozen: Option<mpsc::Sender<Frozen>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(store: Arc<dyn Store>, inbox: Arc<Inbox>) -> Result<Writer> {
        let (sender, frozen) = mpsc::channel::<Frozen>();
        let work = move || {
            while let Ok(frozen) = frozen.recv() {
                write(frozen, store.as_ref(), &inbox, Instant::now);
            }
        };
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(work);
        let thread =
            thread.map_err(|error| Error::internal(format!("the checkpoint thread cannot be started: {error}")))?;
        Ok(Writer { frozen: Some(sender), thread: Some(thread) })
    }

    /// Lets somebody else write what is handed over: nothing runs by itself.
    #[cfg(test)]
    pub(crate) fn held(frozen: mpsc::Sender<Frozen>) -> Writer {
        Writer { frozen: Some(frozen), thread: None }
    }

    /// Hands a checkpoint over.
    pub(super) fn write(&self, frozen: Frozen) -> Result<()> {
        let sent = self.frozen.as_ref().map(|sender| sender.send(frozen));
        sent.and_then(|sent| sent.ok()).ok_or_else(|| Error::internal("the checkpoint writer ended"))
    }
}

/// Writes a checkpoint and says so to the coordinator.
pub(crate) fn write(frozen: Frozen, store: &dyn Store, inbox: &Inbox, now: impl Fn() -> Instant) {
    let (epoch, views) = (frozen.epoch, frozen.views.iter().copied().collect());
    let started = now();
    let result = frozen.write(store);
    inbox.send(Command::CheckpointDone { epoch, views, took: now().duration_since(started), result });
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.frozen = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, nobody is left to be told.
            let _ = thread.join();
        }
    }
}
