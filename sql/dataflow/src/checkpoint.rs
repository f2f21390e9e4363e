//! Checkpoints: the atomic, durable state at one epoch.
//!
//! At a barrier the changed entries of every piece of state are copied out (*frozen*); another
//! thread writes them while epochs go on. Changes of all arrangements go into full chunks of one
//! append-only log; now and then a unit (one table of one shard) is written whole, as its *base*,
//! and the log below all bases is dropped. A *manifest*, written last, names what belongs
//! together: one generation. What a generation no longer names goes one generation later.

mod recover;
mod section;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::arrangement::Arrangement;
use crate::arrangement::hash::SHARDS;
use crate::engine::SourceError;
use crate::error::Result;
use crate::graph::Dataflow;
use crate::operator::Errors;
use crate::plan::RelationId;
#[cfg(test)]
use crate::simulation::fault::{Fault, planted};
use crate::source::Offsets;
use crate::storage::{Store, Tree, Write};

pub(crate) use recover::{Recovered, recover};

/// Bytes of first bases one checkpoint writes: a large new view is spread over several.
const FIRST_BASE_BUDGET: usize = 64 << 20;

/// Bytes of log under which no base is written for the log's sake. (This and the next are small in unit
/// tests, so that bases are merged there.)
const LOG_FLOOR: u64 = if cfg!(test) { 8 << 10 } else { 16 << 20 };

/// Bytes of a unit's log under which it gets no new base.
const UNIT_LOG_FLOOR: u64 = if cfg!(test) { 64 } else { 16 << 10 };

/// The number under which the source errors are stored: no arrangement has it.
const SOURCE_ERRORS: u32 = u32::MAX;

/// One table of one shard of one arrangement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Unit {
    pub(crate) arrangement: u32,
    /// 0: the groups; then the distinct tables; then the multisets of the calls.
    pub(crate) table: u16,
    pub(crate) shard: u8,
}

/// Where a unit's state lies.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct UnitMeta {
    /// The checkpoint of its base; 0: none yet.
    base: u64,
    base_chunks: u32,
    base_bytes: u64,
    /// Bytes in the log since.
    log_bytes: u64,
    /// The first checkpoint after its base whose log holds something of it; 0: none.
    first_log: u64,
}

/// How far a source was read, and what was counted on the way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceProgress {
    pub(crate) offsets: Offsets,
    pub(crate) rows: u64,
    pub(crate) errors: u64,
    pub(crate) headers: u64,
    pub(crate) tombstones: u64,
    pub(crate) bytes: u64,
}

/// A node as a manifest knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NodeMeta {
    fingerprint: String,
    arrangement: Option<u32>,
    rows: i64,
    errors: Errors,
}

/// One generation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Manifest {
    checkpoint: u64,
    epoch: u64,
    now: i64,
    sources: Vec<(RelationId, SourceProgress)>,
    views: Vec<(RelationId, String)>,
    nodes: Vec<NodeMeta>,
    units: Vec<(Unit, UnitMeta)>,
    /// Checkpoints whose log chunks are alive: number, chunks, bytes.
    log: Vec<(u64, u32, u64)>,
    first_error: u64,
    next_error: u64,
}

/// An arrangement's number in the store, and the arrangement that has it: another one in its place,
/// of a view that was dropped and made again, is saved from the start.
#[derive(Debug)]
struct Numbered {
    number: u32,
    arrangement: Weak<Arrangement>,
}

impl Numbered {
    fn is(&self, arrangement: &Arc<Arrangement>) -> bool {
        #[cfg(test)]
        if planted(Fault::ArrangementMistaken) {
            return true;
        }
        // A pointer that is held, even weakly, is not given to another.
        std::ptr::eq(self.arrangement.as_ptr(), Arc::as_ptr(arrangement))
    }
}

/// The checkpointer: what the newest generation holds, and what the next will.
#[derive(Debug, Default)]
pub(crate) struct Checkpointer {
    number: u64,
    next_arrangement: u32,
    arrangements: BTreeMap<String, Numbered>,
    units: BTreeMap<Unit, UnitMeta>,
    log: BTreeMap<u64, (u32, u64)>,
    /// What the generation before named and the newest does not.
    retired: Vec<(Tree, Vec<u8>)>,
    /// The last write failed: what the log should hold is not there.
    broken: bool,
    next_error_saved: u64,
}

