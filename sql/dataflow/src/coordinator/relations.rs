//! Sources and views come and go: the coordinator's side of DDL.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use super::backfill::{Job, SourceJob, Target};
use super::{Building, Coordinator, SourceState, SplicePoint, Stage, not_there};
use crate::checkpoint::SourceProgress;
use crate::engine::{Build, BuildState, ViewDefinition};
use crate::error::{Error, Result};
use crate::graph::{Dataflow, Import};
use crate::plan::{Op, Plan, RelationId};
use crate::source::{Offsets, ReadRequest, Source};
use crate::table::TableDefinition;

impl Coordinator {
    pub(super) fn add_source(
        &mut self,
        id: RelationId,
        source: Arc<dyn Source>,
        start: Offsets,
        progress: SourceProgress,
    ) {
        self.sources.insert(id, SourceState { source, start, progress, reading: None });
        self.monitor_sources();
    }

    fn monitor_sources(&self) {
        self.inbox.set_sources(self.sources.iter().map(|(id, state)| (*id, state.source.clone())).collect());
    }

    /// Starts the build of a view.
    pub(super) fn add_view(&mut self, definition: ViewDefinition) -> Result<Build> {
        let view = definition.id;
        let (state, receiver) = watch::channel(BuildState::Building { done: 0.0, eta: None });
        self.views.insert(view, receiver.clone());
        self.handles_stale = true;
        let building = Building { definition, state, cancelled: Arc::default(), stage: Stage::Waiting };
        self.builds.insert(view, building);
        if let Err(error) = self.start_build(view) {
            self.forget_view(view);
            return Err(error);
        }
        self.publish();
        Ok(Build { view, state: receiver })
    }

    /// Builds that wait for another view's, now perhaps possible.
    pub(super) fn start_waiting_builds(&mut self) -> Result<()> {
        let waiting: Vec<RelationId> = self
            .builds
            .iter()
            .filter(|(_, build)| matches!(build.stage, Stage::Waiting))
            .map(|(view, _)| *view)
            .collect();
        for view in waiting {
            let ready = self.builds.get(&view).is_some_and(|build| self.inputs_are_there(&build.definition.plan));
            if ready && let Err(error) = self.start_build(view) {
                self.build_failed(view, error);
            }
        }
        Ok(())
    }

    fn inputs_are_there(&self, plan: &Plan) -> bool {
        match &plan.op {
            Op::View { relation } => self.dataflow.views().contains_key(relation),
            _ => plan.inputs().into_iter().all(|input| self.inputs_are_there(input)),
        }
    }

    /// Makes the private dataflow of a build and starts its thread.
    fn start_build(&mut self, view: RelationId) -> Result<()> {
        let target = self.target();
        let build = self.builds.get(&view).ok_or_else(|| not_there(view))?;
        let plan = build.definition.plan.clone();
        let mut dataflow = Dataflow::default();
        dataflow.add_view(view, &plan, &|plan| self.import(plan))?;
        let imports: Vec<_> = dataflow
            .imports()
            .map(|(private, live)| {
                Ok((
                    private,
                    live,
                    self.dataflow.reading(live).ok_or_else(|| Error::internal("an import that cannot be read"))?,
                ))
            })
            .collect::<Result<_>>()?;
        for (_, live, _) in &imports {
            self.dataflow.hold(*live);
        }
        let sources = self.source_jobs(&dataflow)?;
        let job = Job {
            view,
            dataflow,
            imports: imports.into_iter().map(|(private, _, reading)| (private, reading)).collect(),
            sources,
            pin: None,
            epoch: 0,
            options: self.options.clone(),
            cancelled: build.cancelled.clone(),
            state: build.state.clone(),
        };
        self.hands.build(job, target, self.inbox.clone())?;
        if let Some(build) = self.builds.get_mut(&view) {
            build.stage = Stage::Private;
        }
        Ok(())
    }

    /// The live node that a plan may be read from instead of being computed again.
    fn import(&self, plan: &Plan) -> Option<Import> {
        let id = self.dataflow.find(plan)?;
        self.dataflow.reading(id)?;
        let node = self.dataflow.node(id).ok()?;
        Some(Import {
            node: id,
            schema: node.schema.clone(),
            fingerprint: node.fingerprint.clone(),
            retracts: node.retracts,
        })
    }

    fn source_jobs(&self, dataflow: &Dataflow) -> Result<Vec<SourceJob>> {
        let mut jobs = Vec::new();
        for (id, state) in self.sources.iter().filter(|(id, _)| dataflow.reads(**id)) {
            jobs.push(SourceJob {
                relation: *id,
                source: state.source.clone(),
                columns: dataflow.source_columns(*id).into_iter().collect(),
                position: state.start.clone(),
                end: Offsets::new(),
                counted: state.progress.offsets.clone(),
                progress: SourceProgress::default(),
                bad: Vec::new(),
            });
        }
        Ok(jobs)
    }

