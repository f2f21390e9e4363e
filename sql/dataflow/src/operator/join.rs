//! `Join`: pairs of rows whose keys are equal, and rows that have, or lack, an equal on the other
//! side.
//!
//! Both sides are read from an index each, which already holds this epoch's changes. With A and B
//! before the epoch and a, b the changes: pairs change by `a x B + (A + a) x b`, where B is the
//! index with b taken back, so that over rows that only come, pairs only come. Which rows of one
//! side have an equal on the other changes with the rows (`a`, judged by B) and with the keys whose
//! presence in B changed (all of their rows in A + a). Work is proportional to the changed rows and
//! those they meet. A condition beyond equality is a `Map` above.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use rayon::prelude::*;

use super::keyed::{Entry, KeyCodec, Keyed};
use super::reduce::output::Output;
use crate::arrangement::codec::RowCodec;
use crate::arrangement::hash::SHARDS;
use crate::arrangement::{Arrangement, Shard};
use crate::delta::{Batch, Delta, of_columns, take};
use crate::error::{Error, Result};
use crate::plan::{JoinKind, Key};
#[cfg(test)]
use crate::simulation::fault::{Fault, planted};

/// Pairs that become one batch.
const SLICE_ROWS: usize = 8192;

/// Changed rows from which on workers share them; few in unit tests, so that they do.
const PARALLEL_ROWS: usize = if cfg!(test) { 8 } else { 1024 };

/// The operator.
#[derive(Debug)]
pub(crate) struct Join {
    kind: JoinKind,
    pub(crate) left: Side,
    pub(crate) right: Side,
    schema: SchemaRef,
}

/// One input: how its rows are keyed, and where they are kept.
#[derive(Debug)]
pub(crate) struct Side {
    schema: SchemaRef,
    keys: KeyCodec,
    rows: RowCodec,
    pub(crate) arrangement: Arc<Arrangement>,
}

impl Side {
    /// The rows of this schema, kept in this index by these keys.
    pub(crate) fn new(schema: &SchemaRef, keys: &[Key], arrangement: Arc<Arrangement>) -> Side {
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let (keys, rows) = (KeyCodec::new(schema, keys), RowCodec::new(schema, &all, false));
        Side { schema: schema.clone(), keys, rows, arrangement }
    }

    fn shard(&self, shard: usize) -> parking_lot::RwLockReadGuard<'_, Shard> {
        // A self-join reads one lock twice; no writer is about, but one could wait in between.
        self.arrangement.shards[shard].read_recursive()
    }
}

impl Join {
    /// The join of two sides.
    pub(crate) fn new(kind: JoinKind, left: Side, right: Side, schema: SchemaRef) -> Join {
        Join { kind, left, right, schema }
    }

    /// One epoch.
    pub(crate) fn run(&self, left: &[Batch], right: &[Batch], workers: usize) -> Result<Delta> {
        let (left, right) = (self.left.keys.sort(left)?, self.right.keys.sort(right)?);
        let shard = |shard: usize| {
            if left.shard(shard).is_empty() && right.shard(shard).is_empty() {
                return Ok(Delta::new());
            }
            self.run_shard(shard, &left, &right)
        };
        let parts: Vec<Delta> = if workers > 1 && left.len() + right.len() >= PARALLEL_ROWS {
            (0..SHARDS).into_par_iter().map(shard).collect::<Result<_>>()?
        } else {
            (0..SHARDS).map(shard).collect::<Result<_>>()?
        };
        let mut out = parts.concat();
        self.unequal(&left, &right, &mut out)?;
        Ok(out)
    }

    /// Rows whose key equals nothing have no pair, whatever comes.
    fn unequal(&self, left: &Keyed<'_>, right: &Keyed<'_>, out: &mut Delta) -> Result<()> {
        let mut slices = Slices::new(self, left, right, out);
        if matches!(self.kind, JoinKind::Left | JoinKind::Full | JoinKind::Anti) {
            for entry in &left.unequal {
                slices.push(Pick::Changed(*entry), Pick::Nothing, left.diff(entry))?;
            }
        }
        if self.kind == JoinKind::Full {
            for entry in &right.unequal {
                slices.push(Pick::Nothing, Pick::Changed(*entry), right.diff(entry))?;
            }
        }
        slices.finish()
    }

