//! Arrays of one dimension, their first subscript 1: as bytes, as text and in the wire's binary form.
//!
//! An array is its elements one behind the other, each behind a tag, and an end. The bytes compare as
//! PostgreSQL compares arrays: element by element, null behind everything, the shorter one first. An
//! element's own bytes are `codec`'s; those of variable length are escaped, so that an
//! element ends before the next one begins. Arrays of several dimensions are refused.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, new_empty_array};
use arrow::datatypes::IntervalMonthDayNanoType;
use datafusion::scalar::ScalarValue;

use super::codec::{ValueBuilder, ValueCodec};
use super::datetime::{Interval, Zone};
use super::text::{TextStyle, TextWriter, normalize};
use super::{PgType, parse_text, read_binary, write_binary};
use crate::error::{Error, Result, SqlState};

/// Behind the last element.
pub(super) const END: u8 = 0;
/// Before an element.
const PRESENT: u8 = 1;
/// Instead of an element that is null.
const NULL: u8 = 2;

/// The array of these elements' bytes (each as [`items`] and [`element_bytes`] give it).
pub fn of_items<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes: Vec<u8> = items.into_iter().flatten().copied().collect();
    bytes.push(END);
    bytes
}

/// The elements of an array, each as its bytes with the tag.
pub fn items<'a>(element: &PgType, bytes: &'a [u8]) -> Items<'a> {
    Items { width: ValueCodec::new(element.clone(), false).width(), rest: bytes }
}

/// The first element of bytes that go on with something else.
pub(super) fn first_item<'a>(element: &PgType, bytes: &'a [u8]) -> Option<&'a [u8]> {
    items(element, bytes).next()
}

/// Whether the bytes of an element say null.
pub fn is_null_item(item: &[u8]) -> bool {
    item.first() == Some(&NULL)
}

/// See [`items`].
#[derive(Debug, Clone)]
pub struct Items<'a> {
    width: Option<usize>,
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = match (self.rest.first()?, self.width) {
            (&NULL, _) => 1,
            (&PRESENT, Some(width)) => 1 + width,
            // Up to a zero that no 255 follows.
            (&PRESENT, None) => {
                let body = &self.rest[1..];
                let mut at = 0;
                loop {
                    at += body.get(at..)?.iter().position(|byte| *byte == 0)?;
                    if body.get(at + 1) != Some(&0xFF) {
                        break;
                    }
                    at += 2;
                }
                1 + at + 2
            }
            _ => return None,
        };
        let (item, rest) = (self.rest.get(..length)?, &self.rest[length..]);
        self.rest = rest;
        Some(item)
    }
}

/// Every value of a column as an element's bytes.
pub fn element_bytes(element: &PgType, values: &ArrayRef, canonical: bool) -> Result<Vec<Vec<u8>>> {
    let values = normalize(element, values)?;
    let codec = ValueCodec::new(element.clone(), canonical);
    let column = codec.column(&values)?;
    let mut plain = Vec::new();
    let each = |row: usize| {
        if column.is_null(row) {
            return vec![NULL];
        }
        plain.clear();
        codec.write(&column, row, &mut plain);
        let mut bytes = Vec::with_capacity(plain.len() + 4);
        bytes.push(PRESENT);
        if codec.width().is_some() {
            bytes.extend_from_slice(&plain);
            return bytes;
        }
        for byte in &plain {
            bytes.push(*byte);
            if *byte == 0 {
                bytes.push(0xFF);
            }
        }
        // Less than whatever may follow a common beginning.
        bytes.extend_from_slice(&[0, 1]);
        bytes
    };
    Ok((0..values.len()).map(each).collect())
}

/// The values of elements' bytes.
pub fn element_values<'a>(element: &PgType, items: impl IntoIterator<Item = &'a [u8]>) -> Result<ArrayRef> {
    let escaped = ValueCodec::new(element.clone(), false).width().is_none();
    let mut builder = ValueBuilder::new(element);
    let mut plain = Vec::new();
    for item in items {
        if is_null_item(item) {
            builder.push_null();
        } else if escaped {
            plain.clear();
            let body = item.get(1..item.len().saturating_sub(2)).unwrap_or_default();
            let mut bytes = body.iter();
            while let Some(byte) = bytes.next() {
                plain.push(*byte);
                if *byte == 0 {
                    bytes.next();
                }
            }
            builder.push(&plain)?;
        } else {
            builder.push(&item[1..])?;
        }
    }
    Ok(builder.finish())
}

