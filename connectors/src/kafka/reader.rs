//! Reads a topic: the threads that fetch and decode, and what they share.
//!
//! One client a reader. Each fetch thread owns some partitions and one queue behind them; the
//! control thread (`control.rs`) watches the connection and finds new partitions. Promises: rows
//! of a partition are pushed in offset order; [`SourceItem::Finished`] comes after all rows, once;
//! nothing is skipped silently: an offset that Kafka no longer holds ends the reader with an error.
//! Does not store offsets: where to start is the request's, how far the views are is `commit.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::Consumer;
use rdkafka::types::RDKafkaErrorCode;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::{Closed, Offsets, ReadRequest, Reader, SourceBatch, SourceItem, SourceOutput};

use super::client::{Client, Context};
use super::control;
use super::native::{Message, MessageQueue, Slots};
use super::options::KafkaOptions;
use super::partition::{Layout, PartitionReader, Record};
use super::properties::sentence;
use crate::payload::DecoderFactory;

/// Partitions a fetch thread.
const PARTITIONS_PER_THREAD: usize = 4;
/// Messages taken from librdkafka at once.
const TAKE: usize = 4096;
/// How long a batch that is not full waits for more rows.
const LINGER: Duration = Duration::from_millis(2);
/// How long a thread sleeps when there is nothing to read; it also looks for the stop flag then.
const IDLE: Duration = Duration::from_millis(50);

/// What the threads of one reader share.
pub(super) struct Shared {
    pub(super) options: KafkaOptions,
    pub(super) client: Arc<Client>,
    pub(super) output: Arc<dyn SourceOutput>,
    pub(super) request: ReadRequest,
    pub(super) layout: Layout,
    decoders: DecoderFactory,
    stop: AtomicBool,
    /// Partitions that have not reached `until`.
    unfinished: AtomicUsize,
    /// When a message or an end was last seen.
    seen: Mutex<Instant>,
    stalled: Mutex<bool>,
    /// Partitions for each fetch thread to start.
    inboxes: Vec<Mutex<Vec<(i32, i64)>>>,
}

impl Shared {
    /// Whether the threads are to end.
    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.output.is_closed()
    }

    /// How long nothing has been seen.
    pub(super) fn quiet_for(&self) -> Duration {
        self.seen.lock().elapsed()
    }

    /// Says that the source cannot be read for now, once.
    pub(super) fn stall(&self, error: impl FnOnce() -> Error) {
        let mut stalled = self.stalled.lock();
        if !*stalled && !self.stopping() {
            *stalled = true;
            let _ = self.output.push(SourceItem::Stalled(error()));
        }
    }

    /// Whether [`Shared::stall`] was said and not taken back.
    pub(super) fn is_stalled(&self) -> bool {
        *self.stalled.lock()
    }

    /// Says that it can be read again, if it had been said that it cannot.
    pub(super) fn resume(&self) {
        let mut stalled = self.stalled.lock();
        if *stalled && !self.stopping() {
            *stalled = false;
            let _ = self.output.push(SourceItem::Resumed);
        }
    }

    /// Ends the reader with an error; only the first one is told.
    pub(super) fn fail(&self, error: Error) {
        if !self.stop.swap(true, Ordering::SeqCst) {
            let _ = self.output.push(SourceItem::Failed(error));
        }
    }

    /// Hands a partition to its thread.
    pub(super) fn add(&self, partition: i32, from: i64) {
        let thread = partition.unsigned_abs() as usize % self.inboxes.len();
        self.inboxes[thread].lock().push((partition, from));
    }

    fn finished_one(&self) {
        if self.unfinished.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.finish();
        }
    }

    fn finish(&self) {
        if !self.stop.swap(true, Ordering::SeqCst) {
            let _ = self.output.push(SourceItem::Finished);
        }
    }
}

/// A running reader of a topic.
pub(super) struct KafkaReader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Reader for KafkaReader {}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Everything a reader needs besides its request.
pub(super) struct Parts {
    pub(super) options: KafkaOptions,
    pub(super) client: Arc<Client>,
    pub(super) layout: Layout,
    pub(super) decoders: DecoderFactory,
    /// Where the source starts; a partition in neither the request nor here starts at 0.
    pub(super) start: Offsets,
}

