//! COPY FROM STDIN on the wire: the client's data to the session, until it ends or fails.
//!
//! Promises: a client that leaves, a cancel and the server's end are heard between two messages;
//! after an error what the client still sends is passed over.

use thalweg_dataflow::{Error, SqlState};
use thalweg_sql::session::CopyIn;

use super::attend::Ended;
use super::connection::{Connection, Stop};
use super::frontend::Body;

impl Connection {
    /// Takes the data of a COPY; the command tag.
    pub(super) async fn copy_in(&mut self, mut copy: CopyIn) -> Result<String, Stop> {
        self.wire.output.copy_in(copy.columns());
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
}
