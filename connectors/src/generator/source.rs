//! The generator as a source: a reader thread with a pace.
//!
//! Promises: a reader without an end gives events at the declared rate, counted from when it starts
//! (a restart does not burst), at most one second's worth at once after a pause; a reader with an
//! end, and what recovery plays again, is not slowed down. Batches are as long as asked for and end
//! at every boundary. The pace reads a monotonic clock; the events do not depend on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use thalweg_dataflow::source::{
    Offsets, ReadRequest, Reader, Source, SourceBatch, SourceDefinition, SourceItem, SourceOutput,
};
use thalweg_dataflow::{Error, Result, SqlState};

use super::columns::Events;
use super::config::{Config, Shown};
use crate::options::Rate;

/// The only partition.
const PARTITION: i32 = 0;
/// How often a slow reader looks whether an event is due.
const TICK: Duration = Duration::from_millis(10);
/// Bytes a generated event has as a line of CSV, for the statistics: the real mean.
const LINE_BYTES: u64 = 133;

/// An open generator.
pub(super) struct GeneratorSource {
    config: Config,
    schema: SchemaRef,
    shared: Arc<Shared>,
}

/// What the readers of one source tell it.
struct Shared {
    opened: Instant,
    /// The position up to which readers without an end have handed events out.
    handed: AtomicI64,
    /// How many of them there are.
    live: AtomicUsize,
}

impl fmt::Debug for GeneratorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl GeneratorSource {
    pub(super) fn open(definition: &SourceDefinition) -> Result<GeneratorSource> {
        let config = Config::parse(definition)?;
        let field = |column: &thalweg_dataflow::source::Column| column.data_type.field(&column.name, !column.not_null);
        let schema = Arc::new(Schema::new(config.columns.iter().map(field).collect::<Vec<_>>()));
        let shared = Shared { opened: Instant::now(), handed: AtomicI64::new(0), live: AtomicUsize::new(0) };
        Ok(GeneratorSource { config, schema, shared: Arc::new(shared) })
    }
}

impl Source for GeneratorSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn start(&self) -> Result<Offsets> {
        Ok(Offsets::from([(PARTITION, 0)]))
    }

    fn end(&self) -> Result<Offsets> {
        let handed = self.shared.handed.load(Ordering::Acquire);
        let end = match (self.config.rows, self.config.rate) {
            (Some(rows), _) => rows,
            (None, Rate::Events { count, every }) if self.shared.live.load(Ordering::Acquire) == 0 => {
                handed.max(events_in(count, every, self.shared.opened.elapsed()))
            }
            _ => handed,
        };
        Ok(Offsets::from([(PARTITION, end)]))
    }

    fn read(&self, request: ReadRequest, output: Arc<dyn SourceOutput>) -> Result<Box<dyn Reader>> {
        if let Some(column) = request.columns.iter().find(|column| **column >= self.schema.fields().len()) {
            return Err(Error::internal(format!("column {column} of {} is out of range", self.describe())));
        }
        // What was read before a restart is there, though this process has not handed it out yet.
        let from = request.from.get(&PARTITION).copied().unwrap_or(0);
        self.shared.handed.fetch_max(from, Ordering::AcqRel);
        let stop = Arc::new(AtomicBool::new(false));
        let background = request.background;
        let mut thread = ReaderThread::new(&self.config, &self.schema, &self.shared, request, output, &stop);
        if thread.paced {
            self.shared.live.fetch_add(1, Ordering::AcqRel);
        }
        let spawned = std::thread::Builder::new().name("generator".into()).spawn(move || {
            if background {
                crate::priority::lower(crate::priority::BACKGROUND);
            }
            thread.run();
        });
        let handle =
            spawned.map_err(|error| Error::new(SqlState::OutOfMemory, format!("could not start a thread: {error}")))?;
        Ok(Box::new(GeneratorReader { stop, handle: Some(handle) }))
    }

    fn progress(&self, _offsets: &Offsets) {}

    fn describe(&self) -> String {
        format!("generator ecommerce at {}, seed {}", self.config.rate, self.config.seed)
    }
}

/// Events due after some time at a rate.
fn events_in(count: u64, every: Duration, elapsed: Duration) -> i64 {
    let due = u128::from(count) * elapsed.as_nanos() / every.as_nanos().max(1);
    i64::try_from(due).unwrap_or(i64::MAX)
}

/// Stops its thread when dropped.
struct GeneratorReader {
    stop: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl Reader for GeneratorReader {}

impl Drop for GeneratorReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            tracing::error!("a generator thread panicked");
        }
    }
}

/// A bucket that fills at the rate and holds one second's worth.
struct Pace {
    rate: Rate,
    /// Events up to here are due whatever the time: they were handed out before.
    floor: i64,
    /// Events up to here were due at `since`.
    due: i64,
    since: Instant,
}

