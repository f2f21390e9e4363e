//! generate_series: values from a start to an end, a step apart.
//!
//! Promises PostgreSQL's meaning for integers, numeric and timestamps: nothing if the step leads away
//! from the end or an argument is null, an error if the step is zero, a step of months counted on
//! from the value before. Values are made a slice at a time, never a whole series.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType};
use thalweg_dataflow::plan::{Expanded, SetFunction, Text};
use thalweg_dataflow::types::datetime::{add_to_timestamp, add_to_timestamptz};
use thalweg_dataflow::types::{Interval, Numeric, PgType, Zone};
use thalweg_dataflow::{Error, Result, SqlState};

use super::slices::{Values, sliced};

/// Its overloads: the arguments.
pub(super) const OVERLOADS: &[&[PgType]] = &[
    &[PgType::Int4, PgType::Int4],
    &[PgType::Int4, PgType::Int4, PgType::Int4],
    &[PgType::Int8, PgType::Int8],
    &[PgType::Int8, PgType::Int8, PgType::Int8],
    &[PgType::Numeric(None), PgType::Numeric(None)],
    &[PgType::Numeric(None), PgType::Numeric(None), PgType::Numeric(None)],
    &[PgType::Timestamp, PgType::Timestamp, PgType::Interval],
    &[PgType::Timestamptz, PgType::Timestamptz, PgType::Interval],
];

/// generate_series over one type.
#[derive(Debug)]
pub(super) struct Series {
    /// The type of its values.
    pub(super) ty: PgType,
    /// On whose clock months and days are counted.
    pub(super) zone: Zone,
}

impl Text for Series {
    fn text(&self) -> String {
        match self.ty {
            PgType::Timestamptz => format!("generate_series of {} in {}", self.ty.name(), self.zone.name()),
            _ => format!("generate_series of {}", self.ty.name()),
        }
    }
}

impl SetFunction for Series {
    fn columns(&self) -> Vec<PgType> {
        vec![self.ty.clone()]
    }

    fn expand(&self, arguments: RecordBatch) -> Box<dyn Iterator<Item = Result<Expanded>> + Send> {
        let rows = arguments.num_rows();
        let columns = arguments.columns().to_vec();
        match &self.ty {
            PgType::Int4 => sliced(
                rows,
                move |row| integers(&columns, row),
                |values: Vec<i64>| {
                    Ok(vec![Arc::new(Int32Array::from_iter_values(values.into_iter().map(|value| value as i32)))
                        as ArrayRef])
                },
            ),
            PgType::Int8 => sliced(
                rows,
                move |row| integers(&columns, row),
                |values| Ok(vec![Arc::new(Int64Array::from(values)) as ArrayRef]),
            ),
            PgType::Numeric(_) => sliced(
                rows,
                move |row| numerics(&columns, row),
                |values: Vec<Numeric>| {
                    let encode = |value: &Numeric| {
                        let mut bytes = Vec::new();
                        value.encode(&mut bytes);
                        bytes
                    };
                    Ok(vec![Arc::new(BinaryArray::from_iter_values(values.iter().map(encode))) as ArrayRef])
                },
            ),
            PgType::Timestamp => sliced(
                rows,
                move |row| instants(&columns, row, Arc::new(add_to_timestamp)),
                |values| Ok(vec![Arc::new(TimestampMicrosecondArray::from(values)) as ArrayRef]),
            ),
            PgType::Timestamptz => {
                let zone = self.zone.clone();
                let add: Add = Arc::new(move |micros, step| add_to_timestamptz(micros, step, &zone));
                sliced(
                    rows,
                    move |row| instants(&columns, row, add.clone()),
                    |values| {
                        Ok(vec![Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef])
                    },
                )
            }
            other => {
                let error = Error::internal(format!("generate_series of {}", other.name()));
                Box::new(std::iter::once(Err(error)))
            }
        }
    }
}

