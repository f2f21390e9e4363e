//! Dates and times read as a template says.

use super::fields::Field;
use super::found::{Found, JULIAN, malformed};
use super::template::{Part, Template, is_separator, is_space};
use super::{DAYS, MONTHS, ROMAN_MONTHS};
use crate::error::{Error, Result, SqlState};
use crate::types::datetime::{DAY, Zone, timestamp_to_timestamptz};

/// A date. Errors 22007, 22008.
pub fn read_date(text: &str, template: &Template) -> Result<i32> {
    let read = Reader::read(text, template)?;
    let (days, _) = read.moment(text)?;
    i32::try_from(days)
        .ok()
        .filter(|days| (-2_440_588..2_145_042_906).contains(days))
        .ok_or_else(|| Error::new(SqlState::DatetimeOverflow, format!("date out of range: \"{text}\"")))
}

/// A timestamp with time zone: in the zone that it names, or else this one. Errors 22007, 22008, 22009.
pub fn read_timestamptz(text: &str, template: &Template, zone: &Zone) -> Result<i64> {
    let read = Reader::read(text, template)?;
    let (days, micros) = read.moment(text)?;
    let wrong = || Error::new(SqlState::DatetimeOverflow, "timestamp out of range");
    let local = i128::from(days) * i128::from(DAY) + i128::from(micros);
    let local = i64::try_from(local).ok().filter(|_| days >= -JULIAN).ok_or_else(wrong)?;
    if read.zone_sign == 0 {
        return timestamp_to_timestamptz(local, zone);
    }
    if !(0..=15).contains(&read.zone_hour) || !(0..60).contains(&read.zone_minute) {
        let message = format!("time zone displacement out of range: \"{text}\"");
        return Err(Error::new(SqlState::InvalidTimeZoneDisplacement, message));
    }
    let east = read.zone_sign * (read.zone_hour * 3600 + read.zone_minute * 60);
    timestamp_to_timestamptz(local, &Zone::fixed(east))
}

struct Reader<'t> {
    rest: &'t str,
    /// The character before the rest, if it was skipped.
    skipped: Option<char>,
    found: Found,
}

impl<'t> Reader<'t> {
    fn read(text: &'t str, template: &Template) -> Result<Found> {
        let mut reader = Reader { rest: text, skipped: None, found: Found::default() };
        reader.parts(&template.parts)?;
        Ok(reader.found)
    }

    fn skip_char(&mut self) {
        let mut chars = self.rest.chars();
        self.skipped = chars.next().or(self.skipped);
        self.rest = chars.as_str();
    }

    fn skip_spaces(&mut self) -> i32 {
        let mut count = 0;
        while self.rest.starts_with(is_space) {
            self.skip_char();
            count += 1;
        }
        count
    }

    fn parts(&mut self, parts: &[Part]) -> Result<()> {
        // Characters skipped beyond those that the template names.
        let (mut extra, mut fixed) = (0, false);
        for (place, part) in parts.iter().enumerate() {
            if self.rest.is_empty() {
                break;
            }
            let is_field = matches!(part, Part::Field(..));
            if !fixed && !matches!(part, Part::Field(Field::Fixed, ..)) && (is_field || place == 0) {
                extra += self.skip_spaces();
            }
            let (field, word, style) = match part {
                Part::Space(_) | Part::Separator(_) if fixed => {
                    self.skip_char();
                    continue;
                }
                Part::Space(_) | Part::Separator(_) => {
                    if self.rest.starts_with(|c| is_space(c) || is_separator(c)) {
                        self.skip_char();
                    } else {
                        extra -= 1;
                    }
                    continue;
                }
                Part::Char(_) if !fixed && extra > 0 => {
                    extra -= 1;
                    continue;
                }
                Part::Char(_) => {
                    self.skip_char();
                    continue;
                }
                Part::Field(field, word, style) => (*field, *word, *style),
            };
            self.set_calendar(field)?;
            fixed |= field == Field::Fixed;
            let slurps = style.fill || style.ordinal.is_some() || ends_number(parts.get(place + 1));
            self.field(field, word, slurps, extra)?;
            if style.ordinal.is_some() && field.is_number() {
                self.skip_char();
                self.skip_char();
            }
            if !fixed {
                extra = self.skip_spaces();
            }
        }
        Ok(())
    }

    fn set_calendar(&mut self, field: Field) -> Result<()> {
        let Some(calendar) = field.calendar() else { return Ok(()) };
        match self.found.calendar {
            Some(known) if known != calendar => Err(malformed("invalid combination of date conventions")
                .hint("Do not mix Gregorian and ISO week date conventions in a formatting template.")),
            _ => {
                self.found.calendar = Some(calendar);
                Ok(())
            }
        }
    }

