//! Casts between the types, with PostgreSQL's rounding, limits and errors.
//!
//! Works on whole columns; the first value that cannot be cast fails the call, and the caller
//! bisects. Which casts apply by themselves is [`castable`]'s answer, not this module's choice.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, BooleanArray, PrimitiveArray, StringArray,
    StringBuilder,
};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};

use super::builder::ColumnBuilder;
use super::datetime::{self, DAY};
use super::numeric::{Numeric, small_pow10};
use super::text::{TextStyle, TextWriter, normalize};
use super::{PgType, json, parse};
use crate::error::{Error, Result, SqlState};

/// Where a cast applies (pg_cast.castcontext).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastContext {
    /// Anywhere.
    Implicit,
    /// When a value is stored into a column, and explicitly.
    Assignment,
    /// Only where it is written: `CAST(x AS t)`, `x::t`.
    Explicit,
}

/// Whether and where one type is cast to another, as PostgreSQL's pg_cast has it.
pub fn castable(from: &PgType, to: &PgType) -> Option<CastContext> {
    use CastContext::{Assignment, Explicit, Implicit};
    use PgType::*;
    if from.base() == to.base() {
        return Some(Implicit);
    }
    match (from, to) {
        (Array(from), Array(to)) => castable(from, to),
        (Text | Varchar(_) | Bpchar(_), Text | Varchar(_) | Bpchar(_)) => Some(Implicit),
        (_, Text | Varchar(_) | Bpchar(_)) => Some(Assignment),
        (Text | Varchar(_) | Bpchar(_), _) => Some(Explicit),
        (Json, Jsonb) | (Jsonb, Json) => Some(Assignment),
        (Jsonb, Bool | Int2 | Int4 | Int8 | Float4 | Float8 | Numeric(_)) => Some(Explicit),
        (Int2, Int4 | Int8 | Float4 | Float8 | Numeric(_) | Oid) => Some(Implicit),
        (Int4, Int8 | Float4 | Float8 | Numeric(_) | Oid) => Some(Implicit),
        (Int8, Float4 | Float8 | Numeric(_) | Oid) => Some(Implicit),
        (Float4, Float8) | (Numeric(_), Float4 | Float8) => Some(Implicit),
        (Int4, Int2) | (Int8, Int2 | Int4) | (Oid, Int4 | Int8) => Some(Assignment),
        (Float4, Int2 | Int4 | Int8 | Numeric(_)) => Some(Assignment),
        (Float8, Int2 | Int4 | Int8 | Float4 | Numeric(_)) => Some(Assignment),
        (Numeric(_), Int2 | Int4 | Int8) => Some(Assignment),
        (Int4, Bool) | (Bool, Int4) => Some(Explicit),
        (Date, Timestamp | Timestamptz) | (Timestamp, Timestamptz) => Some(Implicit),
        (Timestamp, Date) | (Timestamptz, Date | Timestamp) => Some(Assignment),
        (Time(_), Interval) => Some(Implicit),
        (Timestamp | Timestamptz | Interval, Time(_)) => Some(Assignment),
        _ => None,
    }
}

/// An explicit cast of a column: `x::varchar(2)` cuts. Errors 42846 where there is no such cast,
/// else those of the value.
pub fn cast(array: &ArrayRef, from: &PgType, to: &PgType, style: &TextStyle) -> Result<ArrayRef> {
    convert(array, from, to, style, true)
}

/// A cast as INSERT does it: text that is too long for its column is 22001.
pub fn assign(array: &ArrayRef, from: &PgType, to: &PgType, style: &TextStyle) -> Result<ArrayRef> {
    convert(array, from, to, style, false)
}

