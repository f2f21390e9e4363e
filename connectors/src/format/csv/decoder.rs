//! Lines of CSV to columns.
//!
//! Promises: a row is in all built columns or in none; a bad line is reported with its place, its
//! column and its cause, and decoding goes on behind it; no input panics. Allocates nothing per row.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use thalweg_dataflow::Result;
use thalweg_dataflow::source::{BadRecord, Column};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::{ColumnBuilder, validate_text};

use super::scan::Marks;
use super::split::{RecordEnd, Splitter};
use super::{Blank, CsvOptions, Headers, Unbuilt};

/// The most bytes of a bad line that are kept.
const RAW_BYTES: usize = 64 * 1024;
/// Rows that builders have room for at first.
const CAPACITY: usize = 1024;
/// What a text editor may write before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a decoder made of the lines since it was last emptied.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The valid rows, with the built columns in the order that was asked for.
    pub rows: RecordBatch,
    /// The lines that are no rows.
    pub bad: Vec<BadRecord>,
    /// Header lines skipped.
    pub headers: u64,
}

/// Why [`CsvDecoder::decode_block`] stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// There are as many rows as wanted.
    Rows,
    /// The block has no whole line any more.
    Block,
}

/// What is done with a field.
#[derive(Debug)]
struct Step {
    column: usize,
    not_null: bool,
    task: Task,
}

#[derive(Debug)]
enum Task {
    Build(ColumnBuilder),
    Validate(PgType),
}

/// Turns lines into rows.
#[derive(Debug)]
pub struct CsvDecoder {
    options: CsvOptions,
    names: Vec<String>,
    /// The fields to look at, in the order of the line.
    steps: Vec<Step>,
    /// For each built column, in the order asked for, its step.
    order: Vec<usize>,
    schema: SchemaRef,
    splitter: Splitter,
    rows: usize,
    bad: Vec<BadRecord>,
    headers: u64,
}

/// Where a line lies.
#[derive(Clone, Copy)]
struct Tag {
    offset: i64,
    line: u32,
}

/// What is wrong with a line.
struct Fault {
    column: Option<usize>,
    cause: String,
}

impl CsvDecoder {
    /// A decoder for lines of `columns` that builds those at the places `built`, in this order.
    /// Places that do not exist, or come twice, are an internal error.
    pub fn new(columns: &[Column], built: &[usize], options: CsvOptions) -> Result<CsvDecoder> {
        let mut steps = Vec::new();
        for (place, column) in columns.iter().enumerate() {
            let task = match (built.contains(&place), options.unbuilt) {
                (true, _) => Task::Build(ColumnBuilder::new(&column.data_type, CAPACITY)),
                (false, Unbuilt::Validate) => Task::Validate(column.data_type.clone()),
                (false, Unbuilt::Ignore) => continue,
            };
            steps.push(Step { column: place, not_null: column.not_null, task });
        }
        let find = |place: &usize| {
            steps.iter().position(|step| step.column == *place).ok_or_else(|| {
                thalweg_dataflow::Error::internal(format!("column {place} of {} is out of range", columns.len()))
            })
        };
        let order: Vec<usize> = built.iter().map(find).collect::<Result<_>>()?;
        let field = |place: &usize| {
            let column = &columns[*place];
            column.data_type.field(&column.name, !column.not_null)
        };
        Ok(CsvDecoder {
            options,
            names: columns.iter().map(|column| column.name.clone()).collect(),
            order,
            schema: Arc::new(Schema::new(built.iter().map(field).collect::<Vec<_>>())),
            steps,
            splitter: Splitter::new(options.dialect),
            rows: 0,
            bad: Vec::new(),
            headers: 0,
        })
    }

    /// The schema of the rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows wait to be taken.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many bad lines wait to be taken.
    pub fn bad(&self) -> usize {
        self.bad.len()
    }

    /// Decodes the payload of one message: any number of lines, each tagged (`offset`, line from
    /// 1). Returns how many rows it has.
    pub fn decode(&mut self, payload: &[u8], offset: i64) -> usize {
        let before = self.rows;
        let mut marks = Marks::new(payload, self.splitter.needles(), 0);
        let mut tag = Tag { offset, line: 1 };
        let mut start = 0;
        loop {
            let end = self.splitter.next_record(payload, &mut marks, start, true);
            start = self.line(payload, start, end, tag);
            if start >= payload.len() {
                return self.rows - before;
            }
            tag.line = tag.line.saturating_add(1);
        }
    }

    /// Decodes lines of a block that starts at byte `base` of a file, until there are `limit` rows
    /// (bad lines count) or the block has no whole line any more; `last`: its end ends a line.
    /// Lines are tagged (byte in the file, 0). Returns how many bytes are done.
    pub fn decode_block(&mut self, block: &[u8], base: u64, last: bool, limit: usize) -> (usize, Stop) {
        let mut marks = Marks::new(block, self.splitter.needles(), 0);
        let mut start = 0;
        while start < block.len() {
            if self.rows + self.bad.len() >= limit {
                return (start, Stop::Rows);
            }
            let end = self.splitter.next_record(block, &mut marks, start, last);
            if end == RecordEnd::Unfinished {
                break;
            }
            let offset = i64::try_from(base.saturating_add(start as u64)).unwrap_or(i64::MAX);
            start = self.line(block, start, end, Tag { offset, line: 0 });
        }
        (start, Stop::Block)
    }

