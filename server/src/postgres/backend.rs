//! What the server sends: messages into one buffer, the buffer to the socket.
//!
//! Promises: messages leave in order and whole, also when a flush is interrupted; the buffer is
//! reused. Who fills it asks [`Output::is_full`] and flushes, so that it stays bounded.

use bytes::{BufMut, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::response::{ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus as Ready};
use thalweg_dataflow::Error;
use thalweg_sql::session::{Notice, TransactionStatus};
use tokio::io::AsyncWriteExt;

use super::tls::Writer;

/// The buffer is sent once it holds this much.
const FLUSH_BYTES: usize = 64 << 10;

/// Messages that are one byte and a length.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plain {
    /// Answer to Parse.
    ParseComplete = b'1' as isize,
    /// Answer to Bind.
    BindComplete = b'2' as isize,
    /// Answer to Close.
    CloseComplete = b'3' as isize,
    /// The statement gives no rows.
    NoData = b'n' as isize,
    /// The query text held no statement.
    EmptyQuery = b'I' as isize,
    /// The row limit of Execute was met.
    PortalSuspended = b's' as isize,
    /// All data of a COPY was sent.
    CopyDone = b'c' as isize,
}

/// The writing half of a connection.
#[derive(Debug)]
pub(crate) struct Output {
    half: Writer,
    /// Something was written and perhaps not sent.
    written: bool,
    /// What waits to be sent: rows are encoded straight into it.
    pub(crate) buffer: BytesMut,
}

impl Output {
    /// Over a connection's half.
    pub(crate) fn new(half: Writer) -> Output {
        Output { half, written: false, buffer: BytesMut::with_capacity(8 << 10) }
    }

    /// The half it writes to.
    pub(super) fn into_half(self) -> Writer {
        self.half
    }

    /// Adds a message of pgwire's.
    pub(crate) fn message(&mut self, message: &impl Message) {
        let start = self.buffer.len();
        if let Err(error) = message.encode(&mut self.buffer) {
            // Only a message above pgwire's limits (30 kB for messages that are never that long).
            tracing::error!("message not sent: {error}");
            self.buffer.truncate(start);
        }
    }

    /// Adds a message without content.
    pub(crate) fn plain(&mut self, message: Plain) {
        self.buffer.put_u8(message as u8);
        self.buffer.put_u32(4);
    }

    /// Adds one byte outside of any message: the answer to SSLRequest.
    pub(crate) fn byte(&mut self, byte: u8) {
        self.buffer.put_u8(byte);
    }

    /// Adds an authentication message of this code.
    pub(super) fn authentication(&mut self, code: u32, data: &[u8]) {
        self.buffer.put_u8(b'R');
        self.buffer.put_u32(8 + data.len() as u32);
        self.buffer.put_u32(code);
        self.buffer.put_slice(data);
    }

    /// Adds CommandComplete.
    pub(crate) fn complete(&mut self, tag: &str) {
        self.buffer.put_u8(b'C');
        self.buffer.put_u32(tag.len() as u32 + 5);
        self.buffer.put_slice(tag.as_bytes());
        self.buffer.put_u8(0);
    }

    /// Adds CopyInResponse (`G`) or CopyOutResponse (`H`): so many columns, all in one format.
    pub(crate) fn copy(&mut self, kind: u8, columns: usize, binary: bool) {
        let count = u16::try_from(columns).unwrap_or(u16::MAX);
        self.buffer.put_u8(kind);
        self.buffer.put_u32(7 + 2 * u32::from(count));
        self.buffer.put_u8(u8::from(binary));
        self.buffer.put_u16(count);
        (0..count).for_each(|_| self.buffer.put_u16(u16::from(binary)));
    }

    /// Adds CopyData.
    pub(crate) fn copy_data(&mut self, data: &[u8]) {
        self.buffer.put_u8(b'd');
        self.buffer.put_u32(data.len() as u32 + 4);
        self.buffer.put_slice(data);
    }

    /// Adds ReadyForQuery.
    pub(crate) fn ready(&mut self, status: TransactionStatus) {
        self.message(&ReadyForQuery::new(match status {
            TransactionStatus::Idle => Ready::Idle,
            TransactionStatus::InBlock => Ready::Transaction,
            TransactionStatus::Failed => Ready::Error,
        }));
    }

    /// Adds an ErrorResponse that ends a statement.
    pub(crate) fn error(&mut self, error: &Error) {
        self.message(&ErrorResponse::new(fields("ERROR", error)));
    }

    /// Adds an ErrorResponse that ends the connection.
    pub(crate) fn fatal(&mut self, error: &Error) {
        self.message(&ErrorResponse::new(fields("FATAL", error)));
    }

    /// Adds a NoticeResponse.
    pub(crate) fn notice(&mut self, notice: &Notice) {
        self.message(&NoticeResponse::new(fields(notice.severity.word(), &notice.fields)));
    }

    /// Whether it is time to flush.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= FLUSH_BYTES
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && !self.written
    }

    /// Sends everything. Dropped half way, it goes on there the next time.
    pub(crate) async fn flush(&mut self) -> std::io::Result<()> {
        if !self.buffer.is_empty() {
            self.written = true;
            self.half.write_all_buf(&mut self.buffer).await?;
        }
        self.buffer.clear();
        if self.written {
            self.half.flush().await?;
            self.written = false;
        }
        Ok(())
    }

    /// Says that nothing more will come.
    pub(super) async fn shutdown(&mut self) -> std::io::Result<()> {
        self.half.shutdown().await
    }
}

/// An ErrorResponse that ends a connection, as bytes.
pub(super) fn last_words(error: &Error) -> BytesMut {
    let mut buffer = BytesMut::new();
    if let Err(error) = ErrorResponse::new(fields("FATAL", error)).encode(&mut buffer) {
        tracing::error!("message not sent: {error}");
    }
    buffer
}

/// The longest text of one field, so that a message stays below libpq's limit of 30 kB.
const FIELD_BYTES: usize = 6 << 10;

fn fields(severity: &str, error: &Error) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_string()),
        (b'V', severity.to_string()),
        (b'C', error.state().code().to_string()),
        (b'M', bounded(error.message())),
    ];
    if let Some(detail) = error.detail_text() {
        fields.push((b'D', bounded(detail)));
    }
    if let Some(hint) = error.hint_text() {
        fields.push((b'H', bounded(hint)));
    }
    if let Some(position) = error.position() {
        fields.push((b'P', position.to_string()));
    }
    let subject = error.subject();
    let named = [(b's', &subject.schema), (b't', &subject.table), (b'c', &subject.column), (b'n', &subject.constraint)];
    fields.extend(named.into_iter().filter_map(|(field, name)| Some((field, bounded(name.as_deref()?)))));
    fields
}

/// The text without zero bytes (they end a field), cut where it is too long.
fn bounded(text: &str) -> String {
    let mut end = text.len().min(FIELD_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut bounded = text[..end].replace('\0', "\\0");
    if end < text.len() {
        bounded.push('…');
    }
    bounded
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_dataflow::SqlState;

    #[test]
    fn long_and_odd_texts_stay_sendable() {
        let error = Error::new(SqlState::SyntaxError, "ä".repeat(100_000)).detail("a\0b").at(7);
        let fields = fields("ERROR", &error);
        assert!(fields.iter().map(|(_, text)| text.len()).sum::<usize>() < 30_000);
        assert!(fields.iter().all(|(_, text)| !text.contains('\0')));
        assert!(fields.contains(&(b'P', "7".to_string())));
        let mut buffer = BytesMut::new();
        ErrorResponse::new(fields).encode(&mut buffer).unwrap();
    }
}
