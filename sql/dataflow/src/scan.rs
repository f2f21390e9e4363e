//! What batch queries read from the outside: files in byte ranges, with a projection.
//!
//! Connectors implement [`Scan`], the SQL layer wraps it as a table of a batch query. Knows
//! neither file formats nor DataFusion.

use std::fmt;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::Result;

/// One piece of a scan that can be read on its own: a byte range of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The file, as [`Scan`] names it.
    pub path: String,
    /// The first byte. A line belongs to the split in which its first byte lies.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

/// The batches of one split, in file order. Dropping it stops the reading.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// Something outside that can be scanned as often as wanted.
pub trait Scan: fmt::Debug + Send + Sync {
    /// The columns, each field made by [`crate::types::PgType::field`].
    fn schema(&self) -> SchemaRef;

    /// Cuts what is there now into about `wanted` pieces of similar size, fewer when small or
    /// compressed.
    fn splits(&self, wanted: usize) -> Result<Vec<Split>>;

    /// Reads the given columns (places in [`Scan::schema`], in this order, perhaps none) of one
    /// split. Only these columns are decoded and validated.
    fn read(&self, split: &Split, columns: &[usize]) -> Result<Batches>;
}
