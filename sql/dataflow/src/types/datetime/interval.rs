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

#[expect(clippy::should_implement_trait, reason = "they can fail, the operators of std::ops cannot")]
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

    /// The interval of the same length in days and microseconds: the one form of equal intervals.
    /// Errors 22008 where the days are too many.
    pub fn in_days(self) -> Result<Interval> {
        let (length, day) = (self.canonical(), i128::from(super::DAY));
        let days =
            i64::try_from(length / day).map_err(|_| Error::new(SqlState::DatetimeOverflow, "interval out of range"))?;
        Interval::checked(0, days, (length % day) as i64)
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
        match parts {
            Ok(parts) => parts.interval(text),
            Err(Fault::Syntax) => Err(syntax()),
            Err(Fault::Overflow) => Err(field_overflow(text)),
        }
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

/// Why a text is no interval.
enum Fault {
    Syntax,
    Overflow,
}

fn field_overflow(text: &str) -> Error {
    Error::new(SqlState::IntervalFieldOverflow, format!("interval field value out of range: \"{text}\""))
}

/// A number as written: an integer and a fraction in billionths, with one sign.
#[derive(Clone, Copy)]
struct Amount {
    whole: i64,
    billionths: i64,
}

const BILLION: i128 = 1_000_000_000;

/// The parts while they are added up, and a bit for every unit that was given.
#[derive(Default, Clone, Copy)]
struct Parts {
    months: i128,
    days: i128,
    micros: i128,
    seen: u32,
}

const SEEN_YEAR: u32 = 1 << 8;
const SEEN_MONTH: u32 = 1 << 7;
const SEEN_CLOCK: u32 = 0b111 << 2;

impl Parts {
    fn interval(self, text: &str) -> Result<Interval> {
        let (Ok(days), Ok(micros)) = (i32::try_from(self.days), i64::try_from(self.micros)) else {
            return Err(field_overflow(text));
        };
        let months = i64::try_from(self.months).map_err(|_| out_of_range("interval"))?;
        Interval::checked(months, i64::from(days), micros)
    }

    /// Notes units as given; a unit cannot be given twice.
    fn see(&mut self, bits: u32) -> Result<(), Fault> {
        if self.seen & bits != 0 {
            return Err(Fault::Syntax);
        }
        self.seen |= bits;
        Ok(())
    }

    /// Adds an amount of a unit.
    fn add(&mut self, amount: Amount, unit: &str) -> Result<(), Fault> {
        let whole = i128::from(amount.whole);
        let fraction = i128::from(amount.billionths);
        match unit {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" | "microsecon" => {
                self.see(1)?;
                self.add_clock(whole, fraction, 1);
            }
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" | "millisecon" => {
                self.see(2)?;
                self.add_clock(whole, fraction, 1000);
            }
            "s" | "sec" | "secs" | "second" | "seconds" => {
                self.see(if fraction == 0 { 4 } else { 7 })?;
                self.add_clock(whole, fraction, i128::from(SECOND));
            }
            "m" | "min" | "mins" | "minute" | "minutes" => {
                self.see(8)?;
                self.add_clock(whole, fraction, 60 * i128::from(SECOND));
            }
            "h" | "hr" | "hrs" | "hour" | "hours" => {
                self.see(16)?;
                self.add_clock(whole, fraction, 3600 * i128::from(SECOND));
            }
            "d" | "day" | "days" => {
                self.see(32)?;
                self.add_days(whole, fraction);
            }
            "w" | "week" | "weeks" => {
                self.see(64)?;
                self.add_days(whole * 7, fraction * 7);
            }
            "mon" | "mons" | "month" | "months" => {
                self.see(SEEN_MONTH)?;
                i32::try_from(whole).map_err(|_| Fault::Overflow)?;
                self.months += whole;
                self.add_days(0, fraction * 30);
            }
            "y" | "yr" | "yrs" | "year" | "years" => self.add_years(whole, fraction, 1, SEEN_YEAR)?,
            "dec" | "decs" | "decade" | "decades" => self.add_years(whole, fraction, 10, 1 << 9)?,
            "c" | "cent" | "century" | "centuries" => self.add_years(whole, fraction, 100, 1 << 10)?,
            "mil" | "mils" | "millennium" | "millennia" => self.add_years(whole, fraction, 1000, 1 << 11)?,
            _ => return Err(Fault::Syntax),
        }
        Ok(())
    }

    /// Adds to the clock part; a half microsecond is dropped.
    fn add_clock(&mut self, whole: i128, billionths: i128, unit: i128) {
        let exact = billionths * unit;
        let rest = exact % BILLION;
        let nudge = if rest * 2 > BILLION { 1 } else { -i128::from(rest * 2 < -BILLION) };
        self.micros += whole * unit + exact / BILLION + nudge;
    }

    /// Adds days; what is left of a fraction goes to the clock part.
    fn add_days(&mut self, whole: i128, billionths: i128) {
        self.days += whole + billionths / BILLION;
        self.add_clock(0, billionths % BILLION, i128::from(DAY));
    }

    /// Adds years; a fraction is rounded to months, halves to even.
    fn add_years(&mut self, whole: i128, billionths: i128, years: i128, seen: u32) -> Result<(), Fault> {
        self.see(seen)?;
        let exact = billionths * years * 12;
        let (quotient, rest) = (exact.div_euclid(BILLION), exact.rem_euclid(BILLION) * 2);
        let up = rest > BILLION || (rest == BILLION && quotient % 2 != 0);
        self.months += whole * years * 12 + quotient + i128::from(up);
        Ok(())
    }

    fn neg(self) -> Parts {
        Parts { months: -self.months, days: -self.days, micros: -self.micros, seen: self.seen }
    }
}

