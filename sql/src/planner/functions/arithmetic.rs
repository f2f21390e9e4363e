//! Arithmetic operators, sort keys, GREATEST and LEAST.
//!
//! Integers are checked, division cuts, numerics follow [`Numeric`]'s scales, floats fail where
//! PostgreSQL's do.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Datum, PrimitiveArray,
    Scalar, StringArray,
};
use arrow::compute::kernels::{cmp, numeric as kernels, zip};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ColumnarValue, Expr};
use thalweg_dataflow::types::datetime::{self, Interval};
use thalweg_dataflow::types::{Numeric, PgType, Zone, json, numeric_at};
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::typed::{Category, Typed, category, key_layout};
use super::udf::{Input, PgFunction};
use super::{Definition, evaluated, times_of_day};

/// The operand and result types of `left op right`, if there is such an operator.
pub(crate) fn arithmetic_types(op: &str, left: &PgType, right: &PgType) -> Option<(PgType, PgType, PgType)> {
    use PgType::{Date, Float4, Float8, Int2, Int4, Int8, Interval, Numeric, Time, Timestamp, Timestamptz};
    let same = |ty: PgType| Some((ty.clone(), ty.clone(), ty));
    match (op, left, right) {
        (_, Int2, Int2) => same(Int2),
        (_, Int2 | Int4, Int2 | Int4) => same(Int4),
        (_, Int2 | Int4 | Int8, Int2 | Int4 | Int8) => same(Int8),
        (_, Int2 | Int4 | Int8 | Numeric(_), Int2 | Int4 | Int8 | Numeric(_)) => same(Numeric(None)),
        ("%", Float4 | Float8, _) | ("%", _, Float4 | Float8) => None,
        (_, Float4, Float4) => same(Float4),
        (_, l, r)
            if category(l) == Category::Number
                && category(r) == Category::Number
                && *l != PgType::Oid
                && *r != PgType::Oid =>
        {
            same(Float8)
        }
        ("+" | "-", Date, Int2 | Int4) => Some((Date, Int4, Date)),
        ("+", Int2 | Int4, Date) => Some((Int4, Date, Date)),
        ("-", Date, Date) => Some((Date, Date, Int4)),
        ("+" | "-", Date | Timestamp, Interval) => Some((Timestamp, Interval, Timestamp)),
        ("+" | "-", Timestamptz, Interval) => Some((Timestamptz, Interval, Timestamptz)),
        ("+", Interval, Date | Timestamp) => Some((Interval, Timestamp, Timestamp)),
        ("+", Interval, Timestamptz) => Some((Interval, Timestamptz, Timestamptz)),
        ("-", Timestamptz, Date | Timestamp | Timestamptz) | ("-", Date | Timestamp, Timestamptz) => {
            Some((Timestamptz, Timestamptz, Interval))
        }
        ("-", Date | Timestamp, Date | Timestamp) => Some((Timestamp, Timestamp, Interval)),
        ("+" | "-", Interval, Interval) => same(Interval),
        ("*" | "/", Interval, r) if category(r) == Category::Number => Some((Interval, Float8, Interval)),
        ("*", l, Interval) if category(l) == Category::Number => Some((Float8, Interval, Interval)),
        ("+" | "-", Time(_), Interval) => Some((Time(None), Interval, Time(None))),
        ("+", Interval, Time(_)) => Some((Interval, Time(None), Time(None))),
        ("-", Time(_), Time(_)) => Some((Time(None), Time(None), Interval)),
        ("+", Date, Time(_)) => Some((Date, Time(None), Timestamp)),
        ("+", Time(_), Date) => Some((Time(None), Date, Timestamp)),
        ("+" | "-", Date | Timestamp | Timestamptz, Time(_)) | ("-", Interval, Time(_)) | ("*" | "/", _, Time(_)) => {
            arithmetic_types(op, left, &Interval)
        }
        ("+", Time(_), Timestamp | Timestamptz) | ("*" | "/", Time(_), _) => arithmetic_types(op, &Interval, right),
        _ => None,
    }
}

