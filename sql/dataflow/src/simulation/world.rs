//! The simulated world: one engine's coordinator, stepped on this thread, and all that is outside of
//! it: storage that crashes, sources, a clock, hands that hold what threads would do.
//!
//! Promises: the same seed does the same, to the byte. What is not here: the threads themselves and
//! their interleavings within a step, sled, the SQL layer.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{oneshot, watch};

use super::query::Query;
use super::source::{Partitions, Simulated, columns};
use super::storage::{Disk, Fuse};
use super::value::{Bag, Type, schema};
use crate::checkpoint::Frozen;
use crate::coordinator::backfill::{Job, Target};
use crate::coordinator::hands::Hands;
use crate::coordinator::inbox::Inbox;
use crate::coordinator::shared::Shared;
use crate::coordinator::writer::Writer;
use crate::coordinator::{Command, Coordinator, Resources};
use crate::engine::{BuildState, Definition, EngineOptions, Loaded, ViewDefinition};
use crate::error::Result;
use crate::plan::RelationId;
use crate::source::{Offsets, Source};
use crate::storage::{Storage, Store};
use crate::table::{Committed, TableDefinition, UniqueKey};

/// What went wrong, as a text.
pub(crate) type Failure = String;

/// A world's settings.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) workers: usize,
    pub(crate) epoch_rows: usize,
    /// Milliseconds between checkpoints.
    pub(crate) checkpoint: u64,
    /// Many rows, and 1,000 changes in most epochs; nothing is joined then: rows times rows.
    pub(crate) large: bool,
}

/// What the engine would have threads for.
#[derive(Default)]
pub(crate) struct Held {
    clock: AtomicI64,
    pub(crate) jobs: Mutex<Vec<HeldJob>>,
    pub(crate) frozen: Mutex<Option<mpsc::Receiver<Frozen>>>,
}

/// A build, and the epoch it may read up to next.
pub(crate) struct HeldJob {
    pub(crate) job: Job,
    pub(crate) target: Option<Target>,
    pub(crate) begun: bool,
}

impl Held {
    /// Lets time pass, in microseconds.
    pub(crate) fn pass(&self, time: i64) {
        self.clock.fetch_add(time, Ordering::Relaxed);
    }
}

/// Instants of all worlds are counted from here: nothing but differences matters.
fn origin() -> Instant {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

impl Hands for Held {
    fn clock(&self) -> i64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn instant(&self) -> Instant {
        origin() + Duration::from_micros(self.clock.load(Ordering::Relaxed).unsigned_abs())
    }

    fn build(&self, job: Job, first: Target, _: Arc<Inbox>) -> Result<()> {
        self.jobs.lock().push(HeldJob { job, target: Some(first), begun: false });
        Ok(())
    }

    fn writer(&self, _: Arc<dyn Store>, _: Arc<Inbox>) -> Result<Writer> {
        let (sender, receiver) = mpsc::channel();
        *self.frozen.lock() = Some(receiver);
        Ok(Writer::held(sender))
    }
}

/// A table as it must be.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) definition: Arc<TableDefinition>,
    /// Its rows, what was sent and must be accepted included.
    pub(crate) rows: Bag,
}

/// A commit that was sent: what must be answered, and the tables after it.
pub(crate) struct Sent {
    pub(crate) reply: oneshot::Receiver<Result<Committed>>,
    pub(crate) accepted: bool,
    pub(crate) after: BTreeMap<u32, Bag>,
    pub(crate) text: String,
}

/// The engine while it runs.
pub(crate) struct Running {
    pub(crate) coordinator: Coordinator,
    pub(crate) storage: Storage,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) builds: BTreeMap<u32, watch::Receiver<BuildState>>,
}

/// The world.
pub(crate) struct World {
    pub(crate) random: StdRng,
    pub(crate) setup: Setup,
    pub(crate) disk: Disk,
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) hands: Arc<Held>,
    pub(crate) sources: BTreeMap<u32, Arc<Partitions>>,
    pub(crate) tables: BTreeMap<u32, Table>,
    /// The tables as every client that was answered knows them.
    pub(crate) acknowledged: BTreeMap<u32, Bag>,
    pub(crate) sent: VecDeque<Sent>,
    /// Rows that changed since the last epoch that was checked.
    pub(crate) changed: usize,
    /// Every view that ever was, and its query.
    pub(crate) queries: BTreeMap<u32, Query>,
    pub(crate) parts: Vec<Query>,
    /// The views of the catalog, as acknowledged; what it is about to become.
    pub(crate) catalog: Vec<u32>,
    pub(crate) next_catalog: Option<Vec<u32>>,
    pub(crate) next_view: u32,
    pub(crate) running: Option<Running>,
    pub(crate) pins: Vec<super::check::Pinned>,
    pub(crate) seen: super::check::Seen,
    pub(crate) log: super::check::Log,
}

/// The sources, then the tables.
pub(crate) const SOURCES: [u32; 2] = [1, 2];
pub(crate) const TABLES: [u32; 2] = [3, 4];