fn convert(array: &ArrayRef, from: &PgType, to: &PgType, style: &TextStyle, explicit: bool) -> Result<ArrayRef> {
    if castable(from, to).is_none() {
        let message = format!("cannot cast type {} to {}", from.base().name(), to.base().name());
        return Err(Error::new(SqlState::CannotCoerce, message));
    }
    let array = &normalize(from, array)?;
    if from == to {
        return Ok(array.clone());
    }
    match (from, to) {
        (PgType::Bpchar(_), PgType::Text | PgType::Varchar(_)) => {
            let bare = array.as_string::<i32>().iter().map(|text| text.map(|text| text.trim_end_matches(' ')));
            let bare: ArrayRef = Arc::new(bare.collect::<StringArray>());
            convert(&bare, &PgType::Text, to, style, explicit)
        }
        (PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_), PgType::Bpchar(length)) => {
            fill(array.as_string(), *length, explicit)
        }
        (_, PgType::Bpchar(length)) => fill(&print(array, from, style)?, *length, explicit),
        (PgType::Text | PgType::Varchar(_), PgType::Text | PgType::Varchar(None)) => Ok(array.clone()),
        (PgType::Text | PgType::Varchar(_), PgType::Varchar(Some(length))) => fit(array.as_string(), *length, explicit),
        (_, PgType::Text | PgType::Varchar(_)) => {
            let printed = print(array, from, style)?;
            match to {
                PgType::Varchar(Some(length)) => fit(&printed, *length, explicit),
                _ => Ok(Arc::new(printed)),
            }
        }
        // Of a jsonb all that is written is JSON, and the other way round its normal form is made.
        (PgType::Jsonb, PgType::Json) => Ok(array.clone()),
        (PgType::Jsonb, _) => from_jsonb(array, to, style),
        (PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_) | PgType::Json, _) => {
            let mut builder = ColumnBuilder::new(to, array.len()).with_zone(style.zone.clone());
            for text in array.as_string::<i32>() {
                match text {
                    Some(text) => builder.append_text(text.as_bytes())?,
                    None => builder.append_null(),
                }
            }
            Ok(builder.finish())
        }
        (PgType::Array(from), PgType::Array(to)) => {
            super::array::convert(array.as_binary(), from, to, |values| convert(values, from, to, style, explicit))
        }
        (PgType::Time(_), _) | (_, PgType::Time(_)) => convert_time_of_day(array, from, to, style),
        (_, PgType::Numeric(_)) => to_numeric(array, from, to),
        (PgType::Numeric(_), _) => from_numeric(array, from, to),
        (PgType::Date | PgType::Timestamp | PgType::Timestamptz, _) => convert_time(array, from, to, style),
        (PgType::Bool, _) => {
            let values = array.as_boolean();
            Ok(Arc::new(values.iter().map(|value| value.map(i32::from)).collect::<PrimitiveArray<Int32Type>>()))
        }
        (_, PgType::Bool) => {
            let values = array.as_primitive::<Int32Type>();
            Ok(Arc::new(values.iter().map(|value| value.map(|value| value != 0)).collect::<BooleanArray>()))
        }
        (PgType::Float4 | PgType::Float8, _) => from_float(array, from, to),
        _ => from_integer(array, from, to),
    }
}

/// Casts of jsonb to truth values and numbers.
fn from_jsonb(array: &ArrayRef, to: &PgType, style: &TextStyle) -> Result<ArrayRef> {
    let texts = array.as_string::<i32>();
    if *to == PgType::Bool {
        let values = texts.iter().map(|text| text.map(json::bool_of).transpose());
        return Ok(Arc::new(values.collect::<Result<BooleanArray>>()?));
    }
    let name = to.base().name();
    let mut numbers = BinaryBuilder::new();
    let mut bytes = Vec::new();
    for text in texts {
        bytes.clear();
        if let Some(text) = text {
            json::number_of(text, &name)?.encode(&mut bytes);
        }
        numbers.append_option(text.map(|_| &bytes));
    }
    let numbers: ArrayRef = Arc::new(numbers.finish());
    convert(&numbers, &PgType::Numeric(None), to, style, true)
}

/// Applies `f` to every value that is not null, and keeps the nulls.
fn map<S, T>(array: &dyn Array, f: impl Fn(S::Native) -> Result<T::Native>) -> Result<PrimitiveArray<T>>
where
    S: ArrowPrimitiveType,
    T: ArrowPrimitiveType,
{
    let source = array.as_primitive::<S>();
    let mut values = vec![T::Native::default(); source.len()];
    match source.nulls() {
        None => {
            for (value, slot) in source.values().iter().zip(&mut values) {
                *slot = f(*value)?;
            }
        }
        Some(nulls) => {
            for row in nulls.valid_indices() {
                values[row] = f(source.value(row))?;
            }
        }
    }
    Ok(PrimitiveArray::new(values.into(), source.nulls().cloned()))
}

