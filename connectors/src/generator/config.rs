//! The WITH options of a generator source, understood and checked against its columns.
//!
//! Promises: what it returns can be read; every option is used or an error names it.

use chrono::{DateTime, NaiveDateTime};
use thalweg_dataflow::source::{Column, Meta, SourceDefinition};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::columns::COLUMNS;
use super::{DEFAULT_SEED, DEFAULT_START, declared_columns};
use crate::options::{Options, Rate, invalid, nearest};

/// The most rows: their times stay within PostgreSQL's range.
const MOST_ROWS: i64 = 1_000_000_000_000;

/// What a column of the source shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// A column of the data set.
    Event(usize),
    /// The partition: always 0.
    Partition,
    /// The event's number.
    Offset,
}

/// A generator source as defined.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) rate: Rate,
    pub(super) rows: Option<i64>,
    pub(super) seed: u64,
    pub(super) start: i64,
    /// What each column of the schema shows.
    pub(super) shown: Vec<Shown>,
    /// Each column's declaration.
    pub(super) columns: Vec<Column>,
}

impl Config {
    pub(super) fn parse(definition: &SourceDefinition) -> Result<Config> {
        if let Some(format) = &definition.format {
            return Err(Error::new(
                SqlState::InvalidObjectDefinition,
                format!("connector \"generator\" takes no FORMAT {} ENCODE {}", format.format, format.encode),
            )
            .hint("Leave the FORMAT clause out: the generator makes columns, not text."));
        }
        let mut options = Options::new("connector \"generator\"", &definition.options);
        options.text("connector");
        options.choice("dataset", &["ecommerce"])?;
        let rate = options.rate("rate")?.unwrap_or(Rate::Max);
        let rows = options.integer("rows", 0..=MOST_ROWS)?;
        let seed = options.integer("seed", 0..=i64::MAX)?.map_or(DEFAULT_SEED, i64::unsigned_abs);
        let start = match options.text("start.time") {
            Some(text) => parse_time(&text)
                .ok_or_else(|| invalid("start.time", &text).hint("Give a time in UTC, as in 2019-10-01 00:00:00."))?,
            None => DEFAULT_START,
        };
        options.finish()?;
        let mut config = Config { rate, rows, seed, start, shown: Vec::new(), columns: Vec::new() };
        let all = declared_columns();
        let declared = if definition.columns.is_empty() { &all } else { &definition.columns };
        for column in declared {
            config.add_column(column)?;
        }
        for (meta, name) in &definition.includes {
            config.add_include(*meta, name)?;
        }
        Ok(config)
    }

    fn add_column(&mut self, column: &Column) -> Result<()> {
        let names = COLUMNS.map(|(name, _)| name);
        let Some(place) = names.iter().position(|name| *name == column.name) else {
            let error = Error::new(
                SqlState::UndefinedColumn,
                format!("column \"{}\" does not exist in dataset \"ecommerce\"", column.name),
            );
            return Err(match nearest(&column.name, &names) {
                Some(near) => error.hint(format!("Perhaps you meant the column \"{near}\".")),
                None => error.hint(format!("Its columns are {}.", names.join(", "))),
            });
        };
        let made = &COLUMNS[place].1;
        if !fits(made, &column.data_type) {
            return Err(Error::new(
                SqlState::DatatypeMismatch,
                format!(
                    "column \"{}\" is of type {} in dataset \"ecommerce\", not {}",
                    column.name,
                    made.name(),
                    column.data_type.name()
                ),
            ));
        }
        self.shown.push(Shown::Event(place));
        self.columns.push(column.clone());
        Ok(())
    }

    fn add_include(&mut self, meta: Meta, name: &str) -> Result<()> {
        self.shown.push(match meta {
            Meta::Partition => Shown::Partition,
            Meta::Offset => Shown::Offset,
            Meta::Timestamp => Shown::Event(super::columns::EVENT_TIME),
            Meta::Key => {
                return Err(
                    Error::unsupported("INCLUDE key for connector \"generator\"").hint("Generated events have no key.")
                );
            }
        });
        self.columns.push(Column { name: name.to_string(), data_type: meta.data_type(), not_null: false });
        Ok(())
    }
}

/// Whether a column that is made as `made` can be declared as `declared`.
fn fits(made: &PgType, declared: &PgType) -> bool {
    made == declared || matches!((made, declared), (PgType::Text, PgType::Varchar(None)))
}

/// A time in UTC: `2019-10-01`, `2019-10-01 00:00:00`, with ` UTC`, `Z` or an offset.
fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    let text = text.strip_suffix("UTC").map_or(text, str::trim_end);
    let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    let full = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let day = || chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    full.or_else(day).map(|time| time.and_utc().timestamp_micros())
}
