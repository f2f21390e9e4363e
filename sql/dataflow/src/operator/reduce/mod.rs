//! `Reduce`: GROUP BY with aggregates, DISTINCT, and the keeping of whole rows.
//!
//! A batch goes through in four steps, each over rows sorted by shard: find the groups, update
//! the plain calls, ask the distinct tables what appeared or vanished, update the distinct calls.
//! At the barrier every touched group gives its old row back and its new row out. Shards are
//! worked on in parallel; the result does not depend on the number of workers.

pub(crate) mod distinct;
pub(crate) mod layout;
pub(crate) mod numeric_sum;
pub(crate) mod output;
pub(crate) mod update;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use rayon::prelude::*;

use self::distinct::{DistinctRows, Transition};
use self::layout::Layout;
use self::output::Output;
use self::update::{Arguments, ShardRows, count_rows, update};
use super::ErrorChange;
use crate::arrangement::codec::{EncodedRows, RowCodec};
use crate::arrangement::groups::Image;
use crate::arrangement::hash::{SHARDS, hash_bytes, shard_of};
use crate::arrangement::{Arrangement, Mode, Shard};
use crate::delta::{Batch, Delta};
use crate::error::Result;
use crate::plan::Call;

/// A group's number over all shards: six bits of shard, the rest its number in there.
const ID_BITS: u32 = 26;

/// Rows of a batch from which on workers share it; few in unit tests, so that they do.
const PARALLEL_ROWS: usize = if cfg!(test) { 8 } else { 4096 };

/// The operator.
#[derive(Debug)]
pub(crate) struct Reduce {
    keys: Vec<usize>,
    codec: RowCodec,
    pub(crate) arrangement: Arc<Arrangement>,
    retracts: bool,
    touched: [bool; SHARDS],
    /// In mode `Rows` the output is the input, kept until the barrier.
    passed: Delta,
}

/// What an epoch changed in the output.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub(crate) delta: Delta,
    /// Rows that are there more now.
    pub(crate) rows: i64,
    pub(crate) errors: Vec<ErrorChange>,
    /// Rows that were looked at.
    pub(crate) touched: u64,
}

impl Changed {
    /// Rows, counted.
    pub(crate) fn of(delta: Delta, errors: Vec<ErrorChange>) -> Changed {
        Changed { rows: delta.iter().map(Batch::count).sum(), delta, errors, touched: 0 }
    }
}

/// The rows of one batch, sorted by shard.
struct Sorted {
    order: Vec<u32>,
    starts: [usize; SHARDS + 1],
    hashes: Vec<u64>,
    rows: EncodedRows,
}

impl Reduce {
    /// GROUP BY `keys` with `calls`, empty.
    pub(crate) fn groups(
        input: &SchemaRef,
        keys: &[usize],
        calls: &[Call],
        schema: SchemaRef,
        retracts: bool,
    ) -> Result<Reduce> {
        let codec = RowCodec::new(input, keys, true);
        let layout = Layout::new(input, calls, retracts)?;
        let arrangement = Arrangement::new(Mode::Groups, Output { schema, keys: codec.clone(), layout });
        Ok(Reduce::over(keys.to_vec(), codec, Arc::new(arrangement), retracts))
    }

    /// The keeping of whole rows, empty.
    pub(crate) fn rows(input: &SchemaRef) -> Result<Reduce> {
        let keys: Vec<usize> = (0..input.fields().len()).collect();
        let codec = RowCodec::new(input, &keys, false);
        // Counted even over insert-only input: rows may be equal.
        let layout = Layout::new(input, &[], true)?;
        let arrangement = Arrangement::new(Mode::Rows, Output { schema: input.clone(), keys: codec.clone(), layout });
        Ok(Reduce::over(keys, codec, Arc::new(arrangement), true))
    }