/// Starts a reader.
///
/// # Errors
/// XX000 if a thread cannot be started.
pub(super) fn start(parts: Parts, request: ReadRequest, output: Arc<dyn SourceOutput>) -> Result<KafkaReader> {
    let mut from = parts.start;
    from.extend(request.from.iter().map(|(partition, offset)| (*partition, *offset)));
    if let Some(until) = &request.until {
        let wanted = |partition: &i32| until.get(partition).copied();
        from = until.keys().map(|partition| (*partition, from.get(partition).copied().unwrap_or(0))).collect();
        from.retain(|partition, offset| wanted(partition).is_some_and(|end| *offset < end));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = from.len().div_ceil(PARTITIONS_PER_THREAD).clamp(1, cores);
    let bounded = request.until.is_some();
    let shared = Arc::new(Shared {
        options: parts.options,
        client: parts.client,
        output,
        request,
        layout: parts.layout,
        decoders: parts.decoders,
        stop: AtomicBool::new(false),
        unfinished: AtomicUsize::new(from.len()),
        seen: Mutex::new(Instant::now()),
        stalled: Mutex::new(false),
        inboxes: (0..count).map(|_| Mutex::new(Vec::new())).collect(),
    });
    let mut reader = KafkaReader { shared: shared.clone(), threads: Vec::new() };
    if bounded && from.is_empty() {
        // On a thread of its own: the output may block, and the caller may be the one to drain it.
        reader.threads.push(spawn("kafka-control".into(), move || shared.finish())?);
        return Ok(reader);
    }
    for (partition, offset) in &from {
        shared.add(*partition, *offset);
    }
    for index in 0..count {
        let shared = shared.clone();
        reader.threads.push(spawn(format!("kafka-read-{index}"), move || fetch(&shared, index))?);
    }
    let known = from.keys().copied().collect();
    reader.threads.push(spawn("kafka-control".into(), move || control::run(&shared, known))?);
    Ok(reader)
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name)
        .spawn(work)
        .map_err(|error| Error::internal(format!("cannot start a thread: {error}")))
}

/// A fetch thread from start to end.
fn fetch(shared: &Shared, index: usize) {
    if shared.request.background {
        crate::priority::lower(crate::priority::BACKGROUND);
    }
    let Some(queue) = MessageQueue::new(shared.client.clone(), &shared.options.topic) else {
        shared.fail(Error::internal(format!("topic \"{}\" cannot be opened", shared.options.topic)));
        return;
    };
    let mut fetcher = Fetcher { shared, index, queue, partitions: Vec::new(), last: 0, out: Vec::new(), since: None };
    if let Err(Stop::Failed(error)) = fetcher.run() {
        shared.fail(error);
    }
}

