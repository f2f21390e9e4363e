//! Unicode: normal forms, and the escapes that unistr reads.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};
use unicode_normalization::UnicodeNormalization;

use super::Definition;
use super::arithmetic::overloads;
use super::text::{build, strings};
use super::udf::Input;

const TEXT: PgType = PgType::Text;

/// The text in a normal form.
fn normal(text: &str, form: &str, out: &mut String) -> Result<()> {
    match form.to_ascii_uppercase().as_str() {
        "NFC" => out.extend(text.nfc()),
        "NFD" => out.extend(text.nfd()),
        "NFKC" => out.extend(text.nfkc()),
        "NFKD" => out.extend(text.nfkd()),
        _ => return Err(Error::new(SqlState::InvalidParameter, format!("invalid normalization form: {form}"))),
    }
    Ok(())
}

fn normalize(input: &Input<'_>) -> Result<ArrayRef> {
    let texts = strings(input, 0)?;
    let forms = if input.args.len() == 2 { Some(strings(input, 1)?) } else { None };
    build(
        input.rows,
        |row| texts.is_null(row) || forms.as_ref().is_some_and(|forms| forms.is_null(row)),
        |row, out| normal(texts.value(row), forms.as_ref().map_or("NFC", |forms| forms.value(row)), out),
    )
}

fn is_normalized(input: &Input<'_>) -> Result<ArrayRef> {
    let texts = strings(input, 0)?;
    let normal = normalize(input)?;
    let normal = arrow::array::AsArray::as_string::<i32>(&normal);
    let same = texts.iter().zip(normal.iter()).map(|(text, normal)| Some(text? == normal?));
    Ok(Arc::new(same.collect::<BooleanArray>()))
}

fn unistr(input: &Input<'_>) -> Result<ArrayRef> {
    let texts = strings(input, 0)?;
    build(input.rows, |row| texts.is_null(row), |row, out| unescaped(texts.value(row), out))
}

fn unescaped(text: &str, out: &mut String) -> Result<()> {
    let syntax = |message: &str| Error::new(SqlState::SyntaxError, message.to_string());
    let half = || syntax("invalid Unicode surrogate pair");
    let (mut rest, mut first) = (text, None);
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let code = if c != '\\' {
            None
        } else if let Some(behind) = rest.strip_prefix('\\') {
            rest = behind;
            None
        } else {
            let (code, behind) = escaped(rest)?;
            rest = behind;
            Some(code)
        };
        match (first.take(), code) {
            (None, None) => out.push(c),
            (None, Some(high @ 0xd800..=0xdbff)) => first = Some(high),
            (Some(high), Some(low @ 0xdc00..=0xdfff)) => {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                out.push(char::from_u32(code).ok_or_else(half)?);
            }
            (Some(_), _) | (None, Some(0xdc00..=0xdfff)) => return Err(half()),
            (None, Some(code)) => {
                let wrong =
                    || Error::new(SqlState::InvalidParameter, format!("invalid Unicode code point: {code:04X}"));
                out.push(char::from_u32(code).filter(|c| *c != '\0').ok_or_else(wrong)?);
            }
        }
    }
    if first.is_some() { Err(half()) } else { Ok(()) }
}

/// The number behind a backslash, and what follows.
fn escaped(rest: &str) -> Result<(u32, &str)> {
    let (skipped, digits) = match rest.as_bytes().first() {
        Some(b'+') => (1, 6),
        Some(b'u') => (1, 4),
        Some(b'U') => (1, 8),
        _ => (0, 4),
    };
    let code = rest.get(skipped..skipped + digits).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
    let wrong = || {
        Error::new(SqlState::SyntaxError, "invalid Unicode escape")
            .hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
    };
    Ok((code.ok_or_else(wrong)?, &rest[skipped + digits..]))
}

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "normalize" (TEXT) -> TEXT => normalize;
    "normalize" (TEXT, TEXT) -> TEXT => normalize;
    "is_normalized" (TEXT) -> PgType::Bool => is_normalized;
    "is_normalized" (TEXT, TEXT) -> PgType::Bool => is_normalized;
    "unistr" (TEXT) -> TEXT => unistr;
};
