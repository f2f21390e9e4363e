//! One partition as it is read: records in, batches out, position, boundaries and end.
//!
//! Promises: a batch ends exactly at each boundary and nothing at or past `until` is in one; the
//! position passes transaction markers and compacted gaps. Pure: knows no client and no thread, so
//! that it is tested without either.

use std::collections::VecDeque;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use thalweg_dataflow::Result;
use thalweg_dataflow::source::{BadRecord, Meta, SourceBatch};

use super::include::IncludeBuilder;
use crate::payload::{DecoderFactory, PayloadDecoder};

/// The most bytes of a bad line that are kept.
const RAW_LIMIT: usize = 64 * 1024;

/// A record as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) offset: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) payload: Option<&'a [u8]>,
    /// Microseconds since 1970.
    pub(super) at: Option<i64>,
}

/// Which columns a batch has: places among the declared ones and INCLUDE columns, in order.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The columns to build, as places in the source's schema.
    pub(super) columns: Vec<usize>,
    /// How many columns were declared; the others are INCLUDE columns.
    pub(super) declared: usize,
    /// The INCLUDE columns with their names.
    pub(super) includes: Vec<(Meta, String)>,
    /// The schema of a batch.
    pub(super) schema: SchemaRef,
    /// The most rows of a batch.
    pub(super) batch_rows: usize,
}

enum Place {
    Payload(usize),
    Include(usize),
}

/// The state of one partition.
pub(super) struct PartitionReader {
    id: i32,
    position: i64,
    pushed: i64,
    until: Option<i64>,
    boundaries: VecDeque<i64>,
    decoder: Box<dyn PayloadDecoder>,
    places: Vec<Place>,
    includes: Vec<IncludeBuilder>,
    key_column: Option<String>,
    schema: SchemaRef,
    batch_rows: usize,
    bad: Vec<BadRecord>,
    times: Vec<(i64, Option<i64>)>,
    tombstones: u64,
    bytes: u64,
}

impl PartitionReader {
    /// A partition that starts at `from`.
    pub(super) fn new(
        id: i32,
        from: i64,
        until: Option<i64>,
        boundaries: &[i64],
        layout: &Layout,
        decoders: &DecoderFactory,
    ) -> Result<PartitionReader> {
        let mut payload_columns = Vec::new();
        let mut includes = Vec::new();
        let mut places = Vec::new();
        for column in &layout.columns {
            if *column < layout.declared {
                places.push(Place::Payload(payload_columns.len()));
                payload_columns.push(*column);
            } else {
                places.push(Place::Include(includes.len()));
                includes.push(IncludeBuilder::new(layout.includes[*column - layout.declared].0, id));
            }
        }
        Ok(PartitionReader {
            id,
            position: from,
            pushed: from,
            until,
            boundaries: boundaries.iter().copied().filter(|boundary| *boundary > from).collect(),
            decoder: decoders(&payload_columns)?,
            places,
            includes,
            key_column: layout.includes.iter().find(|(meta, _)| *meta == Meta::Key).map(|(_, name)| name.clone()),
            schema: layout.schema.clone(),
            batch_rows: layout.batch_rows.max(1),
            bad: Vec::new(),
            times: Vec::new(),
            tombstones: 0,
            bytes: 0,
        })
    }

    /// The next offset to read.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Whether `until` is reached.
    pub(super) fn done(&self) -> bool {
        self.until.is_some_and(|until| self.position >= until)
    }

    /// Whether something waits for [`PartitionReader::flush`].
    pub(super) fn pending(&self) -> bool {
        self.position > self.pushed
    }

