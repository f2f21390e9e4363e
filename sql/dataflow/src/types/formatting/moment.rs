//! Dates, times and intervals written as a template says.

use std::fmt::Write;

use super::fields::{Case, Field};
use super::template::{Part, Style, Template};
use super::{DAYS, MONTHS, ROMAN_MONTHS, ordinal};
use crate::error::{Error, Result, SqlState};
use crate::types::datetime::{Civil, DAY, Interval, SECOND, Zone, civil_from_days, days_from_civil};

/// A moment or an interval, in fields.
#[derive(Debug)]
pub struct Moment {
    is_interval: bool,
    year: i64,
    month: i64,
    day: i64,
    /// Days since 1970.
    days: i64,
    day_of_year: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    zone: Option<(i64, String)>,
}

/// The year that the week of a day belongs to, and the number of the week in it.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    // A week belongs to the year of its Thursday.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let year = civil_from_days(thursday).year;
    let january = days_from_civil(Civil { year, month: 1, day: 1 });
    (year, (thursday - january) / 7 + 1)
}

impl Moment {
    /// A timestamp; with a zone, of which it gets the clock. `None`: it is infinite.
    pub fn of_timestamp(micros: i64, zone: Option<&Zone>) -> Option<Moment> {
        if matches!(micros, i64::MIN | i64::MAX) {
            return None;
        }
        let offset = zone.map_or(0, |zone| i64::from(zone.offset_at(micros)));
        let local = i128::from(micros) + i128::from(offset) * i128::from(SECOND);
        let days = local.div_euclid(i128::from(DAY)) as i64;
        let clock = local.rem_euclid(i128::from(DAY)) as i64;
        let civil = civil_from_days(days);
        let mut moment = Moment::of_clock(clock);
        (moment.year, moment.month, moment.day) = (civil.year, i64::from(civil.month), i64::from(civil.day));
        moment.days = days;
        moment.day_of_year = days - days_from_civil(Civil { year: civil.year, month: 1, day: 1 }) + 1;
        moment.zone = zone.map(|zone| (offset, zone.abbreviation_at(micros)));
        Some(moment)
    }

    /// An interval.
    pub fn of_interval(interval: Interval) -> Moment {
        let mut moment = Moment::of_clock(interval.micros);
        moment.is_interval = true;
        moment.year = i64::from(interval.months / 12);
        moment.month = i64::from(interval.months % 12);
        moment.day = i64::from(interval.days);
        moment.day_of_year = i64::from(interval.months) * 30 + moment.day;
        moment
    }

    fn of_clock(micros: i64) -> Moment {
        let seconds = micros / SECOND;
        Moment {
            is_interval: false,
            year: 0,
            month: 0,
            day: 0,
            days: 0,
            day_of_year: 0,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: micros % SECOND,
            zone: None,
        }
    }

    /// Appends the text that a template makes of it. Error 22007 if the template asks an interval for
    /// a date.
    pub fn write(&self, template: &Template, out: &mut String) -> Result<()> {
        for part in &template.parts {
            match part {
                Part::Field(field, _, style) => self.field(*field, *style, out)?,
                Part::Separator(c) | Part::Space(c) | Part::Char(c) => out.push(*c),
            }
        }
        Ok(())
    }

    fn field(&self, field: Field, style: Style, out: &mut String) -> Result<()> {
        let of_dates = matches!(
            field,
            Field::Era(..)
                | Field::Month(_)
                | Field::ShortMonth(_)
                | Field::Day(_)
                | Field::ShortDay(_)
                | Field::DayOfWeek
                | Field::IsoDayOfWeek
                | Field::ZoneName(_)
                | Field::ZoneHour
                | Field::ZoneMinute
                | Field::Offset
        );
        if of_dates && self.is_interval {
            let message = "invalid format specification for an interval value";
            return Err(Error::new(SqlState::InvalidDatetimeFormat, message)
                .hint("Intervals are not tied to specific calendar dates."));
        }
        let start = out.len();
        let is_number = self.words(field, style, out) || self.number(field, style, out);
        if let (Some(upper), true, true) = (style.ordinal, is_number, out.len() > start) {
            let ending = ordinal(&out[start..], upper);
            out.push_str(ending);
        }
        Ok(())
    }

    /// Fields that are words or signs. Gives whether the text is a number that may be an ordinal one:
    /// never; false also for all other fields.
    fn words(&self, field: Field, style: Style, out: &mut String) -> bool {
        let padded = |text: &str, case: Case, width: usize, out: &mut String| {
            let before = out.len();
            match case {
                Case::Upper => out.push_str(&text.to_ascii_uppercase()),
                Case::Title => out.push_str(text),
                Case::Lower => out.push_str(&text.to_ascii_lowercase()),
            }
            let missing = if style.fill || style.translated { 0 } else { width.saturating_sub(out.len() - before) };
            out.extend(std::iter::repeat_n(' ', missing));
        };
        let of_two = |first: bool, names: [&str; 4], case: Case, points: bool, out: &mut String| {
            let name = names[usize::from(!first) + if points { 2 } else { 0 }];
            padded(name, case, 0, out);
        };
        let month = (self.month - 1).rem_euclid(12) as usize;
        let weekday = (self.days + 4).rem_euclid(7) as usize;
        match field {
            Field::Era(case, points) => of_two(self.year > 0, ["AD", "BC", "A.D.", "B.C."], case, points, out),
            Field::Noon(case, points) => of_two(self.hour % 24 < 12, ["AM", "PM", "A.M.", "P.M."], case, points, out),
            Field::Month(case) => padded(MONTHS[month], case, 9, out),
            Field::ShortMonth(case) => padded(&MONTHS[month][..3], case, 0, out),
            Field::Day(case) => padded(DAYS[weekday], case, 9, out),
            Field::ShortDay(case) => padded(&DAYS[weekday][..3], case, 0, out),
            Field::RomanMonth(case) => {
                let place = match self.month {
                    0 if self.year == 0 => return false,
                    0 => {
                        if self.year > 0 {
                            0
                        } else {
                            11
                        }
                    }
                    month if month < 0 => -(month + 1),
                    month => 12 - month,
                };
                padded(ROMAN_MONTHS[place as usize % 12], case, 4, out);
            }
            Field::ZoneName(case) => {
                if let Some((_, name)) = &self.zone {
                    padded(name, case, 0, out);
                }
            }
            _ => self.offset(field, style, out),
        }
        false
    }

