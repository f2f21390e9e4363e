//! Writes records: acks=all, idempotent, and a ledger of what is acknowledged.
//!
//! Promises: [`Delivered`] counts only what is acknowledged without a gap, so that going on behind
//! it loses nothing; the queue of records under way is bounded by librdkafka
//! (`queue.buffering.max.messages`, `queue.buffering.max.kbytes`). Does not know what it writes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::cluster::Cluster;
use super::properties::sentence;

/// How many records are sent between two looks at the acknowledgements.
const POLL_EVERY: u64 = 64;

/// What is acknowledged, everything before it included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Records.
    pub records: u64,
    /// Rows in them.
    pub rows: u64,
    /// Payload bytes in them.
    pub bytes: u64,
}

struct Sent {
    rows: u32,
    bytes: u32,
    acknowledged: bool,
}

#[derive(Default)]
struct Ledger {
    delivered: Delivered,
    /// Records behind the delivered ones, in the order in which they were sent.
    under_way: VecDeque<Sent>,
    failed: Option<String>,
}

/// The callbacks of a producer.
#[derive(Default)]
struct Acknowledgements(Mutex<Ledger>);

impl ClientContext for Acknowledgements {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", "{facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
    }
}

impl ProducerContext for Acknowledgements {
    /// The record's number, from 0.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let mut ledger = self.0.lock();
        if let Err((error, _)) = result {
            ledger.failed.get_or_insert_with(|| error.to_string());
            return;
        }
        let place = (number as u64).saturating_sub(ledger.delivered.records) as usize;
        if let Some(sent) = ledger.under_way.get_mut(place) {
            sent.acknowledged = true;
        }
        while let Some(sent) = ledger.under_way.pop_front_if(|sent| sent.acknowledged) {
            ledger.delivered.records += 1;
            ledger.delivered.rows += u64::from(sent.rows);
            ledger.delivered.bytes += u64::from(sent.bytes);
        }
    }
}

/// Writes records to one topic.
pub struct TopicWriter {
    producer: BaseProducer<Acknowledgements>,
    topic: String,
    sent: u64,
}

impl TopicWriter {
    /// A writer to a topic that exists.
    ///
    /// # Errors
    /// 22023 if librdkafka refuses the cluster's properties for a producer.
    pub fn new(cluster: &Cluster, topic: &str) -> Result<TopicWriter> {
        let mut config = cluster.config().clone();
        for (name, value) in [
            ("linger.ms", "5"),
            ("compression.type", "lz4"),
            ("batch.size", "262144"),
            ("queue.buffering.max.messages", "200000"),
            ("queue.buffering.max.kbytes", "65536"),
            ("message.timeout.ms", "120000"),
            ("reconnect.backoff.max.ms", "2000"),
        ] {
            if config.get(name).is_none() {
                config.set(name, value);
            }
        }
        config.set("acks", "all").set("enable.idempotence", "true");
        let producer = config.create_with_context(Acknowledgements::default()).map_err(|error: KafkaError| {
            Error::new(SqlState::InvalidParameter, "the Kafka properties do not go together")
                .detail(sentence(&error.to_string()))
        })?;
        Ok(TopicWriter { producer, topic: topic.to_string(), sent: 0 })
    }

    /// Hands a record of `rows` rows over; waits while too many are under way, `keep_waiting`
    /// being asked every 100 ms. Returns whether it was handed over.
    ///
    /// # Errors
    /// 08006 once an earlier record could not be delivered; 22023 if this one is too large.
    pub fn send(
        &mut self,
        partition: Option<i32>,
        key: Option<&[u8]>,
        payload: &[u8],
        rows: u32,
        keep_waiting: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        if self.sent.is_multiple_of(POLL_EVERY) {
            self.producer.poll(Duration::ZERO);
            self.check()?;
        }
        let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        // Entered before it is sent: the acknowledgement may come at once.
        self.producer.context().0.lock().under_way.push_back(Sent { rows, bytes, acknowledged: false });
        loop {
            let mut record =
                BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, self.sent as usize).payload(payload);
            record.key = key;
            record.partition = partition;
            let failure = match self.producer.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(true);
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(Duration::from_millis(100));
                    match self.check() {
                        Ok(()) if keep_waiting() => continue,
                        Ok(()) => None,
                        Err(error) => Some(error),
                    }
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                    Some(Error::new(SqlState::InvalidParameter, format!("a record of {bytes} bytes is too large for Kafka"))
                        .hint("Set properties.message.max.bytes, and max.message.bytes of the topic, or put fewer lines into a message."))
                }
                Err((error, _)) => Some(self.undelivered(&error.to_string())),
            };
            self.producer.context().0.lock().under_way.pop_back();
            return failure.map_or(Ok(false), Err);
        }
    }

    /// Serves acknowledgements for `time`.
    ///
    /// # Errors
    /// 08006 once a record could not be delivered.
    pub fn wait(&self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            self.producer.poll(until.saturating_duration_since(Instant::now()));
            self.check()?;
            if Instant::now() >= until {
                return Ok(());
            }
        }
    }

    /// Waits until everything is acknowledged, at most `time`; returns whether it is.
    ///
    /// # Errors
    /// 08006 once a record could not be delivered.
    pub fn flush(&self, time: Duration) -> Result<bool> {
        let flushed = self.producer.flush(time);
        self.check()?;
        match flushed {
            Ok(()) => Ok(true),
            Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => Ok(false),
            Err(error) => Err(self.undelivered(&error.to_string())),
        }
    }

    /// What is acknowledged.
    pub fn delivered(&self) -> Delivered {
        self.producer.context().0.lock().delivered
    }

    fn check(&self) -> Result<()> {
        match &self.producer.context().0.lock().failed {
            None => Ok(()),
            Some(text) => Err(self.undelivered(text)),
        }
    }

    fn undelivered(&self, text: &str) -> Error {
        Error::new(SqlState::ConnectionFailure, format!("records could not be delivered to topic \"{}\"", self.topic))
            .detail(sentence(text))
    }
}