/// `left op right` over operands of these exact types.
pub(crate) fn arithmetic(
    op: &str,
    left: (Expr, &PgType),
    right: (Expr, &PgType),
    result: &PgType,
    zone: &str,
) -> Result<Expr> {
    let kernel = match result {
        PgType::Int2 | PgType::Int8 => integers,
        PgType::Int4 if *left.1 == PgType::Date => moments,
        PgType::Int4 => integers,
        PgType::Numeric(_) => numerics,
        PgType::Float4 | PgType::Float8 => floats,
        _ => moments,
    };
    let function =
        PgFunction::new(op, vec![left.1.clone(), right.1.clone()], result.clone(), Zone::parse(zone)?, kernel);
    Ok(evaluated(function, vec![left.0, right.0]))
}

fn datum(value: &ColumnarValue) -> Result<(ArrayRef, bool)> {
    Ok(match value {
        ColumnarValue::Array(array) => (array.clone(), false),
        ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
    })
}

/// Integer operators, through Arrow's checked kernels.
fn integers(input: &Input<'_>) -> Result<ArrayRef> {
    let ((left, left_scalar), (right, right_scalar)) = (datum(&input.args[0])?, datum(&input.args[1])?);
    // Only a scalar has the one row that `Scalar` asks for.
    let one = |array: &ArrayRef, scalar: bool| scalar.then(|| Scalar::new(array.clone()));
    let (left_one, right_one) = (one(&left, left_scalar), one(&right, right_scalar));
    let left: &dyn Datum = left_one.as_ref().map_or(&left as &dyn Datum, |one| one);
    let right: &dyn Datum = right_one.as_ref().map_or(&right as &dyn Datum, |one| one);
    let result = match input.op() {
        "+" => kernels::add(left, right),
        "-" => kernels::sub(left, right),
        "*" => kernels::mul(left, right),
        "/" => kernels::div(left, right),
        _ => kernels::rem(left, right),
    };
    result.map_err(|error| integer_error(&error, input.result))
}

fn integer_error(error: &ArrowError, ty: &PgType) -> Error {
    match error {
        ArrowError::DivideByZero => division_by_zero(),
        ArrowError::ArithmeticOverflow(_) => out_of_range(ty),
        other => Error::internal(other.to_string()),
    }
}

/// Division by zero.
pub(super) fn division_by_zero() -> Error {
    Error::new(SqlState::DivisionByZero, "division by zero")
}

/// A result that its type cannot hold.
pub(super) fn out_of_range(ty: &PgType) -> Error {
    Error::new(SqlState::NumericOutOfRange, format!("{} out of range", ty.name()))
}

/// A column of unconstrained numerics; a constant is decoded once.
pub(super) struct Numerics {
    array: ArrayRef,
    constant: Option<Option<Numeric>>,
}

impl Numerics {
    /// The argument at this place.
    pub(super) fn new(input: &Input<'_>, place: usize) -> Result<Numerics> {
        match &input.args[place] {
            ColumnarValue::Scalar(ScalarValue::Binary(value)) => {
                let constant = value.as_ref().map(|bytes| Numeric::decode(bytes)).transpose()?;
                Ok(Numerics { array: Arc::new(BinaryArray::new_null(0)), constant: Some(constant) })
            }
            _ => Ok(Numerics { array: input.array(place)?, constant: None }),
        }
    }

    /// The value at a row.
    pub(super) fn get(&self, row: usize) -> Result<Option<Numeric>> {
        match &self.constant {
            Some(constant) => Ok(constant.clone()),
            None => match self.array.as_any().downcast_ref::<BinaryArray>() {
                Some(array) => numeric_at(array, row),
                None => Err(Error::internal("a numeric column of another layout")),
            },
        }
    }
}

