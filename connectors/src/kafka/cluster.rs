//! A cluster from outside of any source: topics made, looked at and marked, for `thalweg produce`
//! and `thalweg demo --kafka`.
//!
//! Promises: a topic is made only when asked for, and can be written to when [`Cluster::create_topic`]
//! returns. Reads no rows.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::Offsets;

use super::client::{Client, connect, find_topic, offsets};
use super::properties::{self, sentence};

/// How long the cluster is waited for.
const PATIENCE: Duration = Duration::from_millis(4500);
/// How long making or deleting a topic may take.
const ADMIN_PATIENCE: Duration = Duration::from_secs(30);
/// The header that marks a topic as one that Thalweg's demo made.
const MARK: &str = "thalweg-demo";

/// A cluster.
pub struct Cluster {
    bootstrap: String,
    config: ClientConfig,
    asker: Arc<Client>,
}

impl Cluster {
    /// A cluster at `bootstrap`, with further librdkafka properties (names without a prefix).
    /// Nobody is asked yet.
    ///
    /// # Errors
    /// 22023 for a property that is unknown or wrong.
    pub fn new(bootstrap: &str, more: &BTreeMap<String, String>) -> Result<Cluster> {
        properties::check(more)?;
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        config.set("client.id", "thalweg");
        for (name, value) in more {
            config.set(name.as_str(), value.as_str());
        }
        config.set("bootstrap.servers", bootstrap);
        config.set("allow.auto.create.topics", "false");
        let asker = connect(&config)?;
        Ok(Cluster { bootstrap: bootstrap.to_string(), config, asker })
    }

    /// What every client of this cluster is configured with.
    pub(super) fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// How many partitions a topic has; `None` if there is no such topic.
    ///
    /// # Errors
    /// 08001, 28000 if the cluster cannot be reached within 5 seconds.
    pub fn partitions(&self, topic: &str) -> Result<Option<usize>> {
        match find_topic(&self.asker, &self.bootstrap, topic, Instant::now() + PATIENCE) {
            Ok(found) => Ok(Some(found.partitions.len())),
            Err(error) if error.state() == SqlState::UndefinedObject => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The end offsets of a topic.
    ///
    /// # Errors
    /// As [`Cluster::partitions`]; 08006 if the leaders cannot be reached; 42704.
    pub fn end(&self, topic: &str) -> Result<Offsets> {
        self.at(topic, Offset::End)
    }

    fn at(&self, topic: &str, point: Offset) -> Result<Offsets> {
        let deadline = Instant::now() + PATIENCE;
        let found = find_topic(&self.asker, &self.bootstrap, topic, deadline)?;
        offsets(&self.asker, topic, &found, point, deadline)
    }

    /// Makes a topic with the cluster's own replication and these settings of the topic's, and
    /// waits until all its partitions have leaders.
    ///
    /// # Errors
    /// 42710 if it exists; 08006 if it is not there after 30 seconds; 22023 if the cluster refuses.
    pub fn create_topic(&self, topic: &str, partitions: usize, settings: &[(&str, &str)]) -> Result<()> {
        let count = i32::try_from(partitions).unwrap_or(i32::MAX);
        let mut new = NewTopic::new(topic, count, TopicReplication::Fixed(-1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let admin = self.admin()?;
        // Asked first, so that a cluster that is away is told as such.
        self.partitions(topic)?;
        let answer = block_on(admin.create_topics([&new], &admin_options()));
        self.judge(topic, "created", answer)?;
        self.await_partitions(topic, partitions)
    }

    /// Adds partitions to a topic, so that it has `total`.
    ///
    /// # Errors
    /// As [`Cluster::create_topic`].
    pub fn add_partitions(&self, topic: &str, total: usize) -> Result<()> {
        let admin = self.admin()?;
        let answer = block_on(admin.create_partitions([&NewPartitions::new(topic, total)], &admin_options()));
        self.judge(topic, "extended", answer)?;
        self.await_partitions(topic, total)
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// 22023 if the cluster refuses.
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        let answer = block_on(self.admin()?.delete_topics(&[topic], &admin_options()));
        self.judge(topic, "deleted", answer)
    }

    /// Marks a new, empty topic as made by the demo: a record without payload, which sources skip
    /// and count as a tombstone, as the first one of partition 0, with `mark` in a header.
    ///
    /// # Errors
    /// 08006 if it is not acknowledged.
    pub fn mark(&self, topic: &str, mark: &str) -> Result<()> {
        let failed = |error: KafkaError| {
            Error::new(SqlState::ConnectionFailure, format!("topic \"{topic}\" cannot be written to"))
                .detail(sentence(&error.to_string()))
        };
        let mut config = self.config.clone();
        config.set("acks", "all").set("enable.idempotence", "true").set("message.timeout.ms", "15000");
        let producer: BaseProducer = config.create().map_err(failed)?;
        let headers = OwnedHeaders::new().insert(Header { key: MARK, value: Some(mark) });
        producer
            .send(BaseRecord::<str, str>::to(topic).partition(0).headers(headers))
            .map_err(|(error, _)| failed(error))?;
        producer.flush(Duration::from_secs(20)).map_err(failed)?;
        match self.mark_of(topic)? {
            Some(found) if found == mark => Ok(()),
            _ => Err(Error::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!("topic \"{topic}\" was written to by others"),
            )),
        }
    }

    /// What [`Cluster::mark`] wrote into a topic; `None` if the demo did not make it.
    ///
    /// # Errors
    /// As [`Cluster::end`].
    pub fn mark_of(&self, topic: &str) -> Result<Option<String>> {
        let first = self.at(topic, Offset::Beginning)?.get(&0).copied().unwrap_or(0);
        if self.end(topic)?.get(&0).copied().unwrap_or(0) <= first {
            return Ok(None);
        }
        let failed = |error: KafkaError| {
            Error::new(SqlState::ConnectionFailure, format!("topic \"{topic}\" cannot be read"))
                .detail(sentence(&error.to_string()))
        };
        let mut config = self.config.clone();
        config.set("group.id", "thalweg-mark").set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer = config.create().map_err(failed)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(first)).map_err(failed)?;
        consumer.assign(&list).map_err(failed)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                let mark = message.headers().and_then(|headers| headers.iter().find(|header| header.key == MARK));
                return Ok(mark
                    .and_then(|header| header.value)
                    .map(|value| String::from_utf8_lossy(value).into_owned()));
            }
        }
        Err(Error::new(SqlState::ConnectionFailure, format!("topic \"{topic}\" cannot be read"))
            .detail("Its first record did not come in time."))
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.config.create().map_err(|error: KafkaError| {
            Error::new(SqlState::InvalidParameter, "the Kafka properties do not go together")
                .detail(sentence(&error.to_string()))
        })
    }

