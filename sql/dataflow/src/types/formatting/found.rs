//! What was read of a date and time, and the moment that it is.

use super::fields::Calendar;
use super::moment::iso_year_start;
use crate::error::{Error, Result, SqlState};
use crate::types::datetime::{Civil, SECOND, civil_from_days, days_from_civil, days_of_month};

/// Julian day numbers count from here.
pub(super) const JULIAN: i64 = 2_440_588;

/// Text that is not what the template says.
pub(super) fn malformed(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidDatetimeFormat, message)
}

fn out_of_range(text: &str) -> Error {
    Error::new(SqlState::DatetimeOverflow, format!("date/time field value out of range: \"{text}\""))
}

/// What was read; 0: nothing.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) calendar: Option<Calendar>,
    pub(super) hour: i32,
    pub(super) is_12_hours: bool,
    pub(super) is_pm: i32,
    pub(super) minute: i32,
    pub(super) second: i32,
    pub(super) second_of_day: i32,
    pub(super) millis: i32,
    pub(super) micros: i32,
    pub(super) is_bc: i32,
    pub(super) century: i32,
    pub(super) year: i32,
    pub(super) year_digits: u32,
    pub(super) month: i32,
    pub(super) day: i32,
    pub(super) day_of_year: i32,
    /// From 1, Sunday.
    pub(super) weekday: i32,
    pub(super) week: i32,
    pub(super) week_of_month: i32,
    pub(super) julian: i32,
    pub(super) zone_sign: i32,
    pub(super) zone_hour: i32,
    pub(super) zone_minute: i32,
}

impl Found {
    /// Days since 1970 and microseconds of the day.
    pub(super) fn moment(&self, text: &str) -> Result<(i64, i64)> {
        let clock = self.clock(text)?;
        Ok((self.days(text)?, clock))
    }

    fn clock(&self, text: &str) -> Result<i64> {
        let or = |own: i32, otherwise: i32| i64::from(if own != 0 { own } else { otherwise });
        let second = or(self.second, self.second_of_day % 60);
        let minute = or(self.minute, self.second_of_day / 60 % 60);
        let mut hour = or(self.hour, self.second_of_day / 3600);
        if self.is_12_hours {
            if !(1..=12).contains(&hour) {
                return Err(malformed(format!("hour \"{hour}\" is invalid for the 12-hour clock"))
                    .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = hour % 12 + if self.is_pm != 0 { 12 } else { 0 };
        }
        let micros = i64::from(self.millis) * 1000 + i64::from(self.micros);
        let valid = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
        if !valid || !(0..SECOND).contains(&micros) {
            return Err(out_of_range(text));
        }
        Ok(((hour * 60 + minute) * 60 + second) * SECOND + micros)
    }

    /// The year, 0 being 1 BC; `None`: nothing tells it.
    fn full_year(&self) -> Option<i64> {
        let (year, is_bc) = (i64::from(self.year), self.is_bc != 0);
        let century = i64::from(if is_bc { -self.century } else { self.century });
        if year == 0 {
            return match century {
                0 => None,
                1.. => Some((century - 1) * 100 + 1),
                _ => Some(century * 100 + 1),
            };
        }
        if century != 0 && self.year_digits <= 2 {
            return Some(match (year % 100, century >= 0) {
                (0, true) => century * 100,
                (0, false) => century * 100 + 1,
                (year, true) => year + (century - 1) * 100,
                (year, false) => (century + 1) * 100 - year + 1,
            });
        }
        let year = if is_bc { -year } else { year };
        Some(if year < 0 { year + 1 } else { year })
    }

    fn days(&self, text: &str) -> Result<i64> {
        let known_year = self.full_year();
        let (mut year, mut month, mut day) = (known_year.unwrap_or(0), 1, 1);
        let mut whole = false;
        let mut take = |days: i64, year: &mut i64, month: &mut i64, day: &mut i64| {
            let civil = civil_from_days(days);
            (*year, *month, *day) = (civil.year, i64::from(civil.month), i64::from(civil.day));
            whole = true;
        };
        if self.julian != 0 {
            take(i64::from(self.julian) - JULIAN, &mut year, &mut month, &mut day);
        }
        let mut day_of_year = i64::from(self.day_of_year);
        let iso = self.calendar == Some(Calendar::IsoWeeks);
        if self.week != 0 && iso {
            // From Monday; Sunday ends the week.
            let weekday = if self.weekday > 1 {
                i64::from(self.weekday) - 2
            } else if self.weekday == 1 {
                6
            } else {
                0
            };
            let days = iso_year_start(year) + (i64::from(self.week) - 1) * 7 + weekday;
            take(days, &mut year, &mut month, &mut day);
        } else if self.week != 0 {
            day_of_year = (i64::from(self.week) - 1) * 7 + 1;
        }
        let own_day = if self.week_of_month != 0 { (self.week_of_month - 1) * 7 + 1 } else { self.day };
        let (mut has_day, mut has_month) = (own_day != 0, self.month != 0);
        if has_day {
            day = i64::from(own_day);
        }
        if has_month {
            month = i64::from(self.month);
        }
        if day_of_year != 0 && (month <= 1 || day <= 1) {
            if year == 0 && self.is_bc == 0 {
                return Err(malformed("cannot calculate day of year without year information"));
            }
            if iso {
                take(iso_year_start(year) - 1 + day_of_year, &mut year, &mut month, &mut day);
            } else {
                let (own_month, own_day) = month_and_day(year, day_of_year);
                if month <= 1 {
                    month = own_month;
                }
                if day <= 1 {
                    day = own_day;
                }
                (has_month, has_day) = (true, true);
            }
        }
        let (check_month, check_day) = (has_month || whole, has_day || whole);
        if (check_month && !(1..=12).contains(&month)) || (check_day && !(1..=31).contains(&day)) {
            return Err(out_of_range(text));
        }
        let month = month as u32;
        if check_month && check_day && (known_year.is_some() || whole) && day > i64::from(days_of_month(year, month)) {
            return Err(out_of_range(text));
        }
        Ok(days_from_civil(Civil { year, month, day: 1 }) + day - 1)
    }
}

/// The month and its day that a day of the year is; days beyond belong to a 13th month.
fn month_and_day(year: i64, day_of_year: i64) -> (i64, i64) {
    let mut left = day_of_year;
    for month in 1..=12u32 {
        let days = i64::from(days_of_month(year, month));
        if left <= days {
            return (i64::from(month), left);
        }
        left -= days;
    }
    (13, left)
}
