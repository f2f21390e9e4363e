//! Intervals: months, days and microseconds, each with its own sign.
//!
//! Reads PostgreSQL's unit words, clock parts and ISO 8601, prints IntervalStyle postgres.
//! The clock part is bounded by Arrow's nanoseconds (292 years of hours); beyond is 22008.

use arrow::datatypes::IntervalMonthDayNano;

use super::parse::parse_fraction;
use super::{DAY, SECOND, out_of_range};
use crate::error::{Error, Result, SqlState};
use crate::types::numeric::push_u64;

/// The largest clock part that Arrow's layout holds, in microseconds.
const MAX_MICROS: i64 = i64::MAX / 1000;

/// An interval. `==` compares the parts; PostgreSQL's equality is [`Interval::canonical`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

impl Interval {
    /// From its three parts. Errors 22008 where Arrow cannot hold them.
    pub fn checked(months: i64, days: i64, micros: i64) -> Result<Interval> {
        match (i32::try_from(months), i32::try_from(days)) {
            (Ok(months), Ok(days)) if micros.unsigned_abs() <= MAX_MICROS as u64 => {
                Ok(Interval { months, days, micros })
            }
            _ => Err(out_of_range("interval")),
        }
    }

    /// From Arrow's layout.
    pub fn from_arrow(value: IntervalMonthDayNano) -> Interval {
        Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1000 }
    }

    /// To Arrow's layout.
    pub fn to_arrow(self) -> IntervalMonthDayNano {
        IntervalMonthDayNano::new(self.months, self.days, self.micros.clamp(-MAX_MICROS, MAX_MICROS) * 1000)
    }

    /// The length that comparison uses: microseconds, a month being 30 days and a day 24 hours.
    pub fn canonical(self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * i128::from(DAY) + i128::from(self.micros)
    }

    /// The sum. Errors 22008.
    pub fn add(self, other: Interval) -> Result<Interval> {
        let micros = self.micros.checked_add(other.micros).ok_or_else(|| out_of_range("interval"))?;
        let months = i64::from(self.months) + i64::from(other.months);
        Interval::checked(months, i64::from(self.days) + i64::from(other.days), micros)
    }

    /// The negated interval. Errors 22008.
    pub fn neg(self) -> Result<Interval> {
        Interval::checked(-i64::from(self.months), -i64::from(self.days), -self.micros)
    }

    /// Times a number; fractions of months and days go to the smaller parts. Errors 22008.
    pub fn mul(self, factor: f64) -> Result<Interval> {
        let beyond = || out_of_range("interval");
        let whole = |value: f64| -> Result<i64> {
            (value.is_finite() && value.abs() <= f64::from(i32::MAX)).then_some(value.trunc() as i64).ok_or_else(beyond)
        };
        let round = |value: f64| (value * SECOND as f64).round_ties_even() / SECOND as f64;
        let exact_months = f64::from(self.months) * factor;
        let exact_days = f64::from(self.days) * factor;
        let (months, mut days) = (whole(exact_months)?, whole(exact_days)?);
        let mut month_days = round((exact_months - months as f64) * 30.0);
        let mut seconds = round((exact_days - days as f64 + month_days - month_days.trunc()) * 86_400.0);
        if seconds.abs() >= 86_400.0 {
            let carried = (seconds / 86_400.0).trunc();
            days += carried as i64;
            seconds -= carried * 86_400.0;
        }
        month_days = month_days.trunc();
        days += month_days as i64;
        let micros = (self.micros as f64 * factor + seconds * SECOND as f64).round_ties_even();
        if !micros.is_finite() || micros.abs() >= MAX_MICROS as f64 {
            return Err(beyond());
        }
        Interval::checked(months, days, micros as i64)
    }

    /// Reads PostgreSQL's input forms. Errors 22007, 22008.
    pub fn parse(text: &str) -> Result<Interval> {
        let syntax = || {
            Error::new(SqlState::InvalidDatetimeFormat, format!("invalid input syntax for type interval: \"{text}\""))
        };
        let trimmed = text.trim();
        if !trimmed.is_ascii() || trimmed.is_empty() {
            return Err(syntax());
        }
        let parts = match trimmed.as_bytes() {
            [b'P', rest @ ..] => parse_iso(rest),
            bytes => parse_words(bytes),
        };
        let parts = parts.ok_or_else(syntax)?;
        parts.interval().ok_or_else(|| {
            Error::new(SqlState::DatetimeOverflow, format!("interval field value out of range: \"{text}\""))
        })
    }

    /// Prints it as IntervalStyle postgres does: `1 year 2 mons 3 days -04:05:06.7`.
    pub fn write_to(self, out: &mut String) {
        let start = out.len();
        let mut negative = false;
        let parts = [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")];
        for (value, unit) in parts.into_iter().filter(|(value, _)| *value != 0) {
            if out.len() > start {
                out.push(' ');
            }
            if value < 0 {
                out.push('-');
            } else if negative {
                out.push('+');
            }
            push_u64(out, u64::from(value.unsigned_abs()));
            out.push(' ');
            out.push_str(unit);
            if value != 1 {
                out.push('s');
            }
            negative = value < 0;
        }
        if self.micros == 0 && out.len() > start {
            return;
        }
        if out.len() > start {
            out.push(' ');
        }
        if self.micros < 0 {
            out.push('-');
        } else if negative {
            out.push('+');
        }
        push_clock(self.micros.unsigned_abs(), out);
    }
}

