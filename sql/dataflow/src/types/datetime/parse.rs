//! Reading dates and timestamps as PostgreSQL reads them under DateStyle ISO, MDY.
//!
//! Covers ISO forms, month names, American and compact dates, AM/PM, BC, zones by offset and by
//! name, `epoch` and the infinities; times of day alone or in such a text. Refuses words that need a clock (`now`, `today`). Does not
//! know Julian dates nor day-of-year dates.

use super::zone::parse_offset;
use super::{
    Civil, DATE_INFINITY, DATE_NEG_INFINITY, DAY, INFINITY, NEG_INFINITY, SECOND, Zone, checked_date, days_from_civil,
    days_of_month, instant,
};
use crate::error::{Error, Result, SqlState};

/// What a text says before a type gives it meaning.
enum Parsed {
    Infinity,
    NegInfinity,
    Epoch,
    Moment { civil: Civil, micros: i64, zone: Option<Given> },
}

/// A zone as written: an offset in seconds east, or a name.
enum Given {
    Offset(i32),
    Zone(Zone),
}

/// Why a text is no date or time.
enum Fault {
    Syntax,
    Overflow,
    MonthDay,
    Displacement,
    UnknownZone(String),
    Clock(String),
}

impl Fault {
    fn error(self, type_name: &str, text: &str) -> Error {
        match self {
            Fault::Syntax => Error::new(
                SqlState::InvalidDatetimeFormat,
                format!("invalid input syntax for type {type_name}: \"{text}\""),
            ),
            Fault::Overflow => field_overflow(text),
            Fault::MonthDay => field_overflow(text).hint("Perhaps you need a different \"datestyle\" setting."),
            Fault::Displacement => Error::new(
                SqlState::InvalidTimeZoneDisplacement,
                format!("time zone displacement out of range: \"{text}\""),
            ),
            Fault::UnknownZone(zone) => {
                Error::new(SqlState::InvalidParameter, format!("time zone \"{}\" not recognized", zone.to_lowercase()))
            }
            Fault::Clock(word) => Error::unsupported(format!("the date/time input \"{word}\"")),
        }
    }
}

fn field_overflow(text: &str) -> Error {
    Error::new(SqlState::DatetimeOverflow, format!("date/time field value out of range: \"{text}\""))
}

/// Days since 1970. Errors 22007, 22008.
pub fn parse_date(text: &str) -> Result<i32> {
    match parse(text).map_err(|fault| fault.error("date", text))? {
        Parsed::Infinity => Ok(DATE_INFINITY),
        Parsed::NegInfinity => Ok(DATE_NEG_INFINITY),
        Parsed::Epoch => Ok(0),
        Parsed::Moment { civil, .. } => checked_date(days_from_civil(civil))
            .map_err(|_| Error::new(SqlState::DatetimeOverflow, format!("date out of range: \"{text}\""))),
    }
}

/// Microseconds since 1970 by the wall clock; a zone in the text is ignored. Errors 22007, 22008.
pub fn parse_timestamp(text: &str) -> Result<i64> {
    if let Some(micros) = parse_utc_timestamp(text.as_bytes()) {
        return Ok(micros);
    }
    match parse(text).map_err(|fault| fault.error("timestamp", text))? {
        Parsed::Infinity => Ok(INFINITY),
        Parsed::NegInfinity => Ok(NEG_INFINITY),
        Parsed::Epoch => Ok(0),
        Parsed::Moment { civil, micros, .. } => instant(days_from_civil(civil), micros)
            .ok_or_else(|| Error::new(SqlState::DatetimeOverflow, format!("timestamp out of range: \"{text}\""))),
    }
}

