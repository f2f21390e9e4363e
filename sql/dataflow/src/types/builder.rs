//! Building a column from the text of its values: the hot path of the CSV decoder and of COPY.
//!
//! The common forms of the common types are read from bytes without allocation; whatever is not
//! recognised so goes the general way of [`super::parse`], whose verdict is the same. A row that
//! fails in a later column is taken back by [`ColumnBuilder::truncate`]. Does not know nulls' text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, NullBufferBuilder, PrimitiveArray, StringArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};
use datafusion::scalar::ScalarValue;

use super::datetime::{self, Zone};
use super::numeric::{Numeric, small_pow10};
use super::{PgType, parse};
use crate::error::{Error, Result, SqlState};

/// Why a field is no value of its column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault(Error);

impl FieldFault {
    /// PostgreSQL's words.
    pub fn message(&self) -> &str {
        self.0.message()
    }

    /// The fault as an error of a statement.
    pub fn into_error(self) -> Error {
        self.0
    }
}

impl From<FieldFault> for Error {
    fn from(fault: FieldFault) -> Error {
        fault.0
    }
}

/// A column that grows by one value at a time and can shrink again.
#[derive(Debug)]
pub struct ColumnBuilder {
    data_type: PgType,
    zone: Zone,
    values: Values,
    nulls: NullBufferBuilder,
}

#[derive(Debug)]
enum Values {
    Bool(Vec<bool>),
    Int2(Vec<i16>),
    Int4(Vec<i32>),
    Int8(Vec<i64>),
    Float4(Vec<f32>),
    Float8(Vec<f64>),
    Decimal(Vec<i128>),
    Micros(Vec<i64>),
    Interval(Vec<IntervalMonthDayNano>),
    Oid(Vec<u32>),
    /// Text, bytea and unconstrained numeric: bytes, and where each value ends.
    Bytes(Vec<u8>, Vec<i32>),
}

impl ColumnBuilder {
    /// An empty column with room for `capacity` values.
    pub fn new(data_type: &PgType, capacity: usize) -> ColumnBuilder {
        let values = match data_type {
            PgType::Bool => Values::Bool(Vec::with_capacity(capacity)),
            PgType::Int2 => Values::Int2(Vec::with_capacity(capacity)),
            PgType::Int4 | PgType::Date => Values::Int4(Vec::with_capacity(capacity)),
            PgType::Int8 => Values::Int8(Vec::with_capacity(capacity)),
            PgType::Float4 => Values::Float4(Vec::with_capacity(capacity)),
            PgType::Float8 => Values::Float8(Vec::with_capacity(capacity)),
            PgType::Numeric(Some(_)) => Values::Decimal(Vec::with_capacity(capacity)),
            PgType::Timestamp | PgType::Timestamptz | PgType::Time(_) => Values::Micros(Vec::with_capacity(capacity)),
            PgType::Interval => Values::Interval(Vec::with_capacity(capacity)),
            PgType::Oid => Values::Oid(Vec::with_capacity(capacity)),
            PgType::Numeric(None)
            | PgType::Text
            | PgType::Varchar(_)
            | PgType::Bytea
            | PgType::Array(_)
            | PgType::Uuid
            | PgType::Record
            | PgType::Bpchar(_)
            | PgType::Json
            | PgType::Jsonb => {
                let mut offsets = Vec::with_capacity(capacity + 1);
                offsets.push(0);
                Values::Bytes(Vec::with_capacity(capacity * 12), offsets)
            }
        };
        ColumnBuilder { data_type: data_type.clone(), zone: Zone::Utc, values, nulls: NullBufferBuilder::new(capacity) }
    }

    /// Reads timestamps without zone in this one instead of UTC.
    pub fn with_zone(mut self, zone: Zone) -> ColumnBuilder {
        self.zone = zone;
        self
    }

