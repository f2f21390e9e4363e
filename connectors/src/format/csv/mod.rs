//! CSV, one decoder for Kafka payloads and files (docs/decisions/0004-csv-decoder.md).
//!
//! What a line means is decided here once:
//! - fields are split at the delimiter; a field that begins with a quote ends with one (RFC 4180),
//!   a doubled quote inside stands for one; a quote elsewhere is an ordinary character;
//! - an empty field without quotes is null, `""` is the empty text, `nan` is a text like others;
//! - the line feed at the end, and a carriage return before it, do not belong to the last field;
//! - too few or too many fields, a field that is no value of its column's type, a null where NOT
//!   NULL was declared, invalid UTF-8 or NUL make a bad line: it is reported, never half a row;
//! - a line equal field for field to the column names is a header wherever it stands (a byte order
//!   mark allowed, any case): it is skipped and counted.
//!
//! `scan` finds the special bytes, `split` the fields, `decoder` builds columns.

mod decoder;
mod scan;
mod split;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use thalweg_dataflow::source::FormatDefinition;
use thalweg_dataflow::{Error, Result};

#[cfg(test)]
pub(crate) use tests::cpu_seconds;

pub use decoder::{CsvDecoder, Decoded, Stop};
pub use split::{Field, RecordEnd, Splitter};

use crate::options::Options;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Between fields.
    pub delimiter: u8,
    /// Around fields that hold delimiters or line feeds; `None`: no byte is special so.
    pub quote: Option<u8>,
    /// Whether a line feed inside quotes belongs to the field; else it always ends the line.
    pub multiline: bool,
}

impl Default for Dialect {
    /// Commas, double quotes, line feeds inside quotes.
    fn default() -> Dialect {
        Dialect { delimiter: b',', quote: Some(b'"'), multiline: true }
    }
}

/// What is done with a line that equals the column names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headers {
    /// Skipped and counted.
    Skip,
    /// It is a line like others.
    Keep,
}

/// What is done with columns that are not built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbuilt {
    /// Their fields must be valid all the same (sources: a row is in all views or in none).
    Validate,
    /// They are not looked at (files).
    Ignore,
}

/// What is done with lines without any byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blank {
    /// They are bad lines (sources).
    Bad,
    /// They are skipped (files).
    Skip,
}

/// All that a decoder needs to know beside the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvOptions {
    /// How lines look.
    pub dialect: Dialect,
    /// Headers.
    pub headers: Headers,
    /// Columns that are not built.
    pub unbuilt: Unbuilt,
    /// Lines without any byte.
    pub blank: Blank,
}

impl Default for CsvOptions {
    /// What sources do.
    fn default() -> CsvOptions {
        CsvOptions {
            dialect: Dialect::default(),
            headers: Headers::Skip,
            unbuilt: Unbuilt::Validate,
            blank: Blank::Bad,
        }
    }
}

impl CsvOptions {
    /// Understands `FORMAT PLAIN ENCODE CSV (delimiter = ',', without_header = 'true')`.
    ///
    /// A line equal to the column names is skipped wherever it stands, so `without_header` changes
    /// nothing but is checked. Errors: 0A000 for another format, 42704 and 22023 for its options.
    pub fn of_format(definition: &FormatDefinition) -> Result<CsvOptions> {
        if definition.format != "PLAIN" || definition.encode != "CSV" {
            let what = format!("FORMAT {} ENCODE {}", definition.format, definition.encode);
            return Err(Error::unsupported(what).hint("Use FORMAT PLAIN ENCODE CSV."));
        }
        let mut options = Options::new("format CSV", &definition.options);
        options.boolean("without_header")?;
        let mut csv = CsvOptions::default();
        csv.dialect.take(&mut options, "")?;
        options.finish()?;
        Ok(csv)
    }

    /// The options of [`CsvOptions::of_format`] from a plain list.
    pub fn of_options(options: &BTreeMap<String, String>) -> Result<CsvOptions> {
        CsvOptions::of_format(&FormatDefinition {
            format: "PLAIN".into(),
            encode: "CSV".into(),
            options: options.clone(),
        })
    }
}

impl Dialect {
    /// Takes `delimiter` and `quote`, their names after `prefix`.
    pub(crate) fn take(&mut self, options: &mut Options, prefix: &str) -> Result<()> {
        if let Some(delimiter) = options.character(&format!("{prefix}delimiter"))? {
            self.delimiter = delimiter;
        }
        if let Some(quote) = options.character(&format!("{prefix}quote"))? {
            self.quote = Some(quote);
        }
        if self.quote == Some(self.delimiter) {
            let same = char::from(self.delimiter).to_string();
            return Err(crate::options::invalid(&format!("{prefix}delimiter"), &same)
                .detail("The delimiter and the quote must differ."));
        }
        Ok(())
    }
}
