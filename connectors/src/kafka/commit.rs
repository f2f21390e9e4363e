//! Commits the offsets that the views have reached to the source's consumer group, so that lag
//! tools show the truth.
//!
//! Best effort: a commit that fails is tried again with the next one, nothing waits for it, and the
//! offsets are never read back.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use thalweg_dataflow::Result;
use thalweg_dataflow::source::Offsets;

use super::client::{Client, connect};
use super::options::KafkaOptions;

/// The time between two commits.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a last commit may take when the source is closed.
const FAREWELL: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Latest {
    offsets: Offsets,
    changed: bool,
    stop: bool,
}

struct Shared {
    latest: Mutex<Latest>,
    woken: Condvar,
}

/// The thread that commits.
pub(super) struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread; it connects when there is something to commit.
    pub(super) fn start(options: &KafkaOptions) -> Result<Committer> {
        let shared = Arc::new(Shared { latest: Mutex::new(Latest::default()), woken: Condvar::new() });
        let (mine, options) = (shared.clone(), options.clone());
        let thread = std::thread::Builder::new()
            .name("kafka-commit".into())
            .spawn(move || run(&mine, &options))
            .map_err(|error| thalweg_dataflow::Error::internal(format!("cannot start a thread: {error}")))?;
        Ok(Committer { shared, thread: Some(thread) })
    }

    /// Hands over the newest offsets.
    pub(super) fn set(&self, offsets: &Offsets) {
        let mut latest = self.shared.latest.lock();
        if latest.offsets != *offsets {
            latest.offsets.clone_from(offsets);
            latest.changed = true;
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.latest.lock().stop = true;
        self.shared.woken.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, options: &KafkaOptions) {
    let mut client: Option<Arc<Client>> = None;
    // The first commit comes soon, so that a new group shows at once.
    let mut due = Instant::now() + Duration::from_millis(200);
    loop {
        let (offsets, stop) = {
            let mut latest = shared.latest.lock();
            while !latest.stop && Instant::now() < due {
                shared.woken.wait_until(&mut latest, due.min(Instant::now() + Duration::from_secs(1)));
                if client.is_some() {
                    break;
                }
            }
            let take = latest.changed && (latest.stop || Instant::now() >= due);
            if take {
                latest.changed = false;
            }
            (take.then(|| latest.offsets.clone()), latest.stop)
        };
        if let Some(offsets) = offsets {
            if client.is_none() {
                client = connect(&options.committer()).ok();
            }
            commit(client.as_deref(), options, &offsets);
            due = Instant::now() + INTERVAL;
        } else if Instant::now() >= due {
            due = Instant::now() + Duration::from_secs(1);
        }
        let until = Instant::now() + if stop { FAREWELL } else { Duration::ZERO };
        if let Some(client) = client.as_deref() {
            // Serves the client's events; with nothing subscribed there are no messages.
            while client.poll(until.saturating_duration_since(Instant::now())).is_some() {}
        }
        if stop {
            return;
        }
    }
}

fn commit(client: Option<&Client>, options: &KafkaOptions, offsets: &Offsets) {
    let Some(client) = client else { return };
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        if list.add_partition_offset(&options.topic, *partition, Offset::Offset(*offset)).is_err() {
            return;
        }
    }
    if let Err(error) = client.commit(&list, CommitMode::Async) {
        tracing::debug!("offsets of group {} were not committed: {error}", options.group);
    }
}
