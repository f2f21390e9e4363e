//! The engine's handle: what the SQL layer calls. Cheap to clone.
//!
//! Promises: snapshots are consistent over all views; a change of the set of relations takes
//! effect at a cut; the catalog's bytes are durable when [`Engine::commit_catalog`] returns.
//! Knows no names and no SQL; the catalog is opaque to it.

mod lookup;
mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::checkpoint::{Recovered, recover};
use crate::coordinator::hands::Threads;
use crate::coordinator::inbox::Inbox;
use crate::coordinator::shared::{Shared, ViewHandle};
use crate::coordinator::{Command, Commit, Coordinator, LookupRows, NewKeys, Replacement, Resources};
use crate::cut::Cut;
use crate::error::{Error, Result, SqlState};
use crate::plan::{Plan, RelationId};
use crate::source::{BadRecord, Offsets, Source};
use crate::storage::Storage;
use crate::table::{Change, Committed, Found, TableChange, TableDefinition};

pub use lookup::KeyRange;
pub(crate) use lookup::ReadKey;
pub use snapshot::{Rows, Snapshot};

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
    /// A view that is not built again once it was complete: what it read may be gone.
    Kept {
        /// The view.
        view: ViewDefinition,
        /// Its name, for messages.
        name: String,
    },
    /// A table.
    Table(TableDefinition),
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
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: EngineOptions,
    storage: Storage,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    catalog: Option<Vec<u8>>,
    /// What [`Engine::start`] takes.
    loaded: Mutex<Option<(Recovered, VecDeque<Cut>)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stopped: Arc<AtomicBool>,
}

/// What the storage holds.
pub(crate) struct Loaded {
    /// The newest checkpoint.
    pub(crate) recovered: Recovered,
    /// The cuts after it.
    pub(crate) cuts: VecDeque<Cut>,
    /// The catalog as last committed.
    pub(crate) catalog: Option<Vec<u8>>,
}

impl Loaded {
    /// Reads it.
    pub(crate) fn read(storage: &Storage) -> Result<Loaded> {
        let recovered = recover(storage.store.as_ref())?;
        let records = storage.cuts.read_from(recovered.epoch() + 1)?;
        #[cfg(test)]
        let records = crate::simulation::fault::replayed(records);
        let cuts = records.iter().map(|(_, record)| Cut::decode(record)).collect::<Result<VecDeque<Cut>>>()?;
        let newest = cuts.iter().rev().find_map(|cut| cut.catalog.clone());
        let catalog = newest.or_else(|| recovered.catalog.clone());
        Ok(Loaded { recovered, cuts, catalog })
    }
}

/// How often the ends of the sources are looked at, for their lag.
const MONITOR_INTERVAL: Duration = Duration::from_secs(1);

fn stopped() -> Error {
    Error::new(SqlState::AdminShutdown, "the engine has stopped")
}

impl Engine {
    /// Opens the storage and loads the newest checkpoint. Nothing runs before [`Engine::start`].
    pub fn open(options: EngineOptions, storage: Storage) -> Result<Engine> {
        let Loaded { recovered, cuts, catalog } = Loaded::read(&storage)?;
        let inner = Inner {
            inbox: Arc::new(Inbox::new(options.source_queue_rows)),
            options,
            storage,
            shared: Arc::new(Shared::new()),
            catalog,
            loaded: Mutex::new(Some((recovered, cuts))),
            threads: Mutex::default(),
            stopped: Arc::default(),
        };
        Ok(Engine { inner: Arc::new(inner) })
    }

    /// The catalog's bytes as last committed; `None` in a new data folder.
    pub fn catalog(&self) -> Option<Vec<u8>> {
        self.inner.catalog.clone()
    }

