//! A jsonb as bytes that are equal for equal documents and whose memcmp order is jsonb's.
//!
//! A tag, and behind it: of a string its bytes and 00; of a number the canonical bytes of a numeric; of an array
//! its length and its elements; of an object its length and its fields, each key's bytes, 00 and the value.
//! An empty array that is the whole document comes before everything else, as in PostgreSQL. No text in
//! normal form begins with such a tag. Part of the format version.

use super::text::{members, push_quoted, unescaped};
use super::{Kind, parse};
use crate::error::{Error, Result, SqlState};
use crate::types::numeric::{Numeric, canonical_bytes};

const EMPTY: u8 = 1;
const NULL: u8 = 2;
const STRING: u8 = 3;
const NUMBER: u8 = 4;
const FALSE: u8 = 5;
const TRUE: u8 = 6;
const ARRAY: u8 = 7;
const OBJECT: u8 = 8;

/// The key of a text in normal form.
pub fn key(text: &str) -> Vec<u8> {
    if text == "[]" {
        return vec![EMPTY];
    }
    let mut out = Vec::with_capacity(text.len() + 8);
    write(text, &mut out);
    out
}

fn write(text: &str, out: &mut Vec<u8>) {
    match Kind::of(text) {
        Kind::Null => out.push(NULL),
        Kind::Bool => out.push(if text == "true" { TRUE } else { FALSE }),
        Kind::Number => {
            out.push(NUMBER);
            let mut bytes = Vec::with_capacity(16);
            Numeric::parse(text).unwrap_or(Numeric::ZERO).encode(&mut bytes);
            out.extend_from_slice(&canonical_bytes(&bytes));
        }
        Kind::String => {
            out.push(STRING);
            string(text, out);
        }
        kind => {
            out.push(if kind == Kind::Array { ARRAY } else { OBJECT });
            out.extend_from_slice(&(members(text).count() as u32).to_be_bytes());
            for (key, value) in members(text) {
                if let Some(key) = key {
                    string(key, out);
                }
                write(value, out);
            }
        }
    }
}

fn string(quoted: &str, out: &mut Vec<u8>) {
    let text = unescaped(quoted).unwrap_or_default();
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// The text of a key; text in normal form is taken as it is. Errors XX001 where the bytes are neither.
pub fn of_key(bytes: &[u8]) -> Result<String> {
    match bytes.first() {
        Some(&EMPTY) => Ok("[]".into()),
        Some(NULL..=OBJECT) => {
            let (mut out, mut rest) = (String::with_capacity(bytes.len() + 8), bytes);
            read(&mut rest, &mut out, 0).filter(|()| rest.is_empty()).ok_or_else(damaged)?;
            Ok(out)
        }
        _ => String::from_utf8(bytes.to_vec()).map_err(|_| damaged()),
    }
}

fn damaged() -> Error {
    Error::new(SqlState::DataCorrupted, "damaged jsonb value")
}

fn read(rest: &mut &[u8], out: &mut String, depth: usize) -> Option<()> {
    let (tag, after) = rest.split_first()?;
    *rest = after;
    match *tag {
        NULL => out.push_str("null"),
        FALSE => out.push_str("false"),
        TRUE => out.push_str("true"),
        STRING => read_string(rest, out)?,
        NUMBER => {
            let (number, after) = rest.split_at(canonical_bytes(rest).len());
            *rest = after;
            out.push_str(&Numeric::decode(number).ok()?.to_string());
        }
        ARRAY | OBJECT if depth <= parse::MAX_DEPTH => {
            let (count, after) = rest.split_first_chunk::<4>()?;
            *rest = after;
            out.push(if *tag == ARRAY { '[' } else { '{' });
            for place in 0..u32::from_be_bytes(*count) {
                if place > 0 {
                    out.push_str(", ");
                }
                if *tag == OBJECT {
                    read_string(rest, out)?;
                    out.push_str(": ");
                }
                read(rest, out, depth + 1)?;
            }
            out.push(if *tag == ARRAY { ']' } else { '}' });
        }
        _ => return None,
    }
    Some(())
}

fn read_string(rest: &mut &[u8], out: &mut String) -> Option<()> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    push_quoted(std::str::from_utf8(&rest[..end]).ok()?, out);
    *rest = &rest[end + 1..];
    Some(())
}
