//! From a socket to a session: TLS, the startup packet, the rules, the password, a place.
//!
//! Promises: nothing a client says before it is let in takes much memory or for ever; whether a role
//! exists is not told to who cannot prove to be it; why a login failed is in the log, without any
//! secret. Does not serve the session.

use std::net::{Ipv4Addr, SocketAddr};

use thalweg_dataflow::{Error, Result, SqlState};
use thalweg_sql::database::Database;
use thalweg_sql::roles::login::Login;
use thalweg_sql::session::{Session, Startup};
use tokio::net::TcpStream;

use super::backend::Output;
use super::cancel::{Seat, Visitor as Place};
use super::connection::{Shared, refuse};
use super::frontend::{Body, Input};
use super::hba::{Method, Visitor};
use super::scram::{Exchange, mechanisms};
use super::startup::{Encryption, Greeting, greet, wants_tls};
use super::tls::{Incoming, Reader, Writer, clear, piped, whole};

/// The one database, as rules know it.
const DATABASE: &str = "thalweg";

/// Codes of the authentication messages.
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// A client that was let in.
pub(super) struct Admitted {
    /// What it sends.
    pub(super) input: Input,
    /// What it is sent.
    pub(super) output: Output,
    /// Its session.
    pub(super) session: Session,
    /// Its place.
    pub(super) seat: Seat,
}

/// A client's line before it is let in.
struct Line {
    input: Input,
    output: Output,
    peer: SocketAddr,
    /// The server's end.
    local: Option<SocketAddr>,
    /// The data to bind a login to; `Some` under TLS, empty where the certificate allows none.
    tls: Option<Vec<u8>>,
}

/// Lets a client in. `None`: it left, it was refused, or it came to cancel something.
pub(super) async fn admit(incoming: Incoming, shared: &Shared) -> Option<Admitted> {
    let (peer, opened) = match incoming {
        Incoming::Piped(stream) => {
            let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            (peer, Ok(over(piped(stream), (peer, None), None)))
        }
        Incoming::Tcp(socket) => {
            let peer = socket.peer_addr().ok()?;
            let local = socket.local_addr().ok();
            (peer, open(socket, (peer, local), shared).await)
        }
    };
    let mut line = match opened {
        Ok(line) => line,
        Err(error) => {
            tracing::info!("the TLS handshake with {peer} failed: {error}");
            return None;
        }
    };
    let startup = loop {
        let encrypted = match (&line.tls, shared.security.tls()) {
            (Some(_), _) => Encryption::On,
            (None, Some(_)) => Encryption::Possible,
            (None, None) => Encryption::Impossible,
        };
        match greet(&mut line.input, &mut line.output, encrypted).await {
            Ok(Greeting::Session(startup)) => break startup,
            Ok(Greeting::Encrypt) => match encrypt(line, shared).await {
                Ok(upgraded) => line = upgraded,
                Err(error) => {
                    tracing::info!("the TLS handshake with {peer} failed: {error}");
                    return None;
                }
            },
            Ok(Greeting::Cancel { id, secret }) => {
                shared.connections.cancel(id, secret);
                return None;
            }
            Ok(Greeting::Gone) => return None,
            Err(error) => {
                refuse(line.output, &error).await;
                return None;
            }
        }
    };
    match session(&mut line, startup, shared).await {
        Ok(Some((session, seat))) => {
            line.input.allow_long();
            Some(Admitted { input: line.input, output: line.output, session, seat })
        }
        Ok(None) => None,
        Err(error) => {
            refuse(line.output, &error).await;
            None
        }
    }
}

/// The address of a client, and that of the server which it reached.
type Ends = (SocketAddr, Option<SocketAddr>);

fn over((reader, writer): (Reader, Writer), (peer, local): Ends, tls: Option<Vec<u8>>) -> Line {
    Line { input: Input::new(reader), output: Output::new(writer), peer, local, tls }
}

/// The line as the client begins it: in clear, or with TLS at once.
async fn open(socket: TcpStream, ends: Ends, shared: &Shared) -> std::io::Result<Line> {
    match shared.security.tls() {
        Some(tls) if wants_tls(&socket).await? => {
            let halves = tls.accept(socket, true).await?;
            Ok(over(halves, ends, Some(tls.end_point().unwrap_or_default().to_vec())))
        }
        _ => Ok(over(clear(socket), ends, None)),
    }
}

/// The line with TLS from here on, as the client asked for.
async fn encrypt(line: Line, shared: &Shared) -> std::io::Result<Line> {
    let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
    let tls = shared.security.tls().ok_or_else(gone)?;
    let ends = (line.peer, line.local);
    let socket = whole(line.input.into_half(), line.output.into_half()).ok_or_else(gone)?;
    let halves = tls.accept(socket, false).await?;
    Ok(over(halves, ends, Some(tls.end_point().unwrap_or_default().to_vec())))
}

