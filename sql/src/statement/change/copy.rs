//! COPY ... FROM STDIN: rows from a client's stream, all of them or none.
//!
//! Promises: a bad line fails the whole COPY, and the detail names the line and column; what is
//! read is bounded by what one commit may carry. Does not frame: the wire hands the bytes over.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::table::{MAX_COMMIT_BYTES, OnConflict, TableChange};
use thalweg_dataflow::types::{ColumnBuilder, PgType};

use super::copy_binary::BinaryRows;
use super::copy_format::{Format, Layout, Line, Splitter};
use super::evaluate::Evaluation;
use super::{Target, check, gone, keep};
use crate::guard::Guard;
use crate::parser::copy::Copy;
use crate::planner::Planner;
use crate::planner::change::{RowScope, places};
use crate::roles::acl;
use crate::session::{Session, View};
use crate::statement::query::planning;
use crate::statement::resolve::Names;

/// A COPY that takes data.
pub struct CopyIn {
    target: Target,
    view: View,
    guard: Guard,
    /// The columns that the lines have, as places in the table.
    columns: Vec<usize>,
    data: Data,
    rows: usize,
    bytes: usize,
}

/// The data, as far as it has come.
enum Data {
    /// Lines, and the values in them.
    Lines(Splitter, Vec<ColumnBuilder>),
    /// The binary format.
    Binary(BinaryRows),
}

