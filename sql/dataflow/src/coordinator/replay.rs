//! Start: the newest checkpoint, then the same cuts again, then live.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::shared::ErrorLog;
use super::tables::Tables;
use super::{Checkpoints, Coordinator, Logging, Resources};
use crate::checkpoint::{Checkpointer, Recovered};
use crate::cut::Cut;
use crate::engine::{Definition, ViewDefinition};
use crate::error::Result;
use crate::graph::Dataflow;
use crate::plan::RelationId;
use crate::source::{Offsets, SourceBatch};

/// How long replay waits for a batch before it looks for trouble.
const REPLAY_WAIT: Duration = Duration::from_millis(50);

/// The offsets at which a source's batches must end: those of the cuts to be replayed.
pub(super) fn boundaries(cuts: &VecDeque<Cut>, id: RelationId) -> BTreeMap<i32, Vec<i64>> {
    let mut boundaries: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for cut in cuts {
        for (partition, offset) in
            cut.sources.iter().filter(|(source, _)| *source == id).flat_map(|(_, offsets)| offsets)
        {
            let list = boundaries.entry(*partition).or_default();
            if list.last().is_none_or(|last| last < offset) {
                list.push(*offset);
            }
        }
    }
    boundaries
}

impl Coordinator {
    /// A coordinator that goes on from a checkpoint and these cuts.
    pub(crate) fn recovered(
        resources: Resources,
        recovered: &Recovered,
        cuts: VecDeque<Cut>,
        catalog: Vec<u8>,
        definitions: Vec<Definition>,
    ) -> Result<Coordinator> {
        let Resources { options, storage, inbox, shared, hands } = resources;
        let writer = hands.writer(storage.store.clone(), inbox.clone())?;
        let newest = recovered.epoch();
        let checkpoints = Checkpoints {
            maker: Checkpointer::default(),
            writer,
            writing: false,
            due: hands.instant(),
            wanted: false,
            newest,
            previous: newest,
            asked: Vec::new(),
        };
        let mut coordinator = Coordinator {
            options,
            storage,
            inbox,
            shared,
            hands,
            dataflow: Dataflow::default(),
            sources: BTreeMap::new(),
            views: BTreeMap::new(),
            builds: BTreeMap::new(),
            handles: Arc::default(),
            handles_stale: true,
            catalog,
            epoch: newest,
            now: recovered.now(),
            checkpoints,
            replay: cuts,
            tables: Tables::default(),
            commits: VecDeque::new(),
            ahead: Vec::new(),
        };
        coordinator.attach(recovered, definitions)?;
        Ok(coordinator)
    }

    fn attach(&mut self, recovered: &Recovered, definitions: Vec<Definition>) -> Result<()> {
        let progress = recovered.sources();
        #[cfg(test)]
        let progress = crate::simulation::fault::resumed(progress);
        let mut progress = progress;
        let mut tables = Vec::new();
        for definition in definitions {
            match definition {
                Definition::Source { id, source, start } => {
                    self.add_source(id, source, start, progress.remove(&id).unwrap_or_default())
                }
                Definition::Table(table) => {
                    let node = self.dataflow.add_view(table.id, &table.plan(), &|_| None)?;
                    recovered.check_kept(table.id, &table.name, &self.dataflow.node(node)?.fingerprint)?;
                    self.restored_view(table.id);
                    tables.push(table);
                }
                Definition::View(view) => self.attach_view(recovered, view),
                Definition::Kept { view, name } => {
                    let node = self.dataflow.add_view(view.id, &view.plan, &|_| None)?;
                    recovered.check_kept(view.id, &name, &self.dataflow.node(node)?.fingerprint)?;
                    self.attach_view(recovered, view);
                }
            }
        }
        // A view that is gone from the dataflow may have left nodes nobody names.
        self.dataflow.sweep();
        let (maker, first, entries) = recovered.load(self.storage.store.as_ref(), &mut self.dataflow)?;
        self.dataflow.settled();
        let followers: Vec<RelationId> =
            tables.iter().flat_map(|table| table.followers.iter().map(|follower| follower.id)).collect();
        for table in tables {
            self.attach_table(table)?;
        }
        followers.into_iter().for_each(|id| self.tables.follow(id));
        self.checkpoints.maker = maker;
        *self.shared.errors.lock() = ErrorLog { first, entries };
        for id in self.sources.keys().copied().collect::<Vec<_>>() {
            self.follow(id);
        }
        self.publish();
        Ok(())
    }

