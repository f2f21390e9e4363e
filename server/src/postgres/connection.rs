//! One client: from its first packet to its last, and the simple protocol.
//!
//! Promises: every message is answered in order; an error ends the statement (extended protocol:
//! everything up to Sync) and never the connection, unless the client broke the protocol (08P01)
//! or the server stops (57P01). Memory is bounded by one message, one batch and one output buffer.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use datafusion::scalar::ScalarValue;
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey};
use thalweg_dataflow::{Error, SqlState};
use thalweg_sql::database::Database;
use thalweg_sql::session::{Outcome, Prepared, Session};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::attend::{Ended, Wire, caught};
use super::authenticate::{Admitted, admit};
use super::backend::{Output, Plain, last_words};
use super::cancel::{Connections, Seat};
use super::cursor::Cursor;
use super::extended::Portal;
use super::frontend::{Frame, Message};
use super::rows::{all_of, description};
use super::tls::Incoming;
use crate::security::Security;
use crate::shutdown::Shutdown;

/// How long the last words to a client may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// What every connection of a server shares.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The database, once it is open.
    pub(crate) database: std::sync::OnceLock<Database>,
    /// Who is connected.
    pub(crate) connections: Arc<Connections>,
    /// Places for those who are not let in yet.
    pub(crate) doors: Arc<Semaphore>,
    /// Who gets in.
    pub(crate) security: Arc<Security>,
    /// The server's end.
    pub(crate) shutdown: Shutdown,
}

/// Why a message was not answered to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// An error for the client.
    Error(Error),
    /// The connection ends.
    Ended(Ended),
    /// The client did nothing for too long.
    Idle(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Stop {
        Stop::Ended(ended)
    }
}

/// A client with its session.
pub(crate) struct Connection {
    pub(super) wire: Wire,
    pub(super) session: Session,
    pub(super) portals: HashMap<String, Portal>,
    /// An extended query failed: everything up to Sync is ignored.
    skipping: bool,
    /// More than one Execute comes before the next Sync: they are one request.
    pub(super) pipelined: bool,
}

/// Tells a client at once that too many others are waiting to be let in; waits for nothing.
pub(crate) fn turn_away(socket: TcpStream) {
    let message = "sorry, too many clients already";
    let error = Error::new(SqlState::TooManyConnections, message).detail("Too many of them are not let in yet.");
    // As it is, without the runtime, which has yet to learn whether it can be written to.
    let Ok(mut socket) = socket.into_std() else { return };
    // Reset connections may lose what was sent before: what came is taken so that this one is not.
    let _ = socket.read(&mut [0; 1024]);
    // A client that is gone already needs no answer.
    let _ = socket.write(&last_words(&error));
}

/// Serves one client until it leaves or the server stops; `door` is its place until it is let in.
pub(crate) async fn serve(incoming: Incoming, shared: Arc<Shared>, door: OwnedSemaphorePermit) {
    if let Incoming::Tcp(socket) = &incoming
        && let Err(error) = socket.set_nodelay(true)
    {
        // Answers are flushed whole: waiting for more to send only delays them.
        tracing::debug!("no TCP_NODELAY: {error}");
    }
    let admitted = tokio::select! {
        admitted = tokio::time::timeout(shared.security.authentication_timeout, admit(incoming, &shared)) => admitted,
        () = shared.shutdown.wait() => return,
    };
    drop(door);
    let Ok(Some(Admitted { input, output, mut session, seat })) = admitted else { return };
    // A session that just began has its receiver; a closed one in its place would only be silent.
    let notices = session.take_notices().unwrap_or_else(|| tokio::sync::mpsc::channel(1).1);
    let wire = Wire { input, output, notices, cancel: session.cancel_handle(), shutdown: seat.end.clone() };
    let mut connection = Connection { wire, session, portals: HashMap::new(), skipping: false, pipelined: false };
    seat.cancel_by(connection.session.cancel_handle());
    connection.welcome(&seat);
    let ended = connection.run().await;
    connection.farewell(ended).await;
}

