//! Reading single values from their text form, with PostgreSQL's errors.
//!
//! The general way: every form that PostgreSQL accepts, and the error where there is none. The
//! fast way over bytes is [`super::builder`].

use std::sync::Arc;

use datafusion::scalar::ScalarValue;

use super::datetime::{self, Interval, Zone};
use super::numeric::Numeric;
use super::{PgType, float, json, uuid};
use crate::error::{Error, Result, SqlState};

/// The value that `text` is in the given type, in the engine's Arrow layout. A timestamptz without
/// zone is read in `zone`. Errors 22P02, 22003, 22007, 22008, 22001, 22021.
pub fn parse_text(data_type: &PgType, text: &str, zone: &Zone) -> Result<ScalarValue> {
    Ok(match data_type {
        PgType::Bool => ScalarValue::Boolean(Some(parse_bool(text)?)),
        PgType::Int2 => ScalarValue::Int16(Some(parse_integer(text, "smallint")?)),
        PgType::Int4 => ScalarValue::Int32(Some(parse_integer(text, "integer")?)),
        PgType::Int8 => ScalarValue::Int64(Some(parse_integer(text, "bigint")?)),
        PgType::Float4 => ScalarValue::Float32(Some(float::parse_f32(text)?)),
        PgType::Float8 => ScalarValue::Float64(Some(float::parse_f64(text)?)),
        PgType::Numeric(Some((precision, scale))) => {
            let unscaled = Numeric::parse(text)?.to_decimal128(*precision, *scale)?;
            ScalarValue::Decimal128(Some(unscaled), *precision, *scale)
        }
        PgType::Numeric(None) => {
            let mut bytes = Vec::new();
            Numeric::parse(text)?.encode(&mut bytes);
            ScalarValue::Binary(Some(bytes))
        }
        PgType::Text | PgType::Varchar(None) => ScalarValue::Utf8(Some(checked_text(text)?.to_string())),
        PgType::Varchar(Some(length)) => {
            ScalarValue::Utf8(Some(checked_varchar(checked_text(text)?, *length)?.to_string()))
        }
        PgType::Bpchar(length) => ScalarValue::Utf8(Some(checked_bpchar(checked_text(text)?, *length)?)),
        PgType::Json => {
            json::check(checked_text(text)?)?;
            ScalarValue::Utf8(Some(text.to_string()))
        }
        PgType::Jsonb => ScalarValue::Utf8(Some(json::normalize(checked_text(text)?)?)),
        PgType::Bytea => ScalarValue::Binary(Some(parse_bytea(text)?)),
        PgType::Date => ScalarValue::Date32(Some(datetime::parse_date(text)?)),
        PgType::Timestamp => ScalarValue::TimestampMicrosecond(Some(datetime::parse_timestamp(text)?), None),
        PgType::Timestamptz => {
            let micros = datetime::parse_timestamptz(text, zone)?;
            ScalarValue::TimestampMicrosecond(Some(micros), Some(Arc::from("UTC")))
        }
        PgType::Interval => ScalarValue::IntervalMonthDayNano(Some(Interval::parse(text)?.to_arrow())),
        PgType::Oid => ScalarValue::UInt32(Some(parse_oid(text)?)),
        PgType::Array(element) => ScalarValue::Binary(Some(super::array::parse(element, text, zone)?)),
        PgType::Time(digits) => {
            ScalarValue::Time64Microsecond(Some(datetime::round_time(datetime::parse_time(text)?, *digits)))
        }
        PgType::Uuid => ScalarValue::Binary(Some(uuid::parse(text)?.to_vec())),
        PgType::Record => return Err(super::record::no_input()),
    })
}

/// 22P02: `invalid input syntax for type bigint: "abc"`.
pub(super) fn invalid(type_name: &str, text: &str) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

/// PostgreSQL's words for truth, any case, any prefix that is not ambiguous.
pub(super) fn parse_bool(text: &str) -> Result<bool> {
    let word = trim(text).to_ascii_lowercase();
    match word.as_str() {
        "1" | "on" | "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" => Ok(true),
        "0" | "of" | "off" | "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" => Ok(false),
        _ => Err(invalid("boolean", text)),
    }
}

/// A signed integer of any width.
pub(super) fn parse_integer<T: TryFrom<i64>>(text: &str, type_name: &str) -> Result<T> {
    let trimmed = trim(text);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(type_name, text));
    }
    let value = trimmed.parse::<i64>().ok().and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| {
        Error::new(SqlState::NumericOutOfRange, format!("value \"{text}\" is out of range for type {type_name}"))
    })
}

