//! CSV files as external tables: one file, a folder, a glob; plain, `.gz` or `.zst`.
//!
//! Promises: files are read in bounded blocks, only as far as asked for; a plain file can be read in
//! pieces by several threads, and a line belongs to the piece in which its first byte lies; a
//! malformed line fails the scan with file, line and column, or is handed on where `on_error` is
//! `skip`. Only the columns that a query reads are decoded and checked; one that reads none counts
//! lines. What a line means is the format's business.

mod block;
mod config;
mod infer;
mod listing;
mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use thalweg_dataflow::Result;
use thalweg_dataflow::scan::Scan;
use thalweg_dataflow::source::{BadLines, FileDefinition};

/// Opens the files of an external table; infers the columns when none are declared.
///
/// Errors: 0A000 for another format than CSV, 42704 and 22023 for wrong options, 58P01 where no
/// file is.
pub fn open(definition: &FileDefinition, skipped: Arc<dyn BadLines>) -> Result<Arc<dyn Scan>> {
    Ok(Arc::new(scan::FileScan::open(definition, skipped)?))
}
