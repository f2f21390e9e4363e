//! Time zones: names of the tz database and fixed offsets, as PostgreSQL's TimeZone setting.
//!
//! After 2037 the rules of the last known years go on for ever, as in PostgreSQL. Does not know
//! PostgreSQL's installable abbreviation files; the common abbreviations are built in.

use std::str::FromStr;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

use super::{Civil, DAY, SECOND, civil_from_days, days_from_civil, is_leap};
use crate::error::{Error, Result, SqlState};

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Zone {
    /// UTC.
    #[default]
    Utc,
    /// A zone of the tz database.
    Named(Tz),
    /// A fixed offset.
    Fixed {
        /// Seconds east of Greenwich.
        east: i32,
        /// What SHOW TimeZone prints.
        name: String,
    },
}

/// Abbreviations that input may use, with their hours east in quarters.
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("z", 0),
    ("zulu", 0),
    ("utc", 0),
    ("ut", 0),
    ("gmt", 0),
    ("uct", 0),
    ("est", -20),
    ("edt", -16),
    ("cst", -24),
    ("cdt", -20),
    ("mst", -28),
    ("mdt", -24),
    ("pst", -32),
    ("pdt", -28),
    ("akst", -36),
    ("akdt", -32),
    ("hst", -40),
    ("cet", 4),
    ("cest", 8),
    ("eet", 8),
    ("eest", 12),
    ("wet", 0),
    ("west", 4),
    ("bst", 4),
    ("met", 4),
    ("mest", 8),
    ("msk", 12),
    ("msd", 16),
    ("jst", 36),
    ("kst", 36),
    ("ist", 8),
    ("sgt", 32),
    ("hkt", 32),
];

impl Zone {
    /// The zone of a TimeZone setting: a name (any case), `UTC`, hours east of Greenwich (`+3`,
    /// `-8`, `5.5`) or the POSIX form, where a positive offset lies west (`GMT-08:00` is east).
    /// Errors 22023.
    pub fn parse(name: &str) -> Result<Zone> {
        let trimmed = name.trim();
        Zone::by_name(trimmed).or_else(|| Zone::by_hours(trimmed)).or_else(|| Zone::by_posix(trimmed)).ok_or_else(
            || Error::new(SqlState::InvalidParameter, format!("invalid value for parameter \"TimeZone\": \"{name}\"")),
        )
    }

    /// A fixed offset, named as PostgreSQL names one that was set by hours.
    pub fn fixed(east: i32) -> Zone {
        let label = |seconds: i32, out: &mut String| {
            let magnitude = seconds.unsigned_abs();
            out.push(if seconds < 0 { '-' } else { '+' });
            out.push_str(&format!("{:02}", magnitude / 3600));
            if !magnitude.is_multiple_of(3600) {
                out.push_str(&format!(":{:02}", magnitude / 60 % 60));
            }
            if !magnitude.is_multiple_of(60) {
                out.push_str(&format!(":{:02}", magnitude % 60));
            }
        };
        let mut name = String::from("<");
        label(east, &mut name);
        name.push('>');
        label(-east, &mut name);
        Zone::Fixed { east, name }
    }

    /// A zone by its name in the tz database, in any case.
    pub(super) fn by_name(name: &str) -> Option<Zone> {
        if name.eq_ignore_ascii_case("utc") {
            return Some(Zone::Utc);
        }
        let tz = Tz::from_str(name)
            .ok()
            .or_else(|| chrono_tz::TZ_VARIANTS.iter().copied().find(|tz| tz.name().eq_ignore_ascii_case(name)))?;
        Some(Zone::Named(tz))
    }

