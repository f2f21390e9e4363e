//! Groups into rows: the result of every call from its state.
//!
//! A group whose result does not exist (an overflow) gives an error instead of a row.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::layout::{CallLayout, Layout, StateKind};
use super::numeric_sum;
use super::update::get;
use crate::arrangement::codec::RowCodec;
use crate::arrangement::groups::Image;
use crate::delta::of_columns;
use crate::error::{Error, Result, SqlState};
use crate::plan::Function;
use crate::sketch;
use crate::types::PgType;
use crate::types::codec::ValueBuilder;
use crate::types::numeric::Numeric;

/// Turns images of groups into rows.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) schema: SchemaRef,
    pub(crate) keys: RowCodec,
    pub(crate) layout: Layout,
}

/// A group that gives no row, with its place among the images.
pub(crate) struct Failure {
    pub(crate) place: usize,
    pub(crate) error: Error,
}

impl Output {
    /// The rows of some groups, in order, without those that fail.
    pub(crate) fn rows(&self, images: &[Image<'_>]) -> Result<(RecordBatch, Vec<Failure>)> {
        let mut failures: Vec<Failure> = Vec::new();
        for call in self.layout.calls.iter().filter(|call| can_fail(call)) {
            for (place, image) in images.iter().enumerate() {
                if let Err(error) = result(call, image).map(|_| ()) {
                    failures.push(Failure { place, error });
                }
            }
        }
        failures.sort_by_key(|failure| failure.place);
        failures.dedup_by_key(|failure| failure.place);
        let kept: Vec<Image<'_>>;
        let images = if failures.is_empty() {
            images
        } else {
            let failed = |place: usize| failures.binary_search_by_key(&place, |failure| failure.place).is_ok();
            kept = images.iter().enumerate().filter(|(place, _)| !failed(*place)).map(|(_, image)| *image).collect();
            &kept
        };
        let mut columns = self.keys.decode(images.iter().map(|image| image.key))?;
        for call in &self.layout.calls {
            columns.push(column(call, images)?);
        }
        Ok((of_columns(&self.schema, columns, images.len())?, failures))
    }

    /// Whether some group may have an error instead of a row.
    pub(crate) fn can_fail(&self) -> bool {
        self.layout.calls.iter().any(can_fail)
    }

    /// The multiplicity of a group that stands for whole rows.
    pub(crate) fn multiplicity(image: &Image<'_>) -> i64 {
        i64::from_le_bytes(get(image.fixed, 0))
    }
}

fn can_fail(call: &CallLayout) -> bool {
    call.state == StateKind::Float
        || matches!((call.state, &call.result), (StateKind::Integer { .. }, PgType::Int8))
        || call.state == StateKind::Numeric
}

/// A call's result before it is put into an array.
enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Numeric(Numeric),
    Bytes(&'a [u8]),
}

fn result<'a>(call: &CallLayout, image: &Image<'a>) -> Result<Value<'a>> {
    let count = |place: usize| i64::from_le_bytes(get(image.fixed, call.offset + place));
    Ok(match call.state {
        StateKind::Count => Value::Int(count(0)),
        StateKind::Integer { scale } => {
            let sum = i128::from_le_bytes(get(image.fixed, call.offset));
            match (count(16), &call.result) {
                (0, _) => Value::Null,
                (_, PgType::Int8) => Value::Int(
                    i64::try_from(sum).map_err(|_| Error::new(SqlState::NumericOutOfRange, "bigint out of range"))?,
                ),
                (rows, _) => Value::Numeric(sum_or_mean(call.call.function, Numeric::from_i128(sum, scale), rows)?),
            }
        }
        StateKind::Float => float(call, &image.fixed[call.offset..call.offset + 48])?,
        StateKind::Numeric => match numeric_sum::total(image.blobs[call.blob].as_deref())? {
            None => Value::Null,
            Some((sum, rows)) => Value::Numeric(sum_or_mean(call.call.function, sum, rows)?),
        },
        StateKind::Extreme { .. } => image.blobs[call.blob].as_deref().map_or(Value::Null, Value::Bytes),
        StateKind::DistinctSketch => Value::Int(sketch::distinct::estimate(image.blobs[call.blob].as_deref())),
        StateKind::QuantileSketch => {
            let Function::ApproxPercentile(fraction) = call.call.function else { return Ok(Value::Null) };
            let value = sketch::quantile::value_at(image.blobs[call.blob].as_deref(), f64::from_bits(fraction));
            value.map_or(Value::Null, Value::Float)
        }
        StateKind::Flags { decisive } => match image.fixed[call.offset] {
            0 => Value::Null,
            flags => Value::Bool((flags & 2 != 0) == decisive),
        },
        StateKind::Decisive { decisive } => match count(0) {
            0 => Value::Null,
            _ => Value::Bool((count(8) != 0) == decisive),
        },
    })
}

fn sum_or_mean(function: Function, sum: Numeric, rows: i64) -> Result<Numeric> {
    if function == Function::Avg { sum.div(&Numeric::from_i128(i128::from(rows), 0)) } else { Ok(sum) }
}

fn float(call: &CallLayout, state: &[u8]) -> Result<Value<'static>> {
    let count = |place: usize| i64::from_le_bytes(get(state, place));
    let (finite, nan, up, down) = (count(16), count(24), count(32), count(40));
    if finite + nan + up + down == 0 {
        return Ok(Value::Null);
    }
    let sum = match (nan, up, down) {
        (0, 0, 0) => {
            let sum = f64::from_le_bytes(get(state, 0)) + f64::from_le_bytes(get(state, 8));
            let fits = if call.result == PgType::Float4 { (sum as f32).is_finite() } else { sum.is_finite() };
            if !fits {
                return Err(Error::new(SqlState::NumericOutOfRange, "value out of range: overflow"));
            }
            sum
        }
        (0, _, 0) => f64::INFINITY,
        (0, 0, _) => f64::NEG_INFINITY,
        _ => f64::NAN,
    };
    Ok(Value::Float(if call.call.function == Function::Avg { sum / (finite + nan + up + down) as f64 } else { sum }))
}

fn column(call: &CallLayout, images: &[Image<'_>]) -> Result<ArrayRef> {
    // Values of an extreme keep their own type's bytes; varchar and numeric(p,s) widen on the way.
    let source = match (call.state, &call.argument) {
        (StateKind::Extreme { .. }, Some(argument)) => argument,
        _ => &call.result,
    };
    let mut builder = ValueBuilder::new(source, images.len());
    let mut number = Vec::new();
    for image in images {
        match result(call, image)? {
            Value::Null => builder.push_null(),
            Value::Bytes(bytes) => builder.push(bytes)?,
            Value::Bool(value) => builder.push(&[u8::from(value)])?,
            Value::Int(value) => builder.push(&((value as u64) ^ (1 << 63)).to_be_bytes())?,
            Value::Float(value) => builder.push_float(value),
            Value::Numeric(value) => {
                number.clear();
                value.encode(&mut number);
                builder.push(&number)?;
            }
        }
    }
    let array = builder.finish();
    if source == &call.result {
        return Ok(array);
    }
    crate::types::cast(&array, source, &call.result, &crate::types::TextStyle::default())
}
