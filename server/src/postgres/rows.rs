//! Rows on the wire: RowDescription and DataRow, in text or binary form.
//!
//! Promises: columns are looked up once a batch, values are written straight into the output
//! buffer. What a value looks like is the business of `thalweg_dataflow::types`.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use bytes::{BufMut, BytesMut};
use pgwire::messages::data::{FieldDescription, RowDescription};
use thalweg_dataflow::types::{PgType, TextStyle, TextWriter, normalize, write_binary};
use thalweg_dataflow::{Error, Result, SqlState};
use thalweg_sql::planner::{ORIGIN, SHOWN_OID};

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// What psql shows.
    Text,
    /// What libpq calls binary.
    Binary,
}

impl Format {
    /// The form of a code; 08P01 if there is none.
    pub(crate) fn of(code: i16) -> Result<Format> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(Error::new(SqlState::ProtocolViolation, format!("unsupported format code: {other}"))),
        }
    }

    /// The forms of `count` values from Bind's list: none means text, one stands for all.
    pub(crate) fn spread(codes: &[i16], count: usize) -> Option<Result<Vec<Format>>> {
        match codes {
            [] => Some(Ok(vec![Format::Text; count])),
            [one] => Some(Format::of(*one).map(|format| vec![format; count])),
            many if many.len() == count => Some(many.iter().map(|code| Format::of(*code)).collect()),
            _ => None,
        }
    }
}

/// The form of every column where the client says nothing.
pub(crate) fn all_of(schema: &Schema, binary: bool) -> Vec<Format> {
    if binary { vec![Format::Binary; schema.fields().len()] } else { Vec::new() }
}

/// What RowDescription says of these columns; columns without a form are described as text.
pub(crate) fn description(schema: &Schema, formats: &[Format]) -> RowDescription {
    let fields = schema.fields().iter().enumerate();
    RowDescription::new(fields.map(|(place, field)| describe(field, formats.get(place))).collect())
}

fn describe(field: &Field, format: Option<&Format>) -> FieldDescription {
    let data_type = PgType::of(field);
    let (table, column) = origin(field).unwrap_or_default();
    FieldDescription::new(
        field.name().replace('\0', ""),
        table as i32,
        column,
        field.metadata().get(SHOWN_OID).and_then(|oid| oid.parse().ok()).unwrap_or(data_type.oid()),
        data_type.size(),
        data_type.typmod(),
        i16::from(format == Some(&Format::Binary)),
    )
}

/// The relation's oid and the number of its column that this one is.
fn origin(field: &Field) -> Option<(u32, i16)> {
    let (table, column) = field.metadata().get(ORIGIN)?.split_once(':')?;
    Some((table.parse().ok()?, column.parse().ok()?))
}

/// Writes the rows of one result.
#[derive(Debug)]
pub(crate) struct RowWriter {
    columns: Vec<(PgType, Format)>,
    style: TextStyle,
    text: String,
    bytes: Vec<u8>,
}

/// A batch that is ready to be written.
#[derive(Debug)]
pub(crate) struct Rows {
    columns: Vec<Column>,
    count: usize,
}

#[derive(Debug)]
enum Column {
    Text(TextWriter),
    Binary(PgType, ArrayRef),
}

impl RowWriter {
    /// For rows of this schema; columns without a form are text.
    pub(crate) fn new(schema: &Schema, formats: &[Format], style: TextStyle) -> RowWriter {
        let columns = schema.fields().iter().enumerate();
        let columns =
            columns.map(|(place, field)| (PgType::of(field), formats.get(place).copied().unwrap_or(Format::Text)));
        RowWriter { columns: columns.collect(), style, text: String::new(), bytes: Vec::new() }
    }

    /// Looks the columns of a batch up.
    pub(crate) fn prepare(&self, batch: &RecordBatch) -> Result<Rows> {
        let columns = self.columns.iter().zip(batch.columns());
        let columns = columns.map(|((data_type, format), array)| {
            Ok(match format {
                Format::Text => Column::Text(TextWriter::new(data_type, array)?),
                Format::Binary => Column::Binary(data_type.clone(), normalize(data_type, array)?),
            })
        });
        Ok(Rows { columns: columns.collect::<Result<_>>()?, count: batch.num_rows() })
    }

    /// Writes one row as a DataRow. On an error nothing of the row is left in the buffer.
    pub(crate) fn write(&mut self, rows: &Rows, row: usize, buffer: &mut BytesMut) -> Result<()> {
        let start = buffer.len();
        buffer.put_u8(b'D');
        buffer.put_u32(0);
        buffer.put_u16(rows.columns.len() as u16);
        for column in &rows.columns {
            if let Err(error) = self.value(column, row, buffer) {
                buffer.truncate(start);
                return Err(error);
            }
        }
        let length = (buffer.len() - start - 1) as u32;
        buffer[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn value(&mut self, column: &Column, row: usize, buffer: &mut BytesMut) -> Result<()> {
        let value = match column {
            Column::Text(writer) if !writer.is_null(row) => {
                self.text.clear();
                writer.write(row, &self.style, &mut self.text);
                self.text.as_bytes()
            }
            Column::Binary(data_type, array) if !array.is_null(row) => {
                self.bytes.clear();
                write_binary(data_type, array.as_ref(), row, &mut self.bytes)?;
                &self.bytes
            }
            Column::Text(_) | Column::Binary(..) => {
                buffer.put_i32(-1);
                return Ok(());
            }
        };
        buffer.put_u32(value.len() as u32);
        buffer.put_slice(value);
        Ok(())
    }
}

impl Rows {
    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn a_row_is_written_in_the_forms_asked_for() {
        let schema = Arc::new(Schema::new(vec![PgType::Int4.field("n", true), PgType::Text.field("t", true)]));
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int32Array::from(vec![Some(-7), None])), Arc::new(StringArray::from(vec!["a", "ä"]))];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let mut buffer = BytesMut::new();
        let mut writer = RowWriter::new(&schema, &[Format::Binary], TextStyle::default());
        let rows = writer.prepare(&batch).unwrap();
        writer.write(&rows, 0, &mut buffer).unwrap();
        assert_eq!(&buffer[..], b"D\0\0\0\x13\0\x02\0\0\0\x04\xff\xff\xff\xf9\0\0\0\x01a");
        buffer.clear();
        writer.write(&rows, 1, &mut buffer).unwrap();
        assert_eq!(&buffer[..], b"D\0\0\0\x10\0\x02\xff\xff\xff\xff\0\0\0\x02\xc3\xa4");
    }

    #[test]
    fn formats_spread() {
        assert_eq!(Format::spread(&[], 2).unwrap().unwrap(), [Format::Text; 2]);
        assert_eq!(Format::spread(&[1], 2).unwrap().unwrap(), [Format::Binary; 2]);
        assert!(Format::spread(&[1, 0, 1], 2).is_none());
        assert_eq!(Format::spread(&[7], 1).unwrap().unwrap_err().state(), SqlState::ProtocolViolation);
    }
}
