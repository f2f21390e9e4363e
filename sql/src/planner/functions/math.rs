//! Mathematical functions, over integers, numerics and floats.

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::datatypes::{Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};
use thalweg_dataflow::types::{Numeric, PgType};
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::arithmetic::{Numerics, build_numerics, division_by_zero, out_of_range, overloads, primitive};
use super::trigonometry::DEGREE;
use super::udf::Input;

const NUMERIC: PgType = PgType::Numeric(None);

fn numeric_unary(input: &Input<'_>, value: impl Fn(Numeric) -> Result<Numeric>) -> Result<ArrayRef> {
    let values = Numerics::new(input, 0)?;
    build_numerics(input.rows, |row| values.get(row)?.map(&value).transpose())
}

fn numeric_round_places(input: &Input<'_>) -> Result<ArrayRef> {
    if input.args.len() == 1 {
        return numeric_unary(input, |value| value.round(0));
    }
    rounding(input, Numeric::round)
}

fn numeric_trunc_places(input: &Input<'_>) -> Result<ArrayRef> {
    if input.args.len() == 1 {
        return numeric_unary(input, |value| value.trunc(0));
    }
    rounding(input, Numeric::trunc)
}

fn rounding(input: &Input<'_>, value: fn(&Numeric, i32) -> Result<Numeric>) -> Result<ArrayRef> {
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::ColumnarValue;
    if let ColumnarValue::Scalar(ScalarValue::Int32(Some(places))) = &input.args[1] {
        return numeric_unary(input, |number| value(&number, *places));
    }
    let values = Numerics::new(input, 0)?;
    let places = primitive::<Int32Type>(input, 1)?;
    let places: Vec<Option<i32>> = places.iter().collect();
    build_numerics(input.rows, |row| match (values.get(row)?, places[row]) {
        (Some(number), Some(places)) => value(&number, places).map(Some),
        _ => Ok(None),
    })
}

fn float_unary(input: &Input<'_>, value: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let result = primitive::<Float64Type>(input, 0)?
        .iter()
        .map(|number| number.map(&value).transpose())
        .collect::<Result<PrimitiveArray<Float64Type>>>()?;
    Ok(Arc::new(result))
}