/// A numeric column from a function of the row.
pub(super) fn build_numerics(rows: usize, value: impl Fn(usize) -> Result<Option<Numeric>>) -> Result<ArrayRef> {
    let mut builder = BinaryBuilder::with_capacity(rows, rows * 8);
    let mut bytes = Vec::with_capacity(32);
    for row in 0..rows {
        match value(row)? {
            Some(number) => {
                bytes.clear();
                number.encode(&mut bytes);
                builder.append_value(&bytes);
            }
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn numerics(input: &Input<'_>) -> Result<ArrayRef> {
    let (left, right) = (Numerics::new(input, 0)?, Numerics::new(input, 1)?);
    let operator: fn(&Numeric, &Numeric) -> Result<Numeric> = match input.op() {
        "+" => Numeric::add,
        "-" => Numeric::sub,
        "*" => Numeric::mul,
        "/" => Numeric::div,
        _ => Numeric::rem,
    };
    build_numerics(input.rows, |row| match (left.get(row)?, right.get(row)?) {
        (Some(left), Some(right)) => operator(&left, &right).map(Some),
        _ => Ok(None),
    })
}

/// A column of one primitive type.
pub(crate) fn primitive<T: ArrowPrimitiveType>(input: &Input<'_>, place: usize) -> Result<PrimitiveArray<T>> {
    let array = input.array(place)?;
    array
        .as_primitive_opt::<T>()
        .cloned()
        .ok_or_else(|| Error::internal(format!("argument {place} has the layout {}", array.data_type())))
}

fn floats(input: &Input<'_>) -> Result<ArrayRef> {
    let op = input.op();
    let calculate = |left: f64, right: f64| -> f64 {
        match op {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            _ => left / right,
        }
    };
    let is_division = op == "/";
    let is_product = matches!(op, "*" | "/");
    let check = |left: f64, right: f64, result: f64| -> Result<f64> {
        if is_division && right == 0.0 && !left.is_nan() {
            return Err(division_by_zero());
        }
        if result.is_infinite() && left.is_finite() && right.is_finite() {
            return Err(Error::new(SqlState::NumericOutOfRange, "value out of range: overflow"));
        }
        if is_product && result == 0.0 && left != 0.0 && (is_division || right != 0.0) && right.is_finite() {
            return Err(Error::new(SqlState::NumericOutOfRange, "value out of range: underflow"));
        }
        Ok(result)
    };
    if *input.result == PgType::Float4 {
        let (left, right) = (primitive::<Float32Type>(input, 0)?, primitive::<Float32Type>(input, 1)?);
        let result = left.iter().zip(right.iter()).map(|pair| match pair {
            (Some(left), Some(right)) => {
                let (left, right) = (f64::from(left), f64::from(right));
                check(left, right, f64::from(calculate(left, right) as f32)).map(|value| Some(value as f32))
            }
            _ => Ok(None),
        });
        return Ok(Arc::new(result.collect::<Result<PrimitiveArray<Float32Type>>>()?));
    }
    let (left, right) = (primitive::<Float64Type>(input, 0)?, primitive::<Float64Type>(input, 1)?);
    let result = left.iter().zip(right.iter()).map(|pair| match pair {
        (Some(left), Some(right)) => check(left, right, calculate(left, right)).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(result.collect::<Result<PrimitiveArray<Float64Type>>>()?))
}

/// A column from a function of two non-null values.
pub(super) fn zipped<L: ArrowPrimitiveType, R: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    input: &Input<'_>,
    value: impl Fn(L::Native, R::Native) -> Result<O::Native>,
) -> Result<ArrayRef> {
    let (left, right) = (primitive::<L>(input, 0)?, primitive::<R>(input, 1)?);
    let result = left.iter().zip(right.iter()).map(|pair| match pair {
        (Some(left), Some(right)) => value(left, right).map(Some),
        _ => Ok(None),
    });
    let array: PrimitiveArray<O> = result.collect::<Result<_>>()?;
    Ok(Arc::new(array.with_data_type(input.result.arrow())))
}

fn moments(input: &Input<'_>) -> Result<ArrayRef> {
    use PgType as T;
    type Micros = TimestampMicrosecondType;
    type Span = IntervalMonthDayNanoType;
    let minus = input.op() == "-";
    let signed = |interval| -> Result<Interval> {
        let interval = Interval::from_arrow(interval);
        if minus { interval.neg() } else { Ok(interval) }
    };
    let later = |micros: i64, interval: Interval| match input.result {
        T::Timestamptz => datetime::add_to_timestamptz(micros, interval, input.zone),
        _ => datetime::add_to_timestamp(micros, interval),
    };
    match (&input.types[0], &input.types[1]) {
        (T::Time(_), _) | (_, T::Time(_)) => times_of_day::operators(input, minus),
        (T::Date, T::Int4) => zipped::<Date32Type, Int32Type, Date32Type>(input, |days, more| {
            datetime::add_days(days, if minus { -i64::from(more) } else { i64::from(more) })
        }),
        (T::Int4, T::Date) => {
            zipped::<Int32Type, Date32Type, Date32Type>(input, |more, days| datetime::add_days(days, i64::from(more)))
        }
        (T::Date, T::Date) => zipped::<Date32Type, Date32Type, Int32Type>(input, datetime::days_between),
        (T::Timestamp | T::Timestamptz, T::Interval) => {
            zipped::<Micros, Span, Micros>(input, |micros, interval| later(micros, signed(interval)?))
        }
        (T::Interval, T::Timestamp | T::Timestamptz) => {
            zipped::<Span, Micros, Micros>(input, |interval, micros| later(micros, Interval::from_arrow(interval)))
        }
        (T::Timestamp | T::Timestamptz, _) => zipped::<Micros, Micros, Span>(input, |left, right| {
            Ok(datetime::subtract_timestamps(left, right)?.to_arrow())
        }),
        (T::Interval, T::Interval) => zipped::<Span, Span, Span>(input, |left, right| {
            Ok(Interval::from_arrow(left).add(signed(right)?)?.to_arrow())
        }),
        (T::Interval, _) if input.op() == "/" => zipped::<Span, Float64Type, Span>(input, |interval, by| {
            if by == 0.0 {
                return Err(division_by_zero());
            }
            Ok(Interval::from_arrow(interval).mul(1.0 / by)?.to_arrow())
        }),
        (T::Interval, _) => zipped::<Span, Float64Type, Span>(input, |interval, by| {
            Ok(Interval::from_arrow(interval).mul(by)?.to_arrow())
        }),
        (_, T::Interval) => zipped::<Float64Type, Span, Span>(input, |by, interval| {
            Ok(Interval::from_arrow(interval).mul(by)?.to_arrow())
        }),
        (left, right) => {
            Err(Error::internal(format!("no operator {} for {} and {}", input.op(), left.name(), right.name())))
        }
    }
}

/// The sort key of a value: Arrow orders keys as PostgreSQL orders the values.
pub(crate) fn key(expr: Expr, ty: &PgType) -> Result<Expr> {
    let (result, kernel): (PgType, super::udf::Kernel) = match ty {
        PgType::Numeric(None) => (PgType::Bytea, |input| Ok(Arc::new(super::canonical_numerics(&input.array(0)?)))),
        PgType::Float4 => (PgType::Float4, |input| {
            Ok(Arc::new(
                primitive::<Float32Type>(input, 0)?
                    .unary::<_, Float32Type>(|value| if value.is_nan() { f32::NAN } else { value + 0.0 }),
            ))
        }),
        PgType::Float8 => (PgType::Float8, |input| {
            Ok(Arc::new(
                primitive::<Float64Type>(input, 0)?
                    .unary::<_, Float64Type>(|value| if value.is_nan() { f64::NAN } else { value + 0.0 }),
            ))
        }),
        PgType::Interval => (PgType::Numeric(Some((38, 0))), |input| {
            let keys = primitive::<IntervalMonthDayNanoType>(input, 0)?
                .unary::<_, Decimal128Type>(|value| Interval::from_arrow(value).canonical());
            Ok(Arc::new(keys.with_data_type(DataType::Decimal128(38, 0))))
        }),
        PgType::Bpchar(_) => (PgType::Text, |input| {
            let texts = input.array(0)?;
            let bare = texts.as_string::<i32>().iter().map(|text| text.map(|text| text.trim_end_matches(' ')));
            Ok(Arc::new(bare.collect::<StringArray>()))
        }),
        PgType::Jsonb => (PgType::Bytea, |input| {
            let texts = input.array(0)?;
            Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| text.map(json::key)).collect::<BinaryArray>()))
        }),
        PgType::Json => {
            return Err(Error::new(
                SqlState::UndefinedFunction,
                "could not identify an ordering operator for type json",
            )
            .hint("Use an explicit ordering operator or modify the query."));
        }
        PgType::Array(_) | PgType::Record => return super::canonical(expr, ty),
        _ => return Ok(expr),
    };
    debug_assert_eq!(result.arrow(), key_layout(ty));
    Ok(evaluated(PgFunction::new("sort_key", vec![ty.clone()], result, Zone::default(), kernel), vec![expr]))
}