    /// The newest epoch, held, and the positions of the sources that are read.
    pub(crate) fn target(&self) -> Target {
        let (_, pin) = self.shared.pin();
        let active = self.sources.iter().filter(|(_, state)| state.reading.is_some());
        Target { pin, positions: active.map(|(id, state)| (*id, state.progress.offsets.clone())).collect() }
    }

    /// The final round of a build, and its move into the live dataflow.
    pub(super) fn splice(&mut self, point: SplicePoint) -> Result<()> {
        let SplicePoint { mut job } = point;
        let view = job.view;
        if !self.builds.contains_key(&view) {
            self.let_go(&job);
            return Ok(());
        }
        let mut target = self.target();
        if self.is_ahead(&job, &target) {
            self.ahead.push(SplicePoint { job });
            return Ok(());
        }
        if self.is_overtaken(&job) {
            self.let_go(&job);
            if let Err(error) = self.start_build(view) {
                self.build_failed(view, error);
            }
            return Ok(());
        }
        for source in &job.sources {
            // The last view that read it live went meanwhile: what it read is counted, and the
            // source goes on from there.
            let idle = self.sources.get(&source.relation).filter(|state| state.reading.is_none());
            if let Some(state) = idle {
                target.positions.insert(source.relation, state.progress.offsets.clone());
            }
        }
        if let Err(error) = job.finish(target) {
            self.let_go(&job);
            self.build_failed(view, error);
            return Ok(());
        }
        let held = job.held();
        let Job { dataflow, sources, .. } = job;
        self.dataflow.splice(dataflow, view)?;
        // Not before: whose views went meanwhile, they were held by this build alone.
        held.into_iter().for_each(|node| self.dataflow.release(node));
        let mut ends = Vec::new();
        for source in sources {
            ends.push((source.relation, source.end.clone()));
            self.adopt(source);
        }
        self.handles_stale = true;
        if let Some(build) = self.builds.get_mut(&view) {
            build.stage = Stage::CatchingUp(ends);
        }
        self.empty_epoch(None)?;
        self.start_waiting_builds()
    }

    /// Whether a build has read further than the live epochs: another view's build, which met an
    /// earlier end, made the source live meanwhile.
    fn is_ahead(&self, job: &Job, live: &Target) -> bool {
        job.sources.iter().any(|source| {
            let Some(positions) = live.positions.get(&source.relation) else { return false };
            let start = self.sources.get(&source.relation).map(|state| &state.start);
            source.position.iter().any(|(partition, at)| {
                let met = positions.get(partition).or_else(|| start.and_then(|start| start.get(partition)));
                met.copied().unwrap_or(0) < *at
            })
        })
    }

    /// Whether a build has read beyond what another view counted and then left: it cannot tell what
    /// of its own counts is new, and must begin again.
    fn is_overtaken(&self, job: &Job) -> bool {
        job.sources.iter().any(|source| {
            self.sources.get(&source.relation).is_some_and(|state| {
                let counted = &state.progress.offsets;
                let beyond = |(partition, at): (&i32, &i64)| counted.get(partition).is_none_or(|met| met < at);
                state.reading.is_none() && *counted != source.counted && source.position.iter().any(beyond)
            })
        })
    }

    fn let_go(&mut self, job: &Job) {
        job.held().into_iter().for_each(|node| self.dataflow.release(node));
    }

    /// Goes on with a source where a build has read to, if nobody else reads it; adds the columns
    /// that are new.
    fn adopt(&mut self, job: SourceJob) {
        let Some(state) = self.sources.get_mut(&job.relation) else { return };
        if state.reading.is_none() {
            let progress = &mut state.progress;
            // Else another view counted meanwhile what this build read.
            let uncounted = progress.offsets == job.counted;
            for (partition, offset) in &job.position {
                let at = progress.offsets.entry(*partition).or_insert(*offset);
                *at = (*at).max(*offset);
            }
            if uncounted {
                progress.rows += job.progress.rows;
                progress.errors += job.progress.errors;
                progress.headers += job.progress.headers;
                progress.tombstones += job.progress.tombstones;
                progress.bytes += job.progress.bytes;
                let mut errors = self.shared.errors.lock();
                job.bad.into_iter().for_each(|error| errors.push(error, self.options.source_errors_max_rows));
            }
        }
        self.follow(job.relation);
    }

    /// Starts, restarts or stops a source's reader, as the dataflow needs.
    pub(super) fn follow(&mut self, id: RelationId) {
        let columns: Vec<usize> = self.dataflow.source_columns(id).into_iter().collect();
        let wanted = self.dataflow.reads(id);
        let Some(state) = self.sources.get_mut(&id) else { return };
        match &state.reading {
            Some((built, _)) if wanted && columns.iter().all(|column| built.contains(column)) => return,
            None if !wanted => return,
            _ => {}
        }
        self.inbox.close(id);
        state.reading = None;
        if !wanted {
            return;
        }
        let boundaries = super::replay::boundaries(&self.replay, id);
        let request = ReadRequest {
            from: if state.progress.offsets.is_empty() { state.start.clone() } else { state.progress.offsets.clone() },
            until: None,
            boundaries,
            columns: columns.clone(),
            batch_rows: self.options.source_batch_rows,
            background: false,
        };
        match state.source.read(request, self.inbox.open(id)) {
            Ok(reader) => state.reading = Some((columns, reader)),
            Err(error) => tracing::error!(%error, source = %state.source.describe(), "a source cannot be read"),
        }
    }