/// What is to be saved beside the dataflow.
pub(crate) struct Context<'a> {
    pub(crate) epoch: u64,
    pub(crate) now: i64,
    pub(crate) catalog: &'a [u8],
    pub(crate) sources: Vec<(RelationId, SourceProgress)>,
    /// The newest bad records: the number of the first, and all of them.
    pub(crate) first_error: u64,
    pub(crate) errors: &'a std::collections::VecDeque<SourceError>,
}

/// A frozen checkpoint, ready to be written by another thread.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) epoch: u64,
    writes: Vec<(Tree, Vec<Write>)>,
    /// The views whose whole state is in it.
    pub(crate) views: BTreeSet<RelationId>,
    /// Some state had to wait for the next one.
    pub(crate) partial: bool,
}

impl Frozen {
    /// Writes it; durable when this returns.
    pub(crate) fn write(self, store: &dyn Store) -> Result<()> {
        for (tree, changes) in self.writes {
            store.write(tree, changes)?;
        }
        store.flush()
    }
}

/// A unit to be frozen: where its entries are.
struct Target<'a> {
    unit: Unit,
    arrangement: &'a Arrangement,
    /// Whole, as a base.
    whole: bool,
}

impl Checkpointer {
    /// Copies out what changed since the last time.
    pub(crate) fn freeze(&mut self, dataflow: &Dataflow, context: &Context<'_>) -> Result<Frozen> {
        self.number += 1;
        let broken = std::mem::take(&mut self.broken);
        self.assign(dataflow);
        let arrangements = self.arrangements_of(dataflow);
        let (targets, waiting) = self.targets(&arrangements, &self.tables_of(dataflow), broken);
        let sections: Vec<(Unit, bool, Vec<Vec<u8>>)> = targets
            .into_par_iter()
            .map(|target| (target.unit, target.whole, section::freeze(target.unit, target.arrangement, target.whole)))
            .collect();
        let mut writes = Vec::new();
        let mut packer = section::Packer::default();
        let mut bases = Vec::new();
        for (unit, whole, chunks) in sections {
            self.record(unit, whole, &chunks, &mut bases, &mut packer);
        }
        self.freeze_errors(context, broken, &mut packer, &mut bases);
        writes.push((Tree::Base, bases));
        let log = packer.finish();
        let bytes = log.iter().map(|chunk| chunk.len() as u64).sum();
        if !log.is_empty() {
            self.log.insert(self.number, (log.len() as u32, bytes));
        }
        writes.push((
            Tree::Log,
            log.into_iter().enumerate().map(|(n, chunk)| (log_key(self.number, n as u32), Some(chunk))).collect(),
        ));
        let mut dropped = std::mem::take(&mut self.retired);
        self.retire(&arrangements);
        let (manifest, views) = self.manifest(dataflow, context, &waiting);
        dropped.push((Tree::Manifest, manifest_key(self.number.saturating_sub(2))));
        for (tree, key) in dropped {
            writes.push((tree, vec![(key, None)]));
        }
        let value = manifest_bytes(&manifest, context.catalog)?;
        writes.push((Tree::Manifest, vec![(manifest_key(self.number), Some(value))]));
        Ok(Frozen { epoch: context.epoch, writes, views, partial: !waiting.is_empty() })
    }

    /// The last frozen checkpoint could not be written: the next one writes everything.
    pub(crate) fn failed(&mut self) {
        self.broken = true;
    }

    /// Gives every arrangement its number.
    fn assign(&mut self, dataflow: &Dataflow) {
        for (_, node) in dataflow.nodes() {
            let Some(arrangement) = node.op.arrangement() else { continue };
            if self.arrangements.get(&node.fingerprint).is_none_or(|known| !known.is(arrangement)) {
                self.next_arrangement += 1;
                let numbered = Numbered { number: self.next_arrangement, arrangement: Arc::downgrade(arrangement) };
                self.arrangements.insert(node.fingerprint.clone(), numbered);
            }
        }
    }

