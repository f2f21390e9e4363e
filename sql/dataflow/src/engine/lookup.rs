//! Rows found by key, or by a range of keys, in a snapshot, without reading the others.
//!
//! A table has the keys that are declared unique; a view over groups has the columns that it is
//! grouped by, if it shows them all. Promises: what is found is what a scan of the same snapshot
//! would give for these values, at most one row of a key. Values are compared by PostgreSQL's equality.
//! Ranges are of a table's keys whose bytes are in the order of their values.

use std::cell::RefCell;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::physical_expr::expressions::Column;

use super::snapshot::Snapshot;
use crate::arrangement::codec::RowCodec;
use crate::arrangement::hash::{hash_bytes, shard_of};
use crate::arrangement::{Arrangement, Mode};
use crate::coordinator::unique_index::UniqueIndex;
use crate::delta::Batch;
use crate::error::{Error, Result};
use crate::graph::Reading;
use crate::plan::RelationId;
use crate::table::UniqueKey;

/// Columns of a relation whose values name at most one row, and how that is found.
#[derive(Debug, Clone)]
pub(crate) struct ReadKey {
    /// Places in the relation's schema, in the order of the key.
    columns: Vec<usize>,
    codec: RowCodec,
    /// Of a table; the keys of a view over groups are those of its arrangement.
    index: Option<Arc<UniqueIndex>>,
}

impl ReadKey {
    /// The keys of a relation; `unique` are those of a table.
    pub(crate) fn all<'a>(
        reading: &Reading,
        unique: impl Iterator<Item = (&'a UniqueKey, &'a Arc<UniqueIndex>)>,
    ) -> Vec<ReadKey> {
        if reading.arrangement.mode == Mode::Groups {
            return groups_of(reading).into_iter().collect();
        }
        let of_table = |(key, index): (&UniqueKey, &Arc<UniqueIndex>)| ReadKey {
            columns: key.columns.clone(),
            codec: RowCodec::new(&reading.schema, &key.columns, true),
            index: Some(index.clone()),
        };
        unique.map(of_table).collect()
    }
}

impl ReadKey {
    /// Places of its columns in the relation's schema.
    #[cfg(test)]
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The row that has these values at a pinned epoch.
    pub(crate) fn find(&self, reading: &Reading, epoch: u64, values: &[ArrayRef]) -> Result<RecordBatch> {
        let none = || RecordBatch::new_empty(crate::graph::nullable(&reading.schema));
        if values.iter().any(|value| value.is_null(0)) {
            return Ok(none());
        }
        let encoded = self.codec.encode(values, 1)?;
        let found = match &self.index {
            Some(index) => self.unique_row(&reading.arrangement, index, encoded.row(0), epoch)?,
            None => group(&reading.arrangement, encoded.row(0), epoch)?,
        };
        let Some(rows) = found else { return Ok(none()) };
        let rows = reading.mapped(vec![Batch::inserted(rows)])?;
        Ok(rows.into_iter().next().map_or_else(none, |batch| batch.rows))
    }

