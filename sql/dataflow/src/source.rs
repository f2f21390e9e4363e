//! Sources: where rows enter from the outside, and the contract connectors keep.
//!
//! A source is a set of partitions, each an append-only sequence of records addressed by offset.
//! Reading from the same offsets again gives the same rows: on this rests exactly once.
//! A reader pushes into a [`SourceOutput`], which blocks while its queue is full. Whether a record
//! is valid is decided by the declared types alone, so that a record is in all views or in none.
//! Knows no transport and no format.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::types::PgType;

/// Partition to offset. An offset is a position: the next record to read, gaps allowed.
pub type Offsets = BTreeMap<i32, i64>;

/// A column as it was declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, already folded as PostgreSQL folds identifiers.
    pub name: String,
    /// Its type.
    pub data_type: PgType,
    /// Whether it was declared NOT NULL: a null then makes the record a bad one.
    pub not_null: bool,
}

/// A part of a record beside its payload (`INCLUDE key AS k`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Meta {
    /// The record's key: text.
    Key,
    /// The partition: integer.
    Partition,
    /// The offset: bigint.
    Offset,
    /// The record's time: timestamptz.
    Timestamp,
}

impl Meta {
    /// The type of the column that shows it.
    pub fn data_type(self) -> PgType {
        match self {
            Meta::Key => PgType::Text,
            Meta::Partition => PgType::Int4,
            Meta::Offset => PgType::Int8,
            Meta::Timestamp => PgType::Timestamptz,
        }
    }
}

/// What CREATE SOURCE says, options not yet understood: names in lower case, values as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceDefinition {
    /// The source's name, for messages.
    pub name: String,
    /// The declared columns, in order. Empty only where the connector knows them itself (generator).
    pub columns: Vec<Column>,
    /// The INCLUDE clauses, in order, with the name of each column; they follow the columns.
    pub includes: Vec<(Meta, String)>,
    /// The WITH options, `connector` among them.
    pub options: BTreeMap<String, String>,
    /// FORMAT and ENCODE with its options; absent for connectors that need none.
    pub format: Option<FormatDefinition>,
    /// Where reading starts, resolved at CREATE SOURCE by [`Source::start`].
    pub start: Offsets,
}

/// `FORMAT PLAIN ENCODE CSV (without_header='true', ...)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatDefinition {
    /// The word after FORMAT, upper case.
    pub format: String,
    /// The word after ENCODE, upper case.
    pub encode: String,
    /// Its options, names in lower case.
    pub options: BTreeMap<String, String>,
}

/// What CREATE EXTERNAL TABLE says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDefinition {
    /// The table's name, for messages.
    pub name: String,
    /// The declared columns; empty means inferred.
    pub columns: Vec<Column>,
    /// The word after STORED AS, upper case.
    pub stored_as: String,
    /// A file, a folder, or a glob, as written.
    pub location: String,
    /// The OPTIONS, names in lower case (`format.has_header`, `format.delimiter`, `on_error`).
    pub options: BTreeMap<String, String>,
}

/// What to read, and how.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// Where each partition starts; a partition that is not named starts at the source's start.
    pub from: Offsets,
    /// Where to stop: the reader pushes [`SourceItem::Finished`] once every named partition is at
    /// or past its offset, and pushes nothing at or past it. `None`: read for ever.
    pub until: Option<Offsets>,
    /// Offsets, in ascending order a partition, at which a batch must end: those of the cuts that
    /// recovery plays again.
    pub boundaries: BTreeMap<i32, Vec<i64>>,
    /// The columns to build (places in [`Source::schema`]); the others are validated only.
    pub columns: Vec<usize>,
    /// The most rows a batch may have.
    pub batch_rows: usize,
    /// Whether this is a backfill or batch query: the reader thread then runs at lower priority.
    pub background: bool,
}