    /// The type of the column.
    pub fn data_type(&self) -> &PgType {
        &self.data_type
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the value whose text these bytes are; nothing is appended on a fault.
    #[inline]
    pub fn append_text(&mut self, bytes: &[u8]) -> Result<(), FieldFault> {
        let known = match (&mut self.values, &self.data_type) {
            (Values::Bytes(data, offsets), PgType::Text | PgType::Varchar(None)) => {
                return match append_checked(data, offsets, bytes) {
                    true => {
                        self.nulls.append_non_null();
                        Ok(())
                    }
                    false => Err(text_fault(bytes)),
                };
            }
            (Values::Int8(values), _) => push(values, fast_integer(bytes)),
            (Values::Decimal(values), PgType::Numeric(Some((precision, scale)))) => {
                push(values, fast_decimal(bytes, *precision, *scale))
            }
            (Values::Micros(values), PgType::Timestamp | PgType::Timestamptz) if self.zone == Zone::Utc => {
                push(values, datetime::parse_utc_timestamp(bytes))
            }
            (Values::Int4(values), PgType::Int4) => {
                push(values, fast_integer(bytes).and_then(|value| value.try_into().ok()))
            }
            (Values::Int2(values), _) => push(values, fast_integer(bytes).and_then(|value| value.try_into().ok())),
            _ => false,
        };
        if known {
            self.nulls.append_non_null();
            return Ok(());
        }
        self.append_slowly(bytes)
    }

    /// The general way.
    #[cold]
    #[inline(never)]
    fn append_slowly(&mut self, bytes: &[u8]) -> Result<(), FieldFault> {
        let scalar = parse_field(&self.data_type, bytes, &self.zone)?;
        self.append_scalar(&scalar).map_err(FieldFault)
    }

    /// Appends a null.
    #[inline]
    pub fn append_null(&mut self) {
        match &mut self.values {
            Values::Bool(values) => values.push(false),
            Values::Int2(values) => values.push(0),
            Values::Int4(values) => values.push(0),
            Values::Int8(values) | Values::Micros(values) => values.push(0),
            Values::Float4(values) => values.push(0.0),
            Values::Float8(values) => values.push(0.0),
            Values::Decimal(values) => values.push(0),
            Values::Interval(values) => values.push(IntervalMonthDayNano::ZERO),
            Values::Oid(values) => values.push(0),
            Values::Bytes(data, offsets) => offsets.push(data.len() as i32),
        }
        self.nulls.append_null();
    }

    /// Appends a scalar in the layout of the column's type; nothing is appended on an error.
    /// Errors 42804 for another type's, 54000 where the column's bytes pass 2 GiB.
    pub fn append_scalar(&mut self, scalar: &ScalarValue) -> Result<()> {
        if scalar.is_null() {
            self.append_null();
            return Ok(());
        }
        let fits = match (&mut self.values, scalar) {
            (Values::Bool(values), ScalarValue::Boolean(value)) => push(values, *value),
            (Values::Int2(values), ScalarValue::Int16(value)) => push(values, *value),
            (Values::Int4(values), ScalarValue::Int32(value) | ScalarValue::Date32(value)) => push(values, *value),
            (Values::Int8(values), ScalarValue::Int64(value)) => push(values, *value),
            (
                Values::Micros(values),
                ScalarValue::TimestampMicrosecond(value, _) | ScalarValue::Time64Microsecond(value),
            ) => push(values, *value),
            (Values::Float4(values), ScalarValue::Float32(value)) => push(values, *value),
            (Values::Float8(values), ScalarValue::Float64(value)) => push(values, *value),
            (Values::Decimal(values), ScalarValue::Decimal128(value, _, _)) => push(values, *value),
            (Values::Interval(values), ScalarValue::IntervalMonthDayNano(value)) => push(values, *value),
            (Values::Oid(values), ScalarValue::UInt32(value)) => push(values, *value),
            (Values::Bytes(data, offsets), ScalarValue::Utf8(Some(value))) => {
                append_bytes(data, offsets, value.as_bytes())?
            }
            (Values::Bytes(data, offsets), ScalarValue::Binary(Some(value))) => append_bytes(data, offsets, value)?,
            _ => false,
        };
        if !fits {
            let message = format!("a {} was given for a column of type {}", scalar.data_type(), self.data_type.name());
            return Err(Error::new(SqlState::DatatypeMismatch, message));
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Takes values back until `len` are left.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        match &mut self.values {
            Values::Bool(values) => values.truncate(len),
            Values::Int2(values) => values.truncate(len),
            Values::Int4(values) => values.truncate(len),
            Values::Int8(values) | Values::Micros(values) => values.truncate(len),
            Values::Float4(values) => values.truncate(len),
            Values::Float8(values) => values.truncate(len),
            Values::Decimal(values) => values.truncate(len),
            Values::Interval(values) => values.truncate(len),
            Values::Oid(values) => values.truncate(len),
            Values::Bytes(data, offsets) => {
                offsets.truncate(len + 1);
                data.truncate(offsets.last().map_or(0, |end| *end as usize));
            }
        }
        self.nulls.truncate(len);
    }

    /// Takes the last value back, if there is one.
    pub fn undo_last(&mut self) {
        self.truncate(self.len().saturating_sub(1));
    }

    /// The column; the builder is empty afterwards and can be used again.
    pub fn finish(&mut self) -> ArrayRef {
        let capacity = self.len();
        let fresh = ColumnBuilder::new(&self.data_type, capacity);
        let nulls = self.nulls.finish();
        let layout = self.data_type.arrow();
        let array: ArrayRef = match std::mem::replace(&mut self.values, fresh.values) {
            Values::Bool(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls)),
            Values::Int2(values) => primitive::<Int16Type>(values, nulls, &layout),
            Values::Int4(values) if self.data_type == PgType::Date => primitive::<Date32Type>(values, nulls, &layout),
            Values::Int4(values) => primitive::<Int32Type>(values, nulls, &layout),
            Values::Int8(values) => primitive::<Int64Type>(values, nulls, &layout),
            Values::Float4(values) => primitive::<Float32Type>(values, nulls, &layout),
            Values::Float8(values) => primitive::<Float64Type>(values, nulls, &layout),
            Values::Decimal(values) => primitive::<Decimal128Type>(values, nulls, &layout),
            Values::Micros(values) if matches!(self.data_type, PgType::Time(_)) => {
                primitive::<Time64MicrosecondType>(values, nulls, &layout)
            }
            Values::Micros(values) => primitive::<TimestampMicrosecondType>(values, nulls, &layout),
            Values::Interval(values) => primitive::<IntervalMonthDayNanoType>(values, nulls, &layout),
            Values::Oid(values) => primitive::<UInt32Type>(values, nulls, &layout),
            Values::Bytes(data, offsets) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                let data = Buffer::from_vec(data);
                match layout {
                    DataType::Utf8 => Arc::new(checked_strings(offsets, data, nulls)),
                    _ => Arc::new(BinaryArray::new(offsets, data, nulls)),
                }
            }
        };
        self.nulls = fresh.nulls;
        array
    }
}