    /// The rows within a range at a pinned epoch; `None` where keys have no order.
    pub(crate) fn range(&self, reading: &Reading, epoch: u64, range: &KeyRange<'_>) -> Result<Option<RecordBatch>> {
        let (Some(index), true) = (&self.index, self.codec.is_ordered()) else { return Ok(None) };
        let Some((low, high)) = self.bounds(range)? else {
            return Ok(Some(RecordBatch::new_empty(crate::graph::nullable(&reading.schema))));
        };
        let arrangement = &reading.arrangement;
        let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        // The table of keys knows half of a hash.
        let key = RefCell::new(Vec::new());
        let is_it = |hash: u64, row: &[u8]| {
            let key = &mut key.borrow_mut();
            hash_bytes(row) == hash
                && arrangement.output.keys.pick(row, &self.columns, key)
                && RangeBounds::<[u8]>::contains(&bounds, key.as_slice())
        };
        let is_there = |hash: u64| {
            let shard = arrangement.shards[shard_of(hash)].read();
            shard.groups.at(hash, |row| is_it(hash, row), epoch).is_some()
        };
        let mut hashes = first_rows(index, (low.clone(), high.clone()), range, is_there);
        hashes.extend(index.former());
        hashes.sort_unstable_by_key(|hash| (shard_of(*hash), *hash));
        hashes.dedup();
        let mut shards: Vec<usize> = hashes.iter().map(|hash| shard_of(*hash)).collect();
        shards.dedup();
        let guards: Vec<_> = shards.iter().map(|shard| arrangement.shards[*shard].read()).collect();
        let of = |hash: u64| shards.binary_search(&shard_of(hash)).ok().and_then(|place| guards.get(place));
        let image = |hash: u64| of(hash)?.groups.at(hash, |row| is_it(hash, row), epoch);
        let images: Vec<_> = hashes.iter().filter_map(|hash| image(*hash)).collect();
        let rows = arrangement.expand(&images)?;
        drop(guards);
        let rows = reading.mapped(vec![Batch::inserted(rows)])?;
        let none = || RecordBatch::new_empty(crate::graph::nullable(&reading.schema));
        Ok(Some(rows.into_iter().next().map_or_else(none, |batch| batch.rows)))
    }

    /// The bounds as bytes; `None` if one is null, which nothing is within.
    fn bounds(&self, range: &KeyRange<'_>) -> Result<Option<Ends>> {
        let ends = [range.low, range.high].map(|bound| bound.map(|value| value.is_null(0)));
        let is_null = |bound: &Bound<bool>| matches!(bound, Bound::Included(true) | Bound::Excluded(true));
        if range.equal.iter().any(|value| value.is_null(0)) || ends.iter().any(is_null) {
            return Ok(None);
        }
        let start = vec![0; self.columns.len().div_ceil(8)];
        let prefix = self.codec.first_values(range.equal)?;
        let bytes = |value: &ArrayRef| -> Result<Vec<u8>> {
            let values: Vec<ArrayRef> = range.equal.iter().chain([value]).cloned().collect();
            Ok([start.as_slice(), &self.codec.first_values(&values)?].concat())
        };
        let prefix = [start.as_slice(), &prefix].concat();
        // Keys that begin with these bytes are those up to the next such beginning.
        let behind = |mut bytes: Vec<u8>| loop {
            match bytes.pop() {
                None => return Bound::Unbounded,
                Some(u8::MAX) => {}
                Some(last) => {
                    bytes.push(last + 1);
                    return Bound::Excluded(bytes);
                }
            }
        };
        let low = match range.low {
            Bound::Unbounded => Bound::Included(prefix.clone()),
            Bound::Included(value) => Bound::Included(bytes(value)?),
            Bound::Excluded(value) => match behind(bytes(value)?) {
                Bound::Excluded(next) => Bound::Included(next),
                _ => return Ok(None),
            },
        };
        let high = match range.high {
            Bound::Unbounded => behind(prefix),
            Bound::Included(value) => behind(bytes(value)?),
            Bound::Excluded(value) => Bound::Excluded(bytes(value)?),
        };
        Ok(Some((low, high)))
    }

    fn unique_row(
        &self,
        arrangement: &Arrangement,
        index: &UniqueIndex,
        value: &[u8],
        epoch: u64,
    ) -> Result<Option<RecordBatch>> {
        let rows = &arrangement.output.keys;
        let has_value = |row: &[u8]| {
            if self.codec.is_ordered() {
                return Some(rows.picks(row, &self.columns, value));
            }
            let columns = rows.decode(std::iter::once(row)).ok()?;
            let of_key: Vec<ArrayRef> = self.columns.iter().map(|place| columns[*place].clone()).collect();
            Some(self.codec.encode(&of_key, 1).ok()?.row(0) == value)
        };
        for hash in index.candidates(value) {
            let shard = arrangement.shards[shard_of(hash)].read();
            if let Some(image) = shard.groups.at(hash, |row| has_value(row) == Some(true), epoch) {
                return arrangement.expand(&[image]).map(Some);
            }
        }
        Ok(None)
    }
}

