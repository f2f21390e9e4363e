//! Dates and times: PostgreSQL's calendar, its text forms, zones and interval arithmetic.
//!
//! Instants are microseconds since 1970 UTC, dates are days since 1970; the extremes of their
//! integers are the infinities. Knows no clock (`now`, `today` are refused) and no Arrow arrays.

mod arithmetic;
mod interval;
mod parse;
mod zone;

use crate::error::{Error, Result, SqlState};

pub use arithmetic::{
    add_days, add_to_time, add_to_timestamp, add_to_timestamptz, date_trunc, date_trunc_interval, days_between,
    extract_date, extract_interval, extract_time, extract_timestamp, extract_timestamptz, subtract_timestamps,
    timestamp_to_timestamptz, timestamptz_to_timestamp,
};
pub use interval::Interval;
pub use parse::{parse_date, parse_time, parse_timestamp, parse_timestamptz, parse_utc_timestamp};
pub use zone::Zone;

/// Microseconds of a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub const DAY: i64 = 86_400 * SECOND;
/// The timestamp `infinity`.
pub const INFINITY: i64 = i64::MAX;
/// The timestamp `-infinity`.
pub const NEG_INFINITY: i64 = i64::MIN;
/// The date `infinity`.
pub const DATE_INFINITY: i32 = i32::MAX;
/// The date `-infinity`.
pub const DATE_NEG_INFINITY: i32 = i32::MIN;
/// The first day: 4714-11-24 BC, PostgreSQL's Julian day 0.
pub(super) const FIRST_DAY: i64 = -2_440_588;
/// The day after the last date, 5874897-12-31.
const END_DAY: i64 = 2_145_042_906;

/// A day of the proleptic Gregorian calendar; year 0 is 1 BC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// The year.
    pub year: i64,
    /// The month, 1 to 12.
    pub month: u32,
    /// The day of the month, 1 to 31.
    pub day: u32,
}

