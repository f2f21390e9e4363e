//! min and max over types that Arrow orders otherwise than PostgreSQL: floats, whose NaN is the
//! greatest, intervals, whose months have 30 days, and char(n), whose spaces at the end do not count.
//!
//! Values are exchanged for keys that order as PostgreSQL orders the values, and back. The engine
//! needs none of this.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, PrimitiveArray, StringArray};
use arrow::datatypes::{
    Float32Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
};
use datafusion::logical_expr::Expr;
use thalweg_dataflow::types::datetime::Interval;
use thalweg_dataflow::types::{PgType, Zone};
use thalweg_dataflow::{Error, Result};

use super::arithmetic::primitive;
use super::evaluated;
use super::udf::{Input, Kernel, PgFunction};

/// Whether values of this type need keys.
pub(crate) fn is_needed(ty: &PgType) -> bool {
    key_type(ty).is_some()
}

fn key_type(ty: &PgType) -> Option<PgType> {
    match ty {
        PgType::Float4 => Some(PgType::Int4),
        PgType::Float8 => Some(PgType::Int8),
        PgType::Interval => Some(PgType::Bytea),
        PgType::Bpchar(_) => Some(PgType::Text),
        _ => None,
    }
}

/// The type that min and max go over for values of this type.
pub(crate) fn carried(ty: &PgType) -> PgType {
    key_type(ty).unwrap_or_else(|| ty.clone())
}

/// The key of a value; the value itself where none is needed.
pub(crate) fn key(expr: Expr, ty: &PgType) -> Expr {
    let Some(key) = key_type(ty) else { return expr };
    let kernel: Kernel = match ty {
        PgType::Float4 => |input| {
            let values = primitive::<Float32Type>(input, 0)?;
            Ok(Arc::new(values.unary::<_, Int32Type>(|value| {
                let value = if value.is_nan() { f32::NAN } else { value };
                mirrored32(value.to_bits() as i32)
            })))
        },
        PgType::Float8 => |input| {
            let values = primitive::<Float64Type>(input, 0)?;
            Ok(Arc::new(values.unary::<_, Int64Type>(|value| {
                let value = if value.is_nan() { f64::NAN } else { value };
                mirrored64(value.to_bits() as i64)
            })))
        },
        PgType::Bpchar(_) => |input| {
            // The spaces go behind what no text holds, and less than which nothing is.
            let texts = input.array(0)?;
            let key = |text: &str| {
                let bare = text.trim_end_matches(' ');
                format!("{bare}\0{}", &text[bare.len()..])
            };
            Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| text.map(key)).collect::<StringArray>()))
        },
        _ => interval_keys,
    };
    evaluated(PgFunction::new("extreme_key", vec![ty.clone()], key, Zone::default(), kernel), vec![expr])
}

/// The value of a key.
pub(crate) fn value(expr: Expr, ty: &PgType) -> Expr {
    let Some(key) = key_type(ty) else { return expr };
    let kernel: Kernel = match ty {
        PgType::Float4 => |input| {
            let keys = primitive::<Int32Type>(input, 0)?;
            Ok(Arc::new(keys.unary::<_, Float32Type>(|key| f32::from_bits(mirrored32(key) as u32))))
        },
        PgType::Float8 => |input| {
            let keys = primitive::<Int64Type>(input, 0)?;
            Ok(Arc::new(keys.unary::<_, Float64Type>(|key| f64::from_bits(mirrored64(key) as u64))))
        },
        PgType::Bpchar(_) => |input| {
            let keys = input.array(0)?;
            let values = keys.as_string::<i32>().iter().map(|key| key.map(|key| key.replacen('\0', "", 1)));
            Ok(Arc::new(values.collect::<StringArray>()))
        },
        _ => interval_values,
    };
    evaluated(PgFunction::new("extreme_value", vec![key], ty.clone(), Zone::default(), kernel), vec![expr])
}

/// The bits of a float as an integer of the same order, and back: negative ones are turned round.
fn mirrored32(bits: i32) -> i32 {
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

fn mirrored64(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The canonical length, its sign turned for the order of bytes, then the interval itself.
fn interval_keys(input: &Input<'_>) -> Result<ArrayRef> {
    let values = primitive::<IntervalMonthDayNanoType>(input, 0)?;
    let mut keys = BinaryBuilder::with_capacity(values.len(), values.len() * 32);
    for value in &values {
        keys.append_option(value.map(|value| {
            let mut key = [0; 32];
            key[..16].copy_from_slice(&(Interval::from_arrow(value).canonical() ^ i128::MIN).to_be_bytes());
            key[16..20].copy_from_slice(&value.months.to_be_bytes());
            key[20..24].copy_from_slice(&value.days.to_be_bytes());
            key[24..].copy_from_slice(&value.nanoseconds.to_be_bytes());
            key
        }));
    }
    Ok(Arc::new(keys.finish()))
}

fn interval_values(input: &Input<'_>) -> Result<ArrayRef> {
    let array = input.array(0)?;
    let keys = array.as_binary_opt::<i32>().ok_or_else(|| Error::internal("an interval's key is bytes"))?;
    let value = |key: &[u8]| {
        let (months, rest) = key.get(16..)?.split_first_chunk()?;
        let (days, rest) = rest.split_first_chunk()?;
        let (nanoseconds, _) = rest.split_first_chunk()?;
        Some(IntervalMonthDayNano {
            months: i32::from_be_bytes(*months),
            days: i32::from_be_bytes(*days),
            nanoseconds: i64::from_be_bytes(*nanoseconds),
        })
    };
    Ok(Arc::new(keys.iter().map(|key| key.and_then(value)).collect::<PrimitiveArray<IntervalMonthDayNanoType>>()))
}