/// The ends of a range of keys.
type Ends = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The hashes of the head's rows in a range until so many are found that are there for the reader.
fn first_rows(
    index: &UniqueIndex,
    (mut low, mut high): Ends,
    range: &KeyRange<'_>,
    is_there: impl Fn(u64) -> bool,
) -> Vec<u64> {
    let mut hashes = Vec::new();
    loop {
        let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        let wanted = range.most - hashes.len();
        let (found, last) = index.range(bounds, range.backwards, wanted);
        let Some(last) = last.filter(|_| found.len() >= wanted) else {
            // There are no more: whether they are there for the reader is found out later.
            hashes.extend(found);
            return hashes;
        };
        match range.backwards {
            true => high = Bound::Excluded(last),
            false => low = Bound::Excluded(last),
        }
        hashes.extend(found.into_iter().filter(|row| is_there(*row)));
        if hashes.len() >= range.most {
            return hashes;
        }
    }
}

/// A range of a key: its first columns are `equal`, the next one lies between the bounds. The values
/// are arrays of one.
#[derive(Debug, Clone, Copy)]
pub struct KeyRange<'a> {
    /// Of the first columns.
    pub equal: &'a [ArrayRef],
    /// Of the column behind them.
    pub low: Bound<&'a ArrayRef>,
    /// Of the same column.
    pub high: Bound<&'a ArrayRef>,
    /// From the greatest down.
    pub backwards: bool,
    /// How many rows are wanted; there may be more.
    pub most: usize,
}

fn group(arrangement: &Arrangement, key: &[u8], epoch: u64) -> Result<Option<RecordBatch>> {
    let hash = hash_bytes(key);
    let shard = arrangement.shards[shard_of(hash)].read();
    let image = shard.groups.at(hash, |group| group == key, epoch);
    image.map(|image| arrangement.expand(&[image])).transpose()
}

/// The columns that show what a view is grouped by; `None` if one is not shown as it is.
fn groups_of(reading: &Reading) -> Option<ReadKey> {
    let codec = reading.arrangement.output.keys.clone();
    let mut columns: Vec<usize> = (0..codec.columns()).collect();
    for map in &reading.maps {
        for place in &mut columns {
            let is_it = |expr: &Arc<dyn datafusion::physical_expr::PhysicalExpr>| {
                expr.downcast_ref::<Column>().is_some_and(|column| column.index() == *place)
            };
            *place = map.project.iter().position(is_it)?;
        }
    }
    Some(ReadKey { columns, codec, index: None })
}

impl Snapshot {
    /// The columns by which rows of a view or table can be looked up, one list a key.
    pub fn keys(&self, relation: RelationId) -> Vec<&[usize]> {
        let handle = self.handle(relation).ok();
        handle.into_iter().flat_map(|handle| handle.keys.iter().map(|key| key.columns.as_slice())).collect()
    }

    /// Whether a relation has a key of this number over these columns.
    pub fn has_key(&self, relation: RelationId, number: usize, columns: &[usize]) -> bool {
        let handle = self.handle(relation).ok();
        handle.and_then(|handle| handle.keys.get(number)).is_some_and(|key| key.columns == columns)
    }

    /// The row, all columns, whose values of a key are these: one array of one value for each of
    /// the key's columns, in its order. No row where a value is null. Errors are those of
    /// [`Snapshot::scan`].
    pub fn lookup(&self, relation: RelationId, key: usize, values: &[ArrayRef]) -> Result<RecordBatch> {
        let reading = self.readable(relation)?;
        let Some(key) = self.handle(relation)?.keys.get(key) else {
            return Err(Error::internal("a key that the relation has not"));
        };
        key.find(reading, self.epoch(), values)
    }

    /// The rows, all columns, in no order, of a range of a key; among them its first ones. `None` if
    /// the key is not kept in order. Errors are those of [`Snapshot::scan`].
    pub fn range(&self, relation: RelationId, key: usize, range: &KeyRange<'_>) -> Result<Option<RecordBatch>> {
        let reading = self.readable(relation)?;
        match self.handle(relation)?.keys.get(key) {
            Some(key) => key.range(reading, self.epoch(), range),
            None => Err(Error::internal("a key that the relation has not")),
        }
    }
}
