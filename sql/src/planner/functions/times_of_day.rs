//! The operators with a time of day: beside a date, an interval or another one.

use arrow::array::ArrayRef;
use arrow::datatypes::{Date32Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::datetime::{self, Interval};
use thalweg_dataflow::{Error, Result, SqlState};

use super::arithmetic::zipped;
use super::udf::Input;

/// Operators with a time of day; `minus` takes the interval away.
pub(super) fn operators(input: &Input<'_>, minus: bool) -> Result<ArrayRef> {
    type Span = IntervalMonthDayNanoType;
    type Micros = TimestampMicrosecondType;
    type Clock = Time64MicrosecondType;
    let moment = |days: i32, clock: i64| -> Result<i64> {
        let midnight = match days {
            datetime::DATE_INFINITY => return Ok(datetime::INFINITY),
            datetime::DATE_NEG_INFINITY => return Ok(datetime::NEG_INFINITY),
            days => i64::from(days).checked_mul(datetime::DAY),
        };
        let beyond = || Error::new(SqlState::DatetimeOverflow, "date out of range for timestamp");
        midnight.and_then(|midnight| midnight.checked_add(clock)).ok_or_else(beyond)
    };
    let later = |clock: i64, span| -> Result<i64> {
        let span = Interval::from_arrow(span);
        Ok(datetime::add_to_time(clock, if minus { span.neg()? } else { span }))
    };
    match (&input.types[0], &input.types[1]) {
        (PgType::Date, _) => zipped::<Date32Type, Clock, Micros>(input, moment),
        (_, PgType::Date) => zipped::<Clock, Date32Type, Micros>(input, |clock, days| moment(days, clock)),
        (_, PgType::Interval) => zipped::<Clock, Span, Clock>(input, later),
        (PgType::Interval, _) => zipped::<Span, Clock, Clock>(input, |span, clock| later(clock, span)),
        _ => zipped::<Clock, Clock, Span>(input, |left, right| {
            Ok(Interval { months: 0, days: 0, micros: left - right }.to_arrow())
        }),
    }
}