impl World {
    /// A new world.
    pub(crate) fn new(seed: u64, workers: Option<usize>) -> World {
        let mut random = StdRng::seed_from_u64(seed);
        let drawn = [1, 1, 2, 8][random.random_range(0..4)];
        let setup = Setup {
            workers: workers.unwrap_or(drawn),
            epoch_rows: [3, 50, 100_000][random.random_range(0..3)],
            checkpoint: [0, 5, 50][random.random_range(0..3)],
            large: random.random_range(0..30) == 0,
        };
        let setup = Setup { epoch_rows: if setup.large { 100_000 } else { setup.epoch_rows }, ..setup };
        let table = |id: u32| {
            // The second one has a key: nulls in it meet nothing.
            let keys = vec![UniqueKey { name: "t_key".into(), columns: vec![0, 1] }];
            let keys = if id == TABLES[1] { keys } else { Vec::new() };
            let definition = TableDefinition {
                id: RelationId(id),
                name: format!("t{id}"),
                schema: schema(&columns()),
                keys,
                followers: Vec::new(),
            };
            Table { definition: Arc::new(definition), rows: Bag::new() }
        };
        World {
            random,
            setup,
            disk: Disk::default(),
            fuse: Arc::new(Fuse::new()),
            hands: Arc::default(),
            sources: SOURCES.iter().map(|id| (*id, Arc::default())).collect(),
            tables: TABLES.iter().map(|id| (*id, table(*id))).collect(),
            acknowledged: TABLES.iter().map(|id| (*id, Bag::new())).collect(),
            sent: VecDeque::new(),
            changed: 0,
            queries: BTreeMap::new(),
            parts: Vec::new(),
            catalog: Vec::new(),
            next_catalog: None,
            next_view: 10,
            running: None,
            pins: Vec::new(),
            seen: super::check::Seen::default(),
            log: super::check::Log::default(),
        }
    }

    /// The types of a relation's columns.
    pub(crate) fn types(&self, relation: u32) -> Vec<Type> {
        self.queries.get(&relation).map_or_else(columns, |query| query.types.clone())
    }

    /// Opens the engine over what the disk holds. The fuse may burn meanwhile: then once more.
    pub(crate) fn open(&mut self) -> Result<(), Failure> {
        loop {
            let opened = catch_unwind(AssertUnwindSafe(|| self.try_open()));
            match opened {
                Ok(Ok(running)) if !self.fuse.is_burnt() => {
                    self.running = Some(running);
                    return self.check_recovered();
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) if self.fuse.is_burnt() => {}
                Ok(Err(error)) => return Err(format!("the engine does not open: {error}")),
                Err(_) => return Err("the engine panics as it opens".into()),
            }
            self.log.note("dies as it opens".into());
            self.die();
        }
    }

    fn try_open(&mut self) -> Result<Running> {
        let storage = self.disk.open(&self.fuse)?;
        let Loaded { recovered, cuts, catalog } = Loaded::read(&storage)?;
        let bytes = catalog.unwrap_or_default();
        let views: Vec<u32> = serde_json::from_slice(&bytes).unwrap_or_default();
        let offsets = |source: &Simulated| source.start();
        let mut definitions = Vec::new();
        for (id, partitions) in &self.sources {
            let source = Simulated(partitions.clone());
            let start: Offsets = offsets(&source)?;
            definitions.push(Definition::Source { id: RelationId(*id), source: Arc::new(source), start });
        }
        definitions.extend(self.tables.values().map(|table| Definition::Table(table.definition.as_ref().clone())));
        for id in &views {
            let plan = self.queries[id].lower();
            definitions.push(Definition::View(ViewDefinition { id: RelationId(*id), plan }));
        }
        let options = EngineOptions {
            workers: self.setup.workers,
            checkpoint_interval: Duration::from_millis(self.setup.checkpoint),
            epoch_max_rows: self.setup.epoch_rows,
            source_queue_rows: usize::MAX,
            source_batch_rows: 100,
            source_errors_max_rows: 1000,
        };
        let (inbox, shared) = (Arc::new(Inbox::new(options.source_queue_rows)), Arc::new(Shared::new()));
        let resources = Resources {
            options,
            storage: storage.clone(),
            inbox: inbox.clone(),
            shared: shared.clone(),
            hands: self.hands.clone(),
        };
        let mut coordinator = Coordinator::recovered(resources, &recovered, cuts, bytes, definitions)?;
        coordinator.begin()?;
        self.seen.catalog = views;
        Ok(Running { coordinator, storage, inbox, shared, builds: BTreeMap::new() })
    }

    /// The process is gone; what was flushed stays.
    pub(crate) fn die(&mut self) {
        self.running = None;
        self.pins.clear();
        self.hands.jobs.lock().clear();
        *self.hands.frozen.lock() = None;
        self.sources.values().for_each(|source| source.forget());
        self.disk = self.disk.crash();
        self.fuse = Arc::new(Fuse::new());
    }

    /// Kills the process and starts it again.
    pub(crate) fn crash(&mut self) -> Result<(), Failure> {
        self.log.crashes += 1;
        self.die();
        self.open()
    }

    /// One turn of the coordinator over what waits; then all that was published is checked.
    pub(crate) fn turn(&mut self) -> Result<(), Failure> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let commands = running.inbox.wait(Instant::now());
        let outcome = catch_unwind(AssertUnwindSafe(|| running.coordinator.turn(commands, true)));
        match outcome {
            _ if self.fuse.is_burnt() => {
                self.log.note("dies".into());
                return self.crash();
            }
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => {
                self.log.restarts += 1;
                self.settle()?;
                self.die();
                return self.open();
            }
            Ok(Err(error)) => return Err(format!("the engine cannot go on: {error}")),
            Err(_) => return Err("the coordinator panics".into()),
        }
        self.settle()?;
        self.check()
    }

    /// Sends a command.
    pub(crate) fn send(&self, command: Command) {
        if let Some(running) = &self.running {
            running.inbox.send(command);
        }
    }
}
