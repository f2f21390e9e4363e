//! Functions about whole numbers: divisors, factorials, bits, buckets, scales.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int16Type, Int32Type, Int64Type};
use thalweg_dataflow::types::{Numeric, PgType};
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::arithmetic::{Numerics, build_numerics, out_of_range, overloads, primitive};
use super::text::{build, strings};
use super::udf::Input;

const NUMERIC: PgType = PgType::Numeric(None);

fn divisor(left: u64, right: u64) -> u64 {
    let (mut left, mut right) = (left, right);
    while right > 0 {
        (left, right) = (right, left % right);
    }
    left
}

fn paired<T: ArrowPrimitiveType>(
    input: &Input<'_>,
    value: impl Fn(T::Native, T::Native) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let (left, right) = (primitive::<T>(input, 0)?, primitive::<T>(input, 1)?);
    let result = left.iter().zip(right.iter()).map(|pair| match pair {
        (Some(left), Some(right)) => value(left, right).map(Some).ok_or_else(|| out_of_range(input.result)),
        _ => Ok(None),
    });
    Ok(Arc::new(result.collect::<Result<PrimitiveArray<T>>>()?))
}

fn gcd(input: &Input<'_>) -> Result<ArrayRef> {
    let whole = |left: i64, right: i64| divisor(left.unsigned_abs(), right.unsigned_abs());
    match input.result {
        PgType::Int4 => paired::<Int32Type>(input, |left, right| i32::try_from(whole(left.into(), right.into())).ok()),
        PgType::Int8 => paired::<Int64Type>(input, |left, right| i64::try_from(whole(left, right)).ok()),
        _ => numerics(input, Numeric::gcd),
    }
}

fn lcm(input: &Input<'_>) -> Result<ArrayRef> {
    let whole = |left: i64, right: i64| {
        if left == 0 || right == 0 {
            return Some(0);
        }
        let (left, right) = (left.unsigned_abs(), right.unsigned_abs());
        i64::try_from((left / divisor(left, right)).checked_mul(right)?).ok()
    };
    match input.result {
        PgType::Int4 => paired::<Int32Type>(input, |left, right| i32::try_from(whole(left.into(), right.into())?).ok()),
        PgType::Int8 => paired::<Int64Type>(input, whole),
        _ => numerics(input, Numeric::lcm),
    }
}

fn numerics(input: &Input<'_>, value: fn(&Numeric, &Numeric) -> Result<Numeric>) -> Result<ArrayRef> {
    let (left, right) = (Numerics::new(input, 0)?, Numerics::new(input, 1)?);
    build_numerics(input.rows, |row| match (left.get(row)?, right.get(row)?) {
        (Some(left), Some(right)) => value(&left, &right).map(Some),
        _ => Ok(None),
    })
}

fn factorial(input: &Input<'_>) -> Result<ArrayRef> {
    let values = primitive::<Int64Type>(input, 0)?;
    build_numerics(input.rows, |row| values.is_valid(row).then(|| Numeric::factorial(values.value(row))).transpose())
}

fn scale(input: &Input<'_>) -> Result<ArrayRef> {
    let values = Numerics::new(input, 0)?;
    let least = input.op() == "min_scale";
    let each = |row: usize| {
        Ok(values
            .get(row)?
            .filter(Numeric::is_finite)
            .and_then(|value| if least { value.min_scale() } else { Some(value.scale()) }.map(|scale| scale as i32)))
    };
    Ok(Arc::new((0..input.rows).map(each).collect::<Result<Int32Array>>()?))
}

fn trim_scale(input: &Input<'_>) -> Result<ArrayRef> {
    let values = Numerics::new(input, 0)?;
    build_numerics(input.rows, |row| Ok(values.get(row)?.map(|value| value.trim_scale())))
}

fn numeric_buckets(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, lows, highs) = (Numerics::new(input, 0)?, Numerics::new(input, 1)?, Numerics::new(input, 2)?);
    let counts = primitive::<Int32Type>(input, 3)?;
    let each = |row: usize| match (values.get(row)?, lows.get(row)?, highs.get(row)?) {
        (Some(value), Some(low), Some(high)) if counts.is_valid(row) => {
            value.width_bucket(&low, &high, counts.value(row)).map(Some)
        }
        _ => Ok(None),
    };
    Ok(Arc::new((0..input.rows).map(each).collect::<Result<Int32Array>>()?))
}

fn float_buckets(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, lows) = (primitive::<Float64Type>(input, 0)?, primitive::<Float64Type>(input, 1)?);
    let (highs, counts) = (primitive::<Float64Type>(input, 2)?, primitive::<Int32Type>(input, 3)?);
    let each = |row: usize| {
        if values.is_null(row) || lows.is_null(row) || highs.is_null(row) || counts.is_null(row) {
            return Ok(None);
        }
        float_bucket(values.value(row), lows.value(row), highs.value(row), counts.value(row)).map(Some)
    };
    Ok(Arc::new((0..input.rows).map(each).collect::<Result<Int32Array>>()?))
}

