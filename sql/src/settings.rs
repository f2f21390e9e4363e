//! A session's settings: what SET, RESET and SHOW work on.
//!
//! Promises: names are known in any case; a value that cannot be honoured is refused, never
//! ignored; SET inside a block that rolls back is undone, SET LOCAL ends with its block. Does not
//! know what a setting does.

use std::collections::BTreeMap;

use thalweg_dataflow::error::{Error, Result, SqlState};

/// What we say we are.
pub(crate) const SERVER_VERSION: &str = concat!("16.0 (Thalweg ", env!("CARGO_PKG_VERSION"), ")");

/// What `version()` answers.
pub(crate) const VERSION: &str = concat!("PostgreSQL 16.0 (Thalweg ", env!("CARGO_PKG_VERSION"), ")");

/// What values a setting takes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Any text.
    Text,
    /// on, off and their other spellings.
    Bool,
    /// A boolean of which only one value can be honoured.
    Fixed(&'static str),
    /// A whole number in a range.
    Int(i64, i64),
    /// One of these words.
    Enum(&'static [&'static str]),
    /// A time zone.
    Zone,
    /// A list with ISO in it.
    DateStyle,
    /// Milliseconds, with a unit or without.
    Duration,
    /// An encoding: UTF8.
    Encoding,
    /// Cannot be set.
    ReadOnly,
}

struct Setting {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    /// Whether the client is told of it at start and when it changes.
    reported: bool,
    about: &'static str,
}

const fn setting(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    reported: bool,
    about: &'static str,
) -> Setting {
    Setting { name, default, kind, reported, about }
}

const ISOLATION: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];
const MESSAGES: &[&str] = &["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"];

/// In order of their names, lower case.
#[rustfmt::skip]
static SETTINGS: &[Setting] = &[
    setting("application_name", "", Kind::Text, true, "Sets the application name to be reported in statistics and logs."),
    setting("bytea_output", "hex", Kind::Fixed("hex"), false, "Sets the output format for bytea."),
    setting("client_encoding", "UTF8", Kind::Encoding, true, "Sets the client's character set encoding."),
    setting("client_min_messages", "notice", Kind::Enum(MESSAGES), false, "Sets the message levels that are sent to the client."),
    setting("DateStyle", "ISO, MDY", Kind::DateStyle, true, "Sets the display format for date and time values."),
    setting("default_transaction_isolation", "read committed", Kind::Enum(ISOLATION), false, "Sets the transaction isolation level of each new transaction."),
    setting("default_transaction_read_only", "off", Kind::Bool, true, "Sets the default read-only status of new transactions."),
    setting("extra_float_digits", "1", Kind::Int(1, 3), false, "Sets the number of digits displayed for floating-point values."),
    setting("idle_in_transaction_session_timeout", "0", Kind::Duration, false, "Sets the maximum allowed idle time between queries, when in a transaction."),
    setting("in_hot_standby", "off", Kind::ReadOnly, true, "Shows whether hot standby is currently active."),
    setting("integer_datetimes", "on", Kind::ReadOnly, true, "Shows whether datetimes are integer based."),
    setting("IntervalStyle", "postgres", Kind::Fixed("postgres"), true, "Sets the display format for interval values."),
    setting("is_superuser", "on", Kind::ReadOnly, true, "Shows whether the current user is a superuser."),
    setting("jit", "off", Kind::Bool, false, "Allow JIT compilation."),
    setting("lc_collate", "C", Kind::ReadOnly, false, "Shows the collation order locale."),
    setting("lc_ctype", "C", Kind::ReadOnly, false, "Shows the character classification and case conversion locale."),
    setting("lc_messages", "C", Kind::Text, false, "Sets the language in which messages are displayed."),
    setting("lc_monetary", "C", Kind::Text, false, "Sets the locale for formatting monetary amounts."),
    setting("lc_numeric", "C", Kind::Text, false, "Sets the locale for formatting numbers."),
    setting("lc_time", "C", Kind::Text, false, "Sets the locale for formatting date and time values."),
    setting("lock_timeout", "0", Kind::Duration, false, "Sets the maximum allowed duration of any wait for a lock."),
    setting("max_identifier_length", "63", Kind::ReadOnly, false, "Shows the maximum identifier length."),
    setting("max_index_keys", "32", Kind::ReadOnly, false, "Shows the maximum number of index keys."),
    setting("row_security", "on", Kind::Bool, false, "Enable row security."),
    setting("search_path", "\"$user\", public", Kind::Text, true, "Sets the schema search order for names that are not schema-qualified."),
    setting("server_encoding", "UTF8", Kind::ReadOnly, true, "Shows the server (database) character set encoding."),
    setting("server_version", SERVER_VERSION, Kind::ReadOnly, true, "Shows the server version."),
    setting("server_version_num", "160000", Kind::ReadOnly, false, "Shows the server version as an integer."),
    setting("session_authorization", "", Kind::ReadOnly, true, "Sets the session user name."),
    setting("standard_conforming_strings", "on", Kind::Fixed("on"), true, "Causes '...' strings to treat backslashes literally."),
    setting("statement_timeout", "0", Kind::Duration, false, "Sets the maximum allowed duration of any statement."),
    setting("synchronous_commit", "on", Kind::Bool, false, "Sets the current transaction's synchronization level."),
    setting("TimeZone", "UTC", Kind::Zone, true, "Sets the time zone for displaying and interpreting time stamps."),
    setting("transaction_isolation", "read committed", Kind::Enum(ISOLATION), false, "Sets the current transaction's isolation level."),
    setting("transaction_read_only", "off", Kind::Bool, false, "Sets the current transaction's read-only status."),
];

