//! Tables: collections that statements change, and the form in which a change is handed over.
//!
//! A change names whole rows: those that go and those that come. Whether they may is decided by
//! the coordinator against the table's head ([`crate::engine::Engine::commit`]); rows are encoded
//! here, on the caller's thread. Knows no SQL.

mod pending;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};

use crate::arrangement::codec::{EncodedRows, RowCodec};
use crate::delta::of_columns;
use crate::error::{Error, Result, SqlState, Subject};
use crate::plan::{Op, Plan, RelationId};
use crate::types::{PgType, TextStyle, write_text};

pub use pending::Pending;

/// Bytes of rows that one commit may carry: they are one record of the cut log.
pub const MAX_COMMIT_BYTES: usize = 256 << 20;

/// What the engine knows of a table.
#[derive(Debug, Clone)]
pub struct TableDefinition {
    /// Its oid.
    pub id: RelationId,
    /// Its name, for messages.
    pub name: String,
    /// Its columns, each field made by [`crate::types::PgType::field`].
    pub schema: SchemaRef,
    /// What must be unique.
    pub keys: Vec<UniqueKey>,
    /// Tables that change when it does.
    pub followers: Vec<Follower>,
}

/// A table whose rows are those of another in another form: what the other was before it was
/// altered, for those who read it so. Nobody else changes it, and it has no keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// Its number.
    pub id: RelationId,
    /// Where each of its columns is in the other; `None`: it is null.
    pub columns: Vec<Option<usize>>,
}

/// Columns whose values no two rows share. A row with a null among them meets no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueKey {
    /// The constraint's name, for messages.
    pub name: String,
    /// Places of the columns.
    pub columns: Vec<usize>,
}

/// What happens to a row that comes when another has its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// The commit fails: 23505.
    Fail,
    /// The row is left out; with a number, only where that key is taken.
    Skip(Option<usize>),
    /// The commit fails with 40001, because it was made without sight of the other row; with a
    /// number, only where that key is taken.
    Retry(Option<usize>),
}

/// What one commit does to one table.
#[derive(Debug, Clone)]
pub struct TableChange {
    /// The table.
    pub table: Arc<TableDefinition>,
    /// Rows that go, each as often as it stands here. They go before the others come.
    pub deletes: RecordBatch,
    /// Rows that come.
    pub inserts: RecordBatch,
    /// What if their keys are taken.
    pub on_conflict: OnConflict,
}

/// Rows of a table that have the key of given rows.
#[derive(Debug, Clone)]
pub struct Found {
    /// The rows, all columns.
    pub rows: RecordBatch,
    /// For each given row the place of the one that has its key.
    pub of: Vec<Option<usize>>,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The epoch it became part of.
    pub epoch: u64,
    /// For each change the places of the rows that were left out, ascending.
    pub skipped: Vec<Vec<usize>>,
}

impl TableDefinition {
    /// No row of it.
    pub fn no_rows(&self) -> RecordBatch {
        RecordBatch::new_empty(crate::graph::nullable(&self.schema))
    }

    /// The values of a key as bytes that are equal if and only if the values are; `None` where one
    /// of them is null.
    pub fn key_values(&self, key: usize, rows: &RecordBatch) -> Result<Vec<Option<Box<[u8]>>>> {
        let Some(key) = self.keys.get(key) else { return Err(Error::internal("a key that the table has not")) };
        let keys = Keys::new(self, key, rows)?;
        Ok((0..rows.num_rows()).map(|row| keys.get(row).map(Box::from)).collect())
    }

    /// Rows that were found for given ones, from their bytes.
    pub(crate) fn found(&self, bytes: Vec<Option<Vec<u8>>>) -> Result<Found> {
        let mut rows = EncodedRows::default();
        let of = bytes.into_iter().map(|row| {
            let place = rows.len();
            rows.push(&row?);
            Some(place)
        });
        let of = of.collect();
        Ok(Found { rows: Rows::decode(self, rows)?.batch, of })
    }

    /// `duplicate key value violates unique constraint "t_pkey"`: the row at this place has a key
    /// that is taken.
    pub fn violation(&self, key: usize, rows: &RecordBatch, row: usize) -> Error {
        let Some(key) = self.keys.get(key) else { return Error::internal("a key that the table has not") };
        let mut names = Vec::with_capacity(key.columns.len());
        let mut values = Vec::with_capacity(key.columns.len());
        for column in &key.columns {
            let field = self.schema.field(*column);
            let mut text = String::new();
            let written =
                write_text(&PgType::of(field), rows.column(*column).as_ref(), row, &TextStyle::default(), &mut text);
            values.push(if written.is_ok() { text } else { "?".into() });
            names.push(field.name().as_str());
        }
        Error::new(
            SqlState::UniqueViolation,
            format!("duplicate key value violates unique constraint \"{}\"", key.name),
        )
        .detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
        .about(Subject::constraint(&self.name, &key.name))
    }

