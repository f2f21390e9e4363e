//! The columns of files that declare none, from a bounded sample.
//!
//! Promises the narrowest of boolean, bigint, numeric, double precision (only for exponents), date,
//! timestamp, timestamptz and text that fits every value of the sample and prints it as it stands
//! in the file; so `007` is text, and `35.79` numeric. A later value that does not fit fails its
//! line. Reads at most [`SAMPLE_LINES`] lines.

use std::collections::HashSet;

use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::{PgType, validate_text};
use thalweg_dataflow::{Error, Result, SqlState};

use super::block::Blocks;
use super::config::{Config, Header};
use super::listing::DataFile;
use crate::format::csv::{RecordEnd, Splitter};

/// The most lines looked at.
const SAMPLE_LINES: usize = 10_000;

/// The candidates, in order of preference; a column's set of them is a bit mask.
const CANDIDATES: [PgType; 7] = [
    PgType::Bool,
    PgType::Int8,
    PgType::Numeric(None),
    PgType::Float8,
    PgType::Date,
    PgType::Timestamp,
    PgType::Timestamptz,
];
const ALL: u8 = 0x7f;

/// The columns of a table.
pub(super) fn columns(files: &[DataFile], config: &Config) -> Result<Vec<Column>> {
    let mut sample = Sample { config, first: None, fits: Vec::new(), seen: Vec::new(), lines: 0 };
    for file in files {
        if sample.lines < SAMPLE_LINES {
            sample.read(file)?;
        }
    }
    let Some(names) = sample.names() else {
        let message = format!("could not infer the columns of \"{}\": it is empty", files[0].path);
        return Err(Error::new(SqlState::InvalidObjectDefinition, message).hint("Declare the columns."));
    };
    let column = |(place, name): (usize, String)| {
        let fits = if sample.seen[place] { sample.fits[place] } else { 0 };
        let found = CANDIDATES.iter().enumerate().find(|(bit, _)| fits >> bit & 1 == 1);
        let data_type = found.map_or(PgType::Text, |(_, data_type)| data_type.clone());
        Column { name, data_type, not_null: false }
    };
    Ok(names.into_iter().enumerate().map(column).collect())
}

struct Sample<'a> {
    config: &'a Config,
    /// The fields of the first line of the first file that has one.
    first: Option<Vec<String>>,
    fits: Vec<u8>,
    seen: Vec<bool>,
    lines: usize,
}

impl Sample<'_> {
    fn read(&mut self, file: &DataFile) -> Result<()> {
        let mut blocks = Blocks::open(file, 0, u64::MAX)?;
        let mut splitter = Splitter::new(self.config.dialect);
        let (mut more, mut head) = (false, true);
        while let Some(block) = blocks.next(more)? {
            let mut at = 0;
            while at < block.bytes.len() && self.lines < SAMPLE_LINES {
                match splitter.record(block.bytes, at, block.last) {
                    RecordEnd::Unfinished => break,
                    RecordEnd::Malformed { next, .. } => at = next,
                    RecordEnd::Whole { next } => {
                        let values: Vec<_> =
                            splitter.fields().iter().map(|field| splitter.value(block.bytes, *field)).collect();
                        if values != [(&b""[..], false)] {
                            self.line(&values, head);
                            head = false;
                        }
                        at = next;
                    }
                }
            }
            if self.lines >= SAMPLE_LINES || (block.last && at == 0) {
                return Ok(());
            }
            more = at == 0;
            blocks.consume(at);
        }
        Ok(())
    }

    fn line(&mut self, values: &[(&[u8], bool)], head: bool) {
        self.lines += 1;
        if self.first.is_none() {
            let text =
                |(bytes, _): &(&[u8], bool)| String::from_utf8_lossy(bytes).trim_start_matches('\u{feff}').to_string();
            self.first = Some(values.iter().map(text).collect());
            self.fits = vec![ALL; values.len()];
            self.seen = vec![false; values.len()];
        }
        let fields: Vec<&[u8]> = values.iter().map(|(bytes, _)| *bytes).collect();
        if values.len() != self.fits.len()
            || (head && is_header(&fields, self.config.header))
            || self.repeats_header(&fields)
        {
            return;
        }
        for (place, (bytes, quoted)) in values.iter().enumerate() {
            if *quoted || !bytes.is_empty() {
                self.seen[place] = true;
                self.fits[place] &= fitting(bytes);
            }
        }
    }

    /// Whether a line is the header once more, as in files put behind each other.
    fn repeats_header(&self, fields: &[&[u8]]) -> bool {
        let Some(first) = &self.first else { return false };
        let names: Vec<&[u8]> = first.iter().map(|name| name.as_bytes()).collect();
        self.config.header != Header::No && names == fields && is_header(&names, self.config.header)
    }

    /// The columns' names: the header's, made distinct, or `column1`, `column2` and so on.
    fn names(&self) -> Option<Vec<String>> {
        let first = self.first.as_ref()?;
        let fields: Vec<&[u8]> = first.iter().map(|name| name.as_bytes()).collect();
        let header = is_header(&fields, self.config.header);
        let mut taken = HashSet::new();
        let mut name = |(place, name): (usize, &String)| {
            let plain = format!("column{}", place + 1);
            let name = if header && !name.trim().is_empty() { name.trim().to_lowercase() } else { plain };
            let mut distinct = name.clone();
            let mut number = 1;
            while !taken.insert(distinct.clone()) {
                number += 1;
                distinct = format!("{name}_{number}");
            }
            distinct
        };
        Some(first.iter().enumerate().map(&mut name).collect())
    }
}

