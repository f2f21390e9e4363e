//! COPY on the wire: the client's data to the session, and rows as data to the client.
//!
//! Promises: a client that leaves, a cancel and the server's end are heard between two messages;
//! after an error what the client still sends is passed over.

use futures::StreamExt;
use thalweg_dataflow::{Error, SqlState};
use thalweg_sql::session::{CopyIn, CopyOut};

use super::attend::Ended;
use super::backend::Plain;
use super::connection::{Connection, Stop};
use super::frontend::Body;

impl Connection {
    /// Takes the data of a COPY; the command tag.
    pub(super) async fn copy_in(&mut self, mut copy: CopyIn) -> Result<String, Stop> {
        self.wire.output.copy(b'G', copy.columns(), copy.is_binary());
        self.wire.flush().await?;
        loop {
            let frame = tokio::select! {
                biased;
                () = self.wire.shutdown.wait() => return Err(Ended::Stopping.into()),
                error = copy.stopped() => return Err(error.into()),
                frame = self.wire.input.next() => frame?,
            };
            let Some(frame) = frame else { return Err(Ended::Gone.into()) };
            match frame.kind {
                b'd' => copy.push(&frame.body)?,
                b'c' => return Ok(self.wire.attend(self.session.finish_copy(copy)).await??),
                b'f' => {
                    let reason = Body(frame.body).text().unwrap_or_default();
                    let message = format!("COPY from stdin failed: {reason}");
                    return Err(Error::new(SqlState::QueryCanceled, message).into());
                }
                // They have no meaning here, and clients send them.
                b'H' | b'S' => {}
                b'X' => return Err(Ended::Gone.into()),
                other => {
                    let message = format!("unexpected message type 0x{other:02X} during COPY from stdin");
                    return Err(Error::new(SqlState::ProtocolViolation, message).into());
                }
            }
        }
    }

    /// Gives the rows of a COPY TO, each as a message of its own; the command tag.
    pub(super) async fn copy_out(&mut self, mut copy: CopyOut) -> Result<String, Stop> {
        self.wire.output.copy(b'H', copy.columns(), copy.is_binary());
        let mut line = Vec::new();
        copy.write_header(&mut line);
        if !copy.is_binary() && !line.is_empty() {
            self.wire.output.copy_data(&line);
            line.clear();
        }
        let mut count = 0_u64;
        while let Some(batch) = self.wire.attend(copy.rows.next()).await? {
            let columns = copy.prepare(&batch.map_err(Error::from)?)?;
            for row in 0..columns.count {
                copy.write(&columns, row, &mut line)?;
                self.wire.output.copy_data(&line);
                line.clear();
                if self.wire.output.is_full() {
                    self.wire.flush().await?;
                }
            }
            count += columns.count as u64;
        }
        copy.write_trailer(&mut line);
        if !line.is_empty() {
            self.wire.output.copy_data(&line);
        }
        self.wire.output.plain(Plain::CopyDone);
        Ok(format!("COPY {count}"))
    }
}
