//! What the connector's unit tests share: a decoder of lines with one number each, a collecting
//! output, and topics of librdkafka's mock cluster. Only compiled for tests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Builder};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use parking_lot::{Condvar, Mutex};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use thalweg_dataflow::Result;
use thalweg_dataflow::source::{
    BadRecord, Closed, Column, Meta, Offsets, ReadRequest, SourceBatch, SourceDefinition, SourceItem, SourceOutput,
};
use thalweg_dataflow::types::PgType;

use crate::payload::{Decoded, DecoderFactory, PayloadDecoder};

/// Decodes lines of one number; `h` is a header, anything else a bad line.
struct Numbers {
    built: usize,
    numbers: Int64Builder,
    rows: usize,
    bad: Vec<BadRecord>,
    headers: u64,
}

/// Makes decoders of numbers.
pub(super) fn numbers() -> DecoderFactory {
    Arc::new(|columns| {
        let decoder =
            Numbers { built: columns.len(), numbers: Int64Builder::new(), rows: 0, bad: Vec::new(), headers: 0 };
        Ok(Box::new(decoder) as Box<dyn PayloadDecoder>)
    })
}

impl PayloadDecoder for Numbers {
    fn decode(&mut self, payload: &[u8], offset: i64) {
        let text = String::from_utf8_lossy(payload);
        for (line, text) in text.lines().enumerate() {
            match text.parse() {
                Ok(number) => {
                    self.numbers.append_value(number);
                    self.rows += 1;
                }
                Err(_) if text == "h" => self.headers += 1,
                Err(error) => self.bad.push(BadRecord {
                    offset,
                    line: line as u32 + 1,
                    at: None,
                    column: None,
                    error: format!("{error}"),
                    raw: text.as_bytes().to_vec(),
                }),
            }
        }
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn bad(&self) -> usize {
        self.bad.len()
    }

    fn take(&mut self) -> Result<Decoded> {
        let column: ArrayRef = Arc::new(self.numbers.finish());
        let schema =
            arrow::datatypes::Schema::new((0..self.built).map(|_| PgType::Int8.field("n", true)).collect::<Vec<_>>());
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        let rows = RecordBatch::try_new_with_options(Arc::new(schema), vec![column; self.built], &options)?;
        Ok(Decoded { rows, bad: std::mem::take(&mut self.bad), headers: std::mem::take(&mut self.headers) })
    }
}

/// A source of numbers with all INCLUDE columns, over `topic`.
pub(super) fn definition(bootstrap: &str, topic: &str) -> SourceDefinition {
    let options = [("connector", "kafka"), ("topic", topic), ("properties.bootstrap.server", bootstrap)];
    SourceDefinition {
        name: "numbers".into(),
        columns: vec![Column { name: "n".into(), data_type: PgType::Int8, not_null: false }],
        includes: vec![
            (Meta::Key, "k".into()),
            (Meta::Partition, "p".into()),
            (Meta::Offset, "o".into()),
            (Meta::Timestamp, "t".into()),
        ],
        options: options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        format: None,
        start: Offsets::new(),
    }
}

/// Reads all columns from `from`.
pub(super) fn request(from: Offsets, until: Option<Offsets>) -> ReadRequest {
    ReadRequest {
        from,
        until,
        boundaries: Default::default(),
        columns: (0..5).collect(),
        batch_rows: 1000,
        background: false,
    }
}

/// An output that keeps everything.
#[derive(Default)]
pub(super) struct Collected {
    items: Mutex<(Vec<SourceItem>, bool)>,
    changed: Condvar,
}

impl SourceOutput for Collected {
    fn push(&self, item: SourceItem) -> Result<(), Closed> {
        let mut items = self.items.lock();
        if items.1 {
            return Err(Closed);
        }
        items.0.push(item);
        self.changed.notify_all();
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.items.lock().1
    }
}

impl Collected {
    /// Waits until the items fulfil something; panics after 15 seconds.
    pub(super) fn wait(&self, what: &str, enough: impl Fn(&[SourceItem]) -> bool) -> Vec<SourceItem> {
        let deadline = Instant::now() + Duration::from_secs(15);
        let mut items = self.items.lock();
        while !enough(&items.0) {
            let timed_out = self.changed.wait_until(&mut items, deadline).timed_out();
            assert!(!timed_out, "{what} did not come within 15 s: {:?}", items.0);
        }
        items.0.clone()
    }

    pub(super) fn close(&self) {
        self.items.lock().1 = true;
    }
}

/// The batches among items.
pub(super) fn batches(items: &[SourceItem]) -> Vec<&SourceBatch> {
    items.iter().filter_map(|item| if let SourceItem::Batch(batch) = item { Some(batch) } else { None }).collect()
}

/// Whether the last item is the end.
pub(super) fn finished(items: &[SourceItem]) -> bool {
    matches!(items.last(), Some(SourceItem::Finished))
}

/// Writes records to a partition and waits until they are acknowledged.
pub(super) fn produce(bootstrap: &str, topic: &str, partition: i32, records: &[(Option<&str>, Option<&str>)]) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    for (index, (key, payload)) in records.iter().enumerate() {
        let mut record = BaseRecord::<str, str>::to(topic).partition(partition).timestamp(1_000 + index as i64);
        record.key = *key;
        record.payload = *payload;
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}
