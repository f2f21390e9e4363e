//! uuid: sixteen bytes, compared as bytes.
//!
//! Reads what PostgreSQL reads: any case, braces around it, a hyphen behind any four digits. Makes no uuids.

use super::parse::invalid;
use crate::error::Result;

/// The bytes of a text. Errors 22P02.
pub(super) fn parse(text: &str) -> Result<[u8; 16]> {
    read(text.as_bytes()).ok_or_else(|| invalid("uuid", text))
}

fn read(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inside @ .., b'}'] => inside,
        [b'{', ..] => return None,
        plain => plain,
    };
    let digit = |byte: u8| (byte as char).to_digit(16).map(|value| value as u8);
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().enumerate() {
        let (pair, after) = rest.split_first_chunk::<2>()?;
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        rest = after;
        if place % 2 == 1 && place < 15 {
            rest = rest.strip_prefix(b"-").unwrap_or(rest);
        }
    }
    rest.is_empty().then_some(bytes)
}

/// Appends the text: lower case, in groups of 8, 4, 4, 4 and 12 digits.
pub(super) fn write(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
}
