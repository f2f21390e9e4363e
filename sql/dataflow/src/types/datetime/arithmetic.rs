//! Arithmetic on dates, times and times of day: adding intervals, differences, `date_trunc`, `extract`.
//!
//! Infinities stay what they are; results beyond the types are 22008. A timestamptz is computed on
//! the zone's clock where the unit is a day or longer. Offers no `age` and no `justify_*`.

use super::{
    Civil, DATE_INFINITY, DATE_NEG_INFINITY, DAY, INFINITY, Interval, NEG_INFINITY, SECOND, Zone, checked_date,
    civil_from_days, days_from_civil, days_of_month, instant, out_of_range,
};
use crate::error::{Error, Result, SqlState};
use crate::types::numeric::Numeric;

fn is_infinite(micros: i64) -> bool {
    micros == INFINITY || micros == NEG_INFINITY
}

/// A date so many days later; an infinite one stays what it is.
pub fn add_days(date: i32, days: i64) -> Result<i32> {
    if matches!(date, DATE_INFINITY | DATE_NEG_INFINITY) { Ok(date) } else { checked_date(i64::from(date) + days) }
}

/// The days from one date to another.
pub fn days_between(later: i32, earlier: i32) -> Result<i32> {
    let is_infinite = |date| matches!(date, DATE_INFINITY | DATE_NEG_INFINITY);
    if is_infinite(later) || is_infinite(earlier) {
        return Err(Error::new(SqlState::DatetimeOverflow, "cannot subtract infinite dates"));
    }
    i32::try_from(i64::from(later) - i64::from(earlier)).map_err(|_| out_of_range("date"))
}

/// A timestamp later by an interval: months (the day of the month cut to the month's length), then
/// days, then the clock part.
pub fn add_to_timestamp(micros: i64, interval: Interval) -> Result<i64> {
    if is_infinite(micros) {
        return Ok(micros);
    }
    let shifted = add_calendar(micros, interval)?;
    finite(i128::from(shifted) + i128::from(interval.micros))
}

/// A timestamptz later by an interval; months and days are those of the zone's clock.
pub fn add_to_timestamptz(micros: i64, interval: Interval, zone: &Zone) -> Result<i64> {
    if is_infinite(micros) {
        return Ok(micros);
    }
    let mut at = micros;
    if interval.months != 0 {
        let months = Interval { days: 0, ..interval };
        at = timestamp_to_timestamptz(add_calendar(timestamptz_to_timestamp(at, zone)?, months)?, zone)?;
    }
    if interval.days != 0 {
        let days = Interval { months: 0, ..interval };
        at = timestamp_to_timestamptz(add_calendar(timestamptz_to_timestamp(at, zone)?, days)?, zone)?;
    }
    finite(i128::from(at) + i128::from(interval.micros))
}

/// Adds the months and days of an interval.
fn add_calendar(micros: i64, interval: Interval) -> Result<i64> {
    if interval.months == 0 && interval.days == 0 {
        return Ok(micros);
    }
    let mut days = micros.div_euclid(DAY);
    if interval.months != 0 {
        let civil = civil_from_days(days);
        let index = civil.year * 12 + i64::from(civil.month) - 1 + i64::from(interval.months);
        let (year, month) = (index.div_euclid(12), index.rem_euclid(12) as u32 + 1);
        days = days_from_civil(Civil { year, month, day: civil.day.min(days_of_month(year, month)) });
    }
    days += i64::from(interval.days);
    instant(days, micros.rem_euclid(DAY)).ok_or_else(|| out_of_range("timestamp"))
}

fn finite(micros: i128) -> Result<i64> {
    let narrow = i64::try_from(micros).map_err(|_| out_of_range("timestamp"))?;
    instant(narrow.div_euclid(DAY), narrow.rem_euclid(DAY)).ok_or_else(|| out_of_range("timestamp"))
}

/// A time of day later by an interval's clock part, around midnight.
pub fn add_to_time(micros: i64, interval: Interval) -> i64 {
    (micros + interval.micros % DAY).rem_euclid(DAY)
}

/// `left - right`: days and a clock part. Errors 22008, also for infinities.
pub fn subtract_timestamps(left: i64, right: i64) -> Result<Interval> {
    if is_infinite(left) || is_infinite(right) {
        return Err(Error::new(SqlState::DatetimeOverflow, "cannot subtract infinite timestamps"));
    }
    let micros = left.checked_sub(right).ok_or_else(|| out_of_range("interval"))?;
    Interval::checked(0, micros / DAY, micros % DAY)
}

