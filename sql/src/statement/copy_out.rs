//! COPY ... TO STDOUT: a query's rows as lines, in the text, CSV and binary formats.
//!
//! Promises: what COPY FROM reads back is the same. Frames nothing: the wire sends each line as a
//! message of its own.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::{PgType, TextStyle, TextWriter, normalize, write_binary};

use super::change::copy::not_copied;
use super::change::copy_format::{Format, Layout};
use super::definition::quoted;
use crate::guard::Guard;
use crate::parser::{self, CopyOut as Statement};
use crate::session::{Outcome, Prepared, Session};

/// What stands before the rows in binary: the signature, flags and an empty extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Rows on their way out.
pub struct CopyOut {
    /// The rows; dropping them ends the statement.
    pub rows: SendableRecordBatchStream,
    schema: SchemaRef,
    format: Format,
    /// The columns that are always quoted.
    quoted: Vec<bool>,
    style: TextStyle,
    text: String,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for CopyOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyOut").field("format", &self.format).finish_non_exhaustive()
    }
}

/// The columns of a batch, looked up.
pub struct Columns {
    columns: Vec<Column>,
    /// Rows of the batch.
    pub count: usize,
}

impl std::fmt::Debug for Columns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Columns").field("count", &self.count).finish_non_exhaustive()
    }
}

enum Column {
    Text(TextWriter),
    Binary(PgType, ArrayRef),
}

/// The statement in which the query's places are; none where it was made from a table's name.
pub(crate) fn placed(copy: &Statement, statement: &parser::Statement) -> parser::Statement {
    if copy.of_table.is_some() { parser::Statement::unnamed("") } else { statement.clone() }
}

/// The query without the columns that are computed from others, if the table has any and is copied by
/// its name. Error 42P10 for one that is named.
fn without_generated(session: &Session, statement: &Statement) -> Result<Option<(Box<Query>, String)>> {
    let Some((name, columns)) = &statement.of_table else { return Ok(None) };
    let view = session.peek_view();
    let catalog = &view.published.catalog;
    let Some(object) = catalog.find(name.schema.as_deref(), &name.name, &session.path_in(catalog)) else {
        return Ok(None);
    };
    let (computed, others): (Vec<usize>, Vec<usize>) =
        (0..object.columns.len()).partition(|place| object.generated(*place).is_some());
    let named = |place: &usize| &object.columns[*place].name;
    match columns {
        Some(columns) => match computed.iter().map(named).find(|name| columns.contains(name)) {
            Some(name) => Err(not_copied(name)),
            None => Ok(None),
        },
        None if computed.is_empty() => Ok(None),
        None => {
            let list: Vec<String> = others.iter().map(|place| quoted(named(place))).collect();
            let table = format!("{}.{}", quoted(&object.schema), quoted(&object.name));
            let text = format!("SELECT {} FROM {table}", list.join(", "));
            Ok(Some((parser::parse_query(&text)?, text)))
        }
    }
}

/// Runs the query and makes ready.
pub(crate) async fn run(
    session: &mut Session,
    statement: &Statement,
    prepared: &Prepared,
    parameters: &[ScalarValue],
) -> Result<Outcome> {
    let format = Format::of(&statement.options)?;
    let prepared = Prepared { statement: placed(statement, &prepared.statement), ..prepared.clone() };
    let shorter = without_generated(session, statement)?;
    let (query, text) = shorter.as_ref().map_or((&statement.query, &statement.text), |(query, text)| (query, text));
    let run = super::query::run(session, query, text, &prepared, parameters);
    let Outcome::Rows { schema, rows, .. } = run.await? else {
        return Err(Error::internal("a query without rows"));
    };
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let quoted = match &statement.force_quote {
        None => vec![false; names.len()],
        Some(_) if !format.is_csv() => {
            return Err(Error::new(SqlState::FeatureNotSupported, "COPY force quote available only in CSV mode"));
        }
        Some(columns) if columns.is_empty() => vec![true; names.len()],
        Some(columns) => {
            if let Some(unknown) = columns.iter().find(|column| !names.contains(&column.as_str())) {
                let message = format!("column \"{unknown}\" does not exist");
                return Err(Error::new(SqlState::UndefinedColumn, message));
            }
            names.iter().map(|name| columns.iter().any(|column| column == name)).collect()
        }
    };
    let style = session.text_style().clone();
    let (text, bytes) = (String::new(), Vec::new());
    Ok(Outcome::CopyOut(Box::new(CopyOut { rows, schema, format, quoted, style, text, bytes })))
}

