//! Values as bytes: how state, keys and arrays hold them.
//!
//! A value's bytes are order-preserving under memcmp and, if the codec is told to canonicalise,
//! equal when the values are by PostgreSQL's equality (-0 and 0, 1.0 and 1.00), so that one form
//! serves keys, min and max. Part of the format version. Knows no nulls and no rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, Decimal128Array,
    Decimal128Builder, Float32Array, Float32Builder, Float64Array, Float64Builder, Int16Array, Int16Builder,
    Int32Builder, Int64Builder, IntervalMonthDayNanoArray, IntervalMonthDayNanoBuilder, PrimitiveBuilder, StringArray,
    StringBuilder, UInt32Array, UInt32Builder,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    UInt32Type,
};

use super::{PgType, json, numeric, parse};
use crate::error::{Error, Result};

/// How one column's values become bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValueCodec {
    data_type: PgType,
    canonical: bool,
}

/// A column, downcast once.
pub(crate) enum Column<'a> {
    Bool(&'a BooleanArray),
    Int16(&'a Int16Array),
    Int32(&'a [i32], &'a dyn Array),
    Int64(&'a [i64], &'a dyn Array),
    UInt32(&'a UInt32Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Decimal(&'a Decimal128Array),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Numeric(&'a BinaryArray, bool),
    Interval(&'a IntervalMonthDayNanoArray),
    /// Whether the bytes are to be canonical; with a length, spaces at the end are no part of them.
    Bpchar(&'a StringArray, bool),
    /// The keys if the bytes are to be canonical, else the text.
    Jsonb(&'a StringArray, bool),
    /// With the element if the bytes are to be canonical.
    Array(&'a BinaryArray, Option<&'static PgType>),
    /// Rows; whether equal ones are to have the same bytes.
    Record(&'a BinaryArray, bool),
}

impl ValueCodec {
    /// The codec of a type. `canonical`: equal values are to have equal bytes (keys).
    pub(crate) fn new(data_type: PgType, canonical: bool) -> ValueCodec {
        ValueCodec { data_type, canonical }
    }

    /// An empty builder of about so many values from their bytes.
    pub(crate) fn builder(&self, rows: usize) -> ValueBuilder {
        ValueBuilder::new(&self.data_type, rows)
    }

    /// Bytes of every value, if they are always the same number.
    pub(crate) fn width(&self) -> Option<usize> {
        match self.data_type {
            PgType::Bool => Some(1),
            PgType::Int2 => Some(2),
            PgType::Int4 | PgType::Float4 | PgType::Date | PgType::Oid => Some(4),
            PgType::Int8 | PgType::Float8 | PgType::Timestamp | PgType::Timestamptz | PgType::Time(_) => Some(8),
            PgType::Uuid => Some(16),
            PgType::Numeric(Some((precision, _))) => Some(if precision <= 18 { 8 } else { 16 }),
            PgType::Interval => Some(32),
            PgType::Numeric(None) | PgType::Text | PgType::Varchar(_) | PgType::Bytea | PgType::Array(_) => None,
            PgType::Bpchar(_) | PgType::Json | PgType::Jsonb | PgType::Record => None,
        }
    }

    /// Whether the bytes are of one length and order, with one form for each value.
    pub(crate) fn is_ordered(&self) -> bool {
        self.width().is_some() && !matches!(self.data_type, PgType::Float4 | PgType::Float8 | PgType::Interval)
    }

    /// Looks at an array of this type.
    pub(crate) fn column<'a>(&self, array: &'a ArrayRef) -> Result<Column<'a>> {
        let wrong = || {
            Error::internal(format!("an array of {} where {} was declared", array.data_type(), self.data_type.name()))
        };
        if array.data_type() != &self.data_type.arrow() {
            return Err(wrong());
        }
        Ok(match &self.data_type {
            PgType::Bool => Column::Bool(array.as_boolean()),
            PgType::Int2 => Column::Int16(array.as_primitive::<Int16Type>()),
            PgType::Int4 => Column::Int32(array.as_primitive::<Int32Type>().values(), array.as_ref()),
            PgType::Date => Column::Int32(array.as_primitive::<Date32Type>().values(), array.as_ref()),
            PgType::Int8 => Column::Int64(array.as_primitive::<Int64Type>().values(), array.as_ref()),
            PgType::Timestamp | PgType::Timestamptz => {
                Column::Int64(array.as_primitive::<TimestampMicrosecondType>().values(), array.as_ref())
            }
            PgType::Time(_) => Column::Int64(array.as_primitive::<Time64MicrosecondType>().values(), array.as_ref()),
            PgType::Oid => Column::UInt32(array.as_primitive::<UInt32Type>()),
            PgType::Float4 => Column::Float32(array.as_primitive::<Float32Type>()),
            PgType::Float8 => Column::Float64(array.as_primitive::<Float64Type>()),
            PgType::Numeric(Some(_)) => Column::Decimal(array.as_primitive::<Decimal128Type>()),
            PgType::Numeric(None) => Column::Numeric(array.as_binary::<i32>(), self.canonical),
            PgType::Text | PgType::Varchar(_) | PgType::Json => Column::Text(array.as_string::<i32>()),
            PgType::Bpchar(length) => Column::Bpchar(array.as_string::<i32>(), self.canonical || length.is_some()),
            PgType::Jsonb => Column::Jsonb(array.as_string::<i32>(), self.canonical),
            PgType::Bytea | PgType::Uuid => Column::Bytes(array.as_binary::<i32>()),
            PgType::Record => Column::Record(array.as_binary::<i32>(), self.canonical),
            PgType::Interval => Column::Interval(array.as_primitive::<IntervalMonthDayNanoType>()),
            PgType::Array(element) => {
                let forms = (self.canonical && super::array::has_forms(element)).then_some(*element);
                Column::Array(array.as_binary::<i32>(), forms)
            }
        })
    }

    /// Appends one non-null value's bytes.
    #[inline]
    pub(crate) fn write(&self, column: &Column<'_>, row: usize, out: &mut Vec<u8>) {
        match column {
            Column::Bool(array) => out.push(u8::from(array.value(row))),
            Column::Int16(array) => out.extend_from_slice(&((array.value(row) as u16) ^ 0x8000).to_be_bytes()),
            Column::Int32(values, _) => out.extend_from_slice(&((values[row] as u32) ^ (1 << 31)).to_be_bytes()),
            Column::Int64(values, _) => out.extend_from_slice(&((values[row] as u64) ^ (1 << 63)).to_be_bytes()),
            Column::UInt32(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
            Column::Float32(array) => out.extend_from_slice(&order_f32(array.value(row), self.canonical).to_be_bytes()),
            Column::Float64(array) => out.extend_from_slice(&order_f64(array.value(row), self.canonical).to_be_bytes()),
            Column::Decimal(array) if self.width() == Some(8) => {
                out.extend_from_slice(&((array.value(row) as i64 as u64) ^ (1 << 63)).to_be_bytes());
            }
            Column::Decimal(array) => out.extend_from_slice(&((array.value(row) as u128) ^ (1 << 127)).to_be_bytes()),
            Column::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Column::Bpchar(array, bare) => write_bpchar(array.value(row), *bare, out),
            Column::Jsonb(array, true) => out.extend_from_slice(&json::key(array.value(row))),
            Column::Jsonb(array, false) => out.extend_from_slice(array.value(row).as_bytes()),
            Column::Bytes(array) => out.extend_from_slice(array.value(row)),
            Column::Numeric(array, true) => out.extend_from_slice(&numeric::canonical_bytes(array.value(row))),
            Column::Numeric(array, false) => out.extend_from_slice(array.value(row)),
            Column::Interval(array) => write_interval(array.value(row), out),
            Column::Array(array, None) | Column::Record(array, false) => out.extend_from_slice(array.value(row)),
            Column::Record(array, true) => out.extend_from_slice(&super::record::canonical(array.value(row))),
            Column::Array(array, Some(element)) => {
                out.extend_from_slice(&super::array::canonical(element, array.value(row)));
            }
        }
    }
}

impl Column<'_> {
    /// Whether the value is null.
    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self {
            Column::Bool(array) => array.is_null(row),
            Column::Int16(array) => array.is_null(row),
            Column::Int32(_, array) | Column::Int64(_, array) => array.is_null(row),
            Column::UInt32(array) => array.is_null(row),
            Column::Float32(array) => array.is_null(row),
            Column::Float64(array) => array.is_null(row),
            Column::Decimal(array) => array.is_null(row),
            Column::Text(array) | Column::Bpchar(array, _) | Column::Jsonb(array, _) => array.is_null(row),
            Column::Bytes(array) | Column::Numeric(array, _) => array.is_null(row),
            Column::Interval(array) => array.is_null(row),
            Column::Array(array, _) | Column::Record(array, _) => array.is_null(row),
        }
    }
}

/// What is before the spaces at the end; they follow behind a zero, unless `bare` leaves them out.
fn write_bpchar(value: &str, bare: bool, out: &mut Vec<u8>) {
    let kept = value.trim_end_matches(' ');
    out.extend_from_slice(kept.as_bytes());
    if !bare && kept.len() < value.len() {
        out.push(0);
        out.extend_from_slice(&value.as_bytes()[kept.len()..]);
    }
}

/// The text of such bytes, filled up with spaces to the type's length.
fn read_bpchar(bytes: &[u8], length: Option<u32>) -> Result<String> {
    let (kept, spaces) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    let text = std::str::from_utf8(kept).map_err(|_| damaged())?;
    Ok(match length {
        Some(length) => parse::filled(text, length),
        None => format!("{text}{:width$}", "", width = spaces.len().saturating_sub(1)),
    })
}

/// PostgreSQL's order of intervals counts a month as 30 days; the parts follow, to decode them.
fn write_interval(value: IntervalMonthDayNano, out: &mut Vec<u8>) {
    let days = i128::from(value.months) * 30 + i128::from(value.days);
    let total = days * 86_400_000_000_000 + i128::from(value.nanoseconds);
    out.extend_from_slice(&((total as u128) ^ (1 << 127)).to_be_bytes());
    out.extend_from_slice(&value.months.to_be_bytes());
    out.extend_from_slice(&value.days.to_be_bytes());
    out.extend_from_slice(&value.nanoseconds.to_be_bytes());
}

/// Every NaN is the one that is greater than all; -0 counts as 0 if canonical.
fn order_f64(value: f64, canonical: bool) -> u64 {
    let value = if canonical && value == 0.0 { 0.0 } else { value };
    let bits = if value.is_nan() { f64::NAN.to_bits() & !(1 << 63) } else { value.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
}

fn order_f32(value: f32, canonical: bool) -> u32 {
    let value = if canonical && value == 0.0 { 0.0 } else { value };
    let bits = if value.is_nan() { f32::NAN.to_bits() & !(1 << 31) } else { value.to_bits() };
    if bits >> 31 == 1 { !bits } else { bits | (1 << 31) }
}

/// What a value of no fixed width is taken to need at first, in bytes.
const ABOUT_BYTES: usize = 16;

/// Builds an array from values' bytes.
pub(crate) enum ValueBuilder {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Date(PrimitiveBuilder<Date32Type>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>, DataType),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    UInt32(UInt32Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, DataType),
    Text(StringBuilder),
    Bpchar(StringBuilder, Option<u32>),
    Jsonb(StringBuilder),
    Bytes(BinaryBuilder),
    Interval(IntervalMonthDayNanoBuilder),
}

impl ValueBuilder {
    /// An empty builder for about so many values of this type.
    pub(crate) fn new(data_type: &PgType, rows: usize) -> ValueBuilder {
        let bytes = rows * ABOUT_BYTES;
        match data_type {
            PgType::Bool => ValueBuilder::Bool(BooleanBuilder::with_capacity(rows)),
            PgType::Int2 => ValueBuilder::Int16(Int16Builder::with_capacity(rows)),
            PgType::Int4 => ValueBuilder::Int32(Int32Builder::with_capacity(rows)),
            PgType::Int8 => ValueBuilder::Int64(Int64Builder::with_capacity(rows)),
            PgType::Date => ValueBuilder::Date(PrimitiveBuilder::with_capacity(rows)),
            PgType::Timestamp | PgType::Timestamptz => {
                ValueBuilder::Timestamp(PrimitiveBuilder::with_capacity(rows), data_type.arrow())
            }
            PgType::Time(_) => ValueBuilder::Time(PrimitiveBuilder::with_capacity(rows)),
            PgType::Oid => ValueBuilder::UInt32(UInt32Builder::with_capacity(rows)),
            PgType::Float4 => ValueBuilder::Float32(Float32Builder::with_capacity(rows)),
            PgType::Float8 => ValueBuilder::Float64(Float64Builder::with_capacity(rows)),
            PgType::Numeric(Some(_)) => {
                ValueBuilder::Decimal(Decimal128Builder::with_capacity(rows), data_type.arrow())
            }
            PgType::Numeric(None) | PgType::Bytea | PgType::Array(_) | PgType::Uuid | PgType::Record => {
                ValueBuilder::Bytes(BinaryBuilder::with_capacity(rows, bytes))
            }
            PgType::Text | PgType::Varchar(_) | PgType::Json => {
                ValueBuilder::Text(StringBuilder::with_capacity(rows, bytes))
            }
            PgType::Bpchar(length) => ValueBuilder::Bpchar(StringBuilder::with_capacity(rows, bytes), *length),
            PgType::Jsonb => ValueBuilder::Jsonb(StringBuilder::with_capacity(rows, bytes)),
            PgType::Interval => ValueBuilder::Interval(IntervalMonthDayNanoBuilder::with_capacity(rows)),
        }
    }

    /// Appends a null.
    pub(crate) fn push_null(&mut self) {
        match self {
            ValueBuilder::Bool(builder) => builder.append_null(),
            ValueBuilder::Int16(builder) => builder.append_null(),
            ValueBuilder::Int32(builder) => builder.append_null(),
            ValueBuilder::Int64(builder) => builder.append_null(),
            ValueBuilder::Date(builder) => builder.append_null(),
            ValueBuilder::Timestamp(builder, _) => builder.append_null(),
            ValueBuilder::Time(builder) => builder.append_null(),
            ValueBuilder::UInt32(builder) => builder.append_null(),
            ValueBuilder::Float32(builder) => builder.append_null(),
            ValueBuilder::Float64(builder) => builder.append_null(),
            ValueBuilder::Decimal(builder, _) => builder.append_null(),
            ValueBuilder::Text(builder) | ValueBuilder::Bpchar(builder, _) | ValueBuilder::Jsonb(builder) => {
                builder.append_null()
            }
            ValueBuilder::Bytes(builder) => builder.append_null(),
            ValueBuilder::Interval(builder) => builder.append_null(),
        }
    }

    /// Appends a value from its bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            ValueBuilder::Bool(builder) => builder.append_value(fixed::<1>(bytes)?[0] != 0),
            ValueBuilder::Int16(builder) => builder.append_value((u16::from_be_bytes(fixed(bytes)?) ^ 0x8000) as i16),
            ValueBuilder::Int32(builder) => builder.append_value(read_i32(bytes)?),
            ValueBuilder::Date(builder) => builder.append_value(read_i32(bytes)?),
            ValueBuilder::Int64(builder) => builder.append_value(read_i64(bytes)?),
            ValueBuilder::Timestamp(builder, _) => builder.append_value(read_i64(bytes)?),
            ValueBuilder::Time(builder) => builder.append_value(read_i64(bytes)?),
            ValueBuilder::UInt32(builder) => builder.append_value(u32::from_be_bytes(fixed(bytes)?)),
            ValueBuilder::Float32(builder) => {
                let bits = u32::from_be_bytes(fixed(bytes)?);
                builder.append_value(f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits }));
            }
            ValueBuilder::Float64(builder) => {
                let bits = u64::from_be_bytes(fixed(bytes)?);
                builder.append_value(f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits }));
            }
            ValueBuilder::Decimal(builder, _) if bytes.len() == 8 => builder.append_value(i128::from(read_i64(bytes)?)),
            ValueBuilder::Decimal(builder, _) => {
                builder.append_value((u128::from_be_bytes(fixed(bytes)?) ^ (1 << 127)) as i128)
            }
            ValueBuilder::Text(builder) => builder.append_value(std::str::from_utf8(bytes).map_err(|_| damaged())?),
            ValueBuilder::Bpchar(builder, length) => builder.append_value(read_bpchar(bytes, *length)?),
            ValueBuilder::Jsonb(builder) => builder.append_value(json::of_key(bytes)?),
            ValueBuilder::Bytes(builder) => builder.append_value(bytes),
            ValueBuilder::Interval(builder) => {
                let bytes: [u8; 32] = fixed(bytes)?;
                builder.append_value(IntervalMonthDayNano::new(
                    i32::from_be_bytes(fixed(&bytes[16..20])?),
                    i32::from_be_bytes(fixed(&bytes[20..24])?),
                    i64::from_be_bytes(fixed(&bytes[24..32])?),
                ));
            }
        }
        Ok(())
    }

    /// Appends a float as it is, -0 and all.
    pub(crate) fn push_float(&mut self, value: f64) {
        match self {
            ValueBuilder::Float32(builder) => builder.append_value(value as f32),
            ValueBuilder::Float64(builder) => builder.append_value(value),
            _ => self.push_null(),
        }
    }

    /// The array.
    pub(crate) fn finish(self) -> ArrayRef {
        match self {
            ValueBuilder::Bool(mut builder) => Arc::new(builder.finish()),
            ValueBuilder::Int16(builder) => finish(builder, None),
            ValueBuilder::Int32(builder) => finish(builder, None),
            ValueBuilder::Int64(builder) => finish(builder, None),
            ValueBuilder::Date(builder) => finish(builder, None),
            ValueBuilder::Timestamp(builder, layout) => finish(builder, Some(layout)),
            ValueBuilder::Time(builder) => finish(builder, None),
            ValueBuilder::UInt32(builder) => finish(builder, None),
            ValueBuilder::Float32(builder) => finish(builder, None),
            ValueBuilder::Float64(builder) => finish(builder, None),
            ValueBuilder::Decimal(builder, layout) => finish(builder, Some(layout)),
            ValueBuilder::Text(mut builder)
            | ValueBuilder::Bpchar(mut builder, _)
            | ValueBuilder::Jsonb(mut builder) => Arc::new(builder.finish()),
            ValueBuilder::Bytes(mut builder) => Arc::new(builder.finish()),
            ValueBuilder::Interval(builder) => finish(builder, None),
        }
    }
}

fn finish<T: ArrowPrimitiveType>(mut builder: PrimitiveBuilder<T>, layout: Option<DataType>) -> ArrayRef {
    let array = builder.finish();
    match layout {
        Some(layout) => Arc::new(array.with_data_type(layout)),
        None => Arc::new(array),
    }
}

/// The error for bytes that are no value or row.
pub(crate) fn damaged() -> Error {
    Error::new(crate::SqlState::DataCorrupted, "a row of state does not have its declared form")
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| damaged())
}

fn read_i32(bytes: &[u8]) -> Result<i32> {
    Ok((u32::from_be_bytes(fixed(bytes)?) ^ (1 << 31)) as i32)
}

fn read_i64(bytes: &[u8]) -> Result<i64> {
    Ok((u64::from_be_bytes(fixed(bytes)?) ^ (1 << 63)) as i64)
}
