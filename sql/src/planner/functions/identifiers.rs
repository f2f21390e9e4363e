//! Functions that write and read SQL's own text: quote_ident, quote_literal, parse_ident.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringArray};
use thalweg_dataflow::types::{PgType, array};
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::udf::{Input, Kernel};
use crate::statement::definition::quoted;

const TEXT: PgType = PgType::Text;

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = &[
    of_text("quote_ident", quote_ident),
    of_text("quote_literal", quote_literal),
    of_text("quote_nullable", quote_nullable),
    Definition {
        name: "parse_ident",
        args: &[TEXT],
        variadic: false,
        result: PgType::Array(&PgType::Text),
        kernel: parse_ident,
    },
    Definition {
        name: "parse_ident",
        args: &[TEXT, PgType::Bool],
        variadic: false,
        result: PgType::Array(&PgType::Text),
        kernel: parse_ident,
    },
];

const fn of_text(name: &'static str, kernel: Kernel) -> Definition {
    Definition { name, args: &[TEXT], variadic: false, result: TEXT, kernel }
}

/// A text for each text; nulls stay null unless `null` stands for them.
fn map(input: &Input<'_>, null: Option<&str>, change: impl Fn(&str) -> String) -> Result<ArrayRef> {
    let values = input.array(0)?;
    let values = values.as_string::<i32>();
    let changed = values.iter().map(|value| value.map(&change).or_else(|| null.map(str::to_string)));
    Ok(Arc::new(changed.collect::<StringArray>()))
}

fn quote_ident(input: &Input<'_>) -> Result<ArrayRef> {
    map(input, None, quoted)
}

fn quote_literal(input: &Input<'_>) -> Result<ArrayRef> {
    map(input, None, literal)
}

fn quote_nullable(input: &Input<'_>) -> Result<ArrayRef> {
    map(input, Some("NULL"), literal)
}

/// A literal that is read back as this text, whatever `standard_conforming_strings` is.
pub(super) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    match text.contains('\\') {
        true => format!("E'{}'", doubled.replace('\\', "\\\\")),
        false => format!("'{doubled}'"),
    }
}

/// The parts of a dotted name, folded; `None` if it is none.
pub(crate) fn parts(text: &str) -> Option<Vec<String>> {
    leading_parts(text).filter(|(_, rest)| rest.is_empty()).map(|(parts, _)| parts)
}

/// The parts of a dotted name at the beginning of a text, and what follows.
fn leading_parts(text: &str) -> Option<(Vec<String>, &str)> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, behind) = match rest.strip_prefix('"') {
            Some(inside) => {
                let mut part = String::new();
                let mut characters = inside.char_indices().peekable();
                let end = loop {
                    match characters.next()? {
                        (_, '"') if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                            part.push('"');
                            characters.next();
                        }
                        (at, '"') => break at + 1,
                        (_, other) => part.push(other),
                    }
                };
                (part, &inside[end..])
            }
            None => {
                let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
                let end = rest.find(|c: char| !word(c)).unwrap_or(rest.len());
                (rest[..end].to_lowercase(), &rest[end..])
            }
        };
        let starts_well = rest.starts_with('"') || !part.starts_with(|c: char| c.is_ascii_digit() || c == '$');
        if part.is_empty() || !starts_well {
            return None;
        }
        parts.push(part);
        let behind = behind.trim_start();
        match behind.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None => return Some((parts, behind)),
        }
    }
}

fn parse_ident(input: &Input<'_>) -> Result<ArrayRef> {
    let values = input.array(0)?;
    let values = values.as_string::<i32>();
    let mut built = BinaryBuilder::new();
    let strict = if input.args.len() == 2 { Some(input.array(1)?) } else { None };
    for (row, value) in values.iter().enumerate() {
        let strict = strict
            .as_ref()
            .map(|strict| strict.as_boolean())
            .map_or(Some(true), |strict| strict.is_valid(row).then(|| strict.value(row)));
        let (Some(text), Some(strict)) = (value, strict) else {
            built.append_null();
            continue;
        };
        let found = leading_parts(text).filter(|(_, rest)| rest.is_empty() || !strict);
        let parts = found.map(|(parts, _)| parts).ok_or_else(|| {
            Error::new(SqlState::InvalidParameter, format!("string is not a valid identifier: \"{text}\""))
        })?;
        let parts: ArrayRef = Arc::new(StringArray::from(parts));
        let items = array::element_bytes(&PgType::Text, &parts, false)?;
        built.append_value(array::of_items(items.iter().map(Vec::as_slice)));
    }
    Ok(Arc::new(built.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_postgresql_reads_them() {
        let read = |text: &str| parts(text).map(|parts| parts.join("|"));
        assert_eq!(read("a.B"), Some("a|b".into()));
        assert_eq!(read("\"Some Schema\" . \"a\"\"b\""), Some("Some Schema|a\"b".into()));
        for wrong in ["", "a.", ".a", "1a", "a b", "\"a", "\"\""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