fn push_clock(micros: u64, out: &mut String) {
    let seconds = micros / SECOND as u64;
    let hours = seconds / 3600;
    if hours < 10 {
        out.push('0');
    }
    push_u64(out, hours);
    out.push(':');
    super::push_two(seconds / 60 % 60, out);
    out.push(':');
    super::push_two(seconds % 60, out);
    super::push_fraction(micros % SECOND as u64, out);
}

/// A number as written: an integer and a fraction in billionths, with one sign.
#[derive(Clone, Copy)]
struct Amount {
    whole: i64,
    billionths: i64,
}

/// The parts while they are added up.
#[derive(Default, Clone, Copy)]
struct Parts {
    months: i128,
    days: i128,
    micros: i128,
}

impl Parts {
    fn interval(self) -> Option<Interval> {
        let narrow = |value: i128| i64::try_from(value).ok();
        Interval::checked(narrow(self.months)?, narrow(self.days)?, narrow(self.micros)?).ok()
    }

    /// Adds an amount of a unit; `None` if there is no such unit.
    fn add(&mut self, amount: Amount, unit: &str) -> Option<()> {
        let whole = i128::from(amount.whole);
        let fraction = i128::from(amount.billionths);
        let billion = 1_000_000_000;
        let day = i128::from(DAY);
        match unit {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" | "microsecon" => {
                self.micros += whole + round(fraction, billion);
            }
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" | "millisecon" => {
                self.micros += whole * 1000 + round(fraction * 1000, billion);
            }
            "s" | "sec" | "secs" | "second" | "seconds" => {
                self.micros += whole * 1_000_000 + round(fraction * 1_000_000, billion)
            }
            "m" | "min" | "mins" | "minute" | "minutes" => self.add_time(whole, fraction, 60),
            "h" | "hr" | "hrs" | "hour" | "hours" => self.add_time(whole, fraction, 3600),
            "d" | "day" | "days" => {
                self.days += whole;
                self.micros += round(fraction * day, billion);
            }
            "w" | "week" | "weeks" => {
                self.days += whole * 7 + fraction * 7 / billion;
                self.micros += round(fraction * 7 % billion * day, billion);
            }
            "mon" | "mons" | "month" | "months" => {
                self.months += whole;
                self.days += fraction * 30 / billion;
                self.micros += round(fraction * 30 % billion * day, billion);
            }
            "y" | "yr" | "yrs" | "year" | "years" => self.add_years(whole, fraction, 1),
            "dec" | "decs" | "decade" | "decades" => self.add_years(whole, fraction, 10),
            "c" | "cent" | "century" | "centuries" => self.add_years(whole, fraction, 100),
            "mil" | "mils" | "millennium" | "millennia" => self.add_years(whole, fraction, 1000),
            _ => return None,
        }
        Some(())
    }

    fn add_time(&mut self, whole: i128, fraction: i128, seconds: i128) {
        let unit = seconds * i128::from(SECOND);
        self.micros += whole * unit + round(fraction * unit, 1_000_000_000);
    }

    /// A fraction of years is rounded to months.
    fn add_years(&mut self, whole: i128, fraction: i128, years: i128) {
        self.months += whole * years * 12 + round(fraction * years * 12, 1_000_000_000);
    }

    fn neg(self) -> Parts {
        Parts { months: -self.months, days: -self.days, micros: -self.micros }
    }
}

/// `value / divisor` to the nearest integer, halves to even.
fn round(value: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (value.div_euclid(divisor), value.rem_euclid(divisor) * 2);
    quotient + i128::from(rest > divisor || (rest == divisor && quotient % 2 != 0))
}

/// A number at the start: optional sign, digits, optional fraction.
fn take_amount(bytes: &[u8]) -> Option<(Amount, bool, &[u8])> {
    let (negative, mut rest) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (mut whole, mut billionths, mut digits) = (0i64, 0i64, 0);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        whole = whole.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        (rest, digits) = (after, digits + 1);
    }
    if let [b'.', after @ ..] = rest {
        rest = after;
        let mut power = 100_000_000;
        while let [digit @ b'0'..=b'9', after @ ..] = rest {
            billionths += i64::from(digit - b'0') * power;
            power /= 10;
            (rest, digits) = (after, digits + 1);
        }
    }
    let sign = if negative { -1 } else { 1 };
    (digits > 0).then_some((Amount { whole: whole * sign, billionths: billionths * sign }, negative, rest))
}