    fn field(&mut self, field: Field, word: &'static str, slurps: bool, extra: i32) -> Result<()> {
        let width = word.len();
        macro_rules! number {
            ($own:ident, $width:expr) => {{
                let (value, _) = self.number(word, $width, slurps)?;
                set(&mut self.found.$own, value, word)?
            }};
        }
        // A fraction of less digits than there may be goes on with zeros.
        macro_rules! fraction {
            ($own:ident, $width:expr, $digits:literal) => {{
                let (value, length) = self.number(word, $width, slurps)?;
                set(&mut self.found.$own, value, word)?;
                let missing = $digits - (length as u32).min($digits);
                self.found.$own = self.found.$own.saturating_mul(10i32.pow(missing));
            }};
        }
        match field {
            Field::Fixed => {}
            Field::Noon(_, points) => {
                let names = if points { ["a.m.", "p.m."] } else { ["am", "pm"] };
                let value = self.name(word, names)?;
                set(&mut self.found.is_pm, value, word)?;
                self.found.is_12_hours = true;
            }
            Field::Era(_, points) => {
                let names = if points { ["a.d.", "b.c."] } else { ["ad", "bc"] };
                let value = self.name(word, names)?;
                set(&mut self.found.is_bc, value, word)?;
            }
            Field::Hour12 => {
                number!(hour, 2);
                self.found.is_12_hours = true;
            }
            Field::Hour24 => number!(hour, 2),
            Field::Minute => number!(minute, width),
            Field::Second => number!(second, width),
            Field::Milliseconds => fraction!(millis, 3, 3),
            Field::Microseconds => fraction!(micros, 6, 6),
            Field::Fraction(digits) => fraction!(micros, digits as usize, 6),
            Field::SecondOfDay => number!(second_of_day, width),
            Field::ZoneName(_) | Field::Offset => {
                let message = format!("formatting field \"{word}\" is only supported in to_char");
                return Err(Error::new(SqlState::FeatureNotSupported, message));
            }
            Field::ZoneHour => {
                self.zone_sign(extra);
                number!(zone_hour, 2)
            }
            Field::ZoneMinute => {
                if self.found.zone_sign == 0 {
                    self.found.zone_sign = 1;
                }
                number!(zone_minute, 2)
            }
            _ => self.date_field(field, word, slurps)?,
        }
        Ok(())
    }

    fn date_field(&mut self, field: Field, word: &'static str, slurps: bool) -> Result<()> {
        let width = word.len();
        macro_rules! number {
            ($own:ident, $width:expr) => {{
                let (value, _) = self.number(word, $width, slurps)?;
                set(&mut self.found.$own, value, word)?
            }};
        }
        match field {
            Field::MonthNumber => number!(month, width),
            Field::DayOfYear => number!(day_of_year, width),
            Field::IsoDayOfYear => number!(day_of_year, 3),
            Field::DayOfMonth => number!(day, width),
            Field::DayOfWeek => number!(weekday, width),
            Field::IsoDayOfWeek => {
                number!(weekday, 1);
                self.found.weekday = if self.found.weekday >= 7 { 1 } else { self.found.weekday + 1 };
            }
            Field::Week | Field::IsoWeek => number!(week, width),
            Field::WeekOfMonth => number!(week_of_month, width),
            Field::Quarter => {
                self.number(word, width, slurps)?;
            }
            Field::Century => number!(century, width),
            Field::Julian => number!(julian, width),
            Field::Year(_) | Field::IsoYear(_) | Field::YearWithComma => self.year(field, word, slurps)?,
            _ => self.named(field, word)?,
        }
        Ok(())
    }