/// The settings of one session. Starts from defaults.
#[derive(Debug, Clone)]
pub(crate) struct SessionSettings {
    /// What RESET goes back to: defaults and what the client asked for when it connected.
    start: BTreeMap<String, String>,
    session: BTreeMap<String, String>,
    local: BTreeMap<String, String>,
    /// The session's values at BEGIN.
    before_block: Option<BTreeMap<String, String>>,
}

impl SessionSettings {
    /// The defaults, for this user.
    pub(crate) fn new(user: &str) -> SessionSettings {
        let mut start: BTreeMap<String, String> =
            SETTINGS.iter().map(|setting| (setting.name.to_lowercase(), setting.default.to_string())).collect();
        start.insert("session_authorization".into(), user.into());
        SessionSettings { session: start.clone(), start, local: BTreeMap::new(), before_block: None }
    }

    /// A setting asked for at connection: also what RESET goes back to.
    pub(crate) fn set_at_start(&mut self, name: &str, value: &str) -> Result<()> {
        let (name, value) = check(name, value)?;
        self.start.insert(name.clone(), value.clone());
        self.session.insert(name, value);
        Ok(())
    }

    /// SET; without a value DEFAULT.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        let (name, value) = match value {
            Some(value) => check(name, value)?,
            None => {
                let name = name.to_lowercase();
                let default = self.start.get(&name).cloned().unwrap_or_default();
                settable(&name)?;
                (name, default)
            }
        };
        if local {
            // Outside of a block SET LOCAL has no effect (PostgreSQL warns).
            if self.before_block.is_some() {
                self.local.insert(name, value);
            }
        } else {
            self.local.remove(&name);
            self.session.insert(name, value);
        }
        Ok(())
    }

    /// RESET ALL.
    pub(crate) fn reset_all(&mut self) {
        self.session = self.start.clone();
        self.local.clear();
    }

    /// A block begins.
    pub(crate) fn begin(&mut self) {
        self.before_block = Some(self.session.clone());
    }

    /// A block ends.
    pub(crate) fn end(&mut self, committed: bool) {
        self.local.clear();
        if let Some(before) = self.before_block.take()
            && !committed
        {
            self.session = before;
        }
    }

    /// SHOW.
    pub(crate) fn get(&self, name: &str) -> Result<&str> {
        let lower = name.to_lowercase();
        match self.local.get(&lower).or_else(|| self.session.get(&lower)) {
            Some(value) => Ok(value),
            None => Err(unrecognized(name)),
        }
    }

    /// A setting that is always there.
    fn known(&self, name: &str) -> &str {
        self.local.get(name).or_else(|| self.session.get(name)).map_or("", String::as_str)
    }

    /// `TimeZone`.
    pub(crate) fn zone(&self) -> &str {
        self.known("timezone")
    }

    /// `statement_timeout`; `None`: no limit.
    pub(crate) fn statement_timeout(&self) -> Option<std::time::Duration> {
        let millis = parse_duration(self.known("statement_timeout")).unwrap_or(0);
        (millis > 0).then(|| std::time::Duration::from_millis(millis))
    }

    /// The schemas of `search_path` that exist, `$user` left out.
    pub(crate) fn search_path(&self) -> Vec<String> {
        self.known("search_path")
            .split(',')
            .map(|part| part.trim().trim_matches('"').to_string())
            .filter(|part| !part.is_empty() && part != "$user")
            .collect()
    }

    /// Puts a stored `search_path` or `TimeZone` in force: a view is bound again as it was.
    pub(crate) fn restore(&mut self, name: &str, value: &str) {
        self.session.insert(name.to_lowercase(), value.into());
    }

    /// The settings a client is told of, with its spelling of their names.
    pub(crate) fn reported(&self) -> Vec<(&'static str, String)> {
        SETTINGS
            .iter()
            .filter(|setting| setting.reported)
            .map(|setting| (setting.name, self.known(&setting.name.to_lowercase()).to_string()))
            .collect()
    }

    /// All: name, value, what it does.
    pub(crate) fn all(&self) -> Vec<(String, String, &'static str)> {
        let mut all: Vec<_> = SETTINGS
            .iter()
            .map(|setting| {
                (setting.name.to_string(), self.known(&setting.name.to_lowercase()).to_string(), setting.about)
            })
            .collect();
        let custom = self.session.iter().filter(|(name, _)| name.contains('.'));
        all.extend(custom.map(|(name, value)| (name.clone(), value.clone(), "")));
        all.sort_by_key(|(name, ..)| name.to_lowercase());
        all
    }
}

