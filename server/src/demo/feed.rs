//! `demo --kafka`: makes events, sends them to the broker; the server reads them back.
//!
//! Promises: writes only to a topic that a demo made (a mark in its first record says so); the
//! next event is the one after those that the topic holds, so a restart neither repeats nor skips.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thalweg_connectors::generator::{DEFAULT_SEED, DEFAULT_START, Generator, declared_columns};
use thalweg_connectors::kafka::cluster::Cluster;
use thalweg_connectors::kafka::produce::TopicWriter;
use thalweg_connectors::options::Rate;
use thalweg_dataflow::types::{PgType, TextStyle, TextWriter};
use thalweg_dataflow::{Error, Result, SqlState};

use super::folder::Stream;
use super::views::TOPIC;
use crate::config::value::rate;
use crate::failure::Failure;
use crate::shutdown::Shutdown;

/// Partitions of the topic.
const PARTITIONS: usize = 4;

/// What the topic's first record says.
const MARK: &str = "made by thalweg demo";

/// The most events made at a time.
const BATCH: u64 = 2048;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(20);

/// How long the last events may take to be acknowledged.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Makes the topic, or makes sure that a demo made it.
pub(crate) fn prepare(broker: &str) -> Result<()> {
    let cluster = Cluster::new(broker, &Default::default())?;
    if cluster.partitions(TOPIC)?.is_none() {
        cluster.create_topic(TOPIC, PARTITIONS, &[])?;
        return cluster.mark(TOPIC, MARK);
    }
    match cluster.mark_of(TOPIC)? {
        Some(mark) if mark == MARK => Ok(()),
        _ => {
            let message = format!("topic \"{TOPIC}\" exists at {broker} and the demo did not make it");
            let error = Error::new(SqlState::DuplicateObject, message);
            Err(error.hint("The demo never writes to a topic of somebody else's: delete it, or use another broker."))
        }
    }
}

/// Starts sending, if the stream goes through a broker.
pub(crate) fn start(stream: &Stream, shutdown: &Shutdown) -> Result<Option<JoinHandle<Result<()>>>, Failure> {
    let Some(broker) = stream.kafka.clone() else { return Ok(None) };
    let rate = rate(&stream.rate).map_err(Failure::usage)?;
    let shutdown = shutdown.clone();
    let thread = std::thread::Builder::new().name("thalweg-demo".to_string());
    let run = move || {
        let result = send(&broker, rate, &shutdown);
        if let Err(error) = &result {
            tracing::error!("the demo sends no more events: {error}");
        }
        result
    };
    Ok(Some(thread.spawn(run)?))
}

fn send(broker: &str, rate: Rate, shutdown: &Shutdown) -> Result<()> {
    let cluster = Cluster::new(broker, &Default::default())?;
    // Every record but the mark is one event.
    let held: i64 = cluster.end(TOPIC)?.values().sum();
    let first = u64::try_from(held - 1).unwrap_or(0);
    let mut writer = TopicWriter::new(&cluster, TOPIC)?;
    let mut lines = Lines::new();
    let (begun, mut next) = (Instant::now(), first);
    while !shutdown.requested() {
        let due = first.saturating_add(due(rate, begun.elapsed()));
        if next >= due {
            writer.wait(TICK)?;
            continue;
        }
        let to = due.min(next + BATCH);
        lines.make(next, to)?;
        for line in lines.text.split_inclusive('\n') {
            let partition = i32::try_from(next % PARTITIONS as u64).unwrap_or(0);
            let line = line.trim_end_matches('\n').as_bytes();
            if !writer.send(Some(partition), None, line, 1, &mut || !shutdown.requested())? {
                break;
            }
            next += 1;
        }
    }
    writer.flush(LAST_WAIT).map(drop)
}

/// Events that are due after so long.
fn due(rate: Rate, elapsed: Duration) -> u64 {
    match rate {
        Rate::Max => u64::MAX,
        Rate::Events { count, every } => (count as f64 * elapsed.as_secs_f64() / every.as_secs_f64()) as u64,
    }
}

/// Generated events as CSV lines.
struct Lines {
    generator: Generator,
    types: Vec<PgType>,
    columns: Vec<usize>,
    style: TextStyle,
    text: String,
}

impl Lines {
    fn new() -> Lines {
        let types: Vec<PgType> = declared_columns().into_iter().map(|column| column.data_type).collect();
        let columns = (0..types.len()).collect();
        let generator = Generator::new(DEFAULT_SEED, DEFAULT_START);
        Lines { generator, types, columns, style: TextStyle::default(), text: String::new() }
    }

    /// Puts events `from..to` into `text`, one a line.
    fn make(&mut self, from: u64, to: u64) -> Result<()> {
        let batch = self.generator.rows(from, to, &self.columns)?;
        let writers = self.types.iter().zip(batch.columns());
        let writers =
            writers.map(|(data_type, array)| TextWriter::new(data_type, array)).collect::<Result<Vec<_>>>()?;
        self.text.clear();
        for row in 0..batch.num_rows() {
            for (place, writer) in writers.iter().enumerate() {
                if place > 0 {
                    self.text.push(',');
                }
                if !writer.is_null(row) {
                    writer.write(row, &self.style, &mut self.text);
                }
            }
            self.text.push('\n');
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_over_time() {
        let per_minute = Rate::Events { count: 10_000, every: Duration::from_secs(60) };
        assert_eq!(due(per_minute, Duration::from_secs(30)), 5_000);
        assert_eq!(due(Rate::Max, Duration::ZERO), u64::MAX);
    }

    #[test]
    fn lines_are_events_and_can_be_made_from_anywhere() {
        let mut lines = Lines::new();
        lines.make(0, 20).unwrap();
        let all = lines.text.clone();
        assert_eq!(all.lines().count(), 20);
        assert!(all.lines().all(|line| line.matches(',').count() == 8), "{all}");
        lines.make(10, 20).unwrap();
        assert!(all.ends_with(&lines.text));
    }
}
