//! A session's settings: what SET, RESET and SHOW work on.
//!
//! Promises: every name of PostgreSQL 16 is known, in any case; a value that it would refuse is
//! refused, and so is one of a setting with a meaning here that cannot be honoured; SET inside a
//! block that rolls back is undone, SET LOCAL ends with its block. Does not know what a setting does.

mod known;
mod settled;
mod units;
mod values;

use std::collections::BTreeMap;

use thalweg_dataflow::error::{Error, Result, SqlState};

pub(crate) use known::Setting;
use known::{REPORTED, SETTINGS, find};
pub(crate) use settled::Settled;

use crate::session::Severity;

/// What we say we are.
pub(crate) const SERVER_VERSION: &str = concat!("16.0 (Thalweg ", env!("CARGO_PKG_VERSION"), ")");

/// What `version()` answers.
pub(crate) const VERSION: &str = concat!("PostgreSQL 16.0 (Thalweg ", env!("CARGO_PKG_VERSION"), ")");

/// The settings of the transaction itself, each with the one it starts from.
const OF_TRANSACTION: [(&str, &str); 2] = [
    ("transaction_isolation", "default_transaction_isolation"),
    ("transaction_read_only", "default_transaction_read_only"),
];

/// Values by name in lower case.
type Values = BTreeMap<String, String>;

/// The settings of one session: what differs from the defaults.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionSettings {
    /// What RESET goes back to: what the client asked for when it connected.
    start: Values,
    session: Values,
    local: Values,
    /// The session's values at BEGIN.
    before_block: Option<Values>,
    settled: Settled,
}

/// The values of one moment in a block.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    session: Values,
    local: Values,
}

impl SessionSettings {
    /// The defaults, for this user.
    pub(crate) fn new(user: &str) -> SessionSettings {
        let start = Values::from([("session_authorization".to_string(), user.to_string())]);
        let mut settings = SessionSettings { session: start.clone(), start, ..SessionSettings::default() };
        settings.settle();
        settings
    }

    /// What follows from them.
    pub(crate) fn settled(&self) -> &Settled {
        &self.settled
    }

    /// To be called where one was set.
    fn settle(&mut self) {
        self.settled = Settled::of(self, self.settled.changes + 1);
    }

    /// A setting asked for at connection: also what RESET goes back to.
    pub(crate) fn set_at_start(&mut self, name: &str, value: &str) -> Result<()> {
        let (name, value) = check(name, value, true)?;
        self.start.insert(name.clone(), value.clone());
        self.session.insert(name, value);
        self.settle();
        Ok(())
    }

