//! Replays a CSV file into a topic, line by line: `thalweg produce`.
//!
//! Promises: rows are numbered from 0 behind the header, and the row reached is one before which
//! all are acknowledged, so that going on there loses none (some may be written twice, as with
//! every producer that was cut off). Lines go as they are, without their line feed; blank ones are
//! left out. A field with a line feed inside quotes is not understood: a line is a row here.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::cluster::Cluster;
use super::event_time::{format_time, parse_time};
use super::produce::{Delivered, TopicWriter};
use crate::options::Rate;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How long acknowledgements are waited for at the end.
const LAST_WAIT: Duration = Duration::from_secs(130);
/// How long, after a stop was asked for.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// The column that `shift_time` moves.
const TIME_COLUMN: &str = "event_time";

/// What to replay, and how.
#[derive(Debug, Clone)]
pub struct Replay {
    /// A CSV file; `.gz` and `.zst` are unpacked.
    pub file: PathBuf,
    /// Rows over time.
    pub rate: Rate,
    /// The column whose text becomes the record's key.
    pub key: Option<String>,
    /// Lines a record, at least 1.
    pub lines_per_message: usize,
    /// Move all event_times so that the first one sent is this one (microseconds since 1970).
    pub shift_time_to: Option<i64>,
    /// The row to begin with.
    pub from_row: u64,
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// All rows before this one are acknowledged.
    pub row: u64,
    /// Payload bytes acknowledged by this run.
    pub bytes: u64,
    /// Bytes of the file read, as it lies on disk.
    pub file_read: u64,
    /// Its size.
    pub file_size: u64,
}

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// All rows before this one are acknowledged: where `from_row` goes on.
    pub row: u64,
    /// Rows acknowledged by this run.
    pub rows: u64,
    /// Payload bytes acknowledged by this run.
    pub bytes: u64,
    /// Whether the file's end was reached, rather than the stop asked for.
    pub complete: bool,
}

/// A replay that an error ended, and where it can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// The error.
    pub error: Error,
    /// All rows before this one are acknowledged.
    pub row: u64,
}

impl Replay {
    /// Replays into a topic that exists, until the end of the file or until `tell` (called with
    /// the progress, at least every second) returns false.
    ///
    /// # Errors
    /// 58P01 or 58030 for the file, 42703 for a key column that is not in its header, 08006 if
    /// records are not acknowledged.
    pub fn run(
        &self,
        cluster: &Cluster,
        topic: &str,
        tell: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Outcome, Interrupted> {
        let early = |error| Interrupted { error, row: self.from_row };
        let mut lines = Lines::open(&self.file).map_err(early)?;
        let plan = self.plan(&mut lines).map_err(early)?;
        let writer = TopicWriter::new(cluster, topic).map_err(early)?;
        let (now, last) = (Instant::now(), Progress { row: self.from_row, ..Progress::default() });
        let mut run = Run { replay: self, plan, writer, tell, told: now, last, begun: now, stopped: false };
        run.all(&mut lines).map_err(|error| Interrupted { error, row: run.row() })
    }

    /// Reads the header and finds the columns in it.
    fn plan(&self, lines: &mut Lines) -> Result<Plan> {
        if self.key.is_some() && self.lines_per_message > 1 {
            return Err(Error::new(
                SqlState::InvalidParameter,
                "a key and several lines per message do not go together",
            )
            .hint("Records of several lines have no common key."));
        }
        let mut header = Vec::new();
        let names = if lines.next(&mut header)? { fields(&header) } else { Vec::new() };
        let is_header = !names.is_empty() && names.iter().all(|name| is_name(name));
        if !is_header {
            lines.put_back(header);
        }
        let place = |column: &str| -> Result<usize> {
            let found = is_header.then(|| names.iter().position(|name| name.eq_ignore_ascii_case(column))).flatten();
            found.ok_or_else(|| {
                let error = Error::new(
                    SqlState::UndefinedColumn,
                    format!("column \"{column}\" is not in the header of {}", self.file.display()),
                );
                if is_header {
                    error.detail(format!("The header is {}.", names.join(",")))
                } else {
                    error.detail("Its first line is no header.")
                }
            })
        };
        Ok(Plan {
            key: self.key.as_deref().map(place).transpose()?,
            time: self.shift_time_to.map(|to| place(TIME_COLUMN).map(|column| (column, to))).transpose()?,
            shift: None,
        })
    }
}

/// What the header says about the columns that are needed.
struct Plan {
    key: Option<usize>,
    /// The time's column, and what the first one becomes.
    time: Option<(usize, i64)>,
    /// What is added to each time; known from the first row on.
    shift: Option<i64>,
}

struct Run<'a> {
    replay: &'a Replay,
    plan: Plan,
    writer: TopicWriter,
    tell: &'a mut dyn FnMut(&Progress) -> bool,
    told: Instant,
    last: Progress,
    begun: Instant,
    stopped: bool,
}