/// Whether a first line holds names: it is said so, or all its fields are distinct words.
pub(super) fn is_header(fields: &[&[u8]], header: Header) -> bool {
    match header {
        Header::Yes => true,
        Header::No => false,
        Header::Auto => {
            let mut seen = HashSet::new();
            fields.iter().all(|field| is_word(field) && fitting(field) == 0 && seen.insert(field.to_ascii_lowercase()))
        }
    }
}

/// Whether a field can be a column's name: it begins with a letter and has nothing a value has.
fn is_word(field: &[u8]) -> bool {
    let field = field.strip_prefix(b"\xef\xbb\xbf").unwrap_or(field);
    let first = field.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_' || *byte >= 0x80);
    first
        && field.len() <= 63
        && field.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_ -".contains(byte) || *byte >= 0x80)
}

/// The candidates that a value is one of.
fn fitting(bytes: &[u8]) -> u8 {
    if bytes.eq_ignore_ascii_case(b"true") || bytes.eq_ignore_ascii_case(b"false") {
        return 1;
    }
    match bytes {
        [b'0'..=b'9', ..] if is_date(bytes) => fitting_date(bytes),
        [b'0'..=b'9' | b'-' | b'.', ..] => fitting_number(bytes),
        _ => 0,
    }
}

fn fitting_number(bytes: &[u8]) -> u8 {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let padded = matches!(digits, [b'0', b'0'..=b'9', ..]);
    if padded || !digits.iter().any(u8::is_ascii_digit) {
        return 0;
    }
    let count = |wanted: &[u8]| digits.iter().filter(|byte| wanted.contains(byte)).count();
    let whole = digits.iter().all(u8::is_ascii_digit);
    // `.5` and `5.` would not print as they stand.
    let decimal = count(b".") == 1
        && matches!(digits, [b'0'..=b'9', .., b'0'..=b'9'])
        && digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    if whole && validate_text(&PgType::Int8, bytes).is_ok() {
        0b1110
    } else if whole || decimal {
        0b1100
    } else if count(b"eE") == 1 && validate_text(&PgType::Float8, bytes).is_ok() {
        0b1000
    } else {
        0
    }
}

fn is_date(bytes: &[u8]) -> bool {
    let Some(day) = bytes.first_chunk::<10>() else { return false };
    let shape = day.map(|byte| if byte.is_ascii_digit() { b'd' } else { byte });
    &shape == b"dddd-dd-dd"
}

fn fitting_date(bytes: &[u8]) -> u8 {
    let rest = &bytes[10..];
    let wanted = match rest {
        [] => 0b001_0000,
        [b' ' | b'T', clock @ ..] if clock.first().is_some_and(u8::is_ascii_digit) && clock.contains(&b':') => {
            let zoned =
                clock.ends_with(b"UTC") || clock.ends_with(b"Z") || clock.iter().any(|byte| b"+-".contains(byte));
            if zoned { 0b100_0000 } else { 0b010_0000 }
        }
        _ => return 0,
    };
    let fits = |bit: usize| wanted >> bit & 1 == 1 && validate_text(&CANDIDATES[bit], bytes).is_ok();
    if (4..7).any(fits) { wanted } else { 0 }
}
