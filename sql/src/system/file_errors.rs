//! The lines that scans of external tables skipped: `thalweg.file_errors`.
//!
//! Promises: the newest are kept up to a bound. Not durable: a scan that runs again finds them
//! again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use thalweg_dataflow::source::BadLines;

/// The longest line kept, in bytes.
const MAX_RAW: usize = 64 << 10;

/// A skipped line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileError {
    /// The oid of the external table.
    pub(crate) table: u32,
    /// The file.
    pub(crate) file: String,
    /// The line, from 1.
    pub(crate) line: u64,
    /// When it was skipped, microseconds since 1970 UTC.
    pub(crate) at: i64,
    /// The column, if known.
    pub(crate) column: Option<String>,
    /// The cause.
    pub(crate) error: String,
    /// The line.
    pub(crate) raw: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FileErrors {
    max_rows: usize,
    kept: Mutex<Kept>,
}

/// The rows by age, and where each line's row is: a line is one row however often it is scanned.
#[derive(Debug, Default)]
struct Kept {
    next: u64,
    rows: BTreeMap<u64, FileError>,
    by_line: HashMap<(u32, String, u64), u64>,
}

impl Kept {
    fn remove(&mut self, age: u64) {
        if let Some(old) = self.rows.remove(&age) {
            self.by_line.remove(&(old.table, old.file, old.line));
        }
    }
}

impl FileErrors {
    /// Keeps at most so many.
    pub(crate) fn new(max_rows: usize) -> FileErrors {
        FileErrors { max_rows, kept: Mutex::default() }
    }

    /// Where the scans of one table put theirs.
    pub(crate) fn of_table(self: &Arc<FileErrors>, table: u32) -> Arc<dyn BadLines> {
        Arc::new(OfTable { table, errors: self.clone() })
    }

    /// All that are kept, oldest first.
    pub(crate) fn all(&self) -> Vec<FileError> {
        self.kept.lock().rows.values().cloned().collect()
    }
}

#[derive(Debug)]
struct OfTable {
    table: u32,
    errors: Arc<FileErrors>,
}

impl BadLines for OfTable {
    fn skip(&self, file: &str, line: u64, column: Option<&str>, error: &str, raw: &[u8]) {
        if self.errors.max_rows == 0 {
            return;
        }
        let error = FileError {
            table: self.table,
            file: file.into(),
            line,
            at: chrono::Utc::now().timestamp_micros(),
            column: column.map(str::to_string),
            error: error.into(),
            raw: raw[..raw.len().min(MAX_RAW)].to_vec(),
        };
        let key = (error.table, error.file.clone(), error.line);
        let mut kept = self.errors.kept.lock();
        if let Some(before) = kept.by_line.get(&key).copied() {
            kept.remove(before);
        }
        while kept.rows.len() >= self.errors.max_rows
            && let Some((oldest, _)) = kept.rows.first_key_value().map(|(age, row)| (*age, row.line))
        {
            kept.remove(oldest);
        }
        let age = kept.next;
        kept.next += 1;
        kept.by_line.insert(key, age);
        kept.rows.insert(age, error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_kept_once_and_the_oldest_goes_first() {
        let errors = Arc::new(FileErrors::new(2));
        let table = errors.of_table(7);
        for line in [1, 2, 1] {
            table.skip("f.csv", line, Some("a"), "bad", b"x");
        }
        let lines = |errors: &FileErrors| errors.all().iter().map(|row| row.line).collect::<Vec<_>>();
        assert_eq!(lines(&errors), [2, 1]);
        table.skip("f.csv", 3, None, "bad", b"x");
        assert_eq!(lines(&errors), [1, 3]);
    }
}
