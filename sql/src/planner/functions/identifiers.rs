//! Functions that write and read SQL's own text: quote_ident, quote_literal, parse_ident, format.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringArray, StringBuilder};
use thalweg_dataflow::types::{PgType, TextStyle, TextWriter, array};
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
    Definition { name: "format", args: &[TEXT], variadic: true, result: TEXT, kernel: format },
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
fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    match text.contains('\\') {
        true => format!("E'{}'", doubled.replace('\\', "\\\\")),
        false => format!("'{doubled}'"),
    }
}

/// The parts of a dotted name, folded; `None` if it is none.
pub(crate) fn parts(text: &str) -> Option<Vec<String>> {
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
        if behind.is_empty() {
            return Some(parts);
        }
        rest = behind.strip_prefix('.')?.trim_start();
    }
}

fn parse_ident(input: &Input<'_>) -> Result<ArrayRef> {
    let values = input.array(0)?;
    let values = values.as_string::<i32>();
    let mut built = BinaryBuilder::new();
    for value in values {
        let Some(text) = value else {
            built.append_null();
            continue;
        };
        let parts = parts(text).ok_or_else(|| {
            Error::new(SqlState::InvalidParameter, format!("string is not a valid identifier: \"{text}\""))
        })?;
        let parts: ArrayRef = Arc::new(StringArray::from(parts));
        let items = array::element_bytes(&PgType::Text, &parts, false)?;
        built.append_value(array::of_items(items.iter().map(Vec::as_slice)));
    }
    Ok(Arc::new(built.finish()))
}

/// `format`: `%s`, `%I`, `%L`, `%%`, each with a place (`%2$s`).
fn format(input: &Input<'_>) -> Result<ArrayRef> {
    let style = TextStyle { zone: input.zone.clone(), extra_float_digits: 1 };
    let formats = input.array(0)?;
    let formats = formats.as_string::<i32>();
    let mut writers = Vec::with_capacity(input.args.len());
    for place in 1..input.args.len() {
        writers.push(TextWriter::new(&input.types[place], &input.array(place)?)?);
    }
    let argument = |row: usize, place: usize| -> Result<Option<String>> {
        let too_few = || Error::new(SqlState::InvalidParameter, "too few arguments for format()");
        let writer = place.checked_sub(1).and_then(|place| writers.get(place)).ok_or_else(too_few)?;
        let mut text = String::new();
        if writer.is_null(row) {
            return Ok(None);
        }
        writer.write(row, &style, &mut text);
        Ok(Some(text))
    };
    let mut built = StringBuilder::new();
    for row in 0..input.rows {
        match formats.is_null(row) {
            true => built.append_null(),
            false => built.append_value(formatted(formats.value(row), |place| argument(row, place))?),
        }
    }
    Ok(Arc::new(built.finish()))
}

fn formatted(format: &str, argument: impl Fn(usize) -> Result<Option<String>>) -> Result<String> {
    let mut out = String::new();
    let mut next = 1;
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let place = match rest[digits..].strip_prefix('$') {
            Some(behind) if digits > 0 => {
                let place = rest[..digits].parse().unwrap_or(usize::MAX);
                rest = behind;
                place
            }
            _ => next,
        };
        let mut characters = rest.chars();
        let kind = characters.next();
        rest = characters.as_str();
        match kind {
            Some('%') => {
                out.push('%');
                continue;
            }
            Some('s') => out.push_str(&argument(place)?.unwrap_or_default()),
            Some('I') => {
                let name = argument(place)?.ok_or_else(|| {
                    Error::new(SqlState::NullValueNotAllowed, "null values cannot be formatted as an SQL identifier")
                })?;
                out.push_str(&quoted(&name));
            }
            Some('L') => out.push_str(&argument(place)?.map_or_else(|| "NULL".into(), |text| literal(&text))),
            Some(other) => {
                let message = format!("unrecognized format() type specifier \"{other}\"");
                return Err(Error::new(SqlState::InvalidParameter, message));
            }
            None => return Err(Error::new(SqlState::InvalidParameter, "unterminated format() type specifier")),
        }
        next = place.saturating_add(1);
    }
    out.push_str(rest);
    Ok(out)
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
