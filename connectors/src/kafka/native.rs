//! The part of librdkafka that the rdkafka crate does not wrap: reading many messages at once
//! from one queue behind several partitions, and the names of its properties.
//!
//! The only unsafe code of the Kafka connector. Promises: a [`Message`] cannot outlive its
//! [`Messages`], nor a [`MessageQueue`] its client; everything taken from librdkafka is given back.
//! Does not decide anything: positions, errors and retries are the reader's.
#![allow(unsafe_code)] // librdkafka's batch interface is C only, and it alone is fast enough

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys as sys;

/// One queue that several partitions of one topic are read into.
///
/// Uses librdkafka's simple consumer (`rd_kafka_consume_start_queue`): partitions and offsets are
/// ours, there is no group, and a partition can be added while the others go on.
pub(super) struct MessageQueue<C: ConsumerContext + 'static> {
    topic: *mut sys::rd_kafka_topic_t,
    queue: *mut sys::rd_kafka_queue_t,
    started: parking_lot::Mutex<Vec<i32>>,
    /// Keeps the client alive for as long as its queue and topic handle are in use.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's topic and queue handles may be used from any thread at the same time
// (its INTRODUCTION.md, "Threads and callbacks": the API is completely thread-safe).
unsafe impl<C: ConsumerContext + 'static> Send for MessageQueue<C> {}
// SAFETY: as above; `started` is behind a mutex.
unsafe impl<C: ConsumerContext + 'static> Sync for MessageQueue<C> {}

impl<C: ConsumerContext + 'static> MessageQueue<C> {
    /// A queue for partitions of `topic`; none is read yet. `None` if the name holds a NUL or
    /// librdkafka refuses it.
    pub(super) fn new(consumer: Arc<BaseConsumer<C>>, topic: &str) -> Option<MessageQueue<C>> {
        let name = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: `client` is alive (held by `consumer`), `name` is a C string, and a null
        // configuration means the client's defaults.
        let topic = unsafe { sys::rd_kafka_topic_new(client, name.as_ptr(), std::ptr::null_mut()) };
        if topic.is_null() {
            return None;
        }
        // SAFETY: `client` is alive; the queue is destroyed in `drop`.
        let queue = unsafe { sys::rd_kafka_queue_new(client) };
        Some(MessageQueue { topic, queue, started: parking_lot::Mutex::new(Vec::new()), consumer })
    }

    /// Starts reading a partition at an offset.
    pub(super) fn start(&self, partition: i32, offset: i64) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: both handles are alive until `drop`.
        let code = unsafe { sys::rd_kafka_consume_start_queue(self.topic, partition, offset, self.queue) };
        if code != 0 {
            // SAFETY: reads this thread's last error, set by the call above.
            return Err(unsafe { sys::rd_kafka_last_error() }.into());
        }
        self.started.lock().push(partition);
        Ok(())
    }

    /// Stops reading a partition; what it had fetched is thrown away.
    pub(super) fn stop(&self, partition: i32) {
        let mut started = self.started.lock();
        if let Some(at) = started.iter().position(|one| *one == partition) {
            started.swap_remove(at);
            // SAFETY: the handle is alive until `drop`, and the partition was started.
            unsafe { sys::rd_kafka_consume_stop(self.topic, partition) };
        }
    }

    /// Takes what is there, at most `slots.capacity`; waits up to `timeout` for the first message
    /// and not at all for a second one (librdkafka's own call would wait until all slots are full).
    pub(super) fn take<'a>(&self, slots: &'a mut Slots, timeout: Duration) -> Messages<'a> {
        let capacity = slots.0.len();
        let mut count = self.fill(&mut slots.0, Duration::ZERO);
        if count == 0 && !timeout.is_zero() {
            count = self.fill(&mut slots.0[..1], timeout);
            if count == 1 && capacity > 1 {
                count += self.fill(&mut slots.0[1..], Duration::ZERO);
            }
        }
        Messages { slots: &mut slots.0[..count] }
    }

    fn fill(&self, slots: &mut [*mut sys::rd_kafka_message_t], timeout: Duration) -> usize {
        let millis = timeout.as_millis().min(1000) as i32;
        // SAFETY: the queue is alive until `drop`; `slots` has room for as many pointers as are
        // announced, and each that is written is owned by us from here on (see `Messages::drop`).
        let count = unsafe { sys::rd_kafka_consume_batch_queue(self.queue, millis, slots.as_mut_ptr(), slots.len()) };
        usize::try_from(count).unwrap_or(0)
    }
}