fn print(array: &ArrayRef, from: &PgType, style: &TextStyle) -> Result<StringArray> {
    // The text of a boolean cast is the word, not psql's letter.
    if *from == PgType::Bool {
        let words = array.as_boolean().iter();
        return Ok(words.map(|value| value.map(|value| if value { "true" } else { "false" })).collect());
    }
    let writer = TextWriter::new(from, array)?;
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 12);
    let mut text = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        writer.write(row, style, &mut text);
        builder.append_value(&text);
    }
    Ok(builder.finish())
}

fn fit(array: &StringArray, length: u32, explicit: bool) -> Result<ArrayRef> {
    let cut = |text: &str| -> Result<usize> {
        let cut = if explicit { parse::cut_varchar(text, length) } else { parse::checked_varchar(text, length)? };
        Ok(cut.len())
    };
    let mut builder = StringBuilder::with_capacity(array.len(), array.value_data().len());
    for text in array {
        match text {
            Some(text) => builder.append_value(&text[..cut(text)?]),
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// Text as char(n) holds it.
fn fill(array: &StringArray, length: Option<u32>, explicit: bool) -> Result<ArrayRef> {
    let Some(length) = length else { return Ok(Arc::new(array.clone())) };
    let mut builder = StringBuilder::with_capacity(array.len(), array.value_data().len());
    for text in array {
        builder.append_option(match text {
            Some(text) if explicit => Some(parse::filled(parse::cut_varchar(text, length), length)),
            Some(text) => Some(parse::checked_bpchar(text, Some(length))?),
            None => None,
        });
    }
    Ok(Arc::new(builder.finish()))
}

fn beyond(to: &PgType) -> Error {
    let name = if *to == PgType::Oid { "OID".to_string() } else { to.name() };
    Error::new(SqlState::NumericOutOfRange, format!("{name} out of range"))
}

/// Casts between the integers, oid, and to the floats.
fn from_integer(array: &ArrayRef, from: &PgType, to: &PgType) -> Result<ArrayRef> {
    match from {
        PgType::Int2 => integer_to::<Int16Type>(array, to),
        PgType::Int4 => integer_to::<Int32Type>(array, to),
        PgType::Oid => integer_to::<UInt32Type>(array, to),
        _ => integer_to::<Int64Type>(array, to),
    }
}

fn integer_to<S>(array: &ArrayRef, to: &PgType) -> Result<ArrayRef>
where
    S: ArrowPrimitiveType,
    S::Native: Into<i128> + Copy,
{
    let wide = |value: S::Native| -> i64 {
        let value: i128 = value.into();
        value as i64
    };
    let fault = || beyond(to);
    Ok(match to {
        PgType::Int2 => Arc::new(map::<S, Int16Type>(array, |value| wide(value).try_into().map_err(|_| fault()))?),
        // An oid keeps its bits.
        PgType::Int4 if S::DATA_TYPE == arrow::datatypes::DataType::UInt32 => {
            Arc::new(map::<S, Int32Type>(array, |value| Ok(wide(value) as i32))?)
        }
        PgType::Int4 => Arc::new(map::<S, Int32Type>(array, |value| wide(value).try_into().map_err(|_| fault()))?),
        PgType::Int8 => Arc::new(map::<S, Int64Type>(array, |value| Ok(wide(value)))?),
        PgType::Float4 => Arc::new(map::<S, Float32Type>(array, |value| Ok(wide(value) as f32))?),
        PgType::Float8 => Arc::new(map::<S, Float64Type>(array, |value| Ok(wide(value) as f64))?),
        PgType::Oid => Arc::new(map::<S, UInt32Type>(array, |value| match i32::try_from(wide(value)) {
            Ok(narrow) if S::DATA_TYPE != arrow::datatypes::DataType::Int64 => Ok(narrow as u32),
            _ => u32::try_from(wide(value)).map_err(|_| fault()),
        })?),
        _ => return Err(Error::internal(format!("no integer cast to {}", to.name()))),
    })
}

/// Casts of the floats to integers (halves to even) and to each other.
fn from_float(array: &ArrayRef, from: &PgType, to: &PgType) -> Result<ArrayRef> {
    let whole = |value: f64, low: f64, high: f64| -> Result<i64> {
        let rounded = value.round_ties_even();
        // `high` is the first value that does not fit; NaN fails both comparisons.
        if rounded >= low && rounded < high { Ok(rounded as i64) } else { Err(beyond(to)) }
    };
    macro_rules! integers {
        ($source:ty) => {
            match to {
                PgType::Int2 => Arc::new(map::<$source, Int16Type>(array, |value| {
                    Ok(whole(f64::from(value), -32_768.0, 32_768.0)? as i16)
                })?),
                PgType::Int4 => Arc::new(map::<$source, Int32Type>(array, |value| {
                    Ok(whole(f64::from(value), -2_147_483_648.0, 2_147_483_648.0)? as i32)
                })?),
                PgType::Int8 => {
                    let bound = 9_223_372_036_854_775_808.0;
                    Arc::new(map::<$source, Int64Type>(array, |value| whole(f64::from(value), -bound, bound))?)
                }
                PgType::Float8 => Arc::new(map::<$source, Float64Type>(array, |value| Ok(f64::from(value)))?),
                _ => Arc::new(map::<$source, Float32Type>(array, |value| narrow(f64::from(value)))?),
            }
        };
    }
    Ok(if *from == PgType::Float4 { integers!(Float32Type) } else { integers!(Float64Type) })
}

/// A double as a real.
fn narrow(value: f64) -> Result<f32> {
    let small = value as f32;
    if small.is_infinite() && value.is_finite() {
        return Err(Error::new(SqlState::NumericOutOfRange, "value out of range: overflow"));
    }
    if small == 0.0 && value != 0.0 {
        return Err(Error::new(SqlState::NumericOutOfRange, "value out of range: underflow"));
    }
    Ok(small)
}

/// Casts to numeric and to numeric(p,s).
fn to_numeric(array: &ArrayRef, from: &PgType, to: &PgType) -> Result<ArrayRef> {
    if let PgType::Numeric(Some((precision, scale))) = to
        && let Some(done) = integer_to_decimal(array, from, *precision, *scale)?
    {
        return Ok(done);
    }
    let number: Box<dyn Fn(usize) -> Result<Numeric> + '_> = match from {
        PgType::Int2 => Box::new(|row| Ok(Numeric::from(i64::from(array.as_primitive::<Int16Type>().value(row))))),
        PgType::Int4 => Box::new(|row| Ok(Numeric::from(i64::from(array.as_primitive::<Int32Type>().value(row))))),
        PgType::Int8 => Box::new(|row| Ok(Numeric::from(array.as_primitive::<Int64Type>().value(row)))),
        PgType::Float4 => Box::new(|row| Ok(Numeric::from_f32(array.as_primitive::<Float32Type>().value(row)))),
        PgType::Float8 => Box::new(|row| Ok(Numeric::from_f64(array.as_primitive::<Float64Type>().value(row)))),
        PgType::Numeric(Some((_, scale))) => {
            let values = array.as_primitive::<Decimal128Type>();
            Box::new(|row| Ok(Numeric::from_i128(values.value(row), i32::from(*scale))))
        }
        _ => Box::new(|row| Numeric::decode(array.as_binary::<i32>().value(row))),
    };
    match to {
        PgType::Numeric(Some((precision, scale))) => {
            let mut values = vec![0; array.len()];
            for (row, slot) in values.iter_mut().enumerate().filter(|(row, _)| array.is_valid(*row)) {
                *slot = number(row)?.to_decimal128(*precision, *scale)?;
            }
            let built = PrimitiveArray::<Decimal128Type>::new(values.into(), array.nulls().cloned());
            Ok(Arc::new(built.with_data_type(to.arrow())))
        }
        _ => {
            let mut builder = BinaryBuilder::with_capacity(array.len(), array.len() * 8);
            let mut bytes = Vec::new();
            for row in 0..array.len() {
                if array.is_null(row) {
                    builder.append_null();
                    continue;
                }
                bytes.clear();
                number(row)?.encode(&mut bytes);
                builder.append_value(&bytes);
            }
            Ok(Arc::new(builder.finish()))
        }
    }
}

/// The short way for integers, and for decimals whose digits only grow: one multiplication.
fn integer_to_decimal(array: &ArrayRef, from: &PgType, precision: u8, scale: i8) -> Result<Option<ArrayRef>> {
    let own = match from {
        PgType::Int2 | PgType::Int4 | PgType::Int8 => 0,
        PgType::Numeric(Some((_, own))) if *own <= scale => *own,
        _ => return Ok(None),
    };
    let (Some(factor), Some(limit)) = (small_pow10((scale - own) as u32), small_pow10(u32::from(precision))) else {
        return Ok(None);
    };
    let grow = |value: i128| -> Result<i128> {
        match value.checked_mul(factor) {
            Some(unscaled) if unscaled.unsigned_abs() < limit.unsigned_abs() => Ok(unscaled),
            // The general way words the error.
            _ => Numeric::from_i128(value, i32::from(own)).to_decimal128(precision, scale),
        }
    };
    let built = match from {
        PgType::Int2 => map::<Int16Type, Decimal128Type>(array, |value| grow(i128::from(value)))?,
        PgType::Int4 => map::<Int32Type, Decimal128Type>(array, |value| grow(i128::from(value)))?,
        PgType::Int8 => map::<Int64Type, Decimal128Type>(array, |value| grow(i128::from(value)))?,
        _ => map::<Decimal128Type, Decimal128Type>(array, grow)?,
    };
    Ok(Some(Arc::new(built.with_data_type(PgType::Numeric(Some((precision, scale))).arrow()))))
}

/// Casts of numeric to integers (halves away from zero) and floats.
fn from_numeric(array: &ArrayRef, from: &PgType, to: &PgType) -> Result<ArrayRef> {
    let number = |row: usize| match from {
        PgType::Numeric(Some((_, scale))) => {
            Ok(Numeric::from_i128(array.as_primitive::<Decimal128Type>().value(row), i32::from(*scale)))
        }
        _ => Numeric::decode(array.as_binary::<i32>().value(row)),
    };
    let name = to.name();
    let integer = |row: usize| number(row)?.to_i64(&name);
    Ok(match to {
        PgType::Int2 => each::<Int16Type>(array, |row| integer(row)?.try_into().map_err(|_| beyond(to)))?,
        PgType::Int4 => each::<Int32Type>(array, |row| integer(row)?.try_into().map_err(|_| beyond(to)))?,
        PgType::Int8 => each::<Int64Type>(array, integer)?,
        PgType::Float4 => each::<Float32Type>(array, |row| {
            let number = number(row)?;
            let value: f32 = number.to_string().parse().unwrap_or(f32::NAN);
            if number.is_finite() && (value.is_infinite() || (value == 0.0 && !number.is_zero())) {
                return Err(unfit(&number, "real"));
            }
            Ok(value)
        })?,
        _ => each::<Float64Type>(array, |row| {
            let number = number(row)?;
            let value = number.to_f64();
            if number.is_finite() && (value.is_infinite() || (value == 0.0 && !number.is_zero())) {
                return Err(unfit(&number, "double precision"));
            }
            Ok(value)
        })?,
    })
}

fn unfit(number: &Numeric, type_name: &str) -> Error {
    Error::new(SqlState::NumericOutOfRange, format!("\"{number}\" is out of range for type {type_name}"))
}

/// A column from a function of the row, called where `array` is not null.
fn each<T: ArrowPrimitiveType>(array: &ArrayRef, f: impl Fn(usize) -> Result<T::Native>) -> Result<ArrayRef> {
    let mut values = vec![T::Native::default(); array.len()];
    for (row, slot) in values.iter_mut().enumerate().filter(|(row, _)| array.is_valid(*row)) {
        *slot = f(row)?;
    }
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), array.nulls().cloned())))
}

