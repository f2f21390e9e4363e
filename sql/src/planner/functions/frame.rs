//! Where a window's frame begins and ends for each row of a sorted partition.
//!
//! For frames that DataFusion has not: by RANGE over unconstrained numerics, and all that leave rows
//! out (EXCLUDE). As in PostgreSQL a row without a value has its peers for a frame by RANGE with an
//! offset.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::partition;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use thalweg_dataflow::types::{Interval, Numeric, PgType, Zone, datetime};
use thalweg_dataflow::{Error, Result, SqlState};

/// Microseconds of a day.
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// What a frame leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Exclusion {
    /// EXCLUDE NO OTHERS.
    Nothing,
    /// The row itself.
    CurrentRow,
    /// The row and its peers.
    Group,
    /// Its peers.
    Ties,
}

/// What a frame by RANGE counts in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Measured {
    /// The type of the ORDER BY column.
    pub(crate) ty: PgType,
    /// Whether it descends.
    pub(crate) descending: bool,
    /// The zone in which months and days of timestamptz are counted.
    pub(crate) zone: String,
}

/// A partition's rows as frames see them.
pub(super) struct Rows<'a> {
    count: usize,
    /// The peers, in order.
    groups: Vec<Range<usize>>,
    /// The place of each row's peers in `groups`.
    group_of: Vec<usize>,
    values: Option<(&'a Measured, Vec<Option<Value>>)>,
}

/// A value that distances are measured from.
#[derive(Debug, Clone)]
enum Value {
    Exact(Numeric),
    Float(f64),
    Micros(i64),
}

impl Value {
    fn compare(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Exact(one), Value::Exact(other)) => one.cmp(other),
            (Value::Micros(one), Value::Micros(other)) => one.cmp(other),
            (Value::Float(one), Value::Float(other)) => one
                .partial_cmp(other)
                // NaN is equal to itself and greater than all else.
                .unwrap_or_else(|| one.is_nan().cmp(&other.is_nan())),
            _ => Ordering::Equal,
        }
    }
}

