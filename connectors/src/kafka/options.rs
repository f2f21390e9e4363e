//! The WITH options of a Kafka source, understood and checked.
//!
//! Promises: every option is either used or an error that names it. Opens no connection.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::SourceDefinition;

use super::properties;
use crate::options::Options;

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Startup {
    /// With the oldest record that Kafka holds.
    Earliest,
    /// Behind the newest one.
    Latest,
    /// With the first record of this time or later, in milliseconds since 1970.
    Timestamp(i64),
}

/// The options of one source.
#[derive(Clone)]
pub(super) struct KafkaOptions {
    pub(super) topic: String,
    pub(super) bootstrap: String,
    pub(super) startup: Startup,
    /// The consumer group that offsets are committed to.
    pub(super) group: String,
    /// What goes to librdkafka, `bootstrap.servers` among it.
    properties: BTreeMap<String, String>,
}

impl std::fmt::Debug for KafkaOptions {
    /// Without the properties: there are secrets in them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "kafka topic {} at {}", self.topic, self.bootstrap)
    }
}

impl KafkaOptions {
    /// Reads the options of a definition.
    ///
    /// # Errors
    /// 22023 for a missing, unknown or wrong option; 0A000 for `on_offset_loss = 'earliest'`.
    pub(super) fn parse(definition: &SourceDefinition) -> Result<KafkaOptions> {
        let mut given = Options::new("connector \"kafka\"", &definition.options);
        let _ = given.text("connector");
        let topic = given.required("topic")?.trim().to_string();
        check_topic_name(&topic)?;
        let mut properties = BTreeMap::new();
        for (name, value) in given.prefixed("properties.") {
            let name = match name.as_str() {
                "bootstrap.server" | "metadata.broker.list" => "bootstrap.servers",
                other => other,
            };
            insert(&mut properties, name, &value)?;
        }
        let startup = startup(&mut given)?;
        let prefix = given.text("group.id.prefix").unwrap_or_else(|| "thalweg".into());
        if given.choice("on_offset_loss", &["error", "earliest"])? == Some(1) {
            return Err(Error::unsupported("on_offset_loss = 'earliest'"));
        }
        // Named here only so that a wrong spelling is told the right one.
        let _ = given.text("properties.bootstrap.server");
        given.finish()?;
        let bootstrap = properties.get("bootstrap.servers").cloned().unwrap_or_default();
        if bootstrap.trim().is_empty() {
            return Err(Error::new(
                SqlState::InvalidParameter,
                "connector \"kafka\" requires option \"properties.bootstrap.server\"",
            )
            .hint("It names the brokers: properties.bootstrap.server = 'host:9092'."));
        }
        properties::check(&properties)?;
        let group = format!("{prefix}-{}", definition.name);
        Ok(KafkaOptions { topic, bootstrap, startup, group, properties })
    }

    /// The configuration of a client that asks questions.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        // Defaults first, so that a property of the user's overrides them.
        for (name, value) in [
            ("client.id", "thalweg"),
            ("isolation.level", "read_committed"),
            ("reconnect.backoff.ms", "100"),
            ("reconnect.backoff.max.ms", "2000"),
            ("socket.connection.setup.timeout.ms", "4000"),
            ("socket.keepalive.enable", "true"),
            ("topic.metadata.refresh.interval.ms", "60000"),
        ] {
            config.set(name, value);
        }
        for (name, value) in &self.properties {
            config.set(name.as_str(), value.as_str());
        }
        config.set("allow.auto.create.topics", "false");
        config.set("auto.offset.reset", "error");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config
    }

    /// The configuration of a client that reads.
    pub(super) fn reader(&self) -> ClientConfig {
        let mut config = self.client();
        for (name, value) in [
            ("fetch.wait.max.ms", "10"),
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.error.backoff.ms", "200"),
            ("queued.min.messages", "100000"),
            ("queued.max.messages.kbytes", "32768"),
            ("fetch.max.bytes", "16777216"),
        ] {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        config.set("enable.partition.eof", "true");
        config
    }

    /// The configuration of a client that commits the group's offsets.
    pub(super) fn committer(&self) -> ClientConfig {
        let mut config = self.client();
        config.set("group.id", self.group.as_str());
        config
    }
}