    fn run_shard(&self, shard: usize, left: &Keyed<'_>, right: &Keyed<'_>) -> Result<Delta> {
        let (left_rows, right_rows) = (self.left.shard(shard), self.right.shard(shard));
        let sides = (
            Stored { side: &self.left, shard: &left_rows, delta: left, entries: left.shard(shard) },
            Stored { side: &self.right, shard: &right_rows, delta: right, entries: right.shard(shard) },
        );
        let mut out = Delta::new();
        let (left_keys, right_keys) = (sides.0.keys(), sides.1.keys());
        let before = sides.1.changes_under(&left_keys)?;
        #[cfg(test)]
        let before = if planted(Fault::BothSidesTwice) { Changes::new() } else { before };
        let mut slices = Slices::new(self, left, right, &mut out);
        if matches!(self.kind, JoinKind::Inner | JoinKind::Left | JoinKind::Full) {
            pairs(&sides.0, &sides.1, &before, &mut slices)?;
        }
        match self.kind {
            JoinKind::Inner => {}
            JoinKind::Semi => presence(&sides.0, &sides.1, &right_keys, 1, true, &mut slices)?,
            JoinKind::Anti | JoinKind::Left => presence(&sides.0, &sides.1, &right_keys, -1, true, &mut slices)?,
            JoinKind::Full => {
                presence(&sides.0, &sides.1, &right_keys, -1, true, &mut slices)?;
                presence(&sides.1, &sides.0, &left_keys, -1, false, &mut slices)?;
            }
        }
        slices.finish()?;
        drop((left_rows, right_rows));
        Ok(out)
    }
}

/// One side within a shard: what is kept, and what changed.
struct Stored<'a> {
    side: &'a Side,
    shard: &'a Shard,
    delta: &'a Keyed<'a>,
    entries: &'a [Entry],
}

/// The changed keys of a side: the hash and by how much its rows changed in number.
type Keys<'a> = BTreeMap<&'a [u8], (u64, i64)>;

/// The changed rows of a side, by key and row.
type Changes<'a> = HashMap<&'a [u8], BTreeMap<Vec<u8>, i64>>;

impl<'a> Stored<'a> {
    fn keys(&self) -> Keys<'a> {
        let mut keys = Keys::new();
        for entry in self.entries {
            keys.entry(self.delta.key(entry)).or_insert((entry.hash, 0)).1 += self.delta.diff(entry);
        }
        keys
    }

    /// The rows that changed under some keys, added up.
    fn changes_under(&self, keys: &Keys<'_>) -> Result<Changes<'a>> {
        let mut changes = Changes::new();
        let met: Vec<&Entry> = self.entries.iter().filter(|entry| keys.contains_key(self.delta.key(entry))).collect();
        for part in met.chunk_by(|a, b| a.batch == b.batch) {
            let rows = &self.delta.batches[part[0].batch as usize].rows;
            let places = UInt32Array::from_iter_values(part.iter().map(|entry| entry.row));
            let taken = take(rows, &places)?;
            let encoded = self.side.rows.encode(taken.columns(), part.len())?;
            for (place, entry) in part.iter().enumerate() {
                let rows = changes.entry(self.delta.key(entry)).or_default();
                *rows.entry(encoded.row(place).to_vec()).or_insert(0) += self.delta.diff(entry);
            }
        }
        Ok(changes)
    }

    /// The rows kept under a key, with their multiplicities.
    fn rows(&self, hash: u64, key: &[u8]) -> impl Iterator<Item = (&'a [u8], i64)> {
        let groups = &self.shard.groups;
        let ids = self.shard.index.iter().flat_map(move |index| index.rows(hash, key).collect::<Vec<_>>());
        ids.filter_map(|id| groups.image(id))
            .map(|image| (image.key, Output::multiplicity(&image)))
            .filter(|(_, count)| *count != 0)
    }

    /// How many rows a key has.
    fn total(&self, hash: u64, key: &[u8]) -> i64 {
        self.shard.index.as_ref().map_or(0, |index| index.total(hash, key))
    }
}

/// `a x B + (A + a) x b`. `before`: b under the keys of a, to be taken back from the index.
fn pairs<'a>(
    left: &Stored<'a>,
    right: &Stored<'a>,
    before: &'a Changes<'a>,
    slices: &mut Slices<'a, '_>,
) -> Result<()> {
    for entry in left.entries {
        let (key, diff) = (left.delta.key(entry), left.delta.diff(entry));
        let changed = before.get(key);
        for (row, count) in right.rows(entry.hash, key) {
            let count = count - changed.and_then(|rows| rows.get(row)).copied().unwrap_or(0);
            if count != 0 {
                slices.push(Pick::Changed(*entry), Pick::Kept(row), diff * count)?;
            }
        }
        // Rows that went are in the index no more, but were in B.
        for (row, change) in changed.into_iter().flatten().filter(|(_, change)| **change < 0) {
            if right.shard.groups.keys.find(crate::arrangement::hash::hash_bytes(row), row).is_none() {
                slices.push(Pick::Changed(*entry), Pick::Kept(row), -diff * change)?;
            }
        }
    }
    for entry in right.entries {
        let (key, diff) = (right.delta.key(entry), right.delta.diff(entry));
        for (row, count) in left.rows(entry.hash, key) {
            slices.push(Pick::Kept(row), Pick::Changed(*entry), diff * count)?;
        }
    }
    Ok(())
}