/// The instant at which the zone's clock shows a timestamp.
pub fn timestamp_to_timestamptz(local: i64, zone: &Zone) -> Result<i64> {
    if is_infinite(local) {
        return Ok(local);
    }
    finite(i128::from(local) - i128::from(zone.offset_of_local(local)) * i128::from(SECOND))
}

/// What the zone's clock shows at an instant.
pub fn timestamptz_to_timestamp(micros: i64, zone: &Zone) -> Result<i64> {
    if is_infinite(micros) {
        return Ok(micros);
    }
    finite(i128::from(micros) + i128::from(zone.offset_at(micros)) * i128::from(SECOND))
}

/// The units of `date_trunc` and `extract`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Epoch,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    Julian,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word.trim().to_ascii_lowercase().as_str() {
        "us" | "usec" | "usecs" | "microsecond" | "microseconds" => Unit::Microsecond,
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => Unit::Millisecond,
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "qtr" | "quarter" => Unit::Quarter,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennium" | "millennia" => Unit::Millennium,
        "epoch" => Unit::Epoch,
        "dow" => Unit::DayOfWeek,
        "isodow" => Unit::IsoDayOfWeek,
        "doy" => Unit::DayOfYear,
        "isoyear" => Unit::IsoYear,
        "julian" => Unit::Julian,
        "timezone" => Unit::Timezone,
        "timezone_h" | "timezone_hour" => Unit::TimezoneHour,
        "timezone_m" | "timezone_minute" => Unit::TimezoneMinute,
        _ => return None,
    })
}

/// The units that `date_trunc` knows, if only to refuse them.
fn truncation_unit(word: &str) -> Option<Unit> {
    unit(word).filter(|unit| *unit <= Unit::Millennium || *unit >= Unit::Timezone)
}

fn unknown(word: &str, type_name: &str) -> Error {
    let message = format!("unit \"{}\" not recognized for type {type_name}", word.to_lowercase());
    Error::new(SqlState::InvalidParameter, message)
}

fn unfit(word: &str, type_name: &str) -> Error {
    let message = format!("unit \"{}\" not supported for type {type_name}", word.to_lowercase());
    Error::new(SqlState::FeatureNotSupported, message)
}

/// `date_trunc` of a timestamp (`zone` absent) or of a timestamptz. Errors 22023, 0A000.
pub fn date_trunc(word: &str, micros: i64, zone: Option<&Zone>) -> Result<i64> {
    let type_name = if zone.is_some() { "timestamp with time zone" } else { "timestamp without time zone" };
    let unit = truncation_unit(word).ok_or_else(|| unknown(word, type_name))?;
    if unit > Unit::Millennium {
        return Err(unfit(word, type_name));
    }
    if is_infinite(micros) {
        return Ok(micros);
    }
    let Some(zone) = zone else { return truncate(unit, micros) };
    if *zone == Zone::Utc {
        return truncate(unit, micros);
    }
    let offset = i64::from(zone.offset_at(micros)) * SECOND;
    let local = truncate(unit, finite(i128::from(micros) + i128::from(offset))?)?;
    // A day starts when the clock shows midnight, whatever the offset is by then.
    if unit >= Unit::Day {
        timestamp_to_timestamptz(local, zone)
    } else {
        finite(i128::from(local) - i128::from(offset))
    }
}

fn truncate(unit: Unit, micros: i64) -> Result<i64> {
    let step = match unit {
        Unit::Microsecond => 1,
        Unit::Millisecond => 1000,
        Unit::Second => SECOND,
        Unit::Minute => 60 * SECOND,
        Unit::Hour => 3600 * SECOND,
        Unit::Day => DAY,
        _ => 0,
    };
    if step > 0 {
        return finite(i128::from(micros - micros.rem_euclid(step)));
    }
    let days = micros.div_euclid(DAY);
    let civil = civil_from_days(days);
    let first = match unit {
        Unit::Week => days - (days + 3).rem_euclid(7),
        Unit::Month => days_from_civil(Civil { day: 1, ..civil }),
        Unit::Quarter => days_from_civil(Civil { month: (civil.month - 1) / 3 * 3 + 1, day: 1, ..civil }),
        _ => {
            let year = match unit {
                Unit::Decade => civil.year.div_euclid(10) * 10,
                Unit::Century => (civil.year - 1).div_euclid(100) * 100 + 1,
                Unit::Millennium => (civil.year - 1).div_euclid(1000) * 1000 + 1,
                _ => civil.year,
            };
            days_from_civil(Civil { year, month: 1, day: 1 })
        }
    };
    instant(first, 0).ok_or_else(|| out_of_range("timestamp"))
}

