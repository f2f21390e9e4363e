//! Blocks of whole lines out of one piece of a file.
//!
//! Promises: memory stays bounded by [`LONGEST_LINE`]; each line that starts in the piece comes once,
//! none that starts outside. Where line feeds may lie inside quotes the piece must be the whole file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use thalweg_dataflow::{Error, Result, SqlState};

use super::listing::{DataFile, Packing, io_error};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// The longest line.
pub(super) const LONGEST_LINE: usize = 16 << 20;

/// The unpacked bytes of a file from `start` on.
fn open_stream(file: &DataFile, start: u64) -> io::Result<Box<dyn Read + Send>> {
    let mut raw = File::open(&file.path)?;
    let mut unpacked: Box<dyn Read + Send> = match file.packing {
        Packing::Plain => {
            raw.seek(SeekFrom::Start(start))?;
            return Ok(Box::new(raw));
        }
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(READ_BYTES, raw))),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(raw)?),
    };
    io::copy(&mut unpacked.by_ref().take(start), &mut io::sink())?;
    Ok(unpacked)
}

/// Reads a piece of a file block by block.
pub(super) struct Blocks {
    file: DataFile,
    stream: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are done with.
    done: usize,
    /// Where the buffer starts in the file.
    base: u64,
    /// Lines that start here or later belong to the next piece.
    end: u64,
    /// Whether the file has no more bytes.
    exhausted: bool,
}

/// Some whole lines, or, where quotes may hold line feeds, bytes that begin with a line.
pub(super) struct Block<'a> {
    pub(super) bytes: &'a [u8],
    /// Where they start in the file.
    pub(super) base: u64,
    /// Whether the piece ends with them.
    pub(super) last: bool,
}

impl Blocks {
    /// Opens the piece `start..end` of a file.
    pub(super) fn open(file: &DataFile, start: u64, end: u64) -> Result<Blocks> {
        // From the byte before: it tells whether a line starts at `start`.
        let base = start.saturating_sub(1);
        let stream = open_stream(file, base).map_err(|error| io_error("open file", &file.path, &error))?;
        let end = if file.packing == Packing::Plain { end } else { u64::MAX };
        let buffer = Vec::with_capacity(2 * READ_BYTES);
        let mut blocks = Blocks { file: file.clone(), stream, buffer, done: 0, base, end, exhausted: false };
        if start > 0 {
            blocks.skip_line()?;
        }
        Ok(blocks)
    }

    /// Goes behind the next line feed.
    fn skip_line(&mut self) -> Result<()> {
        loop {
            if let Some(feed) = memchr::memchr(b'\n', &self.buffer[self.done..]) {
                self.done += feed + 1;
                return Ok(());
            }
            self.done = self.buffer.len();
            if self.exhausted {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// What is there now; `None` when the piece has no line any more. `more`: what is there holds
    /// no whole line, so read on.
    pub(super) fn next(&mut self, more: bool) -> Result<Option<Block<'_>>> {
        if more || self.done == self.buffer.len() {
            self.fill()?;
        }
        loop {
            let at = self.base + self.done as u64;
            if at >= self.end || (self.exhausted && self.done == self.buffer.len()) {
                return Ok(None);
            }
            // The last line that starts in the piece holds the byte before its end.
            let last_byte = self.end.saturating_sub(1).saturating_sub(self.base);
            let found = usize::try_from(last_byte).ok().filter(|byte| *byte < self.buffer.len());
            let cut = found.and_then(|byte| Some(byte + memchr::memchr(b'\n', &self.buffer[byte..])? + 1));
            let last = cut.is_some() || self.exhausted;
            if !last && self.done == self.buffer.len() {
                self.fill()?;
                continue;
            }
            let bytes = &self.buffer[self.done..cut.unwrap_or(self.buffer.len())];
            return Ok(Some(Block { bytes, base: at, last }));
        }
    }

    /// Marks bytes of the block as done.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.done = (self.done + bytes).min(self.buffer.len());
    }

    fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.done);
        self.base += self.done as u64;
        self.done = 0;
        if self.exhausted {
            return Ok(());
        }
        if self.buffer.len() >= LONGEST_LINE {
            let message = format!("a line of file \"{}\" is longer than {} MiB", self.file.path, LONGEST_LINE >> 20);
            return Err(Error::new(SqlState::ProgramLimitExceeded, message)
                .detail(format!("It starts at byte {}.", self.base))
                .hint("Perhaps a quote is not closed."));
        }
        let read = (&mut self.stream).take(READ_BYTES as u64).read_to_end(&mut self.buffer);
        let read = read.map_err(|error| io_error("read file", &self.file.path, &error))?;
        self.exhausted = read == 0;
        Ok(())
    }
}

/// Numbers of lines by their place, found out only when somebody asks.
pub(super) struct LineNumbers {
    file: DataFile,
    stream: Option<Box<dyn Read + Send>>,
    at: u64,
    line: u64,
}

impl LineNumbers {
    pub(super) fn new(file: &DataFile) -> LineNumbers {
        LineNumbers { file: file.clone(), stream: None, at: 0, line: 1 }
    }

    /// The number, from 1, of the line that starts at a place not before the last one asked for.
    pub(super) fn of(&mut self, place: u64) -> Result<u64> {
        let failed = |error: io::Error| io_error("read file", &self.file.path, &error);
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => self.stream.insert(open_stream(&self.file, 0).map_err(failed)?),
        };
        let mut buffer = vec![0; READ_BYTES];
        while self.at < place {
            let wanted = usize::try_from(place - self.at).unwrap_or(READ_BYTES).min(READ_BYTES);
            let read = match stream.read(&mut buffer[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(failed)?,
            };
            if read == 0 {
                break;
            }
            self.line += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64;
            self.at += read as u64;
        }
        Ok(self.line)
    }
}
