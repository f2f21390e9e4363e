//! Rows as bytes: how state is kept in memory and on disk.
//!
//! A row is a null bitmap and the values that are not null, by [`crate::types::codec`], those of
//! variable length behind their length. Part of the format version.

use arrow::array::ArrayRef;
use arrow::datatypes::Schema;

use crate::error::Result;
use crate::types::PgType;
use crate::types::codec::{Column, ValueBuilder, ValueCodec, damaged};

/// Appends a length: seven bits a byte, low bits first.
pub(crate) fn write_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// Takes a length off the front.
pub(crate) fn read_length(bytes: &mut &[u8]) -> Result<usize> {
    let mut length = 0usize;
    for shift in (0..63).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or_else(damaged)?;
        *bytes = rest;
        length |= usize::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(damaged())
}

/// Takes `length` bytes off the front.
pub(crate) fn read_bytes<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(length).ok_or_else(damaged)?;
    *bytes = rest;
    Ok(front)
}

/// How rows of some columns become bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowCodec {
    values: Vec<ValueCodec>,
}

/// Rows as bytes, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct EncodedRows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl EncodedRows {
    /// One row.
    #[inline]
    pub(crate) fn row(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all of them.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of all of them with their lengths, at most.
    pub(crate) fn stored_size(&self) -> usize {
        self.bytes.len() + self.ends.len() * 5
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.end();
    }

    /// Ends the row that was written to `bytes`.
    fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

impl RowCodec {
    /// The codec of these columns of a schema.
    pub(crate) fn new(schema: &Schema, columns: &[usize], canonical: bool) -> RowCodec {
        let values =
            columns.iter().map(|column| ValueCodec::new(PgType::of(schema.field(*column)), canonical)).collect();
        RowCodec { values }
    }

    /// How many columns.
    pub(crate) fn columns(&self) -> usize {
        self.values.len()
    }

    /// All rows of some arrays of equal length, one for each column.
    pub(crate) fn encode(&self, arrays: &[ArrayRef], rows: usize) -> Result<EncodedRows> {
        let columns: Vec<Column<'_>> =
            self.values.iter().zip(arrays).map(|(codec, array)| codec.column(array)).collect::<Result<_>>()?;
        let mut out = EncodedRows { bytes: Vec::with_capacity(rows * 16), ends: Vec::with_capacity(rows) };
        let bitmap = self.values.len().div_ceil(8);
        let mut value = Vec::new();
        for row in 0..rows {
            let start = out.bytes.len();
            out.bytes.resize(start + bitmap, 0);
            for (place, (codec, column)) in self.values.iter().zip(&columns).enumerate() {
                if column.is_null(row) {
                    out.bytes[start + place / 8] |= 1 << (place % 8);
                } else if codec.width().is_some() {
                    codec.write(column, row, &mut out.bytes);
                } else {
                    value.clear();
                    codec.write(column, row, &mut value);
                    write_length(value.len(), &mut out.bytes);
                    out.bytes.extend_from_slice(&value);
                }
            }
            out.end();
        }
        Ok(out)
    }

    /// Whether rows without nulls have the order of their values, and one form only.
    pub(crate) fn is_ordered(&self) -> bool {
        self.values.iter().all(ValueCodec::is_ordered)
    }

    /// The bytes of values of the first columns, arrays of one, without a bitmap.
    pub(crate) fn first_values(&self, values: &[ArrayRef]) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for (codec, value) in self.values.iter().zip(values) {
            codec.write(&codec.column(value)?, 0, &mut bytes);
        }
        Ok(bytes)
    }

    /// The bytes of one value of an encoded row; `None` where it is null.
    fn value<'a>(&self, row: &'a [u8], column: usize) -> Option<&'a [u8]> {
        let mut rest = row;
        let nulls = read_bytes(&mut rest, self.values.len().div_ceil(8)).ok()?;
        for (place, codec) in self.values.iter().enumerate() {
            let is_null = nulls[place / 8] >> (place % 8) & 1 == 1;
            if is_null && place == column {
                return None;
            }
            if is_null {
                continue;
            }
            let length = codec.width().map_or_else(|| read_length(&mut rest), Ok).ok()?;
            let value = read_bytes(&mut rest, length).ok()?;
            if place == column {
                return Some(value);
            }
        }
        None
    }

    /// Puts into `picked` the bytes that a row of these columns of an encoded row has; whether none of
    /// them is null.
    pub(crate) fn pick(&self, row: &[u8], columns: &[usize], picked: &mut Vec<u8>) -> bool {
        picked.clear();
        picked.resize(columns.len().div_ceil(8), 0);
        columns.iter().all(|column| self.value(row, *column).map(|value| picked.extend_from_slice(value)).is_some())
    }

    /// Whether a row of these columns of an encoded row has these bytes, and none of them is null.
    pub(crate) fn picks(&self, row: &[u8], columns: &[usize], bytes: &[u8]) -> bool {
        let (bitmap, mut rest) = bytes.split_at_checked(columns.len().div_ceil(8)).unwrap_or((bytes, &[]));
        let begins = |column: &usize| {
            let left = self.value(row, *column).and_then(|value| rest.strip_prefix(value));
            left.map(|left| rest = left).is_some()
        };
        bitmap.iter().all(|byte| *byte == 0) && columns.iter().all(begins) && rest.is_empty()
    }

    /// The columns of some rows.
    pub(crate) fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let count = rows.size_hint().0;
        let mut builders: Vec<ValueBuilder> = self.values.iter().map(|codec| codec.builder(count)).collect();
        let bitmap = self.values.len().div_ceil(8);
        for row in rows {
            let mut rest = row;
            let nulls = read_bytes(&mut rest, bitmap)?;
            for (place, (codec, builder)) in self.values.iter().zip(&mut builders).enumerate() {
                if nulls[place / 8] >> (place % 8) & 1 == 1 {
                    builder.push_null();
                    continue;
                }
                let width = match codec.width() {
                    Some(width) => width,
                    None => read_length(&mut rest)?,
                };
                builder.push(read_bytes(&mut rest, width)?)?;
            }
        }
        Ok(builders.into_iter().map(ValueBuilder::finish).collect())
    }
}