/// GREATEST or LEAST of values of one type; nulls do not count.
pub(crate) fn extreme(name: &str, args: Vec<Typed>, ty: PgType) -> Result<Typed> {
    fn kernel(input: &Input<'_>) -> Result<ArrayRef> {
        let greatest = input.op() == "greatest";
        let places = input.args.len() / 2;
        // The keys follow the values.
        let (mut best, mut best_key) = (input.array(0)?, input.array(places)?);
        for place in 1..places {
            let (value, key) = (input.array(place)?, input.array(places + place)?);
            let better = if greatest { cmp::gt(&key, &best_key)? } else { cmp::lt(&key, &best_key)? };
            let take: BooleanArray = (0..input.rows)
                .map(|row| Some(best_key.is_null(row) || (better.is_valid(row) && better.value(row))))
                .collect();
            best = zip::zip(&take, &value, &best)?;
            best_key = zip::zip(&take, &key, &best_key)?;
        }
        Ok(best)
    }
    let mut exprs: Vec<Expr> = args.into_iter().map(|arg| arg.expr).collect();
    let keys = exprs.iter().map(|expr| key(expr.clone(), &ty)).collect::<Result<Vec<_>>>()?;
    exprs.extend(keys);
    let function = PgFunction::new(name, vec![ty.clone(); exprs.len()], ty.clone(), Zone::default(), kernel);
    Ok(Typed::new(evaluated(function, exprs), ty))
}

