//! The log of cuts: a [`CutLog`] over any [`Store`] of its own, with one thread that alone writes it.
//!
//! Promises: records become durable in the order of their epochs; each callback runs on the log's
//! thread, in order, after the flush that made its record durable. All that waits when a flush begins
//! shares it. Truncation happens on the same thread, a slice at a time beside appends, so that no
//! append waits for a long one. After the first error every append gets that error. Appends block
//! when [`QUEUE`] of them wait. Does not know what a record means.
//! (Layout and figures: docs/decisions/0003-cut-log.md.)

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::{CutLog, Store, Tree, Write};
use crate::error::{Error, Result, SqlState};
#[cfg(test)]
use crate::simulation::fault::{Fault, planted};

/// Appends that may wait for the log's thread.
const QUEUE: usize = 1024;

/// Bytes of records that share one flush at most.
const GROUP_BYTES: usize = 16 << 20;

/// Records that are removed with one flush at most.
const TRUNCATE_SLICE: usize = 256;

/// What is called when a record is durable.
type Durable = Box<dyn FnOnce(Result<()>) + Send>;

/// The records from an epoch on.
type Records = Vec<(u64, Vec<u8>)>;

/// A log of cuts in a store.
#[derive(Debug)]
pub struct StoreCutLog {
    requests: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
}

enum Request {
    Append { epoch: u64, record: Vec<u8>, durable: Durable },
    TruncateBelow(u64),
    ReadFrom(u64, SyncSender<Result<Records>>),
}

impl StoreCutLog {
    /// Opens the log that lies in `store`, which nobody else may write, and starts its thread.
    ///
    /// Errors: those of reading the store.
    pub fn open(store: Arc<dyn Store>) -> Result<StoreCutLog> {
        let writer = Writer::open(store)?;
        let (requests, queue) = sync_channel(QUEUE);
        let thread = thread::Builder::new()
            .name("cut-log".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|error| super::lock::failed("could not start the thread of the cut log", &error))?;
        Ok(StoreCutLog { requests: Some(requests), thread: Some(thread) })
    }

    /// A log that has stopped: every append gets an error.
    pub(super) fn stopped() -> StoreCutLog {
        StoreCutLog { requests: None, thread: None }
    }

    /// Hands a request to the thread; it comes back when the thread is gone.
    fn send(&self, request: Request) -> std::result::Result<(), Request> {
        match &self.requests {
            Some(requests) => requests.send(request).map_err(|error| error.0),
            None => Err(request),
        }
    }
}

impl CutLog for StoreCutLog {
    fn append(&self, epoch: u64, record: Vec<u8>, durable: Durable) {
        if let Err(Request::Append { durable, .. }) = self.send(Request::Append { epoch, record, durable }) {
            durable(Err(stopped()));
        }
    }

    fn truncate_below(&self, epoch: u64) {
        // A stopped log has said so to every append already.
        let _ = self.send(Request::TruncateBelow(epoch));
    }

    fn read_from(&self, epoch: u64) -> Result<Records> {
        let (reply, answer) = sync_channel(1);
        self.send(Request::ReadFrom(epoch, reply)).map_err(|_| stopped())?;
        answer.recv().map_err(|_| stopped())?
    }
}

impl Drop for StoreCutLog {
    /// Waits until everything appended is durable.
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the cut log panicked");
        }
    }
}

fn stopped() -> Error {
    Error::new(SqlState::AdminShutdown, "the cut log has stopped")
}

fn epoch_of(key: &[u8]) -> Result<u64> {
    let bytes = key.try_into().map_err(|_| {
        super::frame::damaged(Tree::Log, key, "A key of the cut log has 8 bytes: the epoch.".to_owned())
    })?;
    Ok(u64::from_be_bytes(bytes))
}

#[derive(Debug)]
struct Writer {
    store: Arc<dyn Store>,
    /// The epochs that the log holds, in order.
    epochs: VecDeque<u64>,
    /// Records of epochs below this one are to be removed.
    below: u64,
    failed: Option<Error>,
}

impl Writer {
    fn open(store: Arc<dyn Store>) -> Result<Writer> {
        let mut epochs = VecDeque::new();
        store.scan(Tree::Log, &[], &mut |key, _| {
            epochs.push_back(epoch_of(key)?);
            Ok(())
        })?;
        Ok(Writer { store, epochs, below: 0, failed: None })
    }

