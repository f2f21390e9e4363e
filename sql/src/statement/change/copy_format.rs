//! The text and CSV formats of COPY: lines out of bytes, fields out of lines.
//!
//! Promises: data may be cut anywhere; a line is given when its end has come, a last one without
//! end when the data has ended; `\.` on a line of its own ends the data. Knows no types.

use thalweg_dataflow::error::{Error, Result, SqlState};

use crate::parser::Options;

/// How the data is written.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    pub(crate) layout: Layout,
    pub(crate) delimiter: u8,
    pub(crate) quote: u8,
    pub(crate) escape: u8,
    pub(crate) null: String,
    header: Header,
}

/// What the data looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Values between tabs, backslashes before what is special.
    Text,
    /// Values between commas, in quotes where they must be.
    Csv,
    /// Lengths and binary values.
    Binary,
}

/// What the first line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    /// Data.
    None,
    /// Passed over.
    Skip,
    /// The names of the columns.
    Match,
}

/// A line of data.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// Its fields; `None` is null.
    pub(crate) fields: Vec<Option<Vec<u8>>>,
    /// Whether it is the header.
    pub(crate) is_header: bool,
    matches: bool,
    raw: Vec<u8>,
}

impl Format {
    /// As the options say.
    pub(crate) fn of(options: &Options) -> Result<Format> {
        let layout = match options.get("format").map(String::as_str) {
            None | Some("text") => Layout::Text,
            Some("csv") => Layout::Csv,
            Some("binary") => Layout::Binary,
            Some(other) => {
                let message = format!("COPY format \"{other}\" not recognized");
                return Err(Error::new(SqlState::InvalidParameter, message));
            }
        };
        let csv = layout == Layout::Csv;
        let mut format = Format {
            layout,
            delimiter: if csv { b',' } else { b'\t' },
            quote: b'"',
            escape: b'"',
            null: if csv { String::new() } else { "\\N".into() },
            header: Header::None,
        };
        for (name, value) in options {
            match name.as_str() {
                "format" | "freeze" => {}
                "delimiter" | "null" | "header" if layout == Layout::Binary => {
                    let message = format!("cannot specify {} in BINARY mode", name.to_uppercase());
                    return Err(Error::new(SqlState::SyntaxError, message));
                }
                "encoding" if ["utf8", "utf-8", "unicode"].contains(&value.to_lowercase().as_str()) => {}
                "encoding" => return Err(Error::unsupported(format!("COPY with the encoding {value}"))),
                "delimiter" => format.delimiter = one_byte("delimiter", value)?,
                "null" => format.null.clone_from(value),
                "header" => format.header = header(value)?,
                "quote" | "escape" if !csv => {
                    let message = format!("COPY {name} available only in CSV mode");
                    return Err(Error::new(SqlState::FeatureNotSupported, message));
                }
                "quote" => format.quote = one_byte("quote", value)?,
                "escape" => format.escape = one_byte("escape", value)?,
                "force_not_null" | "force_null" => {
                    return Err(Error::unsupported(format!("the COPY option {}", name.to_uppercase())));
                }
                _ => {
                    let message = format!("option \"{name}\" not recognized");
                    return Err(Error::new(SqlState::SyntaxError, message));
                }
            }
        }
        if options.contains_key("quote") && !options.contains_key("escape") {
            format.escape = format.quote;
        }
        format.check()
    }

    /// Whether the data is CSV.
    pub(crate) fn is_csv(&self) -> bool {
        self.layout == Layout::Csv
    }

    /// Whether the first line has the names of the columns.
    pub(crate) fn has_header(&self) -> bool {
        self.header != Header::None
    }

    fn check(self) -> Result<Format> {
        if matches!(self.delimiter, b'\n' | b'\r') {
            let message = "COPY delimiter cannot be newline or carriage return";
            return Err(Error::new(SqlState::InvalidParameter, message));
        }
        if self.null.contains(['\n', '\r']) {
            let message = "COPY null representation cannot use newline or carriage return";
            return Err(Error::new(SqlState::InvalidParameter, message));
        }
        if !self.is_csv() && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&self.delimiter) {
            let message = format!("COPY delimiter cannot be \"{}\"", char::from(self.delimiter));
            return Err(Error::new(SqlState::InvalidParameter, message));
        }
        if self.is_csv() && self.delimiter == self.quote {
            return Err(Error::new(SqlState::InvalidParameter, "COPY delimiter and quote must be different"));
        }
        if self.null.as_bytes().contains(&self.delimiter) {
            let message = "COPY delimiter must not appear in the NULL specification";
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        Ok(self)
    }
}

