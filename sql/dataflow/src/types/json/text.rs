//! Strings and the parts of a document, over text that is known to be JSON.

use std::borrow::Cow;

use super::lexer::invalid;
use crate::error::{Error, Result, SqlState};

/// Appends a string in quotes, as PostgreSQL escapes it.
pub fn push_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The text that a string in quotes stands for. Errors 22P02 for halves of surrogates, 22P05 for `\u0000`.
pub fn string_of(quoted: &str) -> Result<Cow<'_, str>> {
    unescaped(quoted.trim())
}

/// See [`string_of`].
pub(super) fn unescaped(quoted: &str) -> Result<Cow<'_, str>> {
    let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted);
    if !inside.contains('\\') {
        return Ok(Cow::Borrowed(inside));
    }
    let mut out = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    let mut high = None;
    let low_missing = || invalid("Unicode low surrogate must follow a high surrogate.".into());
    while let Some(c) = chars.next() {
        let unit = match c {
            '\\' => match chars.next().unwrap_or('\\') {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    Some(u32::from_str_radix(&digits, 16).unwrap_or(0))
                }
                letter => {
                    if high.is_some() {
                        return Err(low_missing());
                    }
                    out.push(match letter {
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        other => other,
                    });
                    None
                }
            },
            other if high.is_some() => {
                let _ = other;
                return Err(low_missing());
            }
            other => {
                out.push(other);
                None
            }
        };
        let Some(unit) = unit else { continue };
        match (high.take(), unit) {
            (None, 0) => {
                return Err(Error::new(SqlState::UntranslatableCharacter, "unsupported Unicode escape sequence")
                    .detail("\\u0000 cannot be converted to text."));
            }
            (None, 0xD800..=0xDBFF) => high = Some(unit),
            (Some(_), 0xD800..=0xDBFF) => {
                return Err(invalid("Unicode high surrogate must not follow a high surrogate.".into()));
            }
            (Some(first), 0xDC00..=0xDFFF) => {
                let point = 0x10000 + ((first - 0xD800) << 10) + (unit - 0xDC00);
                out.extend(char::from_u32(point));
            }
            (None, 0xDC00..=0xDFFF) | (Some(_), _) => return Err(low_missing()),
            (None, unit) => out.extend(char::from_u32(unit)),
        }
    }
    if high.is_some() {
        return Err(low_missing());
    }
    Ok(Cow::Owned(out))
}

/// The parts of an array or object, one after the other: an object's with the key in its quotes. A scalar has
/// none.
pub fn members(text: &str) -> Members<'_> {
    let text = text.trim();
    let inside = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    match text.as_bytes().first() {
        Some(b'{') => Members { rest: inside.trim_start(), keyed: true },
        Some(b'[') => Members { rest: inside.trim_start(), keyed: false },
        _ => Members { rest: "", keyed: false },
    }
}

/// See [`members`].
#[derive(Debug, Clone)]
pub struct Members<'a> {
    rest: &'a str,
    keyed: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Option<&'a str>, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut key = None;
        if self.keyed {
            let (quoted, rest) = self.rest.split_at(length(self.rest));
            key = Some(quoted);
            self.rest = rest.trim_start().strip_prefix(':').unwrap_or(rest).trim_start();
        }
        let (value, rest) = self.rest.split_at(length(self.rest));
        let rest = rest.trim_start();
        self.rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        Some((key, value))
    }
}

/// How long the value is that a text begins with.
fn length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let string_end = |from: usize| {
        let mut at = from + 1;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => return at + 1,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        bytes.len()
    };
    match bytes.first() {
        Some(b'"') => string_end(0),
        Some(b'{' | b'[') => {
            let (mut at, mut depth) = (0, 0);
            while let Some(byte) = bytes.get(at) {
                match byte {
                    b'"' => {
                        at = string_end(at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return at + 1;
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
            bytes.len()
        }
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            bytes.iter().position(ends).unwrap_or(bytes.len())
        }
    }
}
