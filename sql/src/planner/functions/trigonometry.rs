//! Trigonometric and hyperbolic functions of double precision.
//!
//! Those of degrees give exact results at the angles where one expects them, as PostgreSQL's do: each
//! is scaled by its own value at 30, 45 or 60 degrees. The inverse hyperbolic ones are written out,
//! because the standard library's differ from the C library's in the last digit.

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::datatypes::Float64Type;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::arithmetic::{overloads, primitive};
use super::udf::Input;

const FLOAT: PgType = PgType::Float8;
/// What a degree is in radians.
pub(super) const DEGREE: f64 = 0.017_453_292_519_943_295;

fn out_of_range() -> Error {
    Error::new(SqlState::NumericOutOfRange, "input is out of range")
}

fn unary(input: &Input<'_>, value: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let result = primitive::<Float64Type>(input, 0)?
        .iter()
        .map(|number| number.map(|number| if number.is_nan() { Ok(number) } else { value(number) }).transpose())
        .collect::<Result<PrimitiveArray<Float64Type>>>()?;
    Ok(Arc::new(result))
}

/// Of angles: an infinite one has none.
fn angle(input: &Input<'_>) -> Result<ArrayRef> {
    let function: fn(f64) -> f64 = match input.op() {
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "cot" => |x| 1.0 / x.tan(),
        "sind" => sind,
        "cosd" => cosd,
        "tand" => tand,
        _ => cotd,
    };
    unary(input, |x| if x.is_infinite() { Err(out_of_range()) } else { Ok(function(x)) })
}

/// Of values from -1 to 1.
fn ratio(input: &Input<'_>) -> Result<ArrayRef> {
    let function: fn(f64) -> f64 = match input.op() {
        "asin" => f64::asin,
        "acos" => f64::acos,
        "asind" => |x| if x >= 0.0 { asind(x) } else { -asind(-x) },
        "acosd" => |x| if x >= 0.0 { acosd(x) } else { 90.0 + asind(-x) },
        _ => atanh,
    };
    unary(input, |x| if (-1.0..=1.0).contains(&x) { Ok(function(x)) } else { Err(out_of_range()) })
}

fn any(input: &Input<'_>) -> Result<ArrayRef> {
    let function: fn(f64) -> f64 = match input.op() {
        "atan" => f64::atan,
        "atand" => |x| (x.atan() / 1.0f64.atan()) * 45.0,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        _ => asinh,
    };
    unary(input, |x| Ok(function(x)))
}

fn acosh(input: &Input<'_>) -> Result<ArrayRef> {
    unary(input, |x| {
        if x < 1.0 {
            return Err(out_of_range());
        }
        Ok(match x {
            _ if x > BIG => x.ln() + std::f64::consts::LN_2,
            _ if x > 2.0 => (2.0 * x - 1.0 / (x + (x * x - 1.0).sqrt())).ln(),
            _ => {
                let above = x - 1.0;
                (above + (2.0 * above + above * above).sqrt()).ln_1p()
            }
        })
    })
}

/// Beyond, a square drowns the one beside it.
const BIG: f64 = (1u64 << 28) as f64;

fn asinh(x: f64) -> f64 {
    let size = x.abs();
    if !(1.0 / BIG..).contains(&size) || size.is_infinite() {
        return x;
    }
    let value = if size > BIG {
        size.ln() + std::f64::consts::LN_2
    } else if size > 2.0 {
        (2.0 * size + 1.0 / ((size * size + 1.0).sqrt() + size)).ln()
    } else {
        let square = size * size;
        (size + square / (1.0 + (1.0 + square).sqrt())).ln_1p()
    };
    value.copysign(x)
}

fn atanh(x: f64) -> f64 {
    let size = x.abs();
    let value = if size < 0.5 {
        if size < 1.0 / BIG {
            return x;
        }
        let twice = size + size;
        0.5 * (twice + twice * size / (1.0 - size)).ln_1p()
    } else if size < 1.0 {
        0.5 * ((size + size) / (1.0 - size)).ln_1p()
    } else {
        f64::INFINITY
    };
    value.copysign(x)
}

/// From 0 to 30 degrees.
fn small_sine(x: f64) -> f64 {
    ((x * DEGREE).sin() / (30.0 * DEGREE).sin()) / 2.0
}

/// From 0 to 60 degrees.
fn small_cosine(x: f64) -> f64 {
    let below_one = 1.0 - (x * DEGREE).cos();
    1.0 - (below_one / (1.0 - (60.0 * DEGREE).cos())) / 2.0
}