    fn run(mut self, queue: &Receiver<Request>) {
        let mut changes = Vec::new();
        let mut waiting: Vec<Durable> = Vec::new();
        let mut next = None;
        loop {
            // Blocks only when there is nothing to remove either.
            if next.is_none() {
                next = if self.truncating() { queue.try_recv().ok() } else { queue.recv().ok() };
                if next.is_none() && !self.truncating() {
                    return;
                }
            }
            let mut bytes = 0;
            while let Some(request) = next.take() {
                match request {
                    Request::Append { epoch, record, durable } => {
                        bytes += record.len();
                        match self.accept(epoch) {
                            Ok(()) => changes.push((epoch.to_be_bytes().to_vec(), Some(record))),
                            Err(error) => {
                                // Those before it are told first: callbacks run in order.
                                self.flush(&mut changes, &mut waiting);
                                durable(Err(error));
                                continue;
                            }
                        }
                        waiting.push(durable);
                    }
                    Request::TruncateBelow(epoch) => self.below = self.below.max(epoch),
                    Request::ReadFrom(epoch, reply) => {
                        self.flush(&mut changes, &mut waiting);
                        // A caller that no longer waits needs no answer.
                        let _ = reply.send(self.read_from(epoch));
                    }
                }
                if bytes >= GROUP_BYTES {
                    break;
                }
                next = queue.try_recv().ok();
            }
            self.truncate(&mut changes);
            self.flush(&mut changes, &mut waiting);
        }
    }

    /// Takes an epoch into the log if it is above all before it.
    fn accept(&mut self, epoch: u64) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if let Some(last) = self.epochs.back().filter(|last| **last >= epoch) {
            return Err(Error::internal(format!("epoch {epoch} is appended to the cut log after epoch {last}")));
        }
        self.epochs.push_back(epoch);
        Ok(())
    }

    fn truncating(&self) -> bool {
        self.failed.is_none() && self.epochs.front().is_some_and(|first| *first < self.below)
    }

    fn truncate(&mut self, changes: &mut Vec<Write>) {
        for _ in 0..TRUNCATE_SLICE {
            if !self.truncating() {
                return;
            }
            if let Some(epoch) = self.epochs.pop_front() {
                changes.push((epoch.to_be_bytes().to_vec(), None));
            }
        }
    }

    fn flush(&mut self, changes: &mut Vec<Write>, waiting: &mut Vec<Durable>) {
        if self.failed.is_none() && !changes.is_empty() {
            let changes = std::mem::take(changes);
            let result = self.store.write(Tree::Log, changes).and_then(|()| self.store.flush());
            self.failed = result.err();
        }
        changes.clear();
        for durable in waiting.drain(..) {
            durable(self.failed.clone().map_or(Ok(()), Err));
        }
    }

    fn read_from(&self, from: u64) -> Result<Records> {
        let mut records = Vec::new();
        self.store.scan(Tree::Log, &[], &mut |key, record| {
            let epoch = epoch_of(key)?;
            if epoch >= from.max(self.below) {
                records.push((epoch, record));
            }
            Ok(())
        })?;
        Ok(records)
    }
}

/// The same log without its thread: what is asked is done when the call returns. For simulation.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct SteppedCutLog(parking_lot::Mutex<Writer>);

#[cfg(test)]
impl SteppedCutLog {
    /// Opens the log that lies in `store`.
    pub(crate) fn open(store: Arc<dyn Store>) -> Result<SteppedCutLog> {
        Ok(SteppedCutLog(parking_lot::Mutex::new(Writer::open(store)?)))
    }
}

#[cfg(test)]
impl CutLog for SteppedCutLog {
    fn append(&self, epoch: u64, record: Vec<u8>, durable: Durable) {
        let mut writer = self.0.lock();
        if let Err(error) = writer.accept(epoch) {
            return durable(Err(error));
        }
        let change = (epoch.to_be_bytes().to_vec(), Some(record));
        if planted(Fault::LogLies) {
            return durable(writer.store.write(Tree::Log, vec![change]));
        }
        writer.flush(&mut vec![change], &mut vec![durable]);
    }

    fn truncate_below(&self, epoch: u64) {
        let mut writer = self.0.lock();
        writer.below = writer.below.max(epoch);
        let mut changes = Vec::new();
        writer.truncate(&mut changes);
        writer.flush(&mut changes, &mut Vec::new());
    }

    fn read_from(&self, epoch: u64) -> Result<Records> {
        self.0.lock().read_from(epoch)
    }
}