/// Some consecutive records of one partition.
#[derive(Debug, Clone)]
pub struct SourceBatch {
    /// The partition.
    pub partition: i32,
    /// The position after these records (for Kafka: the consumer's position, not last + 1, so that
    /// transaction markers and compacted gaps are passed).
    pub end: i64,
    /// The valid rows, with the columns that were asked for, in that order.
    pub rows: RecordBatch,
    /// The records that are no rows, with their causes.
    pub bad: Vec<BadRecord>,
    /// Header lines skipped.
    pub headers: u64,
    /// Null payloads skipped.
    pub tombstones: u64,
    /// Payload bytes read.
    pub bytes: u64,
}

/// A record, or a line of one, that is no valid row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRecord {
    /// Its offset.
    pub offset: i64,
    /// The line inside the record, from 1.
    pub line: u32,
    /// When the record was written (microseconds since 1970 UTC), if the source knows.
    pub at: Option<i64>,
    /// The column, if the fault lies in one.
    pub column: Option<String>,
    /// The cause.
    pub error: String,
    /// The line as it came, without its line feed; cut to 64 KiB.
    pub raw: Vec<u8>,
}

/// What a reader pushes.
#[derive(Debug, Clone)]
pub enum SourceItem {
    /// Rows, or progress without rows.
    Batch(SourceBatch),
    /// The source cannot be read for now; the reader goes on trying.
    Stalled(Error),
    /// It can be read again.
    Resumed,
    /// `until` is reached everywhere; nothing follows.
    Finished,
    /// The source cannot be read any more (offsets gone, topic deleted); nothing follows.
    Failed(Error),
}

/// The reader is to stop: nobody wants its items any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// Where a reader pushes to. Blocks while the queue behind it is full.
pub trait SourceOutput: Send + Sync {
    /// Hands an item over.
    fn push(&self, item: SourceItem) -> Result<(), Closed>;

    /// Whether the reader should stop; to be asked at least every 100 ms.
    fn is_closed(&self) -> bool;
}

/// A running reader; dropping it stops its threads and waits for them.
pub trait Reader: Send {}

/// An open source.
pub trait Source: fmt::Debug + Send + Sync {
    /// All columns: the declared ones, then the INCLUDE ones.
    fn schema(&self) -> SchemaRef;

    /// Resolves the start position to offsets: what CREATE SOURCE stores.
    fn start(&self) -> Result<Offsets>;

    /// The end offsets as of now. For a source without end (the generator), what it has made
    /// available so far.
    fn end(&self) -> Result<Offsets>;

    /// Starts reading on threads of its own.
    fn read(&self, request: ReadRequest, output: Arc<dyn SourceOutput>) -> Result<Box<dyn Reader>>;

    /// Tells the outside how far the views are (for Kafka: commits the group's offsets). Best
    /// effort, never read back.
    fn progress(&self, offsets: &Offsets);

    /// One short phrase of where it reads from, without secrets: `kafka topic ecomm_test at ...`.
    fn describe(&self) -> String;
}

/// The connectors, as the SQL layer sees them: the server hands one over.
pub trait Connectors: Send + Sync {
    /// Checks a definition against the outside world and opens it: CREATE SOURCE. Answers within
    /// 5 seconds.
    fn create_source(&self, definition: &SourceDefinition) -> Result<Arc<dyn Source>>;

    /// Opens a definition that was checked before, at start: an outside that is not there is no
    /// error here, the reader reports it.
    fn open_source(&self, definition: &SourceDefinition) -> Result<Arc<dyn Source>>;

    /// Opens files for batch queries; infers columns when none are declared. With `on_error` =
    /// `skip`, malformed lines go to `skipped`.
    fn open_files(&self, definition: &FileDefinition, skipped: Arc<dyn BadLines>)
    -> Result<Arc<dyn crate::scan::Scan>>;

    /// The definition with every secret replaced by `***`: for SHOW CREATE.
    fn redact(&self, options: &BTreeMap<String, String>) -> BTreeMap<String, String>;
}

/// Where a file scan puts the lines it skips (`thalweg.file_errors`).
pub trait BadLines: Send + Sync + fmt::Debug {
    /// One malformed line: file, line number from 1, column if known, cause, the line.
    fn skip(&self, file: &str, line: u64, column: Option<&str>, error: &str, raw: &[u8]);
}
