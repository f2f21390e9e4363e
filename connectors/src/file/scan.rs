//! The files of an external table as a scan: splits, and the batches of one.
//!
//! Promises: batches in file order, made one at a time when asked for. See the module above.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatchOptions;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use thalweg_dataflow::scan::{Batches, Scan, Split};
use thalweg_dataflow::source::{BadLines, BadRecord, Column, FileDefinition};
use thalweg_dataflow::types::{PgType, validate_text};
use thalweg_dataflow::{Error, Result, SqlState};

use super::block::{Block, Blocks, LineNumbers};
use super::config::{Config, Header};
use super::listing::{DataFile, Packing, list};
use super::{infer, infer::is_header};
use crate::format::csv::{Blank, CsvDecoder, CsvOptions, Headers, RecordEnd, Splitter, Stop, Unbuilt};

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// The smallest piece that a file is cut into.
const SMALLEST_SPLIT: u64 = 4 << 20;
/// Bytes of a malformed line that an error shows.
const SHOWN_BYTES: usize = 200;

/// The files of one external table.
#[derive(Debug)]
pub(super) struct FileScan {
    config: Config,
    location: String,
    columns: Vec<Column>,
    schema: SchemaRef,
    skipped: Arc<dyn BadLines>,
}

impl FileScan {
    pub(super) fn open(definition: &FileDefinition, skipped: Arc<dyn BadLines>) -> Result<FileScan> {
        let config = Config::parse(definition)?;
        let files = list(&definition.location)?;
        let columns = match definition.columns.is_empty() {
            true => infer::columns(&files, &config)?,
            false => definition.columns.clone(),
        };
        let field = |column: &Column| column.data_type.field(&column.name, !column.not_null);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        Ok(FileScan { config, location: definition.location.clone(), columns, schema, skipped })
    }

    /// Pieces of a file: one if its lines cannot be told apart from anywhere.
    fn pieces(&self, file: &DataFile, size: u64) -> Vec<Split> {
        let split = |start, end| Split { path: file.path.clone(), start, end };
        if file.packing != Packing::Plain || self.config.dialect.multiline {
            return vec![split(0, file.size)];
        }
        let count = file.size.div_ceil(size).max(1);
        let bound = |piece: u64| (u128::from(file.size) * u128::from(piece) / u128::from(count)) as u64;
        (0..count).map(|piece| split(bound(piece), bound(piece + 1))).collect()
    }
}

impl Scan for FileScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn splits(&self, wanted: usize) -> Result<Vec<Split>> {
        let files = list(&self.location)?;
        let total: u64 = files.iter().map(|file| file.size).sum();
        let size = total.div_ceil(wanted.max(1) as u64).max(SMALLEST_SPLIT);
        Ok(files.iter().flat_map(|file| self.pieces(file, size)).collect())
    }

    fn read(&self, split: &Split, columns: &[usize]) -> Result<Batches> {
        let file = list(&split.path)?.remove(0);
        let headers = if self.config.header == Header::No { Headers::Keep } else { Headers::Skip };
        let dialect = self.config.dialect;
        let options = CsvOptions { dialect, headers, unbuilt: Unbuilt::Ignore, blank: Blank::Skip };
        let end = if dialect.multiline { u64::MAX } else { split.end };
        Ok(Box::new(Reading {
            blocks: Blocks::open(&file, split.start, end)?,
            decoder: CsvDecoder::new(&self.columns, columns, options)?,
            splitter: Splitter::new(dialect),
            numbers: LineNumbers::new(&file),
            path: file.path,
            columns: self.columns.clone(),
            config: self.config.clone(),
            skipped: Arc::clone(&self.skipped),
            counting: columns.is_empty() && !dialect.multiline,
            at_start: split.start == 0,
            more: false,
            finished: false,
        }))
    }
}

