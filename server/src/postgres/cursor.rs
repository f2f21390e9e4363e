//! A result on its way to the client: a stream of batches, sent row by row under a limit.
//!
//! Promises: holds one batch at a time; flushes whenever the buffer is full, so the stream is
//! asked for more only as fast as the client reads. Dropping it ends the statement.

use arrow::datatypes::Schema;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use thalweg_dataflow::Error;
use thalweg_dataflow::types::TextStyle;
use thalweg_sql::session::RowsTag;

use super::attend::Wire;
use super::connection::Stop;
use super::rows::{Format, RowWriter, Rows};

/// Rows that are being sent.
pub(crate) struct Cursor {
    rows: SendableRecordBatchStream,
    writer: RowWriter,
    tag: RowsTag,
    /// The batch being sent and its first row that is not yet.
    rest: Option<(Rows, usize)>,
    ended: bool,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("tag", &self.tag).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Cursor {
    /// Over the rows of a statement, in these formats.
    pub(crate) fn new(
        schema: &Schema,
        rows: SendableRecordBatchStream,
        tag: RowsTag,
        formats: &[Format],
        style: TextStyle,
    ) -> Cursor {
        Cursor { rows, writer: RowWriter::new(schema, formats, style), tag, rest: None, ended: false }
    }

    /// Sends up to `limit` rows (0: all). Gives the rows sent and whether there are no more.
    pub(crate) async fn send(&mut self, wire: &mut Wire, limit: usize) -> Result<(u64, bool), Stop> {
        let mut sent = 0;
        while !self.ended {
            let (batch, mut row) = match self.rest.take() {
                Some(rest) => rest,
                None => match wire.attend(self.rows.next()).await? {
                    Some(batch) => (self.writer.prepare(&batch.map_err(Error::from)?)?, 0),
                    None => {
                        self.ended = true;
                        break;
                    }
                },
            };
            while row < batch.count() {
                if limit > 0 && sent == limit as u64 {
                    self.rest = Some((batch, row));
                    return Ok((sent, false));
                }
                self.writer.write(&batch, row, &mut wire.output.buffer)?;
                row += 1;
                sent += 1;
                if wire.output.is_full() {
                    wire.flush().await?;
                }
            }
        }
        Ok((sent, true))
    }

    /// The command tag after so many rows.
    pub(crate) fn tag(&self, rows: u64) -> String {
        self.tag.complete(rows)
    }
}