    fn arrangements_of<'a>(&self, dataflow: &'a Dataflow) -> BTreeMap<u32, &'a Arrangement> {
        let nodes = dataflow.nodes().filter_map(|(_, node)| {
            Some((self.arrangements.get(&node.fingerprint)?.number, node.op.arrangement()?.as_ref()))
        });
        nodes.collect()
    }

    /// The arrangements that hold rows of tables. They never wait: the cuts that made them go with
    /// the next checkpoint, and nothing else could make them again.
    fn tables_of(&self, dataflow: &Dataflow) -> BTreeSet<u32> {
        let tables = dataflow.nodes().filter(|(_, node)| dataflow.keeps_table(node));
        tables.filter_map(|(_, node)| Some(self.arrangements.get(&node.fingerprint)?.number)).collect()
    }

    /// The units to freeze now, and the arrangements some of whose units must wait.
    fn targets<'a>(
        &self,
        arrangements: &BTreeMap<u32, &'a Arrangement>,
        tables: &BTreeSet<u32>,
        broken: bool,
    ) -> (Vec<Target<'a>>, BTreeSet<u32>) {
        let mut targets = Vec::new();
        let mut waiting = BTreeSet::new();
        let mut budget = FIRST_BASE_BUDGET;
        #[cfg(test)]
        crate::simulation::narrow(&mut budget);
        let (log_bytes, base_bytes) = self.totals();
        let crowded = log_bytes > base_bytes.max(LOG_FLOOR);
        let oldest = self.log.keys().nth(self.log.len() / 4).copied().unwrap_or(0);
        for (&number, &arrangement) in arrangements {
            for table in 0..section::tables(arrangement) {
                for shard in 0..SHARDS {
                    let unit = Unit { arrangement: number, table, shard: shard as u8 };
                    let meta = self.units.get(&unit).copied().unwrap_or_default();
                    let dirty = section::is_dirty(arrangement, table, shard);
                    #[cfg(test)]
                    let dirty = dirty && !(planted(Fault::DirtyForgotten) && shard % 4 == 1);
                    let stale = crowded && meta.first_log != 0 && meta.first_log <= oldest;
                    let rebuilt = broken && meta.base + meta.first_log != 0;
                    if !(dirty || stale || rebuilt) {
                        continue;
                    }
                    let first = meta.base == 0;
                    if first && budget == 0 && !tables.contains(&number) {
                        waiting.insert(number);
                        continue;
                    }
                    if first {
                        budget = budget.saturating_sub(section::memory(arrangement, table, shard));
                    }
                    let whole = first || stale || broken || meta.log_bytes > meta.base_bytes.max(UNIT_LOG_FLOOR);
                    targets.push(Target { unit, arrangement, whole });
                }
            }
        }
        (targets, waiting)
    }

    fn totals(&self) -> (u64, u64) {
        (self.log.values().map(|(_, bytes)| bytes).sum(), self.units.values().map(|meta| meta.base_bytes).sum())
    }

    fn record(
        &mut self,
        unit: Unit,
        whole: bool,
        chunks: &[Vec<u8>],
        bases: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
        packer: &mut section::Packer,
    ) {
        let number = self.number;
        let bytes: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let meta = self.units.entry(unit).or_default();
        if whole {
            let old = (0..meta.base_chunks).map(|n| (Tree::Base, base_key(unit, meta.base, n)));
            self.retired.extend(old);
            *meta = UnitMeta {
                base: number,
                base_chunks: chunks.len() as u32,
                base_bytes: bytes,
                log_bytes: 0,
                first_log: 0,
            };
            bases.extend(
                chunks.iter().enumerate().map(|(n, chunk)| (base_key(unit, number, n as u32), Some(chunk.clone()))),
            );
        } else {
            meta.log_bytes += bytes;
            if meta.first_log == 0 {
                meta.first_log = number;
            }
            chunks.iter().for_each(|chunk| packer.add(chunk));
        }
    }

    fn freeze_errors(
        &mut self,
        context: &Context<'_>,
        broken: bool,
        packer: &mut section::Packer,
        bases: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) {
        let unit = Unit { arrangement: SOURCE_ERRORS, table: 0, shard: 0 };
        let end = context.first_error + context.errors.len() as u64;
        let meta = self.units.get(&unit).copied().unwrap_or_default();
        let (log_bytes, base_bytes) = self.totals();
        let stale = log_bytes > base_bytes.max(LOG_FLOOR) && meta.first_log != 0;
        if end == self.next_error_saved && !stale && !broken {
            return;
        }
        let whole = meta.base == 0 || broken || stale || meta.log_bytes > meta.base_bytes.max(UNIT_LOG_FLOOR);
        let from = if whole { context.first_error } else { self.next_error_saved.max(context.first_error) };
        let entries = context.errors.iter().skip((from - context.first_error) as usize).enumerate();
        let chunks = section::errors(unit, entries.map(|(n, error)| (from + n as u64, error)));
        self.next_error_saved = end;
        self.record(unit, whole, &chunks, bases, packer);
    }

    /// Notes what the next generation may drop: units of arrangements that are gone, and the log
    /// below all bases.
    fn retire(&mut self, arrangements: &BTreeMap<u32, &Arrangement>) {
        let gone = |unit: &Unit| unit.arrangement != SOURCE_ERRORS && !arrangements.contains_key(&unit.arrangement);
        let lost: Vec<Unit> = self.units.keys().filter(|unit| gone(unit)).copied().collect();
        for unit in lost {
            if let Some(meta) = self.units.remove(&unit) {
                self.retired.extend((0..meta.base_chunks).map(|n| (Tree::Base, base_key(unit, meta.base, n))));
            }
        }
        self.arrangements.retain(|_, known| arrangements.contains_key(&known.number));
        let needed =
            self.units.values().map(|meta| meta.first_log).filter(|first| *first != 0).min().unwrap_or(self.number + 1);
        let keep = self.log.split_off(&needed);
        for (number, (chunks, _)) in std::mem::replace(&mut self.log, keep) {
            self.retired.extend((0..chunks).map(|n| (Tree::Log, log_key(number, n))));
        }
    }

    fn manifest(
        &self,
        dataflow: &Dataflow,
        context: &Context<'_>,
        waiting: &BTreeSet<u32>,
    ) -> (Manifest, BTreeSet<RelationId>) {
        let number_of = |fingerprint: &str| self.arrangements.get(fingerprint).map(|known| known.number);
        let nodes = dataflow.nodes().map(|(_, node)| NodeMeta {
            fingerprint: node.fingerprint.clone(),
            arrangement: node.op.arrangement().and_then(|_| number_of(&node.fingerprint)),
            rows: node.rows.load(Ordering::Relaxed),
            errors: node.errors.as_ref().clone(),
        });
        let whole = |view: &RelationId| {
            dataflow
                .below(*view)
                .iter()
                .all(|node| number_of(&node.fingerprint).is_none_or(|number| !waiting.contains(&number)))
        };
        let views: Vec<(RelationId, String)> = dataflow
            .views()
            .iter()
            .filter(|(view, _)| whole(view))
            .filter_map(|(view, id)| Some((*view, dataflow.node(*id).ok()?.fingerprint.clone())))
            .collect();
        let complete = views.iter().map(|(view, _)| *view).collect();
        let manifest = Manifest {
            checkpoint: self.number,
            epoch: context.epoch,
            now: context.now,
            sources: context.sources.clone(),
            views,
            nodes: nodes.collect(),
            units: self.units.iter().map(|(unit, meta)| (*unit, *meta)).collect(),
            log: self.log.iter().map(|(number, (chunks, bytes))| (*number, *chunks, *bytes)).collect(),
            first_error: context.first_error,
            next_error: context.first_error + context.errors.len() as u64,
        };
        (manifest, complete)
    }
}

fn log_key(checkpoint: u64, n: u32) -> Vec<u8> {
    [&checkpoint.to_be_bytes()[..], &n.to_be_bytes()].concat()
}

fn base_key(unit: Unit, checkpoint: u64, n: u32) -> Vec<u8> {
    [
        &unit.arrangement.to_be_bytes()[..],
        &unit.table.to_be_bytes(),
        &[unit.shard],
        &checkpoint.to_be_bytes(),
        &n.to_be_bytes(),
    ]
    .concat()
}

fn manifest_key(checkpoint: u64) -> Vec<u8> {
    checkpoint.to_be_bytes().to_vec()
}

/// The manifest behind its length, then the catalog.
fn manifest_bytes(manifest: &Manifest, catalog: &[u8]) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(manifest)
        .map_err(|error| crate::Error::internal(format!("a manifest cannot be written: {error}")))?;
    Ok([&(json.len() as u64).to_be_bytes()[..], &json, catalog].concat())
}
