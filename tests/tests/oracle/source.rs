//! A source in memory: partitions of records that the test appends to.
//!
//! Promises what the contract asks for: any offset can be read again with the same outcome;
//! `until`, `boundaries`, `columns` and `batch_rows` are kept; offsets may have gaps. Keeps all
//! its records, also over restarts of the engine.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use std::sync::{Condvar, Mutex};
use thalweg_dataflow::scan::Scan;
use thalweg_dataflow::source::{
    BadLines, BadRecord, Column, Connectors, FileDefinition, Offsets, ReadRequest, Reader, Source, SourceBatch,
    SourceDefinition, SourceItem, SourceOutput,
};
use thalweg_dataflow::types::ColumnBuilder;
use thalweg_dataflow::{Error, Result, SqlState};

/// A row as text, null as `None`.
pub(crate) type Row = Vec<Option<String>>;

/// What stands at an offset.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    /// A row.
    Row(Row),
    /// A record that is no row.
    Bad(String),
    /// Nothing: the mark of a transaction, say.
    Gap,
}

/// The records of one source.
#[derive(Debug, Default)]
pub(crate) struct Topic {
    partitions: Mutex<BTreeMap<i32, Vec<Record>>>,
    grown: Condvar,
}

/// All topics, by the option `topic`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topics(Arc<Mutex<HashMap<String, Arc<Topic>>>>);

impl Topic {
    /// Appends to a partition, which is new perhaps.
    pub(crate) fn append(&self, partition: i32, records: &[Record]) {
        self.partitions.lock().unwrap().entry(partition).or_default().extend_from_slice(records);
        self.grown.notify_all();
    }

    /// The end of each partition.
    pub(crate) fn ends(&self) -> Offsets {
        self.partitions.lock().unwrap().iter().map(|(partition, records)| (*partition, records.len() as i64)).collect()
    }

    /// Rows and bad records.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let partitions = self.partitions.lock().unwrap();
        let records = || partitions.values().flatten();
        let rows = records().filter(|record| matches!(record, Record::Row(_))).count();
        let bad = records().filter(|record| matches!(record, Record::Bad(_))).count();
        (rows as u64, bad as u64)
    }
}

impl Topics {
    /// The topic of this name, made when it is not there.
    pub(crate) fn get(&self, name: &str) -> Arc<Topic> {
        self.0.lock().unwrap().entry(name.to_string()).or_default().clone()
    }
}

impl Connectors for Topics {
    fn create_source(&self, definition: &SourceDefinition) -> Result<Arc<dyn Source>> {
        let name = definition.options.get("topic").ok_or_else(|| Error::internal("no topic"))?;
        let fields = definition.columns.iter().map(|column| column.data_type.field(&column.name, !column.not_null));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Arc::new(TopicSource { topic: self.get(name), columns: definition.columns.clone(), schema }))
    }

    fn open_source(&self, definition: &SourceDefinition) -> Result<Arc<dyn Source>> {
        self.create_source(definition)
    }

    fn open_files(&self, _: &FileDefinition, _: Arc<dyn BadLines>) -> Result<Arc<dyn Scan>> {
        Err(Error::new(SqlState::FeatureNotSupported, "there are no files here"))
    }

    fn redact(&self, options: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        options.clone()
    }
}

#[derive(Debug)]
struct TopicSource {
    topic: Arc<Topic>,
    columns: Vec<Column>,
    schema: SchemaRef,
}

impl Source for TopicSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn start(&self) -> Result<Offsets> {
        Ok(self.topic.ends().into_keys().map(|partition| (partition, 0)).collect())
    }

    fn end(&self) -> Result<Offsets> {
        Ok(self.topic.ends())
    }

    fn read(&self, request: ReadRequest, output: Arc<dyn SourceOutput>) -> Result<Box<dyn Reader>> {
        let stop = Arc::new(AtomicBool::new(false));
        let fields: Vec<_> = request.columns.iter().map(|place| self.schema.field(*place).clone()).collect();
        let mut worker = ReaderThread {
            topic: self.topic.clone(),
            columns: self.columns.clone(),
            schema: Arc::new(Schema::new(fields)),
            at: request.from.clone(),
            request,
            output,
            stop: stop.clone(),
        };
        let thread = std::thread::spawn(move || worker.run());
        Ok(Box::new(TopicReader { topic: self.topic.clone(), stop, thread: Some(thread) }))
    }

    fn progress(&self, _: &Offsets) {}

    fn describe(&self) -> String {
        "a topic in memory".into()
    }
}

