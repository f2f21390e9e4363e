//! WITH and OPTIONS lists, taken one by one with their types.
//!
//! Promises: an option nobody took is an error that names the nearest known one; a value that does
//! not fit is an error that names option and value; secrets never reach a message. Does not know
//! which options there are: the connectors take theirs.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use thalweg_dataflow::{Error, Result, SqlState};

/// What stands in a secret's place.
const HIDDEN: &str = "***";

/// A list of options being understood.
pub struct Options {
    /// What takes them, for messages: `connector "kafka"`, `format CSV`.
    owner: String,
    left: BTreeMap<String, String>,
    known: Vec<String>,
}

/// Events over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// As fast as they can be made.
    Max,
    /// So many events in so much time.
    Events {
        /// How many.
        count: u64,
        /// In what time.
        every: Duration,
    },
}

impl Options {
    /// The options of `owner` (`connector "generator"`), names in lower case.
    pub fn new(owner: impl Into<String>, options: &BTreeMap<String, String>) -> Options {
        Options { owner: owner.into(), left: options.clone(), known: Vec::new() }
    }

    /// Takes an option as it was written.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.known.push(name.to_string());
        self.left.remove(name)
    }

    /// Takes an option that must be there.
    pub fn required(&mut self, name: &str) -> Result<String> {
        let missing = || Error::new(SqlState::InvalidParameter, format!("{} requires option \"{name}\"", self.owner));
        let missing = missing();
        self.text(name).ok_or(missing)
    }

    /// Takes a whole number within bounds.
    pub fn integer(&mut self, name: &str, bounds: RangeInclusive<i64>) -> Result<Option<i64>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.trim().parse::<i64>() {
            Ok(number) if bounds.contains(&number) => Ok(Some(number)),
            Ok(_) => Err(invalid(name, &text).detail(format!(
                "The value must be between {} and {}.",
                bounds.start(),
                bounds.end()
            ))),
            Err(_) => Err(invalid(name, &text).hint("Give a whole number.")),
        }
    }

    /// Takes a boolean as PostgreSQL reads one: `true`, `t`, `yes`, `on`, `1` or the opposite, or
    /// the beginning of such a word, in any case.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match parse_boolean(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(invalid(name, &text).hint("Give true or false.")),
        }
    }

    /// Takes one of a few words; returns its place in `words`. Any case.
    pub fn choice(&mut self, name: &str, words: &[&str]) -> Result<Option<usize>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wanted = text.trim().to_ascii_lowercase();
        match words.iter().position(|word| *word == wanted) {
            Some(place) => Ok(Some(place)),
            None => Err(invalid(name, &text).hint(format!("Valid values are {}.", list(words)))),
        }
    }

    /// Takes a character of one byte; `\t` and `tab` mean the tabulator.
    pub fn character(&mut self, name: &str) -> Result<Option<u8>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.as_bytes() {
            b"\\t" | b"tab" => Ok(Some(b'\t')),
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(Some(*byte)),
            _ => Err(invalid(name, &text).hint("Give a single one-byte character.")),
        }
    }

    /// Takes a length of time: `500ms`, `10s`, `5 min`, `1h`, `2d`.
    pub fn duration(&mut self, name: &str) -> Result<Option<Duration>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match parse_duration(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(invalid(name, &text).hint("Give a number with a unit: 500ms, 10s, 5min, 1h, 2d.")),
        }
    }

    /// Takes a rate: `10000/min`, `100000/s`, `max`.
    pub fn rate(&mut self, name: &str) -> Result<Option<Rate>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(rate) => Ok(Some(rate)),
            Err(InvalidRate) => Err(invalid(name, &text)
                .hint("Give a whole number of events per unit of time, 10000/min or 100000/s, or max.")),
        }
    }

    /// Takes all options that begin with `prefix`, and leaves the prefix out of their names.
    pub fn prefixed(&mut self, prefix: &str) -> BTreeMap<String, String> {
        let names: Vec<String> = self.left.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        let mut taken = BTreeMap::new();
        for name in names {
            if let Some(value) = self.left.remove(&name) {
                taken.insert(name[prefix.len()..].to_string(), value);
            }
        }
        taken
    }

    /// Errs if an option is left that nobody took.
    pub fn finish(self) -> Result<()> {
        let Some(name) = self.left.keys().next() else { return Ok(()) };
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        let error = Error::new(SqlState::UndefinedObject, format!("unrecognized option \"{name}\" for {}", self.owner));
        Err(error.hint(match nearest(name, &known) {
            Some(near) => format!("Perhaps you meant the option \"{near}\"."),
            None => format!("Valid options are {}.", list(&known)),
        }))
    }
}

/// The error of an option whose value does not fit.
pub fn invalid(name: &str, value: &str) -> Error {
    let shown = if is_secret(name) { HIDDEN } else { value };
    Error::new(SqlState::InvalidParameter, format!("invalid value for option \"{name}\": \"{shown}\""))
}

/// The known name that `name` may have been meant for.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|other| (strsim::damerau_levenshtein(name, other), *other)).min()?;
    (near.0 <= (name.chars().count() / 3).max(2)).then_some(near.1)
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// A boolean as PostgreSQL reads one.
pub fn parse_boolean(text: &str) -> Option<bool> {
    let word = text.trim().to_ascii_lowercase();
    let begins = |full: &str, least: usize| word.len() >= least && full.starts_with(&word);
    if begins("true", 1) || begins("yes", 1) || word == "on" || word == "1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        Some(false)
    } else {
        None
    }
}

