//! A librdkafka client that asks and reads, what it has heard going wrong, and the questions that
//! can be asked: metadata and offsets.
//!
//! Promises: every question has a deadline; an error names the address or topic at fault, with a
//! SQLSTATE by its kind (not reachable, refused, missing). Never creates a topic.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::Offsets;

use super::properties::{near_names, sentence};

/// How long one question waits before the client's errors are looked at again.
const SLICE: Duration = Duration::from_millis(400);
/// How long a client whose every known address refused goes on trying: a name may stand for
/// several addresses, of which only one answers.
const GRACE: Duration = Duration::from_millis(1500);
/// How many of the last errors are remembered.
const REMEMBERED: usize = 32;

/// What librdkafka says when a broker took a connection and closed it again.
const HUNG_UP: &[&str] = &["security.protocol", "SSL listener", "Disconnected", "Broken pipe", "Connection reset"];

/// A client with our memory of its errors.
pub(crate) type Client = BaseConsumer<Context>;

/// What a client has heard.
#[derive(Default)]
pub(crate) struct Context {
    heard: Mutex<VecDeque<(RDKafkaErrorCode, String)>>,
}

impl Context {
    /// The errors since the last call, oldest first.
    pub(super) fn heard(&self) -> Vec<(RDKafkaErrorCode, String)> {
        self.heard.lock().drain(..).collect()
    }
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", "{facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let mut heard = self.heard.lock();
        if heard.len() == REMEMBERED {
            heard.pop_front();
        }
        heard.push_back((code, reason.to_string()));
    }
}

impl ConsumerContext for Context {}

/// Makes a client.
///
/// # Errors
/// 22023 if librdkafka refuses the properties together (a certificate file that is not there).
pub(crate) fn connect(config: &ClientConfig) -> Result<Arc<Client>> {
    match config.create_with_context::<Context, Client>(Context::default()) {
        Ok(client) => Ok(Arc::new(client)),
        Err(KafkaError::ClientCreation(text)) => {
            Err(Error::new(SqlState::InvalidParameter, "the Kafka properties do not go together")
                .detail(sentence(&text)))
        }
        Err(other) => Err(Error::new(SqlState::InvalidParameter, "the Kafka properties are not valid")
            .detail(sentence(&other.to_string()))),
    }
}

/// A topic as its cluster describes it.
pub(crate) struct Topic {
    /// Its partitions, in order, with their leader (-1: none for now).
    pub(crate) partitions: Vec<(i32, i32)>,
    /// Broker id to `host:port` as advertised.
    pub(crate) brokers: Vec<(i32, String)>,
}

impl Topic {
    /// The partitions' numbers.
    pub(crate) fn ids(&self) -> Vec<i32> {
        self.partitions.iter().map(|(id, _)| *id).collect()
    }

    fn leaders(&self) -> Vec<&str> {
        let leads = |id: &i32| self.partitions.iter().any(|(_, leader)| leader == id);
        self.brokers.iter().filter(|(id, _)| leads(id)).map(|(_, address)| address.as_str()).collect()
    }
}

/// One look at a topic's metadata.
pub(super) enum Glance {
    Found(Topic),
    Missing,
    Refused,
    /// No answer, or the topic is just being made.
    NotNow,
}

/// Asks once, for at most `timeout`.
pub(super) fn glance(client: &Client, topic: &str, timeout: Duration) -> Glance {
    let Ok(metadata) = client.fetch_metadata(Some(topic), timeout) else { return Glance::NotNow };
    let Some(found) = metadata.topics().iter().find(|one| one.name() == topic) else { return Glance::Missing };
    match found.error() {
        Some(
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
        ) => Glance::Missing,
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) => Glance::Refused,
        Some(_) => Glance::NotNow,
        None if found.partitions().is_empty() => Glance::Missing,
        None => Glance::Found(describe(&metadata, topic)),
    }
}