/// From 0 to 90 degrees.
fn sine(x: f64) -> f64 {
    if x <= 30.0 { small_sine(x) } else { small_cosine(90.0 - x) }
}

/// From 0 to 90 degrees.
fn cosine(x: f64) -> f64 {
    if x <= 60.0 { small_cosine(x) } else { small_sine(90.0 - x) }
}

/// An angle in the first quadrant with the same value but for the sign: the angle, and the signs for
/// functions that are odd around 0, around 180 and around 90 degrees.
fn first_quadrant(x: f64) -> (f64, [f64; 3]) {
    let mut x = x % 360.0;
    let mut signs = [1.0; 3];
    if x < 0.0 {
        (x, signs[0]) = (-x, -1.0);
    }
    if x > 180.0 {
        (x, signs[1]) = (360.0 - x, -1.0);
    }
    if x > 90.0 {
        (x, signs[2]) = (180.0 - x, -1.0);
    }
    (x, signs)
}

fn sind(x: f64) -> f64 {
    let (x, signs) = first_quadrant(x);
    signs[0] * signs[1] * sine(x)
}

fn cosd(x: f64) -> f64 {
    let (x, signs) = first_quadrant(x);
    signs[2] * cosine(x)
}

fn tand(x: f64) -> f64 {
    let (x, signs) = first_quadrant(x);
    let value = signs.iter().product::<f64>() * ((sine(x) / cosine(x)) / (sine(45.0) / cosine(45.0)));
    if value == 0.0 { 0.0 } else { value }
}

fn cotd(x: f64) -> f64 {
    let (x, signs) = first_quadrant(x);
    let value = signs.iter().product::<f64>() * ((cosine(x) / sine(x)) / (cosine(45.0) / sine(45.0)));
    if value == 0.0 { 0.0 } else { value }
}

/// Of a ratio from 0 to 1.
fn asind(x: f64) -> f64 {
    if x <= 0.5 { (x.asin() / 0.5f64.asin()) * 30.0 } else { 90.0 - (x.acos() / 0.5f64.acos()) * 60.0 }
}

/// Of a ratio from 0 to 1.
fn acosd(x: f64) -> f64 {
    if x <= 0.5 { 90.0 - (x.asin() / 0.5f64.asin()) * 30.0 } else { (x.acos() / 0.5f64.acos()) * 60.0 }
}

fn atan2(input: &Input<'_>) -> Result<ArrayRef> {
    let degrees = input.op() == "atan2d";
    let (left, right) = (primitive::<Float64Type>(input, 0)?, primitive::<Float64Type>(input, 1)?);
    let result = left.iter().zip(right.iter()).map(|pair| match pair {
        (Some(left), Some(right)) if degrees => Some((left.atan2(right) / 1.0f64.atan()) * 45.0),
        (Some(left), Some(right)) => Some(left.atan2(right)),
        _ => None,
    });
    Ok(Arc::new(result.collect::<PrimitiveArray<Float64Type>>()))
}

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "sin" (FLOAT) -> FLOAT => angle;
    "cos" (FLOAT) -> FLOAT => angle;
    "tan" (FLOAT) -> FLOAT => angle;
    "cot" (FLOAT) -> FLOAT => angle;
    "sind" (FLOAT) -> FLOAT => angle;
    "cosd" (FLOAT) -> FLOAT => angle;
    "tand" (FLOAT) -> FLOAT => angle;
    "cotd" (FLOAT) -> FLOAT => angle;
    "asin" (FLOAT) -> FLOAT => ratio;
    "acos" (FLOAT) -> FLOAT => ratio;
    "asind" (FLOAT) -> FLOAT => ratio;
    "acosd" (FLOAT) -> FLOAT => ratio;
    "atanh" (FLOAT) -> FLOAT => ratio;
    "atan" (FLOAT) -> FLOAT => any;
    "atand" (FLOAT) -> FLOAT => any;
    "sinh" (FLOAT) -> FLOAT => any;
    "cosh" (FLOAT) -> FLOAT => any;
    "tanh" (FLOAT) -> FLOAT => any;
    "asinh" (FLOAT) -> FLOAT => any;
    "acosh" (FLOAT) -> FLOAT => acosh;
    "atan2" (FLOAT, FLOAT) -> FLOAT => atan2;
    "atan2d" (FLOAT, FLOAT) -> FLOAT => atan2;
};