/// A number at the start: optional sign, digits, optional fraction; and whether it is negative.
fn take_amount(bytes: &[u8]) -> Result<(Amount, bool, &[u8]), Fault> {
    let (negative, mut rest) = match bytes {
        [b'-', rest @ ..] => (true, rest.trim_ascii_start()),
        [b'+', rest @ ..] => (false, rest.trim_ascii_start()),
        rest => (false, rest),
    };
    let (mut whole, mut billionths, mut digits) = (0i64, 0i64, 0);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        let longer = whole.checked_mul(10).and_then(|whole| whole.checked_add(i64::from(digit - b'0')));
        whole = longer.ok_or(Fault::Overflow)?;
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
    if digits == 0 {
        return Err(Fault::Syntax);
    }
    let sign = if negative { -1 } else { 1 };
    Ok((Amount { whole: whole * sign, billionths: billionths * sign }, negative, rest))
}

/// `1 day 02:03:04`, `10 minutes`, `1-2`, `3 4:05 ago`.
fn parse_words(bytes: &[u8]) -> Result<Parts, Fault> {
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
    match any {
        true if ago => Ok(parts.neg()),
        true => Ok(parts),
        false => Err(Fault::Syntax),
    }
}

/// One field: a clock part, `years-months`, or a number with its unit (seconds, or days before a
/// clock part, if none is given).
fn parse_field<'a>(bytes: &'a [u8], parts: &mut Parts) -> Result<&'a [u8], Fault> {
    let (amount, negative, after) = take_amount(bytes)?;
    if after.first() == Some(&b':') {
        let signed = matches!(bytes.first(), Some(b'-' | b'+'));
        return parse_clock(bytes[usize::from(signed)..].trim_ascii_start(), negative, parts);
    }
    if let [b'-', months @ ..] = after
        && amount.billionths == 0
    {
        let (months, false, rest) = take_amount(months)? else { return Err(Fault::Syntax) };
        let sign = if negative { -1 } else { 1 };
        if months.whole > 11 {
            return Err(Fault::Overflow);
        }
        if months.billionths != 0 {
            return Err(Fault::Syntax);
        }
        parts.see(SEEN_YEAR | SEEN_MONTH)?;
        parts.months += i128::from(amount.whole) * 12 + i128::from(months.whole * sign);
        return Ok(rest);
    }
    let rest = after.trim_ascii_start();
    let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let unit = String::from_utf8_lossy(&rest[..letters]).to_ascii_lowercase();
    if letters == 0 {
        let before_clock = take_amount(rest).is_ok_and(|(_, _, after)| after.first() == Some(&b':'));
        parts.add(amount, if before_clock { "day" } else { "second" })?;
        return if rest.is_empty() || before_clock { Ok(rest) } else { Err(Fault::Syntax) };
    }
    if unit == "ago" {
        parts.add(amount, "second")?;
        return Ok(rest);
    }
    parts.add(amount, &unit)?;
    Ok(&rest[letters..])
}