impl<C: ConsumerContext + 'static> Drop for MessageQueue<C> {
    fn drop(&mut self) {
        for partition in self.started.lock().drain(..) {
            // SAFETY: the topic handle is alive and the partition was started; afterwards its
            // messages may not enter the queue any more.
            unsafe { sys::rd_kafka_consume_stop(self.topic, partition) };
        }
        // SAFETY: both were made in `new`, are used nowhere else, and the client outlives them.
        unsafe {
            sys::rd_kafka_queue_destroy(self.queue);
            sys::rd_kafka_topic_destroy(self.topic);
        }
        let _ = &self.consumer;
    }
}

/// Room for the messages of one [`MessageQueue::take`].
pub(super) struct Slots(Vec<*mut sys::rd_kafka_message_t>);

impl Slots {
    /// Room for `capacity` messages, at least one.
    pub(super) fn new(capacity: usize) -> Slots {
        Slots(vec![std::ptr::null_mut(); capacity.max(1)])
    }
}

/// Messages that were taken; given back when dropped.
pub(super) struct Messages<'a> {
    slots: &'a mut [*mut sys::rd_kafka_message_t],
}

impl Messages<'_> {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The messages and events, in the order in which librdkafka queued them.
    pub(super) fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        self.slots.iter().map(|raw| Message { raw: *raw, owner: PhantomData })
    }
}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        for raw in self.slots.iter_mut() {
            // SAFETY: each pointer came from librdkafka in `fill` and is given back exactly once.
            unsafe { sys::rd_kafka_message_destroy(*raw) };
            *raw = std::ptr::null_mut();
        }
    }
}

/// A message, or an event of a partition (an error code, the end of the partition).
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    raw: *const sys::rd_kafka_message_t,
    owner: PhantomData<&'a ()>,
}

impl<'a> Message<'a> {
    fn fields(&self) -> &'a sys::rd_kafka_message_t {
        // SAFETY: the pointer is one that librdkafka filled in, alive until `Messages` drops.
        unsafe { &*self.raw }
    }

    /// The partition.
    pub(super) fn partition(&self) -> i32 {
        self.fields().partition
    }

    /// The message's offset; of an end-of-partition event, the position reached.
    pub(super) fn offset(&self) -> i64 {
        self.fields().offset
    }

    /// The code, if this is an event.
    pub(super) fn error(&self) -> Option<RDKafkaErrorCode> {
        match self.fields().err {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => None,
            code => Some(code.into()),
        }
    }

    /// What librdkafka says about the event.
    pub(super) fn error_text(&self) -> String {
        // SAFETY: the message is alive; the text belongs to it or is static, and is copied here.
        let text = unsafe { sys::rd_kafka_message_errstr(self.raw) };
        if text.is_null() {
            return String::new();
        }
        // SAFETY: not null, and a C string by librdkafka's contract.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    /// The payload; `None` for a null one (a tombstone).
    pub(super) fn payload(&self) -> Option<&'a [u8]> {
        let fields = self.fields();
        // SAFETY: if not null, librdkafka owns `len` bytes there for as long as the message lives.
        (!fields.payload.is_null())
            .then(|| unsafe { std::slice::from_raw_parts(fields.payload.cast::<u8>(), fields.len) })
    }

    /// The key; `None` for a null one.
    pub(super) fn key(&self) -> Option<&'a [u8]> {
        let fields = self.fields();
        // SAFETY: if not null, librdkafka owns `key_len` bytes there for as long as the message lives.
        (!fields.key.is_null()).then(|| unsafe { std::slice::from_raw_parts(fields.key.cast::<u8>(), fields.key_len) })
    }

    /// The record's time (CreateTime or LogAppendTime) in microseconds since 1970.
    pub(super) fn timestamp(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive and `kind` is valid for the write.
        let millis = unsafe { sys::rd_kafka_message_timestamp(self.raw, &mut kind) };
        let known = kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && millis >= 0;
        known.then(|| millis.saturating_mul(1000))
    }
}

/// The names of librdkafka's properties that have a default; those without one it does not list.
pub(super) fn property_names() -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: a new configuration is dumped, the list freed with the count that came with it, and
    // the configuration destroyed; the strings are copied before.
    unsafe {
        let conf = sys::rd_kafka_conf_new();
        let mut count = 0;
        let list = sys::rd_kafka_conf_dump(conf, &mut count);
        for at in (0..count).step_by(2) {
            let name = *list.add(at);
            if !name.is_null() {
                names.push(CStr::from_ptr(name).to_string_lossy().into_owned());
            }
        }
        sys::rd_kafka_conf_dump_free(list, count);
        sys::rd_kafka_conf_destroy(conf);
    }
    names
}