/// Casts between date, timestamp and timestamptz.
fn convert_time(array: &ArrayRef, from: &PgType, to: &PgType, style: &TextStyle) -> Result<ArrayRef> {
    let midnight = |days: i32| -> Result<i64> {
        match days {
            datetime::DATE_INFINITY => Ok(datetime::INFINITY),
            datetime::DATE_NEG_INFINITY => Ok(datetime::NEG_INFINITY),
            _ => datetime::instant(i64::from(days), 0)
                .ok_or_else(|| Error::new(SqlState::DatetimeOverflow, "date out of range for timestamp")),
        }
    };
    let day = |micros: i64| -> i32 {
        match micros {
            datetime::INFINITY => datetime::DATE_INFINITY,
            datetime::NEG_INFINITY => datetime::DATE_NEG_INFINITY,
            _ => micros.div_euclid(DAY) as i32,
        }
    };
    type Micros = TimestampMicrosecondType;
    let zone = &style.zone;
    let times: PrimitiveArray<Micros> = match (from, to) {
        (PgType::Date, PgType::Timestamp) => map::<Date32Type, Micros>(array, midnight)?,
        (PgType::Date, _) => {
            map::<Date32Type, Micros>(array, |days| datetime::timestamp_to_timestamptz(midnight(days)?, zone))?
        }
        (PgType::Timestamp, PgType::Date) => return Ok(Arc::new(map::<Micros, Date32Type>(array, |at| Ok(day(at)))?)),
        (PgType::Timestamptz, PgType::Date) => {
            let local = |at| datetime::timestamptz_to_timestamp(at, zone).map(day);
            return Ok(Arc::new(map::<Micros, Date32Type>(array, local)?));
        }
        (PgType::Timestamp, _) => map::<Micros, Micros>(array, |at| datetime::timestamp_to_timestamptz(at, zone))?,
        _ => map::<Micros, Micros>(array, |at| datetime::timestamptz_to_timestamp(at, zone))?,
    };
    Ok(Arc::new(times.with_data_type(to.arrow())))
}

