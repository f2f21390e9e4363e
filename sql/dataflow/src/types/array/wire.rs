//! The wire's binary form of arrays.

use arrow::array::Array;

use super::{Dimension, check_count, dimensions, element_values, items, null_of, of_values, shaped};
use crate::error::{Error, Result, SqlState};
use crate::types::{PgType, read_binary, write_binary};

/// Appends an array's binary form: dimensions, whether there are nulls, the element's oid, then for
/// each dimension its length and first subscript, then each element behind its length.
pub(in crate::types) fn write_wire(element: &PgType, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let values = element_values(element, items(element, bytes))?;
    let dimensions = dimensions(element, bytes);
    out.extend((dimensions.len() as i32).to_be_bytes());
    out.extend(i32::from(values.null_count() > 0).to_be_bytes());
    out.extend(element.oid().to_be_bytes());
    for dimension in dimensions {
        out.extend((dimension.length as i32).to_be_bytes());
        out.extend(dimension.lower.to_be_bytes());
    }
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

/// An array of a binary form. Errors 22P03, 42804, 54000, and those of the elements.
pub(in crate::types) fn read_wire(element: &PgType, mut bytes: &[u8]) -> Result<Vec<u8>> {
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
    let count = usize::try_from(dimensions).map_err(|_| damaged())?;
    check_count(count)?;
    let mut dimensions = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, lower) = (number(&mut bytes)?, number(&mut bytes)?);
        dimensions.push(Dimension { length: usize::try_from(length).map_err(|_| damaged())?, lower });
    }
    let mut lengths = dimensions.iter().map(|dimension| dimension.length);
    let count = if dimensions.is_empty() { Some(0) } else { lengths.try_fold(1, usize::checked_mul) };
    let count = count.ok_or_else(damaged)?;
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
    Ok(shaped(of_values(element, values)?, &dimensions))
}
