//! Deltas: the changes of one collection in one epoch.
//!
//! A delta may hold duplicates and rows that cancel out; it is *consolidated* once equal rows are
//! added up and zeros are gone. Does not order its rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatchOptions, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::Result;

/// Some rows and how often each enters (positive) or leaves (negative) the collection.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The rows.
    pub rows: RecordBatch,
    /// The signed multiplicity of each row; `None` means +1 for all.
    pub diffs: Option<Arc<[i64]>>,
}

/// The changes of one collection in one epoch.
pub type Delta = Vec<Batch>;

impl Batch {
    /// Rows that are all inserted once.
    pub fn inserted(rows: RecordBatch) -> Batch {
        Batch { rows, diffs: None }
    }

    /// Rows that enter, less those that leave.
    pub(crate) fn count(&self) -> i64 {
        self.diffs.as_ref().map_or(self.rows.num_rows() as i64, |diffs| diffs.iter().sum())
    }

    /// The diff of one row.
    pub fn diff(&self, row: usize) -> i64 {
        self.diffs.as_ref().map_or(1, |diffs| diffs[row])
    }
}

/// Some rows of a batch, also of one without columns.
pub(crate) fn take(rows: &RecordBatch, places: &UInt32Array) -> Result<RecordBatch> {
    let columns = rows.columns().iter().map(|column| Ok(arrow::compute::take(column, places, None)?));
    of_columns(rows.schema_ref(), columns.collect::<Result<_>>()?, places.len())
}

/// Batches with fewer rows on average are put together before they enter the dataflow.
const SMALL_BATCH_ROWS: usize = 4096;

/// Puts small batches together.
pub(crate) fn join_small(rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let total: usize = rows.iter().map(RecordBatch::num_rows).sum();
    if rows.len() > 1 && total / rows.len() < SMALL_BATCH_ROWS {
        let schema = rows[0].schema();
        return Ok(vec![concat_batches(&schema, &rows)?]);
    }
    Ok(rows)
}

/// A batch of these columns; `rows` says how many there are where there is no column.
pub(crate) fn of_columns(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}