fn insert(properties: &mut BTreeMap<String, String>, name: &str, value: &str) -> Result<()> {
    match properties.insert(name.to_string(), value.to_string()) {
        Some(other) if other != value => {
            Err(Error::new(SqlState::InvalidParameter, format!("option \"properties.{name}\" is given twice")))
        }
        _ => Ok(()),
    }
}

fn check_topic_name(topic: &str) -> Result<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if topic.len() <= 249 && topic != "." && topic != ".." && topic.bytes().all(legal) {
        return Ok(());
    }
    Err(Error::new(SqlState::InvalidParameter, format!("invalid topic name \"{topic}\""))
        .detail("A topic's name has at most 249 characters, each a letter, a digit, '.', '_' or '-'."))
}

fn startup(given: &mut Options) -> Result<Startup> {
    let mode = given.choice("scan.startup.mode", &["earliest", "latest", "timestamp"])?;
    let stamp = given.integer("scan.startup.timestamp.millis", 0..=i64::MAX / 1000)?;
    match (mode, stamp) {
        (None | Some(2), Some(millis)) => Ok(Startup::Timestamp(millis)),
        (None | Some(0), None) => Ok(Startup::Earliest),
        (Some(1), None) => Ok(Startup::Latest),
        (_, None) => Err(Error::new(
            SqlState::InvalidParameter,
            "option \"scan.startup.mode\" = 'timestamp' requires option \"scan.startup.timestamp.millis\"",
        )),
        (_, Some(_)) => Err(Error::new(
            SqlState::InvalidParameter,
            "options \"scan.startup.mode\" and \"scan.startup.timestamp.millis\" contradict each other",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<KafkaOptions> {
        let mut all = BTreeMap::from([("connector".to_string(), "kafka".to_string())]);
        all.extend(options.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        KafkaOptions::parse(&SourceDefinition {
            name: "events".into(),
            columns: Vec::new(),
            includes: Vec::new(),
            options: all,
            format: None,
            start: BTreeMap::new(),
        })
    }

    const BROKER: (&str, &str) = ("properties.bootstrap.server", "b:9092");

    #[test]
    fn understood() {
        let options = parse(&[("topic", "t"), BROKER, ("properties.sasl.password", "hush")]).unwrap();
        assert_eq!((options.startup, options.group.as_str()), (Startup::Earliest, "thalweg-events"));
        assert_eq!(options.client().get("bootstrap.servers"), Some("b:9092"));
        assert!(!format!("{options:?}").contains("hush"));
        let latest =
            parse(&[("topic", "t"), BROKER, ("scan.startup.mode", "latest"), ("group.id.prefix", "x")]).unwrap();
        assert_eq!((latest.startup, latest.group.as_str()), (Startup::Latest, "x-events"));
        let stamp = parse(&[("topic", "t"), BROKER, ("scan.startup.timestamp.millis", "12")]).unwrap();
        assert_eq!(stamp.startup, Startup::Timestamp(12));
        let tuned = parse(&[("topic", "t"), BROKER, ("properties.fetch.wait.max.ms", "500")]).unwrap();
        assert_eq!(tuned.reader().get("fetch.wait.max.ms"), Some("500"));
    }

    #[test]
    fn refused() {
        for (options, message) in [
            (vec![BROKER], "connector \"kafka\" requires option \"topic\""),
            (vec![("topic", "t")], "connector \"kafka\" requires option \"properties.bootstrap.server\""),
            (vec![("topic", "a b"), BROKER], "invalid topic name \"a b\""),
            (
                vec![("topic", "t"), BROKER, ("scan.startup.mod", "x")],
                "unrecognized option \"scan.startup.mod\" for connector \"kafka\"",
            ),
            (
                vec![("topic", "t"), BROKER, ("scan.startup.mode", "oldest")],
                "invalid value for option \"scan.startup.mode\": \"oldest\"",
            ),
            (
                vec![("topic", "t"), BROKER, ("scan.startup.timestamp.millis", "-1")],
                "invalid value for option \"scan.startup.timestamp.millis\": \"-1\"",
            ),
            (
                vec![("topic", "t"), BROKER, ("on_offset_loss", "earliest")],
                "on_offset_loss = 'earliest' is not supported",
            ),
            (
                vec![("topic", "t"), BROKER, ("properties.group.id", "g")],
                "option \"properties.group.id\" cannot be set",
            ),
        ] {
            assert_eq!(parse(&options).unwrap_err().message(), message);
        }
    }
}