    /// The plan under which the dataflow knows it.
    pub(crate) fn plan(&self) -> Plan {
        Plan { op: Op::Table { relation: self.id }, schema: self.schema.clone() }
    }

    /// How its rows become bytes: two rows are the same if and only if their bytes are.
    pub(crate) fn codec(&self) -> RowCodec {
        row_codec(&self.schema)
    }

    /// How the values of a key become bytes: equal keys by PostgreSQL's equality have equal bytes.
    pub(crate) fn key_codec(&self, key: &UniqueKey) -> RowCodec {
        RowCodec::new(&self.schema, &key.columns, true)
    }
}

fn row_codec(schema: &Schema) -> RowCodec {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    RowCodec::new(schema, &all, false)
}

/// Rows with their bytes and the bytes of their keys.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) batch: RecordBatch,
    pub(crate) bytes: EncodedRows,
    pub(crate) keys: Vec<Keys>,
}

/// The values of one unique key over some rows.
#[derive(Debug)]
pub(crate) struct Keys {
    bytes: EncodedRows,
    nulls: Vec<bool>,
}

impl Keys {
    fn new(table: &TableDefinition, key: &UniqueKey, rows: &RecordBatch) -> Result<Keys> {
        let columns: Vec<ArrayRef> = key.columns.iter().map(|column| rows.column(*column).clone()).collect();
        let nulls = match columns.iter().any(|column| column.null_count() > 0) {
            true => (0..rows.num_rows()).map(|row| columns.iter().any(|column| column.is_null(row))).collect(),
            false => Vec::new(),
        };
        Ok(Keys { bytes: table.key_codec(key).encode(&columns, rows.num_rows())?, nulls })
    }

    /// The key of a row; `None` if there is a null in it.
    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        if self.nulls.get(row).copied().unwrap_or(false) { None } else { Some(self.bytes.row(row)) }
    }
}

impl Rows {
    /// Encodes rows of a table.
    pub(crate) fn new(table: &TableDefinition, batch: &RecordBatch) -> Result<Rows> {
        let rows = batch.num_rows();
        let bytes = table.codec().encode(batch.columns(), rows)?;
        Rows::of_bytes(table, batch.clone(), bytes)
    }

    /// Rows as they stand in the cut log.
    pub(crate) fn decode(table: &TableDefinition, bytes: EncodedRows) -> Result<Rows> {
        let columns = table.codec().decode((0..bytes.len()).map(|row| bytes.row(row)))?;
        let schema = crate::graph::nullable(&table.schema);
        let batch = of_columns(&schema, columns, bytes.len())?;
        Rows::of_bytes(table, batch, bytes)
    }

    fn of_bytes(table: &TableDefinition, batch: RecordBatch, bytes: EncodedRows) -> Result<Rows> {
        let rows = batch.num_rows();
        let keys = table.keys.iter().map(|key| Keys::new(table, key, &batch)).collect::<Result<_>>()?;
        let batch = of_columns(&crate::graph::nullable(&table.schema), batch.columns().to_vec(), rows)?;
        Ok(Rows { batch, bytes, keys })
    }

    /// The same rows as those of a table that follows theirs.
    pub(crate) fn followed(&self, follower: &Follower, table: &TableDefinition) -> Result<Rows> {
        let columns = follower.columns.iter().zip(table.schema.fields()).map(|(place, field)| match place {
            Some(place) => self.batch.column(*place).clone(),
            None => new_null_array(field.data_type(), self.len()),
        });
        let schema = crate::graph::nullable(&table.schema);
        Rows::new(table, &of_columns(&schema, columns.collect(), self.len())?)
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A change, encoded.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) table: RelationId,
    /// The table as the caller knows it, for messages.
    pub(crate) definition: Arc<TableDefinition>,
    pub(crate) deletes: Rows,
    pub(crate) inserts: Rows,
    pub(crate) on_conflict: OnConflict,
}

impl Change {
    /// Encodes the changes of one commit. Error 54000 if they are too many for one.
    pub(crate) fn encode(changes: &[TableChange]) -> Result<Vec<Change>> {
        let mut encoded = Vec::with_capacity(changes.len());
        let mut size = 0;
        for change in changes {
            let deletes = Rows::new(&change.table, &change.deletes)?;
            let inserts = Rows::new(&change.table, &change.inserts)?;
            size += deletes.bytes.size() + inserts.bytes.size();
            encoded.push(Change {
                table: change.table.id,
                definition: change.table.clone(),
                deletes,
                inserts,
                on_conflict: change.on_conflict,
            });
        }
        if size > MAX_COMMIT_BYTES {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "the transaction changes too much")
                .detail(format!("Its rows have {size} bytes, the limit is {MAX_COMMIT_BYTES}."))
                .hint("Change the rows in several transactions."));
        }
        Ok(encoded)
    }
}