fn one_byte(name: &str, value: &str) -> Result<u8> {
    match value.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(Error::new(SqlState::FeatureNotSupported, format!("COPY {name} must be a single one-byte character"))),
    }
}

fn header(value: &str) -> Result<Header> {
    match value.to_lowercase().as_str() {
        "true" | "on" | "1" => Ok(Header::Skip),
        "false" | "off" | "0" => Ok(Header::None),
        "match" => Ok(Header::Match),
        _ => Err(Error::new(SqlState::SyntaxError, "header requires a Boolean value or \"match\"")),
    }
}

/// How lines end; decided by the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Feed,
    Return,
    ReturnFeed,
}

/// Cuts data into lines.
#[derive(Debug)]
pub(crate) struct Splitter {
    format: Format,
    rest: Vec<u8>,
    /// How much of `rest` was taken.
    at: usize,
    number: usize,
    line_end: Option<LineEnd>,
    /// No more data comes.
    ended: bool,
    /// `\.` was read.
    marked: bool,
}

/// An error and the number of its line.
type Fault = (usize, Error);

impl Splitter {
    /// Before the first byte.
    pub(crate) fn new(format: Format) -> Splitter {
        Splitter { format, rest: Vec::new(), at: 0, number: 0, line_end: None, ended: false, marked: false }
    }