fn describe(metadata: &Metadata, topic: &str) -> Topic {
    let partitions = metadata.topics().iter().filter(|one| one.name() == topic).flat_map(|one| one.partitions());
    let mut partitions: Vec<(i32, i32)> = partitions.map(|one| (one.id(), one.leader())).collect();
    partitions.sort_unstable();
    let brokers = metadata.brokers().iter().map(|one| (one.id(), format!("{}:{}", one.host(), one.port()))).collect();
    Topic { partitions, brokers }
}

/// Describes a topic, or says why it cannot be read.
///
/// # Errors
/// 08001, 08006 or 28000 if no broker answers until `deadline`; 42704 if there is no such topic.
pub(crate) fn find_topic(client: &Client, bootstrap: &str, topic: &str, deadline: Instant) -> Result<Topic> {
    let mut heard = Vec::new();
    let mut refused_since = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match glance(client, topic, SLICE.min(left.max(Duration::from_millis(1)))) {
            Glance::Found(found) => return Ok(found),
            Glance::Missing => return Err(missing(client, topic, deadline)),
            Glance::Refused => return Err(not_authorized(topic)),
            Glance::NotNow => {}
        }
        listen(client, &mut heard);
        let fatal = heard.iter().any(|(code, _)| is_refusal(*code));
        if refused_since.is_none() && heard.iter().any(|(code, _)| *code == RDKafkaErrorCode::AllBrokersDown) {
            refused_since = Some(Instant::now());
        }
        if fatal || left.is_zero() || refused_since.is_some_and(|since| since.elapsed() > GRACE) {
            return Err(unreachable(bootstrap, &heard));
        }
    }
}

/// The offsets of partitions at a point: `Beginning`, `End`, or a time in milliseconds
/// (`Offset::Offset`), which gives the end where no record is that late. Asks the partitions'
/// leaders, so it tells whether they are reachable.
///
/// # Errors
/// 08006 naming the leaders' addresses if they do not answer until `deadline`; 28000.
pub(crate) fn offsets(client: &Client, name: &str, topic: &Topic, point: Offset, deadline: Instant) -> Result<Offsets> {
    let mut heard = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let last =
            match offsets_once(client, name, &topic.ids(), point, left.clamp(Duration::from_millis(1), 2 * SLICE)) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
        listen(client, &mut heard);
        if last.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
            return Err(not_authorized(name));
        }
        if left.is_zero() || heard.iter().any(|(code, _)| is_refusal(*code)) {
            return Err(leaders_unreachable(name, topic, &heard, &last));
        }
    }
}

/// One try of [`offsets`], for the control thread.
pub(super) fn offsets_once(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    point: Offset,
    timeout: Duration,
) -> KafkaResult<Offsets> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(topic, *partition, point)?;
    }
    let answer = client.offsets_for_times(list, timeout)?;
    let mut found = Offsets::new();
    let mut open = Vec::new();
    for element in answer.elements() {
        element.error()?;
        match element.offset() {
            Offset::Offset(offset) => {
                found.insert(element.partition(), offset);
            }
            // No record is as late as the time asked for.
            Offset::End if point != Offset::End => open.push(element.partition()),
            _ => return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset)),
        }
    }
    if !open.is_empty() {
        found.extend(offsets_once(client, topic, &open, Offset::End, timeout)?);
    }
    Ok(found)
}

fn listen(client: &Client, heard: &mut Vec<(RDKafkaErrorCode, String)>) {
    while client.poll(Duration::ZERO).is_some() {}
    heard.extend(client.context().heard());
}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::SSL
    ) || matches!(code, RDKafkaErrorCode::UnsupportedSASLMechanism)
}