/// The name of a setting as PostgreSQL spells it.
pub(crate) fn spelled(name: &str) -> String {
    find(name).map_or_else(|| name.to_string(), |setting| setting.name.to_string())
}

fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
}

fn unrecognized(name: &str) -> Error {
    let error = Error::new(SqlState::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""));
    let lower = name.to_lowercase();
    match crate::catalog::nearest(&lower, SETTINGS.iter().map(|setting| setting.name)) {
        Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
        None => error,
    }
}

fn settable(name: &str) -> Result<Option<&'static Setting>> {
    match find(name) {
        Some(setting) if matches!(setting.kind, Kind::ReadOnly) => Err(Error::new(
            SqlState::CantChangeRuntimeParam,
            format!("parameter \"{}\" cannot be changed", setting.name),
        )),
        Some(setting) => Ok(Some(setting)),
        // Names with a dot are the application's own, as in PostgreSQL.
        None if name.contains('.') => Ok(None),
        None => Err(unrecognized(name)),
    }
}

/// The name in lower case and the value as SHOW prints it.
fn check(name: &str, value: &str) -> Result<(String, String)> {
    let canonical = match settable(name)? {
        None => value.to_string(),
        Some(setting) => canonical(setting, value.trim())?,
    };
    Ok((name.to_lowercase(), canonical))
}

fn canonical(setting: &Setting, value: &str) -> Result<String> {
    let invalid = || {
        Error::new(SqlState::InvalidParameter, format!("invalid value for parameter \"{}\": \"{value}\"", setting.name))
    };
    let refused =
        || Error::new(SqlState::FeatureNotSupported, format!("{} = \"{value}\" is not supported", setting.name));
    match setting.kind {
        Kind::Text => Ok(value.to_string()),
        Kind::Bool => {
            let wrong = || {
                Error::new(
                    SqlState::InvalidParameter,
                    format!("parameter \"{}\" requires a Boolean value", setting.name),
                )
            };
            boolean(value).map(str::to_string).ok_or_else(wrong)
        }
        Kind::Fixed(only) if value.eq_ignore_ascii_case(only) || boolean(value) == Some(only) => Ok(only.into()),
        Kind::Fixed(only) => Err(refused().hint(format!("The only value is \"{only}\"."))),
        Kind::Int(low, high) => {
            let number: i64 = value.parse().map_err(|_| invalid())?;
            if (low..=high).contains(&number) {
                return Ok(number.to_string());
            }
            let name = setting.name;
            Err(Error::new(
                SqlState::InvalidParameter,
                format!("{number} is outside the valid range for parameter \"{name}\" ({low} .. {high})"),
            ))
        }
        Kind::Enum(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(value)) {
            Some(word) => Ok((*word).into()),
            None => Err(invalid().hint(format!("Available values: {}.", words.join(", ")))),
        },
        Kind::Zone => zone(value).ok_or_else(invalid),
        Kind::DateStyle => {
            date_style(value).ok_or_else(invalid)?.ok_or_else(|| refused().hint("The only style is \"ISO, MDY\"."))
        }
        Kind::Duration => {
            match parse_duration(value) {
                Some(millis) => Ok(print_duration(millis)),
                None => Err(invalid()
                    .hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")),
            }
        }
        Kind::Encoding => match value.to_ascii_uppercase().replace(['-', '_'], "").as_str() {
            "UTF8" | "UNICODE" | "AUTO" => Ok("UTF8".into()),
            "SQLASCII" | "LATIN1" | "LATIN9" | "WIN1252" | "ISO88591" => {
                Err(refused().hint("The only encoding is UTF8."))
            }
            _ => Err(invalid()),
        },
        Kind::ReadOnly => Err(Error::internal("a read-only setting was set")),
    }
}

fn boolean(value: &str) -> Option<&'static str> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "t" | "tr" | "tru" | "yes" | "y" | "ye" | "1" => Some("on"),
        "off" | "of" | "false" | "f" | "fa" | "fal" | "fals" | "no" | "n" | "0" => Some("off"),
        _ => None,
    }
}

