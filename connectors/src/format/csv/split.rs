//! One record of CSV into its fields.
//!
//! Promises: fields are places in the data (no copies), but for quoted ones with doubled quotes; no
//! input panics. Knows no columns.

use super::Dialect;
use super::scan::Marks;

/// One field of the record last split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    start: usize,
    end: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Without quotes.
    Plain,
    /// In quotes, as it stands between them.
    Quoted,
    /// In quotes, copied with its doubled quotes made single.
    Copied,
}

/// How a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordEnd {
    /// With a line feed before `next`, or with the data.
    Whole {
        /// Where the next record starts.
        next: usize,
    },
    /// The data ended before the record did, and more may follow.
    Unfinished,
    /// The line ends before `next`, but its quotes are wrong.
    Malformed {
        /// Where the next record starts.
        next: usize,
        /// What is wrong.
        cause: &'static str,
    },
}

const UNTERMINATED: &str = "unterminated CSV quoted field";
const AFTER_QUOTE: &str = "unexpected character after the closing quote of a CSV field";

/// Splits records.
#[derive(Debug)]
pub struct Splitter {
    dialect: Dialect,
    fields: Vec<Field>,
    copies: Vec<u8>,
}

impl Splitter {
    /// A splitter for lines that look so.
    pub fn new(dialect: Dialect) -> Splitter {
        Splitter { dialect, fields: Vec::new(), copies: Vec::new() }
    }

    /// The bytes that mean something.
    pub(super) fn needles(&self) -> [u8; 3] {
        [self.dialect.delimiter, b'\n', self.dialect.quote.unwrap_or(b'\n')]
    }

    /// The fields of the record last split.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The bytes of a field, quotes taken away, and whether it had any.
    #[inline]
    pub fn value<'a>(&'a self, data: &'a [u8], field: Field) -> (&'a [u8], bool) {
        let from = if field.kind == Kind::Copied { &self.copies[..] } else { data };
        (from.get(field.start..field.end).unwrap_or_default(), field.kind != Kind::Plain)
    }

    /// Splits the record at `start`. `last`: the data holds all there is, so its end ends a record.
    pub fn record(&mut self, data: &[u8], start: usize, last: bool) -> RecordEnd {
        let mut marks = Marks::new(data, self.needles(), start);
        self.next_record(data, &mut marks, start, last)
    }

    /// [`Splitter::record`] with marks that stand at `start`, and then at the next record.
    #[inline]
    pub(super) fn next_record(&mut self, data: &[u8], marks: &mut Marks<'_>, start: usize, last: bool) -> RecordEnd {
        self.fields.clear();
        let mut field = start;
        loop {
            let Some(at) = marks.next() else {
                if !last {
                    return RecordEnd::Unfinished;
                }
                self.push_last(data, field, data.len());
                return RecordEnd::Whole { next: data.len() };
            };
            let byte = data[at];
            if byte == self.dialect.delimiter {
                self.fields.push(Field { start: field, end: at, kind: Kind::Plain });
                field = at + 1;
            } else if byte == b'\n' {
                self.push_last(data, field, at);
                return RecordEnd::Whole { next: at + 1 };
            } else if at == field {
                let end = self.quoted_record(data, start, last);
                if let RecordEnd::Whole { next } | RecordEnd::Malformed { next, .. } = end {
                    marks.seek(next);
                }
                return end;
            }
        }
    }

    /// The last field of a line: a carriage return at its end is not part of it.
    #[inline]
    fn push_last(&mut self, data: &[u8], start: usize, end: usize) {
        let end = if end > start && data[end - 1] == b'\r' { end - 1 } else { end };
        self.fields.push(Field { start, end, kind: Kind::Plain });
    }

    /// A record with quoted fields, from its start, byte by byte where quotes are.
    #[cold]
    fn quoted_record(&mut self, data: &[u8], start: usize, last: bool) -> RecordEnd {
        self.fields.clear();
        self.copies.clear();
        let Some(quote) = self.dialect.quote else { return RecordEnd::Unfinished };
        let mut at = start;
        loop {
            let after = if data.get(at) == Some(&quote) {
                match self.quoted_field(data, at + 1, quote) {
                    Some(after) => after,
                    None if !last && !self.line_is_whole(data, start) => return RecordEnd::Unfinished,
                    None => return self.malformed(data, start, UNTERMINATED),
                }
            } else {
                self.plain_field(data, at)
            };
            match data.get(after) {
                None if !last => return RecordEnd::Unfinished,
                None => return RecordEnd::Whole { next: data.len() },
                Some(b'\n') => return RecordEnd::Whole { next: after + 1 },
                Some(byte) if *byte == self.dialect.delimiter => at = after + 1,
                Some(b'\r') if data.get(after + 1) == Some(&b'\n') => return RecordEnd::Whole { next: after + 2 },
                Some(b'\r') if after + 1 == data.len() && last => return RecordEnd::Whole { next: data.len() },
                Some(b'\r') if after + 1 == data.len() => return RecordEnd::Unfinished,
                Some(_) if !last && memchr::memchr(b'\n', &data[start..]).is_none() => return RecordEnd::Unfinished,
                Some(_) => return self.malformed(data, start, AFTER_QUOTE),
            }
        }
    }

    /// Whether an error can be told from this data: where line feeds end lines, once one is there.
    fn line_is_whole(&self, data: &[u8], from: usize) -> bool {
        !self.dialect.multiline && memchr::memchr(b'\n', &data[from..]).is_some()
    }

    /// A bad line ends at its first line feed, so that a lost quote costs one line.
    fn malformed(&self, data: &[u8], start: usize, cause: &'static str) -> RecordEnd {
        let next = memchr::memchr(b'\n', &data[start..]).map_or(data.len(), |feed| start + feed + 1);
        RecordEnd::Malformed { next, cause }
    }

    /// A field without quotes; returns where it ends.
    fn plain_field(&mut self, data: &[u8], start: usize) -> usize {
        let found = memchr::memchr2(self.dialect.delimiter, b'\n', &data[start..]);
        let end = found.map_or(data.len(), |place| start + place);
        match data.get(end) {
            Some(byte) if *byte == self.dialect.delimiter => {
                self.fields.push(Field { start, end, kind: Kind::Plain });
            }
            _ => self.push_last(data, start, end),
        }
        end
    }

    /// A field after its opening quote; returns the place after the closing one, if there is one.
    fn quoted_field(&mut self, data: &[u8], start: usize, quote: u8) -> Option<usize> {
        let copied = self.copies.len();
        let mut from = start;
        let mut doubled = false;
        loop {
            let end = from + memchr::memchr(quote, data.get(from..)?)?;
            if !self.dialect.multiline && memchr::memchr(b'\n', &data[from..end]).is_some() {
                return None;
            }
            if data.get(end + 1) == Some(&quote) {
                doubled = true;
                self.copies.extend_from_slice(&data[from..=end]);
                from = end + 2;
                continue;
            }
            let field = if doubled {
                self.copies.extend_from_slice(&data[from..end]);
                Field { start: copied, end: self.copies.len(), kind: Kind::Copied }
            } else {
                Field { start, end, kind: Kind::Quoted }
            };
            self.fields.push(field);
            return Some(end + 1);
        }
    }
}
