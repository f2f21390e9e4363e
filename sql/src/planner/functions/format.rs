//! `format`: `%[position][flags][width]type`, the type one of `s`, `I`, `L`.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use thalweg_dataflow::types::{PgType, TextStyle, TextWriter, array};
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::identifiers::literal;
use super::text::{build, strings};
use super::udf::Input;
use crate::statement::definition::quoted;

const TEXT: PgType = PgType::Text;

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = &[
    Definition { name: "format", args: &[TEXT], variadic: true, result: TEXT, kernel: format },
    Definition { name: "format variadic", args: &[TEXT], variadic: true, result: TEXT, kernel: format_array },
];

fn format(input: &Input<'_>) -> Result<ArrayRef> {
    let style = TextStyle { zone: input.zone.clone(), extra_float_digits: 1 };
    let formats = strings(input, 0)?;
    let mut writers = Vec::with_capacity(input.args.len());
    for place in 1..input.args.len() {
        writers.push(TextWriter::new(&input.types[place], &input.array(place)?)?);
    }
    build(
        input.rows,
        |row| formats.is_null(row),
        |row, out| {
            let value = |place: usize| {
                let writer = &writers[place];
                (!writer.is_null(row)).then(|| {
                    let mut text = String::new();
                    writer.write(row, &style, &mut text);
                    text
                })
            };
            Formatter { count: writers.len(), value: &value, next: 1 }.write(formats.value(row), out)
        },
    )
}

/// `format(text, VARIADIC array)`.
fn format_array(input: &Input<'_>) -> Result<ArrayRef> {
    let style = TextStyle { zone: input.zone.clone(), extra_float_digits: 1 };
    let (formats, arrays) = (strings(input, 0)?, input.array(1)?);
    let arrays: &BinaryArray = arrays.as_binary();
    let element = input.types[1].element().ok_or_else(|| Error::internal("VARIADIC of no array"))?;
    build(
        input.rows,
        |row| formats.is_null(row),
        |row, out| {
            let bytes = if arrays.is_valid(row) { arrays.value(row) } else { &[] };
            let values = array::element_values(element, array::items(element, bytes))?;
            let writer = TextWriter::new(element, &values)?;
            let value = |place: usize| {
                (!writer.is_null(place)).then(|| {
                    let mut text = String::new();
                    writer.write(place, &style, &mut text);
                    text
                })
            };
            Formatter { count: values.len(), value: &value, next: 1 }.write(formats.value(row), out)
        },
    )
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidParameter, message)
}

/// What one text is made of.
struct Formatter<'v> {
    /// How many values there are.
    count: usize,
    value: &'v dyn Fn(usize) -> Option<String>,
    /// The value that comes next, from 1.
    next: usize,
}

/// What stands between `%` and the type.
#[derive(Default)]
struct Specifier {
    position: Option<usize>,
    left: bool,
    width: Width,
}

#[derive(Default)]
enum Width {
    #[default]
    None,
    Fixed(i64),
    /// A value: the next one, or the one at a place.
    Value(Option<usize>),
}

impl Formatter<'_> {
    fn write(mut self, format: &str, out: &mut String) -> Result<()> {
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix('%') {
                out.push('%');
                rest = behind;
                continue;
            }
            let (specifier, behind) = specifier(rest)?;
            let Some(kind) = behind.chars().next() else { return Err(unterminated()) };
            rest = &behind[kind.len_utf8()..];
            if !matches!(kind, 's' | 'I' | 'L') {
                return Err(wrong(format!("unrecognized format() type specifier \"{kind}\"")).hint(PERCENT));
            }
            self.one(specifier, kind, out)?;
        }
        out.push_str(rest);
        Ok(())
    }

    /// The value at a place, or the next one.
    fn take(&mut self, position: Option<usize>) -> Result<Option<String>> {
        let place = position.unwrap_or(self.next);
        if place == 0 {
            return Err(wrong("format specifies argument 0, but arguments are numbered from 1"));
        }
        if place > self.count {
            return Err(wrong("too few arguments for format()"));
        }
        self.next = place + 1;
        Ok((self.value)(place - 1))
    }

    fn one(&mut self, specifier: Specifier, kind: char, out: &mut String) -> Result<()> {
        let (mut left, mut width) = (specifier.left, 0);
        match specifier.width {
            Width::None => {}
            Width::Fixed(own) => width = own,
            Width::Value(position) => {
                let text = self.take(position)?.unwrap_or_else(|| "0".into());
                let own: i32 = text.trim().parse().map_err(|_| {
                    let message = format!("invalid input syntax for type integer: \"{text}\"");
                    Error::new(SqlState::InvalidTextRepresentation, message)
                })?;
                left |= own < 0;
                width = i64::from(own).abs();
            }
        }
        let value = self.take(specifier.position)?;
        let text = match (kind, value) {
            ('I', None) => {
                let message = "null values cannot be formatted as an SQL identifier";
                return Err(Error::new(SqlState::NullValueNotAllowed, message));
            }
            ('I', Some(value)) => quoted(&value),
            ('L', None) => "NULL".to_string(),
            ('L', Some(value)) => literal(&value),
            (_, value) => value.unwrap_or_default(),
        };
        let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
        if missing >= super::text::MAX_BYTES {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "requested length too large"));
        }
        let blanks = std::iter::repeat_n(' ', missing);
        if left {
            out.push_str(&text);
            out.extend(blanks);
        } else {
            out.extend(blanks);
            out.push_str(&text);
        }
        Ok(())
    }
}

const PERCENT: &str = "For a single \"%\" use \"%%\".";

fn unterminated() -> Error {
    wrong("unterminated format() type specifier").hint(PERCENT)
}

/// Digits at the beginning, as a number.
fn number(text: &str) -> Result<Option<(i64, &str)>> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Ok(None);
    }
    let out_of_range = |_| Error::new(SqlState::NumericOutOfRange, "number is out of range");
    let value: i32 = text[..end].parse().map_err(out_of_range)?;
    match &text[end..] {
        "" => Err(unterminated()),
        rest => Ok(Some((i64::from(value), rest))),
    }
}

fn specifier(text: &str) -> Result<(Specifier, &str)> {
    let mut specifier = Specifier::default();
    let mut rest = text;
    if let Some((value, behind)) = number(rest)? {
        match behind.strip_prefix('$') {
            Some(behind) => {
                if value == 0 {
                    return Err(wrong("format specifies argument 0, but arguments are numbered from 1"));
                }
                specifier.position = usize::try_from(value).ok();
                rest = behind;
            }
            None => {
                specifier.width = Width::Fixed(value);
                return Ok((specifier, behind));
            }
        }
    }
    while let Some(behind) = rest.strip_prefix('-') {
        specifier.left = true;
        rest = behind;
    }
    if let Some(behind) = rest.strip_prefix('*') {
        rest = behind;
        specifier.width = Width::Value(None);
        if let Some((value, behind)) = number(rest)? {
            let ended = behind.strip_prefix('$');
            rest = ended.ok_or_else(|| wrong("width argument position must be ended by \"$\""))?;
            if value == 0 {
                return Err(wrong("format specifies argument 0, but arguments are numbered from 1"));
            }
            specifier.width = Width::Value(usize::try_from(value).ok());
        }
    } else if let Some((value, behind)) = number(rest)? {
        specifier.width = Width::Fixed(value);
        rest = behind;
    }
    if rest.is_empty() {
        return Err(unterminated());
    }
    Ok((specifier, rest))
}