/// `02:03`, `02:03:04.5`, and `03:04.5` as minutes and seconds.
fn parse_clock<'a>(bytes: &'a [u8], negative: bool, parts: &mut Parts) -> Result<&'a [u8], Fault> {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.')).count();
    let (text, rest) = bytes.split_at(length);
    let text = std::str::from_utf8(text).map_err(|_| Fault::Syntax)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fields: Option<Vec<i64>> = whole.split(':').map(|field| field.parse().ok()).collect();
    let (hours, minutes, seconds) = match fields.ok_or(Fault::Syntax)?.as_slice() {
        [minutes, seconds] if text.contains('.') => (0, *minutes, *seconds),
        [hours, minutes] => (*hours, *minutes, 0),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return Err(Fault::Syntax),
    };
    if minutes > 59 || seconds > 60 {
        return Err(Fault::Overflow);
    }
    parts.see(SEEN_CLOCK)?;
    let seconds = (i128::from(hours) * 60 + i128::from(minutes)) * 60 + i128::from(seconds);
    let micros = seconds * i128::from(SECOND) + i128::from(parse_fraction(fraction).ok_or(Fault::Syntax)?);
    parts.micros += if negative { -micros } else { micros };
    Ok(rest)
}

/// What follows the `P` of `P1Y2M3DT4H5M6.7S`, or `P1-2-3T04:05:06`.
fn parse_iso(bytes: &[u8]) -> Result<Parts, Fault> {
    let mut parts = Parts::default();
    let (mut rest, mut time) = (bytes, false);
    if bytes.is_empty() {
        return Err(Fault::Syntax);
    }
    while !rest.is_empty() {
        if rest[0] == b'T' && !time {
            (time, rest) = (true, &rest[1..]);
            continue;
        }
        let (amount, negative, after) = take_amount(rest)?;
        let Some((letter, behind)) = after.split_first() else { return Err(Fault::Syntax) };
        let unit = match (letter, time) {
            (b':', true) => {
                let signed = matches!(rest.first(), Some(b'-' | b'+'));
                let left = parse_clock(&rest[usize::from(signed)..], negative, &mut parts)?;
                return if left.is_empty() { Ok(parts) } else { Err(Fault::Syntax) };
            }
            (b'-', false) => {
                let (months, _, after) = take_amount(behind)?;
                let [b'-', after @ ..] = after else { return Err(Fault::Syntax) };
                let (days, _, after) = take_amount(after)?;
                parts.add(amount, "year")?;
                parts.add(months, "month")?;
                parts.add(days, "day")?;
                rest = after;
                continue;
            }
            (b'Y', false) => "year",
            (b'M', false) => "month",
            (b'W', false) => "week",
            (b'D', false) => "day",
            (b'H', true) => "hour",
            (b'M', true) => "minute",
            (b'S', true) => "second",
            _ => return Err(Fault::Syntax),
        };
        parts.add(amount, unit)?;
        rest = behind;
    }
    Ok(parts)
}