/// A length of time with its unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..split].parse().ok()?;
    let unit: u64 = match text[split..].trim().to_ascii_lowercase().as_str() {
        "us" => 1,
        "ms" => 1_000,
        "s" | "sec" | "second" | "seconds" => 1_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000,
        "h" | "hour" | "hours" => 3_600_000_000,
        "d" | "day" | "days" => 86_400_000_000,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_micros)
}

/// The text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRate;

impl fmt::Display for InvalidRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rate is a whole number of events per unit of time, like 10000/min or 100000/s, or max")
    }
}

impl std::error::Error for InvalidRate {}

impl std::str::FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Rate, InvalidRate> {
        let text = text.trim().to_ascii_lowercase();
        if text == "max" {
            return Ok(Rate::Max);
        }
        let (count, unit) = text.split_once('/').ok_or(InvalidRate)?;
        let count: u64 = count.trim().replace('_', "").parse().map_err(|_| InvalidRate)?;
        let every = parse_duration(&format!("1{}", unit.trim())).ok_or(InvalidRate)?;
        if !(1..=1_000_000_000).contains(&count) || every < Duration::from_secs(1) {
            return Err(InvalidRate);
        }
        Ok(Rate::Events { count, every })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Max => f.write_str("max"),
            Rate::Events { count, every } => match every.as_secs() {
                1 => write!(f, "{count}/s"),
                60 => write!(f, "{count}/min"),
                3600 => write!(f, "{count}/h"),
                86_400 => write!(f, "{count}/d"),
                seconds => write!(f, "{count}/{seconds}s"),
            },
        }
    }
}

/// Whether an option's value must not be shown.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    let has = |part: &str| name.contains(part);
    has("password")
        || has("passwd")
        || has("secret")
        || has("token")
        || has("jaas")
        || has("oauthbearer.config")
        || has("access_key")
        || has("access.key")
        || (has("ssl.") && (last == "pem" || last == "key" || last == "pkcs12"))
        || (has(".key.pem") || has("private"))
}

/// The options with every secret replaced by `***`.
pub fn redact(options: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shown = |name: &String, value: &String| if is_secret(name) { HIDDEN.to_string() } else { value.clone() };
    options.iter().map(|(name, value)| (name.clone(), shown(name, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[(&str, &str)]) -> Options {
        let map = list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Options::new("connector \"generator\"", &map)
    }

    #[test]
    fn an_option_nobody_took_names_the_nearest() {
        let mut given = options(&[("rat", "max"), ("seed", "1")]);
        assert_eq!(given.rate("rate"), Ok(None));
        assert_eq!(given.integer("seed", 0..=9), Ok(Some(1)));
        let error = given.finish().unwrap_err();
        assert_eq!(error.state().code(), "42704");
        assert_eq!(error.message(), "unrecognized option \"rat\" for connector \"generator\"");
        assert_eq!(error.hint_text(), Some("Perhaps you meant the option \"rate\"."));
    }

    #[test]
    fn values_have_types() {
        let error = options(&[("seed", "x")]).integer("seed", 0..=9).unwrap_err();
        assert_eq!(error.message(), "invalid value for option \"seed\": \"x\"");
        assert_eq!(error.state().code(), "22023");
        assert!(options(&[("seed", "10")]).integer("seed", 0..=9).is_err());
        for (text, value) in
            [("TRUE", true), ("t", true), ("y", true), ("on", true), ("1", true), ("of", false), ("N", false)]
        {
            assert_eq!(options(&[("b", text)]).boolean("b"), Ok(Some(value)), "{text}");
        }
        assert!(options(&[("b", "o")]).boolean("b").is_err());
        assert_eq!(options(&[("d", "\\t")]).character("d"), Ok(Some(b'\t')));
        assert!(options(&[("d", "ab")]).character("d").is_err());
        assert_eq!(options(&[("d", "5 min")]).duration("d"), Ok(Some(Duration::from_secs(300))));
        assert!(options(&[("d", "5")]).duration("d").is_err());
    }

    #[test]
    fn rates_print_as_they_are_read() {
        for text in ["max", "10000/min", "100000/s", "7/h"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()), Ok(text.to_string()));
        }
        for text in ["", "0/s", "-1/s", "10", "1/us", "1/fortnight", "1.5/s"] {
            assert_eq!(text.parse::<Rate>(), Err(InvalidRate), "{text}");
        }
    }

    #[test]
    fn secrets_are_hidden() {
        let hidden = [
            "properties.sasl.password",
            "properties.ssl.key.pem",
            "properties.ssl.key.password",
            "properties.ssl.keystore.password",
            "properties.sasl.oauthbearer.client.secret",
            "properties.sasl.oauthbearer.config",
            "properties.sasl.jaas.config",
            "s3.secret_access_key",
            "s3.access_key_id",
            "token",
        ];
        for name in hidden {
            assert!(is_secret(name), "{name}");
        }
        for name in ["topic", "properties.bootstrap.server", "properties.sasl.username", "properties.ssl.ca.location"] {
            assert!(!is_secret(name), "{name}");
        }
        assert!(!invalid("sasl.password", "hunter2").message().contains("hunter2"));
    }
}