impl Pace {
    /// The position up to which events are due; `at` is the reader's.
    fn available(&mut self, at: i64, now: Instant) -> i64 {
        let Rate::Events { count, every } = self.rate else { return i64::MAX };
        let burst = events_in(count, every, Duration::from_secs(1)).max(1);
        let due = self.due.saturating_add(events_in(count, every, now - self.since));
        let most = at.max(self.floor).saturating_add(burst);
        if due > most {
            // The reader was held up: what it missed by more than a second is not made up for.
            self.due = most;
            self.since = now;
            return most;
        }
        due
    }
}

struct ReaderThread {
    shown: Vec<Shown>,
    schema: SchemaRef,
    shared: Arc<Shared>,
    output: Arc<dyn SourceOutput>,
    stop: Arc<AtomicBool>,
    events: Events,
    start: i64,
    /// The next event.
    at: i64,
    /// Whether it follows the clock, and counts as live.
    paced: bool,
    until: Option<i64>,
    rows: i64,
    boundaries: std::vec::IntoIter<i64>,
    boundary: i64,
    batch_rows: i64,
    pace: Pace,
}

impl ReaderThread {
    fn new(
        config: &Config,
        schema: &SchemaRef,
        shared: &Arc<Shared>,
        mut request: ReadRequest,
        output: Arc<dyn SourceOutput>,
        stop: &Arc<AtomicBool>,
    ) -> ReaderThread {
        let at = request.from.get(&PARTITION).copied().unwrap_or(0).max(0);
        let boundaries = request.boundaries.remove(&PARTITION).unwrap_or_default();
        let replayed = boundaries.last().copied().unwrap_or(0);
        let until = request.until.as_ref().map(|until| until.get(&PARTITION).copied().unwrap_or(0));
        // What was handed out before, here or before a restart, is due at once.
        let due = at.max(replayed).max(shared.handed.load(Ordering::Acquire));
        let fields: Vec<_> = request.columns.iter().map(|column| Arc::clone(&schema.fields()[*column])).collect();
        ReaderThread {
            shown: request.columns.iter().map(|column| config.shown[*column]).collect(),
            schema: Arc::new(Schema::new(fields)),
            shared: Arc::clone(shared),
            output,
            stop: Arc::clone(stop),
            events: Events::new(config.seed),
            start: config.start,
            at,
            paced: until.is_none(),
            until,
            rows: config.rows.unwrap_or(i64::MAX),
            boundaries: boundaries.into_iter(),
            boundary: -1,
            batch_rows: i64::try_from(request.batch_rows.max(1)).unwrap_or(i64::MAX),
            pace: Pace { rate: config.rate, floor: due, due, since: Instant::now() },
        }
    }

    fn run(&mut self) {
        while !self.stop.load(Ordering::Acquire) && !self.output.is_closed() {
            if self.until.is_some_and(|until| self.at >= until.min(self.rows)) {
                let _ = self.output.push(SourceItem::Finished);
                break;
            }
            let end = self.batch_end();
            if end <= self.at {
                std::thread::sleep(TICK);
                continue;
            }
            let item = match self.batch(end) {
                Ok(batch) => SourceItem::Batch(batch),
                Err(error) => {
                    let _ = self.output.push(SourceItem::Failed(error));
                    break;
                }
            };
            self.at = end;
            if self.paced {
                self.shared.handed.fetch_max(end, Ordering::AcqRel);
            }
            if self.output.push(item).is_err() {
                break;
            }
        }
        if self.paced {
            self.shared.live.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Where the next batch ends; not past the position if nothing is due.
    fn batch_end(&mut self) -> i64 {
        while self.boundary <= self.at {
            self.boundary = self.boundaries.next().unwrap_or(i64::MAX);
        }
        let available = if self.paced { self.pace.available(self.at, Instant::now()) } else { i64::MAX };
        self.at
            .saturating_add(self.batch_rows)
            .min(available)
            .min(self.boundary)
            .min(self.until.unwrap_or(i64::MAX))
            .min(self.rows)
    }

    fn batch(&mut self, end: i64) -> Result<SourceBatch> {
        let (from, to) = (self.at.unsigned_abs(), end.unsigned_abs());
        let wanted: Vec<usize> = self
            .shown
            .iter()
            .filter_map(|shown| match shown {
                Shown::Event(column) => Some(*column),
                _ => None,
            })
            .collect();
        let count = (to - from) as usize;
        let mut made = self.events.columns(self.start, from, to, &wanted)?.into_iter();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.shown.len());
        for shown in &self.shown {
            arrays.push(match shown {
                Shown::Event(_) => made.next().ok_or_else(|| Error::internal("a generated column is missing"))?,
                Shown::Partition => Arc::new(Int32Array::from(vec![PARTITION; count])),
                Shown::Offset => Arc::new(Int64Array::from_iter_values(self.at..end)),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        let bytes = count as u64 * LINE_BYTES;
        Ok(SourceBatch { partition: PARTITION, end, rows, bad: Vec::new(), headers: 0, tombstones: 0, bytes })
    }
}