    /// Adds data.
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.rest.drain(..self.at);
        self.at = 0;
        if !self.marked {
            self.rest.extend_from_slice(data);
        }
    }

    /// No more data comes.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// The next line whose end has come.
    pub(crate) fn next(&mut self) -> Option<Result<Line, Fault>> {
        if self.marked {
            return None;
        }
        let (end, after, lines, unterminated) = match self.line() {
            Some(found) => found,
            None if self.ended && self.at < self.rest.len() => {
                let quoted = self.format.is_csv() && self.is_inside_quotes();
                (self.rest.len(), self.rest.len(), 1, quoted)
            }
            None => return None,
        };
        let raw = self.rest[self.at..end].to_vec();
        self.at = after;
        self.number += lines;
        if unterminated {
            return Some(Err((self.number, bad("unterminated CSV quoted field"))));
        }
        if raw == b"\\." {
            self.marked = true;
            return None;
        }
        let is_header = self.number == lines && self.format.header != Header::None;
        let fields = if self.format.is_csv() { self.csv_fields(&raw) } else { self.text_fields(&raw) };
        let matches = self.format.header == Header::Match;
        Some(match fields {
            Ok(fields) => Ok(Line { number: self.number, fields, is_header, matches, raw }),
            Err(_) if is_header && !matches => {
                Ok(Line { number: self.number, fields: Vec::new(), is_header, matches, raw })
            }
            Err(error) => Err((self.number, error)),
        })
    }

    /// Where the next line ends, where the one after it begins, how many ends of lines it holds, and
    /// whether a quote in it is open.
    fn line(&mut self) -> Option<(usize, usize, usize, bool)> {
        let (mut quoted, mut place, mut lines) = (false, self.at, 1);
        while let Some(&byte) = self.rest.get(place) {
            match byte {
                b'\n' | b'\r' if quoted => {
                    let first_half = byte == b'\r' && self.rest.get(place + 1) == Some(&b'\n');
                    lines += usize::from(!first_half);
                }
                b'\n' if self.line_end.is_none_or(|end| end == LineEnd::Feed) => {
                    self.line_end = Some(LineEnd::Feed);
                    return Some((place, place + 1, lines, false));
                }
                b'\r' if self.line_end != Some(LineEnd::Feed) => match (self.rest.get(place + 1), self.line_end) {
                    // What follows decides which kind of end this is.
                    (None, None | Some(LineEnd::ReturnFeed)) if !self.ended => return None,
                    (Some(b'\n'), None | Some(LineEnd::ReturnFeed)) => {
                        self.line_end = Some(LineEnd::ReturnFeed);
                        return Some((place, place + 2, lines, false));
                    }
                    (_, None | Some(LineEnd::Return)) => {
                        self.line_end = Some(LineEnd::Return);
                        return Some((place, place + 1, lines, false));
                    }
                    _ => {}
                },
                // In text a backslash takes the next byte along, also the end of a line.
                b'\\' if !self.format.is_csv() => place += 1,
                _ if self.format.is_csv()
                    && quoted
                    && byte == self.format.escape
                    && self.format.escape != self.format.quote
                    && [Some(&self.format.quote), Some(&self.format.escape)].contains(&self.rest.get(place + 1)) =>
                {
                    place += 1;
                }
                _ if self.format.is_csv() && byte == self.format.quote => quoted = !quoted,
                _ => {}
            }
            place += 1;
        }
        None
    }

    fn is_inside_quotes(&self) -> bool {
        let mut quoted = false;
        let mut bytes = self.rest[self.at..].iter().peekable();
        while let Some(byte) = bytes.next() {
            if quoted && *byte == self.format.escape && self.format.escape != self.format.quote {
                bytes.next_if(|next| [self.format.quote, self.format.escape].contains(*next));
            } else if *byte == self.format.quote {
                quoted = !quoted;
            }
        }
        quoted
    }

    fn text_fields(&self, raw: &[u8]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut fields = Vec::new();
        let mut start = 0;
        let mut place = 0;
        loop {
            match raw.get(place) {
                Some(b'\\') => place += 2,
                Some(byte) if *byte == self.format.delimiter => {
                    fields.push(self.text_field(&raw[start..place])?);
                    place += 1;
                    start = place;
                }
                Some(b'\r') => {
                    return Err(
                        bad("literal carriage return found in data").hint("Use \"\\r\" to represent carriage return.")
                    );
                }
                Some(b'\n') => {
                    return Err(bad("literal newline found in data").hint("Use \"\\n\" to represent newline."));
                }
                Some(_) => place += 1,
                None => {
                    fields.push(self.text_field(&raw[start.min(raw.len())..])?);
                    return Ok(fields);
                }
            }
        }
    }

    fn text_field(&self, raw: &[u8]) -> Result<Option<Vec<u8>>> {
        if raw == self.format.null.as_bytes() {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(raw.len());
        let mut bytes = raw.iter().copied().peekable();
        let octal = |byte: &u8| (b'0'..=b'7').contains(byte);
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            out.push(match bytes.next() {
                None => b'\\',
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(first) if octal(&first) => {
                    let mut value = u32::from(first - b'0');
                    for _ in 0..2 {
                        match bytes.next_if(octal) {
                            Some(digit) => value = value * 8 + u32::from(digit - b'0'),
                            None => break,
                        }
                    }
                    value as u8
                }
                Some(b'x') if bytes.peek().is_some_and(u8::is_ascii_hexdigit) => {
                    let mut value = 0;
                    for _ in 0..2 {
                        let digit =
                            bytes.next_if(u8::is_ascii_hexdigit).and_then(|digit| char::from(digit).to_digit(16));
                        match digit {
                            Some(digit) => value = value * 16 + digit,
                            None => break,
                        }
                    }
                    value as u8
                }
                Some(other) => other,
            });
        }
        checked(out).map(Some)
    }

    fn csv_fields(&self, raw: &[u8]) -> Result<Vec<Option<Vec<u8>>>> {
        let Format { delimiter, quote, escape, .. } = self.format;
        let mut fields = Vec::new();
        let (mut field, mut was_quoted, mut quoted) = (Vec::new(), false, false);
        let mut place = 0;
        loop {
            let byte = raw.get(place).copied();
            match byte {
                Some(byte)
                    if quoted && byte == escape && [Some(&quote), Some(&escape)].contains(&raw.get(place + 1)) =>
                {
                    place += 1;
                    field.push(raw[place]);
                }
                Some(byte) if byte == quote => {
                    quoted = !quoted;
                    was_quoted = true;
                }
                Some(byte) if quoted || byte != delimiter => field.push(byte),
                _ => {
                    let is_null = !was_quoted && field == self.format.null.as_bytes();
                    let value = std::mem::take(&mut field);
                    fields.push(if is_null { None } else { Some(checked(value)?) });
                    was_quoted = false;
                    if byte.is_none() {
                        return Ok(fields);
                    }
                }
            }
            place += 1;
        }
    }
}

impl Line {
    /// The line as messages show it.
    pub(crate) fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.raw);
        if text.chars().count() > 100 {
            format!("{}...", text.chars().take(100).collect::<String>())
        } else {
            text.into()
        }
    }

    /// Holds the header against the names of the columns, if it is to match.
    pub(crate) fn check_header(&self, names: &[&str]) -> Result<()> {
        if !self.matches {
            return Ok(());
        }
        if self.fields.len() != names.len() {
            let message =
                format!("wrong number of fields in header line: got {}, expected {}", self.fields.len(), names.len());
            return Err(bad(&message));
        }
        for (place, (field, name)) in self.fields.iter().zip(names).enumerate() {
            if field.as_deref() != Some(name.as_bytes()) {
                let got = field
                    .as_ref()
                    .map_or_else(|| "null value".into(), |got| format!("\"{}\"", String::from_utf8_lossy(got)));
                let message =
                    format!("column name mismatch in header line field {}: got {got}, expected \"{name}\"", place + 1);
                return Err(bad(&message));
            }
        }
        Ok(())
    }
}

fn bad(message: &str) -> Error {
    Error::new(SqlState::BadCopyFileFormat, message)
}

