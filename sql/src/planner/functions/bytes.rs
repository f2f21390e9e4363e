//! Functions over bytea: pieces, single bytes and bits, digests.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int32Array, Int64Array, PrimitiveArray};
use arrow::datatypes::{Int32Type, Int64Type};
use md5::Md5;
use sha2::digest::Digest;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::arithmetic::{overloads, primitive};
use super::text::build;
use super::udf::Input;

const BYTES: PgType = PgType::Bytea;
const INT: PgType = PgType::Int4;

/// A bytea argument.
pub(super) fn bytes(input: &Input<'_>, place: usize) -> Result<BinaryArray> {
    let array = input.array(place)?;
    array
        .as_binary_opt::<i32>()
        .cloned()
        .ok_or_else(|| Error::internal(format!("argument {place} has the layout {}", array.data_type())))
}

/// A bytea column from a function that appends one row's bytes; null where an argument is.
pub(super) fn build_bytes(input: &Input<'_>, append: impl Fn(usize, &mut Vec<u8>) -> Result<()>) -> Result<ArrayRef> {
    let columns = (0..input.args.len()).map(|place| input.array(place)).collect::<Result<Vec<_>>>()?;
    let mut builder = BinaryBuilder::new();
    let mut out = Vec::new();
    for row in 0..input.rows {
        if columns.iter().any(|column| column.is_null(row)) {
            builder.append_null();
            continue;
        }
        out.clear();
        append(row, &mut out)?;
        builder.append_value(&out);
    }
    Ok(Arc::new(builder.finish()))
}

fn length(input: &Input<'_>) -> Result<ArrayRef> {
    let by = if input.op() == "bit_length" { 8 } else { 1 };
    Ok(Arc::new(
        bytes(input, 0)?.iter().map(|value| value.map(|value| (value.len() * by) as i32)).collect::<Int32Array>(),
    ))
}

/// The piece from `start`, counted from 1, with this length.
fn piece(whole: &[u8], start: i64, length: Option<i64>) -> Result<&[u8]> {
    if length.is_some_and(|length| length < 0) {
        return Err(Error::new(SqlState::SubstringError, "negative substring length not allowed"));
    }
    let size = whole.len() as i64;
    let end = length.map_or(size, |length| (start - 1 + length).clamp(0, size));
    let first = (start - 1).clamp(0, end);
    Ok(&whole[first as usize..end as usize])
}

fn substring(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, starts) = (bytes(input, 0)?, primitive::<Int32Type>(input, 1)?);
    let lengths = if input.args.len() == 3 { Some(primitive::<Int32Type>(input, 2)?) } else { None };
    build_bytes(input, |row, out| {
        let length = lengths.as_ref().map(|lengths| i64::from(lengths.value(row)));
        out.extend_from_slice(piece(values.value(row), i64::from(starts.value(row)), length)?);
        Ok(())
    })
}

fn overlay(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, pieces, starts) = (bytes(input, 0)?, bytes(input, 1)?, primitive::<Int32Type>(input, 2)?);
    let lengths = if input.args.len() == 4 { Some(primitive::<Int32Type>(input, 3)?) } else { None };
    build_bytes(input, |row, out| {
        let (whole, new, start) = (values.value(row), pieces.value(row), i64::from(starts.value(row)));
        if start <= 0 {
            return Err(Error::new(SqlState::SubstringError, "negative substring length not allowed"));
        }
        let length = lengths.as_ref().map_or(new.len() as i64, |lengths| i64::from(lengths.value(row)));
        let behind = start + length;
        if i32::try_from(behind).is_err() {
            return Err(super::arithmetic::out_of_range(&INT));
        }
        out.extend_from_slice(piece(whole, 1, Some(start - 1))?);
        out.extend_from_slice(new);
        out.extend_from_slice(piece(whole, behind, None)?);
        Ok(())
    })
}

fn position(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, wanted) = (bytes(input, 0)?, bytes(input, 1)?);
    let found = |whole: &[u8], wanted: &[u8]| {
        if wanted.is_empty() {
            return 1;
        }
        whole.windows(wanted.len()).position(|piece| piece == wanted).map_or(0, |place| place as i32 + 1)
    };
    let result = values.iter().zip(wanted.iter()).map(|(whole, wanted)| Some(found(whole?, wanted?)));
    Ok(Arc::new(result.collect::<Int32Array>()))
}

fn trim(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, sets) = (bytes(input, 0)?, bytes(input, 1)?);
    let (left, right) = (input.op() != "rtrim", input.op() != "ltrim");
    build_bytes(input, |row, out| {
        let (mut value, set) = (values.value(row), sets.value(row));
        while let ([first, rest @ ..], true) = (value, left)
            && set.contains(first)
        {
            value = rest;
        }
        while let ([rest @ .., last], true) = (value, right)
            && set.contains(last)
        {
            value = rest;
        }
        out.extend_from_slice(value);
        Ok(())
    })
}