struct TopicReader {
    topic: Arc<Topic>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader for TopicReader {}

impl Drop for TopicReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.topic.grown.notify_all();
        self.thread.take().unwrap().join().unwrap();
    }
}

struct ReaderThread {
    topic: Arc<Topic>,
    columns: Vec<Column>,
    schema: SchemaRef,
    at: Offsets,
    request: ReadRequest,
    output: Arc<dyn SourceOutput>,
    stop: Arc<AtomicBool>,
}

impl ReaderThread {
    fn run(&mut self) {
        while !self.stop.load(Ordering::Acquire) && !self.output.is_closed() {
            let batches = self.next_batches();
            let idle = batches.is_empty();
            for batch in batches {
                if self.output.push(SourceItem::Batch(batch)).is_err() {
                    return;
                }
            }
            if self.finished() {
                // Whoever closed its end has what it wanted.
                let _ = self.output.push(SourceItem::Finished);
                return;
            }
            if idle {
                let partitions = self.topic.partitions.lock().unwrap();
                drop(self.topic.grown.wait_timeout(partitions, Duration::from_millis(5)).unwrap());
            }
        }
    }

    fn finished(&self) -> bool {
        let Some(until) = &self.request.until else { return false };
        until.iter().all(|(partition, end)| self.at.get(partition).copied().unwrap_or(0) >= *end)
    }

    /// One batch of every partition that has something.
    fn next_batches(&mut self) -> Vec<SourceBatch> {
        let partitions = self.topic.partitions.lock().unwrap();
        let mut batches = Vec::new();
        for (partition, records) in partitions.iter() {
            let at = self.at.get(partition).copied().unwrap_or(0);
            let mut end = (records.len() as i64).min(at + self.request.batch_rows as i64);
            if let Some(until) = &self.request.until {
                end = end.min(until.get(partition).copied().unwrap_or(0));
            }
            let boundaries = self.request.boundaries.get(partition).map_or(&[][..], Vec::as_slice);
            if let Some(boundary) = boundaries.iter().find(|boundary| **boundary > at) {
                end = end.min(*boundary);
            }
            if end > at {
                let some = &records[at as usize..end as usize];
                batches.push(self.batch(*partition, at, some));
                self.at.insert(*partition, end);
            }
        }
        batches
    }

    fn batch(&self, partition: i32, start: i64, records: &[Record]) -> SourceBatch {
        let mut builders: Vec<(usize, ColumnBuilder)> = self
            .request
            .columns
            .iter()
            .map(|place| (*place, ColumnBuilder::new(&self.columns[*place].data_type, records.len())))
            .collect();
        let (mut bad, mut rows) = (Vec::new(), 0);
        for (place, record) in records.iter().enumerate() {
            match record {
                Record::Row(row) => {
                    rows += 1;
                    for (column, builder) in &mut builders {
                        match &row[*column] {
                            Some(text) => builder.append_text(text.as_bytes()).unwrap(),
                            None => builder.append_null(),
                        }
                    }
                }
                Record::Bad(text) => bad.push(BadRecord {
                    offset: start + place as i64,
                    line: 1,
                    at: None,
                    column: None,
                    error: "a bad record".into(),
                    raw: text.as_bytes().to_vec(),
                }),
                Record::Gap => {}
            }
        }
        let arrays: Vec<ArrayRef> = builders.iter_mut().map(|(_, builder)| builder.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        SourceBatch {
            partition,
            end: start + records.len() as i64,
            rows: RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).unwrap(),
            bad,
            headers: 0,
            tombstones: 0,
            bytes: 1,
        }
    }
}