/// Days since 1970 of a calendar day.
pub fn days_from_civil(civil: Civil) -> i64 {
    let year = civil.year - i64::from(civil.month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let month = i64::from(civil.month);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + i64::from(civil.day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The calendar day of some days since 1970.
pub fn civil_from_days(days: i64) -> Civil {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * month_index + 2) / 5 + 1) as u32;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 } as u32;
    Civil { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
}

/// Whether a year has a 29th of February.
pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// How many days a month has.
pub fn days_of_month(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 22008 with PostgreSQL's words: `timestamp out of range`.
pub(super) fn out_of_range(what: &str) -> Error {
    Error::new(SqlState::DatetimeOverflow, format!("{what} out of range"))
}

/// A finite instant from days and microseconds of the day, or `None` beyond the type.
pub(super) fn instant(days: i64, micros: i64) -> Option<i64> {
    let instant = i64::try_from(i128::from(days) * i128::from(DAY) + i128::from(micros)).ok()?;
    (instant != INFINITY && instant >= FIRST_DAY * DAY).then_some(instant)
}

/// A finite date, or 22008.
pub(super) fn checked_date(days: i64) -> Result<i32> {
    match i32::try_from(days) {
        Ok(date) if (FIRST_DAY..END_DAY).contains(&days) => Ok(date),
        _ => Err(out_of_range("date")),
    }
}

/// Prints a date: `2019-11-01`, `0044-03-15 BC`, `infinity`.
pub fn write_date(days: i32, out: &mut String) {
    match days {
        DATE_INFINITY => out.push_str("infinity"),
        DATE_NEG_INFINITY => out.push_str("-infinity"),
        _ => {
            let civil = civil_from_days(i64::from(days));
            push_date(civil, out);
            if civil.year <= 0 {
                out.push_str(" BC");
            }
        }
    }
}

/// Prints a timestamp: `2019-11-01 00:00:00.25`.
pub fn write_timestamp(micros: i64, out: &mut String) {
    if push_infinite(micros, out) {
        return;
    }
    let civil = civil_from_days(micros.div_euclid(DAY));
    push_date(civil, out);
    out.push(' ');
    push_time(micros.rem_euclid(DAY), out);
    if civil.year <= 0 {
        out.push_str(" BC");
    }
}

/// Prints a timestamptz as the zone's clock shows it, with its offset: `2019-11-01 01:00:00+01`.
pub fn write_timestamptz(micros: i64, zone: &Zone, out: &mut String) {
    if push_infinite(micros, out) {
        return;
    }
    let offset = zone.offset_at(micros);
    let local = i128::from(micros) + i128::from(offset) * i128::from(SECOND);
    let civil = civil_from_days(local.div_euclid(i128::from(DAY)) as i64);
    push_date(civil, out);
    out.push(' ');
    push_time(local.rem_euclid(i128::from(DAY)) as i64, out);
    zone::push_offset(offset, out);
    if civil.year <= 0 {
        out.push_str(" BC");
    }
}

fn push_infinite(micros: i64, out: &mut String) -> bool {
    match micros {
        INFINITY => out.push_str("infinity"),
        NEG_INFINITY => out.push_str("-infinity"),
        _ => return false,
    }
    true
}

fn push_date(civil: Civil, out: &mut String) {
    let year = if civil.year > 0 { civil.year } else { 1 - civil.year } as u64;
    if year < 10_000 {
        push_two(year / 100, out);
        push_two(year % 100, out);
    } else {
        super::numeric::push_u64(out, year);
    }
    out.push('-');
    push_two(u64::from(civil.month), out);
    out.push('-');
    push_two(u64::from(civil.day), out);
}

/// Prints a time of day: `04:05:06.789`, at the most `24:00:00`.
pub fn write_time(micros: i64, out: &mut String) {
    push_time(micros, out);
}

/// A time of day to so many digits of the second; halves go up.
pub fn round_time(micros: i64, digits: Option<u8>) -> i64 {
    let step = 10_i64.pow(6 - u32::from(digits.unwrap_or(6).min(6)));
    (micros + step / 2) / step * step
}

/// A timestamp to so many digits of the second; halves go away from the year 2000, as in PostgreSQL.
pub fn round_timestamp(micros: i64, digits: i32) -> i64 {
    /// Microseconds from 1970 to 2000.
    const FROM: i64 = 10_957 * DAY;
    if micros == INFINITY || micros == NEG_INFINITY {
        return micros;
    }
    round_away(micros.saturating_sub(FROM), digits).saturating_add(FROM)
}

/// Microseconds to so many digits of the second; halves go away from zero.
pub fn round_away(micros: i64, digits: i32) -> i64 {
    let step = 10_i64.pow(6 - digits.clamp(0, 6).unsigned_abs());
    let (whole, rest) = (micros / step, micros % step);
    (whole + if rest.abs() * 2 >= step { micros.signum() } else { 0 }).saturating_mul(step)
}

/// Prints microseconds of a day: `00:00:00`, a fraction without trailing zeros.
fn push_time(micros: i64, out: &mut String) {
    let seconds = (micros / SECOND) as u64;
    push_two(seconds / 3600, out);
    out.push(':');
    push_two(seconds / 60 % 60, out);
    out.push(':');
    push_two(seconds % 60, out);
    push_fraction((micros % SECOND) as u64, out);
}

/// Prints microseconds of a second as a fraction, if there are any.
fn push_fraction(micros: u64, out: &mut String) {
    if micros == 0 {
        return;
    }
    out.push('.');
    let (mut rest, mut power) = (micros, 100_000);
    while rest > 0 {
        out.push((b'0' + (rest / power) as u8) as char);
        rest %= power;
        power /= 10;
    }
}

/// Prints a number below 100 with two digits.
fn push_two(value: u64, out: &mut String) {
    out.push((b'0' + (value / 10 % 10) as u8) as char);
    out.push((b'0' + (value % 10) as u8) as char);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn calendar_agrees_with_chrono() {
        use chrono::Datelike;
        for days in (-300_000..300_000).step_by(7) {
            let civil = civil_from_days(days);
            let date = chrono::DateTime::from_timestamp(days * 86_400, 0).expect("in range");
            assert_eq!((civil.year, civil.month, civil.day), (i64::from(date.year()), date.month(), date.day()));
            assert_eq!(days_from_civil(civil), days);
        }
    }

    #[test]
    fn printed_times_read_back() {
        let mut random = StdRng::seed_from_u64(31);
        let zones =
            ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "+3", "GMT-08:00"];
        for _ in 0..50_000 {
            let zone = Zone::parse(zones[random.random_range(0..zones.len())]).expect("a zone");
            let micros = match random.random_range(0..3) {
                0 => random.random_range(FIRST_DAY * DAY + DAY..i64::MAX - DAY),
                1 => random.random_range(-4_000_000_000i64..8_000_000_000) * SECOND,
                _ => random.random_range(1_500_000_000i64..1_700_000_000) * SECOND + random.random_range(0..SECOND),
            };
            let mut text = String::new();
            write_timestamptz(micros, &zone, &mut text);
            assert_eq!(parse_timestamptz(&text, &Zone::Utc), Ok(micros), "{text}");
            text.clear();
            write_timestamp(micros, &mut text);
            assert_eq!(parse_timestamp(&text), Ok(micros), "{text}");
            text.clear();
            let days = micros.div_euclid(DAY) as i32;
            write_date(days, &mut text);
            assert_eq!(parse_date(&text), Ok(days), "{text}");
        }
    }

    #[test]
    fn printed_intervals_read_back() {
        let mut random = StdRng::seed_from_u64(32);
        for _ in 0..50_000 {
            let small = |random: &mut StdRng| if random.random() { random.random_range(-40..40) } else { 0 };
            let micros = match random.random_range(0..3) {
                0 => 0,
                1 => random.random_range(-DAY..DAY),
                _ => random.random_range(i64::MIN / 1000..i64::MAX / 1000),
            };
            let interval = Interval { months: small(&mut random), days: small(&mut random), micros };
            let mut text = String::new();
            interval.write_to(&mut text);
            assert_eq!(Interval::parse(&text), Ok(interval), "{text}");
            assert_eq!(Interval::from_arrow(interval.to_arrow()), interval);
        }
    }

    #[test]
    fn fast_timestamps_are_the_general_ones() {
        for text in ["2019-11-01 00:00:00 UTC", "1999-12-31T23:59:59Z", "2020-02-29 12:34:56", "0001-01-01 00:00:00+00"]
        {
            let fast = parse_utc_timestamp(text.as_bytes());
            // A second space keeps the general way from using the fast one.
            let general = parse_timestamptz(&text.replacen([' ', 'T'], "  ", 1), &Zone::Utc);
            assert_eq!(fast, general.ok(), "{text}");
            assert!(fast.is_some());
        }
        for text in ["2019-02-29 00:00:00", "2019-11-01 24:00:00", "2019-11-01 00:00:0x", "2019-11-01 00:00:00 PST", ""]
        {
            assert_eq!(parse_utc_timestamp(text.as_bytes()), None, "{text}");
        }
    }
}