    fn over(keys: Vec<usize>, codec: RowCodec, arrangement: Arc<Arrangement>, retracts: bool) -> Reduce {
        Reduce { keys, codec, arrangement, retracts, touched: [false; SHARDS], passed: Vec::new() }
    }

    /// Whether a group without keys stands for the whole input: its row is always there.
    fn is_global(&self) -> bool {
        self.keys.is_empty() && self.arrangement.mode == Mode::Groups
    }

    /// Makes the one row of a global aggregate: for a new node, before its first barrier.
    pub(crate) fn seed(&mut self, epoch: u64, oldest: u64) {
        #[cfg(test)]
        if crate::simulation::fault::planted(crate::simulation::fault::Fault::GlobalRowGone) {
            return;
        }
        if self.is_global() {
            let hash = hash_bytes(b"");
            let shard = shard_of(hash);
            let groups = &mut self.arrangement.shards[shard].write().groups;
            groups.begin(epoch, oldest);
            groups.touch(hash, b"");
            self.touched[shard] = true;
        }
    }

    /// Takes a batch in.
    pub(crate) fn push(&mut self, batch: &Batch, epoch: u64, oldest: u64, workers: usize) -> Result<()> {
        let rows = batch.rows.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let parallel = workers > 1 && rows >= PARALLEL_ROWS;
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| batch.rows.column(*key).clone()).collect();
        let sorted = sort(self.codec.encode(&keys, rows)?, rows);
        for shard in 0..SHARDS {
            self.touched[shard] |= sorted.starts[shard] < sorted.starts[shard + 1];
        }
        let inputs = Inputs::new(&batch.rows, &self.arrangement.output.layout);
        let diffs = batch.diffs.as_deref();
        let mut ids = vec![0u32; rows];
        self.find_and_update(&sorted, &inputs, diffs, (epoch, oldest), &mut ids, parallel)?;
        self.update_distinct(&sorted, &inputs, &mut ids, diffs, parallel)?;
        if self.arrangement.mode == Mode::Rows {
            self.passed.push(batch.clone());
        }
        Ok(())
    }

    /// Steps one and two: the groups' numbers into `ids`, and the plain calls.
    fn find_and_update(
        &self,
        sorted: &Sorted,
        inputs: &Inputs<'_>,
        diffs: Option<&[i64]>,
        epochs: (u64, u64),
        ids: &mut [u32],
        parallel: bool,
    ) -> Result<()> {
        let work = |(shard, ids): (usize, &mut [u32])| -> Result<()> {
            let rows = &sorted.order[sorted.starts[shard]..sorted.starts[shard + 1]];
            if rows.is_empty() {
                return Ok(());
            }
            let mut guard = self.arrangement.shards[shard].write();
            let Shard { groups, multisets, .. } = &mut *guard;
            groups.begin(epochs.0, epochs.1);
            for (row, id) in rows.iter().zip(ids.iter_mut()) {
                *id = groups.touch(sorted.hashes[*row as usize], sorted.rows.row(*row as usize));
            }
            let shard_rows = ShardRows { rows, ids, diffs };
            let layout = &self.arrangement.output.layout;
            count_rows(layout, groups, &shard_rows);
            for (place, call) in layout.calls.iter().enumerate() {
                if !inputs.distinct[place] {
                    update(call, self.retracts, groups, &mut multisets[place], &inputs.arguments(place), &shard_rows)?;
                }
            }
            Ok(())
        };
        let parts = split_by_shard(ids, &sorted.starts);
        if parallel { parts.into_par_iter().map(work).collect() } else { parts.into_iter().try_for_each(work) }
    }

    /// Steps three and four.
    fn update_distinct(
        &self,
        sorted: &Sorted,
        inputs: &Inputs<'_>,
        ids: &mut [u32],
        diffs: Option<&[i64]>,
        parallel: bool,
    ) -> Result<()> {
        let layout = &self.arrangement.output.layout;
        if layout.distincts.is_empty() {
            return Ok(());
        }
        for (shard, ids) in split_by_shard(ids, &sorted.starts) {
            ids.iter_mut().for_each(|id| *id |= (shard as u32) << ID_BITS);
        }
        for (table, distinct) in self.arrangement.distincts.iter().zip(&layout.distincts) {
            let filters: Vec<Option<&BooleanArray>> =
                distinct.filters.iter().map(|filter| filter.map(|column| inputs.boolean(column))).collect();
            let values = inputs.batch.column(distinct.argument);
            let mut transitions = table.update(
                &DistinctRows { rows: &sorted.order, groups: ids, values, filters: &filters, diffs },
                parallel,
            )?;
            transitions.sort_by_key(|transition| (transition.group >> ID_BITS, transition.filter));
            for part in transitions.chunk_by(|a, b| (a.group >> ID_BITS, a.filter) == (b.group >> ID_BITS, b.filter)) {
                self.apply_transitions(part, &distinct.calls[part[0].filter as usize], inputs)?;
            }
        }
        Ok(())
    }

    /// Transitions of one shard and one condition into the calls that follow it.
    fn apply_transitions(&self, part: &[Transition], calls: &[usize], inputs: &Inputs<'_>) -> Result<()> {
        let mut guard = self.arrangement.shards[(part[0].group >> ID_BITS) as usize].write();
        let Shard { groups, multisets, .. } = &mut *guard;
        let ids: Vec<u32> = part.iter().map(|transition| transition.group & ((1 << ID_BITS) - 1)).collect();
        // The same row may come twice with different diffs, so each direction is a pass of its own.
        for direction in [1, -1] {
            let chosen = || part.iter().zip(&ids).filter(move |(transition, _)| transition.diff == direction);
            let rows: Vec<u32> = chosen().map(|(transition, _)| transition.row).collect();
            if rows.is_empty() {
                continue;
            }
            let ids: Vec<u32> = chosen().map(|(_, id)| *id).collect();
            let signs;
            let diffs = if direction == 1 {
                None
            } else {
                signs = vec![-1; inputs.batch.num_rows()];
                Some(signs.as_slice())
            };
            for &place in calls {
                let call = &self.arrangement.output.layout.calls[place];
                // The filter has been applied: the table saw only rows that pass.
                let arguments = Arguments { filter: None, ..inputs.arguments(place) };
                update(
                    call,
                    self.retracts,
                    groups,
                    &mut multisets[place],
                    &arguments,
                    &ShardRows { rows: &rows, ids: &ids, diffs },
                )?;
            }
        }
        Ok(())
    }

    /// The barrier: what changed in this epoch. Groups that are empty now are gone afterwards.
    /// Without a `reader` the rows are only counted, unless one of them could be an error.
    pub(crate) fn finish(&mut self, epoch: u64, reader: bool) -> Result<Changed> {
        let shards: Vec<usize> = (0..SHARDS).filter(|shard| self.touched[*shard]).collect();
        self.touched = [false; SHARDS];
        let counted = !reader && !self.arrangement.output.can_fail();
        let changed = match self.arrangement.mode {
            Mode::Rows => Changed::of(std::mem::take(&mut self.passed), Vec::new()),
            Mode::Groups => self.changed(epoch, &shards, counted)?,
        };
        let keep = self.is_global() || !self.arrangement.output.layout.counted;
        for shard in shards {
            self.arrangement.shards[shard]
                .write()
                .groups
                .end(epoch, |image| !keep && Output::multiplicity(&image) == 0);
        }
        Ok(changed)
    }

    fn changed(&self, epoch: u64, shards: &[usize], counted: bool) -> Result<Changed> {
        let guards: Vec<_> = shards.iter().map(|shard| self.arrangement.shards[*shard].read()).collect();
        let mut images: Vec<Image<'_>> = Vec::new();
        let mut diffs: Vec<i64> = Vec::new();
        let mut rows = 0;
        let keep = self.is_global() || !self.arrangement.output.layout.counted;
        let alive = |image: &Image<'_>| keep || Output::multiplicity(image) != 0;
        for guard in &guards {
            for (_, old, new) in guard.groups.touched(epoch) {
                let (old, new) = (old.filter(alive), new.filter(alive));
                if counted {
                    rows += i64::from(new.is_some()) - i64::from(old.is_some());
                    continue;
                }
                if let (Some(old), Some(new)) = (&old, &new)
                    && self.same_row(old, new)
                {
                    continue;
                }
                for (image, sign) in [(old, -1), (new, 1)] {
                    if let Some(image) = image {
                        images.push(image);
                        diffs.push(sign);
                    }
                }
            }
        }
        if images.is_empty() {
            return Ok(Changed { rows, ..Changed::default() });
        }
        let (rows, failures) = self.arrangement.output.rows(&images)?;
        let mut errors = Vec::with_capacity(failures.len());
        for failure in &failures {
            let row = super::row_text(
                &self.codec.decode(std::iter::once(images[failure.place].key))?,
                0,
                &self.arrangement.output.schema,
            );
            errors.push(ErrorChange { error: failure.error.clone(), row, diff: diffs[failure.place] });
        }
        for failure in failures.iter().rev() {
            diffs.remove(failure.place);
        }
        let diffs = if diffs.iter().all(|diff| *diff == 1) { None } else { Some(diffs.into()) };
        Ok(Changed::of(vec![Batch { rows, diffs }], errors))
    }

    /// Whether two images of a group give the same row: the state but the row count is the same.
    fn same_row(&self, old: &Image<'_>, new: &Image<'_>) -> bool {
        let skip = if self.arrangement.output.layout.counted { 8 } else { 0 };
        old.fixed[skip..] == new.fixed[skip..] && old.blobs == new.blobs
    }
}