/// `date_trunc` of an interval. Errors 22023, 0A000.
pub fn date_trunc_interval(word: &str, interval: Interval) -> Result<Interval> {
    let unit = truncation_unit(word).ok_or_else(|| unknown(word, "interval"))?;
    let months = |step: i32| Interval { months: interval.months / step * step, days: 0, micros: 0 };
    let clock = |step: i64| Interval { micros: interval.micros / step * step, ..interval };
    Ok(match unit {
        Unit::Microsecond => interval,
        Unit::Millisecond => clock(1000),
        Unit::Second => clock(SECOND),
        Unit::Minute => clock(60 * SECOND),
        Unit::Hour => clock(3600 * SECOND),
        Unit::Day => Interval { micros: 0, ..interval },
        Unit::Month => months(1),
        Unit::Quarter => months(3),
        Unit::Year => months(12),
        Unit::Decade => months(120),
        Unit::Century => months(1200),
        Unit::Millennium => months(12_000),
        Unit::Week => {
            return Err(unfit(word, "interval").detail("Months usually have fractional weeks."));
        }
        _ => return Err(unfit(word, "interval")),
    })
}

fn integer(value: i64) -> Option<Numeric> {
    Some(Numeric::from(value))
}

/// The fields that a day alone decides.
fn day_field(unit: Unit, days: i64) -> Option<Numeric> {
    let civil = civil_from_days(days);
    let before_christ = |year: i64| if year > 0 { year } else { year - 1 };
    let block = |size: i64| {
        if civil.year > 0 { (civil.year + size - 1) / size } else { -((size - 1 - (civil.year - 1)) / size) }
    };
    integer(match unit {
        Unit::Day => i64::from(civil.day),
        Unit::Month => i64::from(civil.month),
        Unit::Quarter => i64::from((civil.month - 1) / 3 + 1),
        Unit::Year => before_christ(civil.year),
        Unit::Decade => civil.year.div_euclid(10),
        Unit::Century => block(100),
        Unit::Millennium => block(1000),
        Unit::DayOfWeek => (days + 4).rem_euclid(7),
        Unit::IsoDayOfWeek => (days + 3).rem_euclid(7) + 1,
        Unit::DayOfYear => days - days_from_civil(Civil { month: 1, day: 1, ..civil }) + 1,
        Unit::Week => iso_week(days).1,
        Unit::IsoYear => before_christ(iso_week(days).0),
        _ => return None,
    })
}

/// The ISO year and week of a day: those of its Thursday.
fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let year = civil_from_days(thursday).year;
    (year, (thursday - days_from_civil(Civil { year, month: 1, day: 1 })) / 7 + 1)
}

/// The fields that the clock decides.
fn clock_field(unit: Unit, micros: i64) -> Option<Numeric> {
    let of_minute = i128::from(micros % (60 * SECOND));
    match unit {
        Unit::Microsecond => integer(of_minute as i64),
        Unit::Millisecond => Some(Numeric::from_i128(of_minute, 3)),
        Unit::Second => Some(Numeric::from_i128(of_minute, 6)),
        Unit::Minute => integer(micros / (60 * SECOND) % 60),
        Unit::Hour => integer(micros / (3600 * SECOND)),
        _ => None,
    }
}

/// What `extract` gives for an infinite date or time: `None` is null.
fn infinite_field(unit: Unit, positive: bool) -> Option<Numeric> {
    let grows = matches!(
        unit,
        Unit::Year | Unit::Decade | Unit::Century | Unit::Millennium | Unit::Epoch | Unit::IsoYear | Unit::Julian
    );
    grows.then_some(if positive { Numeric::INFINITY } else { Numeric::NEG_INFINITY })
}