/// What the errors of a client that reaches nobody mean.
pub(super) fn unreachable(bootstrap: &str, heard: &[(RDKafkaErrorCode, String)]) -> Error {
    if let Some(error) = refusal(bootstrap, heard) {
        return error;
    }
    let telling = |(code, _): &&(RDKafkaErrorCode, String)| *code != RDKafkaErrorCode::AllBrokersDown;
    let texts = || heard.iter().rev().filter(telling).map(|(_, text)| text.as_str());
    let hung_up = |text: &&str| HUNG_UP.iter().any(|sign| text.contains(sign));
    let reason = texts().find(hung_up).or_else(|| texts().next());
    let error = Error::new(SqlState::ConnectionRefused, format!("cannot reach Kafka at \"{bootstrap}\""));
    let error = match reason {
        Some(text) => error.detail(sentence(text)),
        None => error.detail("No broker answered in time."),
    };
    match reason {
        Some(text) if hung_up(&text) => {
            error.hint("The broker closed the connection: check properties.security.protocol against its listener.")
        }
        // A listener that wants SASL takes the connection and then just closes it.
        None => error.hint(
            "Check properties.bootstrap.server and properties.security.protocol: a listener that speaks another protocol does not answer.",
        ),
        _ => error.hint("Check properties.bootstrap.server, and that the broker is running."),
    }
}

fn refusal(address: &str, heard: &[(RDKafkaErrorCode, String)]) -> Option<Error> {
    let (code, text) = heard.iter().find(|(code, _)| is_refusal(*code))?;
    let error = if *code == RDKafkaErrorCode::SSL {
        Error::new(SqlState::InvalidAuthorization, format!("the TLS handshake with Kafka at \"{address}\" failed"))
            .hint("Check properties.ssl.ca.location, the other properties.ssl.* and properties.security.protocol.")
    } else {
        Error::new(SqlState::InvalidAuthorization, format!("Kafka at \"{address}\" refused the authentication"))
            .hint("Check properties.sasl.mechanism, properties.sasl.username and properties.sasl.password.")
    };
    Some(error.detail(sentence(text)))
}

fn leaders_unreachable(name: &str, topic: &Topic, heard: &[(RDKafkaErrorCode, String)], last: &KafkaError) -> Error {
    let leaders = topic.leaders();
    if leaders.is_empty() {
        return Error::new(SqlState::ConnectionFailure, format!("the partitions of topic \"{name}\" have no leader"))
            .hint("The brokers that hold them are down, or have only just started.");
    }
    let addresses = leaders.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ");
    if let Some(error) = refusal(leaders[0], heard) {
        return error;
    }
    let at_leader = |text: &str| leaders.iter().any(|leader| text.contains(leader));
    let reason =
        heard.iter().rev().find(|(_, text)| at_leader(text)).map_or_else(|| last.to_string(), |(_, text)| text.clone());
    Error::new(SqlState::ConnectionFailure, format!("Kafka answers, but its advertised listener {addresses} cannot be reached"))
        .detail(sentence(&reason))
        .hint(format!(
            "The broker gives this address to its clients (advertised.listeners in its configuration): it must be one that this machine can reach, and {addresses} is not."
        ))
}

fn not_authorized(topic: &str) -> Error {
    Error::new(SqlState::InvalidAuthorization, format!("not authorized to read topic \"{topic}\""))
        .hint("The user needs the ACLs Read and Describe on the topic.")
}

/// 42704, with the names that are near.
fn missing(client: &Client, topic: &str, deadline: Instant) -> Error {
    let error = Error::new(SqlState::UndefinedObject, format!("Kafka topic \"{topic}\" does not exist"));
    let left = deadline.saturating_duration_since(Instant::now()).clamp(SLICE, 4 * SLICE);
    let Ok(all) = client.fetch_metadata(None, left) else { return error };
    let names: Vec<&str> = all.topics().iter().map(|one| one.name()).filter(|name| !name.starts_with("__")).collect();
    if names.is_empty() {
        return error.hint("The cluster has no topics.");
    }
    let near = near_names(topic, names.iter().copied());
    if !near.is_empty() {
        return error.hint(format!("Perhaps you meant {}.", quoted(&near)));
    }
    let few: Vec<&str> = names.iter().copied().take(10).collect();
    let more = if names.len() > few.len() { " and others" } else { "" };
    error.hint(format!("The cluster has {}{more}.", quoted(&few)))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}
