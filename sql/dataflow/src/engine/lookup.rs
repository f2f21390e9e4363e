//! Rows found by key in a snapshot, without reading the others.
//!
//! A table has the keys that are declared unique; a view over groups has the columns that it is
//! grouped by, if it shows them all. Promises: what is found is what a scan of the same snapshot
//! would give for these values, at most one row. Values are compared by PostgreSQL's equality.

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

    fn unique_row(
        &self,
        arrangement: &Arrangement,
        index: &UniqueIndex,
        value: &[u8],
        epoch: u64,
    ) -> Result<Option<RecordBatch>> {
        let rows = &arrangement.output.keys;
        let has_value = |row: &[u8]| {
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
}