    fn named(&mut self, field: Field, word: &str) -> Result<()> {
        let short = |names: &[&'static str]| names.iter().map(|name| &name[..3]).collect::<Vec<_>>();
        match field {
            Field::Month(_) => {
                let value = self.name(word, MONTHS)? + 1;
                set(&mut self.found.month, value, word)
            }
            Field::ShortMonth(_) => {
                let value = self.name(word, short(&MONTHS))? + 1;
                set(&mut self.found.month, value, word)
            }
            Field::RomanMonth(_) => {
                let value = 12 - self.name(word, ROMAN_MONTHS)?;
                set(&mut self.found.month, value, word)
            }
            _ => {
                let is_full = matches!(field, Field::Day(_));
                let value = if is_full { self.name(word, DAYS)? } else { self.name(word, short(&DAYS))? };
                set(&mut self.found.weekday, value, word)?;
                self.found.weekday += 1;
                Ok(())
            }
        }
    }

    fn zone_sign(&mut self, extra: i32) {
        self.found.zone_sign = match self.rest.chars().next() {
            Some(sign @ ('+' | '-' | ' ')) => {
                self.skip_char();
                if sign == '-' { -1 } else { 1 }
            }
            // A minus sign may have been taken for a separator.
            _ if extra > 0 && self.skipped == Some('-') => -1,
            _ => 1,
        };
    }

    fn year(&mut self, field: Field, word: &str, slurps: bool) -> Result<()> {
        let (digits, value, length) = match field {
            Field::YearWithComma => {
                let value = self.year_with_comma()?;
                (4, value, 4)
            }
            Field::Year(digits) | Field::IsoYear(digits) => {
                let (value, length) = self.number(word, word.len(), slurps)?;
                (digits, value, length)
            }
            _ => return Ok(()),
        };
        set(&mut self.found.year, value, word)?;
        if digits < 4 && length < 4 {
            self.found.year = near_2020(self.found.year);
        }
        self.found.year_digits = digits;
        Ok(())
    }

    fn year_with_comma(&mut self) -> Result<i32> {
        let wrong = || malformed("invalid input string for \"Y,YYY\"");
        let (thousands, behind) = integer(self.rest).ok_or_else(wrong)?;
        let behind = behind.strip_prefix(',').ok_or_else(wrong)?;
        let end = behind.char_indices().nth(3).map_or(behind.len(), |(end, _)| end);
        let (years, left) = integer(&behind[..end]).ok_or_else(wrong)?;
        self.rest = &behind[end - left.len()..];
        i32::try_from(thousands.saturating_mul(1000).saturating_add(years)).map_err(|_| wrong())
    }

    /// A number of so many characters, or, where it may be of any width, as many as there are; and how
    /// many characters that took.
    fn number(&mut self, word: &str, width: usize, slurps: bool) -> Result<(i32, usize)> {
        const NOT_FIXED: &str = "If your source string is not fixed-width, try using the \"FM\" modifier.";
        let begin = self.rest;
        let trimmed = begin.trim_start_matches(is_space);
        let end = trimmed.char_indices().nth(width).map_or(trimmed.len(), |(end, _)| end);
        let copy = &trimmed[..end];
        let invalid = || malformed(format!("invalid value \"{copy}\" for \"{word}\""));
        let value = if slurps {
            let found = integer(begin);
            self.rest = found.map_or(begin, |(_, behind)| behind);
            found.map(|(value, _)| value)
        } else {
            let remaining = trimmed.len();
            if remaining < width {
                let message = format!("source string too short for \"{word}\" formatting field");
                let detail = format!("Field requires {width} characters, but only {remaining} remain.");
                return Err(malformed(message).detail(detail).hint(NOT_FIXED));
            }
            let found = integer(copy);
            let used = found.map_or(0, |(_, behind)| copy.len() - behind.len());
            if used > 0 && used < copy.len() {
                let detail = format!("Field requires {width} characters, but only {used} could be parsed.");
                return Err(invalid().detail(detail).hint(NOT_FIXED));
            }
            self.rest = &trimmed[used..];
            found.map(|(value, _)| value)
        };
        let length = begin.len() - self.rest.len();
        let Some(value) = value.filter(|_| length > 0) else {
            return Err(invalid().detail("Value must be an integer."));
        };
        let value = i32::try_from(value).map_err(|_| {
            let message = format!("value for \"{word}\" in source string is out of range");
            Error::new(SqlState::DatetimeOverflow, message).detail(format!(
                "Value must be in the range {} to {}.",
                i32::MIN,
                i32::MAX
            ))
        })?;
        self.skipped = None;
        Ok((value, length))
    }

    /// The place of the name that comes next.
    fn name<'n>(&mut self, word: &str, names: impl IntoIterator<Item = &'n str>) -> Result<i32> {
        for (place, name) in (0..).zip(names) {
            if self.rest.get(..name.len()).is_some_and(|own| own.eq_ignore_ascii_case(name)) {
                self.rest = &self.rest[name.len()..];
                return Ok(place);
            }
        }
        let own = self.rest.split(is_space).next().unwrap_or_default();
        Err(malformed(format!("invalid value \"{own}\" for \"{word}\""))
            .detail("The given value did not match any of the allowed values for this field."))
    }
}

/// Whether a number before this part may have any width.
fn ends_number(next: Option<&Part>) -> bool {
    match next {
        None => true,
        Some(Part::Field(field, ..)) => !field.is_number(),
        Some(Part::Char(c)) => !c.is_ascii_digit(),
        Some(_) => true,
    }
}

/// An integer with white space and a sign before it, and what follows.
fn integer(text: &str) -> Option<(i64, &str)> {
    let trimmed = text.trim_start_matches(is_space);
    let (sign, digits) = match trimmed.as_bytes().first() {
        Some(b'-') => (-1, &trimmed[1..]),
        Some(b'+') => (1, &trimmed[1..]),
        _ => (1, trimmed),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let value =
        digits[..end].bytes().fold(0i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some((sign * value, &digits[end..]))
}

/// A field that is there already must say the same.
fn set(own: &mut i32, value: i32, word: &str) -> Result<()> {
    if *own != 0 && *own != value {
        return Err(malformed(format!("conflicting values for \"{word}\" field in formatting string"))
            .detail("This value contradicts a previous setting for the same field type."));
    }
    *own = value;
    Ok(())
}

/// A year of less than four digits, in the century around 2020.
fn near_2020(year: i32) -> i32 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}