/// Why a fetch thread ends.
enum Stop {
    /// Nobody wants its items, or another thread has ended the reader.
    Closed,
    /// The source cannot be read.
    Failed(Error),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Stop {
        Stop::Closed
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

struct Fetcher<'a> {
    shared: &'a Shared,
    index: usize,
    queue: MessageQueue<Context>,
    partitions: Vec<(i32, PartitionReader)>,
    /// The place of the partition of the last message: the next one is mostly of the same.
    last: usize,
    out: Vec<SourceBatch>,
    /// When the oldest row that waits came.
    since: Option<Instant>,
}

impl Fetcher<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        let mut slots = Slots::new(TAKE);
        loop {
            if self.shared.stopping() {
                return Err(Stop::Closed);
            }
            self.adopt()?;
            let wait = self.since.map_or(IDLE, |since| LINGER.saturating_sub(since.elapsed()));
            let messages = self.queue.take(&mut slots, wait);
            let count = messages.len();
            for message in messages.iter() {
                match message.error() {
                    None => self.record(message)?,
                    Some(code) => self.event(message, code)?,
                }
                if !self.out.is_empty() {
                    self.push()?;
                }
            }
            drop(messages);
            if count > 0 {
                *self.shared.seen.lock() = Instant::now();
                self.since.get_or_insert_with(Instant::now);
            }
            // A batch that is not full goes when its time is up and the queue is empty: under load
            // batches fill, when little comes they go at once.
            if count < TAKE && self.since.is_some_and(|since| since.elapsed() >= LINGER) {
                self.flush()?;
            }
        }
    }

    /// Starts the partitions that were handed over.
    fn adopt(&mut self) -> Result<(), Stop> {
        let new = std::mem::take(&mut *self.shared.inboxes[self.index].lock());
        for (partition, from) in new {
            let until = self.shared.request.until.as_ref().and_then(|until| until.get(&partition).copied());
            let boundaries = self.shared.request.boundaries.get(&partition).map_or(&[][..], Vec::as_slice);
            let reader =
                PartitionReader::new(partition, from, until, boundaries, &self.shared.layout, &self.shared.decoders)?;
            self.partitions.push((partition, reader));
            if let Err(code) = self.queue.start(partition, from) {
                let topic = &self.shared.options.topic;
                return Err(Stop::Failed(
                    Error::new(
                        SqlState::ConnectionFailure,
                        format!("partition {partition} of topic \"{topic}\" cannot be read"),
                    )
                    .detail(sentence(&code.to_string())),
                ));
            }
        }
        Ok(())
    }

    fn find(&mut self, partition: i32) -> Option<usize> {
        if self.partitions.get(self.last).is_none_or(|(id, _)| *id != partition) {
            self.last = self.partitions.iter().position(|(id, _)| *id == partition)?;
        }
        Some(self.last)
    }

    fn record(&mut self, message: Message<'_>) -> Result<(), Stop> {
        let Some(at) = self.find(message.partition()) else { return Ok(()) };
        let record = Record {
            offset: message.offset(),
            key: message.key(),
            payload: message.payload(),
            at: message.timestamp(),
        };
        self.partitions[at].1.record(record, &mut self.out)?;
        self.settle(at)
    }

    /// Ends a partition that has reached `until`.
    fn settle(&mut self, at: usize) -> Result<(), Stop> {
        if self.partitions[at].1.done() {
            self.push()?;
            let (partition, _) = self.partitions.swap_remove(at);
            self.queue.stop(partition);
            self.shared.finished_one();
        }
        Ok(())
    }

    fn event(&mut self, message: Message<'_>, code: RDKafkaErrorCode) -> Result<(), Stop> {
        let partition = message.partition();
        let Some(at) = self.find(partition) else { return Ok(()) };
        match code {
            RDKafkaErrorCode::PartitionEOF => {
                self.partitions[at].1.advance(message.offset(), &mut self.out)?;
                self.settle(at)
            }
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                let position = self.partitions[at].1.position();
                self.flush()?;
                Err(Stop::Failed(self.offsets_gone(partition, position)))
            }
            RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::BadCompression | RDKafkaErrorCode::MessageSizeTooLarge => {
                let position = self.partitions[at].1.position();
                let topic = &self.shared.options.topic;
                self.flush()?;
                Err(Stop::Failed(
                    Error::new(
                        SqlState::DataCorrupted,
                        format!("partition {partition} of topic \"{topic}\" cannot be read from offset {position} on"),
                    )
                    .detail(sentence(&message.error_text())),
                ))
            }
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                let topic = &self.shared.options.topic;
                let text = message.error_text();
                self.shared.stall(|| {
                    Error::new(SqlState::InvalidAuthorization, format!("not authorized to read topic \"{topic}\""))
                        .detail(sentence(&text))
                });
                Ok(())
            }
            // Leader changes, a broker that goes: librdkafka tries again, the control thread looks.
            _ => {
                tracing::debug!(
                    "partition {partition} of topic {}: {}",
                    self.shared.options.topic,
                    message.error_text()
                );
                Ok(())
            }
        }
    }

    fn offsets_gone(&self, partition: i32, position: i64) -> Error {
        let topic = &self.shared.options.topic;
        let error = Error::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!("Kafka no longer holds offset {position} of partition {partition} of topic \"{topic}\""),
        );
        let error = match self.shared.client.fetch_watermarks(topic, partition, Duration::from_secs(2)) {
            Ok((low, high)) => {
                error.detail(format!("The partition now holds the offsets from {low} to before {high}."))
            }
            Err(_) => error,
        };
        error.hint("Records were deleted (retention) or the topic was made anew. Drop the source and create it again.")
    }

    fn flush(&mut self) -> Result<(), Stop> {
        for (_, partition) in &mut self.partitions {
            partition.flush(&mut self.out)?;
        }
        self.since = None;
        self.push()
    }

    fn push(&mut self) -> Result<(), Stop> {
        for batch in self.out.drain(..) {
            self.shared.output.push(SourceItem::Batch(batch))?;
        }
        Ok(())
    }
}
