//! `TopK`: the first rows of every group, in an order: LIMIT, OFFSET, the top n of each key.
//!
//! Read from an ordered index that already holds this epoch's changes. The part of a group that is
//! shown is walked once, as it is now and as it was (the changes taken back), so that an epoch's
//! work is that part and the changes, however many rows the group has. Ties beyond the order are
//! broken by the rows' bytes.

use std::iter::Peekable;

use arrow::datatypes::SchemaRef;
use rayon::prelude::*;

use super::index::{IndexReader, KeyChanges, RowChanges};
use super::reduce::output::Output;
use crate::arrangement::Shard;
use crate::arrangement::hash::SHARDS;
use crate::delta::{Batch, Delta, of_columns};
use crate::error::Result;

/// Changed rows from which on workers share them; few in unit tests, so that they do.
const PARALLEL_ROWS: usize = if cfg!(test) { 8 } else { 4096 };

/// The operator.
#[derive(Debug)]
pub(crate) struct TopK {
    pub(crate) input: IndexReader,
    /// Rows of a group that are passed over.
    offset: u64,
    /// The place after the last row of a group that is shown.
    end: u64,
    schema: SchemaRef,
}

impl TopK {
    /// The rows from `offset` on, `limit` of them (all if `None`).
    pub(crate) fn new(input: IndexReader, offset: u64, limit: Option<u64>, schema: SchemaRef) -> TopK {
        let end = limit.map_or(u64::MAX, |limit| offset.saturating_add(limit));
        TopK { input, offset, end, schema }
    }

    /// One epoch; also how many rows were looked at.
    pub(crate) fn run(&self, delta: &[Batch], workers: usize) -> Result<(Delta, u64)> {
        let changes = self.input.changes(delta)?;
        let work = |shard: usize| -> Result<(Delta, u64)> {
            if changes[shard].is_empty() {
                return Ok((Delta::new(), 0));
            }
            let guard = self.input.arrangement.shards[shard].read();
            let mut rows: Vec<(&[u8], i64)> = Vec::new();
            let mut walked = 0;
            for (key, change) in &changes[shard] {
                walked += self.group(&guard, key, change, &mut rows);
            }
            if rows.is_empty() {
                return Ok((Delta::new(), walked));
            }
            let columns = self.input.rows.decode(rows.iter().map(|(row, _)| *row))?;
            let diffs = rows.iter().map(|(_, diff)| *diff).collect();
            let batch = Batch { rows: of_columns(&self.schema, columns, rows.len())?, diffs: Some(diffs) };
            Ok((vec![batch], walked))
        };
        let parts: Vec<(Delta, u64)> =
            if workers > 1 && delta.iter().map(|batch| batch.rows.num_rows()).sum::<usize>() >= PARALLEL_ROWS {
                (0..SHARDS).into_par_iter().map(work).collect::<Result<_>>()?
            } else {
                (0..SHARDS).map(work).collect::<Result<_>>()?
            };
        let (deltas, walked): (Vec<Delta>, Vec<u64>) = parts.into_iter().unzip();
        Ok((deltas.concat(), walked.iter().sum()))
    }

    /// What changed among the shown rows of a group; how many of its rows were looked at.
    fn group<'a>(&self, shard: &'a Shard, key: &[u8], change: &'a KeyChanges, out: &mut Vec<(&'a [u8], i64)>) -> u64 {
        let Some(index) = &shard.index else { return 0 };
        let kept = index.sorted(change.hash, key).filter_map(|(sort, row)| {
            let image = shard.groups.image(row)?;
            Some((sort, image.key, Output::multiplicity(&image)))
        });
        let (mut now, mut before, mut walked) = (0u64, 0u64, 0u64);
        for (row, count, diff) in Walk::new(kept, &change.rows) {
            walked += 1;
            let shown = self.shown(&mut now, count) - self.shown(&mut before, count - diff);
            if shown != 0 {
                out.push((row, shown));
            }
            if now >= self.end && before >= self.end {
                break;
            }
        }
        walked
    }

    /// How many of the next `count` rows are shown, from this place on.
    fn shown(&self, place: &mut u64, count: i64) -> i64 {
        let from = *place;
        *place = from.saturating_add(count.max(0).unsigned_abs());
        let (first, last) = (from.max(self.offset), (*place).min(self.end));
        last.saturating_sub(first) as i64
    }
}

/// The rows of a group in order, those that went in this epoch too: bytes, multiplicity, change.
pub(crate) struct Walk<'a, K: Iterator<Item = (&'a [u8], &'a [u8], i64)>> {
    kept: Peekable<K>,
    changes: Peekable<<&'a RowChanges as IntoIterator>::IntoIter>,
}

impl<'a, K: Iterator<Item = (&'a [u8], &'a [u8], i64)>> Walk<'a, K> {
    /// `kept`: sort key, row, multiplicity now; `changes`: by sort key, row and change.
    pub(crate) fn new(kept: K, changes: &'a RowChanges) -> Walk<'a, K> {
        Walk { kept: kept.peekable(), changes: changes.iter().peekable() }
    }
}

impl<'a, K: Iterator<Item = (&'a [u8], &'a [u8], i64)>> Iterator for Walk<'a, K> {
    type Item = (&'a [u8], i64, i64);

    fn next(&mut self) -> Option<Self::Item> {
        use std::cmp::Ordering;
        let order = match (self.kept.peek(), self.changes.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((sort, ..)), Some((other, _))) => (*sort).cmp(other.as_slice()),
        };
        let kept = if order == Ordering::Greater { None } else { self.kept.next() };
        let change = if order == Ordering::Less { None } else { self.changes.next() };
        match (kept, change) {
            (Some((_, row, count)), change) => Some((row, count, change.map_or(0, |(_, (_, diff))| *diff))),
            (None, Some((_, (row, diff)))) => Some((row.as_slice(), 0, *diff)),
            (None, None) => None,
        }
    }
}
