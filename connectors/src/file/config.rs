//! The OPTIONS of an external table.
//!
//! Each may be written with or without the prefix `format.`. Reads no file.

use thalweg_dataflow::source::FileDefinition;
use thalweg_dataflow::{Error, Result};

use crate::format::csv::Dialect;
use crate::options::Options;

/// Whether the first line of a file holds names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// It is told from the line itself.
    Auto,
    Yes,
    No,
}

/// How the files are read.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) dialect: Dialect,
    pub(super) header: Header,
    /// Whether malformed lines are skipped instead of failing the scan.
    pub(super) skip: bool,
}

impl Config {
    pub(super) fn parse(definition: &FileDefinition) -> Result<Config> {
        if definition.stored_as != "CSV" {
            return Err(Error::unsupported(format!("STORED AS {}", definition.stored_as)).hint("Use STORED AS CSV."));
        }
        let plain = |name: &String| name.strip_prefix("format.").unwrap_or(name).to_string();
        let given = definition.options.iter().map(|(name, value)| (plain(name), value.clone())).collect();
        let mut options = Options::new("STORED AS CSV", &given);
        let mut dialect = Dialect { multiline: false, ..Dialect::default() };
        dialect.take(&mut options, "")?;
        dialect.multiline = options.boolean("newlines_in_values")?.unwrap_or(false);
        let header = match options.text("has_header") {
            None => Header::Auto,
            Some(text) if text.trim().eq_ignore_ascii_case("auto") => Header::Auto,
            Some(text) => match crate::options::parse_boolean(&text) {
                Some(true) => Header::Yes,
                Some(false) => Header::No,
                None => {
                    let error = crate::options::invalid("format.has_header", &text);
                    return Err(error.hint("Give true, false or auto."));
                }
            },
        };
        let skip = options.choice("on_error", &["fail", "skip"])? == Some(1);
        options.finish()?;
        Ok(Config { dialect, header, skip })
    }
}
