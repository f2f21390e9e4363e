//! Backfill: a new view reads what its inputs held before it follows the live epochs.
//!
//! The view gets a private dataflow on a thread of its own. Round 0 reads views and shared nodes
//! from a pinned snapshot E and sources by offset up to E; further rounds read what changed since,
//! each shorter than the last; the final one runs between two live epochs, and the private nodes
//! are moved into the live dataflow. Killed before, nothing of it is visible.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::inbox::Inbox;
use super::{Command, SplicePoint};
use crate::arrangement::Pin;
use crate::arrangement::hash::SHARDS;
use crate::checkpoint::SourceProgress;
use crate::delta::{Batch, Delta};
use crate::engine::{BuildState, EngineOptions, SourceError};
use crate::error::{Error, Result, SqlState};
use crate::graph::{Dataflow, Frame, Inputs, NodeId, Reading};
use crate::plan::RelationId;
#[cfg(test)]
use crate::simulation::fault::{Fault, planted};
use crate::source::{Closed, Offsets, ReadRequest, Source, SourceBatch, SourceItem, SourceOutput};

/// Records behind the live position at which the final round begins.
const FINAL_GAP: i64 = 50_000;

/// Rounds after which the final one begins all the same.
const MAX_ROUNDS: usize = 8;

/// How long the final round waits for a source that says nothing.
const FINAL_PATIENCE: Duration = Duration::from_secs(10);

/// A source as a build reads it.
#[derive(Debug)]
pub(crate) struct SourceJob {
    pub(crate) relation: RelationId,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) columns: Vec<usize>,
    /// How far the build has read.
    pub(crate) position: Offsets,
    /// How far its end was when the view was created.
    pub(crate) end: Offsets,
    /// What is counted already: the build counts what lies past it.
    pub(crate) counted: Offsets,
    /// What the build counted.
    pub(crate) progress: SourceProgress,
    pub(crate) bad: Vec<SourceError>,
}

/// A view's build.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) view: RelationId,
    pub(crate) dataflow: Dataflow,
    /// Private nodes that stand for live ones.
    pub(crate) imports: Vec<(NodeId, Reading)>,
    pub(crate) sources: Vec<SourceJob>,
    /// The live epoch whose imports have been read, held.
    pub(crate) pin: Option<Pin>,
    pub(crate) epoch: u64,
    pub(crate) options: EngineOptions,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) state: watch::Sender<BuildState>,
}

/// The live epoch a round reads up to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) pin: Pin,
    /// The live positions of the sources that are being read.
    pub(crate) positions: BTreeMap<RelationId, Offsets>,
}

/// Runs a build on this thread, up to its splice.
pub(crate) fn run(mut job: Job, first: Target, inbox: Arc<Inbox>) {
    let (view, held) = (job.view, job.held());
    let outcome = catch_unwind(AssertUnwindSafe(|| build(&mut job, first, &inbox)));
    match outcome.unwrap_or_else(|_| Err(Error::internal("the build of a view panicked"))) {
        Ok(()) => inbox.send(Command::Splice(Box::new(SplicePoint { job }))),
        Err(error) => inbox.send(Command::BuildFailed { view, held, error }),
    }
}

fn build(job: &mut Job, first: Target, inbox: &Inbox) -> Result<()> {
    job.begin()?;
    let started = Instant::now();
    let mut target = first;
    for _ in 0..MAX_ROUNDS {
        job.follow(target, started)?;
        let (reply, answer) = mpsc::channel();
        inbox.send(Command::Position { reply });
        target = answer.recv().map_err(|_| stopping())?;
        if job.is_close(&target) {
            break;
        }
    }
    Ok(())
}

fn stopping() -> Error {
    Error::new(SqlState::AdminShutdown, "the engine is stopping")
}

/// Records between two positions.
fn distance(from: &Offsets, to: &Offsets) -> i64 {
    to.iter().map(|(partition, end)| (end - from.get(partition).copied().unwrap_or(0)).max(0)).sum()
}

