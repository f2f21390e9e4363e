//! A session whose bytes the test writes itself, and what comes back. Judges nothing but [`lives`].

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use thalweg_tests::server::Server;

/// A session whose bytes the test writes itself.
pub(crate) struct Raw(pub(crate) TcpStream);

/// A message: its type and all after the length.
pub(crate) type Message = (u8, Vec<u8>);

impl Raw {
    pub(crate) fn connect(server: &Server) -> Raw {
        let socket = TcpStream::connect(("127.0.0.1", server.port())).expect("the server listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        Raw(socket)
    }

    /// A session that is ready, as user tester of this database.
    pub(crate) fn session(server: &Server, database: &str) -> (Raw, Vec<Message>) {
        let mut raw = Raw::connect(server);
        let body = [&[0, 3, 0, 0], b"user\0tester\0database\0".as_slice(), database.as_bytes(), b"\0\0"].concat();
        raw.bytes(&[&(body.len() as u32 + 4).to_be_bytes(), body.as_slice()].concat());
        let greeting = raw.until_ready();
        (raw, greeting)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server reads");
    }

    pub(crate) fn send(&mut self, kind: u8, body: &[u8]) {
        self.bytes(&framed(kind, body));
    }

    /// Passes over the messages up to ReadyForQuery; how many of them were rows.
    pub(crate) fn count_rows(&self) -> u64 {
        let mut from = std::io::BufReader::with_capacity(1 << 20, &self.0);
        let mut rows = 0;
        loop {
            let mut head = [0; 5];
            from.read_exact(&mut head).expect("a whole message");
            let length = u64::from(u32::from_be_bytes([head[1], head[2], head[3], head[4]])) - 4;
            std::io::copy(&mut from.by_ref().take(length), &mut std::io::sink()).expect("a whole message");
            match head[0] {
                b'D' => rows += 1,
                b'Z' => return rows,
                kind => assert!(b"TCN".contains(&kind), "a message of type {}", char::from(kind)),
            }
        }
    }

    /// The next message; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).expect("a whole message");
        Some((head[0], body))
    }

    /// Everything up to ReadyForQuery, it included.
    pub(crate) fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let next = self.next().unwrap_or_else(|| panic!("the connection ended after {messages:?}"));
            let ready = next.0 == b'Z';
            messages.push(next);
            if ready {
                return messages;
            }
        }
    }

    pub(crate) fn simple(&mut self, sql: &str) -> Vec<Message> {
        self.send(b'Q', &[sql.as_bytes(), b"\0"].concat());
        self.until_ready()
    }
}

pub(crate) fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], (body.len() as u32 + 4).to_be_bytes().as_slice(), body].concat()
}

/// The types of messages, as a word.
pub(crate) fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|(kind, _)| char::from(*kind)).collect()
}

/// A field of the first error or notice.
pub(crate) fn field(messages: &[Message], field: u8) -> Option<String> {
    let (_, body) = messages.iter().find(|(kind, _)| matches!(kind, b'E' | b'N'))?;
    let mut fields = body.split(|byte| *byte == 0).filter(|text| !text.is_empty());
    let found = fields.find(|text| text[0] == field)?;
    Some(String::from_utf8_lossy(&found[1..]).into_owned())
}

/// The server answers, and nothing panicked on the way.
pub(crate) fn lives(server: &Server) {
    let (mut raw, _) = Raw::session(server, "thalweg");
    assert_eq!(kinds(&raw.simple("SELECT 1")), "TDCZ");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