    /// SET; without a value DEFAULT.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        let (name, value) = match value {
            Some(value) => check(name, value, false)?,
            None => {
                settable(name, false)?;
                let name = name.to_lowercase();
                let default = self.start.get(&name).cloned().unwrap_or_else(|| default_of(&name).to_string());
                (name, default)
            }
        };
        if local || OF_TRANSACTION.iter().any(|(of_transaction, _)| *of_transaction == name) {
            // Outside of a block it has no effect (PostgreSQL warns).
            if self.before_block.is_some() {
                self.local.insert(name, value);
            }
        } else {
            self.local.remove(&name);
            self.session.insert(name, value);
        }
        self.settle();
        Ok(())
    }

    /// Puts a value in force that is no user's to set.
    pub(crate) fn put(&mut self, name: &str, value: &str) {
        self.session.insert(name.to_lowercase(), value.into());
        self.settle();
    }

    /// SET ROLE and SET SESSION AUTHORIZATION of a name that was checked; nothing else sets them.
    pub(crate) fn set_user(&mut self, setting: &str, name: &str, local: bool) {
        if !local {
            self.local.remove(setting);
            self.session.insert(setting.into(), name.into());
        } else if self.before_block.is_some() {
            self.local.insert(setting.into(), name.into());
        }
        self.settle();
    }

    /// RESET ALL; who the session is stays, as in PostgreSQL.
    pub(crate) fn reset_all(&mut self) {
        let stay = ["role", "session_authorization"].map(|name| Some((name.to_string(), self.session.remove(name)?)));
        self.session = self.start.clone();
        self.session.extend(stay.into_iter().flatten());
        self.local.clear();
        self.settle();
    }

    /// A block begins.
    pub(crate) fn begin(&mut self) {
        self.before_block = Some(self.session.clone());
    }

    /// A block ends.
    pub(crate) fn end(&mut self, committed: bool) {
        let had_local = !std::mem::take(&mut self.local).is_empty();
        let before = self.before_block.take().filter(|before| !committed && *before != self.session);
        if had_local || before.is_some() {
            self.session = before.unwrap_or_else(|| std::mem::take(&mut self.session));
            self.settle();
        }
    }

    /// The values now.
    pub(crate) fn mark(&self) -> Mark {
        Mark { session: self.session.clone(), local: self.local.clone() }
    }

    /// Goes back to the values of then.
    pub(crate) fn back_to(&mut self, mark: Mark) {
        (self.session, self.local) = (mark.session, mark.local);
        self.settle();
    }

    /// SHOW.
    pub(crate) fn get(&self, name: &str) -> Result<&str> {
        let key = name.to_lowercase();
        if find(&key).is_none() && !self.session.contains_key(&key) && !self.local.contains_key(&key) {
            return Err(unrecognized(name));
        }
        Ok(self.known(&key))
    }

    /// The value of a name in lower case.
    fn known(&self, key: &str) -> &str {
        if let Some(value) = self.local.get(key) {
            return value;
        }
        let key = OF_TRANSACTION.iter().find(|(name, _)| *name == key).map_or(key, |(_, default)| *default);
        self.session.get(key).map_or_else(|| default_of(key), String::as_str)
    }

    /// `TimeZone`.
    pub(crate) fn zone(&self) -> &str {
        self.known("timezone")
    }

    /// Whether `client_min_messages` keeps messages of this severity from the client.
    pub(crate) fn is_silent(&self, severity: Severity) -> bool {
        match self.known("client_min_messages") {
            "error" => true,
            "warning" => severity == Severity::Notice,
            _ => false,
        }
    }

    /// Whether the transaction may change nothing.
    pub(crate) fn is_read_only(&self) -> bool {
        self.settled.read_only
    }

    /// The names in `search_path` as they are written, `$user` too.
    pub(crate) fn search_path(&self) -> Vec<String> {
        values::names(self.known("search_path")).unwrap_or_default()
    }

    /// The settings a client is told of, with its spelling of their names.
    pub(crate) fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        REPORTED.iter().map(|setting| (setting.name, self.known(&setting.key)))
    }

    /// All: name, value, what it does here.
    pub(crate) fn all(&self) -> Vec<(String, String, &'static str)> {
        let listed = SETTINGS.iter().map(|known| (known.name.to_string(), self.known(&known.key).into(), known.about));
        let custom = self.session.iter().filter(|(name, _)| name.contains('.'));
        let mut all: Vec<_> = listed.chain(custom.map(|(name, value)| (name.clone(), value.clone(), ""))).collect();
        all.sort_by_key(|(name, ..)| name.to_lowercase());
        all
    }

    /// What `pg_settings` shows: each setting with its value and what RESET goes back to.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (&'static Setting, &str, &str)> {
        SETTINGS.iter().map(|setting| {
            let reset = self.start.get(&setting.key).map_or(setting.default.as_str(), String::as_str);
            (setting, self.known(&setting.key), reset)
        })
    }
}

/// The name of a setting as PostgreSQL spells it.
pub(crate) fn spelled(name: &str) -> String {
    find(name).map_or_else(|| name.to_string(), |setting| setting.name.to_string())
}

fn default_of(key: &str) -> &'static str {
    find(key).map_or("", |setting| setting.default.as_str())
}

fn unrecognized(name: &str) -> Error {
    let error = Error::new(SqlState::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""));
    let lower = name.to_lowercase();
    match crate::catalog::nearest(&lower, SETTINGS.iter().map(|setting| setting.name)) {
        Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
        None => error,
    }
}

fn settable(name: &str, at_start: bool) -> Result<Option<&'static Setting>> {
    match find(name) {
        Some(setting) => setting.changes(at_start).map(|()| Some(setting)),
        // Names with a dot are the application's own, as in PostgreSQL.
        None if name.contains('.') => Ok(None),
        None => Err(unrecognized(name)),
    }
}

/// The name in lower case and the value as SHOW prints it.
fn check(name: &str, value: &str, at_start: bool) -> Result<(String, String)> {
    let canonical = match settable(name, at_start)? {
        None => value.to_string(),
        Some(setting) => setting.canonical(value.trim())?,
    };
    Ok((name.to_lowercase(), canonical))
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
            "22023 7 is outside the valid range for parameter \"extra_float_digits\" (-15 .. 3)"
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
        assert_eq!(settings.settled().statement_timeout, Some(std::time::Duration::from_secs(120)));
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