/// Text that is UTF-8 without zeros.
fn checked(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let fault = match std::str::from_utf8(&bytes) {
        Ok(_) => bytes.iter().position(|byte| *byte == 0).map(|place| place..place + 1),
        Err(error) => Some(error.valid_up_to()..error.valid_up_to() + error.error_len().unwrap_or(1)),
    };
    match fault {
        None => Ok(bytes),
        Some(range) => {
            let shown: Vec<String> =
                bytes[range.start..range.end.min(bytes.len())].iter().map(|byte| format!("0x{byte:02x}")).collect();
            let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
            Err(Error::new(SqlState::CharacterNotInRepertoire, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)], data: &str) -> Vec<String> {
        let options = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let format = Format::of(&options).unwrap();
        let mut answers = Vec::new();
        // However the data is cut, the lines are the same.
        for step in [1, 2, 3, data.len().max(1)] {
            let mut splitter = Splitter::new(format.clone());
            let mut lines = Vec::new();
            let mut take = |splitter: &mut Splitter| {
                while let Some(line) = splitter.next() {
                    lines.push(match line {
                        Ok(line) => {
                            let fields = line.fields.iter().map(|field| match field {
                                Some(bytes) => format!("<{}>", String::from_utf8_lossy(bytes)),
                                None => "null".into(),
                            });
                            let header = if line.is_header { " header" } else { "" };
                            format!("{}{header} {}", line.number, fields.collect::<Vec<_>>().join(" "))
                        }
                        Err((number, error)) => format!("{number} {} {}", error.state().code(), error.message()),
                    });
                }
            };
            for part in data.as_bytes().chunks(step) {
                splitter.push(part);
                take(&mut splitter);
            }
            splitter.end();
            take(&mut splitter);
            answers.push(lines);
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        answers.pop().unwrap()
    }

    #[test]
    fn text_is_cut_and_unescaped() {
        assert_eq!(read(&[], "1\ta\n2\t\\N\n"), ["1 <1> <a>", "2 <2> null"]);
        assert_eq!(read(&[], "a\\tb\\\\\\x41\\101\t\\\nx"), ["1 <a\tb\\AA> <\nx>"]);
        assert_eq!(read(&[], "a\r\nb\r\n"), ["1 <a>", "2 <b>"]);
        assert_eq!(read(&[], "a\rb"), ["1 <a>", "2 <b>"]);
        assert_eq!(read(&[], "a\nb\r\n"), ["1 <a>", "2 22P04 literal carriage return found in data"]);
        assert_eq!(read(&[], "a\n\\.\nb\n"), ["1 <a>"]);
        assert_eq!(read(&[("delimiter", "|"), ("null", "")], "a||\n"), ["1 <a> null null"]);
        assert_eq!(read(&[], ""), Vec::<String>::new());
        assert_eq!(read(&[], "\n"), ["1 <>"]);
    }

    #[test]
    fn csv_is_cut_and_unquoted() {
        let csv = ("format", "csv");
        assert_eq!(read(&[csv], "1,,\"\"\n"), ["1 <1> null <>"]);
        assert_eq!(read(&[csv], "\"a,\"\"b\"\"\",x\"y\"z\n"), ["1 <a,\"b\"> <xyz>"]);
        assert_eq!(read(&[csv], "\"a\nb\",c\nd,e"), ["2 <a\nb> <c>", "3 <d> <e>"]);
        assert_eq!(read(&[csv, ("header", "true")], "x,y\n1,2\n"), ["1 header <x> <y>", "2 <1> <2>"]);
        assert_eq!(read(&[csv], "\"open\nand on"), ["1 22P04 unterminated CSV quoted field"]);
        assert_eq!(read(&[csv, ("quote", "'"), ("escape", "\\")], "'it\\'s',b\n"), ["1 <it's> <b>"]);
        assert_eq!(read(&[csv], "a,b\r\n1,2\r\n"), ["1 <a> <b>", "2 <1> <2>"]);
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        for (options, wanted) in [
            (vec![("format", "xml")], "22023 COPY format \"xml\" not recognized"),
            (vec![("delimiter", "ab")], "0A000 COPY delimiter must be a single one-byte character"),
            (vec![("quote", "'")], "0A000 COPY quote available only in CSV mode"),
            (vec![("nosuch", "1")], "42601 option \"nosuch\" not recognized"),
            (vec![("delimiter", "a")], "22023 COPY delimiter cannot be \"a\""),
            (vec![("header", "maybe")], "42601 header requires a Boolean value or \"match\""),
        ] {
            let options = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let error = Format::of(&options).unwrap_err();
            assert_eq!(format!("{} {}", error.state().code(), error.message()), wanted);
        }
    }
}