/// The verdict of [`ColumnBuilder::append_text`] without building anything.
#[inline]
pub fn validate_text(data_type: &PgType, bytes: &[u8]) -> Result<(), FieldFault> {
    let known = match data_type {
        PgType::Text | PgType::Varchar(None) => {
            return if is_plain_ascii(bytes) || is_text(bytes) { Ok(()) } else { Err(text_fault(bytes)) };
        }
        PgType::Int8 => fast_integer(bytes).is_some(),
        PgType::Int4 => fast_integer(bytes).is_some_and(|value| i32::try_from(value).is_ok()),
        PgType::Int2 => fast_integer(bytes).is_some_and(|value| i16::try_from(value).is_ok()),
        PgType::Numeric(Some((precision, scale))) => fast_decimal(bytes, *precision, *scale).is_some(),
        PgType::Timestamp | PgType::Timestamptz => datetime::parse_utc_timestamp(bytes).is_some(),
        _ => false,
    };
    if known { Ok(()) } else { parse_field(data_type, bytes, &Zone::Utc).map(|_| ()) }
}

#[cold]
#[inline(never)]
fn parse_field(data_type: &PgType, bytes: &[u8], zone: &Zone) -> Result<ScalarValue, FieldFault> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.contains(&0) => parse::parse_text(data_type, text, zone).map_err(FieldFault),
        _ => Err(text_fault(bytes)),
    }
}

#[cold]
#[inline(never)]
fn text_fault(bytes: &[u8]) -> FieldFault {
    if is_text(bytes) { FieldFault(too_large()) } else { FieldFault(parse::invalid_bytes(bytes)) }
}

fn too_large() -> Error {
    Error::new(SqlState::ProgramLimitExceeded, "a column of one batch is limited to 2 GiB")
}

