//! `INTERVAL '...' fields`: how the fields make a literal be read, and what they leave of it.

use datafusion::sql::sqlparser::ast::{self, DateTimeField, Value};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::datetime::{DAY, Interval, SECOND};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::Binder;
use super::expr::Cast;
use super::typed::Typed;

/// A field, the greatest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

fn unit(field: &DateTimeField) -> Option<Unit> {
    Some(match field {
        DateTimeField::Year => Unit::Year,
        DateTimeField::Month => Unit::Month,
        DateTimeField::Day => Unit::Day,
        DateTimeField::Hour => Unit::Hour,
        DateTimeField::Minute => Unit::Minute,
        DateTimeField::Second => Unit::Second,
        _ => return None,
    })
}

impl Binder<'_> {
    /// An interval literal.
    pub(super) fn interval(&self, interval: &ast::Interval) -> Result<Typed> {
        let wrong = || Error::new(SqlState::SyntaxError, "INTERVAL needs a literal in quotes");
        let ast::Expr::Value(value) = interval.value.as_ref() else { return Err(wrong()) };
        let text = match &value.value {
            Value::Number(digits, _) => digits.clone(),
            other => other.clone().into_string().ok_or_else(wrong)?,
        };
        let Some(leading) = &interval.leading_field else {
            return self.coerce(Typed::unknown(Some(text)), &PgType::Interval, Cast::Explicit);
        };
        let last = interval.last_field.as_ref().unwrap_or(leading);
        let (Some(first), Some(last)) = (unit(leading), unit(last)) else {
            return Err(Error::unsupported(format!("an interval literal of {leading}")));
        };
        let digits = match (first, last) {
            (Unit::Second, Unit::Second) => interval.leading_precision.or(interval.fractional_seconds_precision),
            _ => interval.fractional_seconds_precision,
        };
        let read = Interval::parse(&spelled(&text, first, last)).map_err(|error| {
            let message = format!("invalid input syntax for type interval: \"{text}\"");
            if error.state() == SqlState::InvalidDatetimeFormat { Error::new(error.state(), message) } else { error }
        })?;
        let mut whole = String::new();
        cut(read, last, digits)?.write_to(&mut whole);
        self.coerce(Typed::unknown(Some(whole)), &PgType::Interval, Cast::Explicit)
    }
}

/// The text with the unit that the fields give it.
fn spelled(text: &str, first: Unit, last: Unit) -> String {
    let trimmed = text.trim();
    let is_number = !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    // `1-2` is years and months whatever the fields.
    if is_number && !trimmed.trim_start_matches(['+', '-']).contains('-') {
        let name = match last {
            Unit::Year => "years",
            Unit::Month => "months",
            Unit::Day => "days",
            Unit::Hour => "hours",
            Unit::Minute => "minutes",
            Unit::Second => "seconds",
        };
        return format!("{trimmed} {name}");
    }
    // Days and hours, without words.
    if (first, last) == (Unit::Day, Unit::Hour)
        && let Some((days, hours)) = trimmed.split_once(' ')
        && hours.trim().bytes().all(|byte| byte.is_ascii_digit())
    {
        return format!("{days} days {} hours", hours.trim());
    }
    // Two numbers of minutes and seconds, which would be hours and minutes.
    let clock = trimmed.rsplit(' ').next().unwrap_or_default();
    if (first, last) == (Unit::Minute, Unit::Second) && clock.matches(':').count() == 1 && !clock.contains('.') {
        return format!("{}0:{clock}", &trimmed[..trimmed.len() - clock.len()]);
    }
    text.to_string()
}

/// What the last field leaves; seconds rounded to so many digits.
fn cut(interval: Interval, last: Unit, digits: Option<u64>) -> Result<Interval> {
    let clock = |step: i64| interval.micros / step * step;
    let Interval { months, days, micros } = interval;
    let (months, days, micros) = match last {
        Unit::Year => (months / 12 * 12, 0, 0),
        Unit::Month => (months, 0, 0),
        Unit::Day => (months, days, 0),
        Unit::Hour => (months, days, clock(DAY / 24)),
        Unit::Minute => (months, days, clock(60 * SECOND)),
        Unit::Second => {
            let step = 10i64.pow(6 - digits.unwrap_or(6).min(6) as u32);
            let half = step / 2 * micros.signum();
            (months, days, (micros + half) / step * step)
        }
    };
    Interval::checked(i64::from(months), i64::from(days), micros)
}
