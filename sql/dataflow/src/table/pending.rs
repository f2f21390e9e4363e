//! What a transaction block changed and has not committed: its own rows over a snapshot's.
//!
//! Changes add up: a row that came and went leaves nothing. Knows no conflicts: whoever adds has
//! looked for them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::{Found, OnConflict, Rows, TableChange, TableDefinition};
use crate::arrangement::codec::EncodedRows;
use crate::error::Result;

/// Rows by the values of a key, both as bytes.
type ByKey = HashMap<Box<[u8]>, Box<[u8]>>;

/// Changes of a table that are not committed yet: what a transaction block keeps, added up.
#[derive(Debug, Clone)]
pub struct Pending {
    table: Arc<TableDefinition>,
    /// How often each row comes, less how often it goes; never zero.
    net: BTreeMap<Box<[u8]>, i64>,
    /// The rows that come, by each unique key.
    keys: Vec<ByKey>,
    /// The keys of the rows that go.
    freed: Vec<HashSet<Box<[u8]>>>,
    /// Rows of the table that must be there when this is committed.
    held: BTreeSet<Box<[u8]>>,
    on_conflict: OnConflict,
}

impl Pending {
    /// No change.
    pub fn new(table: Arc<TableDefinition>) -> Pending {
        let keys = table.keys.iter().map(|_| ByKey::new()).collect();
        let freed = table.keys.iter().map(|_| HashSet::new()).collect();
        let (net, held) = (BTreeMap::new(), BTreeSet::new());
        Pending { table, net, keys, freed, held, on_conflict: OnConflict::Fail }
    }

    /// Rows go, which [`Pending::over`] shows.
    pub fn delete(&mut self, rows: &RecordBatch) -> Result<()> {
        self.add(rows, -1)
    }

    /// Rows come, whose keys are free.
    pub fn insert(&mut self, rows: &RecordBatch, on_conflict: OnConflict) -> Result<()> {
        if on_conflict != OnConflict::Fail {
            self.on_conflict = OnConflict::Retry(None);
        }
        self.add(rows, 1)
    }

    /// Rows that [`Pending::over`] shows are held: the commit fails with 40001 if others changed them.
    pub fn hold(&mut self, rows: &RecordBatch) -> Result<()> {
        let bytes = self.table.codec().encode(rows.columns(), rows.num_rows())?;
        for row in (0..bytes.len()).map(|row| bytes.row(row)) {
            // What this itself brings is nobody else's to change.
            if self.net.get(row).is_none_or(|count| *count <= 0) {
                self.held.insert(row.into());
            }
        }
        Ok(())
    }

    fn add(&mut self, rows: &RecordBatch, diff: i64) -> Result<()> {
        let rows = Rows::new(&self.table, rows)?;
        for row in 0..rows.len() {
            let bytes = rows.bytes.row(row);
            let count = self.net.entry(bytes.into()).or_insert(0);
            let before = *count;
            *count += diff;
            if *count == 0 {
                self.net.remove(bytes);
            }
            for ((index, freed), keys) in self.keys.iter_mut().zip(&mut self.freed).zip(&rows.keys) {
                let Some(key) = keys.get(row) else { continue };
                match (before, diff) {
                    (0.., 1) => drop(index.insert(key.into(), bytes.into())),
                    (_, 1) => _ = freed.remove(key),
                    (1.., _) => drop(index.remove(key)),
                    _ => _ = freed.insert(key.into()),
                }
            }
        }
        Ok(())
    }

    /// Which of these rows of the table are gone.
    pub fn gone(&self, rows: &RecordBatch) -> Result<Vec<bool>> {
        let bytes = self.table.codec().encode(rows.columns(), rows.num_rows())?;
        Ok((0..bytes.len()).map(|row| self.net.get(bytes.row(row)).is_some_and(|count| *count < 0)).collect())
    }

    /// Whether a row that went had this value of a key.
    pub fn has_freed(&self, key: usize, value: &[u8]) -> bool {
        self.freed.get(key).is_some_and(|freed| freed.contains(value))
    }

    /// Whether a row that came has this value of a key.
    pub fn has_key(&self, key: usize, value: &[u8]) -> bool {
        self.keys.get(key).is_some_and(|index| index.contains_key(value))
    }

    /// The rows that came and have these values of a key.
    pub fn with_keys(&self, key: usize, values: &[Option<Box<[u8]>>]) -> Result<Found> {
        let index = self.keys.get(key);
        let find = |value: &Option<Box<[u8]>>| index?.get(value.as_deref()?).map(|row| row.to_vec());
        self.table.found(values.iter().map(find).collect())
    }

    /// All of it as one change.
    pub fn change(&self) -> Result<TableChange> {
        let (deletes, inserts) = (self.rows(-1, true)?, self.rows(1, true)?);
        Ok(TableChange { table: self.table.clone(), deletes, inserts, on_conflict: self.on_conflict })
    }

    /// The rows that come (1) or go (-1); with those that are held, which go and come again.
    fn rows(&self, sign: i64, held: bool) -> Result<RecordBatch> {
        let mut bytes = EncodedRows::default();
        for (row, count) in self.net.iter().filter(|(_, count)| count.signum() == sign) {
            (0..count.abs()).for_each(|_| bytes.push(row));
        }
        // One that goes for good is looked for anyway.
        let held = self.held.iter().filter(|row| held && self.net.get(*row).is_none_or(|count| *count >= 0));
        held.for_each(|row| bytes.push(row));
        Ok(Rows::decode(&self.table, bytes)?.batch)
    }

    /// These rows of the table, all columns, with the changes made.
    pub fn over(&self, rows: crate::engine::Rows) -> Result<crate::engine::Rows> {
        let codec = self.table.codec();
        let mut gone: HashMap<Box<[u8]>, i64> =
            self.net.iter().filter(|(_, count)| **count < 0).map(|(row, count)| (row.clone(), -count)).collect();
        let come = self.rows(1, false)?;
        let left = rows.map(move |batch| {
            let batch = batch?;
            let bytes = codec.encode(batch.columns(), batch.num_rows())?;
            let stays = (0..bytes.len()).map(|row| match gone.get_mut(bytes.row(row)) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    false
                }
                _ => true,
            });
            let stays: BooleanArray = stays.map(Some).collect();
            Ok(filter_record_batch(&batch, &stays)?)
        });
        Ok(Box::new(left.chain(std::iter::once(Ok(come)))))
    }
}
