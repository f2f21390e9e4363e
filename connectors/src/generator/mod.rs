//! The `generator` connector: an endless shop whose visitors view, cart and buy.
//!
//! It makes the e-commerce stream of the public data set's shape without a broker or a file: real
//! brand and category names and frequencies, everything else invented. Promises: event n is a pure
//! function of (seed, n), so any offset can be read again and two readers see the same events; any
//! event is found by making one block of 65,536. One partition, 0; the offset is n.
//!
//! ```text
//! random   splitmix64
//! clock    n -> event time
//! shop     brands, categories, products, prices
//! traffic  (seed, block) -> sessions -> events in order
//! columns  events -> Arrow
//! csv      events -> lines
//! config   the WITH options
//! source   the reader thread and its pace
//! ```

mod clock;
mod columns;
mod config;
mod csv;
mod random;
mod shop;
mod source;
#[cfg(test)]
mod tests;
mod traffic;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use thalweg_dataflow::Result;
use thalweg_dataflow::source::{Column, Source, SourceDefinition};

pub use csv::write_csv;

/// The first event's time unless said otherwise: 2019-10-01 00:00:00 UTC, in microseconds.
pub const DEFAULT_START: i64 = 1_569_888_000_000_000;

/// The seed unless said otherwise.
pub const DEFAULT_SEED: u64 = 1;

/// Opens a source of this connector.
pub fn open(definition: &SourceDefinition) -> Result<Arc<dyn Source>> {
    Ok(Arc::new(source::GeneratorSource::open(definition)?))
}

/// The columns of the data set, as CREATE SOURCE would declare them.
pub fn declared_columns() -> Vec<Column> {
    let column = |(name, data_type): (&str, _)| Column { name: name.to_string(), data_type, not_null: false };
    columns::COLUMNS.map(column).to_vec()
}

/// Reads events in any order; keeps the block it read last.
pub struct Generator {
    events: columns::Events,
    start: i64,
}

impl Generator {
    /// The events under `seed`, the first at `start` (microseconds since 1970 UTC).
    pub fn new(seed: u64, start: i64) -> Generator {
        Generator { events: columns::Events::new(seed), start }
    }

    /// The schema of [`Generator::rows`] with these columns (places in [`declared_columns`]).
    pub fn schema(columns: &[usize]) -> SchemaRef {
        let field = |column: &usize| {
            let (name, data_type) = &columns::COLUMNS[*column];
            data_type.field(*name, true)
        };
        Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// Events `from..to` with these columns (places in [`declared_columns`]).
    pub fn rows(&mut self, from: u64, to: u64, columns: &[usize]) -> Result<RecordBatch> {
        let arrays: Vec<ArrayRef> = self.events.columns(self.start, from, to, columns)?;
        let options = RecordBatchOptions::new().with_row_count(Some(to.saturating_sub(from) as usize));
        Ok(RecordBatch::try_new_with_options(Generator::schema(columns), arrays, &options)?)
    }
}