    /// Attaches what the catalog defines and starts: plays the cut log, then goes live. State of a
    /// relation that is not named is dropped; a view whose plan does not fit its stored state
    /// (fingerprint) or whose build was interrupted is built again.
    pub fn start(&self, definitions: Vec<Definition>) -> Result<()> {
        let inner = &self.inner;
        let (recovered, cuts) =
            inner.loaded.lock().take().ok_or_else(|| Error::internal("the engine was started before"))?;
        let mut threads = inner.threads.lock();
        threads.push(self.monitor()?);
        let coordinator = Coordinator::recovered(
            Resources {
                options: inner.options.clone(),
                storage: inner.storage.clone(),
                inbox: inner.inbox.clone(),
                shared: inner.shared.clone(),
                hands: Arc::new(Threads),
            },
            &recovered,
            cuts,
            inner.catalog.clone().unwrap_or_default(),
            definitions,
        )?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(inner.options.workers)
            .thread_name(|n| format!("worker-{n}"))
            .build();
        let pool = pool.map_err(|error| Error::internal(format!("the workers cannot be started: {error}")))?;
        let thread =
            std::thread::Builder::new().name("coordinator".into()).spawn(move || pool.install(|| coordinator.run()));
        threads.push(thread.map_err(|error| Error::internal(format!("the coordinator cannot be started: {error}")))?);
        Ok(())
    }

    /// Looks at the ends of the sources now and then.
    fn monitor(&self) -> Result<JoinHandle<()>> {
        let (inbox, shared, stopped) =
            (self.inner.inbox.clone(), self.inner.shared.clone(), self.inner.stopped.clone());
        let watch = move || {
            while !stopped.load(Ordering::Relaxed) {
                for (id, source) in inbox.sources() {
                    if let Ok(end) = source.end() {
                        shared.ends.lock().insert(id, end);
                    }
                }
                std::thread::park_timeout(MONITOR_INTERVAL);
            }
        };
        let thread = std::thread::Builder::new().name("monitor".into()).spawn(watch);
        thread.map_err(|error| Error::internal(format!("the monitor cannot be started: {error}")))
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        if let Some(fatal) = &self.inner.shared.newest().fatal {
            return Err(fatal.clone());
        }
        let (reply, answer) = oneshot::channel();
        self.inner.inbox.send(command(reply));
        answer.await.map_err(|_| stopped())?
    }

    /// Adds a source. Nothing is read before a view reads it.
    pub async fn add_source(&self, id: RelationId, source: Arc<dyn Source>, start: Offsets) -> Result<()> {
        self.ask(|reply| Command::AddSource { id, source, start, reply }).await
    }

    /// Starts to build a view.
    pub async fn add_view(&self, definition: ViewDefinition) -> Result<Build> {
        self.ask(|reply| Command::AddView { definition, reply }).await
    }

    /// Waits until the epochs that the cut log held at the start are published again: from then on
    /// snapshots have everything that was ever acknowledged.
    pub async fn replayed(&self) -> Result<()> {
        self.ask(|reply| Command::Replayed { reply }).await
    }

    /// Adds a table without rows.
    pub async fn add_table(&self, definition: TableDefinition) -> Result<()> {
        self.ask(|reply| Command::AddTable { definition, reply }).await
    }

    /// The rows that have the given rows' values of a key, as of the newest epoch: nothing is read
    /// but these.
    pub async fn lookup(&self, table: &TableDefinition, key: usize, given: &RecordBatch) -> Result<Found> {
        let values = table.key_values(key, given)?;
        let Some(key) = table.keys.get(key).cloned() else {
            return Err(Error::internal("a key that the table has not"));
        };
        let found = self.ask(|reply| Command::Lookup(LookupRows { table: table.id, key, values, reply })).await?;
        table.found(found)
    }

    /// Makes changes of tables, all of them or none, in one epoch. When it returns they are durable
    /// and in every later snapshot, in every view. Errors: 40001 when a row to be deleted is not
    /// there (any more), 23505 when a key is taken, 42P01 when a table is gone.
    pub async fn commit(&self, changes: &[TableChange]) -> Result<Committed> {
        let changes = Change::encode(changes)?;
        self.ask(|reply| Command::Commit(Commit { changes, reply })).await
    }

