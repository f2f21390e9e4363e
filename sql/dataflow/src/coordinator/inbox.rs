//! What waits for the coordinator: batches of the sources, bounded a source, and commands.
//!
//! A reader that pushes into a full queue blocks until the coordinator has taken some; a reader
//! that was replaced or stopped finds its queue closed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Command;
use crate::error::Error;
use crate::plan::RelationId;
use crate::source::{Closed, Source, SourceBatch, SourceItem, SourceOutput};

/// The coordinator's inbox.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Something came for the coordinator.
    arrived: Condvar,
    /// A queue has room again, or was closed.
    room: Condvar,
    /// The most rows a source's queue holds.
    queue_rows: usize,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<RelationId, Queue>,
    commands: VecDeque<Command>,
    sources: Vec<(RelationId, Arc<dyn Source>)>,
    /// Nobody obeys any more.
    ended: bool,
}

#[derive(Debug, Default)]
struct Queue {
    /// Which reader may push.
    reader: u64,
    batches: VecDeque<SourceBatch>,
    rows: usize,
    stalled: Option<Error>,
    failed: Option<Error>,
}

/// Where one reader pushes to.
struct Output {
    inbox: Arc<Inbox>,
    source: RelationId,
    reader: u64,
}

impl Inbox {
    /// An empty inbox.
    pub(crate) fn new(queue_rows: usize) -> Inbox {
        Inbox { state: Mutex::default(), arrived: Condvar::new(), room: Condvar::new(), queue_rows }
    }

    /// Hands a command over; one that nobody obeys any more is dropped, and who waits hears it.
    pub(crate) fn send(&self, command: Command) {
        let mut state = self.state.lock();
        if !state.ended {
            state.commands.push_back(command);
            drop(state);
            self.arrived.notify_one();
        }
    }

    /// Nobody obeys from here on.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        let left = std::mem::take(&mut state.commands);
        drop(state);
        drop(left);
    }

    /// Opens a source's queue for a new reader; the one before is closed and its batches dropped.
    pub(crate) fn open(self: &Arc<Inbox>, source: RelationId) -> Arc<dyn SourceOutput> {
        let mut state = self.state.lock();
        let queue = state.queues.entry(source).or_default();
        *queue = Queue { reader: queue.reader + 1, ..Queue::default() };
        let reader = queue.reader;
        drop(state);
        self.room.notify_all();
        Arc::new(Output { inbox: self.clone(), source, reader })
    }

    /// Closes a source's queue.
    pub(crate) fn close(&self, source: RelationId) {
        if let Some(queue) = self.state.lock().queues.get_mut(&source) {
            *queue = Queue { reader: queue.reader + 1, ..Queue::default() };
        }
        self.room.notify_all();
    }

    /// Waits until a command or a batch is there, at most until `deadline`; the commands.
    pub(crate) fn wait(&self, deadline: Instant) -> VecDeque<Command> {
        let mut state = self.state.lock();
        while state.commands.is_empty() && state.queues.values().all(|queue| queue.batches.is_empty()) {
            if self.arrived.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        std::mem::take(&mut state.commands)
    }

    /// Whether commands wait.
    #[cfg(test)]
    pub(crate) fn has_commands(&self) -> bool {
        !self.state.lock().commands.is_empty()
    }

    /// Whether the engine is told to stop.
    pub(crate) fn is_told_to_stop(&self) -> bool {
        self.state.lock().commands.iter().any(|command| matches!(command, Command::Stop { .. }))
    }

    /// Takes waiting batches of a source, at most `rows` rows (but at least one batch).
    pub(crate) fn take(&self, source: RelationId, rows: usize) -> Vec<SourceBatch> {
        let mut state = self.state.lock();
        let Some(queue) = state.queues.get_mut(&source) else { return Vec::new() };
        let mut taken = Vec::new();
        let mut count = 0;
        while let Some(batch) = queue.batches.front() {
            let size = batch.rows.num_rows().max(1);
            if count > 0 && count + size > rows {
                break;
            }
            count += size;
            taken.extend(queue.batches.pop_front());
        }
        queue.rows -= count.min(queue.rows);
        drop(state);
        self.room.notify_all();
        taken
    }

    /// Whether a source's reader says that it cannot read, and whether for good.
    pub(crate) fn trouble(&self, source: RelationId) -> (Option<Error>, Option<Error>) {
        let state = self.state.lock();
        state.queues.get(&source).map_or((None, None), |queue| (queue.stalled.clone(), queue.failed.clone()))
    }

    /// Tells the monitor which sources there are.
    pub(crate) fn set_sources(&self, sources: Vec<(RelationId, Arc<dyn Source>)>) {
        self.state.lock().sources = sources;
    }

    /// The sources there are.
    pub(crate) fn sources(&self) -> Vec<(RelationId, Arc<dyn Source>)> {
        self.state.lock().sources.clone()
    }

    /// Waits a little for a batch of any source: recovery's wait.
    pub(crate) fn wait_for_batch(&self, timeout: Duration) {
        let mut state = self.state.lock();
        if state.queues.values().all(|queue| queue.batches.is_empty()) {
            self.arrived.wait_for(&mut state, timeout);
        }
    }
}

impl SourceOutput for Output {
    fn push(&self, item: SourceItem) -> Result<(), Closed> {
        let inbox = &self.inbox;
        let mut state = inbox.state.lock();
        loop {
            let queue = state.queues.get_mut(&self.source).filter(|queue| queue.reader == self.reader).ok_or(Closed)?;
            match &item {
                SourceItem::Batch(_) if queue.rows >= inbox.queue_rows => inbox.room.wait(&mut state),
                _ => break,
            }
        }
        let queue = state.queues.get_mut(&self.source).ok_or(Closed)?;
        match item {
            SourceItem::Batch(batch) => {
                // A batch without rows counts too, or progress alone could fill the memory.
                queue.rows += batch.rows.num_rows().max(1);
                queue.stalled = None;
                queue.batches.push_back(batch);
            }
            SourceItem::Stalled(error) => queue.stalled = Some(error),
            SourceItem::Resumed | SourceItem::Finished => queue.stalled = None,
            SourceItem::Failed(error) => queue.failed = Some(error),
        }
        drop(state);
        inbox.arrived.notify_one();
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.inbox.state.lock().queues.get(&self.source).is_none_or(|queue| queue.reader != self.reader)
    }
}