/// Microseconds since 1970 UTC; a text without zone is read in `zone`. Errors 22007, 22008,
/// 22023 for an unknown zone.
pub fn parse_timestamptz(text: &str, zone: &Zone) -> Result<i64> {
    let type_name = "timestamp with time zone";
    let (civil, micros, given) = match parse(text).map_err(|fault| fault.error(type_name, text))? {
        Parsed::Infinity => return Ok(INFINITY),
        Parsed::NegInfinity => return Ok(NEG_INFINITY),
        Parsed::Epoch => return Ok(0),
        Parsed::Moment { civil, micros, zone } => (civil, micros, zone),
    };
    let beyond = || Error::new(SqlState::DatetimeOverflow, format!("timestamp out of range: \"{text}\""));
    let days = days_from_civil(civil);
    let local = instant(days, micros).ok_or_else(beyond)?;
    let offset = match given {
        Some(Given::Offset(seconds)) => seconds,
        Some(Given::Zone(named)) => named.offset_of_local(local),
        None => zone.offset_of_local(local),
    };
    instant(days, micros - i64::from(offset) * SECOND).ok_or_else(beyond)
}

/// Microseconds of the day; a date and a zone in the text are ignored. Errors 22007, 22008.
pub fn parse_time(text: &str) -> Result<i64> {
    let fault = |fault: Fault| fault.error("time", text);
    let reader = read(text, Reader { time_only: true, ..Reader::default() }).map_err(fault)?;
    if reader.time.is_none() || reader.special.is_some() || reader.month.is_some() || !reader.numbers.is_empty() {
        return Err(fault(Fault::Syntax));
    }
    match reader.date {
        Some(_) => match reader.finish().map_err(fault)? {
            Parsed::Moment { micros, .. } => Ok(micros),
            _ => Err(fault(Fault::Syntax)),
        },
        None => reader.clock_reading().map_err(fault),
    }
}

/// The fast path: `2019-11-01 00:00:00` with an optional ` UTC`, `Z`, `+00` or nothing after it and
/// nothing else. `None` means: take the general way, the text may still be right.
#[inline]
pub fn parse_utc_timestamp(text: &[u8]) -> Option<i64> {
    let (clock, rest) = text.split_first_chunk::<19>()?;
    if !matches!(rest, b" UTC" | b"" | b"Z" | b"+00") {
        return None;
    }
    let mut wrong = (clock[4] ^ b'-') | (clock[7] ^ b'-') | (clock[13] ^ b':') | (clock[16] ^ b':');
    wrong |= u8::from(clock[10] != b' ' && clock[10] != b'T');
    let mut digit = |at: usize| -> u32 {
        let value = clock[at].wrapping_sub(b'0');
        wrong |= u8::from(value > 9);
        u32::from(value)
    };
    let mut two = |at: usize| digit(at) * 10 + digit(at + 1);
    let year = i64::from(two(0) * 100 + two(2));
    let (month, day) = (two(5), two(8));
    let (hour, minute, second) = (two(11), two(14), two(17));
    if wrong != 0 || year == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if !(1..=12).contains(&month) || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    let days = days_from_civil(Civil { year, month, day });
    Some((days * 86_400 + i64::from(hour * 3600 + minute * 60 + second)) * SECOND)
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

fn month_of(word: &str) -> Option<u32> {
    if word == "sept" {
        return Some(9);
    }
    let found = MONTHS.iter().position(|month| *month == word || (word.len() == 3 && month.starts_with(word)));
    found.map(|index| index as u32 + 1)
}

fn is_weekday(word: &str) -> bool {
    let short = ["tues", "wednes", "weds", "thur", "thurs"];
    WEEKDAYS.iter().any(|day| *day == word || (word.len() == 3 && day.starts_with(word))) || short.contains(&word)
}

/// What has been read so far.
#[derive(Default)]
struct Reader<'a> {
    rest: &'a [u8],
    /// Year, month, day of a date in one piece.
    date: Option<Civil>,
    /// The parts of a date with a named month.
    month: Option<u32>,
    numbers: Vec<(u64, usize)>,
    time: Option<i64>,
    zone: Option<Given>,
    afternoon: Option<bool>,
    before_christ: bool,
    short_year: bool,
    special: Option<Parsed>,
    /// A time may stand without a date.
    time_only: bool,
}