/// A session for a startup packet. `None`: the client left.
async fn session(line: &mut Line, mut startup: Startup, shared: &Shared) -> Result<Option<(Session, Seat)>> {
    let Some(database) = shared.database.get() else {
        return Err(Error::new(SqlState::CannotConnectNow, "the database system is starting up"));
    };
    let Some(login) = authenticate(line, &startup, database, shared).await.inspect_err(|error| {
        tracing::info!("connection of {:?} from {} refused: {}", startup.user, line.peer, error.message());
    })?
    else {
        return Ok(None);
    };
    let trusted = shared.security.trusts_all(database);
    match login.role {
        Some(role) => {
            if !login.may_login {
                let message = format!("role \"{}\" is not permitted to log in", startup.user);
                return Err(Error::new(SqlState::InvalidAuthorization, message));
            }
            database.may_connect(role)?;
        }
        None if trusted => {}
        None => {
            let message = format!("role \"{}\" does not exist", startup.user);
            return Err(Error::new(SqlState::InvalidAuthorization, message));
        }
    }
    let superuser = login.superuser || login.role.is_none();
    let place = Place { name: &startup.user, superuser, limit: login.connection_limit };
    let seat = shared.connections.sit(&place)?;
    startup.role = login.role;
    startup.client = Some(seat.client(line.peer, line.local));
    Ok(Some((database.session(startup), seat)))
}

/// What is known of a user who is who it says, as far as the rules want to know. `None`: the client
/// left.
async fn authenticate(
    line: &mut Line,
    startup: &Startup,
    database: &Database,
    shared: &Shared,
) -> Result<Option<Login>> {
    let encryption = if line.tls.is_some() { "SSL encryption" } else { "no encryption" };
    let who = format!(
        "host \"{}\", user \"{}\", database \"{}\", {encryption}",
        line.peer.ip(),
        startup.user,
        startup.database
    );
    if line.tls.is_none() && shared.security.requires_tls() {
        let message = format!("no pg_hba.conf entry for {who}");
        return Err(Error::new(SqlState::InvalidAuthorization, message)
            .hint("This server takes encrypted connections only (sslmode=require)."));
    }
    let rules = shared.security.rules(database);
    let visitor = Visitor { address: line.peer.ip(), tls: line.tls.is_some(), user: &startup.user, database: DATABASE };
    let rule = rules.find(&visitor, |user, role| database.is_member(user, role));
    let Some(rule) = rule else {
        let message = format!("no pg_hba.conf entry for {who}");
        return Err(Error::new(SqlState::InvalidAuthorization, message));
    };
    let login = database.login(&startup.user)?;
    match rule.method {
        Method::Trust => Ok(Some(login)),
        Method::Reject => {
            let message = format!("pg_hba.conf rejects connection for {who}");
            Err(Error::new(SqlState::InvalidAuthorization, message))
        }
        Method::Scram => password(line, &startup.user, login, shared).await,
    }
}

/// Asks for the password.
async fn password(line: &mut Line, user: &str, login: Login, shared: &Shared) -> Result<Option<Login>> {
    let attempt = shared.security.limiter.attempt(line.peer.ip())?;
    let end_point = line.tls.clone().filter(|data| !data.is_empty());
    let mut offer = Vec::new();
    for mechanism in mechanisms(end_point.is_some()) {
        offer.extend_from_slice(mechanism.as_bytes());
        offer.push(0);
    }
    offer.push(0);
    line.output.authentication(SASL, &offer);
    let Some(first) = answer(line).await? else {
        // A client that first learns that it needs a password, and asks its user for it.
        attempt.forgive();
        return Ok(None);
    };
    let mut first = Body(first);
    let mechanism = first.text()?;
    let message = first.value()?.unwrap_or_default();
    let (exchange, answered) = Exchange::begin(&mechanism, &message, login.verifier.clone(), end_point.as_deref())?;
    line.output.authentication(SASL_CONTINUE, answered.as_bytes());
    let Some(last) = answer(line).await? else {
        attempt.forgive();
        return Ok(None);
    };
    let proven = exchange.end(&last)?;
    match (proven, login.hopeless) {
        (Some(signature), None) => {
            attempt.forgive();
            line.output.authentication(SASL_FINAL, signature.as_bytes());
            Ok(Some(login))
        }
        (proven, hopeless) => {
            let wrong = if proven.is_none() { "the password is wrong" } else { "nothing fits" };
            tracing::warn!("login of {user:?} from {} failed: {}", line.peer, hopeless.unwrap_or(wrong));
            let message = format!("password authentication failed for user \"{user}\"");
            Err(Error::new(SqlState::InvalidPassword, message))
        }
    }
}

/// Sends what waits and gives the client's answer; `None`: it left.
async fn answer(line: &mut Line) -> Result<Option<bytes::Bytes>> {
    if line.output.flush().await.is_err() {
        return Ok(None);
    }
    match line.input.next().await {
        Ok(Some(frame)) if frame.kind == b'p' => Ok(Some(frame.body)),
        Ok(Some(frame)) if frame.kind == b'X' => Ok(None),
        Ok(Some(frame)) => {
            let message = format!("expected SASL response, got message type {}", frame.kind);
            Err(Error::new(SqlState::ProtocolViolation, message))
        }
        Ok(None) => Ok(None),
        Err(error) if error.state() == SqlState::ConnectionFailure => Ok(None),
        Err(error) => Err(error),
    }
}