fn float_bucket(value: f64, low: f64, high: f64, count: i32) -> Result<i32> {
    let wrong = |message: &str| Err(Error::new(SqlState::InvalidWidthBucketArgument, message));
    if count <= 0 {
        return wrong("count must be greater than zero");
    }
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return wrong("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return wrong("lower and upper bounds must be finite");
    }
    if low == high {
        return wrong("lower bound cannot equal upper bound");
    }
    let rising = low < high;
    if if rising { value < low } else { value > low } {
        return Ok(0);
    }
    if if rising { value >= high } else { value <= high } {
        return count.checked_add(1).ok_or_else(|| out_of_range(&PgType::Int4));
    }
    let (distance, width) = if rising { (value - low, high - low) } else { (low - value, low - high) };
    // A width that is beyond a float is halved, and so is the distance.
    let part = if width.is_finite() {
        distance / width
    } else if rising {
        (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)
    } else {
        (low / 2.0 - value / 2.0) / (low / 2.0 - high / 2.0)
    };
    Ok(((f64::from(count) * part) as i32).min(count - 1) + 1)
}

fn bit_not(input: &Input<'_>) -> Result<ArrayRef> {
    Ok(match input.result {
        PgType::Int2 => Arc::new(primitive::<Int16Type>(input, 0)?.unary::<_, Int16Type>(|value| !value)),
        PgType::Int4 => Arc::new(primitive::<Int32Type>(input, 0)?.unary::<_, Int32Type>(|value| !value)),
        _ => Arc::new(primitive::<Int64Type>(input, 0)?.unary::<_, Int64Type>(|value| !value)),
    })
}

fn bit_count(input: &Input<'_>) -> Result<ArrayRef> {
    let values = input.array(0)?;
    let ones = |bytes: &[u8]| bytes.iter().map(|byte| i64::from(byte.count_ones())).sum::<i64>();
    Ok(Arc::new(values.as_binary::<i32>().iter().map(|bytes| bytes.map(ones)).collect::<Int64Array>()))
}

fn to_hex(input: &Input<'_>) -> Result<ArrayRef> {
    use std::fmt::Write;
    let values = input.array(0)?;
    let short = input.types[0] == PgType::Int4;
    build(
        input.rows,
        |row| values.is_null(row),
        |row, out| {
            let number = match short {
                true => u64::from(values.as_primitive::<Int32Type>().value(row) as u32),
                false => values.as_primitive::<Int64Type>().value(row) as u64,
            };
            write!(out, "{number:x}").map_err(|error| Error::internal(error.to_string()))
        },
    )
}

/// How many of the arguments are null, or not.
fn num_nulls(input: &Input<'_>) -> Result<ArrayRef> {
    let nulls = input.op() == "num_nulls";
    let columns = (0..input.args.len()).map(|place| input.array(place)).collect::<Result<Vec<_>>>()?;
    let counted = |row: usize| columns.iter().filter(|column| column.is_null(row) == nulls).count() as i32;
    Ok(Arc::new((0..input.rows).map(|row| Some(counted(row))).collect::<Int32Array>()))
}

/// `pg_size_pretty`.
fn size_pretty(input: &Input<'_>) -> Result<ArrayRef> {
    let values = Numerics::new(input, 0)?;
    let numbers = (0..input.rows).map(|row| values.get(row)).collect::<Result<Vec<_>>>()?;
    build(
        input.rows,
        |row| numbers[row].is_none(),
        |row, out| {
            let Some(size) = &numbers[row] else { return Ok(()) };
            pretty(size, out)
        },
    )
}

const UNITS: &[&str] = &["bytes", "kB", "MB", "GB", "TB", "PB"];

/// A size in the greatest unit of which there are less than 10 Ki, the last one aside.
fn pretty(size: &Numeric, out: &mut String) -> Result<()> {
    let (limit, half_limit) = (Numeric::from(10 * 1024), Numeric::from(20 * 1024 - 1));
    let mut size = size.clone();
    for (place, unit) in UNITS.iter().enumerate() {
        let last = place == UNITS.len() - 1;
        let bound = if place == 0 { &limit } else { &half_limit };
        if last || size.abs() < *bound {
            if place > 0 {
                // Kept in halves, to be rounded once.
                size = half_rounded(&size)?;
            }
            size.write_to(out);
            out.push(' ');
            out.push_str(unit);
            return Ok(());
        }
        let by = if place == 0 { 512 } else { 1024 };
        size = size.div_trunc(&Numeric::from(by))?;
    }
    Ok(())
}

fn half_rounded(size: &Numeric) -> Result<Numeric> {
    let one = Numeric::from(1);
    let moved = if size.signum() < 0 { size.sub(&one)? } else { size.add(&one)? };
    moved.div_trunc(&Numeric::from(2))
}

/// `pg_size_bytes`.
fn size_bytes(input: &Input<'_>) -> Result<ArrayRef> {
    let texts = strings(input, 0)?;
    let each = texts.iter().map(|text| text.map(bytes_of).transpose());
    Ok(Arc::new(each.collect::<Result<Int64Array>>()?))
}