impl std::fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyIn").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl CopyIn {
    /// Ready for the first byte.
    pub(crate) fn new(session: &mut Session, copy: &Copy, guard: &Guard) -> Result<CopyIn> {
        let view = session.view();
        let target = Target::find(session, &view, &copy.target)?;
        session.asker(&view.published.catalog).need(&target.object, acl::INSERT)?;
        let mut columns = places(&target.planned()?, copy.columns.as_deref())?;
        if let Some(named) = copy.columns.as_ref() {
            let computed = named.iter().zip(&columns).find(|(_, place)| target.object.generated(**place).is_some());
            if let Some((name, _)) = computed {
                return Err(not_copied(&name.name));
            }
        }
        columns.retain(|place| target.object.generated(*place).is_none());
        let format = Format::of(&copy.options)?;
        let zone = session.text_style().zone.clone();
        let builder =
            |place: &usize| ColumnBuilder::new(&target.object.columns[*place].data_type, 0).with_zone(zone.clone());
        let data = if format.layout == Layout::Binary {
            let types = columns.iter().map(|place| target.object.columns[*place].data_type.clone());
            Data::Binary(BinaryRows::new(types.collect()))
        } else {
            Data::Lines(Splitter::new(format), columns.iter().map(builder).collect())
        };
        Ok(CopyIn { view, guard: guard.clone(), columns, data, rows: 0, bytes: 0, target })
    }

    /// Whether the data is to come in the binary format.
    pub fn is_binary(&self) -> bool {
        matches!(self.data, Data::Binary(_))
    }

    /// How many fields a line has.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Waits until the statement is cancelled or out of time; why.
    pub async fn stopped(&mut self) -> Error {
        self.guard.stopped().await
    }

    /// Takes more data, cut anywhere.
    pub fn push(&mut self, data: &[u8]) -> Result<()> {
        self.bytes += data.len();
        if self.bytes > MAX_COMMIT_BYTES {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "the COPY is too large for one transaction")
                .detail(format!("One may have {MAX_COMMIT_BYTES} bytes."))
                .hint("Copy the rows in several parts."));
        }
        match &mut self.data {
            Data::Lines(splitter, _) => splitter.push(data),
            Data::Binary(rows) => {
                let pushed = rows.push(data);
                self.rows = rows.rows();
                return pushed.map_err(|error| self.at(error, self.rows + 1, None));
            }
        }
        self.take_lines()
    }

    fn take_lines(&mut self) -> Result<()> {
        while let Data::Lines(splitter, _) = &mut self.data
            && let Some(line) = splitter.next()
        {
            let line = line.map_err(|(number, error)| self.at(error, number, None))?;
            self.take(&line)?;
        }
        Ok(())
    }

    fn take(&mut self, line: &Line) -> Result<()> {
        let names = &self.target.object.columns;
        if line.is_header {
            let wanted: Vec<&str> = self.columns.iter().map(|place| names[*place].name.as_str()).collect();
            return line.check_header(&wanted).map_err(|error| self.at(error, line.number, None));
        }
        if line.fields.len() > self.columns.len() {
            let error = Error::new(SqlState::BadCopyFileFormat, "extra data after last expected column");
            return Err(self.at(error, line.number, Some(format!("\"{}\"", line.shown()))));
        }
        let Data::Lines(_, builders) = &mut self.data else { return Ok(()) };
        for (place, (column, builder)) in self.columns.iter().zip(builders).enumerate() {
            let name = &names[*column].name;
            let appended = match line.fields.get(place) {
                Some(Some(value)) => builder.append_text(value).map_err(|fault| {
                    let value = String::from_utf8_lossy(value).into_owned();
                    (fault.into_error(), Some(format!("column {name}: \"{value}\"")))
                }),
                Some(None) => {
                    builder.append_null();
                    Ok(())
                }
                None => {
                    let message = format!("missing data for column \"{name}\"");
                    Err((Error::new(SqlState::BadCopyFileFormat, message), Some(format!("\"{}\"", line.shown()))))
                }
            };
            if let Err((error, what)) = appended {
                return Err(self.at(error, line.number, what));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// An error with its place in the data, where PostgreSQL has a CONTEXT.
    fn at(&self, error: Error, line: usize, what: Option<String>) -> Error {
        let table = &self.target.object.name;
        let place = match what {
            Some(what) if what.starts_with('"') => format!("COPY {table}, line {line}: {what}"),
            Some(what) => format!("COPY {table}, line {line}, {what}"),
            None => format!("COPY {table}, line {line}"),
        };
        let place = match error.detail_text() {
            Some(detail) => format!("{detail} {place}"),
            None => place,
        };
        error.detail(place)
    }

    /// The rows, with the DEFAULT of every column that the lines do not have.
    async fn finished(&mut self, session: &Session) -> Result<RecordBatch> {
        if let Data::Lines(splitter, _) = &mut self.data {
            splitter.end();
        }
        self.take_lines()?;
        let read: Vec<ArrayRef> = match &mut self.data {
            Data::Lines(_, builders) => builders.iter_mut().map(ColumnBuilder::finish).collect(),
            Data::Binary(rows) => rows.finish()?,
        };
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.target.object.columns.len()];
        for (place, column) in self.columns.iter().zip(read) {
            columns[*place] = Some(column);
        }
        if columns.iter().any(Option::is_none) {
            let names = Names::of_defaults(session, &self.view);
            let defaults = Planner.bind_defaults(&self.target.planned()?, &names, &planning(session, "", false))?;
            let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
            let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
            let evaluation = Evaluation { session, view: &self.view, parameters: &[], types: &[] };
            let types: Vec<PgType> = self.target.object.columns.iter().map(|column| column.data_type.clone()).collect();
            let scope = RowScope::new(&[])?;
            let values = evaluation.over(&defaults, &types, &scope.schema, &rows).await?;
            columns.iter_mut().zip(values).for_each(|(column, value)| _ = column.get_or_insert(value));
        }
        Ok(RecordBatch::try_new(self.target.definition.schema.clone(), columns.into_iter().flatten().collect())?)
    }
}

/// The error for a column that COPY names and that is computed from others.
pub(crate) fn not_copied(column: &str) -> Error {
    Error::new(SqlState::InvalidColumnReference, format!("column \"{column}\" is a generated column"))
        .detail("Generated columns cannot be used in COPY.")
}

/// The data has ended: checks and commits; the command tag.
pub(crate) async fn finish(session: &mut Session, mut copy: CopyIn) -> Result<String> {
    let inserts = copy.finished(session).await?;
    let CopyIn { target, view, rows, .. } = copy;
    let inserts = check::complete(session, &view, &target, inserts).await?;
    let table = target.definition.clone();
    let change = TableChange { deletes: table.no_rows(), table, inserts, on_conflict: OnConflict::Fail };
    if session.is_in_block() {
        keep(session, view, &change).await?;
    } else if rows > 0 {
        let engine = &session.database.0.engine;
        if !session.loses_rows(change.table.id) {
            engine.commit(&[change]).await.map_err(|error| gone(error, &target.object.name))?;
        }
    }
    Ok(format!("COPY {rows}"))
}