impl<'a> Rows<'a> {
    /// Rows with these sort keys and, for a frame by RANGE with an offset, these values.
    pub(super) fn new(count: usize, keys: &[ArrayRef], values: Option<(&'a Measured, &ArrayRef)>) -> Result<Rows<'a>> {
        let groups = match (keys.is_empty(), count) {
            (_, 0) => Vec::new(),
            (true, _) => std::iter::once(0..count).collect(),
            (false, _) => partition(keys)?.ranges(),
        };
        let group_of =
            groups.iter().enumerate().flat_map(|(place, rows)| std::iter::repeat_n(place, rows.len())).collect();
        let values = match values {
            Some((measured, array)) => Some((measured, all_values(&measured.ty, array)?)),
            None => None,
        };
        Ok(Rows { count, groups, group_of, values })
    }

    /// The rows of a row's frame, in order.
    pub(super) fn frame(&self, row: usize, frame: &WindowFrame, exclusion: Exclusion) -> Result<Vec<Range<usize>>> {
        let (start, end) = (self.start(row, frame)?, self.end(row, frame)?);
        let whole = start..end.max(start);
        let peers = self.groups[self.group_of[row]].clone();
        let out: Vec<Range<usize>> = match exclusion {
            Exclusion::Nothing => Vec::new(),
            Exclusion::CurrentRow => std::iter::once(row..row + 1).collect(),
            Exclusion::Group => vec![peers],
            Exclusion::Ties => vec![peers.start..row, row + 1..peers.end],
        };
        let mut left = vec![whole];
        for gone in out {
            let parts = left.into_iter().flat_map(|part| {
                let first = part.start..part.end.min(gone.start);
                let second = part.start.max(gone.end)..part.end;
                [first, second]
            });
            left = parts.filter(|part| part.start < part.end).collect();
        }
        left.retain(|part| part.start < part.end);
        Ok(left)
    }

    fn start(&self, row: usize, frame: &WindowFrame) -> Result<usize> {
        let group = self.group_of[row];
        Ok(match (&frame.start_bound, frame.units) {
            (WindowFrameBound::CurrentRow, WindowFrameUnits::Rows) => row,
            (WindowFrameBound::CurrentRow, _) => self.groups[group].start,
            (WindowFrameBound::Preceding(by), _) if by.is_null() => 0,
            (WindowFrameBound::Following(by), _) if by.is_null() => self.count,
            (WindowFrameBound::Preceding(by), WindowFrameUnits::Rows) => row.saturating_sub(steps(by)),
            (WindowFrameBound::Following(by), WindowFrameUnits::Rows) => row.saturating_add(steps(by)).min(self.count),
            (WindowFrameBound::Preceding(by), WindowFrameUnits::Groups) => {
                self.groups[group.saturating_sub(steps(by))].start
            }
            (WindowFrameBound::Following(by), WindowFrameUnits::Groups) => {
                self.groups.get(group.saturating_add(steps(by))).map_or(self.count, |group| group.start)
            }
            (WindowFrameBound::Preceding(by), WindowFrameUnits::Range) => self.measured(row, by, true)?.start,
            (WindowFrameBound::Following(by), WindowFrameUnits::Range) => self.measured(row, by, false)?.start,
        })
    }

    fn end(&self, row: usize, frame: &WindowFrame) -> Result<usize> {
        let group = self.group_of[row];
        Ok(match (&frame.end_bound, frame.units) {
            (WindowFrameBound::CurrentRow, WindowFrameUnits::Rows) => row + 1,
            (WindowFrameBound::CurrentRow, _) => self.groups[group].end,
            (WindowFrameBound::Preceding(by), _) if by.is_null() => 0,
            (WindowFrameBound::Following(by), _) if by.is_null() => self.count,
            (WindowFrameBound::Preceding(by), WindowFrameUnits::Rows) => (row + 1).saturating_sub(steps(by)),
            (WindowFrameBound::Following(by), WindowFrameUnits::Rows) => {
                row.saturating_add(steps(by)).saturating_add(1).min(self.count)
            }
            (WindowFrameBound::Preceding(by), WindowFrameUnits::Groups) => {
                group.checked_sub(steps(by)).map_or(0, |group| self.groups[group].end)
            }
            (WindowFrameBound::Following(by), WindowFrameUnits::Groups) => {
                self.groups.get(group.saturating_add(steps(by))).map_or(self.count, |group| group.end)
            }
            (WindowFrameBound::Preceding(by), WindowFrameUnits::Range) => self.measured(row, by, true)?.end,
            (WindowFrameBound::Following(by), WindowFrameUnits::Range) => self.measured(row, by, false)?.end,
        })
    }

    /// The first row that is not before so far from this one, and the one after the last that is not
    /// behind it.
    fn measured(&self, row: usize, by: &ScalarValue, before: bool) -> Result<Range<usize>> {
        let Some((measured, values)) = &self.values else { return Err(Error::internal("a distance without values")) };
        let Some(value) = &values[row] else { return Ok(self.groups[self.group_of[row]].clone()) };
        let limit = moved(value, by, before != measured.descending, measured)?;
        // Nulls are together at one end.
        let first = values.iter().position(Option::is_some).unwrap_or(0);
        let present = values[first..].iter().take_while(|value| value.is_some()).count();
        let present = &values[first..first + present];
        let order = |value: &Option<Value>| {
            let order = value.as_ref().map_or(Ordering::Equal, |value| value.compare(&limit));
            if measured.descending { order.reverse() } else { order }
        };
        let start = present.partition_point(|value| order(value) == Ordering::Less);
        let end = present.partition_point(|value| order(value) != Ordering::Greater);
        Ok(first + start..first + end)
    }
}

/// The distance of a frame's first (0) or last (1) bound. Errors 22004 for null, 22013 below zero.
pub(crate) fn offset(units: WindowFrameUnits, by: ScalarValue, place: usize) -> Result<ScalarValue> {
    let side = if place == 0 { "starting" } else { "ending" };
    let refused = |message: String| Err(Error::new(SqlState::InvalidFrameOffset, message));
    match by {
        by if by.is_null() => {
            Err(Error::new(SqlState::NullValueNotAllowed, format!("frame {side} offset must not be null")))
        }
        by if units == WindowFrameUnits::Range => match is_negative(&by) {
            true => refused("invalid preceding or following size in window function".into()),
            false => Ok(by),
        },
        ScalarValue::Int64(Some(count)) => match u64::try_from(count) {
            Ok(count) => Ok(ScalarValue::UInt64(Some(count))),
            Err(_) => refused(format!("frame {side} offset must not be negative")),
        },
        other => Err(Error::internal(format!("a frame's bound of {}", kind(&other.data_type())))),
    }
}

fn is_negative(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Int16(Some(value)) => *value < 0,
        ScalarValue::Int32(Some(value)) => *value < 0,
        ScalarValue::Int64(Some(value)) => *value < 0,
        ScalarValue::Float32(Some(value)) => *value < 0.0,
        ScalarValue::Float64(Some(value)) => *value < 0.0,
        ScalarValue::Decimal128(Some(value), ..) => *value < 0,
        ScalarValue::Binary(Some(value)) => {
            Numeric::decode(value).is_ok_and(|value| value.is_nan() || value.signum() < 0)
        }
        ScalarValue::IntervalMonthDayNano(Some(value)) => Interval::from_arrow(*value).canonical() < 0,
        _ => false,
    }
}

fn steps(by: &ScalarValue) -> usize {
    match by {
        ScalarValue::UInt64(Some(steps)) => usize::try_from(*steps).unwrap_or(usize::MAX),
        _ => 0,
    }
}

/// The values of a column, for measuring.
fn all_values(ty: &PgType, array: &ArrayRef) -> Result<Vec<Option<Value>>> {
    let exact = |value: i64| Value::Exact(Numeric::from(value));
    let wrong = || Error::internal(format!("distances over {}", array.data_type()));
    (0..array.len())
        .map(|row| {
            if array.is_null(row) {
                return Ok(None);
            }
            let value = match ty {
                PgType::Int2 => exact(array.as_primitive_opt::<Int16Type>().ok_or_else(wrong)?.value(row).into()),
                PgType::Int4 => exact(array.as_primitive_opt::<Int32Type>().ok_or_else(wrong)?.value(row).into()),
                PgType::Int8 => exact(array.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.value(row)),
                PgType::Float4 => {
                    Value::Float(array.as_primitive_opt::<Float32Type>().ok_or_else(wrong)?.value(row).into())
                }
                PgType::Float8 => Value::Float(array.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?.value(row)),
                PgType::Numeric(None) => {
                    Value::Exact(Numeric::decode(array.as_binary_opt::<i32>().ok_or_else(wrong)?.value(row))?)
                }
                PgType::Numeric(Some(_)) => {
                    let values = array.as_primitive_opt::<Decimal128Type>().ok_or_else(wrong)?;
                    Value::Exact(Numeric::from_i128(values.value(row), values.scale().into()))
                }
                PgType::Date => {
                    let days = array.as_primitive_opt::<Date32Type>().ok_or_else(wrong)?.value(row);
                    Value::Micros(i64::from(days) * MICROS_PER_DAY)
                }
                PgType::Timestamp | PgType::Timestamptz => {
                    Value::Micros(array.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?.value(row))
                }
                PgType::Time(_) => {
                    Value::Micros(array.as_primitive_opt::<Time64MicrosecondType>().ok_or_else(wrong)?.value(row))
                }
                _ => return Err(wrong()),
            };
            Ok(Some(value))
        })
        .collect()
}

/// The value so far from another; `back`: less.
fn moved(value: &Value, by: &ScalarValue, back: bool, measured: &Measured) -> Result<Value> {
    let exact = |by: Numeric, value: &Numeric| if back { value.sub(&by) } else { value.add(&by) };
    Ok(match (value, by) {
        (Value::Exact(value), ScalarValue::Int16(Some(by))) => Value::Exact(exact(i64::from(*by).into(), value)?),
        (Value::Exact(value), ScalarValue::Int32(Some(by))) => Value::Exact(exact(i64::from(*by).into(), value)?),
        (Value::Exact(value), ScalarValue::Int64(Some(by))) => Value::Exact(exact((*by).into(), value)?),
        (Value::Exact(value), ScalarValue::Binary(Some(by))) => Value::Exact(exact(Numeric::decode(by)?, value)?),
        (Value::Exact(value), ScalarValue::Decimal128(Some(by), _, scale)) => {
            Value::Exact(exact(Numeric::from_i128(*by, (*scale).into()), value)?)
        }
        (Value::Float(value), ScalarValue::Float64(Some(by))) => {
            Value::Float(if back { value - by } else { value + by })
        }
        (Value::Float(value), ScalarValue::Float32(Some(by))) => {
            let by = f64::from(*by);
            Value::Float(if back { value - by } else { value + by })
        }
        (Value::Micros(value), ScalarValue::IntervalMonthDayNano(Some(by))) => {
            let by = Interval::from_arrow(*by);
            let by = if back { by.neg()? } else { by };
            Value::Micros(match measured.ty {
                PgType::Timestamptz => datetime::add_to_timestamptz(*value, by, &Zone::parse(&measured.zone)?)?,
                // Beyond midnight is no other time.
                PgType::Time(_) => value.saturating_add(by.micros),
                _ => datetime::add_to_timestamp(*value, by)?,
            })
        }
        (_, by) => return Err(Error::internal(format!("a distance of {}", kind(&by.data_type())))),
    })
}

fn kind(layout: &DataType) -> String {
    layout.to_string()
}
