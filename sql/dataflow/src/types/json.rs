//! json and jsonb as text: json as it was written, jsonb in PostgreSQL's normal form.
//!
//! The normal form has one space behind commas and colons, an object's keys once each, the shorter ones
//! first and those of one length by their bytes, numbers as numeric prints them. A part of a text in normal
//! form is in normal form, so that reading a document is cutting its text. What is equal to another
//! differs at most in zeros behind numbers; [`key()`] has none of them and orders as jsonb does. Knows no jsonpath.

mod key;
mod lexer;
mod parse;
mod text;

use std::borrow::Cow;

use super::numeric::Numeric;
use crate::error::{Error, Result, SqlState};

pub use key::{key, of_key};
pub use parse::{check, normalize};
pub use text::{Members, members, push_quoted, string_of};

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// `[...]`
    Array,
    /// `{...}`
    Object,
}

impl Kind {
    /// The kind of the value that a valid text is.
    pub fn of(text: &str) -> Kind {
        match text.trim_start().as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// Whether it has parts.
    pub fn is_container(self) -> bool {
        matches!(self, Kind::Array | Kind::Object)
    }

    /// The word of `jsonb_typeof`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "boolean",
            Kind::Number => "number",
            Kind::String => "string",
            Kind::Array => "array",
            Kind::Object => "object",
        }
    }
}

/// The number that a jsonb is, for the casts to numbers; `to` is named in the error 22023.
pub(super) fn number_of(text: &str, to: &str) -> Result<Numeric> {
    match Kind::of(text) {
        Kind::Number => Numeric::parse(text),
        other => Err(unfit(other, to)),
    }
}

/// The truth that a jsonb is. Errors 22023.
pub(super) fn bool_of(text: &str) -> Result<bool> {
    match Kind::of(text) {
        Kind::Bool => Ok(text == "true"),
        other => Err(unfit(other, "boolean")),
    }
}

fn unfit(kind: Kind, to: &str) -> Error {
    let name = if kind == Kind::Number { "numeric" } else { kind.name() };
    Error::new(SqlState::InvalidParameter, format!("cannot cast jsonb {name} to type {to}"))
}

/// A jsonb as every equal one is written: without zeros at the end of numbers.
pub fn canonical(text: &str) -> Cow<'_, str> {
    // Only a number with a point has any.
    if !text.contains('.') {
        return Cow::Borrowed(text);
    }
    match of_key(&key(text)) {
        Ok(canonical) => Cow::Owned(canonical),
        Err(_) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// A document as somebody may write it.
    fn document(random: &mut StdRng, depth: usize) -> String {
        const SCALARS: &[&str] =
            &["1", "1.0", "-0.50", "2e3", "1e-7", "true", "null", "\"\"", "\"a\\u0041\\n\"", "\"é\"", "[ ]", "{ }"];
        const KEYS: &[&str] = &["\"a\"", "\"bb\"", "\"\\u0061\"", "\"\"", "\"é\"", "\"a\\\"b\""];
        let count = random.random_range(0..4);
        match random.random_range(0..4) {
            0 if depth < 4 => {
                let values: Vec<String> = (0..count).map(|_| document(random, depth + 1)).collect();
                format!("[{}]", values.join(" ,"))
            }
            1 if depth < 4 => {
                let mut field =
                    || format!("{} : {}", KEYS[random.random_range(0..KEYS.len())], document(random, depth + 1));
                let fields: Vec<String> = (0..count).map(|_| field()).collect();
                format!("{{{}}}", fields.join(","))
            }
            _ => SCALARS[random.random_range(0..SCALARS.len())].to_string(),
        }
    }

    #[test]
    fn the_normal_form_is_one_and_keys_read_back() {
        let mut random = StdRng::seed_from_u64(41);
        for _ in 0..20_000 {
            let written = document(&mut random, 0);
            assert_eq!(check(&written), Ok(()), "{written}");
            let normal = normalize(&written).expect("a document");
            assert_eq!(normalize(&normal).as_deref(), Ok(normal.as_str()), "{written}");
            let canonical = canonical(&normal).into_owned();
            assert_eq!(of_key(&key(&normal)).as_deref(), Ok(canonical.as_str()), "{written}");
            assert_eq!(key(&canonical), key(&normal), "{written}");
            for cut in 1..key(&normal).len() {
                // A part of a key is no document, and no reason to stop.
                let _ = of_key(&key(&normal)[..cut]);
            }
            for (_, part) in members(&normal) {
                assert_eq!(normalize(part).as_deref(), Ok(part), "{written}");
            }
        }
    }

    #[test]
    fn documents_are_as_deep_as_they_may_be() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let normal = normalize(&nested(1000)).expect("a document");
        assert_eq!(of_key(&key(&normal)).as_deref(), Ok(normal.as_str()));
        for text in [nested(1001), "[".repeat(1_000_000)] {
            assert_eq!(check(&text).expect_err("too deep").state(), SqlState::StatementTooComplex);
        }
    }
}