    fn by_hours(text: &str) -> Option<Zone> {
        let hours: f64 = text.parse().ok()?;
        (hours.abs() <= 167.0 && text.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b)))
            .then(|| Zone::fixed((hours * 3600.0).round() as i32))
    }

    /// `GMT-08:00`, `UTC+3`, `<+03>-03`: the offset counts westwards.
    fn by_posix(text: &str) -> Option<Zone> {
        let start = if text.starts_with('<') {
            text.find('>')? + 1
        } else if text.starts_with(['+', '-']) {
            0
        } else {
            let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
            if letters < 3 || letters == text.len() {
                return None;
            }
            letters
        };
        let west = parse_offset(text.get(start..)?.as_bytes(), true)?;
        Some(Zone::Fixed { east: -west, name: text.to_string() })
    }

    /// The zone that date and time input names: an abbreviation, a zone name, or the POSIX form.
    pub(super) fn of_input(word: &str) -> Option<Zone> {
        let found = ABBREVIATIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        match found {
            Some((_, 0)) => Some(Zone::Utc),
            Some((_, quarters)) => Some(Zone::fixed(quarters * 900)),
            None => Zone::by_name(word).or_else(|| Zone::by_posix(word)),
        }
    }

    /// The zone that a query names: an abbreviation, a zone name, or the POSIX form. Error 22023.
    pub fn of_query(name: &str) -> Result<Zone> {
        Zone::of_input(name)
            .ok_or_else(|| Error::new(SqlState::InvalidParameter, format!("time zone \"{name}\" not recognized")))
    }

    /// The abbreviation of the zone's name at an instant, as to_char prints it.
    pub fn abbreviation_at(&self, micros: i64) -> String {
        match self {
            Zone::Utc => "UTC".to_string(),
            Zone::Named(tz) => {
                let offset = tz.offset_from_utc_datetime(&naive(known(micros)));
                offset.abbreviation().unwrap_or_default().to_string()
            }
            Zone::Fixed { name, .. } => match name.strip_prefix('<').and_then(|name| name.split_once('>')) {
                Some((inner, _)) => inner.to_string(),
                None => name.chars().take_while(char::is_ascii_alphabetic).collect(),
            },
        }
    }

    /// What SHOW TimeZone prints.
    pub fn name(&self) -> &str {
        match self {
            Zone::Utc => "UTC",
            Zone::Named(tz) => tz.name(),
            Zone::Fixed { name, .. } => name,
        }
    }

    /// Seconds east of Greenwich at an instant (microseconds since 1970 UTC).
    pub fn offset_at(&self, micros: i64) -> i32 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed { east, .. } => *east,
            Zone::Named(tz) => {
                let utc = naive(known(micros));
                tz.offset_from_utc_datetime(&utc).fix().local_minus_utc()
            }
        }
    }

    /// Seconds east of Greenwich when the zone's clock shows `local` (microseconds). A time that
    /// the clock skips is read with the offset before, one that it shows twice with the later.
    pub fn offset_of_local(&self, local: i64) -> i32 {
        let Zone::Named(tz) = self else { return self.offset_at(0) };
        let local = known(local);
        match tz.offset_from_local_datetime(&naive(local)) {
            MappedLocalTime::Single(offset) => offset.fix().local_minus_utc(),
            MappedLocalTime::Ambiguous(_, latest) => latest.fix().local_minus_utc(),
            MappedLocalTime::None => tz.offset_from_utc_datetime(&naive(local - DAY)).fix().local_minus_utc(),
        }
    }
}

/// An instant at which the zone's rules are the same and its tables surely reach: years from 2090
/// on map to one of the 28 before with the same calendar, years before 1800 to 1800.
fn known(micros: i64) -> i64 {
    const FIRST: i64 = -5_364_662_400 * SECOND;
    const LAST: i64 = 3_786_912_000 * SECOND;
    if (FIRST..LAST).contains(&micros) {
        return micros;
    }
    if micros < FIRST {
        return FIRST;
    }
    let day = micros.div_euclid(DAY);
    let civil = civil_from_days(day);
    let january = |year: i64| days_from_civil(Civil { year, month: 1, day: 1 });
    let start = january(civil.year);
    let same =
        |year: &i64| is_leap(*year) == is_leap(civil.year) && january(*year).rem_euclid(7) == start.rem_euclid(7);
    let year = (2062..2090).find(same).unwrap_or(2089);
    (january(year) + day - start) * DAY + micros.rem_euclid(DAY)
}

fn naive(micros: i64) -> NaiveDateTime {
    DateTime::from_timestamp(micros.div_euclid(SECOND), 0).unwrap_or_default().naive_utc()
}

/// The seconds of `+02`, `-08:00`, `+0530`, `+01:02:03`; nothing may follow. `bare` allows a
/// missing sign.
pub(super) fn parse_offset(text: &[u8], bare: bool) -> Option<i32> {
    let (sign, digits) = match text {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        digits if bare => (1, digits),
        _ => return None,
    };
    let number = |digits: &[u8]| -> Option<i32> {
        if digits.is_empty() || digits.len() > 2 {
            return None;
        }
        digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i32::from(digit - b'0')))
    };
    let parts: Vec<&[u8]> = if digits.contains(&b':') {
        digits.split(|byte| *byte == b':').collect()
    } else {
        match digits.len() {
            1 | 2 => vec![digits],
            3 => vec![&digits[..1], &digits[1..]],
            4 => vec![&digits[..2], &digits[2..]],
            6 => vec![&digits[..2], &digits[2..4], &digits[4..]],
            _ => return None,
        }
    };
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours] => (number(hours)?, 0, 0),
        [hours, minutes] => (number(hours)?, number(minutes)?, 0),
        [hours, minutes, seconds] => (number(hours)?, number(minutes)?, number(seconds)?),
        _ => return None,
    };
    (hours <= 15 && minutes < 60 && seconds < 60).then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

/// Prints an offset as a timestamptz shows it: `+00`, `+05:30`.
pub(super) fn push_offset(seconds: i32, out: &mut String) {
    out.push(if seconds < 0 { '-' } else { '+' });
    let magnitude = u64::from(seconds.unsigned_abs());
    super::push_two(magnitude / 3600, out);
    if magnitude % 3600 != 0 {
        out.push(':');
        super::push_two(magnitude / 60 % 60, out);
    }
    if magnitude % 60 != 0 {
        out.push(':');
        super::push_two(magnitude % 60, out);
    }
}
