//! The second collection beside every fallible operator's output: rows that gave no row.
//!
//! A row's error goes away when the row does. Kept per node, bounded; what does not fit is
//! counted.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, SqlState};
use crate::types::{PgType, TextStyle, write_text};

/// Different errors a node keeps; the rest is a number.
const MAX_ERRORS: usize = 10_000;

/// An error that came (+) or went (-).
#[derive(Debug, Clone)]
pub(crate) struct ErrorChange {
    pub(crate) error: Error,
    /// The row (or the group's key) as text.
    pub(crate) row: String,
    pub(crate) diff: i64,
}

/// The errors of one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Errors {
    entries: Vec<ErrorEntry>,
    /// Errors past the bound.
    more: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ErrorEntry {
    state: String,
    message: String,
    #[serde(default)]
    detail: Option<String>,
    row: String,
    count: i64,
}

impl Errors {
    /// Adds changes up.
    pub(crate) fn apply(&mut self, changes: Vec<ErrorChange>) {
        let mut sums: BTreeMap<(String, String, String, Option<String>), i64> = BTreeMap::new();
        for change in changes {
            let error = &change.error;
            let detail = error.detail_text().map(str::to_string);
            let key = (change.row, error.state().code().to_string(), error.message().to_string(), detail);
            *sums.entry(key).or_insert(0) += change.diff;
        }
        for ((row, state, message, detail), diff) in sums.into_iter().filter(|(_, diff)| *diff != 0) {
            let key = |entry: &ErrorEntry| {
                (entry.row.clone(), entry.state.clone(), entry.message.clone(), entry.detail.clone())
            };
            let wanted = (row, state, message, detail);
            match self.entries.binary_search_by(|entry| key(entry).cmp(&wanted)) {
                Ok(place) => {
                    self.entries[place].count += diff;
                    if self.entries[place].count == 0 {
                        self.entries.remove(place);
                    }
                }
                Err(place) if self.entries.len() < MAX_ERRORS && diff > 0 => {
                    let (row, state, message, detail) = wanted;
                    self.entries.insert(place, ErrorEntry { state, message, detail, row, count: diff });
                }
                Err(_) => self.more += diff,
            }
        }
    }

    /// Rows that failed.
    pub(crate) fn count(&self) -> u64 {
        (self.entries.iter().map(|entry| entry.count).sum::<i64>() + self.more).max(0) as u64
    }

    /// The kept ones: error, row, how often.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Error, &str, i64)> {
        self.entries.iter().map(|entry| {
            let state = SqlState::from_code(&entry.state).unwrap_or(SqlState::InternalError);
            let error = Error::new(state, entry.message.clone());
            let error = match &entry.detail {
                Some(detail) => error.detail(detail.clone()),
                None => error,
            };
            (error, entry.row.as_str(), entry.count)
        })
    }
}

/// A row as text, as PostgreSQL shows a failing row: `(1, null, samsung)`.
pub(crate) fn row_text(columns: &[ArrayRef], row: usize, schema: &Schema) -> String {
    let style = TextStyle::default();
    let mut text = String::from("(");
    for (place, column) in columns.iter().enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        if column.is_null(row) {
            text.push_str("null");
        } else {
            let data_type = schema
                .fields()
                .get(place)
                .map_or_else(|| PgType::of_arrow(column.data_type()), |field| PgType::of(field));
            let before = text.len();
            if write_text(&data_type, column.as_ref(), row, &style, &mut text).is_err() {
                text.truncate(before);
                let _ = write!(text, "?");
            }
        }
    }
    text.push(')');
    text
}