fn parse(text: &str) -> Result<Parsed, Fault> {
    read(text, Reader::default())?.finish()
}

/// Reads all fields of a text.
fn read<'a>(text: &'a str, reader: Reader<'a>) -> Result<Reader<'a>, Fault> {
    if !text.is_ascii() {
        return Err(Fault::Syntax);
    }
    let mut reader = Reader { rest: text.trim().as_bytes(), ..reader };
    while let Some(&byte) = reader.rest.first() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' | 0x0b | 0x0c => reader.rest = &reader.rest[1..],
            b'0'..=b'9' => reader.number()?,
            b'+' | b'-' => reader.signed()?,
            b'a'..=b'z' | b'A'..=b'Z' => reader.word()?,
            _ => return Err(Fault::Syntax),
        }
    }
    Ok(reader)
}

impl Reader<'_> {
    fn take(&mut self, keep: impl Fn(u8) -> bool) -> String {
        let length = self.rest.iter().take_while(|byte| keep(**byte)).count();
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        String::from_utf8_lossy(word).into_owned()
    }

    /// A field that starts with a digit: a date, a time, or a bare number.
    fn number(&mut self) -> Result<(), Fault> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match self.rest.get(digits) {
            Some(b':') => self.clock(),
            _ if self.time_only && self.date.is_none() && self.time.is_none() && digits == 6 => {
                self.compact_time(digits)
            }
            Some(b'-' | b'/') => self.dashed_date(),
            Some(b'.') if self.date.is_none() && self.rest[digits + 1..].contains(&b'.') => self.dashed_date(),
            _ if (self.date.is_some() || self.time_only) && self.time.is_none() && matches!(digits, 4 | 6) => {
                self.compact_time(digits)
            }
            _ if digits == 8 && self.date.is_none() && !self.time_only => {
                let all = self.take(|byte| byte.is_ascii_digit());
                let part = |from: usize, to: usize| all[from..to].parse::<u32>().unwrap_or(0);
                self.set_date(i64::from(part(0, 4)), part(4, 6), part(6, 8))
            }
            _ if digits <= 7 => {
                let all = self.take(|byte| byte.is_ascii_digit());
                self.numbers.push((all.parse().map_err(|_| Fault::Syntax)?, digits));
                Ok(())
            }
            _ => Err(Fault::Syntax),
        }
    }

    fn set_date(&mut self, year: i64, month: u32, day: u32) -> Result<(), Fault> {
        if self.date.is_some() || self.month.is_some() {
            return Err(Fault::Syntax);
        }
        self.date = Some(Civil { year, month, day });
        Ok(())
    }

    /// `2019-11-01`, `2019-Nov-01`, `1/8/1999`.
    fn dashed_date(&mut self) -> Result<(), Fault> {
        let mut parts: Vec<String> = Vec::with_capacity(3);
        loop {
            let numeric = self.rest.first().is_some_and(u8::is_ascii_digit);
            parts.push(if numeric {
                self.take(|byte| byte.is_ascii_digit())
            } else {
                self.take(|byte| byte.is_ascii_alphabetic())
            });
            match self.rest.first() {
                Some(b'-' | b'/' | b'.') if parts.len() < 3 => self.rest = &self.rest[1..],
                _ => break,
            }
        }
        let [first, second, third] = parts.as_slice() else { return Err(Fault::Syntax) };
        if self.time.is_some() {
            return Err(Fault::Syntax);
        }
        let number = |part: &String| part.parse::<u32>().map_err(|_| Fault::Syntax);
        let (year, month, day) = match (month_of(&first.to_lowercase()), month_of(&second.to_lowercase())) {
            (Some(month), _) => (third, month, number(second)?),
            (None, Some(month)) if first.len() > 2 => (first, month, number(third)?),
            (None, Some(month)) => (third, month, number(first)?),
            (None, None) if first.len() > 2 => (first, number(second)?, number(third)?),
            (None, None) => (third, number(first)?, number(second)?),
        };
        self.short_year = year.len() <= 2;
        let year = i64::from(number(year)?);
        self.set_date(year, month, day)
    }

    /// `04:05`, `04:05:06`, `04:05:06.789`.
    fn clock(&mut self) -> Result<(), Fault> {
        let text = self.take(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'.');
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let mut parts = whole.split(':').map(|part| part.parse::<i64>().map_err(|_| Fault::Syntax));
        let mut next = || parts.next().unwrap_or(Ok(0));
        let (hour, minute, second) = (next()?, next()?, next()?);
        if whole.split(':').count() > 3 {
            return Err(Fault::Syntax);
        }
        let micros = parse_fraction(fraction).ok_or(Fault::Syntax)?;
        self.set_time(hour, minute, second, micros)
    }

    /// `0405`, `040506` and `040506.5` behind a date.
    fn compact_time(&mut self, digits: usize) -> Result<(), Fault> {
        let text = self.take(|byte| byte.is_ascii_digit());
        let part = |at: usize| text.get(at..at + 2).and_then(|two| two.parse::<i64>().ok()).unwrap_or(0);
        let mut micros = 0;
        if digits == 6 && self.rest.first() == Some(&b'.') {
            self.rest = &self.rest[1..];
            micros = parse_fraction(&self.take(|byte| byte.is_ascii_digit())).ok_or(Fault::Syntax)?;
        }
        self.set_time(part(0), part(2), part(4), micros)
    }

    fn set_time(&mut self, hour: i64, minute: i64, second: i64, micros: i64) -> Result<(), Fault> {
        if self.time.is_some() {
            return Err(Fault::Syntax);
        }
        let total = ((hour * 60 + minute) * 60 + second) * SECOND + micros;
        if hour > 24 || minute > 59 || second > 60 || (hour == 24 && total > DAY) {
            return Err(Fault::Overflow);
        }
        self.time = Some(total);
        Ok(())
    }

    /// A field that starts with a sign: an offset, or `-infinity`.
    fn signed(&mut self) -> Result<(), Fault> {
        if self.rest.get(1).is_some_and(u8::is_ascii_alphabetic) {
            let negative = self.rest[0] == b'-';
            self.rest = &self.rest[1..];
            let word = self.take(|byte| byte.is_ascii_alphabetic()).to_lowercase();
            if !matches!(word.as_str(), "infinity" | "inf") {
                return Err(Fault::Syntax);
            }
            self.special = Some(if negative { Parsed::NegInfinity } else { Parsed::Infinity });
            return Ok(());
        }
        let sign = self.rest[0];
        self.rest = &self.rest[1..];
        let mut text = String::from(sign as char);
        text.push_str(&self.take(|byte| byte.is_ascii_digit() || byte == b':'));
        if self.zone.is_some() || text.len() == 1 {
            return Err(Fault::Syntax);
        }
        let seconds = parse_offset(text.as_bytes(), false).ok_or(Fault::Displacement)?;
        self.zone = Some(Given::Offset(seconds));
        Ok(())
    }

    /// A field that starts with a letter.
    fn word(&mut self) -> Result<(), Fault> {
        let letters = self.rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let first = String::from_utf8_lossy(&self.rest[..letters]).to_lowercase();
        if first == "t" && (self.date.is_some() || self.time_only) && self.rest.get(1).is_some_and(u8::is_ascii_digit) {
            self.rest = &self.rest[1..];
            return Ok(());
        }
        if let Some(month) = month_of(&first) {
            if matches!(self.rest.get(letters), Some(b'-' | b'/')) {
                return self.dashed_date();
            }
            self.rest = &self.rest[letters..];
            if self.rest.first() == Some(&b'.') {
                self.rest = &self.rest[1..];
            }
            if self.month.replace(month).is_some() || self.date.is_some() {
                return Err(Fault::Syntax);
            }
            return Ok(());
        }
        match first.as_str() {
            "am" | "pm" if self.time.is_some() => self.afternoon = Some(first == "pm"),
            "bc" => self.before_christ = true,
            "ad" => {}
            "infinity" | "inf" => self.special = Some(Parsed::Infinity),
            "allballs" if self.time_only && self.time.is_none() => self.time = Some(0),
            "epoch" => self.special = Some(Parsed::Epoch),
            "now" | "today" | "tomorrow" | "yesterday" => return Err(Fault::Clock(first)),
            _ if is_weekday(&first) && !self.time_only => {}
            _ => return self.zone_name(),
        }
        self.rest = &self.rest[letters..];
        Ok(())
    }

    fn zone_name(&mut self) -> Result<(), Fault> {
        let posix = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-:".contains(&byte);
        let word = self.take(posix);
        // Without a date, the offset of a zone by its name is not known.
        let dated = self.date.is_some() || self.month.is_some() || (self.time_only && !word.contains('/'));
        if self.zone.is_some() || !dated {
            return Err(Fault::Syntax);
        }
        match Zone::of_input(&word) {
            Some(zone) => self.zone = Some(Given::Zone(zone)),
            None if word.contains('/') => return Err(Fault::UnknownZone(word)),
            None => return Err(Fault::Syntax),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Parsed, Fault> {
        if let Some(special) = self.special {
            let alone = self.date.is_none() && self.month.is_none() && self.time.is_none() && self.numbers.is_empty();
            return if alone { Ok(special) } else { Err(Fault::Syntax) };
        }
        let mut civil = match (self.date, self.month, self.numbers.as_slice()) {
            (Some(civil), None, []) => civil,
            (None, Some(month), [(first, width), (second, _)]) if *width > 2 => {
                Civil { year: *first as i64, month, day: *second as u32 }
            }
            (None, Some(month), [(day, _), (year, width)]) => {
                self.short_year = *width <= 2;
                Civil { year: *year as i64, month, day: *day as u32 }
            }
            _ => return Err(Fault::Syntax),
        };
        if self.before_christ {
            if civil.year == 0 {
                return Err(Fault::Overflow);
            }
            civil.year = 1 - civil.year;
        } else if self.short_year {
            civil.year += if civil.year < 70 { 2000 } else { 1900 };
        } else if civil.year == 0 {
            return Err(Fault::Overflow);
        }
        if !(1..=12).contains(&civil.month) || !(1..=31).contains(&civil.day) {
            return Err(Fault::MonthDay);
        }
        if civil.day > days_of_month(civil.year, civil.month) {
            return Err(Fault::Overflow);
        }
        let micros = self.clock_reading()?;
        Ok(Parsed::Moment { civil, micros, zone: self.zone })
    }

    /// Microseconds of the day, by twelve hours or twenty-four.
    fn clock_reading(&self) -> Result<i64, Fault> {
        let mut micros = self.time.unwrap_or(0);
        if let Some(afternoon) = self.afternoon {
            let hour = micros / (3600 * SECOND);
            if hour > 12 {
                return Err(Fault::Overflow);
            }
            micros += (i64::from(afternoon) - i64::from(hour == 12)) * (DAY / 2);
        }
        Ok(micros)
    }
}

/// The microseconds of the digits behind a point, rounded half up (`.1234565`).
pub(super) fn parse_fraction(digits: &str) -> Option<i64> {
    let mut micros = 0i64;
    let mut power = 100_000i64;
    for (at, byte) in digits.bytes().enumerate() {
        if !byte.is_ascii_digit() {
            return None;
        }
        if at < 6 {
            micros += i64::from(byte - b'0') * power;
            power /= 10;
        } else if at == 6 && byte >= b'5' {
            micros += 1;
        }
    }
    Some(micros)
}