#[inline]
fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            values.push(value);
            true
        }
        None => false,
    }
}

/// Copies text over if it is valid; `false` if not, or if there is no room.
#[inline]
fn append_checked(data: &mut Vec<u8>, offsets: &mut Vec<i32>, bytes: &[u8]) -> bool {
    if !is_plain_ascii(bytes) && !is_text(bytes) {
        return false;
    }
    append_bytes(data, offsets, bytes).is_ok()
}

#[inline]
fn append_bytes(data: &mut Vec<u8>, offsets: &mut Vec<i32>, bytes: &[u8]) -> Result<bool> {
    let end = i32::try_from(data.len() + bytes.len()).map_err(|_| too_large())?;
    data.extend_from_slice(bytes);
    offsets.push(end);
    Ok(true)
}

/// Whether the bytes are ASCII without NUL; eight at a time.
#[inline]
fn is_plain_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut bad = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        // A borrow can only mark a byte above a true zero byte, and then the word is bad anyway.
        bad |= (word | word.wrapping_sub(ONES)) & HIGH;
    }
    for &byte in rest {
        bad |= u64::from((byte | byte.wrapping_sub(1)) & 0x80);
    }
    bad == 0
}

fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

/// An optional sign and up to 19 digits, eight at a time, if the number fits.
#[inline]
fn fast_integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    // Nineteen digits fit in 64 bits without sign.
    let mut value = 0u64;
    let (words, rest) = digits.as_chunks::<8>();
    for word in words {
        value = value * 100_000_000 + eight_digits(u64::from_le_bytes(*word))?;
    }
    for &byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    let value = i64::try_from(value).ok()?;
    Some(if negative { -value } else { value })
}

/// The number that eight ASCII digits are, the first in the lowest byte: neighbours are joined to
/// pairs, pairs to fours, fours to the whole.
#[inline]
fn eight_digits(word: u64) -> Option<u64> {
    const HIGH: u64 = 0xF0F0_F0F0_F0F0_F0F0;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let above_nine = word.wrapping_add(0x0606_0606_0606_0606);
    if word & HIGH != ZEROS || above_nine & HIGH != ZEROS {
        return None;
    }
    let ones = word - ZEROS;
    let pairs = (ones * 10 + (ones >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    Some((fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF)
}

/// `-35.79` as the unscaled value, for at most 18 digits with no more behind the point than the
/// scale.
#[inline]
fn fast_decimal(bytes: &[u8], precision: u8, scale: i8) -> Option<i128> {
    const POWERS: [i64; 19] = {
        let mut powers = [1i64; 19];
        let mut at = 1;
        while at < 19 {
            powers[at] = powers[at - 1] * 10;
            at += 1;
        }
        powers
    };
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    let mut point = None;
    for (at, &byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            if byte != b'.' || point.is_some() {
                return None;
            }
            point = Some(at);
            continue;
        }
        value = value * 10 + i64::from(digit);
    }
    let fraction = point.map_or(0, |at| digits.len() - 1 - at);
    let missing = usize::try_from(scale).ok()?.checked_sub(fraction)?;
    if digits.len() == usize::from(point.is_some()) {
        return None;
    }
    let unscaled = i128::from(value) * i128::from(*POWERS.get(missing)?);
    let limit = small_pow10(u32::from(precision))?;
    (unscaled < limit).then_some(if negative { -unscaled } else { unscaled })
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<arrow::buffer::NullBuffer>,
    layout: &DataType,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls).with_data_type(layout.clone()))
}

/// Every value was checked when it was appended, and UTF-8 stays UTF-8 when it is joined.
fn checked_strings(offsets: OffsetBuffer<i32>, data: Buffer, nulls: Option<arrow::buffer::NullBuffer>) -> StringArray {
    match StringArray::try_new(offsets, data, nulls) {
        Ok(array) => array,
        Err(_) => StringArray::new_null(0),
    }
}

/// The numeric that the bytes of an unconstrained numeric column are.
pub fn numeric_at(array: &BinaryArray, row: usize) -> Result<Option<Numeric>> {
    if array.is_null(row) { Ok(None) } else { Numeric::decode(array.value(row)).map(Some) }
}

#[cfg(test)]
mod tests;