fn concat(input: &Input<'_>) -> Result<ArrayRef> {
    let (left, right) = (bytes(input, 0)?, bytes(input, 1)?);
    build_bytes(input, |row, out| {
        out.extend_from_slice(left.value(row));
        out.extend_from_slice(right.value(row));
        Ok(())
    })
}

/// Where a byte is, and which bit of it, for an index of bytes or of bits.
fn place_of(index: i64, value: &[u8], by_bits: bool) -> Result<(usize, u32)> {
    let count = value.len() as i64 * if by_bits { 8 } else { 1 };
    if !(0..count).contains(&index) {
        let message = format!("index {index} out of valid range, 0..{}", count - 1);
        return Err(Error::new(SqlState::ArraySubscript, message));
    }
    Ok(if by_bits { ((index / 8) as usize, (index % 8) as u32) } else { (index as usize, 0) })
}

fn index(input: &Input<'_>) -> Result<PrimitiveArray<Int64Type>> {
    let array = input.array(1)?;
    Ok(match array.as_primitive_opt::<Int32Type>() {
        Some(short) => short.iter().map(|index| index.map(i64::from)).collect::<Int64Array>(),
        None => primitive::<Int64Type>(input, 1)?,
    })
}

fn get(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, indexes, by_bits) = (bytes(input, 0)?, index(input)?, input.op() == "get_bit");
    let each = values.iter().zip(indexes.iter()).map(|pair| match pair {
        (Some(value), Some(index)) => {
            let (byte, bit) = place_of(index, value, by_bits)?;
            let found = i32::from(value[byte]);
            Ok(Some(if by_bits { found >> bit & 1 } else { found }))
        }
        _ => Ok(None),
    });
    Ok(Arc::new(each.collect::<Result<Int32Array>>()?))
}

fn set(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, indexes, new) = (bytes(input, 0)?, index(input)?, primitive::<Int32Type>(input, 2)?);
    let by_bits = input.op() == "set_bit";
    build_bytes(input, |row, out| {
        out.extend_from_slice(values.value(row));
        let (byte, bit) = place_of(indexes.value(row), out, by_bits)?;
        match (by_bits, new.value(row)) {
            (false, new) => out[byte] = new as u8,
            (true, 0) => out[byte] &= !(1 << bit),
            (true, 1) => out[byte] |= 1 << bit,
            _ => return Err(Error::new(SqlState::InvalidParameter, "new bit must be 0 or 1")),
        }
        Ok(())
    })
}

/// md5, of text too, as hexadecimal digits.
fn md5_text(input: &Input<'_>) -> Result<ArrayRef> {
    let array = input.array(0)?;
    let texts = array.as_string_opt::<i32>();
    let binary = array.as_binary_opt::<i32>();
    build(
        input.rows,
        |row| array.is_null(row),
        |row, out| {
            let value = texts.map(|texts| texts.value(row).as_bytes()).or(binary.map(|bytes| bytes.value(row)));
            for byte in Md5::digest(value.unwrap_or_default()) {
                super::encodings::push_hex(byte, out);
            }
            Ok(())
        },
    )
}

fn sha(input: &Input<'_>) -> Result<ArrayRef> {
    let values = bytes(input, 0)?;
    build_bytes(input, |row, out| {
        let value = values.value(row);
        match input.op() {
            "sha224" => out.extend_from_slice(&Sha224::digest(value)),
            "sha256" => out.extend_from_slice(&Sha256::digest(value)),
            "sha384" => out.extend_from_slice(&Sha384::digest(value)),
            _ => out.extend_from_slice(&Sha512::digest(value)),
        }
        Ok(())
    })
}

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "length" (BYTES) -> INT => length;
    "octet_length" (BYTES) -> INT => length;
    "bit_length" (BYTES) -> INT => length;
    "substring" (BYTES, INT) -> BYTES => substring;
    "substring" (BYTES, INT, INT) -> BYTES => substring;
    "substr" (BYTES, INT) -> BYTES => substring;
    "substr" (BYTES, INT, INT) -> BYTES => substring;
    "overlay" (BYTES, BYTES, INT) -> BYTES => overlay;
    "overlay" (BYTES, BYTES, INT, INT) -> BYTES => overlay;
    "position" (BYTES, BYTES) -> INT => position;
    "btrim" (BYTES, BYTES) -> BYTES => trim;
    "ltrim" (BYTES, BYTES) -> BYTES => trim;
    "rtrim" (BYTES, BYTES) -> BYTES => trim;
    "byteacat" (BYTES, BYTES) -> BYTES => concat;
    "get_byte" (BYTES, INT) -> INT => get;
    "get_bit" (BYTES, PgType::Int8) -> INT => get;
    "set_byte" (BYTES, INT, INT) -> BYTES => set;
    "set_bit" (BYTES, PgType::Int8, INT) -> BYTES => set;
    "md5" (PgType::Text) -> PgType::Text => md5_text;
    "md5" (BYTES) -> PgType::Text => md5_text;
    "sha224" (BYTES) -> BYTES => sha;
    "sha256" (BYTES) -> BYTES => sha;
    "sha384" (BYTES) -> BYTES => sha;
    "sha512" (BYTES) -> BYTES => sha;
};