fn negated(input: &Input<'_>) -> Result<ArrayRef> {
    match input.result {
        PgType::Numeric(_) => {
            let values = Numerics::new(input, 0)?;
            build_numerics(input.rows, |row| Ok(values.get(row)?.map(|value| value.neg())))
        }
        PgType::Interval => {
            let values = primitive::<IntervalMonthDayNanoType>(input, 0)?;
            let result: PrimitiveArray<IntervalMonthDayNanoType> = values
                .iter()
                .map(|value| value.map(|value| Interval::from_arrow(value).neg().map(Interval::to_arrow)).transpose())
                .collect::<Result<_>>()?;
            Ok(Arc::new(result))
        }
        _ => kernels::neg(input.array(0)?.as_ref()).map_err(|error| integer_error(&error, input.result)),
    }
}

macro_rules! bits {
    ($name:ident, $op:expr) => {
        fn $name(input: &Input<'_>) -> Result<ArrayRef> {
            let op: fn(i64, i64) -> i64 = $op;
            match input.result {
                PgType::Int2 => zipped::<Int16Type, Int16Type, Int16Type>(input, |left, right| {
                    Ok(op(i64::from(left), i64::from(right)) as i16)
                }),
                PgType::Int4 => zipped::<Int32Type, Int32Type, Int32Type>(input, |left, right| {
                    Ok(op(i64::from(left), i64::from(right)) as i32)
                }),
                _ => zipped::<Int64Type, Int64Type, Int64Type>(input, |left, right| Ok(op(left, right))),
            }
        }
    };
}
bits!(bit_and, |left, right| left & right);
bits!(bit_or, |left, right| left | right);
bits!(bit_xor, |left, right| left ^ right);

