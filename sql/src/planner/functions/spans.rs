//! Intervals and moments put together and taken apart: age, justify, make_timestamp, make_interval.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, PrimitiveArray};
use arrow::datatypes::{Float64Type, Int32Type, IntervalMonthDayNanoType, TimestampMicrosecondType};
use thalweg_dataflow::types::datetime::{self, Civil, DAY, Interval, SECOND};
use thalweg_dataflow::types::{PgType, Zone};
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::arithmetic::{overloads, primitive};
use super::text::strings;
use super::udf::Input;

type Micros = TimestampMicrosecondType;
type Span = IntervalMonthDayNanoType;

const INT: PgType = PgType::Int4;
const FLOAT: PgType = PgType::Float8;

fn out_of_range(message: String) -> Error {
    Error::new(SqlState::DatetimeOverflow, message)
}

fn age(input: &Input<'_>) -> Result<ArrayRef> {
    let (left, right) = (primitive::<Micros>(input, 0)?, primitive::<Micros>(input, 1)?);
    let zoned = input.types[0] == PgType::Timestamptz;
    let local = |micros: i64| -> Result<i64> {
        match micros {
            i64::MIN | i64::MAX => Err(out_of_range("timestamp out of range".into())),
            micros if zoned => datetime::timestamptz_to_timestamp(micros, input.zone),
            micros => Ok(micros),
        }
    };
    let result = left.iter().zip(right.iter()).map(|pair| match pair {
        (Some(left), Some(right)) => between(local(left)?, local(right)?).map(|span| Some(span.to_arrow())),
        _ => Ok(None),
    });
    Ok(Arc::new(result.collect::<Result<PrimitiveArray<Span>>>()?))
}

/// The years, months, days and time from one moment to another, as the calendar counts them.
fn between(left: i64, right: i64) -> Result<Interval> {
    let split = |micros: i64| (datetime::civil_from_days(micros.div_euclid(DAY)), micros.rem_euclid(DAY));
    let (later, earlier) = (split(left.max(right)), split(left.min(right)));
    let mut micros = later.1 - earlier.1;
    let mut days = i64::from(later.0.day) - i64::from(earlier.0.day);
    let mut months = (later.0.year - earlier.0.year) * 12 + i64::from(later.0.month) - i64::from(earlier.0.month);
    if micros < 0 {
        micros += DAY;
        days -= 1;
    }
    // A month that is not whole has the days of the earlier moment's.
    while days < 0 {
        days += i64::from(datetime::days_of_month(earlier.0.year, earlier.0.month));
        months -= 1;
    }
    let span = Interval::checked(months, days, micros)?;
    if left < right { span.neg() } else { Ok(span) }
}

fn justify(input: &Input<'_>) -> Result<ArrayRef> {
    let values = primitive::<Span>(input, 0)?;
    let result = values.iter().map(|value| {
        let Some(value) = value.map(Interval::from_arrow) else { return Ok(None) };
        let (mut months, mut days, mut micros) = (i64::from(value.months), i64::from(value.days), value.micros);
        if input.op() != "justify_days" {
            days += micros / DAY;
            micros %= DAY;
        }
        if input.op() != "justify_hours" {
            months += days / 30;
            days %= 30;
        }
        // All parts get the sign of the greatest one.
        if input.op() != "justify_hours" {
            let rest = if input.op() == "justify_days" || days != 0 { days } else { micros };
            if months > 0 && rest < 0 {
                (months, days) = (months - 1, days + 30);
            } else if months < 0 && rest > 0 {
                (months, days) = (months + 1, days - 30);
            }
        }
        if input.op() != "justify_days" {
            if days > 0 && micros < 0 {
                (days, micros) = (days - 1, micros + DAY);
            } else if days < 0 && micros > 0 {
                (days, micros) = (days + 1, micros - DAY);
            }
        }
        Interval::checked(months, days, micros).map(|span| Some(span.to_arrow()))
    });
    Ok(Arc::new(result.collect::<Result<PrimitiveArray<Span>>>()?))
}

/// Integer arguments from `first` on.
fn numbers<const N: usize>(input: &Input<'_>) -> Result<[PrimitiveArray<Int32Type>; N]> {
    let columns = (0..N).map(|place| primitive::<Int32Type>(input, place)).collect::<Result<Vec<_>>>()?;
    <[_; N]>::try_from(columns).map_err(|_| Error::internal("another number of arguments"))
}

fn make_timestamp(input: &Input<'_>) -> Result<ArrayRef> {
    let fields = numbers::<5>(input)?;
    let seconds = primitive::<Float64Type>(input, 5)?;
    let zones = if input.args.len() == 7 { Some(strings(input, 6)?) } else { None };
    let each = |row: usize| -> Result<Option<i64>> {
        let null = fields.iter().any(|field| field.is_null(row)) || seconds.is_null(row);
        if null || zones.as_ref().is_some_and(|zones| zones.is_null(row)) {
            return Ok(None);
        }
        let local = moment(std::array::from_fn(|place| fields[place].value(row)), seconds.value(row))?;
        match (&zones, input.result) {
            (Some(zones), _) => datetime::timestamp_to_timestamptz(local, &written_zone(zones.value(row))?),
            (None, PgType::Timestamptz) => datetime::timestamp_to_timestamptz(local, input.zone),
            _ => Ok(local),
        }
        .map(Some)
    };
    let result = (0..input.rows).map(each).collect::<Result<PrimitiveArray<Micros>>>()?;
    Ok(Arc::new(result.with_data_type(input.result.arrow())))
}

