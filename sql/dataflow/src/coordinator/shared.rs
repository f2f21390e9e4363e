//! What readers see: the newest published epoch, and the pins on older ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::arrangement::{Pin, Pins};
use crate::engine::{BuildState, ReadKey, SourceError, SourceStatus};
use crate::error::Error;
use crate::graph::Reading;
use crate::operator::Errors;
use crate::plan::RelationId;
use crate::source::Offsets;

/// A view as readers see it.
#[derive(Debug, Clone)]
pub(crate) struct ViewHandle {
    /// How to read it; `None` while it is being built.
    pub(crate) reading: Option<Reading>,
    /// By which of its columns rows can be looked up.
    pub(crate) keys: Arc<[ReadKey]>,
    pub(crate) state: watch::Receiver<BuildState>,
    pub(crate) errors: Vec<Arc<Errors>>,
    pub(crate) rows: Arc<AtomicI64>,
}

/// One published epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    pub(crate) epoch: u64,
    pub(crate) now: i64,
    pub(crate) checkpoint: u64,
    pub(crate) views: Arc<BTreeMap<RelationId, ViewHandle>>,
    pub(crate) sources: Arc<BTreeMap<RelationId, SourceStatus>>,
    /// Bad records numbered below this are in it.
    pub(crate) error_end: u64,
    /// The engine cannot go on.
    pub(crate) fatal: Option<Error>,
}

/// The newest bad records; the first one's number.
#[derive(Debug, Default)]
pub(crate) struct ErrorLog {
    pub(crate) first: u64,
    pub(crate) entries: VecDeque<SourceError>,
}

impl ErrorLog {
    /// The number of the next one.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Adds one, and drops the oldest past the bound.
    pub(crate) fn push(&mut self, error: SourceError, bound: usize) {
        self.entries.push_back(error);
        while self.entries.len() > bound {
            self.entries.pop_front();
            self.first += 1;
        }
    }
}

/// Shared by the coordinator and all readers.
#[derive(Debug)]
pub(crate) struct Shared {
    published: RwLock<Arc<Published>>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) errors: Mutex<ErrorLog>,
    /// The end of each source as last seen by the monitor.
    pub(crate) ends: Mutex<BTreeMap<RelationId, Offsets>>,
    pub(crate) epochs: watch::Sender<u64>,
}

impl Shared {
    /// Nothing published yet.
    pub(crate) fn new() -> Shared {
        Shared {
            published: RwLock::default(),
            pins: Arc::default(),
            errors: Mutex::default(),
            ends: Mutex::default(),
            epochs: watch::Sender::new(0),
        }
    }

    /// Makes an epoch the newest.
    pub(crate) fn publish(&self, published: Published) {
        let epoch = published.epoch;
        let mut newest = self.published.write();
        *newest = Arc::new(published);
        // Under the same lock as `pin`: nobody pins an epoch whose undo lists may be gone.
        self.pins.publish(epoch);
        drop(newest);
        self.epochs.send_replace(epoch);
    }

    /// The newest epoch, held.
    pub(crate) fn pin(&self) -> (Arc<Published>, Pin) {
        let newest = self.published.read();
        (newest.clone(), self.pins.pin())
    }

    /// The newest epoch, not held.
    pub(crate) fn newest(&self) -> Arc<Published> {
        self.published.read().clone()
    }
}