/// The same array, equal to the bytes of every array that is equal to it.
pub fn canonical(element: &PgType, bytes: &[u8]) -> Vec<u8> {
    let values = element_values(element, items(element, bytes));
    match values.and_then(|values| canonical_element_bytes(element, &values)) {
        Ok(items) => of_items(items.iter().map(Vec::as_slice)),
        Err(_) => bytes.to_vec(),
    }
}

/// Every value of a column as an element's bytes, the same for equal values and in their order.
pub fn canonical_element_bytes(element: &PgType, values: &ArrayRef) -> Result<Vec<Vec<u8>>> {
    if let Some(intervals) = values.as_primitive_opt::<IntervalMonthDayNanoType>() {
        let one_form = |value| Interval::from_arrow(value).in_days().map_or(value, Interval::to_arrow);
        let one_form = Arc::new(intervals.unary::<_, IntervalMonthDayNanoType>(one_form)) as ArrayRef;
        return element_bytes(element, &one_form, true);
    }
    element_bytes(element, values, true)
}

/// Whether equal arrays of this element may have different bytes.
pub fn has_forms(element: &PgType) -> bool {
    matches!(
        element,
        PgType::Numeric(None)
            | PgType::Float4
            | PgType::Float8
            | PgType::Interval
            | PgType::Bpchar(_)
            | PgType::Jsonb
            | PgType::Record
    )
}