impl Job {
    /// The live nodes that are held for it.
    pub(crate) fn held(&self) -> Vec<NodeId> {
        self.dataflow.imports().map(|(_, live)| live).collect()
    }

    /// Notes how far the sources are.
    pub(crate) fn begin(&mut self) -> Result<()> {
        for source in &mut self.sources {
            source.end = source.source.end()?;
        }
        Ok(())
    }

    /// One round before the final one: up to a live epoch.
    pub(crate) fn follow(&mut self, target: Target, started: Instant) -> Result<()> {
        let until: BTreeMap<RelationId, Offsets> = self
            .sources
            .iter()
            .map(|source| (source.relation, target.positions.get(&source.relation).unwrap_or(&source.end).clone()))
            .collect();
        self.round(target.pin, &until, None, started)
    }

    /// Whether so little is missing that the final round may begin.
    pub(crate) fn is_close(&self, target: &Target) -> bool {
        let missing = |source: &SourceJob| Some(distance(&source.position, target.positions.get(&source.relation)?));
        self.sources.iter().filter_map(missing).sum::<i64>() <= FINAL_GAP
    }

    /// Brings the private dataflow from where it is to a live epoch (held by `pin`) and these
    /// offsets. `patience`: how long a silent source is waited for.
    pub(crate) fn round(
        &mut self,
        pin: Pin,
        until: &BTreeMap<RelationId, Offsets>,
        patience: Option<Duration>,
        started: Instant,
    ) -> Result<()> {
        self.read_imports(&pin)?;
        self.pin = Some(pin);
        for place in 0..self.sources.len() {
            let Some(until) = until.get(&self.sources[place].relation).cloned() else { continue };
            self.read_source(place, until, patience, started)?;
        }
        if self.epoch == 0 {
            // Over nothing at all, the nodes still see their first barrier.
            self.epoch_of(Inputs::default())?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::new(SqlState::QueryCanceled, "canceling statement due to user request"));
        }
        Ok(())
    }

    fn epoch_of(&mut self, inputs: Inputs) -> Result<()> {
        self.check()?;
        self.epoch += 1;
        // Nobody reads the private dataflow, so no undo list is kept.
        self.dataflow
            .run(inputs, Frame { epoch: self.epoch, oldest: self.epoch - 1, workers: self.options.workers })?;
        Ok(())
    }

    fn read_imports(&mut self, pin: &Pin) -> Result<()> {
        let before = self.pin.as_ref().map(|pin| pin.epoch);
        #[cfg(test)]
        if planted(Fault::SpliceForgets) && before.is_some() {
            return Ok(());
        }
        for (node, reading) in self.imports.clone() {
            for shard in 0..SHARDS {
                let rows: Delta = match before {
                    None => {
                        reading.arrangement.read_shard(shard, pin.epoch)?.into_iter().map(Batch::inserted).collect()
                    }
                    Some(before) => reading.arrangement.changes_shard(shard, before, pin.epoch)?,
                };
                let delta = reading.mapped(rows)?;
                if !delta.is_empty() {
                    self.epoch_of(Inputs { imported: [(node, delta)].into(), ..Inputs::default() })?;
                }
            }
        }
        Ok(())
    }

    fn read_source(
        &mut self,
        place: usize,
        until: Offsets,
        patience: Option<Duration>,
        started: Instant,
    ) -> Result<()> {
        let job = &self.sources[place];
        let until: Offsets = until
            .into_iter()
            .filter(|(partition, end)| job.position.get(partition).is_none_or(|at| at < end))
            .collect();
        if until.is_empty() {
            return Ok(());
        }
        let boundaries = job.counted.iter().map(|(partition, offset)| (*partition, vec![*offset])).collect();
        let from = job.position.clone();
        #[cfg(test)]
        let from = if planted(Fault::BackfillTwice) { Offsets::new() } else { from };
        let request = ReadRequest {
            from,
            until: Some(until),
            boundaries,
            columns: job.columns.clone(),
            batch_rows: self.options.source_batch_rows,
            background: patience.is_none(),
        };
        let (sender, receiver) = mpsc::sync_channel(QUEUE_BATCHES);
        let cancelled = Arc::new(AtomicBool::new(false));
        let output = Arc::new(Channel { sender, closed: cancelled.clone() });
        let reader = job.source.read(request, output)?;
        let result = self.drain(place, &receiver, patience, started);
        cancelled.store(true, Ordering::Relaxed);
        drop(receiver);
        drop(reader);
        result
    }

    fn drain(
        &mut self,
        place: usize,
        receiver: &mpsc::Receiver<SourceItem>,
        patience: Option<Duration>,
        started: Instant,
    ) -> Result<()> {
        let mut last = Instant::now();
        loop {
            self.check()?;
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok(SourceItem::Batch(batch)) => {
                    last = Instant::now();
                    self.take(place, batch)?;
                    self.report(started);
                }
                Ok(SourceItem::Finished) => return Ok(()),
                Ok(SourceItem::Failed(error)) => return Err(error),
                Ok(SourceItem::Stalled(error)) if patience.is_some_and(|patience| last.elapsed() > patience) => {
                    return Err(error);
                }
                Ok(SourceItem::Stalled(_) | SourceItem::Resumed) => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if patience.is_some_and(|patience| last.elapsed() > patience) {
                        let what = self.sources[place].source.describe();
                        return Err(Error::new(SqlState::ConnectionFailure, format!("{what} does not answer")));
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("a source's reader ended without a word"));
                }
            }
        }
    }

    fn take(&mut self, place: usize, batch: SourceBatch) -> Result<()> {
        let job = &mut self.sources[place];
        let from = job.position.insert(batch.partition, batch.end).unwrap_or(0);
        if from >= job.counted.get(&batch.partition).copied().unwrap_or(0) {
            count(&mut job.progress, &batch);
            job.bad.extend(batch.bad.into_iter().map(|record| SourceError {
                source: job.relation,
                partition: batch.partition,
                record,
            }));
            let excess = job.bad.len().saturating_sub(self.options.source_errors_max_rows);
            job.bad.drain(..excess);
        }
        let (relation, columns) = (job.relation, job.columns.clone());
        self.epoch_of(Inputs { sources: [(relation, (columns, vec![batch.rows]))].into(), ..Inputs::default() })
    }

    fn report(&self, started: Instant) {
        let total: i64 = self.sources.iter().map(|source| distance(&Offsets::new(), &source.end)).sum();
        let left: i64 = self.sources.iter().map(|source| distance(&source.position, &source.end)).sum();
        let done = if total > 0 { 1.0 - left as f64 / total as f64 } else { 0.0 };
        let eta = (done > 0.01).then(|| Duration::from_secs_f64(started.elapsed().as_secs_f64() * (1.0 - done) / done));
        self.state.send_replace(BuildState::Building { done, eta });
    }

    /// The final round's patience.
    pub(crate) fn finish(&mut self, target: Target) -> Result<()> {
        self.round(target.pin, &target.positions, Some(FINAL_PATIENCE), Instant::now())
    }
}

/// Adds a batch to what was counted; the position moves with it.
pub(crate) fn count(progress: &mut SourceProgress, batch: &SourceBatch) {
    progress.offsets.insert(batch.partition, batch.end);
    progress.rows += batch.rows.num_rows() as u64;
    progress.errors += batch.bad.len() as u64;
    progress.headers += batch.headers;
    progress.tombstones += batch.tombstones;
    progress.bytes += batch.bytes;
}

/// Batches that wait between a build's reader and its thread.
const QUEUE_BATCHES: usize = 8;

struct Channel {
    sender: mpsc::SyncSender<SourceItem>,
    closed: Arc<AtomicBool>,
}

impl SourceOutput for Channel {
    fn push(&self, item: SourceItem) -> Result<(), Closed> {
        self.sender.send(item).map_err(|_| Closed)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}