    /// Takes a record; finished batches go to `out`. A record before the position (seen already)
    /// is ignored, one at or past `until` ends the partition.
    pub(super) fn record(&mut self, record: Record<'_>, out: &mut Vec<SourceBatch>) -> Result<()> {
        if record.offset < self.position || self.done() {
            return Ok(());
        }
        self.advance(record.offset, out)?;
        if self.done() {
            return Ok(());
        }
        match record.payload {
            None => self.tombstones += 1,
            Some(payload) => self.decode(record, payload),
        }
        self.position = record.offset.saturating_add(1);
        if self.decoder.rows() >= self.batch_rows {
            self.flush(out)?;
        }
        self.advance(self.position, out)
    }

    /// Everything before `position` has been seen: passes gaps, cuts batches at boundaries.
    pub(super) fn advance(&mut self, position: i64, out: &mut Vec<SourceBatch>) -> Result<()> {
        let stop = self.until.map_or(position, |until| position.min(until));
        while let Some(boundary) = self.boundaries.front().copied().filter(|boundary| *boundary <= stop) {
            self.boundaries.pop_front();
            self.position = self.position.max(boundary);
            self.flush(out)?;
        }
        self.position = self.position.max(stop);
        if self.done() {
            self.flush(out)?;
        }
        Ok(())
    }

    /// Ends the batch, if there is progress to tell.
    pub(super) fn flush(&mut self, out: &mut Vec<SourceBatch>) -> Result<()> {
        if !self.pending() {
            return Ok(());
        }
        let decoded = self.decoder.take()?;
        let count = decoded.rows.num_rows();
        let columns: Vec<ArrayRef> = self
            .places
            .iter()
            .map(|place| match place {
                Place::Payload(at) => decoded.rows.column(*at).clone(),
                Place::Include(at) => self.includes[*at].finish(count),
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let mut bad = decoded.bad;
        bad.append(&mut self.bad);
        for record in &mut bad {
            if let Ok(found) = self.times.binary_search_by_key(&record.offset, |(offset, _)| *offset) {
                record.at = self.times[found].1;
            }
        }
        bad.sort_by_key(|record| (record.offset, record.line));
        self.times.clear();
        self.pushed = self.position;
        out.push(SourceBatch {
            partition: self.id,
            end: self.position,
            rows,
            bad,
            headers: decoded.headers,
            tombstones: std::mem::take(&mut self.tombstones),
            bytes: std::mem::take(&mut self.bytes),
        });
        Ok(())
    }

    fn decode(&mut self, record: Record<'_>, payload: &[u8]) {
        self.bytes += payload.len() as u64;
        let key = match (&self.key_column, record.key) {
            (Some(column), Some(key)) => match text_key(key) {
                Ok(key) => Some(key),
                Err(error) => {
                    self.bad.push(BadRecord {
                        offset: record.offset,
                        line: 1,
                        at: record.at,
                        column: Some(column.clone()),
                        error,
                        raw: payload[..payload.len().min(RAW_LIMIT)].to_vec(),
                    });
                    self.times.push((record.offset, record.at));
                    return;
                }
            },
            _ => None,
        };
        let (rows, bad) = (self.decoder.rows(), self.decoder.bad());
        self.decoder.decode(payload, record.offset);
        if self.decoder.bad() > bad {
            self.times.push((record.offset, record.at));
        }
        let new_rows = self.decoder.rows() - rows;
        for include in &mut self.includes {
            include.append(new_rows, key, record.offset, record.at);
        }
    }
}

/// A key as text, or why it is none.
fn text_key(key: &[u8]) -> Result<&str, String> {
    match std::str::from_utf8(key) {
        Ok(text) if !text.contains('\0') => Ok(text),
        Ok(_) => Err("invalid byte sequence for encoding \"UTF8\": 0x00".into()),
        Err(fault) => {
            let from = fault.valid_up_to();
            let length = fault.error_len().unwrap_or(key.len() - from).min(4);
            let bytes: Vec<String> = key[from..from + length].iter().map(|byte| format!("0x{byte:02x}")).collect();
            Err(format!("invalid byte sequence for encoding \"UTF8\": {}", bytes.join(" ")))
        }
    }
}
