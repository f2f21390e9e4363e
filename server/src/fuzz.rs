//! The wire's entry points for bytes that nobody vouches for: those of cargo-fuzz (`tests/fuzz`), and
//! of a bounded form of the same here.
//!
//! Promises: the bytes go the way of a real client's, over memory instead of a socket; who calls
//! hears of a panic, of an internal error and of a session that outlives its client by panicking
//! itself. Does not make the bytes.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use thalweg_connectors::Registry;
use thalweg_dataflow::engine::Engine;
use thalweg_dataflow::storage::Storage;
use thalweg_sql::database::Database;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::config::{Config, Layer};
use crate::postgres::backend::Output;
use crate::postgres::cancel::Connections;
use crate::postgres::connection::{Shared, serve};
use crate::postgres::frontend::{Input, Message};
use crate::postgres::startup::{Encryption, greet};
use crate::postgres::tls::{Incoming, piped};
use crate::security::Security;
use crate::serve::{database_options, engine_options};
use crate::shutdown::Shutdown;

/// Bytes on their way between the two ends.
const PIPE: usize = 64 << 10;

/// How long a client waits for the next bytes before it leaves: what it asked for may take for ever.
const PATIENCE: Duration = Duration::from_millis(100);

/// Bytes of answers that a client reads before it leaves.
const ENOUGH: usize = 4 << 20;

/// How long a session may outlive its client. (A cancelled statement has 5 s to end.)
const LINGERS: Duration = Duration::from_secs(20);

/// What ErrorResponse says of an error that is nobody's but ours.
const INTERNAL: &[u8] = b"CXX000\0";

/// Reads the bytes as a client's first packets, and as the messages of a session.
pub fn messages(bytes: &[u8]) {
    block_on(async {
        let (reader, writer) = piped(sent(bytes).await);
        let (mut input, mut output) = (Input::new(reader), Output::new(writer));
        // An error is an answer: what counts is that there is one.
        let _ = greet(&mut input, &mut output, Encryption::Impossible).await;
        let (reader, _writer) = piped(sent(bytes).await);
        let mut input = Input::new(reader);
        input.allow_long();
        while let Ok(Some(frame)) = input.next().await {
            let _ = Message::decode(frame);
        }
    });
}

/// The other end of a pipe into which somebody wrote these bytes and left.
async fn sent(bytes: &[u8]) -> tokio::io::DuplexStream {
    let (mut client, server) = tokio::io::duplex(bytes.len().max(1) + PIPE);
    // The pipe has room for all.
    let _ = client.write_all(bytes).await;
    server
}

/// A server that keeps everything in memory and listens nowhere.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    shared: Arc<Shared>,
    /// Where queries spill to.
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts one. The errors are of the machine: no threads, no temporary folder.
    pub fn start() -> Result<Server, String> {
        let runtime = crate::runtime().map_err(|failure| format!("{failure:?}"))?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let data_dir = folder.path().display().to_string();
        let flags = Layer::from([("workers", "1".to_string()), ("data_dir", data_dir)]);
        let config = Config::load(&flags, |_| None, None).map_err(|error| error.to_string())?;
        let security =
            Security::load(&config, std::net::Ipv4Addr::LOCALHOST.into()).map_err(|error| error.to_string())?;
        let engine = Engine::open(engine_options(&config), Storage::memory()).map_err(|error| error.to_string())?;
        let database = runtime
            .block_on(Database::open(engine, Arc::new(Registry::new()), database_options(&config)))
            .map_err(|error| error.to_string())?;
        let shared = Shared {
            database: database.into(),
            connections: Connections::new(config.max_connections, 0, Shutdown::default()),
            doors: Arc::new(Semaphore::new(config.max_authenticating_connections)),
            security: Arc::new(security),
            shutdown: Shutdown::default(),
        };
        Ok(Server { runtime, shared: Arc::new(shared), _folder: folder })
    }

    /// A client sends these bytes, reads whatever comes and leaves; what came.
    ///
    /// # Panics
    ///
    /// If the answer holds an internal error, or the session does not end with its client.
    pub fn session(&self, bytes: &[u8]) -> Vec<u8> {
        self.session_within(bytes, PATIENCE)
    }

    /// The same for a client that waits so long for each part of the answer.
    fn session_within(&self, bytes: &[u8], patience: Duration) -> Vec<u8> {
        let answer = self.runtime.block_on(self.talk(bytes, patience));
        assert!(
            !answer.windows(INTERNAL.len()).any(|found| found == INTERNAL),
            "an internal error: {}",
            String::from_utf8_lossy(&answer)
        );
        answer
    }

    async fn talk(&self, bytes: &[u8], patience: Duration) -> Vec<u8> {
        let Ok(door) = Arc::clone(&self.shared.doors).acquire_owned().await else { return Vec::new() };
        let (client, server) = tokio::io::duplex(PIPE);
        let session = tokio::spawn(serve(Incoming::Piped(server), Arc::clone(&self.shared), door));
        let (mut from, mut to) = tokio::io::split(client);
        let mut answer = Vec::new();
        let read = async {
            while answer.len() < ENOUGH {
                match tokio::time::timeout(patience, from.read_buf(&mut answer)).await {
                    Ok(Ok(1..)) => {}
                    _ => break,
                }
            }
        };
        tokio::select! {
            () = read => {}
            // The server may hang up before it has read all; then the reader hears of it.
            () = async { let _ = to.write_all(bytes).await; std::future::pending().await } => {}
        }
        drop((from, to));
        let ended = tokio::time::timeout(LINGERS, session).await;
        assert!(matches!(ended, Ok(Ok(()))), "the session goes on without its client, or broke off: {ended:?}");
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// How many sessions are made of each recorded one.
    const ROUNDS: u64 = 60;

    /// A generator of numbers (xorshift).
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % end.max(1) as u64) as usize
        }
    }

    /// The sessions of real clients, as `tests/fuzz/record.py` took them down.
    fn recorded() -> Vec<Vec<u8>> {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus/session"));
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() >= 4, "{paths:?}");
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// The same bytes with some faults.
    fn mutated(bytes: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            let end = (at + 1 + random.below(24)).min(bytes.len());
            match random.below(7) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
                4 => bytes.truncate(at + 1),
                5 => {
                    let other = &others[random.below(others.len())];
                    let from = random.below(other.len());
                    let to = (from + random.below(200)).min(other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
                _ => bytes.swap(at, end - 1),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        bytes
    }

    #[test]
    fn sessions_with_faults_are_answered_and_end() {
        let server = Server::start().unwrap();
        let sessions = recorded();
        for (number, session) in sessions.iter().enumerate() {
            let answer = server.session_within(session, Duration::from_secs(10));
            assert!(answer.contains(&b'Z'), "session {number} was not let in: {}", String::from_utf8_lossy(&answer));
            let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1));
            for _ in 0..ROUNDS {
                let bytes = mutated(session, &sessions, &mut random);
                messages(&bytes);
                server.session(&bytes);
            }
        }
        // The server is as it was.
        assert!(server.session_within(&sessions[0], Duration::from_secs(10)).contains(&b'Z'));
    }

    #[test]
    fn messages_with_faults_are_read_to_their_end() {
        let sessions = recorded();
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        for round in 0..20_000 {
            messages(&mutated(&sessions[round % sessions.len()], &sessions, &mut random));
        }
    }
}
