//! What clients send: frames off the socket, and messages out of frames.
//!
//! Promises: whatever the bytes, no panic and no more memory than arrived; a message that is
//! malformed or longer than [`MAX_MESSAGE_BYTES`] is 08P01. (pgwire's own decoding is not used: it
//! reads past the end of a truncated body, into a panic or the next message.) Does not interpret
//! SQL or values.

use bytes::{Buf, Bytes, BytesMut};
use thalweg_dataflow::{Error, Result, SqlState};
use tokio::io::AsyncReadExt;

use super::tls::Reader;

/// The longest message a client may send.
pub(crate) const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// The longest message before a session exists (PostgreSQL's MAX_STARTUP_PACKET_LENGTH).
const MAX_STARTUP_BYTES: usize = 10_000;

/// The longest message of a client that is not let in yet (PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH).
const MAX_AUTHENTICATION_BYTES: usize = 65_535;

/// The most bytes read ahead while a statement runs.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// A message as it was framed.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Its type.
    pub(crate) kind: u8,
    /// All after the length.
    pub(crate) body: Bytes,
}

/// The reading half of a connection.
#[derive(Debug)]
pub(crate) struct Input {
    half: Reader,
    buffer: BytesMut,
    longest: usize,
}

impl Input {
    /// Over a connection's half, for a client that is not let in yet.
    pub(crate) fn new(half: Reader) -> Input {
        Input { half, buffer: BytesMut::with_capacity(8 << 10), longest: MAX_AUTHENTICATION_BYTES }
    }

    /// The client is let in: its messages may be long.
    pub(crate) fn allow_long(&mut self) {
        self.longest = MAX_MESSAGE_BYTES;
    }

    /// Whether nothing waits that was read already.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The half it reads from.
    pub(super) fn into_half(self) -> Reader {
        self.half
    }

    /// The next message of a session; `None` when the client is gone. Safe to drop half way.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The type of the next message, if some of it has arrived.
    pub(crate) fn next_kind(&self) -> Option<u8> {
        self.buffer.first().copied()
    }

    /// Resolves when the client is gone; meanwhile what it sends is kept for [`Input::next`].
    pub(crate) async fn gone(&mut self) {
        loop {
            if self.buffer.len() >= READ_AHEAD_BYTES {
                return std::future::pending().await;
            }
            if !matches!(self.fill().await, Ok(1..)) {
                return;
            }
        }
    }

