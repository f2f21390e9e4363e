//! The control thread of a reader: serves the client's events, watches the connection, finds new
//! partitions.
//!
//! Promises: a connection that is lost is told once, and once again when it is back; a partition
//! that is added to the topic is read from its first record on; a topic that is deleted ends the
//! reader. Reads no records.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;
use thalweg_dataflow::error::{Error, SqlState};

use super::client::{Glance, glance, offsets_once, unreachable};
use super::reader::Shared;

/// The time between two looks at a connection that works.
const PERIOD: Duration = Duration::from_secs(3);
/// The same, after something went wrong.
const HURRY: Duration = Duration::from_millis(300);
/// How long one look may take: also the longest that stopping waits for this thread.
const ANSWER: Duration = Duration::from_millis(500);
/// How many looks in a row must fail before the source counts as stalled.
const FAILURES: u32 = 2;
/// How long a topic must be missing before it counts as deleted: a broker that starts may not know
/// its topics yet.
const DELETED_AFTER: Duration = Duration::from_secs(10);

/// What a look found.
enum Look {
    Fine(Vec<i32>),
    Missing,
    Refused,
    Away,
}

/// Runs until the reader stops. `known` are the partitions that are read already.
pub(super) fn run(shared: &Shared, mut known: BTreeSet<i32>) {
    let mut heard = Vec::new();
    let mut failures = 0;
    let mut missing_since = None;
    let mut due = Instant::now();
    while !shared.stopping() {
        let _ = shared.client.poll(Duration::from_millis(50));
        let news = shared.client.context().heard();
        if news.iter().any(|(code, _)| *code == RDKafkaErrorCode::AllBrokersDown) {
            due = due.min(Instant::now());
        }
        heard.extend(news);
        if Instant::now() < due {
            continue;
        }
        let found = look(shared);
        missing_since = matches!(found, Look::Missing).then(|| missing_since.unwrap_or_else(Instant::now));
        match found {
            Look::Fine(partitions) => {
                failures = 0;
                heard.clear();
                shared.resume();
                adopt(shared, &mut known, &partitions);
            }
            Look::Missing if missing_since.is_some_and(|since: Instant| since.elapsed() > DELETED_AFTER) => {
                shared.fail(gone(shared));
            }
            Look::Missing => shared.stall(|| gone(shared)),
            Look::Refused => shared.stall(|| {
                let topic = &shared.options.topic;
                Error::new(SqlState::InvalidAuthorization, format!("not authorized to read topic \"{topic}\""))
            }),
            Look::Away => {
                failures += 1;
                if failures >= FAILURES && shared.quiet_for() > ANSWER {
                    shared.stall(|| unreachable(&shared.options.bootstrap, &heard));
                }
            }
        }
        let trouble = failures > 0 || missing_since.is_some() || shared.is_stalled();
        due = Instant::now() + if trouble { HURRY } else { PERIOD };
    }
}

fn look(shared: &Shared) -> Look {
    let topic = match glance(&shared.client, &shared.options.topic, ANSWER) {
        Glance::Found(topic) => topic,
        Glance::Missing => return Look::Missing,
        Glance::Refused => return Look::Refused,
        Glance::NotNow => return Look::Away,
    };
    let partitions = topic.ids();
    // The brokers that answer need not be those that hold the records.
    match offsets_once(&shared.client, &shared.options.topic, &partitions, Offset::End, ANSWER) {
        Ok(_) => Look::Fine(partitions),
        Err(_) => Look::Away,
    }
}

/// Starts partitions that are new. With `until`, what is read was fixed before.
fn adopt(shared: &Shared, known: &mut BTreeSet<i32>, partitions: &[i32]) {
    if shared.request.until.is_some() {
        return;
    }
    for partition in partitions {
        if known.insert(*partition) {
            shared.add(*partition, 0);
        }
    }
}

fn gone(shared: &Shared) -> Error {
    Error::new(SqlState::UndefinedObject, format!("Kafka topic \"{}\" does not exist any more", shared.options.topic))
}
