//! Date and time functions: extract, date_trunc, date_bin, time zones, construction.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringArray};
use arrow::datatypes::{
    Date32Type, Float64Type, Int32Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::common::ScalarValue;
use thalweg_dataflow::types::datetime::{self, Civil, DAY, Interval};
use thalweg_dataflow::types::{Numeric, PgType, Zone};
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::arithmetic::{build_numerics, overloads, primitive};
use super::udf::Input;

type Micros = TimestampMicrosecondType;
type Span = IntervalMonthDayNanoType;

const NUMERIC: PgType = PgType::Numeric(None);

/// `now`, `today`, `tomorrow`, `yesterday` as a value of a type.
pub(super) fn special(word: &str, ty: &PgType, zone: &Zone, now: i64) -> Result<ScalarValue> {
    let local = datetime::timestamptz_to_timestamp(now, zone)?;
    let shift = match word {
        "tomorrow" => DAY,
        "yesterday" => -DAY,
        _ => 0,
    };
    let local = if word == "now" { local } else { local.div_euclid(DAY) * DAY + shift };
    Ok(match ty {
        PgType::Date => ScalarValue::Date32(i32::try_from(local.div_euclid(DAY)).ok()),
        PgType::Timestamp => ScalarValue::TimestampMicrosecond(Some(local), None),
        PgType::Time(digits) => {
            ScalarValue::Time64Microsecond(Some(datetime::round_time(local.rem_euclid(DAY), *digits)))
        }
        _ if word == "now" => ScalarValue::TimestampMicrosecond(Some(now), Some("UTC".into())),
        _ => ScalarValue::TimestampMicrosecond(
            Some(datetime::timestamp_to_timestamptz(local, zone)?),
            Some("UTC".into()),
        ),
    })
}

/// Intervals in the one form that stands for all equal ones: days and a clock part.
pub(super) fn canonical_intervals(input: &Input<'_>) -> Result<ArrayRef> {
    let values = primitive::<Span>(input, 0)?;
    let result = values.iter().map(|value| match value {
        Some(value) => Ok(Some(Interval::from_arrow(value).in_days()?.to_arrow())),
        None => Ok(None),
    });
    Ok(Arc::new(result.collect::<Result<PrimitiveArray<Span>>>()?))
}

/// The word that names a field, the same for all rows or one a row.
fn word<'a>(input: &'a Input<'_>, array: &'a ArrayRef, row: usize) -> Option<&'a str> {
    if let Some(text) = input.constant_text(0) {
        return Some(text);
    }
    let words = array.as_string_opt::<i32>()?;
    words.is_valid(row).then(|| words.value(row))
}

fn extract_values(input: &Input<'_>) -> Result<Vec<Option<Numeric>>> {
    let words = input.array(0)?;
    let mut result = Vec::with_capacity(input.rows);
    macro_rules! each {
        ($arrow:ty, $extract:expr) => {{
            let values = primitive::<$arrow>(input, 1)?;
            for (row, value) in values.iter().enumerate() {
                result.push(match (word(input, &words, row), value) {
                    (Some(word), Some(value)) => $extract(word, value)?,
                    _ => None,
                });
            }
        }};
    }
    match &input.types[1] {
        PgType::Date => each!(Date32Type, datetime::extract_date),
        PgType::Time(_) => each!(Time64MicrosecondType, datetime::extract_time),
        PgType::Timestamp => each!(Micros, datetime::extract_timestamp),
        PgType::Timestamptz => {
            each!(Micros, |word: &str, value| datetime::extract_timestamptz(word, value, input.zone))
        }
        _ => each!(Span, |word: &str, value| datetime::extract_interval(word, Interval::from_arrow(value))),
    }
    Ok(result)
}

fn extract(input: &Input<'_>) -> Result<ArrayRef> {
    let values = extract_values(input)?;
    build_numerics(input.rows, |row| Ok(values[row].clone()))
}

fn date_part(input: &Input<'_>) -> Result<ArrayRef> {
    let values = extract_values(input)?;
    Ok(Arc::new(
        values.into_iter().map(|value| value.map(|value| value.to_f64())).collect::<PrimitiveArray<Float64Type>>(),
    ))
}