    /// A view whose state the checkpoint holds, or one to be built again.
    fn attach_view(&mut self, recovered: &Recovered, view: ViewDefinition) {
        let added = self.dataflow.add_view(view.id, &view.plan, &|_| None);
        let held = added
            .ok()
            .and_then(|node| self.dataflow.node(node).ok())
            .is_some_and(|node| recovered.holds(view.id, &node.fingerprint));
        if held {
            self.restored_view(view.id);
        } else {
            self.dataflow.remove_view(view.id);
            self.waiting_view(view);
        }
    }

    /// Plays the cuts that are newer than the checkpoint: the same epochs again. When the engine
    /// is told to stop, the rest is left in `replay`.
    pub(super) fn replay_cuts(&mut self) -> Result<()> {
        let mut waiting: BTreeMap<RelationId, VecDeque<SourceBatch>> = BTreeMap::new();
        while let Some(cut) = self.replay.pop_front() {
            let mut taken = Vec::new();
            for (id, until) in &cut.sources {
                if self.sources.get(id).is_some_and(|state| state.reading.is_some()) {
                    taken.push((*id, self.batches_until(*id, until, waiting.entry(*id).or_default())));
                }
            }
            if self.inbox.is_told_to_stop() {
                self.replay.push_front(cut);
                return Ok(());
            }
            self.epoch = cut.epoch - 1;
            for change in cut.changes {
                self.tables.replay(change)?;
            }
            self.run_epoch(taken, cut.now, Logging::Replayed)?;
        }
        self.tables.index()?;
        self.handles_stale = true;
        self.publish();
        // What the readers gave beyond the last cut is the first live epoch.
        let rest: Vec<(RelationId, Vec<SourceBatch>)> = waiting
            .into_iter()
            .map(|(id, batches)| (id, batches.into()))
            .filter(|(_, batches): &(_, Vec<_>)| !batches.is_empty())
            .collect();
        if !rest.is_empty() {
            self.run_epoch(rest, self.hands.clock(), Logging::New { catalog: None, changes: Vec::new() })?;
        }
        Ok(())
    }

    /// Takes a source's batches up to these offsets; readers end batches there.
    ///
    /// A source that cannot be read now is not waited for: its views stand where the checkpoint has
    /// them and go on from there, each record counted once, when it is back.
    fn batches_until(&self, id: RelationId, until: &Offsets, waiting: &mut VecDeque<SourceBatch>) -> Vec<SourceBatch> {
        let mut at = self.sources.get(&id).map(|state| state.progress.offsets.clone()).unwrap_or_default();
        let mut taken = Vec::new();
        let behind = |at: &Offsets| until.iter().any(|(partition, end)| at.get(partition).copied().unwrap_or(0) < *end);
        while behind(&at) {
            waiting.extend(self.inbox.take(id, self.options.epoch_max_rows));
            let before = taken.len();
            let mut kept = VecDeque::with_capacity(waiting.len());
            for batch in waiting.drain(..) {
                if until.get(&batch.partition).is_some_and(|end| batch.end <= *end) {
                    at.insert(batch.partition, batch.end);
                    taken.push(batch);
                } else {
                    kept.push_back(batch);
                }
            }
            *waiting = kept;
            if taken.len() == before {
                let (stalled, failed) = self.inbox.trouble(id);
                if let Some(error) = failed.or(stalled) {
                    tracing::warn!(%error, source = id.0, "a source cannot be read: its last epochs are not repeated");
                    break;
                }
                if self.inbox.is_told_to_stop() {
                    break;
                }
                self.inbox.wait_for_batch(REPLAY_WAIT);
            }
        }
        taken
    }
}