fn no_step() -> Error {
    Error::new(SqlState::InvalidParameter, "step size cannot equal zero")
}

/// From `start` on, `next` after `next`, as long as the end is not passed.
fn steps<T: Clone + Send + 'static>(
    start: T,
    within: impl Fn(&T) -> bool + Send + 'static,
    next: impl Fn(&T) -> Result<Option<T>> + Send + 'static,
) -> Values<T> {
    let mut value = Some(Ok(start));
    Box::new(std::iter::from_fn(move || {
        let current = match value.take()? {
            Ok(current) => current,
            Err(error) => return Some(Err(error)),
        };
        if !within(&current) {
            return None;
        }
        value = next(&current).transpose();
        Some(Ok(current))
    }))
}

fn integers(columns: &[ArrayRef], row: usize) -> Result<Values<i64>> {
    let integer = |column: &ArrayRef| {
        let narrow = column.as_primitive_opt::<Int32Type>().map(|column| i64::from(column.value(row)));
        narrow.unwrap_or_else(|| column.as_primitive::<Int64Type>().value(row))
    };
    if columns.iter().any(|column| column.is_null(row)) {
        return Ok(Box::new(std::iter::empty()));
    }
    let narrow = columns[0].as_primitive_opt::<Int32Type>().is_some();
    let (start, end) = (integer(&columns[0]), integer(&columns[1]));
    let step = columns.get(2).map_or(1, integer);
    if step == 0 {
        return Err(no_step());
    }
    let fits = move |value: &i64| !narrow || i32::try_from(*value).is_ok();
    let within = move |value: &i64| if step > 0 { *value <= end } else { *value >= end };
    Ok(steps(start, within, move |value| Ok(value.checked_add(step).filter(fits))))
}

fn numerics(columns: &[ArrayRef], row: usize) -> Result<Values<Numeric>> {
    let mut values = Vec::with_capacity(3);
    for (column, name) in columns.iter().zip(["start", "stop", "step size"]) {
        if column.is_null(row) {
            return Ok(Box::new(std::iter::empty()));
        }
        let value = Numeric::decode(column.as_binary::<i32>().value(row))?;
        if !value.is_finite() {
            let what = if value.is_nan() { "NaN" } else { "infinity" };
            let name = if name == "step size" { name.to_string() } else { format!("{name} value") };
            return Err(Error::new(SqlState::InvalidParameter, format!("{name} cannot be {what}")));
        }
        values.push(value);
    }
    let step = if values.len() > 2 { values.pop() } else { None }.unwrap_or_else(|| Numeric::from_i128(1, 0));
    let (Some(end), Some(start)) = (values.pop(), values.pop()) else {
        return Err(Error::internal("generate_series of one number"));
    };
    let past = match step.signum() {
        0 => return Err(no_step()),
        1 => Ordering::Greater,
        _ => Ordering::Less,
    };
    Ok(steps(start, move |value| value.cmp(&end) != past, move |value| value.add(&step).map(Some)))
}

type Add = Arc<dyn Fn(i64, Interval) -> Result<i64> + Send + Sync>;

fn instants(columns: &[ArrayRef], row: usize, add: Add) -> Result<Values<i64>> {
    if columns.iter().any(|column| column.is_null(row)) {
        return Ok(Box::new(std::iter::empty()));
    }
    let instant = |place: usize| columns[place].as_primitive::<TimestampMicrosecondType>().value(row);
    let (start, end) = (instant(0), instant(1));
    let step = Interval::from_arrow(columns[2].as_primitive::<IntervalMonthDayNanoType>().value(row));
    let forward = match step.canonical().cmp(&0) {
        Ordering::Equal => return Err(no_step()),
        order => order == Ordering::Greater,
    };
    let within = move |value: &i64| if forward { *value <= end } else { *value >= end };
    Ok(steps(start, within, move |value| add(*value, step).map(Some)))
}