    /// The packet with which a connection begins: everything after its length.
    pub(crate) async fn startup(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(length) = self.buffer.get(..4) {
                let length = be_u32(length) as usize;
                if !(8..=MAX_STARTUP_BYTES).contains(&length) {
                    return Err(Error::new(SqlState::ProtocolViolation, "invalid length of startup packet"));
                }
                if self.buffer.len() >= length {
                    let mut packet = self.buffer.split_to(length);
                    packet.advance(4);
                    return Ok(Some(packet.freeze()));
                }
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next message, if the whole of it has come.
    pub(super) fn take(&mut self) -> Result<Option<Frame>> {
        let (Some(&kind), Some(length)) = (self.buffer.first(), self.buffer.get(1..5)) else {
            return Ok(None);
        };
        let length = be_u32(length) as usize;
        if !(4..=self.longest).contains(&length) {
            return Err(Error::new(SqlState::ProtocolViolation, format!("invalid message length {length}")));
        }
        if self.buffer.len() <= length {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(1 + length);
        frame.advance(5);
        Ok(Some(Frame { kind, body: frame.freeze() }))
    }

    async fn fill(&mut self) -> Result<usize> {
        self.buffer.reserve(4 << 10);
        let read = self.half.read_buf(&mut self.buffer).await;
        read.map_err(|error| {
            Error::new(SqlState::ConnectionFailure, format!("could not receive data from client: {error}"))
        })
    }
}

/// The first four bytes as a number; the callers hand over exactly four.
fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// A statement or a portal, where a message can mean either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

/// Bind's content.
#[derive(Debug)]
pub(crate) struct Bind {
    /// The portal to make.
    pub(crate) portal: String,
    /// The prepared statement.
    pub(crate) statement: String,
    /// None, one for all, or one for each parameter: 0 text, 1 binary.
    pub(crate) parameter_formats: Vec<i16>,
    /// The values; `None` is null.
    pub(crate) parameters: Vec<Option<Bytes>>,
    /// None, one for all, or one for each result column.
    pub(crate) result_formats: Vec<i16>,
}

/// A message of a session.
#[derive(Debug)]
pub(crate) enum Message {
    /// A simple query.
    Query(String),
    /// Prepares a statement.
    Parse {
        /// Its name, empty for the unnamed one.
        name: String,
        /// The text.
        text: String,
        /// Oids of the first parameters; 0 leaves one open.
        types: Vec<u32>,
    },
    /// Makes a portal.
    Bind(Bind),
    /// Asks for parameters and columns.
    Describe(Target, String),
    /// Runs a portal.
    Execute {
        /// The portal.
        portal: String,
        /// Rows to give; 0 for all.
        limit: usize,
    },
    /// Closes a statement or portal.
    Close(Target, String),
    /// Asks for what is buffered.
    Flush,
    /// Ends an extended query.
    Sync,
    /// Says goodbye.
    Terminate,
    /// COPY data when no COPY runs: ignored, as PostgreSQL does.
    Copy,
    /// The function call of protocol 2: refused.
    FunctionCall,
}

impl Message {
    /// The message in a frame. 08P01 if it is malformed; 22021 if its text is not UTF-8.
    pub(crate) fn decode(frame: Frame) -> Result<Message> {
        let mut body = Body(frame.body);
        let message = match frame.kind {
            b'Q' => Message::Query(body.text()?),
            b'P' => Message::Parse { name: body.text()?, text: body.text()?, types: body.list(Body::u32)? },
            b'B' => Message::Bind(Bind {
                portal: body.text()?,
                statement: body.text()?,
                parameter_formats: body.list(Body::i16)?,
                parameters: body.list(Body::value)?,
                result_formats: body.list(Body::i16)?,
            }),
            b'D' => Message::Describe(body.target()?, body.text()?),
            b'E' => Message::Execute { portal: body.text()?, limit: usize::try_from(body.i32()?).unwrap_or(0) },
            b'C' => Message::Close(body.target()?, body.text()?),
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => Message::Terminate,
            b'd' | b'c' | b'f' => return Ok(Message::Copy),
            b'F' => return Ok(Message::FunctionCall),
            other => {
                let message = format!("invalid frontend message type {other}");
                return Err(Error::new(SqlState::ProtocolViolation, message));
            }
        };
        if body.0.is_empty() { Ok(message) } else { Err(malformed()) }
    }
}

fn malformed() -> Error {
    Error::new(SqlState::ProtocolViolation, "invalid message format")
}

/// A cursor over a message's body that fails where the body ends.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) Bytes);

impl Body {
    /// A zero-terminated text.
    pub(crate) fn text(&mut self) -> Result<String> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        match std::str::from_utf8(&text) {
            Ok(text) => Ok(text.to_string()),
            Err(error) => {
                let start = error.valid_up_to();
                let bad: Vec<String> = text[start..]
                    .iter()
                    .take(error.error_len().unwrap_or(1))
                    .map(|byte| format!("0x{byte:02x}"))
                    .collect();
                let message = format!("invalid byte sequence for encoding \"UTF8\": {}", bad.join(" "));
                Err(Error::new(SqlState::CharacterNotInRepertoire, message))
            }
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        if self.0.len() < N {
            return Err(malformed());
        }
        let bytes = self.0.split_to(N);
        <[u8; N]>::try_from(bytes.as_ref()).map_err(|_| malformed())
    }

    /// A signed number of two bytes.
    pub(crate) fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// A signed number of four bytes.
    pub(crate) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// An unsigned number of four bytes.
    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    fn target(&mut self) -> Result<Target> {
        match self.fixed::<1>()? {
            [b'S'] => Ok(Target::Statement),
            [b'P'] => Ok(Target::Portal),
            _ => Err(malformed()),
        }
    }

    /// Four bytes of length, then so many; a length of -1: null.
    pub(super) fn value(&mut self) -> Result<Option<Bytes>> {
        match self.i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) if length <= self.0.len() => Ok(Some(self.0.split_to(length))),
                _ => Err(malformed()),
            },
        }
    }

    /// Two bytes of count, then so many of `item`. Allocates only what arrived.
    fn list<T>(&mut self, item: impl Fn(&mut Body) -> Result<T>) -> Result<Vec<T>> {
        let count = u16::from_be_bytes(self.fixed()?);
        (0..count).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(kind: u8, body: &[u8]) -> Result<Message> {
        Message::decode(Frame { kind, body: Bytes::copy_from_slice(body) })
    }

    #[test]
    fn every_truncation_of_every_message_is_an_error_and_no_panic() {
        let whole: [(u8, &[u8]); 6] = [
            (b'Q', b"select 1\0"),
            (b'P', b"s\0select $1\0\0\x01\0\0\0\x17"),
            (b'B', b"p\0s\0\0\x01\0\0\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\x01"),
            (b'D', b"Sname\0"),
            (b'E', b"p\0\0\0\0\x05"),
            (b'C', b"Pname\0"),
        ];
        for (kind, body) in whole {
            decode(kind, body).unwrap();
            for end in 0..body.len() {
                let error = decode(kind, &body[..end]).unwrap_err();
                assert_eq!(error.state(), SqlState::ProtocolViolation, "{} {end}", kind as char);
            }
            let longer = [body, b"\0"].concat();
            assert!(decode(kind, &longer).is_err());
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for length in [i32::MIN, -2, 3, i32::MAX] {
            let body = [b"p\0s\0\0\0\0\x01".as_slice(), &length.to_be_bytes(), b"x\0\0"].concat();
            assert_eq!(decode(b'B', &body).unwrap_err().state(), SqlState::ProtocolViolation);
        }
        assert!(decode(b'P', b"\0\0\xff\xff").is_err());
        assert!(decode(b'D', b"Xname\0").is_err());
        assert!(decode(b'~', b"").is_err());
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let mut body = Vec::new();
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            let kind = b"QPBDEC"[(next() % 6) as usize];
            for _ in 0..next() % 40 {
                body.push(if next() % 3 == 0 { 0 } else { next() as u8 });
            }
            let _ = decode(kind, &body);
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error_of_its_own() {
        let error = decode(b'Q', b"select '\xff'\0").unwrap_err();
        assert_eq!(error.state(), SqlState::CharacterNotInRepertoire);
        assert_eq!(error.message(), "invalid byte sequence for encoding \"UTF8\": 0xff");
    }
}