fn bytes_of(text: &str) -> Result<i64> {
    let wrong = || Error::new(SqlState::InvalidParameter, format!("invalid size: \"{text}\""));
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-');
    let mut end = trimmed.find(|c| !is_number(c)).unwrap_or(trimmed.len());
    // An exponent, if a number follows.
    if trimmed[end..].starts_with(['e', 'E']) {
        let rest = &trimmed[end + 1..];
        let signs = usize::from(rest.starts_with(['+', '-']));
        let digits = rest[signs..].bytes().take_while(u8::is_ascii_digit).count();
        end += if digits > 0 { 1 + signs + digits } else { 0 };
    }
    let (number, unit) = trimmed.split_at(end);
    let number = Numeric::parse(number).ok().filter(Numeric::is_finite).ok_or_else(wrong)?;
    let unit = unit.trim_matches(|c: char| c.is_ascii_whitespace());
    let place = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        own => UNITS.iter().position(|unit| unit.eq_ignore_ascii_case(own)).ok_or_else(|| {
            wrong()
                .detail(format!("Invalid size unit: \"{unit}\"."))
                .hint("Valid units are \"bytes\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\".")
        })?,
    };
    number.mul(&Numeric::from(1i64 << (10 * place)))?.to_i64("bigint")
}

fn is_finite(input: &Input<'_>) -> Result<ArrayRef> {
    use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
    let values = input.array(0)?;
    let each = |row: usize| {
        values.is_valid(row).then(|| match input.types[0] {
            PgType::Date => !matches!(values.as_primitive::<Date32Type>().value(row), i32::MIN | i32::MAX),
            PgType::Interval => true,
            _ => !matches!(values.as_primitive::<TimestampMicrosecondType>().value(row), i64::MIN | i64::MAX),
        })
    };
    Ok(Arc::new((0..input.rows).map(each).collect::<BooleanArray>()))
}

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "gcd" (PgType::Int4, PgType::Int4) -> PgType::Int4 => gcd;
    "gcd" (PgType::Int8, PgType::Int8) -> PgType::Int8 => gcd;
    "gcd" (NUMERIC, NUMERIC) -> NUMERIC => gcd;
    "lcm" (PgType::Int4, PgType::Int4) -> PgType::Int4 => lcm;
    "lcm" (PgType::Int8, PgType::Int8) -> PgType::Int8 => lcm;
    "lcm" (NUMERIC, NUMERIC) -> NUMERIC => lcm;
    "factorial" (PgType::Int8) -> NUMERIC => factorial;
    "scale" (NUMERIC) -> PgType::Int4 => scale;
    "min_scale" (NUMERIC) -> PgType::Int4 => scale;
    "trim_scale" (NUMERIC) -> NUMERIC => trim_scale;
    "width_bucket" (NUMERIC, NUMERIC, NUMERIC, PgType::Int4) -> PgType::Int4 => numeric_buckets;
    "width_bucket" (PgType::Float8, PgType::Float8, PgType::Float8, PgType::Int4) -> PgType::Int4 => float_buckets;
    "~" (PgType::Int2) -> PgType::Int2 => bit_not;
    "~" (PgType::Int4) -> PgType::Int4 => bit_not;
    "~" (PgType::Int8) -> PgType::Int8 => bit_not;
    "bit_count" (PgType::Bytea) -> PgType::Int8 => bit_count;
    "to_hex" (PgType::Int4) -> PgType::Text => to_hex;
    "to_hex" (PgType::Int8) -> PgType::Text => to_hex;
    "pg_size_pretty" (NUMERIC) -> PgType::Text => size_pretty;
    "pg_size_bytes" (PgType::Text) -> PgType::Int8 => size_bytes;
    "isfinite" (PgType::Date) -> PgType::Bool => is_finite;
    "isfinite" (PgType::Timestamp) -> PgType::Bool => is_finite;
    "isfinite" (PgType::Timestamptz) -> PgType::Bool => is_finite;
    "isfinite" (PgType::Interval) -> PgType::Bool => is_finite;
};

/// How many elements of an array are null, or not.
fn null_items(input: &Input<'_>) -> Result<ArrayRef> {
    use thalweg_dataflow::types::array;
    let nulls = input.op().starts_with("num_nulls");
    let arrays = input.array(0)?;
    let element = input.types[0].element().ok_or_else(|| Error::internal("VARIADIC of no array"))?;
    let counted = arrays.as_binary::<i32>().iter().map(|bytes| {
        let items = bytes.map(|bytes| array::items(element, bytes));
        items.map(|items| items.filter(|item| array::is_null_item(item) == nulls).count() as i32)
    });
    Ok(Arc::new(counted.collect::<Int32Array>()))
}

/// Those that take any number of arguments of any type.
pub(super) const VARIADIC: &[Definition] = &[
    Definition { name: "num_nulls", args: &[], variadic: true, result: PgType::Int4, kernel: num_nulls },
    Definition { name: "num_nulls variadic", args: &[], variadic: true, result: PgType::Int4, kernel: null_items },
    Definition { name: "num_nonnulls variadic", args: &[], variadic: true, result: PgType::Int4, kernel: null_items },
    Definition { name: "num_nonnulls", args: &[], variadic: true, result: PgType::Int4, kernel: num_nulls },
];