/// One split being read.
struct Reading {
    blocks: Blocks,
    decoder: CsvDecoder,
    splitter: Splitter,
    numbers: LineNumbers,
    path: String,
    columns: Vec<Column>,
    config: Config,
    skipped: Arc<dyn BadLines>,
    /// Whether lines are only counted.
    counting: bool,
    /// Whether the file's first line is still to come.
    at_start: bool,
    /// Whether what is read holds no whole line.
    more: bool,
    finished: bool,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reading {}", self.path)
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        while !self.finished {
            match self.step() {
                Ok(Some(rows)) if rows.num_rows() > 0 => return Some(Ok(rows)),
                Ok(_) => {}
                Err(error) => {
                    self.finished = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Reading {
    /// Works on one block; a batch when one is full or the split ends.
    fn step(&mut self) -> Result<Option<RecordBatch>> {
        let Some(block) = self.blocks.next(self.more)? else {
            self.finished = true;
            return self.take().map(Some);
        };
        let mut done = 0;
        if self.at_start {
            match first_line(&mut self.splitter, &block, &self.columns, self.config.header) {
                None => {
                    self.more = true;
                    return Ok(None);
                }
                Some(skip) => done = skip,
            }
            self.at_start = false;
        }
        let rest = &block.bytes[done..];
        let (base, last) = (block.base + done as u64, block.last);
        if self.counting {
            let (bytes, rows) = count_lines(rest, last, &mut self.splitter, &self.columns, self.config.header);
            self.more = bytes + done == 0;
            self.blocks.consume(done + bytes);
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            return Ok(Some(RecordBatch::try_new_with_options(
                Arc::clone(self.decoder.schema()),
                Vec::new(),
                &options,
            )?));
        }
        let (bytes, stop) = self.decoder.decode_block(rest, base, last, BATCH_ROWS);
        self.more = stop == Stop::Block && bytes + done == 0;
        self.blocks.consume(done + bytes);
        match stop {
            Stop::Rows => self.take().map(Some),
            Stop::Block => Ok(None),
        }
    }

    fn take(&mut self) -> Result<RecordBatch> {
        let decoded = self.decoder.take()?;
        for bad in &decoded.bad {
            self.malformed(bad)?;
        }
        Ok(decoded.rows)
    }

    fn malformed(&mut self, bad: &BadRecord) -> Result<()> {
        let line = self.numbers.of(bad.offset.unsigned_abs())?;
        if self.config.skip {
            self.skipped.skip(&self.path, line, bad.column.as_deref(), &bad.error, &bad.raw);
            return Ok(());
        }
        let column = bad.column.as_ref().map(|name| format!(", column \"{name}\"")).unwrap_or_default();
        let message = format!("file \"{}\", line {line}{column}: {}", self.path, bad.error);
        let shown = String::from_utf8_lossy(&bad.raw[..bad.raw.len().min(SHOWN_BYTES)]).replace('\0', "\u{fffd}");
        Err(Error::new(SqlState::InvalidTextRepresentation, message)
            .detail(format!("The line is: {shown}"))
            .hint("OPTIONS ('on_error' 'skip') leaves such lines out and lists them in thalweg.file_errors."))
    }
}

/// How many bytes to skip because the file's first line is a header (a byte order mark is skipped
/// in any case); `None`: the line is not all there yet.
fn first_line(splitter: &mut Splitter, block: &Block<'_>, columns: &[Column], header: Header) -> Option<usize> {
    let mark = if block.bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let next = match splitter.record(block.bytes, mark, block.last) {
        RecordEnd::Unfinished => return None,
        RecordEnd::Malformed { .. } => return Some(mark),
        RecordEnd::Whole { next } => next,
    };
    let fields: Vec<&[u8]> = splitter.fields().iter().map(|field| splitter.value(block.bytes, *field).0).collect();
    let skip = match header {
        Header::Yes => true,
        Header::No => false,
        Header::Auto => {
            // Words where numbers should be are names, even if the columns were declared otherwise.
            let is_text = |column: &Column| matches!(column.data_type, PgType::Text | PgType::Varchar(_));
            let pairs = || fields.iter().zip(columns);
            let same = pairs().all(|(field, column)| field.eq_ignore_ascii_case(column.name.as_bytes()));
            let odd =
                pairs().any(|(field, column)| !is_text(column) && validate_text(&column.data_type, field).is_err());
            fields.len() == columns.len() && (same || (odd && is_header(&fields, header)))
        }
    };
    Some(if skip { next } else { mark })
}

/// Counts the rows among the whole lines of a block; returns its bytes and them.
fn count_lines(
    bytes: &[u8],
    last: bool,
    splitter: &mut Splitter,
    columns: &[Column],
    header: Header,
) -> (usize, usize) {
    let end = match last {
        true => bytes.len(),
        false => memchr::memrchr(b'\n', bytes).map_or(0, |feed| feed + 1),
    };
    let lines = &bytes[..end];
    if lines.is_empty() {
        return (0, 0);
    }
    let open = usize::from(lines.last() != Some(&b'\n'));
    let all = memchr::memchr_iter(b'\n', lines).count() + open;
    let headers = if header == Header::No { 0 } else { count_headers(lines, splitter, columns) };
    (end, all - count_blank(lines) - headers)
}

/// Lines without any byte but their line end.
fn count_blank(lines: &[u8]) -> usize {
    let blank_first = lines.starts_with(b"\n") || lines.starts_with(b"\r\n") || lines == b"\r";
    let found = |pattern: &[u8]| memchr::memmem::find(lines, pattern).is_some();
    if !blank_first && !found(b"\n\n") && !found(b"\n\r\n") && !lines.ends_with(b"\n\r") {
        return 0;
    }
    let text = lines.strip_suffix(b"\n").unwrap_or(lines);
    text.split(|byte| *byte == b'\n').filter(|line| line.is_empty() || *line == b"\r").count()
}

/// Headers that stand between the lines, written as the columns' names are.
fn count_headers(lines: &[u8], splitter: &mut Splitter, columns: &[Column]) -> usize {
    let Some(first) = columns.first() else { return 0 };
    let mut count = 0;
    for at in memchr::memmem::find_iter(lines, first.name.as_bytes()) {
        let starts = at == 0 || lines[at - 1] == b'\n';
        if starts && matches!(splitter.record(lines, at, true), RecordEnd::Whole { .. }) {
            let fields = splitter.fields();
            let same = |(field, column): (&_, &Column)| {
                splitter.value(lines, *field).0.eq_ignore_ascii_case(column.name.as_bytes())
            };
            count += usize::from(fields.len() == columns.len() && fields.iter().zip(columns).all(same));
        }
    }
    count
}
