//! PostgreSQL's binary form of values: what `typsend` writes and `typreceive` reads.
//!
//! All integers are big-endian, times count from 2000. Reading checks every length; bytes that are
//! no value are 22P03. Knows nothing of messages and of nulls.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes as types;
use datafusion::scalar::ScalarValue;

use super::datetime::{DAY, INFINITY, Interval, NEG_INFINITY};
use super::numeric::Numeric;
use super::{PgType, Zone, parse, text};
use crate::error::{Error, Result, SqlState};

/// Days from 1970 to 2000.
const EPOCH_DAYS: i32 = 10_957;
/// Before the text of a jsonb.
const JSONB_VERSION: u8 = 1;
/// Microseconds from 1970 to 2000.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY;

/// Appends the binary form of one value that is known not to be null.
pub fn write_binary(data_type: &PgType, array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
    let normalized;
    let array = if *array.data_type() == data_type.arrow() {
        array
    } else {
        normalized = text::normalize(data_type, &array.slice(0, array.len()))?;
        normalized.as_ref()
    };
    match data_type {
        PgType::Bool => out.push(u8::from(array.as_boolean().value(row))),
        PgType::Int2 => out.extend(array.as_primitive::<types::Int16Type>().value(row).to_be_bytes()),
        PgType::Int4 => out.extend(array.as_primitive::<types::Int32Type>().value(row).to_be_bytes()),
        PgType::Int8 => out.extend(array.as_primitive::<types::Int64Type>().value(row).to_be_bytes()),
        PgType::Float4 => out.extend(array.as_primitive::<types::Float32Type>().value(row).to_be_bytes()),
        PgType::Float8 => out.extend(array.as_primitive::<types::Float64Type>().value(row).to_be_bytes()),
        PgType::Numeric(Some((_, scale))) => {
            let value = array.as_primitive::<types::Decimal128Type>().value(row);
            write_numeric(&Numeric::from_i128(value, i32::from(*scale)), out);
        }
        PgType::Numeric(None) => write_numeric(&Numeric::decode(array.as_binary::<i32>().value(row))?, out),
        PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_) | PgType::Json => {
            out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
        }
        PgType::Jsonb => {
            out.push(JSONB_VERSION);
            out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
        }
        PgType::Bytea => out.extend_from_slice(array.as_binary::<i32>().value(row)),
        PgType::Date => {
            let days = match array.as_primitive::<types::Date32Type>().value(row) {
                infinite @ (i32::MAX | i32::MIN) => infinite,
                days => days - EPOCH_DAYS,
            };
            out.extend(days.to_be_bytes());
        }
        PgType::Timestamp | PgType::Timestamptz => {
            let micros = match array.as_primitive::<types::TimestampMicrosecondType>().value(row) {
                infinite @ (INFINITY | NEG_INFINITY) => infinite,
                micros => micros - EPOCH_MICROS,
            };
            out.extend(micros.to_be_bytes());
        }
        PgType::Interval => {
            let value = Interval::from_arrow(array.as_primitive::<types::IntervalMonthDayNanoType>().value(row));
            out.extend(value.micros.to_be_bytes());
            out.extend(value.days.to_be_bytes());
            out.extend(value.months.to_be_bytes());
        }
        PgType::Oid => out.extend(array.as_primitive::<types::UInt32Type>().value(row).to_be_bytes()),
        PgType::Array(element) => super::array::write_wire(element, array.as_binary::<i32>().value(row), out)?,
        PgType::Time(_) => out.extend(array.as_primitive::<types::Time64MicrosecondType>().value(row).to_be_bytes()),
        PgType::Uuid => out.extend_from_slice(array.as_binary::<i32>().value(row)),
        PgType::Record => super::record::write_wire(array.as_binary::<i32>().value(row), out)?,
    }
    Ok(())
}