fn date_trunc(input: &Input<'_>) -> Result<ArrayRef> {
    let words = input.array(0)?;
    if *input.result == PgType::Interval {
        let values = primitive::<Span>(input, 1)?;
        let result = values.iter().enumerate().map(|(row, value)| match (word(input, &words, row), value) {
            (Some(word), Some(value)) => {
                Ok(Some(datetime::date_trunc_interval(word, Interval::from_arrow(value))?.to_arrow()))
            }
            _ => Ok(None),
        });
        return Ok(Arc::new(result.collect::<Result<PrimitiveArray<Span>>>()?));
    }
    let named = if input.args.len() == 3 { Some(Zones::new(input, 2)?) } else { None };
    let own = (*input.result == PgType::Timestamptz).then_some(input.zone);
    let values = primitive::<Micros>(input, 1)?;
    let mut result = Vec::with_capacity(input.rows);
    let mut last = None;
    for (row, value) in values.iter().enumerate() {
        let zone = match &named {
            Some(zones) if zones.0.is_null(row) => {
                result.push(None);
                continue;
            }
            Some(zones) => Some(zones.get(row, &mut last)?),
            None => own,
        };
        result.push(match (word(input, &words, row), value) {
            (Some(word), Some(value)) => Some(datetime::date_trunc(word, value, zone)?),
            _ => None,
        });
    }
    Ok(Arc::new(PrimitiveArray::<Micros>::from(result).with_data_type(input.result.arrow())))
}

/// A column of names of zones. The last one that was looked up is kept: they seldom change.
struct Zones(StringArray);

type Known = Option<(String, Zone)>;

impl Zones {
    fn new(input: &Input<'_>, place: usize) -> Result<Zones> {
        super::text::strings(input, place).map(Zones)
    }

    fn get<'z>(&self, row: usize, last: &'z mut Known) -> Result<&'z Zone> {
        let name = self.0.value(row);
        let (_, zone) = match last.take().filter(|(known, _)| known == name) {
            Some(known) => last.insert(known),
            None => last.insert((name.to_string(), Zone::of_query(name)?)),
        };
        Ok(zone)
    }
}

fn date_bin(input: &Input<'_>) -> Result<ArrayRef> {
    let (strides, values, origins) =
        (primitive::<Span>(input, 0)?, primitive::<Micros>(input, 1)?, primitive::<Micros>(input, 2)?);
    let result = strides.iter().zip(values.iter()).zip(origins.iter()).map(|item| match item {
        ((Some(stride), Some(value)), Some(origin)) => {
            let stride = Interval::from_arrow(stride);
            if matches!(value, datetime::INFINITY | datetime::NEG_INFINITY) {
                return Ok(Some(value));
            }
            if matches!(origin, datetime::INFINITY | datetime::NEG_INFINITY) {
                return Err(Error::new(SqlState::DatetimeOverflow, "origin out of range"));
            }
            if stride.months != 0 {
                return Err(Error::new(
                    SqlState::FeatureNotSupported,
                    "timestamps cannot be binned into intervals containing months or years",
                ));
            }
            let length = stride.canonical();
            if length <= 0 {
                return Err(Error::new(SqlState::DatetimeOverflow, "stride must be greater than zero"));
            }
            let distance = i128::from(value) - i128::from(origin);
            let binned = i128::from(origin) + distance.div_euclid(length) * length;
            i64::try_from(binned)
                .map(Some)
                .map_err(|_| Error::new(SqlState::DatetimeOverflow, "timestamp out of range"))
        }
        _ => Ok(None),
    });
    Ok(Arc::new(result.collect::<Result<PrimitiveArray<Micros>>>()?.with_data_type(input.result.arrow())))
}

fn timezone(input: &Input<'_>) -> Result<ArrayRef> {
    let spans = if input.types[0] == PgType::Interval { Some(primitive::<Span>(input, 0)?) } else { None };
    let names = if spans.is_none() { Some(Zones::new(input, 0)?) } else { None };
    let to_local = *input.result == PgType::Timestamp;
    let values = primitive::<Micros>(input, 1)?;
    let mut result = Vec::with_capacity(input.rows);
    let mut last = None;
    for (row, value) in values.iter().enumerate() {
        let known = names
            .as_ref()
            .map_or_else(|| spans.as_ref().is_some_and(|spans| spans.is_valid(row)), |zones| zones.0.is_valid(row));
        let (Some(value), true) = (value, known) else {
            result.push(None);
            continue;
        };
        let of_span;
        let zone = match (&names, &spans) {
            (Some(zones), _) => zones.get(row, &mut last)?,
            (None, spans) => {
                of_span = zone_of(
                    spans.as_ref().map_or_else(Interval::default, |spans| Interval::from_arrow(spans.value(row))),
                )?;
                &of_span
            }
        };
        result.push(Some(match to_local {
            true => datetime::timestamptz_to_timestamp(value, zone)?,
            false => datetime::timestamp_to_timestamptz(value, zone)?,
        }));
    }
    Ok(Arc::new(PrimitiveArray::<Micros>::from(result).with_data_type(input.result.arrow())))
}

