//! The seam between a transport and a format: how a reader hands payloads to a decoder.
//!
//! Promises: a decoder never fails on a payload, it turns what is no row into a bad record.
//! Knows neither Kafka nor CSV.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use thalweg_dataflow::Result;
use thalweg_dataflow::source::BadRecord;

/// What a decoder made of the payloads since it was last emptied.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The valid rows, with the columns that were asked for, in that order.
    pub rows: RecordBatch,
    /// The lines that are no rows; [`BadRecord::at`] is left to the transport.
    pub bad: Vec<BadRecord>,
    /// Header lines skipped.
    pub headers: u64,
}

/// Turns payloads into rows.
pub trait PayloadDecoder: Send {
    /// Decodes one payload, which may hold any number of rows.
    fn decode(&mut self, payload: &[u8], offset: i64);

    /// How many rows wait to be taken.
    fn rows(&self) -> usize;

    /// How many bad records wait to be taken.
    fn bad(&self) -> usize;

    /// Takes the rows; the decoder is empty afterwards.
    fn take(&mut self) -> Result<Decoded>;
}

/// Makes a decoder that builds these columns (places among the declared ones) and validates all.
pub type DecoderFactory = Arc<dyn Fn(&[usize]) -> Result<Box<dyn PayloadDecoder>> + Send + Sync>;