/// The value of a binary form. Errors 22P03, 22021, 22003, 22008, 22001.
pub fn read_binary(data_type: &PgType, bytes: &[u8]) -> Result<ScalarValue> {
    Ok(match data_type {
        PgType::Bool => ScalarValue::Boolean(Some(fixed::<1>(data_type, bytes)?[0] != 0)),
        PgType::Int2 => ScalarValue::Int16(Some(i16::from_be_bytes(fixed(data_type, bytes)?))),
        PgType::Int4 => ScalarValue::Int32(Some(i32::from_be_bytes(fixed(data_type, bytes)?))),
        PgType::Int8 => ScalarValue::Int64(Some(i64::from_be_bytes(fixed(data_type, bytes)?))),
        PgType::Float4 => ScalarValue::Float32(Some(f32::from_be_bytes(fixed(data_type, bytes)?))),
        PgType::Float8 => ScalarValue::Float64(Some(f64::from_be_bytes(fixed(data_type, bytes)?))),
        PgType::Numeric(Some((precision, scale))) => {
            let unscaled = read_numeric(bytes)?.to_decimal128(*precision, *scale)?;
            ScalarValue::Decimal128(Some(unscaled), *precision, *scale)
        }
        PgType::Numeric(None) => {
            let mut encoded = Vec::new();
            read_numeric(bytes)?.encode(&mut encoded);
            ScalarValue::Binary(Some(encoded))
        }
        PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_) | PgType::Json => read_text(data_type, bytes)?,
        PgType::Jsonb => match bytes.split_first() {
            Some((&JSONB_VERSION, text)) => read_text(data_type, text)?,
            Some((version, _)) => {
                return Err(Error::internal(format!("unsupported jsonb version number {version}")));
            }
            None => return Err(damaged("jsonb")),
        },
        PgType::Bytea => ScalarValue::Binary(Some(bytes.to_vec())),
        PgType::Date => ScalarValue::Date32(Some(match i32::from_be_bytes(fixed(data_type, bytes)?) {
            infinite @ (i32::MAX | i32::MIN) => infinite,
            days => super::datetime::checked_date(i64::from(days) + i64::from(EPOCH_DAYS))?,
        })),
        PgType::Timestamp => ScalarValue::TimestampMicrosecond(Some(read_micros(data_type, bytes)?), None),
        PgType::Timestamptz => {
            ScalarValue::TimestampMicrosecond(Some(read_micros(data_type, bytes)?), Some(Arc::from("UTC")))
        }
        PgType::Interval => {
            let value = i128::from_be_bytes(fixed(data_type, bytes)?);
            let (micros, days, months) = ((value >> 64) as i64, (value >> 32) as i32, value as i32);
            let interval = Interval::checked(i64::from(months), i64::from(days), micros)?;
            ScalarValue::IntervalMonthDayNano(Some(interval.to_arrow()))
        }
        PgType::Oid => ScalarValue::UInt32(Some(u32::from_be_bytes(fixed(data_type, bytes)?))),
        PgType::Array(element) => ScalarValue::Binary(Some(super::array::read_wire(element, bytes)?)),
        PgType::Time(digits) => {
            let micros = i64::from_be_bytes(fixed(data_type, bytes)?);
            if !(0..=DAY).contains(&micros) {
                return Err(Error::new(SqlState::DatetimeOverflow, "time out of range"));
            }
            ScalarValue::Time64Microsecond(Some(super::datetime::round_time(micros, *digits)))
        }
        PgType::Uuid => ScalarValue::Binary(Some(fixed::<16>(data_type, bytes)?.to_vec())),
        PgType::Record => return Err(super::record::no_input()),
    })
}

/// What a text is in one of the types whose binary form is text.
fn read_text(data_type: &PgType, bytes: &[u8]) -> Result<ScalarValue> {
    let text = std::str::from_utf8(bytes).map_err(|_| parse::invalid_bytes(bytes))?;
    parse::parse_text(data_type, text, &Zone::Utc)
}

fn damaged(data_type: &str) -> Error {
    Error::new(SqlState::InvalidBinaryRepresentation, format!("incorrect binary data format for type {data_type}"))
}

fn fixed<const N: usize>(data_type: &PgType, bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| damaged(&data_type.name()))
}