/// Tells a client why it has to go.
pub(super) async fn refuse(mut output: Output, error: &Error) {
    output.fatal(error);
    // The client may be gone already; there is nobody else to tell.
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, async {
        output.flush().await?;
        output.shutdown().await
    })
    .await;
}

/// How the loop over messages ended.
enum Last {
    /// The client said goodbye or left.
    Gone,
    /// It broke the protocol, or was idle for too long.
    Broken(Error),
    /// The server stops.
    Stopping,
}

impl Connection {
    fn welcome(&mut self, seat: &Seat) {
        let output = &mut self.wire.output;
        output.message(&Authentication::Ok);
        for (name, value) in self.session.parameter_changes() {
            output.message(&ParameterStatus::new(name.to_string(), value));
        }
        output.message(&BackendKeyData::new(seat.id, SecretKey::I32(seat.secret)));
        self.wire.drain_notices();
        self.ready();
    }

    async fn farewell(mut self, last: Last) {
        let error = match last {
            Last::Gone => {
                // The goodbye may have come behind messages whose answers were not sent yet.
                let _ = tokio::time::timeout(FAREWELL_TIMEOUT, self.wire.output.flush()).await;
                return;
            }
            Last::Broken(error) => error,
            Last::Stopping => {
                Error::new(SqlState::AdminShutdown, "terminating connection due to administrator command")
            }
        };
        refuse(self.wire.output, &error).await;
    }