/// A moment from year, month, day, hour and minute, and seconds; years before 0 are BC.
fn moment([year, month, day, hour, minute]: [i32; 5], seconds: f64) -> Result<i64> {
    let full = if year < 0 { i64::from(year) + 1 } else { i64::from(year) };
    let wrong_date = || out_of_range(format!("date field value out of range: {year}-{month:02}-{day:02}"));
    let (valid_month, valid_day) = match (u32::try_from(month), u32::try_from(day)) {
        (Ok(month @ 1..=12), Ok(day)) if year != 0 && day >= 1 && day <= datetime::days_of_month(full, month) => {
            (month, day)
        }
        _ => return Err(wrong_date()),
    };
    let days = datetime::days_from_civil(Civil { year: full, month: valid_month, day: valid_day });
    if !(-2_440_588..=107_000_000).contains(&days) {
        return Err(out_of_range(format!("date out of range: {year}-{month:02}-{day:02}")));
    }
    let micros = (seconds * SECOND as f64).round_ties_even();
    let minutes = i64::from(hour) * 60 + i64::from(minute);
    let in_range = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60e6).contains(&micros);
    if !in_range || minutes * 60 * SECOND + micros as i64 > DAY {
        let seconds = if seconds.fract() == 0.0 { format!("{seconds:02}") } else { format!("{seconds}") };
        return Err(out_of_range(format!("time field value out of range: {hour}:{minute:02}:{seconds}")));
    }
    let clock = minutes * 60 * SECOND + micros as i64;
    let whole = i128::from(days) * i128::from(DAY) + i128::from(clock);
    i64::try_from(whole).map_err(|_| {
        out_of_range(format!("timestamp out of range: {year}-{month:02}-{day:02} {hour}:{minute:02}:{seconds:02}"))
    })
}

/// A zone as make_timestamptz takes it: numbers need a sign.
fn written_zone(name: &str) -> Result<Zone> {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("invalid input syntax for type numeric time zone: \"{name}\"");
        return Err(Error::new(SqlState::InvalidParameter, message)
            .hint("Numeric time zones must have \"-\" or \"+\" as first character."));
    }
    let zone = Zone::of_query(name)?;
    // The sign of a number counts eastwards here, as in a literal.
    Ok(if name.starts_with(['+', '-']) { Zone::fixed(-zone.offset_at(0)) } else { zone })
}

fn make_interval(input: &Input<'_>) -> Result<ArrayRef> {
    let fields = numbers::<6>(input)?;
    let seconds = primitive::<Float64Type>(input, 6)?;
    let each = |row: usize| {
        if fields.iter().any(|field| field.is_null(row)) || seconds.is_null(row) {
            return Ok(None);
        }
        let field = |place: usize| i64::from(fields[place].value(row));
        let too_long = || out_of_range("interval out of range".into());
        let micros = (seconds.value(row) * SECOND as f64).round_ties_even();
        if !micros.is_finite() || micros.abs() >= i64::MAX as f64 {
            return Err(too_long());
        }
        let clock = i128::from(field(4) * 60 + field(5)) * 60_000_000 + micros as i128;
        let clock = i64::try_from(clock).map_err(|_| too_long())?;
        let span = Interval::checked(field(0) * 12 + field(1), field(2) * 7 + field(3), clock)?;
        Ok(Some(span.to_arrow()))
    };
    Ok(Arc::new((0..input.rows).map(each).collect::<Result<PrimitiveArray<Span>>>()?))
}

/// Whether two spans of time have a moment in common; an end that is null is not known.
fn overlaps(input: &Input<'_>) -> Result<ArrayRef> {
    let columns = (0..4).map(|place| primitive::<Micros>(input, place)).collect::<Result<Vec<_>>>()?;
    let each = |row: usize| {
        let value = |place: usize| columns[place].is_valid(row).then(|| columns[place].value(row));
        let ((one, one_end), (other, other_end)) = (ends(value(0), value(1))?, ends(value(2), value(3))?);
        // The later of the two beginnings against the other's end.
        match one.cmp(&other) {
            std::cmp::Ordering::Greater => reaches(one, other_end, one_end),
            std::cmp::Ordering::Less => reaches(other, one_end, other_end),
            std::cmp::Ordering::Equal => one_end.and(other_end).map(|_| true),
        }
    };
    Ok(Arc::new((0..input.rows).map(each).collect::<BooleanArray>()))
}

/// Beginning and end, in this order; a single one is the beginning.
fn ends(one: Option<i64>, other: Option<i64>) -> Option<(i64, Option<i64>)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.min(other), Some(one.max(other)))),
        (one, other) => one.or(other).map(|only| (only, None)),
    }
}

fn reaches(begin: i64, end: Option<i64>, own_end: Option<i64>) -> Option<bool> {
    if begin < end? {
        return Some(true);
    }
    own_end.map(|_| false)
}

const TS: PgType = PgType::Timestamp;
const TSTZ: PgType = PgType::Timestamptz;
const SPAN: PgType = PgType::Interval;

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "age" (TS, TS) -> SPAN => age;
    "age" (TSTZ, TSTZ) -> SPAN => age;
    "justify_days" (SPAN) -> SPAN => justify;
    "justify_hours" (SPAN) -> SPAN => justify;
    "justify_interval" (SPAN) -> SPAN => justify;
    "make_timestamp" (INT, INT, INT, INT, INT, FLOAT) -> TS => make_timestamp;
    "make_timestamptz" (INT, INT, INT, INT, INT, FLOAT) -> TSTZ => make_timestamp;
    "make_timestamptz" (INT, INT, INT, INT, INT, FLOAT, PgType::Text) -> TSTZ => make_timestamp;
    "make_interval" (INT, INT, INT, INT, INT, INT, FLOAT) -> SPAN => make_interval;
    "overlaps" (TS, TS, TS, TS) -> PgType::Bool => overlaps;
    "overlaps" (TSTZ, TSTZ, TSTZ, TSTZ) -> PgType::Bool => overlaps;
};