impl Run<'_> {
    fn all(&mut self, lines: &mut Lines) -> Result<Outcome> {
        let mut line = Vec::new();
        for _ in 0..self.replay.from_row {
            if !lines.next(&mut line)? {
                break;
            }
        }
        let (mut payload, mut rows, mut sent) = (Vec::new(), 0u32, 0u64);
        let mut more = true;
        while more && !self.stopped {
            more = lines.next(&mut line)?;
            if more {
                self.shift(&mut line);
                if rows > 0 {
                    payload.push(b'\n');
                }
                payload.extend_from_slice(&line);
                rows += 1;
            }
            if rows > 0 && (!more || rows as usize >= self.replay.lines_per_message.max(1)) {
                self.send(&payload, rows)?;
                sent += u64::from(rows);
                rows = 0;
                payload.clear();
                self.pace(sent, lines)?;
            }
        }
        let complete = !more && !self.stopped;
        self.finish(lines, complete)?;
        let Delivered { rows, bytes, .. } = self.writer.delivered();
        Ok(Outcome { row: self.row(), rows, bytes, complete })
    }

    /// Waits for the last acknowledgements; if a stop was asked for, not for long.
    fn finish(&mut self, lines: &Lines, complete: bool) -> Result<()> {
        let begun = Instant::now();
        loop {
            let limit = if self.stopped { STOP_WAIT } else { LAST_WAIT };
            let done = self.writer.flush(TELL_EVERY)?;
            self.say(lines);
            if done || (!complete && begun.elapsed() > limit) {
                return Ok(());
            }
            if begun.elapsed() > limit {
                return Err(Error::new(
                    SqlState::ConnectionFailure,
                    "Kafka did not acknowledge the last records in time",
                ));
            }
        }
    }

    fn row(&self) -> u64 {
        self.replay.from_row + self.writer.delivered().rows
    }

    fn send(&mut self, payload: &[u8], rows: u32) -> Result<()> {
        let key = self.plan.key.and_then(|column| field(payload, column));
        let (tell, last) = (&mut self.tell, &self.last);
        // While the broker takes nothing, nothing new is acknowledged either.
        let mut keep_waiting = || tell(last);
        let handed = self.writer.send(None, key.as_deref(), payload, rows, &mut keep_waiting)?;
        if !handed {
            self.stopped = true;
        }
        Ok(())
    }

    /// Tells progress, and waits while the run is ahead of its rate.
    fn pace(&mut self, sent: u64, lines: &Lines) -> Result<()> {
        loop {
            if self.told.elapsed() >= TELL_EVERY {
                self.say(lines);
            }
            let ahead = match self.replay.rate {
                Rate::Max => return Ok(()),
                Rate::Events { count, every } => {
                    Duration::from_secs_f64(sent as f64 * every.as_secs_f64() / count.max(1) as f64)
                        .saturating_sub(self.begun.elapsed())
                }
            };
            if self.stopped || ahead < Duration::from_millis(1) {
                return Ok(());
            }
            self.writer.wait(ahead.min(Duration::from_millis(50)))?;
        }
    }

    fn say(&mut self, lines: &Lines) {
        self.told = Instant::now();
        let Delivered { bytes, .. } = self.writer.delivered();
        self.last = Progress { row: self.row(), bytes, file_read: lines.read(), file_size: lines.size };
        self.stopped |= !(self.tell)(&self.last);
    }

    /// Moves the time of a line; one that is no time stays as it is.
    fn shift(&mut self, line: &mut [u8]) {
        let Some((column, first)) = self.plan.time else { return };
        let Some(range) = field_range(line, column) else { return };
        let Some(time) = parse_time(&line[range.clone()]) else { return };
        let shift = *self.plan.shift.get_or_insert(first.saturating_sub(time) / 1_000_000 * 1_000_000);
        if let Some(text) = format_time(time.saturating_add(shift)) {
            line[range.start..range.start + text.len()].copy_from_slice(&text);
        }
    }
}