    /// Takes the rows; the decoder is empty afterwards.
    pub fn take(&mut self) -> Result<Decoded> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.order.len());
        for step in &self.order {
            if let Task::Build(builder) = &mut self.steps[*step].task {
                arrays.push(builder.finish());
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        Ok(Decoded { rows, bad: std::mem::take(&mut self.bad), headers: std::mem::take(&mut self.headers) })
    }

    /// Handles the line that was just split; returns where the next one starts.
    #[inline]
    fn line(&mut self, data: &[u8], start: usize, end: RecordEnd, tag: Tag) -> usize {
        let next = match end {
            RecordEnd::Whole { next } => next,
            RecordEnd::Malformed { next, cause } => {
                let fault = Fault { column: None, cause: cause.into() };
                self.report(data, start, next, tag, fault);
                return next;
            }
            RecordEnd::Unfinished => return data.len(),
        };
        if self.splitter.fields().len() == self.names.len() && !self.looks_like_header(data, start) {
            match self.row(data) {
                None => self.rows += 1,
                Some(fault) => self.report(data, start, next, tag, fault),
            }
        } else {
            self.odd_line(data, start, next, tag);
        }
        next
    }

    /// Appends a row, or says what is wrong with it.
    #[inline]
    fn row(&mut self, data: &[u8]) -> Option<Fault> {
        let fields = self.splitter.fields();
        for step in &mut self.steps {
            let (bytes, quoted) = self.splitter.value(data, fields[step.column]);
            let fault = if bytes.is_empty() && !quoted {
                match &mut step.task {
                    _ if step.not_null => null_fault(&self.names[step.column]),
                    Task::Build(builder) => {
                        builder.append_null();
                        continue;
                    }
                    Task::Validate(_) => continue,
                }
            } else {
                let verdict = match &mut step.task {
                    Task::Build(builder) => builder.append_text(bytes),
                    Task::Validate(data_type) => validate_text(data_type, bytes),
                };
                match verdict {
                    Ok(()) => continue,
                    Err(fault) => fault.message().to_string(),
                }
            };
            let fault = Fault { column: Some(step.column), cause: fault };
            self.undo();
            return Some(fault);
        }
        None
    }

    /// Takes back what a bad row has appended.
    #[cold]
    fn undo(&mut self) {
        for step in &mut self.steps {
            if let Task::Build(builder) = &mut step.task {
                builder.truncate(self.rows);
            }
        }
    }

    /// Cheap and nearly always false: the line begins as the column names do, or with a mark.
    #[inline]
    fn looks_like_header(&self, data: &[u8], start: usize) -> bool {
        let name = self.names.first().and_then(|name| name.as_bytes().first());
        match (data.get(start), name) {
            (Some(byte), Some(name)) => byte.eq_ignore_ascii_case(name) || matches!(byte, 0xef | b'"'),
            _ => true,
        }
    }

    /// A header, a blank line, a line with too few or too many fields, or a row after all.
    #[cold]
    fn odd_line(&mut self, data: &[u8], start: usize, next: usize, tag: Tag) {
        let fields = self.splitter.fields();
        if fields.len() == self.names.len() {
            if self.options.headers == Headers::Skip && self.is_header(data) {
                self.headers += 1;
            } else if self.names.len() == 1 && self.is_blank(data) && self.options.blank == Blank::Skip {
                // Nothing.
            } else {
                match self.row(data) {
                    None => self.rows += 1,
                    Some(fault) => self.report(data, start, next, tag, fault),
                }
            }
            return;
        }
        if self.is_blank(data) && self.options.blank == Blank::Skip {
            return;
        }
        let fault = match self.names.get(fields.len()) {
            Some(name) => Fault { column: Some(fields.len()), cause: format!("missing data for column \"{name}\"") },
            None => Fault { column: None, cause: "extra data after last expected column".into() },
        };
        self.report(data, start, next, tag, fault);
    }

    fn is_blank(&self, data: &[u8]) -> bool {
        matches!(self.splitter.fields(), [field] if self.splitter.value(data, *field) == (b"", false))
    }

    fn is_header(&self, data: &[u8]) -> bool {
        let fields = self.splitter.fields().iter().zip(&self.names).enumerate();
        for (place, (field, name)) in fields {
            let (mut bytes, _) = self.splitter.value(data, *field);
            if place == 0 {
                bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
                // Behind a mark the quotes are not at the field's beginning.
                bytes = bytes.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(bytes);
            }
            if !bytes.eq_ignore_ascii_case(name.as_bytes()) {
                return false;
            }
        }
        true
    }

    #[cold]
    fn report(&mut self, data: &[u8], start: usize, next: usize, tag: Tag, fault: Fault) {
        let line = data.get(start..next).unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.bad.push(BadRecord {
            offset: tag.offset,
            line: tag.line,
            at: None,
            column: fault.column.and_then(|column| self.names.get(column).cloned()),
            error: fault.cause,
            raw: line[..line.len().min(RAW_BYTES)].to_vec(),
        });
    }
}

#[cold]
fn null_fault(name: &str) -> String {
    format!("null value in column \"{name}\" violates not-null constraint")
}