    async fn run(&mut self) -> Last {
        loop {
            let frame = match self.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) | Err(Stop::Ended(Ended::Gone)) => return Last::Gone,
                Err(Stop::Ended(Ended::Stopping)) => return Last::Stopping,
                Err(Stop::Error(error)) if error.state() == SqlState::ConnectionFailure => return Last::Gone,
                Err(Stop::Error(error) | Stop::Idle(error)) => return Last::Broken(error),
            };
            let simple = frame.kind == b'Q';
            let message = match Message::decode(frame) {
                Err(error) if error.state() == SqlState::ProtocolViolation => return Last::Broken(error),
                Ok(Message::Terminate) => return Last::Gone,
                other => other,
            };
            let answered = match message {
                Ok(message) => self.answer(message).await,
                Err(error) => Err(Stop::Error(error)),
            };
            match answered {
                Ok(()) => {}
                Err(Stop::Ended(Ended::Gone)) => return Last::Gone,
                Err(Stop::Ended(Ended::Stopping)) => return Last::Stopping,
                Err(Stop::Idle(error)) => return Last::Broken(error),
                Err(Stop::Error(error)) => self.fail(&error, simple),
            }
        }
    }

    /// The next message; before waiting for it, what is buffered is sent.
    async fn next(&mut self) -> Result<Option<Frame>, Stop> {
        loop {
            if self.wire.output.is_full() {
                self.wire.flush().await?;
            }
            // What has come already needs no waiting.
            if let Some(frame) = self.wire.input.take()? {
                return Ok(Some(frame));
            }
            self.wire.flush().await?;
            let limit = self.session.idle_limit();
            let idle = async {
                match limit {
                    Some((limit, error)) => {
                        tokio::time::sleep(limit).await;
                        error
                    }
                    None => std::future::pending().await,
                }
            };
            let Wire { input, output, notices, shutdown, .. } = &mut self.wire;
            tokio::select! {
                biased;
                () = shutdown.wait() => return Err(Stop::Ended(Ended::Stopping)),
                frame = input.next() => return Ok(frame?),
                error = idle => return Err(Stop::Idle(error)),
                Some(notice) = notices.recv() => output.notice(&notice),
            }
        }
    }

    async fn answer(&mut self, message: Message) -> Result<(), Stop> {
        if self.skipping && !matches!(message, Message::Sync | Message::Query(_)) {
            return Ok(());
        }
        match message {
            Message::Query(text) => {
                self.skipping = false;
                self.query(&text).await?;
                self.ready();
            }
            Message::Parse { name, text, types } => self.parse(name, &text, &types).await?,
            Message::Bind(bind) => self.bind(bind)?,
            Message::Describe(target, name) => self.describe(target, &name)?,
            Message::Execute { portal, limit } => self.execute(&portal, limit).await?,
            Message::Close(target, name) => self.close(target, &name),
            Message::Sync => {
                self.skipping = false;
                match self.end_pipeline().await {
                    Ok(()) => {}
                    Err(Stop::Error(error)) => self.wire.output.error(&error),
                    Err(ended) => return Err(ended),
                }
                self.ready();
            }
            Message::FunctionCall => return Err(Error::unsupported("the function call protocol").into()),
            Message::Flush | Message::Copy | Message::Terminate => {}
        }
        Ok(())
    }

    fn fail(&mut self, error: &Error, simple: bool) {
        self.wire.drain_notices();
        self.wire.output.error(error);
        self.session.fail_block();
        if simple {
            self.ready();
        } else {
            self.skipping = true;
            if std::mem::take(&mut self.pipelined) {
                self.session.end_request();
            }
        }
    }

    /// ReadyForQuery, and before it the settings that clients are told about and that changed.
    pub(super) fn ready(&mut self) {
        for (name, value) in self.session.parameter_changes() {
            self.wire.output.message(&ParameterStatus::new(name.to_string(), value));
        }
        self.session.rests();
        let status = self.session.transaction_status();
        self.portals.retain(|_, portal| portal.survives(status));
        self.wire.output.ready(status);
    }

    async fn query(&mut self, text: &str) -> Result<(), Stop> {
        self.session.statements.forget("");
        self.portals.remove("");
        let statements = match self.wire.attend(self.session.pasted(text)).await? {
            Some(lookup) => vec![lookup],
            None => {
                let plain = |statement| (Prepared::plain(statement), Vec::new());
                self.session.parse(text)?.into_iter().map(plain).collect()
            }
        };
        if let [_, _, ..] = statements.as_slice() {
            self.session.begin_request(false);
        }
        let answered = self.run_all(statements).await;
        self.session.end_request();
        answered
    }

    /// One after the other; an error ends them.
    async fn run_all(&mut self, statements: Vec<(Prepared, Vec<ScalarValue>)>) -> Result<(), Stop> {
        let last = statements.len().saturating_sub(1);
        for (place, (prepared, parameters)) in statements.into_iter().enumerate() {
            match self.outcome(&prepared, parameters).await? {
                Outcome::Rows { schema, rows, tag } => {
                    let formats = all_of(&schema, tag.is_binary());
                    self.wire.output.message(&description(&schema, &formats));
                    let mut cursor = Cursor::new(&schema, rows, tag, &formats, self.session.text_style().clone());
                    let (sent, _) = cursor.send(&mut self.wire, 0).await?;
                    self.finish(place == last).await?;
                    self.wire.output.complete(&cursor.tag(sent));
                }
                Outcome::Done(tag) => {
                    self.finish(place == last).await?;
                    self.wire.output.complete(&tag);
                }
                Outcome::CopyOut(copy) => {
                    let tag = self.copy_out(*copy).await?;
                    self.finish(place == last).await?;
                    self.wire.output.complete(&tag);
                }
                Outcome::Copy(copy) => {
                    let tag = self.copy_in(*copy).await?;
                    self.finish(place == last).await?;
                    self.wire.output.complete(&tag);
                }
                Outcome::Empty => self.wire.output.plain(Plain::EmptyQuery),
            }
        }
        Ok(())
    }

    /// Runs a statement.
    pub(super) async fn outcome(&mut self, prepared: &Prepared, parameters: Vec<ScalarValue>) -> Result<Outcome, Stop> {
        if let Some(answer) = caught(|| self.session.at_once(prepared, &parameters))? {
            return Ok(answer?);
        }
        Ok(self.wire.attend(self.session.execute(prepared, parameters)).await??)
    }

    /// Before the last statement of a request is said to be done, what the request changed is.
    async fn finish(&mut self, last: bool) -> Result<(), Stop> {
        if last {
            self.wire.attend(self.session.finish_request()).await??;
        }
        Ok(())
    }
}