    /// Adds a table without rows. It is there when its definition is in the catalog and the epoch
    /// durable: its rows are what the cut log and checkpoints hold.
    pub(super) fn add_table(&mut self, definition: TableDefinition) -> Result<()> {
        let id = definition.id;
        self.dataflow.add_view(id, &definition.plan(), &|_| None)?;
        self.attach_table(definition)?;
        self.restored_view(id);
        Ok(())
    }

    /// Makes the head of a table whose rows are in the dataflow.
    pub(super) fn attach_table(&mut self, definition: TableDefinition) -> Result<()> {
        let node = self.dataflow.views().get(&definition.id).copied().ok_or_else(|| not_there(definition.id))?;
        let reading = self.dataflow.reading(node).ok_or_else(|| Error::internal("a table that cannot be read"))?;
        self.tables.add(definition, reading.arrangement);
        Ok(())
    }

    /// Removes relations; a build of one of them ends.
    pub(super) fn remove(&mut self, ids: &[RelationId]) {
        for id in ids {
            if let Some(build) = self.builds.remove(id) {
                build.cancelled.store(true, Ordering::Relaxed);
            }
            self.forget_view(*id);
            self.tables.remove(*id);
            if self.sources.remove(id).is_some() {
                self.inbox.close(*id);
                self.shared.ends.lock().remove(id);
            }
        }
        self.monitor_sources();
        for id in self.sources.keys().copied().collect::<Vec<_>>() {
            self.follow(id);
        }
        // State of what was removed leaves the next checkpoint.
        self.checkpoints.wanted = true;
    }

    fn forget_view(&mut self, id: RelationId) {
        self.builds.remove(&id);
        self.dataflow.remove_view(id);
        self.views.remove(&id);
        self.handles_stale = true;
    }

    pub(super) fn build_failed(&mut self, view: RelationId, error: Error) {
        if let Some(build) = self.builds.remove(&view) {
            build.state.send_replace(BuildState::Failed(error));
            self.forget_view(view);
            for id in self.sources.keys().copied().collect::<Vec<_>>() {
                self.follow(id);
            }
            self.publish();
        }
    }

    /// Builds whose source has met the end that was seen at CREATE now wait for their checkpoint.
    pub(super) fn advance_builds(&mut self) {
        let positions: BTreeMap<RelationId, &Offsets> =
            self.sources.iter().map(|(id, state)| (*id, &state.progress.offsets)).collect();
        for build in self.builds.values_mut() {
            let Stage::CatchingUp(ends) = &build.stage else { continue };
            let met = ends.iter().all(|(source, end)| {
                let at = positions.get(source);
                end.iter().all(|(partition, end)| {
                    at.is_some_and(|at| at.get(partition).is_some_and(|at| at >= end)) || *end == 0
                })
            });
            if met {
                build.stage = Stage::Checkpoint;
                self.checkpoints.wanted = true;
                self.checkpoints.due = self.hands.instant();
            }
        }
    }

    /// A checkpoint holds these views: those that waited for it are live.
    pub(super) fn views_saved(&mut self, views: &[RelationId]) {
        let mut waiting = false;
        let mut done = Vec::new();
        for (view, build) in &self.builds {
            if matches!(build.stage, Stage::Checkpoint) {
                if views.contains(view) {
                    done.push(*view);
                } else {
                    waiting = true;
                }
            }
        }
        for view in done {
            if let Some(build) = self.builds.remove(&view) {
                build.state.send_replace(BuildState::Live);
            }
        }
        if waiting {
            self.checkpoints.wanted = true;
            self.checkpoints.due = self.hands.instant();
        }
        let newest = self.shared.newest();
        if newest.epoch == self.epoch {
            self.publish();
        }
    }

    /// A view that is restored from a checkpoint: it is live at once.
    pub(super) fn restored_view(&mut self, id: RelationId) {
        let (_, receiver) = watch::channel(BuildState::Live);
        self.views.insert(id, receiver);
        self.handles_stale = true;
    }

    /// A view that must be built (again) once its inputs are there.
    pub(super) fn waiting_view(&mut self, definition: ViewDefinition) {
        let (state, receiver) = watch::channel(BuildState::Building { done: 0.0, eta: None });
        self.views.insert(definition.id, receiver);
        let cancelled = Arc::new(AtomicBool::new(false));
        self.builds.insert(definition.id, Building { definition, state, cancelled, stage: Stage::Waiting });
        self.handles_stale = true;
    }
}
