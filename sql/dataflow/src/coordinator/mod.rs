//! The coordinator: one thread that closes epochs, runs the dataflow and publishes.
//!
//! Everything that changes the engine passes here one at a time: batches, commands, finished
//! builds and checkpoints. An epoch is closed as soon as the last is done and something waits; its
//! cut goes to the log while the dataflow runs; it is published when both are done.

pub(crate) mod backfill;
mod command;
mod commits;
pub(crate) mod hands;
pub(crate) mod inbox;
mod relations;
mod replay;
pub(crate) mod shared;
#[cfg(test)]
mod table_tests;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod unique_index;
pub(crate) mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use self::backfill::count;
pub(crate) use self::command::{Command, SplicePoint};
pub(crate) use self::commits::{Commit, LookupRows, NewKeys, Replacement};
use self::commits::{Committing, Logging};
use self::hands::Hands;
use self::inbox::Inbox;
use self::shared::{Published, Shared, ViewHandle};
use self::tables::Tables;
use self::writer::Writer;
use crate::checkpoint::{Checkpointer, Context, Frozen, SourceProgress};
use crate::cut::{Cut, LoggedChange};
use crate::delta::join_small;
use crate::engine::{BuildState, EngineOptions, ReadKey, SourceError, SourceStatus, ViewDefinition};
use crate::error::{Error, Result, SqlState};
use crate::graph::{Dataflow, Frame, Inputs};
use crate::plan::RelationId;
use crate::source::{Offsets, Reader, Source, SourceBatch};
use crate::storage::Storage;

/// The longest the coordinator sleeps.
const IDLE: Duration = Duration::from_millis(100);

/// A checkpoint waits this many times the last one's writing time after it, so that writing takes
/// at most a quarter of the disk's and a core's time.
const CHECKPOINT_REST: u32 = 3;

/// A source the coordinator reads.
struct SourceState {
    source: Arc<dyn Source>,
    start: Offsets,
    progress: SourceProgress,
    /// The columns its reader builds; the reader.
    reading: Option<(Vec<usize>, Box<dyn Reader>)>,
}

/// A view on its way to being live.
struct Building {
    definition: ViewDefinition,
    state: watch::Sender<BuildState>,
    cancelled: Arc<AtomicBool>,
    stage: Stage,
}

enum Stage {
    /// Its inputs are not there yet (at start: a view over a view that is being built).
    Waiting,
    /// Its private dataflow runs.
    Private,
    /// It follows the live epochs but has not met these offsets.
    CatchingUp(Vec<(RelationId, Offsets)>),
    /// It waits for the first checkpoint that holds it.
    Checkpoint,
}

/// What the coordinator shares with the engine's handle.
pub(crate) struct Resources {
    pub(crate) options: EngineOptions,
    pub(crate) storage: Storage,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) hands: Arc<dyn Hands>,
}

/// The coordinator's own state.
pub(crate) struct Coordinator {
    options: EngineOptions,
    storage: Storage,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    hands: Arc<dyn Hands>,
    dataflow: Dataflow,
    sources: BTreeMap<RelationId, SourceState>,
    views: BTreeMap<RelationId, watch::Receiver<BuildState>>,
    builds: BTreeMap<RelationId, Building>,
    handles: Arc<BTreeMap<RelationId, ViewHandle>>,
    handles_stale: bool,
    catalog: Vec<u8>,
    epoch: u64,
    now: i64,
    checkpoints: Checkpoints,
    replay: VecDeque<Cut>,
    tables: Tables,
    /// Commits that wait for the next epoch.
    commits: VecDeque<Commit>,
    /// Builds that have read further than the live epochs, which must meet them first.
    ahead: Vec<SplicePoint>,
}

/// The checkpoint's own clockwork.
struct Checkpoints {
    maker: Checkpointer,
    writer: Writer,
    writing: bool,
    due: Instant,
    /// Another one is wanted at once: a view waits for it, or the last was partial.
    wanted: bool,
    /// Epochs of the newest durable one and of the one before.
    newest: u64,
    previous: u64,
    /// Who waits for one of this epoch or a later one.
    asked: Vec<(u64, oneshot::Sender<Result<()>>)>,
}