/// Arrays of elements of one type as arrays of another; `each` casts a column of elements.
pub(super) fn convert(
    arrays: &BinaryArray,
    from: &PgType,
    to: &PgType,
    each: impl FnOnce(&ArrayRef) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let all = arrays.iter().flatten().flat_map(|bytes| items(from, bytes));
    let values = each(&element_values(from, all)?)?;
    let converted = element_bytes(to, &values, false)?;
    let mut next = converted.iter().map(Vec::as_slice);
    let mut builder = BinaryBuilder::new();
    for array in arrays {
        match array {
            Some(bytes) => {
                let count = items(from, bytes).count();
                builder.append_value(of_items(next.by_ref().take(count)));
            }
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn of_values(element: &PgType, values: Vec<ScalarValue>) -> Result<Vec<u8>> {
    let values =
        if values.is_empty() { new_empty_array(&element.arrow()) } else { ScalarValue::iter_to_array(values)? };
    let bytes = element_bytes(element, &values, false)?;
    Ok(of_items(bytes.iter().map(Vec::as_slice)))
}

fn null_of(element: &PgType) -> Result<ScalarValue> {
    Ok(ScalarValue::try_from(element.arrow())?)
}

/// An array from its text form, `{1,NULL,"a b"}`. Errors 22P02, and those of the elements.
pub(super) fn parse(element: &PgType, text: &str, zone: &Zone) -> Result<Vec<u8>> {
    let malformed = |detail: &str| {
        Error::new(SqlState::InvalidTextRepresentation, format!("malformed array literal: \"{text}\"")).detail(detail)
    };
    let mut rest = text.trim();
    if rest.starts_with('[') {
        let (bounds, after) = rest.split_once('=').ok_or_else(|| malformed("Missing \"=\" after array dimensions."))?;
        if !bounds.trim_end().starts_with("[1:") || bounds.matches('[').count() > 1 {
            return Err(Error::unsupported("an array whose first subscript is not 1"));
        }
        rest = after.trim_start();
    }
    let Some(inside) = rest.strip_prefix('{') else {
        return Err(malformed("Array value must start with \"{\" or dimension information."));
    };
    let mut values = Vec::new();
    for field in fields(inside, &malformed)? {
        values.push(match field {
            None => null_of(element)?,
            Some(field) => parse_text(element, &field, zone)?,
        });
    }
    of_values(element, values)
}

/// What stands between the braces, up to the closing one and nothing behind it; `None`: null.
fn fields(text: &str, malformed: &dyn Fn(&str) -> Error) -> Result<Vec<Option<String>>> {
    let mut fields = Vec::new();
    let mut chars = text.chars();
    loop {
        // `kept`: spaces behind this are no part of the field.
        let (mut field, mut quoted, mut kept) = (String::new(), false, 0);
        let closed = loop {
            match chars.next().ok_or_else(|| malformed("Unexpected end of input."))? {
                '{' if field.is_empty() && !quoted => return Err(Error::unsupported("an array of several dimensions")),
                '"' => {
                    quoted = true;
                    quoted_part(&mut chars, &mut field).ok_or_else(|| malformed("Unexpected end of input."))?;
                    kept = field.len();
                }
                '\\' => {
                    field.extend(chars.next());
                    kept = field.len();
                }
                ',' => break false,
                '}' => break true,
                space if space.is_ascii_whitespace() && field.is_empty() => {}
                other => {
                    field.push(other);
                    if !other.is_ascii_whitespace() {
                        kept = field.len();
                    }
                }
            }
        };
        field.truncate(kept);
        let empty = field.is_empty() && !quoted;
        if empty && !(closed && fields.is_empty()) {
            return Err(malformed(&format!("Unexpected \"{}\" character.", if closed { '}' } else { ',' })));
        }
        if !empty {
            let null = !quoted && field.eq_ignore_ascii_case("null");
            fields.push((!null).then_some(field));
        }
        if closed {
            return match chars.as_str().trim() {
                "" => Ok(fields),
                _ => Err(malformed("Junk after closing right brace.")),
            };
        }
    }
}

/// The rest of a part in quotes; `None` if it does not end.
fn quoted_part(chars: &mut std::str::Chars<'_>, field: &mut String) -> Option<()> {
    loop {
        match chars.next()? {
            '"' => return Some(()),
            '\\' => field.push(chars.next()?),
            other => field.push(other),
        }
    }
}

/// Appends an array's text.
pub(super) fn write(element: &PgType, bytes: &[u8], style: &TextStyle, out: &mut String) {
    let written = element_values(element, items(element, bytes))
        .and_then(|values| Ok((TextWriter::new(element, &values)?, values)));
    // Damaged bytes print as an empty array; state is checked where it is read.
    let Ok((writer, values)) = written else { return out.push_str("{}") };
    let mut field = String::new();
    out.push('{');
    for row in 0..values.len() {
        if row > 0 {
            out.push(',');
        }
        if values.is_null(row) {
            out.push_str("NULL");
            continue;
        }
        field.clear();
        writer.write(row, style, &mut field);
        let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace() || c == '\x0b';
        if field.is_empty() || field.eq_ignore_ascii_case("null") || field.contains(special) {
            out.push('"');
            for c in field.chars() {
                if matches!(c, '"' | '\\') {
                    out.push('\\');
                }
                out.push(c);
            }
            out.push('"');
        } else {
            out.push_str(&field);
        }
    }
    out.push('}');
}

/// Appends an array's binary form: dimensions, whether there are nulls, the element's oid, then for
/// the dimension its length and first subscript, then each element behind its length.
pub(super) fn write_wire(element: &PgType, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let values = element_values(element, items(element, bytes))?;
    out.extend(i32::from(!values.is_empty()).to_be_bytes());
    out.extend(i32::from(values.null_count() > 0).to_be_bytes());
    out.extend(element.oid().to_be_bytes());
    if values.is_empty() {
        return Ok(());
    }
    out.extend((values.len() as i32).to_be_bytes());
    out.extend(1_i32.to_be_bytes());
    for row in 0..values.len() {
        if values.is_null(row) {
            out.extend((-1_i32).to_be_bytes());
            continue;
        }
        let place = out.len();
        out.extend([0; 4]);
        write_binary(element, &values, row, out)?;
        let length = (out.len() - place - 4) as i32;
        out[place..place + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// An array of a binary form. Errors 22P03, 42804, 0A000, and those of the elements.
pub(super) fn read_wire(element: &PgType, mut bytes: &[u8]) -> Result<Vec<u8>> {
    let damaged = || Error::new(SqlState::InvalidBinaryRepresentation, "incorrect binary data format for an array");
    let number = |bytes: &mut &[u8]| -> Result<i32> {
        let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        *bytes = rest;
        Ok(i32::from_be_bytes(*head))
    };
    let (dimensions, _nulls, oid) = (number(&mut bytes)?, number(&mut bytes)?, number(&mut bytes)?);
    if oid as u32 != element.oid() {
        let message =
            format!("binary data has array element type {} instead of expected {}", oid as u32, element.oid());
        return Err(Error::new(SqlState::DatatypeMismatch, message));
    }
    let count = match dimensions {
        0 => 0,
        1 => {
            let (count, first) = (number(&mut bytes)?, number(&mut bytes)?);
            if first != 1 {
                return Err(Error::unsupported("an array whose first subscript is not 1"));
            }
            count
        }
        _ => return Err(Error::unsupported("an array of several dimensions")),
    };
    let mut values = Vec::new();
    for _ in 0..count {
        match usize::try_from(number(&mut bytes)?) {
            Ok(length) => {
                let value = bytes.get(..length).ok_or_else(damaged)?;
                bytes = &bytes[length..];
                values.push(read_binary(element, value)?);
            }
            Err(_) => values.push(null_of(element)?),
        }
    }
    if !bytes.is_empty() {
        return Err(damaged());
    }
    of_values(element, values)
}
