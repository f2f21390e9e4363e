//! Arrays: as bytes, as text (`text`) and in the wire's binary form (`wire`).
//!
//! An array is its elements one behind the other, each behind a tag, an end, and its dimensions unless
//! it has one that begins at 1 (`shape`). The bytes compare as PostgreSQL compares arrays: element by
//! element, null behind everything, the shorter one first. An element's own bytes are `codec`'s; those
//! of variable length are escaped, so that an element ends before the next one begins.

mod shape;
mod text;
mod wire;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, new_empty_array};
use arrow::datatypes::IntervalMonthDayNanoType;
use datafusion::scalar::ScalarValue;

use super::PgType;
use super::codec::{ValueBuilder, ValueCodec};
use super::datetime::Interval;
use super::text::normalize;
use crate::error::Result;

pub use shape::{Dimension, borders, check_count, dimensions, parts, shaped, stacked};
pub(super) use text::{parse, write};
pub(super) use wire::{read_wire, write_wire};

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
    let mut builder = ValueBuilder::new(element, 0);
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
    let mut behind = items(element, bytes);
    let values = element_values(element, behind.by_ref());
    match values.and_then(|values| canonical_element_bytes(element, &values)) {
        Ok(items) => [&of_items(items.iter().map(Vec::as_slice)), shape::tail(&behind)].concat(),
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
                let mut behind = items(from, bytes);
                let count = behind.by_ref().count();
                builder.append_value([&of_items(next.by_ref().take(count)), shape::tail(&behind)].concat());
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