/// The rows of `side` that have (`sign` 1) or lack (-1) an equal in `other`, whose changed keys are
/// given. `first`: whether the side stands on the left of the output.
fn presence<'a>(
    side: &Stored<'a>,
    other: &Stored<'a>,
    changed: &Keys<'_>,
    sign: i64,
    first: bool,
    slices: &mut Slices<'a, '_>,
) -> Result<()> {
    let mut push = |pick: Pick<'a>, diff: i64| {
        let (left, right) = if first { (pick, Pick::Nothing) } else { (Pick::Nothing, pick) };
        slices.push(left, right, diff)
    };
    for entry in side.entries {
        let key = side.delta.key(entry);
        let change = changed.get(key).map_or(0, |(_, change)| *change);
        let was_there = other.total(entry.hash, key) - change > 0;
        if was_there == (sign > 0) {
            push(Pick::Changed(*entry), side.delta.diff(entry))?;
        }
    }
    for (key, (hash, change)) in changed {
        let total = other.total(*hash, key);
        let turn = i64::from(total > 0) - i64::from(total - change > 0);
        if turn != 0 {
            for (row, count) in side.rows(*hash, key) {
                push(Pick::Kept(row), sign * turn * count)?;
            }
        }
    }
    Ok(())
}

/// Where one side of an output row comes from.
#[derive(Debug, Clone, Copy)]
enum Pick<'a> {
    /// A row of the delta.
    Changed(Entry),
    /// A row of the index.
    Kept(&'a [u8]),
    /// No row: nulls, or in a semi-join nothing at all.
    Nothing,
}

/// Gathers output rows into batches, apart by where their sides come from.
struct Slices<'a, 'o> {
    join: &'a Join,
    left: &'a Keyed<'a>,
    right: &'a Keyed<'a>,
    open: BTreeMap<(u8, u8), Slice<'a>>,
    out: &'o mut Delta,
}

#[derive(Default)]
struct Slice<'a> {
    left: Vec<Pick<'a>>,
    right: Vec<Pick<'a>>,
    diffs: Vec<i64>,
}

impl Pick<'_> {
    fn kind(&self) -> u8 {
        match self {
            Pick::Changed(_) => 0,
            Pick::Kept(_) => 1,
            Pick::Nothing => 2,
        }
    }
}

impl<'a, 'o> Slices<'a, 'o> {
    fn new(join: &'a Join, left: &'a Keyed<'a>, right: &'a Keyed<'a>, out: &'o mut Delta) -> Slices<'a, 'o> {
        Slices { join, left, right, open: BTreeMap::new(), out }
    }

    fn push(&mut self, left: Pick<'a>, right: Pick<'a>, diff: i64) -> Result<()> {
        let slice = self.open.entry((left.kind(), right.kind())).or_default();
        slice.left.push(left);
        slice.right.push(right);
        slice.diffs.push(diff);
        if slice.diffs.len() == SLICE_ROWS {
            let full = std::mem::take(slice);
            self.close(full)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        for slice in std::mem::take(&mut self.open).into_values().filter(|slice| !slice.diffs.is_empty()) {
            self.close(slice)?;
        }
        Ok(())
    }

    fn close(&mut self, slice: Slice<'a>) -> Result<()> {
        let join = self.join;
        let mut columns = columns(&slice.left, &join.left, self.left)?;
        if !matches!(join.kind, JoinKind::Semi | JoinKind::Anti) {
            columns.extend(self::columns(&slice.right, &join.right, self.right)?);
        }
        let rows = of_columns(&join.schema, columns, slice.diffs.len())?;
        let diffs = if slice.diffs.iter().all(|diff| *diff == 1) { None } else { Some(slice.diffs.into()) };
        self.out.push(Batch { rows, diffs });
        Ok(())
    }
}

/// The columns of picks that are all of one kind.
fn columns(picks: &[Pick<'_>], side: &Side, delta: &Keyed<'_>) -> Result<Vec<ArrayRef>> {
    match picks.first() {
        Some(Pick::Changed(_)) => {
            let places: Vec<(usize, usize)> = picks
                .iter()
                .filter_map(|pick| match pick {
                    Pick::Changed(entry) => Some((entry.batch as usize, entry.row as usize)),
                    _ => None,
                })
                .collect();
            (0..side.schema.fields().len())
                .map(|column| {
                    let arrays: Vec<&dyn arrow::array::Array> =
                        delta.batches.iter().map(|batch| batch.rows.column(column).as_ref()).collect();
                    Ok(interleave(&arrays, &places)?)
                })
                .collect()
        }
        Some(Pick::Kept(_)) => side.rows.decode(picks.iter().filter_map(|pick| match pick {
            Pick::Kept(row) => Some(*row),
            _ => None,
        })),
        Some(Pick::Nothing) => {
            let fields = side.schema.fields().iter();
            Ok(fields.map(|field| new_null_array(field.data_type(), picks.len())).collect())
        }
        None => Err(Error::internal("a join's slice without rows")),
    }
}