/// `1 day 02:03:04`, `10 minutes`, `1-2`, `3 4:05 ago`.
fn parse_words(bytes: &[u8]) -> Option<Parts> {
    let mut parts = Parts::default();
    let mut rest = bytes;
    let (mut any, mut ago) = (false, false);
    loop {
        rest = rest.trim_ascii_start();
        match rest.first() {
            None => break,
            Some(b'@' | b',') => rest = &rest[1..],
            Some(b'a' | b'A') if any && rest.eq_ignore_ascii_case(b"ago") => {
                ago = true;
                rest = &[];
            }
            Some(_) => {
                rest = parse_field(rest, &mut parts)?;
                any = true;
            }
        }
    }
    any.then_some(if ago { parts.neg() } else { parts })
}

/// One field: a clock part, `years-months`, or a number with its unit (seconds, or days before a
/// clock part, if none is given).
fn parse_field<'a>(bytes: &'a [u8], parts: &mut Parts) -> Option<&'a [u8]> {
    let (amount, negative, after) = take_amount(bytes)?;
    if after.first() == Some(&b':') {
        let signed = matches!(bytes.first(), Some(b'-' | b'+'));
        return parse_clock(&bytes[usize::from(signed)..], negative, parts);
    }
    if let [b'-', months @ ..] = after
        && amount.billionths == 0
    {
        let (months, false, rest) = take_amount(months)? else { return None };
        let sign = if negative { -1 } else { 1 };
        if months.whole > 11 || months.billionths != 0 {
            return None;
        }
        parts.months += i128::from(amount.whole) * 12 + i128::from(months.whole * sign);
        return Some(rest);
    }
    let rest = after.trim_ascii_start();
    let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let unit = String::from_utf8_lossy(&rest[..letters]).to_ascii_lowercase();
    if letters == 0 {
        let before_clock = take_amount(rest).is_some_and(|(_, _, after)| after.first() == Some(&b':'));
        parts.add(amount, if before_clock { "day" } else { "second" })?;
        return if rest.is_empty() || before_clock { Some(rest) } else { None };
    }
    if unit == "ago" {
        parts.add(amount, "second")?;
        return Some(rest);
    }
    parts.add(amount, &unit)?;
    Some(&rest[letters..])
}

/// `02:03`, `02:03:04.5`, and `03:04.5` as minutes and seconds.
fn parse_clock<'a>(bytes: &'a [u8], negative: bool, parts: &mut Parts) -> Option<&'a [u8]> {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.')).count();
    let (text, rest) = bytes.split_at(length);
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fields: Vec<i64> = whole.split(':').map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match fields.as_slice() {
        [minutes, seconds] if text.contains('.') => (0, *minutes, *seconds),
        [hours, minutes] => (*hours, *minutes, 0),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return None,
    };
    if minutes > 59 || seconds > 60 {
        return None;
    }
    let seconds = (i128::from(hours) * 60 + i128::from(minutes)) * 60 + i128::from(seconds);
    let micros = seconds * i128::from(SECOND) + i128::from(parse_fraction(fraction)?);
    parts.micros += if negative { -micros } else { micros };
    Some(rest)
}

/// What follows the `P` of `P1Y2M3DT4H5M6.7S`, or `P1-2-3T04:05:06`.
fn parse_iso(bytes: &[u8]) -> Option<Parts> {
    let mut parts = Parts::default();
    let (mut rest, mut time, mut any) = (bytes, false, false);
    while !rest.is_empty() {
        if rest[0] == b'T' && !time {
            (time, rest) = (true, &rest[1..]);
            continue;
        }
        let (amount, negative, after) = take_amount(rest)?;
        any = true;
        match after.first()? {
            b':' if time => return parse_clock(rest, negative, &mut parts)?.is_empty().then_some(parts),
            b'-' if !time => {
                let (months, _, after) = take_amount(&after[1..])?;
                let [b'-', after @ ..] = after else { return None };
                let (days, _, after) = take_amount(after)?;
                parts.add(amount, "year")?;
                parts.add(months, "month")?;
                parts.add(days, "day")?;
                rest = after;
                continue;
            }
            letter => {
                let unit = match (letter, time) {
                    (b'Y', false) => "year",
                    (b'M', false) => "month",
                    (b'W', false) => "week",
                    (b'D', false) => "day",
                    (b'H', true) => "hour",
                    (b'M', true) => "minute",
                    (b'S', true) => "second",
                    _ => return None,
                };
                parts.add(amount, unit)?;
            }
        }
        rest = &after[1..];
    }
    any.then_some(parts)
}