/// Casts from and to time; the digits of the second are those of the target.
fn convert_time_of_day(array: &ArrayRef, from: &PgType, to: &PgType, style: &TextStyle) -> Result<ArrayRef> {
    type Micros = TimestampMicrosecondType;
    type Span = IntervalMonthDayNanoType;
    type Clock = Time64MicrosecondType;
    let digits = if let PgType::Time(digits) = to { *digits } else { None };
    let of_moment = |at: i64| match at {
        datetime::INFINITY | datetime::NEG_INFINITY => Ok(None),
        finite => Ok(Some(datetime::round_time(finite.rem_euclid(DAY), digits))),
    };
    let moments = |value: &dyn Fn(i64) -> Result<Option<i64>>| -> Result<ArrayRef> {
        let times = array.as_primitive::<Micros>().iter().map(|at| at.map_or(Ok(None), value));
        Ok(Arc::new(times.collect::<Result<PrimitiveArray<Clock>>>()?))
    };
    match (from, to) {
        (PgType::Time(_), PgType::Time(_)) => {
            Ok(Arc::new(map::<Clock, Clock>(array, |micros| Ok(datetime::round_time(micros, digits)))?))
        }
        (PgType::Time(_), _) => Ok(Arc::new(map::<Clock, Span>(array, |micros| {
            Ok(datetime::Interval { months: 0, days: 0, micros }.to_arrow())
        })?)),
        (PgType::Interval, _) => Ok(Arc::new(map::<Span, Clock>(array, |value| {
            let micros = datetime::Interval::from_arrow(value).micros.rem_euclid(DAY);
            Ok(datetime::round_time(micros, digits))
        })?)),
        (PgType::Timestamp, _) => moments(&of_moment),
        _ => moments(&|at| of_moment(datetime::timestamptz_to_timestamp(at, &style.zone)?)),
    }
}
