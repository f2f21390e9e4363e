//! The engine's handle: what the SQL layer calls. Cheap to clone.
//!
//! Promises: snapshots are consistent over all views; a change of the set of relations takes
//! effect at a cut; the catalog's bytes are durable when [`Engine::commit_catalog`] returns.
//! Knows no names and no SQL; the catalog is opaque to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::plan::{Plan, RelationId};
use crate::source::{BadRecord, Offsets, Source};
use crate::storage::Storage;

/// The settings of an engine; every queue's bound has its name here.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Threads that run operators (`workers`).
    pub workers: usize,
    /// Time between checkpoints (`checkpoint-interval`).
    pub checkpoint_interval: Duration,
    /// The most rows an epoch takes from all sources together (`epoch.max_rows`).
    pub epoch_max_rows: usize,
    /// The most rows that wait between a source's reader and the engine (`source.queue_rows`).
    pub source_queue_rows: usize,
    /// The most rows a reader puts into one batch (`source.batch_rows`).
    pub source_batch_rows: usize,
    /// The most rows kept in `thalweg.source_errors`, over all sources (`source_errors.max_rows`).
    pub source_errors_max_rows: usize,
}

/// A relation as it is attached at start or created later.
#[derive(Debug, Clone)]
pub enum Definition {
    /// A source.
    Source {
        /// Its oid.
        id: RelationId,
        /// Opened by a connector.
        source: Arc<dyn Source>,
        /// Where it starts, resolved at CREATE SOURCE.
        start: Offsets,
    },
    /// A materialized view.
    View(ViewDefinition),
}

/// A materialized view.
#[derive(Debug, Clone)]
pub struct ViewDefinition {
    /// Its oid.
    pub id: RelationId,
    /// What it computes.
    pub plan: Plan,
}

/// How far the build of a view is.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildState {
    /// Reading what its inputs held.
    Building {
        /// 0 to 1.
        done: f64,
        /// Seconds left, when it can be told.
        eta: Option<Duration>,
    },
    /// It is live and in a checkpoint.
    Live,
    /// It cannot be built; nothing is left of it.
    Failed(Error),
}

/// A running build; dropping it does not stop it.
#[derive(Debug)]
pub struct Build {
    /// The view.
    pub view: RelationId,
    /// Its state, changing.
    pub state: tokio::sync::watch::Receiver<BuildState>,
}

/// What `thalweg.sources` shows of one source.
#[derive(Debug, Clone, Default)]
pub struct SourceStatus {
    /// Position of each partition, as of the newest published epoch.
    pub offsets: Offsets,
    /// End of each partition as last seen.
    pub end: Offsets,
    /// Valid rows.
    pub rows: u64,
    /// Bad records, exactly, however many rows `source_errors` still keeps.
    pub errors: u64,
    /// Header lines skipped.
    pub headers: u64,
    /// Null payloads skipped.
    pub tombstones: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Why it cannot be read for now, if so.
    pub stalled: Option<Error>,
    /// Whether a live view reads it.
    pub active: bool,
}

/// What `thalweg.materialized_views` shows of one view.
#[derive(Debug, Clone)]
pub struct ViewStatus {
    /// Its build.
    pub state: BuildState,
    /// Rows it has.
    pub rows: u64,
    /// Rows it lacks because of errors.
    pub errors: u64,
    /// Bytes of state in memory (shared arrangements count for each view).
    pub memory: u64,
}

/// The state of everything, as of the newest published epoch.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The epoch.
    pub epoch: u64,
    /// The clock reading of its cut, microseconds since 1970 UTC.
    pub now: i64,
    /// The newest durable checkpoint's epoch.
    pub checkpoint: u64,
    /// The sources.
    pub sources: BTreeMap<RelationId, SourceStatus>,
    /// The views.
    pub views: BTreeMap<RelationId, ViewStatus>,
}

/// A row of `thalweg.source_errors`.
#[derive(Debug, Clone)]
pub struct SourceError {
    /// The source.
    pub source: RelationId,
    /// The partition.
    pub partition: i32,
    /// The rest.
    pub record: BadRecord,
}

/// A row of `thalweg.view_errors`.
#[derive(Debug, Clone)]
pub struct ViewError {
    /// The view.
    pub view: RelationId,
    /// The error that a SELECT gives.
    pub error: Error,
    /// The input row (or group) it comes from, as text.
    pub row: String,
    /// How often.
    pub count: i64,
}

/// The engine.
#[derive(Debug, Clone)]
pub struct Engine {}

/// All views at one epoch; pinned while it is held.
#[derive(Debug)]
pub struct Snapshot {}

/// The rows of a view, in no order. Dropping it ends the scan.
pub type Rows = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

#[allow(unused_variables)]
impl Engine {
    /// Opens the storage and loads the newest checkpoint. Nothing runs before [`Engine::start`].
    pub fn open(options: EngineOptions, storage: Storage) -> Result<Engine> { Err(Error::internal("contract only")) }

    /// The catalog's bytes as last committed; `None` in a new data folder.
    pub fn catalog(&self) -> Option<Vec<u8>> { None }

    /// Attaches what the catalog defines and starts: plays the cut log, then goes live. State of a
    /// relation that is not named is dropped; a view whose plan does not fit its stored state
    /// (fingerprint) or whose build was interrupted is built again.
    pub fn start(&self, definitions: Vec<Definition>) -> Result<()> { Ok(()) }

    /// Adds a source. Nothing is read before a view reads it.
    pub async fn add_source(&self, id: RelationId, source: Arc<dyn Source>, start: Offsets) -> Result<()> { Ok(()) }

    /// Starts to build a view.
    pub async fn add_view(&self, definition: ViewDefinition) -> Result<Build> { Err(Error::internal("contract only")) }

    /// Removes relations at a cut; a view that is being built is cancelled.
    pub async fn remove(&self, ids: Vec<RelationId>) -> Result<()> { Ok(()) }

    /// Makes the catalog durable.
    pub async fn commit_catalog(&self, bytes: Vec<u8>) -> Result<()> { Ok(()) }

    /// Pins the newest published epoch.
    pub fn snapshot(&self) -> Snapshot { Snapshot {} }

    /// The state of everything.
    pub fn status(&self) -> Status { Status::default() }

    /// Waits for the next published epoch after this one.
    pub async fn published_after(&self, epoch: u64) -> u64 { epoch }

    /// Stops: a last checkpoint, then nothing runs.
    pub async fn stop(&self) -> Result<()> { Ok(()) }
}

#[allow(unused_variables)]
impl Snapshot {
    /// The epoch.
    pub fn epoch(&self) -> u64 { 0 }

    /// The clock reading of its cut, microseconds since 1970 UTC.
    pub fn now(&self) -> i64 { 0 }

    /// The rows of a view, with the given columns of its schema (all if `None`). An error if the
    /// view is not there, is being built (55000) or has errors (theirs, with a hint).
    pub fn scan(&self, view: RelationId, columns: Option<Vec<usize>>) -> Result<Rows> { Err(Error::internal("contract only")) }

    /// The schema of a view.
    pub fn schema(&self, view: RelationId) -> Option<SchemaRef> { None }

    /// All of `thalweg.source_errors`.
    pub fn source_errors(&self) -> Vec<SourceError> { Vec::new() }

    /// All of `thalweg.view_errors`.
    pub fn view_errors(&self) -> Vec<ViewError> { Vec::new() }
}