/// `extract(field from date)`; `None` is null. Errors 22023, 0A000.
pub fn extract_date(word: &str, days: i32) -> Result<Option<Numeric>> {
    let unit = unit(word).ok_or_else(|| unknown(word, "date"))?;
    let days_only = !matches!(unit, Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour);
    if !days_only || unit >= Unit::Timezone {
        return Err(unfit(word, "date"));
    }
    if days == super::DATE_INFINITY || days == super::DATE_NEG_INFINITY {
        return Ok(infinite_field(unit, days > 0));
    }
    let days = i64::from(days);
    Ok(match unit {
        Unit::Epoch => integer(days * 86_400),
        Unit::Julian => integer(days - super::FIRST_DAY),
        _ => day_field(unit, days),
    })
}

/// `extract(field from time)`. Errors 22023, 0A000.
pub fn extract_time(word: &str, micros: i64) -> Result<Option<Numeric>> {
    let type_name = "time without time zone";
    match unit(word).ok_or_else(|| unknown(word, type_name))? {
        Unit::Epoch => Ok(Some(Numeric::from_i128(i128::from(micros), 6))),
        unit => clock_field(unit, micros).map(Some).ok_or_else(|| unfit(word, type_name)),
    }
}

/// `extract(field from timestamp)`; `None` is null. Errors 22023, 0A000.
pub fn extract_timestamp(word: &str, micros: i64) -> Result<Option<Numeric>> {
    let type_name = "timestamp without time zone";
    let unit = unit(word).ok_or_else(|| unknown(word, type_name))?;
    if unit >= Unit::Timezone {
        return Err(unfit(word, type_name));
    }
    moment_field(unit, micros, micros)
}

/// `extract(field from timestamptz)`, the fields as the zone's clock shows them; `None` is null.
/// Errors 22023, 0A000.
pub fn extract_timestamptz(word: &str, micros: i64, zone: &Zone) -> Result<Option<Numeric>> {
    let unit = unit(word).ok_or_else(|| unknown(word, "timestamp with time zone"))?;
    if is_infinite(micros) {
        return Ok(infinite_field(unit, micros > 0));
    }
    let offset = i64::from(zone.offset_at(micros));
    match unit {
        Unit::Timezone => Ok(integer(offset)),
        Unit::TimezoneHour => Ok(integer(offset / 3600)),
        Unit::TimezoneMinute => Ok(integer(offset / 60 % 60)),
        _ => moment_field(unit, micros, timestamptz_to_timestamp(micros, zone)?),
    }
}

fn moment_field(unit: Unit, micros: i64, local: i64) -> Result<Option<Numeric>> {
    if is_infinite(micros) {
        return Ok(infinite_field(unit, micros > 0));
    }
    let (days, clock) = (local.div_euclid(DAY), local.rem_euclid(DAY));
    Ok(match unit {
        Unit::Epoch => Some(Numeric::from_i128(i128::from(micros), 6)),
        Unit::Julian => {
            let fraction = Numeric::from(clock).div(&Numeric::from(DAY))?;
            Some(Numeric::from(days - super::FIRST_DAY).add(&fraction)?)
        }
        _ => clock_field(unit, clock).or_else(|| day_field(unit, days)),
    })
}

/// `extract(field from interval)`; `None` is null. Errors 22023, 0A000.
pub fn extract_interval(word: &str, interval: Interval) -> Result<Option<Numeric>> {
    let unit = unit(word).ok_or_else(|| unknown(word, "interval"))?;
    let (years, months) = (i64::from(interval.months / 12), i64::from(interval.months % 12));
    Ok(match unit {
        Unit::Day => integer(i64::from(interval.days)),
        Unit::Month => integer(months),
        Unit::Quarter => integer(months / 3 + 1),
        Unit::Year => integer(years),
        Unit::Decade => integer(years / 10),
        Unit::Century => integer(years / 100),
        Unit::Millennium => integer(years / 1000),
        Unit::Epoch => {
            // A year is 365.25 days here, a month 30.
            let quarters = i128::from(years) * 1461 + i128::from(months) * 120 + i128::from(interval.days) * 4;
            let micros = quarters * i128::from(DAY / 4) + i128::from(interval.micros);
            Some(Numeric::from_i128(micros, 6))
        }
        _ => match clock_field(unit, interval.micros) {
            Some(value) => Some(value),
            None => return Err(unfit(word, "interval")),
        },
    })
}