    fn judge(
        &self,
        topic: &str,
        what: &str,
        answer: std::result::Result<Vec<rdkafka::admin::TopicResult>, KafkaError>,
    ) -> Result<()> {
        let code = match answer {
            Ok(results) => match results.into_iter().find_map(std::result::Result::err) {
                None => return Ok(()),
                Some((_, code)) => code,
            },
            Err(error) => error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail),
        };
        let message = format!("topic \"{topic}\" cannot be {what}");
        Err(match code {
            RDKafkaErrorCode::TopicAlreadyExists => {
                Error::new(SqlState::DuplicateObject, format!("Kafka topic \"{topic}\" exists already"))
            }
            RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::BrokerTransportFailure => {
                Error::new(SqlState::ConnectionFailure, message).detail(sentence(&code.to_string()))
            }
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                Error::new(SqlState::InvalidAuthorization, message).detail(sentence(&code.to_string()))
            }
            _ => Error::new(SqlState::InvalidParameter, message).detail(sentence(&code.to_string())),
        })
    }

    fn await_partitions(&self, topic: &str, count: usize) -> Result<()> {
        let deadline = Instant::now() + ADMIN_PATIENCE;
        loop {
            let last = match find_topic(&self.asker, &self.bootstrap, topic, Instant::now() + PATIENCE) {
                Ok(found) if found.partitions.len() >= count => {
                    match offsets(&self.asker, topic, &found, Offset::End, Instant::now() + PATIENCE) {
                        Ok(_) => return Ok(()),
                        Err(error) => error,
                    }
                }
                Ok(_) => {
                    Error::new(SqlState::ConnectionFailure, format!("topic \"{topic}\" does not get its partitions"))
                }
                Err(error) => error,
            };
            if Instant::now() >= deadline {
                return Err(last);
            }
            // A metadata request is answered at once; do not flood the broker with them.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ADMIN_PATIENCE)).operation_timeout(Some(ADMIN_PATIENCE))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread: the admin client's are woken by a thread of their own.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = TaskContext::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
