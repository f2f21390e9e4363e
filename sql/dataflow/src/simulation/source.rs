//! Simulated sources: partitions that grow, whose records come when the simulation says so, in any
//! order between partitions. No threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use super::generate::COLUMNS;
use super::value::{Bag, Row, Type, add, batch, schema};
use crate::error::{Error, Result};
use crate::source::{BadRecord, Offsets, ReadRequest, Reader, Source, SourceBatch, SourceItem, SourceOutput};

/// A record: a row, or none.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    Row(Row),
    Bad,
}

/// A source.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    records: Mutex<BTreeMap<i32, Vec<Record>>>,
    following: Mutex<Vec<Following>>,
    /// It cannot be read for now.
    pub(crate) away: AtomicBool,
}

/// A reader that follows the ends.
struct Following {
    request: ReadRequest,
    at: Offsets,
    output: Arc<dyn SourceOutput>,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a reader at {:?}", self.at)
    }
}

/// A source as the engine holds it.
#[derive(Debug)]
pub(crate) struct Simulated(pub(crate) Arc<Partitions>);

struct Nothing;

impl Reader for Nothing {}

/// Partitions of a source.
pub(crate) const PARTITIONS: i32 = 3;

impl Partitions {
    pub(crate) fn append(&self, partition: i32, record: Record) {
        self.records.lock().entry(partition).or_default().push(record);
    }

    pub(crate) fn ends(&self) -> Offsets {
        let records = self.records.lock();
        (0..PARTITIONS)
            .map(|partition| (partition, records.get(&partition).map_or(0, |list| list.len() as i64)))
            .collect()
    }

    /// The rows before these offsets, and the bad records among them.
    pub(crate) fn before(&self, offsets: &Offsets) -> (Bag, u64) {
        let (mut rows, mut bad) = (Bag::new(), 0);
        for (partition, records) in self.records.lock().iter() {
            let end = offsets.get(partition).copied().unwrap_or(0) as usize;
            for record in &records[..end.min(records.len())] {
                match record {
                    Record::Row(row) => add(&mut rows, row.clone(), 1),
                    Record::Bad => bad += 1,
                }
            }
        }
        (rows, bad)
    }

    /// Forgets the readers of an engine that is gone.
    pub(crate) fn forget(&self) {
        self.following.lock().clear();
    }

    /// Gives some records of one partition to whoever follows it.
    pub(crate) fn deliver(&self, random: &mut StdRng) {
        let away = self.away.load(Ordering::Relaxed);
        let mut following = self.following.lock();
        following.retain(|reader| !reader.output.is_closed());
        let partition = random.random_range(0..PARTITIONS);
        let most = if random.random_bool(0.1) { 1000 } else { random.random_range(1..8) };
        for reader in following.iter_mut().filter(|_| !away) {
            let records = self.records.lock();
            if let Some(batch) = next(&records, &reader.request, &reader.at, partition, most) {
                reader.at.insert(partition, batch.end);
                drop(records);
                // A reader that was closed meanwhile is dropped above, next time.
                let _ = reader.output.push(SourceItem::Batch(batch));
            }
        }
    }
}

/// The next records of a partition, at most so many, up to a boundary at most.
fn next(
    records: &BTreeMap<i32, Vec<Record>>,
    request: &ReadRequest,
    at: &Offsets,
    partition: i32,
    most: i64,
) -> Option<SourceBatch> {
    let records = records.get(&partition)?;
    let from = at.get(&partition).copied().unwrap_or(0);
    let until = request.until.as_ref().map_or(i64::MAX, |until| until.get(&partition).copied().unwrap_or(0));
    let boundary = request.boundaries.get(&partition).into_iter().flatten().find(|boundary| **boundary > from);
    let end = (records.len() as i64).min(until).min(from + most).min(boundary.copied().unwrap_or(i64::MAX));
    if end <= from {
        return None;
    }
    let some = &records[from as usize..end as usize];
    let rows = some.iter().filter_map(|record| if let Record::Row(row) = record { Some(row) } else { None });
    let bad = some.iter().zip(from..).filter(|(record, _)| matches!(record, Record::Bad));
    let bad = bad.map(|(_, offset)| BadRecord {
        offset,
        line: 1,
        at: None,
        column: None,
        error: "bad".into(),
        raw: Vec::new(),
    });
    let rows = batch(&COLUMNS, rows).project(&request.columns).ok()?;
    Some(SourceBatch { partition, end, rows, bad: bad.collect(), headers: 0, tombstones: 0, bytes: 1 })
}

impl Source for Simulated {
    fn schema(&self) -> SchemaRef {
        schema(&COLUMNS)
    }

    fn start(&self) -> Result<Offsets> {
        Ok((0..PARTITIONS).map(|partition| (partition, 0)).collect())
    }

    fn end(&self) -> Result<Offsets> {
        Ok(self.0.ends())
    }

    /// Up to an end, and up to the last boundary, all is handed over at once: nobody else could run
    /// meanwhile. A build's queue takes 8 items; these are at most two a partition, and a last one.
    fn read(&self, request: ReadRequest, output: Arc<dyn SourceOutput>) -> Result<Box<dyn Reader>> {
        let mut at = request.from.clone();
        let push = |item| output.push(item).map_err(|_| Error::internal("a simulated reader was closed"));
        let replaying = !request.boundaries.is_empty() && request.until.is_none();
        if self.0.away.load(Ordering::Relaxed) && replaying {
            push(SourceItem::Stalled(Error::internal("away")))?;
        } else {
            let records = self.0.records.lock();
            for partition in 0..PARTITIONS {
                let last = request.boundaries.get(&partition).and_then(|list| list.last()).copied().unwrap_or(0);
                while request.until.is_some() || at.get(&partition).copied().unwrap_or(0) < last {
                    let Some(batch) = next(&records, &request, &at, partition, i64::MAX / 2) else { break };
                    at.insert(partition, batch.end);
                    push(SourceItem::Batch(batch))?;
                }
            }
        }
        if request.until.is_some() {
            push(SourceItem::Finished)?;
        } else {
            self.0.following.lock().push(Following { request, at, output });
        }
        Ok(Box::new(Nothing))
    }

    fn progress(&self, _: &Offsets) {}

    fn describe(&self) -> String {
        "a simulated source".into()
    }
}

/// The types of a source's or table's columns.
pub(crate) fn columns() -> Vec<Type> {
    COLUMNS.to_vec()
}