    /// Puts a table in the place of another, in one cut with the catalog that says so: `out` takes all
    /// rows of the old one away, `come` brings those of the new one. Error 40001 if the old one has
    /// other rows by now.
    pub async fn replace_table(&self, out: TableChange, come: TableChange, catalog: Vec<u8>) -> Result<()> {
        let (old, new) = (out.table.id, come.table.as_ref().clone());
        let changes = Change::encode(&[out, come])?;
        self.ask(|reply| Command::ReplaceTable(Box::new(Replacement { old, new, changes, catalog, reply }))).await
    }

    /// Gives a table other unique keys, in one cut with the catalog that says so. Error 23505 if two of
    /// its rows share one.
    pub async fn set_keys(&self, definition: TableDefinition, catalog: Vec<u8>) -> Result<()> {
        self.ask(|reply| Command::SetKeys(Box::new(NewKeys { definition, catalog, reply }))).await
    }

    /// Removes relations at a cut; a view that is being built is cancelled.
    pub async fn remove(&self, ids: Vec<RelationId>) -> Result<()> {
        self.ask(|reply| Command::Remove { ids, reply }).await
    }

    /// Makes the catalog durable.
    pub async fn commit_catalog(&self, bytes: Vec<u8>) -> Result<()> {
        self.ask(|reply| Command::CommitCatalog { bytes, reply }).await
    }

    /// Writes a checkpoint now; when it returns it is durable and holds all that was published before.
    pub async fn checkpoint(&self) -> Result<()> {
        self.ask(|reply| Command::Checkpoint { reply }).await
    }

    /// Pins the newest published epoch.
    pub fn snapshot(&self) -> Snapshot {
        let (published, pin) = self.inner.shared.pin();
        Snapshot { published, shared: self.inner.shared.clone(), pin: Arc::new(pin) }
    }

    /// The state of everything. Measures memory, which looks at every group: not for every statement.
    pub fn status(&self) -> Status {
        let published = self.inner.shared.newest();
        let ends = self.inner.shared.ends.lock().clone();
        let sources = published.sources.iter().map(|(id, status)| {
            let end = ends.get(id).cloned().unwrap_or_default();
            (*id, SourceStatus { end, ..status.clone() })
        });
        let views = published.views.iter().map(|(id, handle)| (*id, view_status(handle)));
        Status {
            epoch: published.epoch,
            now: published.now,
            checkpoint: published.checkpoint,
            sources: sources.collect(),
            views: views.collect(),
        }
    }

    /// How far the build of a view is; `None` if the newest published epoch does not have the view.
    pub fn build_state(&self, view: RelationId) -> Option<BuildState> {
        let published = self.inner.shared.newest();
        published.views.get(&view).map(|handle| handle.state.borrow().clone())
    }

    /// Waits for the next published epoch after this one; 0 if the engine is gone.
    pub async fn published_after(&self, epoch: u64) -> u64 {
        let mut epochs = self.inner.shared.epochs.subscribe();
        epochs.wait_for(|newest| *newest > epoch).await.map_or(0, |newest| *newest)
    }

    /// Stops: a last checkpoint, then nothing runs.
    pub async fn stop(&self) -> Result<()> {
        let result = self.ask(|reply| Command::Stop { reply }).await;
        self.inner.stopped.store(true, Ordering::Relaxed);
        let threads: Vec<JoinHandle<()>> = std::mem::take(&mut *self.inner.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                thread.thread().unpark();
                // A thread that panicked has said so; the engine is stopping all the same.
                let _ = thread.join();
            }
        });
        joined.await.map_err(|error| Error::internal(format!("the engine's threads did not end: {error}")))?;
        result
    }
}

fn view_status(handle: &ViewHandle) -> ViewStatus {
    ViewStatus {
        state: handle.state.borrow().clone(),
        rows: handle.rows.load(Ordering::Relaxed).max(0) as u64,
        errors: handle.errors.iter().map(|errors| errors.count()).sum(),
        memory: handle.reading.as_ref().map_or(0, |reading| reading.arrangement.memory() as u64),
    }
}
