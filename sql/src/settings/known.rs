//! Every setting there is: PostgreSQL 16's, and where ours differ.
//!
//! `postgresql.tsv` has, for each name of PostgreSQL 16, its type, when it can be changed, its unit,
//! range, words and default. A setting that concerns what Thalweg does has an entry in [`OWN`]. The
//! others are taken, checked and shown, and change nothing: they steer what there is not.

use std::collections::HashMap;
use std::sync::LazyLock;

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::units::Unit;
use super::{SERVER_VERSION, values};

/// What values a setting takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// on, off and their other spellings.
    Bool,
    /// Only one value can be honoured.
    Fixed(&'static str),
    /// A number in a range.
    Number { low: f64, high: f64, whole: bool, unit: Option<Unit> },
    /// One of the setting's words.
    Enum,
    /// A time zone.
    Zone,
    /// A list of names.
    Names,
    /// A list with ISO in it.
    DateStyle,
    /// An encoding: UTF8.
    Encoding,
}

/// When a setting can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// Any time, by SET.
    Session,
    /// When a client connects.
    Connection,
    /// When the server starts.
    Start,
    /// In the server's configuration.
    Configuration,
    /// Never.
    Never,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its name, in PostgreSQL's spelling.
    pub(crate) name: &'static str,
    /// The same in lower case.
    pub(super) key: String,
    pub(super) default: String,
    pub(super) kind: Kind,
    pub(super) context: Context,
    /// Whether the client is told of it at start and when it changes.
    pub(super) reported: bool,
    /// What it does here; empty if nothing.
    pub(crate) about: &'static str,
    /// `bool`, `integer`, `real`, `string` or `enum`.
    pub(crate) value_type: &'static str,
    /// PostgreSQL's word for `context`.
    pub(crate) context_word: &'static str,
    /// Its unit, or nothing.
    pub(crate) unit: &'static str,
    /// The least value, or nothing.
    pub(crate) low: &'static str,
    /// The greatest value, or nothing.
    pub(crate) high: &'static str,
    /// Its words, or nothing.
    pub(crate) words: Vec<&'static str>,
}

/// What differs from PostgreSQL, and what is honoured.
struct Own {
    name: &'static str,
    default: Option<&'static str>,
    kind: Option<Kind>,
    reported: bool,
    about: &'static str,
}

const fn own(name: &'static str, about: &'static str) -> Own {
    Own { name, default: None, kind: None, reported: false, about }
}

impl Own {
    const fn default(self, default: &'static str) -> Own {
        Own { default: Some(default), ..self }
    }

    const fn kind(self, kind: Kind) -> Own {
        Own { kind: Some(kind), default: self.default, ..self }
    }

    const fn reported(self) -> Own {
        Own { reported: true, ..self }
    }
}

#[rustfmt::skip]
const OWN: &[Own] = &[
    own("application_name", "the client's name, as it gave it").reported(),
    own("bytea_output", "how bytea is printed: hex").kind(Kind::Fixed("hex")),
    own("client_encoding", "how the client's text is encoded: UTF8").default("UTF8").kind(Kind::Encoding).reported(),
    own("cursor_tuple_fraction", ""),
    own("DateStyle", "how dates are printed and read: ISO, MDY").kind(Kind::DateStyle).reported(),
    own("default_transaction_isolation", "the level that new transactions show; each reads one snapshot"),
    own("default_transaction_read_only", "whether new transactions may change anything").reported(),
    own("extra_float_digits", "1 and more: floating-point numbers print so that they read back the same"),
    own("hba_file", ""),
    own("idle_in_transaction_session_timeout", "ends a connection that does nothing inside a transaction so long"),
    own("idle_session_timeout", "ends a connection that does nothing so long"),
    own("in_hot_standby", "always off").reported(),
    own("integer_datetimes", "always on").reported(),
    own("IntervalStyle", "how intervals are printed: postgres").kind(Kind::Fixed("postgres")).reported(),
    own("jit", "").default("off"),
    own("lc_messages", "").default("C"),
    own("log_timezone", "").default("UTC"),
    own("search_path", "where names without a schema are looked for").kind(Kind::Names).reported(),
    own("server_encoding", "always UTF8").default("UTF8").reported(),
    own("server_version", "the PostgreSQL that clients may take this for").default(SERVER_VERSION).reported(),
    own("server_version_num", "the same as a number").default("160000"),
    own("standard_conforming_strings", "always on").kind(Kind::Fixed("on")).reported(),
    own("statement_timeout", "ends a statement that takes so long"),
    own("TimeZone", "the zone in which timestamptz is read and printed").default("UTC").kind(Kind::Zone).reported(),
    own("transaction_isolation", "the level that the transaction shows; it reads one snapshot"),
    own("transaction_read_only", "whether the transaction may change anything"),
];

/// Reported settings that PostgreSQL does not list.
const UNLISTED: [(&str, &str, &str); 3] = [
    ("is_superuser", "on", "whether the user may do everything"),
    ("session_authorization", "", "the user who connected"),
    ("role", "none", "the role that SET ROLE chose"),
];

/// All, in the order of their names.
pub(super) static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let mut settings: Vec<Setting> = include_str!("postgresql.tsv").lines().filter_map(listed).collect();
    settings.extend(UNLISTED.map(|(name, default, about)| Setting {
        name,
        key: name.into(),
        default: default.into(),
        kind: Kind::Text,
        context: Context::Never,
        reported: name != "role",
        about,
        value_type: "string",
        context_word: "internal",
        unit: "",
        low: "",
        high: "",
        words: Vec::new(),
    }));
    settings.sort_by(|one, other| one.key.cmp(&other.key));
    settings
});