/// The zone so far east of Greenwich.
fn zone_of(span: Interval) -> Result<Zone> {
    if span.months != 0 || span.days != 0 {
        let mut text = String::new();
        span.write_to(&mut text);
        let message = format!("interval time zone \"{text}\" must not include months or days");
        return Err(Error::new(SqlState::InvalidParameter, message));
    }
    let seconds = i32::try_from(span.micros / datetime::SECOND);
    seconds.map(Zone::fixed).map_err(|_| Error::new(SqlState::DatetimeOverflow, "interval out of range"))
}

/// `timestamp(p)`, `timestamptz(p)` and `interval(p)`: so many digits of the second.
fn digits(input: &Input<'_>) -> Result<ArrayRef> {
    let places = primitive::<Int32Type>(input, 1)?;
    let places = |row: usize| if places.is_valid(row) { places.value(row) } else { 6 };
    if *input.result == PgType::Interval {
        let spans = primitive::<Span>(input, 0)?;
        let round = |(row, span): (usize, Option<_>)| {
            span.map(|span| {
                let span = Interval::from_arrow(span);
                Interval { micros: datetime::round_away(span.micros, places(row)), ..span }.to_arrow()
            })
        };
        return Ok(Arc::new(spans.iter().enumerate().map(round).collect::<PrimitiveArray<Span>>()));
    }
    let values = primitive::<Micros>(input, 0)?;
    let round = |(row, value): (usize, Option<i64>)| value.map(|value| datetime::round_timestamp(value, places(row)));
    let rounded: PrimitiveArray<Micros> = values.iter().enumerate().map(round).collect();
    Ok(Arc::new(rounded.with_data_type(input.result.arrow())))
}

fn make_date(input: &Input<'_>) -> Result<ArrayRef> {
    let (years, months, days) =
        (primitive::<Int32Type>(input, 0)?, primitive::<Int32Type>(input, 1)?, primitive::<Int32Type>(input, 2)?);
    let result = years.iter().zip(months.iter()).zip(days.iter()).map(|item| match item {
        ((Some(year), Some(month)), Some(day)) => {
            let wrong = || {
                Error::new(
                    SqlState::DatetimeOverflow,
                    format!("date field value out of range: {year}-{month:02}-{day:02}"),
                )
            };
            let (valid_month, valid_day) =
                (u32::try_from(month).map_err(|_| wrong())?, u32::try_from(day).map_err(|_| wrong())?);
            let full = if year < 0 { i64::from(year) + 1 } else { i64::from(year) };
            if year == 0
                || !(1..=12).contains(&valid_month)
                || valid_day == 0
                || valid_day > datetime::days_of_month(full, valid_month)
            {
                return Err(wrong());
            }
            let days = datetime::days_from_civil(Civil { year: full, month: valid_month, day: valid_day });
            i32::try_from(days).map(Some).map_err(|_| wrong())
        }
        _ => Ok(None),
    });
    Ok(Arc::new(result.collect::<Result<PrimitiveArray<Date32Type>>>()?))
}

fn make_time(input: &Input<'_>) -> Result<ArrayRef> {
    let (hours, minutes) = (primitive::<Int32Type>(input, 0)?, primitive::<Int32Type>(input, 1)?);
    let seconds = primitive::<Float64Type>(input, 2)?;
    let result = hours.iter().zip(minutes.iter()).zip(seconds.iter()).map(|item| match item {
        ((Some(hour), Some(minute)), Some(second)) => {
            let micros = (second * 1e6).round_ties_even();
            let fits = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=6e7).contains(&micros);
            let total = (i64::from(hour) * 60 + i64::from(minute)) * 60_000_000 + micros as i64;
            if !fits || total > DAY {
                let mut shown = String::new();
                thalweg_dataflow::types::write_f64(second, 0, &mut shown);
                let message = format!("time field value out of range: {hour}:{minute:02}:{}", two_digits(&shown));
                return Err(Error::new(SqlState::DatetimeOverflow, message));
            }
            Ok(Some(total))
        }
        _ => Ok(None),
    });
    Ok(Arc::new(result.collect::<Result<PrimitiveArray<Time64MicrosecondType>>>()?))
}