macro_rules! shift {
    ($name:ident, $method:ident) => {
        fn $name(input: &Input<'_>) -> Result<ArrayRef> {
            match input.result {
                PgType::Int2 => zipped::<Int16Type, Int32Type, Int16Type>(input, |left, by| {
                    Ok((i32::from(left)).$method(by as u32) as i16)
                }),
                PgType::Int4 => {
                    zipped::<Int32Type, Int32Type, Int32Type>(input, |left, by| Ok(left.$method(by as u32)))
                }
                _ => zipped::<Int64Type, Int32Type, Int64Type>(input, |left, by| Ok(left.$method(by as u32))),
            }
        }
    };
}
shift!(shift_left, wrapping_shl);
shift!(shift_right, wrapping_shr);

macro_rules! overloads {
    ($($name:literal ($($arg:expr),*) -> $result:expr => $kernel:expr;)*) => {
        &[$(Definition { name: $name, args: &[$($arg),*], variadic: false, result: $result, kernel: $kernel },)*]
    };
}
pub(super) use overloads;

/// The operators that are reached by name.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "uminus" (PgType::Int2) -> PgType::Int2 => negated;
    "uminus" (PgType::Int4) -> PgType::Int4 => negated;
    "uminus" (PgType::Int8) -> PgType::Int8 => negated;
    "uminus" (PgType::Numeric(None)) -> PgType::Numeric(None) => negated;
    "uminus" (PgType::Float4) -> PgType::Float4 => negated;
    "uminus" (PgType::Float8) -> PgType::Float8 => negated;
    "uminus" (PgType::Interval) -> PgType::Interval => negated;
    "bit_and_op" (PgType::Int2, PgType::Int2) -> PgType::Int2 => bit_and;
    "bit_and_op" (PgType::Int4, PgType::Int4) -> PgType::Int4 => bit_and;
    "bit_and_op" (PgType::Int8, PgType::Int8) -> PgType::Int8 => bit_and;
    "bit_or_op" (PgType::Int2, PgType::Int2) -> PgType::Int2 => bit_or;
    "bit_or_op" (PgType::Int4, PgType::Int4) -> PgType::Int4 => bit_or;
    "bit_or_op" (PgType::Int8, PgType::Int8) -> PgType::Int8 => bit_or;
    "bit_xor_op" (PgType::Int2, PgType::Int2) -> PgType::Int2 => bit_xor;
    "bit_xor_op" (PgType::Int4, PgType::Int4) -> PgType::Int4 => bit_xor;
    "bit_xor_op" (PgType::Int8, PgType::Int8) -> PgType::Int8 => bit_xor;
    "bit_shift_left" (PgType::Int2, PgType::Int4) -> PgType::Int2 => shift_left;
    "bit_shift_left" (PgType::Int4, PgType::Int4) -> PgType::Int4 => shift_left;
    "bit_shift_left" (PgType::Int8, PgType::Int4) -> PgType::Int8 => shift_left;
    "bit_shift_right" (PgType::Int2, PgType::Int4) -> PgType::Int2 => shift_right;
    "bit_shift_right" (PgType::Int4, PgType::Int4) -> PgType::Int4 => shift_right;
    "bit_shift_right" (PgType::Int8, PgType::Int4) -> PgType::Int8 => shift_right;
};
