//! Printing values in PostgreSQL's text form.
//!
//! One writer a column, downcast once. Prints what psql shows; nulls are the caller's business.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes as types;

use super::datetime::{self, Interval, Zone};
use super::numeric::{self, Numeric};
use super::{PgType, float, uuid};
use crate::error::{Error, Result};

/// The settings that change the text form of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextStyle {
    /// The TimeZone setting.
    pub zone: Zone,
    /// The extra_float_digits setting.
    pub extra_float_digits: i32,
}

impl Default for TextStyle {
    fn default() -> TextStyle {
        TextStyle { zone: Zone::Utc, extra_float_digits: 1 }
    }
}

/// Appends the text of one value that is known not to be null. Prefer a [`TextWriter`] for columns.
pub fn write_text(
    data_type: &PgType,
    array: &dyn Array,
    row: usize,
    style: &TextStyle,
    out: &mut String,
) -> Result<()> {
    TextWriter::new(data_type, &array.slice(row, 1))?.write(0, style, out);
    Ok(())
}

/// A column that is ready to be printed.
#[derive(Debug)]
pub struct TextWriter(Column);

#[derive(Debug)]
enum Column {
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Decimal(Decimal128Array, u32),
    Numeric(BinaryArray),
    Text(StringArray),
    Bytea(BinaryArray),
    Date(Date32Array),
    Timestamp(TimestampMicrosecondArray),
    Timestamptz(TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    Oid(UInt32Array),
    Array(BinaryArray, &'static PgType),
    Time(Time64MicrosecondArray),
    Uuid(BinaryArray),
    Record(BinaryArray),
}

/// The array in the layout of its type: DataFusion's own layouts (views, dictionaries, other
/// widths) are converted. Errors XX000 where there is no way.
pub fn normalize(data_type: &PgType, array: &ArrayRef) -> Result<ArrayRef> {
    let layout = data_type.arrow();
    if *array.data_type() == layout {
        return Ok(array.clone());
    }
    arrow::compute::cast(array, &layout)
        .map_err(|_| Error::internal(format!("a column of type {} came as {}", data_type.name(), array.data_type())))
}

impl TextWriter {
    /// Prepares a column. Errors XX000 where the array cannot be of this type.
    pub fn new(data_type: &PgType, array: &ArrayRef) -> Result<TextWriter> {
        let array = normalize(data_type, array)?;
        Ok(TextWriter(match data_type {
            PgType::Bool => Column::Bool(array.as_boolean().clone()),
            PgType::Int2 => Column::Int2(array.as_primitive::<types::Int16Type>().clone()),
            PgType::Int4 => Column::Int4(array.as_primitive::<types::Int32Type>().clone()),
            PgType::Int8 => Column::Int8(array.as_primitive::<types::Int64Type>().clone()),
            PgType::Float4 => Column::Float4(array.as_primitive::<types::Float32Type>().clone()),
            PgType::Float8 => Column::Float8(array.as_primitive::<types::Float64Type>().clone()),
            PgType::Numeric(Some((_, scale))) => {
                Column::Decimal(array.as_primitive::<types::Decimal128Type>().clone(), (*scale).max(0) as u32)
            }
            PgType::Numeric(None) => Column::Numeric(array.as_binary::<i32>().clone()),
            PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_) | PgType::Json | PgType::Jsonb => {
                Column::Text(array.as_string::<i32>().clone())
            }
            PgType::Bytea => Column::Bytea(array.as_binary::<i32>().clone()),
            PgType::Date => Column::Date(array.as_primitive::<types::Date32Type>().clone()),
            PgType::Timestamp => Column::Timestamp(array.as_primitive::<types::TimestampMicrosecondType>().clone()),
            PgType::Timestamptz => Column::Timestamptz(array.as_primitive::<types::TimestampMicrosecondType>().clone()),
            PgType::Interval => Column::Interval(array.as_primitive::<types::IntervalMonthDayNanoType>().clone()),
            PgType::Oid => Column::Oid(array.as_primitive::<types::UInt32Type>().clone()),
            PgType::Array(element) => Column::Array(array.as_binary::<i32>().clone(), element),
            PgType::Time(_) => Column::Time(array.as_primitive::<types::Time64MicrosecondType>().clone()),
            PgType::Uuid => Column::Uuid(array.as_binary::<i32>().clone()),
            PgType::Record => Column::Record(array.as_binary::<i32>().clone()),
        }))
    }

    /// Appends the text of the value at `row`, which is not null.
    pub fn write(&self, row: usize, style: &TextStyle, out: &mut String) {
        match &self.0 {
            Column::Bool(array) => out.push(if array.value(row) { 't' } else { 'f' }),
            Column::Int2(array) => push_integer(i64::from(array.value(row)), out),
            Column::Int4(array) => push_integer(i64::from(array.value(row)), out),
            Column::Int8(array) => push_integer(array.value(row), out),
            Column::Float4(array) => float::write_f32(array.value(row), style.extra_float_digits, out),
            Column::Float8(array) => float::write_f64(array.value(row), style.extra_float_digits, out),
            Column::Decimal(array, scale) => numeric::push_decimal(out, array.value(row), *scale),
            Column::Numeric(array) => match Numeric::decode(array.value(row)) {
                Ok(number) => number.write_to(out),
                Err(_) => out.push_str("NaN"),
            },
            Column::Text(array) => out.push_str(array.value(row)),
            Column::Bytea(array) => push_hex(array.value(row), out),
            Column::Date(array) => datetime::write_date(array.value(row), out),
            Column::Timestamp(array) => datetime::write_timestamp(array.value(row), out),
            Column::Timestamptz(array) => datetime::write_timestamptz(array.value(row), &style.zone, out),
            Column::Interval(array) => Interval::from_arrow(array.value(row)).write_to(out),
            Column::Oid(array) => numeric::push_u64(out, u64::from(array.value(row))),
            Column::Array(array, element) => super::array::write(element, array.value(row), style, out),
            Column::Time(array) => datetime::write_time(array.value(row), out),
            Column::Uuid(array) => uuid::write(array.value(row), out),
            Column::Record(array) => super::record::write(array.value(row), style, out),
        }
    }

    /// Whether the value at `row` is null.
    pub fn is_null(&self, row: usize) -> bool {
        self.array().is_null(row)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.array().len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn array(&self) -> &dyn Array {
        match &self.0 {
            Column::Bool(array) => array,
            Column::Int2(array) => array,
            Column::Int4(array) => array,
            Column::Int8(array) => array,
            Column::Float4(array) => array,
            Column::Float8(array) => array,
            Column::Decimal(array, _) => array,
            Column::Numeric(array) | Column::Bytea(array) => array,
            Column::Text(array) => array,
            Column::Date(array) => array,
            Column::Timestamp(array) | Column::Timestamptz(array) => array,
            Column::Interval(array) => array,
            Column::Oid(array) => array,
            Column::Array(array, _) => array,
            Column::Time(array) => array,
            Column::Uuid(array) | Column::Record(array) => array,
        }
    }
}

/// Prints a signed integer.
pub(super) fn push_integer(value: i64, out: &mut String) {
    if value < 0 {
        out.push('-');
    }
    numeric::push_u64(out, value.unsigned_abs());
}

/// Prints bytes as `\x00ff`.
fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + bytes.len() * 2);
    out.push_str("\\x");
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
}