fn listed(line: &'static str) -> Option<Setting> {
    let fields: Vec<&'static str> = line.split('\t').collect();
    let &[name, value_type, context_word, unit, low, high, words, default] = fields.as_slice() else { return None };
    let words: Vec<&'static str> = words.split(',').filter(|word| !word.is_empty()).collect();
    let number = |whole| Kind::Number {
        low: low.parse().unwrap_or(f64::MIN),
        high: high.parse().unwrap_or(f64::MAX),
        whole,
        unit: Unit::named(unit),
    };
    let kind = match value_type {
        "bool" => Kind::Bool,
        "integer" => number(true),
        "real" => number(false),
        "enum" => Kind::Enum,
        _ => Kind::Text,
    };
    let context = match context_word {
        "user" | "superuser" => Context::Session,
        "backend" | "superuser-backend" => Context::Connection,
        "postmaster" => Context::Start,
        "sighup" => Context::Configuration,
        _ => Context::Never,
    };
    let own = OWN.iter().find(|own| own.name == name);
    let kind = own.and_then(|own| own.kind).unwrap_or(kind);
    let default = own.and_then(|own| own.default).unwrap_or(default);
    let default = match &kind {
        Kind::Number { unit: Some(unit), .. } => default.parse().map_or_else(|_| default.into(), |n| unit.print(n)),
        _ => default.to_string(),
    };
    Some(Setting {
        name,
        key: name.to_lowercase(),
        default,
        kind,
        context,
        reported: own.is_some_and(|own| own.reported),
        about: own.map_or("", |own| own.about),
        value_type,
        context_word,
        unit,
        low,
        high,
        words,
    })
}

/// The setting of a name, in any case.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    let place = PLACES.get(name).or_else(|| PLACES.get(name.to_lowercase().as_str()))?;
    SETTINGS.get(*place)
}

/// The place of each setting by its name in lower case: sessions ask many times a statement.
static PLACES: LazyLock<HashMap<&'static str, usize>> =
    LazyLock::new(|| SETTINGS.iter().enumerate().map(|(place, setting)| (setting.key.as_str(), place)).collect());

/// Those that clients are told of.
pub(super) static REPORTED: LazyLock<Vec<&'static Setting>> =
    LazyLock::new(|| SETTINGS.iter().filter(|setting| setting.reported).collect());

impl Setting {
    /// Refuses a change that comes at the wrong time.
    pub(super) fn changes(&self, at_start: bool) -> Result<()> {
        let why = match self.context {
            Context::Session => return Ok(()),
            Context::Connection if at_start => return Ok(()),
            Context::Connection => "cannot be set after connection start",
            Context::Start => "cannot be changed without restarting the server",
            Context::Configuration => "cannot be changed now",
            Context::Never => "cannot be changed",
        };
        Err(Error::new(SqlState::CantChangeRuntimeParam, format!("parameter \"{}\" {why}", self.name)))
    }

    /// A value as SHOW prints it.
    pub(super) fn canonical(&self, value: &str) -> Result<String> {
        let name = self.name;
        let wrong = |message: String| Error::new(SqlState::InvalidParameter, message);
        let invalid = || wrong(format!("invalid value for parameter \"{name}\": \"{value}\""));
        let refused = || Error::unsupported(format!("{name} = \"{value}\""));
        match &self.kind {
            Kind::Text => Ok(value.to_string()),
            Kind::Bool => {
                let boolean = values::boolean(value).map(str::to_string);
                boolean.ok_or_else(|| wrong(format!("parameter \"{name}\" requires a Boolean value")))
            }
            Kind::Fixed(only) if value.eq_ignore_ascii_case(only) || values::boolean(value) == Some(only) => {
                Ok((*only).into())
            }
            Kind::Fixed(only) => Err(refused().hint(format!("The only value is \"{only}\"."))),
            Kind::Number { low, high, whole, unit } => {
                let read = match unit {
                    // What does not begin with a number has no unit either.
                    Some(_) if !value.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
                        return Err(invalid());
                    }
                    Some(unit) => unit.read(value).ok_or_else(|| invalid().hint(unit.hint()))?,
                    None => value.parse().map_err(|_| invalid())?,
                };
                let number: f64 = if *whole { read.round() } else { read };
                if !(*low..=*high).contains(&number) {
                    let range = format!("({} .. {})", self.low, self.high);
                    let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
                    return Err(wrong(format!(
                        "{number}{unit} is outside the valid range for parameter \"{name}\" {range}"
                    )));
                }
                Ok(unit.map_or_else(|| number.to_string(), |unit| unit.print(number)))
            }
            Kind::Enum => match self.words.iter().find(|word| word.eq_ignore_ascii_case(value)) {
                Some(word) => Ok((*word).into()),
                None => match values::boolean(value).and_then(|value| self.words.iter().find(|word| **word == value)) {
                    Some(word) => Ok((*word).into()),
                    None => Err(invalid().hint(format!("Available values: {}.", self.words.join(", ")))),
                },
            },
            Kind::Zone => values::zone(value).ok_or_else(invalid),
            Kind::Names if values::names(value).is_some() => Ok(value.to_string()),
            Kind::Names => Err(invalid().detail("List syntax is invalid.")),
            Kind::DateStyle => values::date_style(value)
                .ok_or_else(invalid)?
                .ok_or_else(|| refused().hint("The only style is \"ISO, MDY\".")),
            Kind::Encoding => match value.to_ascii_uppercase().replace(['-', '_'], "").as_str() {
                "UTF8" | "UNICODE" | "AUTO" => Ok("UTF8".into()),
                "SQLASCII" | "LATIN1" | "LATIN9" | "WIN1252" | "ISO88591" => {
                    Err(refused().hint("The only encoding is UTF8."))
                }
                _ => Err(invalid()),
            },
        }
    }
}
