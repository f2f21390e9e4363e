//! `properties.*`: the options that go straight to librdkafka, checked by name and value.
//!
//! Promises: an unknown name is an error with the nearest known one; a name that Thalweg sets
//! itself is refused; no value of a secret is ever part of a message. Opens no connection.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka_sys::types::RDKafkaConfRes;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::native;
use crate::options::is_secret;

/// Properties without a default, which librdkafka's own list leaves out.
const WITHOUT_DEFAULT: &[&str] = &[
    "bootstrap.servers",
    "client.rack",
    "debug",
    "group.instance.id",
    "https.ca.location",
    "metadata.broker.list",
    "plugin.library.paths",
    "sasl.kerberos.keytab",
    "sasl.mechanism",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.sigalgs.list",
    "topic.blacklist",
];

/// What the reader sets itself, because exactly once rests on it.
const OURS: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "Thalweg never creates a topic by reading it."),
    ("auto.offset.reset", "Thalweg never jumps over records; see scan.startup.mode for where to start."),
    ("enable.auto.commit", "Thalweg commits the offsets of what its views hold."),
    ("enable.auto.offset.store", "Thalweg commits the offsets of what its views hold."),
    ("enable.partition.eof", "Thalweg needs it to know that it has read everything."),
    ("group.id", "Set group.id.prefix instead: the group is <prefix>-<source>."),
];

/// Checks `properties.*` (names without the prefix) one by one.
///
/// # Errors
/// 22023 for an unknown name, a value that librdkafka refuses, or a name that is not the user's.
pub(super) fn check(properties: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in properties {
        if let Some((_, why)) = OURS.iter().find(|(ours, _)| ours == name) {
            return Err(Error::new(SqlState::InvalidParameter, format!("option \"properties.{name}\" cannot be set"))
                .hint(*why));
        }
        let mut config = ClientConfig::new();
        config.set(name.as_str(), value.as_str());
        match config.create_native_config() {
            Ok(_) => {}
            Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => return Err(unknown(name)),
            Err(KafkaError::ClientConfig(_, text, ..)) => return Err(invalid(name, value, &text)),
            Err(other) => return Err(invalid(name, value, &other.to_string())),
        }
    }
    Ok(())
}

fn unknown(name: &str) -> Error {
    let error = Error::new(SqlState::InvalidParameter, format!("unknown Kafka property \"{name}\""));
    match nearest(name) {
        Some(near) => error.hint(format!("Perhaps you meant \"properties.{near}\".")),
        None => error.hint("The names are those of librdkafka's CONFIGURATION.md, with \"properties.\" before them."),
    }
}

fn invalid(name: &str, value: &str, text: &str) -> Error {
    if is_secret(&format!("properties.{name}")) {
        return Error::new(SqlState::InvalidParameter, format!("invalid value for Kafka property \"{name}\""));
    }
    Error::new(SqlState::InvalidParameter, format!("invalid value \"{value}\" for Kafka property \"{name}\""))
        .detail(sentence(text))
}

/// A library's message as a sentence.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) { text.to_string() } else { format!("{text}.") }
}

/// The known name that is nearest to a wrong one, if any is near at all.
fn nearest(name: &str) -> Option<&'static str> {
    near_names(name, names().iter().map(String::as_str)).into_iter().next()
}

/// Those of `known` that are near `name`, the nearest first, at most three.
pub(super) fn near_names<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<(f64, &str)> = known
        .map(|one| {
            let other = one.to_lowercase();
            let contains =
                wanted.len() >= 4 && other.len() >= 4 && (other.contains(&wanted) || wanted.contains(&other));
            let likeness = strsim::normalized_damerau_levenshtein(&wanted, &other);
            (if contains { likeness.max(0.75) } else { likeness }, one)
        })
        .filter(|(score, _)| *score >= 0.6)
        .collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(right.1)));
    scored.into_iter().take(3).map(|(_, one)| one).collect()
}

fn names() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names = native::property_names();
        names.extend(WITHOUT_DEFAULT.iter().map(|name| name.to_string()));
        names.sort_unstable();
        names.dedup();
        names
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<()> {
        check(&BTreeMap::from([(name.to_string(), value.to_string())]))
    }

    #[test]
    fn every_listed_name_is_one() {
        for name in WITHOUT_DEFAULT {
            if let Err(error) = checked(name, "") {
                assert!(!error.message().starts_with("unknown"), "{error}");
            }
        }
        assert!(names().len() > 100);
    }

    #[test]
    fn unknown_and_wrong() {
        let error = checked("sasl.usrname", "x").unwrap_err();
        assert_eq!(error.message(), "unknown Kafka property \"sasl.usrname\"");
        assert_eq!(error.hint_text(), Some("Perhaps you meant \"properties.sasl.username\"."));
        assert_eq!(error.state(), SqlState::InvalidParameter);
        let error = checked("security.protocol", "tls").unwrap_err();
        assert_eq!(error.message(), "invalid value \"tls\" for Kafka property \"security.protocol\"");
        assert!(checked("group.id", "x").is_err());
        checked("fetch.min.bytes", "1").unwrap();
    }
}