impl CopyOut {
    /// The same, ended when the statement is to stop.
    pub(crate) fn watched(self, guard: Guard) -> CopyOut {
        CopyOut { rows: guard.watch(self.rows), ..self }
    }

    /// How many columns.
    pub fn columns(&self) -> usize {
        self.schema.fields().len()
    }

    /// Whether the format is the binary one.
    pub fn is_binary(&self) -> bool {
        self.format.layout == Layout::Binary
    }

    /// Writes what comes before the rows, if anything does; in binary the first row belongs to it.
    pub fn write_header(&mut self, out: &mut Vec<u8>) {
        if self.is_binary() {
            out.extend_from_slice(BINARY_HEADER);
        } else if self.format.has_header() {
            let schema = self.schema.clone();
            for (place, field) in schema.fields().iter().enumerate() {
                if place > 0 {
                    out.push(self.format.delimiter);
                }
                self.field(field.name(), false, schema.fields().len() == 1, out);
            }
            out.push(b'\n');
        }
    }

    /// Writes what comes after the rows, if anything does.
    pub fn write_trailer(&self, out: &mut Vec<u8>) {
        if self.is_binary() {
            out.extend_from_slice(&(-1_i16).to_be_bytes());
        }
    }

    /// Looks the columns of a batch up.
    pub fn prepare(&self, batch: &RecordBatch) -> Result<Columns> {
        let columns = self.schema.fields().iter().zip(batch.columns()).map(|(field, array)| {
            let data_type = PgType::of(field);
            Ok(match self.is_binary() {
                true => Column::Binary(data_type.clone(), normalize(&data_type, array)?),
                false => Column::Text(TextWriter::new(&data_type, array)?),
            })
        });
        Ok(Columns { columns: columns.collect::<Result<_>>()?, count: batch.num_rows() })
    }

    /// Writes one row.
    pub fn write(&mut self, columns: &Columns, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.is_binary() {
            out.extend_from_slice(&(columns.columns.len() as i16).to_be_bytes());
        }
        let single = columns.columns.len() == 1;
        for (place, column) in columns.columns.iter().enumerate() {
            match column {
                Column::Binary(_, array) if array.is_null(row) => out.extend_from_slice(&(-1_i32).to_be_bytes()),
                Column::Binary(data_type, array) => {
                    self.bytes.clear();
                    write_binary(data_type, array.as_ref(), row, &mut self.bytes)?;
                    out.extend_from_slice(&(self.bytes.len() as i32).to_be_bytes());
                    out.extend_from_slice(&self.bytes);
                }
                Column::Text(writer) => {
                    if place > 0 {
                        out.push(self.format.delimiter);
                    }
                    if writer.is_null(row) {
                        out.extend_from_slice(self.format.null.as_bytes());
                        continue;
                    }
                    let mut text = std::mem::take(&mut self.text);
                    text.clear();
                    writer.write(row, &self.style, &mut text);
                    self.field(&text, self.quoted[place], single, out);
                    self.text = text;
                }
            }
        }
        if !self.is_binary() {
            out.push(b'\n');
        }
        Ok(())
    }

    fn field(&self, text: &str, always: bool, single: bool, out: &mut Vec<u8>) {
        match self.format.layout {
            Layout::Csv => csv_field(&self.format, text, always, single, out),
            _ => text_field(self.format.delimiter, text, out),
        }
    }
}

fn csv_field(format: &Format, text: &str, always: bool, single: bool, out: &mut Vec<u8>) {
    let special = |byte: &u8| [format.delimiter, format.quote, b'\n', b'\r'].contains(byte);
    let quotes = always || text == format.null || text.as_bytes().iter().any(special) || (single && text == "\\.");
    if !quotes {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(format.quote);
    for byte in text.bytes() {
        if byte == format.quote || byte == format.escape {
            out.push(format.escape);
        }
        out.push(byte);
    }
    out.push(format.quote);
}

fn text_field(delimiter: u8, text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        let escaped = match byte {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0b => b'v',
            0x0c => b'f',
            byte if byte == delimiter => byte,
            byte => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escaped]);
    }
}