/// The lines of a file, unpacked, with a count of what was read of it.
struct Lines {
    reader: Box<dyn BufRead>,
    path: PathBuf,
    size: u64,
    read: Arc<AtomicU64>,
    put_back: Option<Vec<u8>>,
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Lines {
    fn open(path: &Path) -> Result<Lines> {
        let fault = |error: std::io::Error| file_error(path, &error);
        let file = File::open(path).map_err(fault)?;
        let size = file.metadata().map_err(fault)?.len();
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { file, read: read.clone() };
        let reader: Box<dyn BufRead> = match path.extension().and_then(|end| end.to_str()) {
            Some("gz") => Box::new(BufReader::with_capacity(1 << 18, flate2::read::MultiGzDecoder::new(counted))),
            Some("zst" | "zstd") => {
                let unpacked = zstd::stream::read::Decoder::new(counted).map_err(fault)?;
                Box::new(BufReader::with_capacity(1 << 18, unpacked))
            }
            _ => Box::new(BufReader::with_capacity(1 << 18, counted)),
        };
        Ok(Lines { reader, path: path.to_path_buf(), size, read, put_back: None })
    }

    /// The next line that is not blank, without its line feed; false at the end.
    fn next(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        if let Some(back) = self.put_back.take() {
            *line = back;
            return Ok(!line.is_empty());
        }
        loop {
            line.clear();
            let count = self.reader.read_until(b'\n', line).map_err(|error| file_error(&self.path, &error))?;
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if count == 0 || !(line.is_empty() || line.as_slice() == b"\r") {
                return Ok(count > 0);
            }
        }
    }

    fn put_back(&mut self, line: Vec<u8>) {
        self.put_back = Some(line);
    }

    fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

fn file_error(path: &Path, error: &std::io::Error) -> Error {
    let (state, what) = match error.kind() {
        std::io::ErrorKind::NotFound => (SqlState::UndefinedFile, "open"),
        _ => (SqlState::IoError, "read"),
    };
    let reason = error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or_default();
    Error::new(state, format!("could not {what} file \"{}\": {reason}", path.display()))
}

/// Whether a field of a first line can be a column's name.
fn is_name(field: &str) -> bool {
    let mut bytes = field.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b' ' | b'-' | b'.'))
}

fn fields(line: &[u8]) -> Vec<String> {
    let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    (0..).map_while(|place| field(text, place)).map(|name| String::from_utf8_lossy(&name).into_owned()).collect()
}

/// Where the n-th field of a line lies, quotes left out.
fn field_range(line: &[u8], wanted: usize) -> Option<std::ops::Range<usize>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut start = 0;
    for place in 0.. {
        let quoted = line.get(start) == Some(&b'"');
        let end = if quoted {
            let mut at = start + 1;
            loop {
                at += memchr::memchr(b'"', line.get(at..)?)?;
                if line.get(at + 1) != Some(&b'"') {
                    break at + 1;
                }
                at += 2;
            }
        } else {
            start + memchr::memchr(b',', &line[start..]).unwrap_or(line.len() - start)
        };
        if place == wanted {
            return Some(if quoted { start + 1..end - 1 } else { start..end });
        }
        if line.get(end) != Some(&b',') {
            return None;
        }
        start = end + 1;
    }
    None
}

/// The n-th field's text.
fn field(line: &[u8], wanted: usize) -> Option<Vec<u8>> {
    let range = field_range(line, wanted)?;
    let quoted = range.start > 0 && line[range.start - 1] == b'"';
    let text = &line[range];
    if !quoted {
        return Some(text.to_vec());
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut skip = false;
    for byte in text {
        skip = *byte == b'"' && !skip;
        if !skip {
            plain.push(*byte);
        }
    }
    Some(plain)
}