/// An oid; PostgreSQL reads negative ones as their two's complement.
fn parse_oid(text: &str) -> Result<u32> {
    let value: i64 = parse_integer(text, "oid")?;
    u32::try_from(value).ok().or_else(|| i32::try_from(value).ok().map(|negative| negative as u32)).ok_or_else(|| {
        Error::new(SqlState::NumericOutOfRange, format!("value \"{text}\" is out of range for type oid"))
    })
}

/// Text without NUL, or 22021.
pub(super) fn checked_text(text: &str) -> Result<&str> {
    if text.as_bytes().contains(&0) { Err(invalid_bytes(text.as_bytes())) } else { Ok(text) }
}

/// Text of at most `length` characters; spaces beyond are cut, anything else is 22001.
pub(super) fn checked_varchar(text: &str, length: u32) -> Result<&str> {
    let cut = cut_varchar(text, length);
    if text[cut.len()..].bytes().all(|byte| byte == b' ') {
        return Ok(cut);
    }
    Err(Error::new(SqlState::StringTruncation, format!("value too long for type character varying({length})")))
}

/// Text as a char(n) holds it: filled up with spaces; spaces beyond are cut, anything else is 22001.
pub(super) fn checked_bpchar(text: &str, length: Option<u32>) -> Result<String> {
    let Some(length) = length else { return Ok(text.to_string()) };
    let cut = cut_varchar(text, length);
    if text[cut.len()..].bytes().all(|byte| byte == b' ') {
        return Ok(filled(cut, length));
    }
    Err(Error::new(SqlState::StringTruncation, format!("value too long for type character({length})")))
}

/// Text with spaces behind it, up to `length` characters.
pub(super) fn filled(text: &str, length: u32) -> String {
    let missing = (length as usize).saturating_sub(text.chars().count());
    let mut out = String::with_capacity(text.len() + missing);
    out.push_str(text);
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// The first `length` characters.
pub(super) fn cut_varchar(text: &str, length: u32) -> &str {
    if text.len() <= length as usize {
        return text;
    }
    match text.char_indices().nth(length as usize) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// 22021 for the first bytes that are no UTF-8, or NUL.
pub(super) fn invalid_bytes(bytes: &[u8]) -> Error {
    let start = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.iter().position(|byte| *byte == 0).unwrap_or(0),
        Err(fault) => {
            let nul = bytes[..fault.valid_up_to()].iter().position(|byte| *byte == 0);
            nul.unwrap_or(fault.valid_up_to())
        }
    };
    // PostgreSQL shows as many bytes as the first one announces.
    let announced = match bytes.get(start) {
        Some(0xC2..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF4) => 4,
        _ => 1,
    };
    let shown = &bytes[start..bytes.len().min(start + announced)];
    let hex: Vec<String> = shown.iter().map(|byte| format!("0x{byte:02x}")).collect();
    Error::new(
        SqlState::CharacterNotInRepertoire,
        format!("invalid byte sequence for encoding \"UTF8\": {}", hex.join(" ")),
    )
}

/// bytea from its hex form (`\x00ff`) or its escape form (`a\000\\`).
pub(super) fn parse_bytea(text: &str) -> Result<Vec<u8>> {
    let bytes = text.as_bytes();
    if let [b'\\', b'x', digits @ ..] = bytes {
        return parse_hex(digits);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, left) = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                ((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'), after)
            }
            (b'\\', _) => {
                return Err(Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type bytea"));
            }
            _ => (first, after),
        };
        out.push(byte);
        rest = left;
    }
    Ok(out)
}

fn parse_hex(digits: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(digits.len() / 2);
    let mut high = None;
    for &digit in digits {
        if high.is_none() && digit.is_ascii_whitespace() {
            continue;
        }
        let Some(value) = (digit as char).to_digit(16) else {
            let shown = String::from_utf8_lossy(&[digit]).into_owned();
            let message = format!("invalid hexadecimal digit: \"{shown}\"");
            return Err(Error::new(SqlState::InvalidParameter, message));
        };
        match high.take() {
            None => high = Some(value),
            Some(high) => out.push((high * 16 + value) as u8),
        }
    }
    match high {
        None => Ok(out),
        Some(_) => Err(Error::new(SqlState::InvalidParameter, "invalid hexadecimal data: odd number of digits")),
    }
}