/// An IANA name in any case, or whole hours east of UTC.
fn zone(value: &str) -> Option<String> {
    if let Ok(hours) = value.parse::<i32>() {
        // Etc/GMT-2 is two hours EAST: the sign is POSIX's.
        return match hours {
            0 => Some("UTC".into()),
            -12..=14 => Some(format!("Etc/GMT{}{}", if hours > 0 { "-" } else { "+" }, hours.abs())),
            _ => None,
        };
    }
    let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let mut found = known.filter(|name| name.eq_ignore_ascii_case(value));
    found.next().map(str::to_string)
}

/// `None`: not a style. `Some(None)`: a style we cannot print or read.
fn date_style(value: &str) -> Option<Option<String>> {
    let mut supported = true;
    for part in value.split(',') {
        match part.trim().to_ascii_lowercase().as_str() {
            "iso" | "mdy" | "us" | "noneuro" | "noneuropean" | "default" => {}
            "sql" | "postgres" | "german" | "dmy" | "euro" | "european" | "ymd" => supported = false,
            _ => return None,
        }
    }
    Some(supported.then(|| "ISO, MDY".to_string()))
}

fn parse_duration(value: &str) -> Option<u64> {
    let split = value.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(value.len());
    let number: f64 = value[..split].parse().ok()?;
    let factor = match value[split..].trim() {
        "" | "ms" => 1.0,
        "us" => 0.001,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let millis = (number * factor).round();
    (millis <= f64::from(i32::MAX)).then_some(millis as u64)
}

fn print_duration(millis: u64) -> String {
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)] {
        if millis > 0 && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 { "0".into() } else { format!("{millis}ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, value: &str) -> String {
        let error = SessionSettings::new("u").set(name, Some(value), false).unwrap_err();
        format!("{} {}", error.state().code(), error.message())
    }

    #[test]
    fn errors_are_worded_as_postgresql_words_them() {
        assert_eq!(refusal("nosuch", "1"), "42704 unrecognized configuration parameter \"nosuch\"");
        assert_eq!(
            refusal("timezone", "Mars/Phobos"),
            "22023 invalid value for parameter \"TimeZone\": \"Mars/Phobos\""
        );
        assert_eq!(refusal("jit", "maybe"), "22023 parameter \"jit\" requires a Boolean value");
        assert_eq!(
            refusal("extra_float_digits", "7"),
            "22023 7 is outside the valid range for parameter \"extra_float_digits\" (1 .. 3)"
        );
        assert_eq!(refusal("server_version", "9"), "55P02 parameter \"server_version\" cannot be changed");
        assert_eq!(refusal("datestyle", "German"), "0A000 DateStyle = \"German\" is not supported");
        assert_eq!(
            refusal("statement_timeout", "5 parsecs"),
            "22023 invalid value for parameter \"statement_timeout\": \"5 parsecs\""
        );
    }

    #[test]
    fn values_are_printed_in_their_canonical_form() {
        let mut settings = SessionSettings::new("u");
        for (name, value, shown) in [
            ("TimeZone", "europe/berlin", "Europe/Berlin"),
            ("timezone", "2", "Etc/GMT-2"),
            ("statement_timeout", "90s", "90s"),
            ("statement_timeout", "120000", "2min"),
            ("jit", "TRUE", "on"),
            ("DateStyle", "iso", "ISO, MDY"),
            ("client_encoding", "utf-8", "UTF8"),
            ("my.own", "x", "x"),
        ] {
            settings.set(name, Some(value), false).unwrap();
            assert_eq!(settings.get(name).unwrap(), shown);
        }
        assert_eq!(settings.statement_timeout(), Some(std::time::Duration::from_secs(120)));
    }

    #[test]
    fn a_rolled_back_block_takes_its_settings_with_it() {
        let mut settings = SessionSettings::new("u");
        settings.begin();
        settings.set("application_name", Some("a"), false).unwrap();
        settings.set("timezone", Some("Asia/Tokyo"), true).unwrap();
        assert_eq!((settings.get("application_name").unwrap(), settings.zone()), ("a", "Asia/Tokyo"));
        settings.end(false);
        assert_eq!((settings.get("application_name").unwrap(), settings.zone()), ("", "UTC"));
        settings.begin();
        settings.set("application_name", Some("b"), false).unwrap();
        settings.set("timezone", Some("Asia/Tokyo"), true).unwrap();
        settings.end(true);
        assert_eq!((settings.get("application_name").unwrap(), settings.zone()), ("b", "UTC"));
    }
}