/// At least two places, as PostgreSQL pads the seconds of its message.
fn two_digits(number: &str) -> String {
    format!("{number:0>2}")
}

fn to_timestamp(input: &Input<'_>) -> Result<ArrayRef> {
    let values = primitive::<Float64Type>(input, 0)?;
    let result = values.iter().map(|value| match value {
        Some(value) if value.is_nan() => Err(Error::new(SqlState::DatetimeOverflow, "timestamp cannot be NaN")),
        Some(value) if value.is_infinite() => Ok(Some(if value > 0.0 { i64::MAX } else { i64::MIN })),
        Some(value) if value.abs() > 9.2e12 || value < -2.108_667_6e11 => {
            Err(Error::new(SqlState::DatetimeOverflow, format!("timestamp out of range: \"{value}\"")))
        }
        Some(value) => Ok(Some((value * 1e6).round_ties_even() as i64)),
        None => Ok(None),
    });
    Ok(Arc::new(result.collect::<Result<PrimitiveArray<Micros>>>()?.with_data_type(input.result.arrow())))
}

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "extract" (PgType::Text, PgType::Date) -> NUMERIC => extract;
    "extract" (PgType::Text, PgType::Timestamp) -> NUMERIC => extract;
    "extract" (PgType::Text, PgType::Timestamptz) -> NUMERIC => extract;
    "extract" (PgType::Text, PgType::Interval) -> NUMERIC => extract;
    "extract" (PgType::Text, PgType::Time(None)) -> NUMERIC => extract;
    "date_part" (PgType::Text, PgType::Time(None)) -> PgType::Float8 => date_part;
    "date_part" (PgType::Text, PgType::Date) -> PgType::Float8 => date_part;
    "date_part" (PgType::Text, PgType::Timestamp) -> PgType::Float8 => date_part;
    "date_part" (PgType::Text, PgType::Timestamptz) -> PgType::Float8 => date_part;
    "date_part" (PgType::Text, PgType::Interval) -> PgType::Float8 => date_part;
    "date_trunc" (PgType::Text, PgType::Timestamp) -> PgType::Timestamp => date_trunc;
    "date_trunc" (PgType::Text, PgType::Timestamptz) -> PgType::Timestamptz => date_trunc;
    "date_trunc" (PgType::Text, PgType::Timestamptz, PgType::Text) -> PgType::Timestamptz => date_trunc;
    "date_trunc" (PgType::Text, PgType::Interval) -> PgType::Interval => date_trunc;
    "date_bin" (PgType::Interval, PgType::Timestamp, PgType::Timestamp) -> PgType::Timestamp => date_bin;
    "date_bin" (PgType::Interval, PgType::Timestamptz, PgType::Timestamptz) -> PgType::Timestamptz => date_bin;
    "timezone" (PgType::Text, PgType::Timestamp) -> PgType::Timestamptz => timezone;
    "timezone" (PgType::Interval, PgType::Timestamp) -> PgType::Timestamptz => timezone;
    "timezone" (PgType::Interval, PgType::Timestamptz) -> PgType::Timestamp => timezone;
    "timezone" (PgType::Text, PgType::Timestamptz) -> PgType::Timestamp => timezone;
    "timestamp" (PgType::Timestamp, PgType::Int4) -> PgType::Timestamp => digits;
    "timestamptz" (PgType::Timestamptz, PgType::Int4) -> PgType::Timestamptz => digits;
    "interval" (PgType::Interval, PgType::Int4) -> PgType::Interval => digits;
    "make_date" (PgType::Int4, PgType::Int4, PgType::Int4) -> PgType::Date => make_date;
    "make_time" (PgType::Int4, PgType::Int4, PgType::Float8) -> PgType::Time(None) => make_time;
    "to_timestamp" (PgType::Float8) -> PgType::Timestamptz => to_timestamp;
};