/// The columns of a batch that calls look at.
struct Inputs<'a> {
    batch: &'a RecordBatch,
    layout: &'a Layout,
    distinct: Vec<bool>,
}

impl<'a> Inputs<'a> {
    fn new(batch: &'a RecordBatch, layout: &'a Layout) -> Inputs<'a> {
        let distinct = (0..layout.calls.len()).map(|call| layout.is_distinct(call)).collect();
        Inputs { batch, layout, distinct }
    }

    fn boolean(&self, column: usize) -> &'a BooleanArray {
        self.batch.column(column).as_boolean()
    }

    fn arguments(&self, call: usize) -> Arguments<'a> {
        let call = &self.layout.calls[call].call;
        Arguments {
            values: call.argument.map(|column| self.batch.column(column)),
            filter: call.filter.map(|column| self.boolean(column)),
        }
    }
}

/// Cuts a slice that is sorted by shard into the shards' parts.
fn split_by_shard<'a, T>(mut rest: &'a mut [T], starts: &[usize; SHARDS + 1]) -> Vec<(usize, &'a mut [T])> {
    let mut parts = Vec::with_capacity(SHARDS);
    for shard in 0..SHARDS {
        let (part, after) = rest.split_at_mut(starts[shard + 1] - starts[shard]);
        parts.push((shard, part));
        rest = after;
    }
    parts
}

fn sort(encoded: EncodedRows, rows: usize) -> Sorted {
    let hashes: Vec<u64> = (0..rows).map(|row| hash_bytes(encoded.row(row))).collect();
    let mut starts = [0usize; SHARDS + 1];
    for hash in &hashes {
        starts[shard_of(*hash) + 1] += 1;
    }
    for shard in 0..SHARDS {
        starts[shard + 1] += starts[shard];
    }
    let mut next = starts;
    let mut order = vec![0u32; rows];
    for (row, hash) in hashes.iter().enumerate() {
        let place = &mut next[shard_of(*hash)];
        order[*place] = row as u32;
        *place += 1;
    }
    Sorted { order, starts, hashes, rows: encoded }
}
