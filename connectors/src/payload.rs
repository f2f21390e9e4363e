//! The seam between a transport and a format: how a reader hands payloads to a decoder.
//!
//! Promises: a decoder never fails on a payload, it turns what is no row into a bad record.
//! Which formats there are is said in one place, [`decoders`]. Knows no transport.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use thalweg_dataflow::source::{BadRecord, SourceDefinition};
use thalweg_dataflow::{Error, Result, SqlState};

use crate::format::csv::{CsvDecoder, CsvOptions};

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

/// The decoders that a source's FORMAT and ENCODE ask for.
///
/// # Errors
/// 42601 if there is none, 42P17 without columns, 0A000 for an unknown one, 22023 and 42704 for
/// its options.
pub fn decoders(definition: &SourceDefinition) -> Result<DecoderFactory> {
    let Some(format) = &definition.format else {
        return Err(Error::new(
            SqlState::SyntaxError,
            format!("source \"{}\" requires FORMAT and ENCODE", definition.name),
        )
        .hint("Add FORMAT PLAIN ENCODE CSV (delimiter = ',')."));
    };
    if definition.columns.is_empty() {
        return Err(Error::new(
            SqlState::InvalidObjectDefinition,
            format!("source \"{}\" must have at least one column", definition.name),
        ));
    }
    let options = CsvOptions::of_format(format)?;
    let columns = definition.columns.clone();
    Ok(Arc::new(move |built| Ok(Box::new(CsvDecoder::new(&columns, built, options)?) as Box<dyn PayloadDecoder>)))
}

impl PayloadDecoder for CsvDecoder {
    fn decode(&mut self, payload: &[u8], offset: i64) {
        CsvDecoder::decode(self, payload, offset);
    }

    fn rows(&self) -> usize {
        CsvDecoder::rows(self)
    }

    fn bad(&self) -> usize {
        CsvDecoder::bad(self)
    }

    fn take(&mut self) -> Result<Decoded> {
        let crate::format::csv::Decoded { rows, bad, headers } = CsvDecoder::take(self)?;
        Ok(Decoded { rows, bad, headers })
    }
}