fn read_micros(data_type: &PgType, bytes: &[u8]) -> Result<i64> {
    let beyond = || Error::new(SqlState::DatetimeOverflow, "timestamp out of range");
    match i64::from_be_bytes(fixed(data_type, bytes)?) {
        infinite @ (INFINITY | NEG_INFINITY) => Ok(infinite),
        micros => {
            let micros = micros.checked_add(EPOCH_MICROS).ok_or_else(beyond)?;
            super::datetime::instant(micros.div_euclid(DAY), micros.rem_euclid(DAY)).ok_or_else(beyond)
        }
    }
}

const POSITIVE: u16 = 0;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const PLUS_INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;

/// Digits in base 10000: their count, the weight of the first, sign, display scale, digits.
fn write_numeric(number: &Numeric, out: &mut Vec<u8>) {
    let mut head = |digits: u16, weight: i16, sign: u16, scale: u16| {
        out.extend(digits.to_be_bytes());
        out.extend(weight.to_be_bytes());
        out.extend(sign.to_be_bytes());
        out.extend(scale.to_be_bytes());
    };
    if !number.is_finite() {
        let sign = match number.signum() {
            _ if number.is_nan() => NAN,
            1 => PLUS_INFINITY,
            _ => MINUS_INFINITY,
        };
        // PostgreSQL sends the scale field as 32 for the infinities of typreceive's benefit: 0x20.
        return head(0, 0, sign, if number.is_nan() { 0 } else { 0x20 });
    }
    let text = number.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut padded = "0".repeat((4 - whole.len() % 4) % 4);
    padded.push_str(whole);
    let places_before = padded.len() / 4;
    padded.push_str(fraction);
    padded.push_str(&"0".repeat((4 - fraction.len() % 4) % 4));
    let digits: Vec<u16> = padded
        .as_bytes()
        .chunks(4)
        .map(|four| four.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
        .collect();
    let start = digits.iter().position(|digit| *digit != 0).unwrap_or(digits.len());
    let end = digits.iter().rposition(|digit| *digit != 0).map_or(start, |last| last + 1);
    let weight = if start == end { 0 } else { places_before as i32 - 1 - start as i32 };
    let sign = if number.signum() < 0 { NEGATIVE } else { POSITIVE };
    head((end - start) as u16, weight as i16, sign, number.scale() as u16);
    for digit in &digits[start..end] {
        out.extend(digit.to_be_bytes());
    }
}

fn read_numeric(bytes: &[u8]) -> Result<Numeric> {
    let wrong = |what: &str| {
        Error::new(SqlState::InvalidBinaryRepresentation, format!("invalid {what} in external \"numeric\" value"))
    };
    if bytes.len() < 8 || !bytes.len().is_multiple_of(2) {
        return Err(damaged("numeric"));
    }
    let short = |at: usize| u16::from_be_bytes([bytes[at * 2], bytes[at * 2 + 1]]);
    let (count, weight, sign, scale) =
        (usize::from(short(0)), i32::from(short(1) as i16), short(2), u32::from(short(3)));
    match sign {
        NAN => return Ok(Numeric::NAN),
        PLUS_INFINITY => return Ok(Numeric::INFINITY),
        MINUS_INFINITY => return Ok(Numeric::NEG_INFINITY),
        POSITIVE | NEGATIVE => {}
        _ => return Err(wrong("sign")),
    }
    if scale > super::numeric::MAX_SCALE {
        return Err(wrong("scale"));
    }
    if bytes.len() != 8 + count * 2 {
        return Err(damaged("numeric"));
    }
    let mut text = String::with_capacity(count * 4 + 16);
    text.push(if sign == NEGATIVE { '-' } else { '+' });
    for at in 0..count {
        let digit = short(4 + at);
        if digit > 9999 {
            return Err(wrong("digit"));
        }
        text.push_str(&format!("{digit:04}"));
    }
    if count == 0 {
        text.push('0');
    }
    // Digits beyond the display scale are cut, as PostgreSQL does.
    text.push_str(&format!("e{}", (i64::from(weight) + 1 - count as i64) * 4));
    Numeric::parse(&text)?.trunc_to(scale)
}