fn float_binary(input: &Input<'_>, value: impl Fn(f64, f64) -> Result<f64>) -> Result<ArrayRef> {
    let (left, right) = (primitive::<Float64Type>(input, 0)?, primitive::<Float64Type>(input, 1)?);
    let result = left.iter().zip(right.iter()).map(|pair| match pair {
        (Some(left), Some(right)) => value(left, right).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(result.collect::<Result<PrimitiveArray<Float64Type>>>()?))
}

fn abs(input: &Input<'_>) -> Result<ArrayRef> {
    let overflow = || out_of_range(input.result);
    Ok(match input.result {
        PgType::Int2 => Arc::new(
            primitive::<Int16Type>(input, 0)?
                .iter()
                .map(|value| value.map(|value| value.checked_abs().ok_or_else(overflow)).transpose())
                .collect::<Result<PrimitiveArray<Int16Type>>>()?,
        ),
        PgType::Int4 => Arc::new(
            primitive::<Int32Type>(input, 0)?
                .iter()
                .map(|value| value.map(|value| value.checked_abs().ok_or_else(overflow)).transpose())
                .collect::<Result<PrimitiveArray<Int32Type>>>()?,
        ),
        PgType::Int8 => Arc::new(
            primitive::<Int64Type>(input, 0)?
                .iter()
                .map(|value| value.map(|value| value.checked_abs().ok_or_else(overflow)).transpose())
                .collect::<Result<PrimitiveArray<Int64Type>>>()?,
        ),
        PgType::Float4 => Arc::new(primitive::<Float32Type>(input, 0)?.unary::<_, Float32Type>(f32::abs)),
        PgType::Float8 => return float_unary(input, |value| Ok(value.abs())),
        _ => return numeric_unary(input, |value| Ok(value.abs())),
    })
}

fn float_rounding(input: &Input<'_>) -> Result<ArrayRef> {
    float_unary(input, |value| {
        Ok(match input.op() {
            "round" => value.round_ties_even(),
            "floor" => value.floor(),
            "ceil" | "ceiling" => value.ceil(),
            "trunc" => value.trunc(),
            _ if value.is_nan() => value,
            _ if value == 0.0 => 0.0,
            _ => value.signum(),
        })
    })
}

fn numeric_rounding(input: &Input<'_>) -> Result<ArrayRef> {
    numeric_unary(input, |value| match input.op() {
        "floor" => value.floor(),
        "ceil" | "ceiling" => value.ceil(),
        _ if !value.is_finite() && value.is_nan() => Ok(value),
        _ => Ok(Numeric::from(i64::from(value.signum()))),
    })
}

fn modulo(input: &Input<'_>) -> Result<ArrayRef> {
    macro_rules! integers {
        ($arrow:ty) => {{
            let (left, right) = (primitive::<$arrow>(input, 0)?, primitive::<$arrow>(input, 1)?);
            let result = left.iter().zip(right.iter()).map(|pair| match pair {
                (Some(_), Some(0)) => Err(division_by_zero()),
                (Some(left), Some(right)) => Ok(Some(left.wrapping_rem(right))),
                _ => Ok(None),
            });
            Ok(Arc::new(result.collect::<Result<PrimitiveArray<$arrow>>>()?))
        }};
    }
    match input.result {
        PgType::Int2 => integers!(Int16Type),
        PgType::Int4 => integers!(Int32Type),
        PgType::Int8 => integers!(Int64Type),
        _ => numeric_binary(input, Numeric::rem),
    }
}

fn numeric_binary(input: &Input<'_>, value: fn(&Numeric, &Numeric) -> Result<Numeric>) -> Result<ArrayRef> {
    let (left, right) = (Numerics::new(input, 0)?, Numerics::new(input, 1)?);
    build_numerics(input.rows, |row| match (left.get(row)?, right.get(row)?) {
        (Some(left), Some(right)) => value(&left, &right).map(Some),
        _ => Ok(None),
    })
}

fn numeric_div(input: &Input<'_>) -> Result<ArrayRef> {
    numeric_binary(input, Numeric::div_trunc)
}

fn numeric_power(input: &Input<'_>) -> Result<ArrayRef> {
    numeric_binary(input, Numeric::pow)
}

/// `log(base, number)`.
fn numeric_log(input: &Input<'_>) -> Result<ArrayRef> {
    numeric_binary(input, |base, number| number.log(base))
}

fn numeric_function(input: &Input<'_>) -> Result<ArrayRef> {
    let ten = Numeric::from(10);
    numeric_unary(input, |value| match input.op() {
        "sqrt" => value.sqrt(),
        "exp" => value.exp(),
        "ln" => value.ln(),
        _ => value.log(&ten),
    })
}

fn float_power(input: &Input<'_>) -> Result<ArrayRef> {
    let wrong = |message: &str| Err(Error::new(SqlState::InvalidPowerArgument, message));
    float_binary(input, |base, exponent| {
        if base.is_nan() || exponent.is_nan() {
            return Ok(base.powf(exponent));
        }
        if base == 0.0 && exponent < 0.0 {
            return wrong("zero raised to a negative power is undefined");
        }
        if base < 0.0 && exponent.fract() != 0.0 && exponent.is_finite() {
            return wrong("a negative number raised to a non-integer power yields a complex result");
        }
        let result = base.powf(exponent);
        match base.is_finite() && exponent.is_finite() {
            true => checked(base, result),
            false => Ok(result),
        }
    })
}

/// A result that must be finite where its argument is, and not vanish.
fn checked(value: f64, result: f64) -> Result<f64> {
    if result.is_infinite() && value.is_finite() {
        return Err(Error::new(SqlState::NumericOutOfRange, "value out of range: overflow"));
    }
    if result == 0.0 && value != 0.0 {
        return Err(Error::new(SqlState::NumericOutOfRange, "value out of range: underflow"));
    }
    Ok(result)
}

fn float_function(input: &Input<'_>) -> Result<ArrayRef> {
    let logarithm = |value: f64| -> Result<f64> {
        if value == 0.0 {
            return Err(Error::new(SqlState::InvalidLogarithmArgument, "cannot take logarithm of zero"));
        }
        if value < 0.0 {
            return Err(Error::new(SqlState::InvalidLogarithmArgument, "cannot take logarithm of a negative number"));
        }
        Ok(value)
    };
    float_unary(input, |value| {
        Ok(match input.op() {
            "sqrt" if value < 0.0 => {
                return Err(Error::new(SqlState::InvalidPowerArgument, "cannot take square root of a negative number"));
            }
            "sqrt" => value.sqrt(),
            "cbrt" => value.cbrt(),
            "exp" if value == f64::NEG_INFINITY => 0.0,
            "exp" => checked(value, value.exp())?,
            "ln" => logarithm(value)?.ln(),
            "log" | "log10" => logarithm(value)?.log10(),
            "degrees" => checked(value, value / DEGREE)?,
            _ => checked(value, value * DEGREE)?,
        })
    })
}

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "abs" (PgType::Int2) -> PgType::Int2 => abs;
    "abs" (PgType::Int4) -> PgType::Int4 => abs;
    "abs" (PgType::Int8) -> PgType::Int8 => abs;
    "abs" (NUMERIC) -> NUMERIC => abs;
    "abs" (PgType::Float4) -> PgType::Float4 => abs;
    "abs" (PgType::Float8) -> PgType::Float8 => abs;
    "round" (NUMERIC, PgType::Int4) -> NUMERIC => numeric_round_places;
    "round" (NUMERIC) -> NUMERIC => numeric_round_places;
    "round" (PgType::Float8) -> PgType::Float8 => float_rounding;
    "trunc" (NUMERIC, PgType::Int4) -> NUMERIC => numeric_trunc_places;
    "trunc" (NUMERIC) -> NUMERIC => numeric_trunc_places;
    "trunc" (PgType::Float8) -> PgType::Float8 => float_rounding;
    "floor" (NUMERIC) -> NUMERIC => numeric_rounding;
    "floor" (PgType::Float8) -> PgType::Float8 => float_rounding;
    "ceil" (NUMERIC) -> NUMERIC => numeric_rounding;
    "ceil" (PgType::Float8) -> PgType::Float8 => float_rounding;
    "ceiling" (NUMERIC) -> NUMERIC => numeric_rounding;
    "ceiling" (PgType::Float8) -> PgType::Float8 => float_rounding;
    "sign" (NUMERIC) -> NUMERIC => numeric_rounding;
    "sign" (PgType::Float8) -> PgType::Float8 => float_rounding;
    "mod" (PgType::Int2, PgType::Int2) -> PgType::Int2 => modulo;
    "mod" (PgType::Int4, PgType::Int4) -> PgType::Int4 => modulo;
    "mod" (PgType::Int8, PgType::Int8) -> PgType::Int8 => modulo;
    "mod" (NUMERIC, NUMERIC) -> NUMERIC => modulo;
    "div" (NUMERIC, NUMERIC) -> NUMERIC => numeric_div;
    "power" (NUMERIC, NUMERIC) -> NUMERIC => numeric_power;
    "power" (PgType::Float8, PgType::Float8) -> PgType::Float8 => float_power;
    "pow" (NUMERIC, NUMERIC) -> NUMERIC => numeric_power;
    "pow" (PgType::Float8, PgType::Float8) -> PgType::Float8 => float_power;
    "sqrt" (NUMERIC) -> NUMERIC => numeric_function;
    "exp" (NUMERIC) -> NUMERIC => numeric_function;
    "ln" (NUMERIC) -> NUMERIC => numeric_function;
    "log" (NUMERIC) -> NUMERIC => numeric_function;
    "log10" (NUMERIC) -> NUMERIC => numeric_function;
    "log" (NUMERIC, NUMERIC) -> NUMERIC => numeric_log;
    "sqrt" (PgType::Float8) -> PgType::Float8 => float_function;
    "cbrt" (PgType::Float8) -> PgType::Float8 => float_function;
    "exp" (PgType::Float8) -> PgType::Float8 => float_function;
    "ln" (PgType::Float8) -> PgType::Float8 => float_function;
    "log" (PgType::Float8) -> PgType::Float8 => float_function;
    "log10" (PgType::Float8) -> PgType::Float8 => float_function;
    "degrees" (PgType::Float8) -> PgType::Float8 => float_function;
    "radians" (PgType::Float8) -> PgType::Float8 => float_function;
};