    /// The fields of the zone's offset.
    fn offset(&self, field: Field, style: Style, out: &mut String) {
        let offset = self.zone.as_ref().map_or(0, |(offset, _)| *offset);
        let (sign, hours, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 3600, offset.abs() / 60 % 60);
        // Writing to a text cannot fail.
        let _ = match field {
            Field::ZoneHour => write!(out, "{sign}{hours:02}"),
            Field::ZoneMinute => write!(out, "{minutes:02}"),
            Field::Offset if style.fill => write!(out, "{sign}{hours}"),
            Field::Offset => write!(out, "{sign}{hours:02}"),
            _ => return,
        };
        if field == Field::Offset && offset % 3600 != 0 {
            let _ = write!(out, ":{minutes:02}");
        }
    }

    /// Fields that are numbers; gives whether this is one.
    fn number(&self, field: Field, style: Style, out: &mut String) -> bool {
        let year = |year: i64| if year <= 0 && !self.is_interval { 1 - year } else { year };
        let iso = || match self.is_interval {
            true => self.interval_week(),
            false => iso_week(self.days),
        };
        // The value, and the digits to fill it up to.
        let (value, width) = match field {
            Field::Hour12 => (if self.hour % 12 == 0 { 12 } else { self.hour % 12 }, 2),
            Field::Hour24 => (self.hour, 2),
            Field::Minute => (self.minute, 2),
            Field::Second => (self.second, 2),
            Field::Fraction(digits) => (self.micros / 10i64.pow(6 - digits), digits as usize),
            Field::Milliseconds => (self.micros / 1000, 3),
            Field::Microseconds => (self.micros, 6),
            Field::SecondOfDay => (self.hour * 3600 + self.minute * 60 + self.second, 0),
            Field::MonthNumber => (self.month, 2),
            Field::DayOfYear => (self.day_of_year, 3),
            Field::IsoDayOfYear => (self.iso_day_of_year(), 3),
            Field::DayOfMonth => (self.day, 2),
            Field::DayOfWeek => ((self.days + 4).rem_euclid(7) + 1, 0),
            Field::IsoDayOfWeek => ((self.days + 3).rem_euclid(7) + 1, 0),
            Field::Week => ((self.day_of_year - 1) / 7 + 1, 2),
            Field::IsoWeek => (iso().1, 2),
            Field::WeekOfMonth => ((self.day - 1) / 7 + 1, 0),
            Field::Quarter if self.month == 0 => return false,
            Field::Quarter => ((self.month - 1) / 3 + 1, 0),
            Field::Century => (self.century(), 2),
            Field::YearWithComma => {
                let year = year(self.year);
                let _ = write!(out, "{},{:03}", year / 1000, year % 1000);
                return true;
            }
            Field::Year(digits) => {
                (year(self.year) % 10i64.pow(if digits == 4 { 18 } else { digits }), digits as usize)
            }
            Field::IsoYear(digits) => {
                (year(iso().0) % 10i64.pow(if digits == 4 { 18 } else { digits }), digits as usize)
            }
            Field::Julian => (self.julian(), 0),
            _ => return false,
        };
        let fraction = matches!(field, Field::Fraction(_) | Field::Milliseconds | Field::Microseconds);
        // A minus sign makes most fields one wider; of years it is that of the calendar year.
        let wider = match field {
            Field::DayOfMonth | Field::DayOfYear | Field::IsoDayOfYear | Field::Week | Field::IsoWeek => false,
            Field::IsoYear(_) => self.year < 0 && self.is_interval,
            _ => value < 0 && !fraction,
        };
        let width = if style.fill && !fraction { 0 } else { width + usize::from(wider) };
        let _ = write!(out, "{value:0width$}");
        true
    }

    fn century(&self) -> i64 {
        match self.year {
            year if self.is_interval => year / 100,
            year if year > 0 => (year - 1) / 100 + 1,
            year => year / 100 - 1,
        }
    }

    /// The day that an interval's fields would be.
    fn as_days(&self) -> i64 {
        let month = self.month + self.year * 12 - 1;
        let first = Civil { year: month.div_euclid(12), month: month.rem_euclid(12) as u32 + 1, day: 1 };
        days_from_civil(first) + self.day - 1
    }

    fn interval_week(&self) -> (i64, i64) {
        iso_week(self.as_days())
    }

    fn iso_day_of_year(&self) -> i64 {
        let days = if self.is_interval { self.as_days() } else { self.days };
        let (year, _) = iso_week(days);
        days - iso_year_start(year) + 1
    }

    fn julian(&self) -> i64 {
        let days = if self.is_interval { self.as_days() } else { self.days };
        days + 2_440_588
    }
}

/// The Monday that a year of weeks begins with.
pub(super) fn iso_year_start(year: i64) -> i64 {
    let fourth = days_from_civil(Civil { year, month: 1, day: 4 });
    fourth - (fourth + 3).rem_euclid(7)
}