impl Coordinator {
    /// Runs until it is told to stop.
    pub(crate) fn run(mut self) {
        let shared = self.shared.clone();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.work()));
        let inbox = self.inbox.clone();
        let error = match outcome {
            Ok(Ok(())) => return inbox.end(),
            Ok(Err(error)) => error,
            Err(_) => Error::internal("the engine's coordinator panicked"),
        };
        tracing::error!(%error, "the engine cannot go on");
        let newest = shared.newest();
        shared.publish(Published { fatal: Some(error), ..newest.as_ref().clone() });
        inbox.end();
    }

    fn work(&mut self) -> Result<()> {
        let replayed = self.begin()?;
        loop {
            let now = self.hands.instant();
            let deadline = if self.wants_checkpoint() { self.checkpoints.due } else { now + IDLE };
            let commands = self.inbox.wait(deadline.min(now + IDLE));
            if self.turn(commands, replayed)? {
                return Ok(());
            }
        }
    }

    /// Plays the cut log again; whether that was brought to its end.
    pub(crate) fn begin(&mut self) -> Result<bool> {
        self.replay_cuts()?;
        let replayed = self.replay.is_empty();
        if replayed {
            self.start_waiting_builds()?;
        }
        Ok(replayed)
    }

    /// One turn: obeys, closes epochs over what waits, freezes a checkpoint if one is due. Whether it
    /// was told to stop, and did.
    pub(crate) fn turn(&mut self, commands: VecDeque<Command>, replayed: bool) -> Result<bool> {
        let mut stop = None;
        for command in commands {
            // What came with it is obeyed first: the word of a finished checkpoint must not be lost.
            match command {
                Command::Stop { reply } => stop = Some(reply),
                command if replayed => self.obey(command)?,
                // Told to stop amid the replay: who asked hears that the engine has stopped.
                _ => {}
            }
        }
        if let Some(reply) = stop {
            while !self.commits.is_empty() {
                self.epoch_of_waiting()?;
            }
            let _ = reply.send(self.stop());
            return Ok(true);
        }
        self.epoch_of_waiting()?;
        while !self.commits.is_empty() {
            self.epoch_of_waiting()?;
        }
        for point in std::mem::take(&mut self.ahead) {
            self.splice(point)?;
        }
        if self.wants_checkpoint() && self.hands.instant() >= self.checkpoints.due {
            self.freeze()?;
        }
        Ok(false)
    }

    fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::AddSource { id, source, start, reply } => {
                self.add_source(id, source, start, SourceProgress::default());
                let _ = reply.send(self.empty_epoch(None));
            }
            Command::AddView { definition, reply } => {
                let _ = reply.send(self.add_view(definition));
            }
            Command::Remove { ids, reply } => {
                self.remove(&ids);
                let _ = reply.send(self.empty_epoch(None));
            }
            Command::AddTable { definition, reply } => {
                let _ = reply.send(self.add_table(definition).and_then(|()| self.empty_epoch(None)));
            }
            Command::Replayed { reply } => drop(reply.send(Ok(()))),
            Command::ReplaceTable(replacement) => self.replace_table(*replacement)?,
            Command::SetKeys(keys) => self.set_keys(*keys),
            Command::Lookup(lookup) => lookup.answer(&self.tables),
            Command::Commit(commit) => self.commits.push_back(commit),
            Command::CommitCatalog { bytes, reply } => {
                self.catalog = bytes.clone();
                let _ = reply.send(self.empty_epoch(Some(bytes)));
            }
            Command::Position { reply } => {
                let _ = reply.send(self.target());
            }
            Command::Splice(point) => self.splice(*point)?,
            Command::BuildFailed { view, held, error } => {
                held.into_iter().for_each(|node| self.dataflow.release(node));
                self.build_failed(view, error);
            }
            Command::Checkpoint { reply } => self.checkpoint_asked(reply),
            Command::CheckpointDone { epoch, views, took, result } => self.checkpoint_done(epoch, &views, took, result),
            Command::Stop { .. } => {}
        }
        Ok(())
    }

    /// Closes an epoch over what waits, if something does.
    fn epoch_of_waiting(&mut self) -> Result<()> {
        let active: Vec<RelationId> =
            self.sources.iter().filter(|(_, state)| state.reading.is_some()).map(|(id, _)| *id).collect();
        let share = self.options.epoch_max_rows / active.len().max(1);
        let Committing { answers, logged } = self.take_commits();
        let mut taken = Vec::new();
        for id in active {
            let batches = self.inbox.take(id, share);
            if !batches.is_empty() {
                taken.push((id, batches));
            }
        }
        if !(taken.is_empty() && logged.is_empty()) {
            self.run_epoch(taken, self.hands.clock(), Logging::New { catalog: None, changes: logged })?;
        }
        // The epoch is durable and published: whoever hears of it sees it.
        for (reply, answer) in answers {
            let _ = reply.send(answer);
        }
        Ok(())
    }

    /// An epoch without rows: for commands that must be visible, or durable, when they return.
    fn empty_epoch(&mut self, catalog: Option<Vec<u8>>) -> Result<()> {
        self.run_epoch(Vec::new(), self.hands.clock(), Logging::New { catalog, changes: Vec::new() })
    }

    /// One epoch: cut, dataflow, barrier, publication. The tables' changes are in their heads.
    fn run_epoch(&mut self, taken: Vec<(RelationId, Vec<SourceBatch>)>, now: i64, logging: Logging) -> Result<()> {
        self.epoch += 1;
        self.now = now.max(self.now);
        let mut inputs = Inputs::default();
        for (id, batches) in taken {
            self.take_in(id, batches, &mut inputs)?;
        }
        inputs.tables = self.tables.close()?;
        let durable = match logging {
            Logging::New { catalog, changes } => Some(self.log_cut(catalog, changes)?),
            Logging::Replayed => None,
        };
        let frame = Frame { epoch: self.epoch, oldest: self.shared.pins.oldest(), workers: self.options.workers };
        self.handles_stale |= self.dataflow.run(inputs, frame)?;
        if let Some(durable) = durable {
            durable.recv().map_err(|_| Error::internal("the cut log ended"))??;
        }
        self.advance_builds();
        self.publish();
        Ok(())
    }

    /// Counts a source's batches and makes their rows the epoch's input.
    fn take_in(&mut self, id: RelationId, batches: Vec<SourceBatch>, inputs: &mut Inputs) -> Result<()> {
        let Some(state) = self.sources.get_mut(&id) else { return Ok(()) };
        let Some((columns, _)) = &state.reading else { return Ok(()) };
        let mut rows = Vec::with_capacity(batches.len());
        let mut errors = self.shared.errors.lock();
        for batch in batches {
            count(&mut state.progress, &batch);
            for record in batch.bad {
                errors.push(
                    SourceError { source: id, partition: batch.partition, record },
                    self.options.source_errors_max_rows,
                );
            }
            if batch.rows.num_rows() > 0 {
                rows.push(batch.rows);
            }
        }
        drop(errors);
        if !rows.is_empty() {
            inputs.sources.insert(id, (columns.clone(), join_small(rows)?));
        }
        Ok(())
    }

    /// Appends this epoch's cut to the log; the receiver hears when it is durable.
    fn log_cut(&self, catalog: Option<Vec<u8>>, changes: Vec<LoggedChange>) -> Result<mpsc::Receiver<Result<()>>> {
        let positions = self.sources.iter().filter(|(_, state)| state.reading.is_some());
        let sources = positions.map(|(id, state)| (*id, state.progress.offsets.clone())).collect();
        let cut = Cut { epoch: self.epoch, now: self.now, sources, catalog, changes };
        let (sender, receiver) = mpsc::channel();
        self.storage.cuts.append(self.epoch, cut.encode()?, Box::new(move |result| drop(sender.send(result))));
        Ok(receiver)
    }

    fn publish(&mut self) {
        if std::mem::take(&mut self.handles_stale) {
            self.handles = Arc::new(self.views.iter().map(|(id, state)| (*id, self.handle(*id, state))).collect());
        }
        let sources = self.sources.iter().map(|(id, state)| (*id, self.source_status(*id, state))).collect();
        self.shared.publish(Published {
            epoch: self.epoch,
            now: self.now,
            checkpoint: self.checkpoints.newest,
            views: self.handles.clone(),
            sources: Arc::new(sources),
            error_end: self.shared.errors.lock().end(),
            fatal: None,
        });
    }

    fn handle(&self, id: RelationId, state: &watch::Receiver<BuildState>) -> ViewHandle {
        let node = self.dataflow.views().get(&id);
        let rows =
            node.and_then(|node| self.dataflow.node(*node).ok()).map(|node| node.rows.clone()).unwrap_or_default();
        let reading = node.and_then(|node| self.dataflow.reading(*node));
        let keys = reading.as_ref().map(|reading| ReadKey::all(reading, self.tables.keys(id))).unwrap_or_default();
        ViewHandle { reading, keys: keys.into(), state: state.clone(), errors: self.dataflow.errors(id), rows }
    }

    fn source_status(&self, id: RelationId, state: &SourceState) -> SourceStatus {
        let progress = &state.progress;
        let (stalled, failed) = self.inbox.trouble(id);
        SourceStatus {
            offsets: progress.offsets.clone(),
            end: Offsets::new(),
            rows: progress.rows,
            errors: progress.errors,
            headers: progress.headers,
            tombstones: progress.tombstones,
            bytes: progress.bytes,
            stalled: failed.or(stalled),
            active: state.reading.is_some(),
        }
    }

    fn wants_checkpoint(&self) -> bool {
        !self.checkpoints.writing && (self.epoch > self.checkpoints.newest || self.checkpoints.wanted)
    }

    /// Freezes a checkpoint and hands it to the writer.
    fn freeze(&mut self) -> Result<()> {
        let frozen = self.frozen()?;
        self.checkpoints.wanted = frozen.partial;
        self.checkpoints.writing = true;
        self.checkpoints.due = self.hands.instant() + self.options.checkpoint_interval;
        self.checkpoints.writer.write(frozen)
    }

    fn frozen(&mut self) -> Result<Frozen> {
        let errors = self.shared.errors.lock();
        let context = Context {
            epoch: self.epoch,
            now: self.now,
            catalog: &self.catalog,
            sources: self.sources.iter().map(|(id, state)| (*id, state.progress.clone())).collect(),
            first_error: errors.first,
            errors: &errors.entries,
        };
        self.checkpoints.maker.freeze(&self.dataflow, &context)
    }

    /// Somebody waits for a checkpoint of what there is now.
    fn checkpoint_asked(&mut self, reply: oneshot::Sender<Result<()>>) {
        if self.epoch <= self.checkpoints.newest {
            let _ = reply.send(Ok(()));
            return;
        }
        self.checkpoints.asked.push((self.epoch, reply));
        self.checkpoints.due = self.hands.instant();
    }

    fn checkpoint_done(&mut self, epoch: u64, views: &[RelationId], took: Duration, result: Result<()>) {
        self.checkpoints.writing = false;
        let now = self.hands.instant();
        let rest = now + took * CHECKPOINT_REST;
        self.checkpoints.due = if self.checkpoints.wanted { now } else { self.checkpoints.due.max(rest) };
        match &result {
            Ok(()) => {
                self.checkpoints.previous = std::mem::replace(&mut self.checkpoints.newest, epoch);
                self.storage.cuts.truncate_below(self.checkpoints.previous + 1);
                for state in self.sources.values().filter(|state| state.reading.is_some()) {
                    state.source.progress(&state.progress.offsets);
                }
                self.views_saved(views);
            }
            Err(error) => {
                tracing::error!(%error, "a checkpoint could not be written; the next one writes everything");
                self.checkpoints.maker.failed();
            }
        }
        // Who waited finds it in the status.
        self.answer_asked(epoch, &result);
    }

    /// A checkpoint of this epoch was written, or not: tells those who wait for it.
    fn answer_asked(&mut self, epoch: u64, result: &Result<()>) {
        let (heard, waiting) =
            std::mem::take(&mut self.checkpoints.asked).into_iter().partition(|(of, _)| *of <= epoch);
        self.checkpoints.asked = waiting;
        for (_, reply) in Vec::from_iter::<Vec<_>>(heard) {
            let _ = reply.send(result.clone());
        }
        if !self.checkpoints.asked.is_empty() {
            self.checkpoints.due = self.hands.instant();
        }
    }

    /// Stops all readers and writes a last checkpoint.
    fn stop(&mut self) -> Result<()> {
        for (id, state) in &mut self.sources {
            self.inbox.close(*id);
            state.reading = None;
        }
        for build in self.builds.values() {
            build.cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        while self.checkpoints.writing {
            for command in self.inbox.wait(self.hands.instant() + IDLE) {
                if let Command::CheckpointDone { epoch, views, took, result } = command {
                    self.checkpoint_done(epoch, &views, took, result);
                }
            }
        }
        loop {
            let frozen = self.frozen()?;
            let partial = frozen.partial;
            frozen.write(self.storage.store.as_ref())?;
            if !partial {
                return Ok(());
            }
        }
    }
}

/// What a simulation looks at.
#[cfg(test)]
impl Coordinator {
    pub(crate) fn dataflow(&self) -> &Dataflow {
        &self.dataflow
    }

    /// Whether a build waits to move in.
    pub(crate) fn is_splicing(&self) -> bool {
        !self.ahead.is_empty()
    }
}

/// Refuses what needs a view that is not there.
fn not_there(id: RelationId) -> Error {
    Error::new(SqlState::UndefinedTable, format!("relation {} is not in the dataflow", id.0))
}
