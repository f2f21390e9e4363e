//! The beginning of a connection: encryption requests, cancel requests, the startup packet.
//!
//! Promises: encryption is taken up with `S` where there is a certificate, else declined with `N` (the
//! client then goes on in clear or leaves); nothing that was sent in clear before it is believed; a
//! cancel request is answered by closing, as PostgreSQL does; a newer minor protocol is negotiated
//! down to 3.0. Does not shake hands, does not open the session.

use std::collections::BTreeMap;

use bytes::Bytes;
use pgwire::messages::startup::NegotiateProtocolVersion;
use thalweg_dataflow::{Error, Result, SqlState};
use thalweg_sql::session::Startup;

use super::backend::Output;
use super::frontend::{Body, Input};
use super::tls::HANDSHAKE;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// What can be said of encryption to a client that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// There is a certificate.
    Possible,
    /// There is none.
    Impossible,
    /// It is there already.
    On,
}

/// Whether a client begins with TLS, without asking for it.
pub(super) async fn wants_tls(socket: &tokio::net::TcpStream) -> std::io::Result<bool> {
    let mut first = [0];
    Ok(socket.peek(&mut first).await? == 1 && first[0] == HANDSHAKE)
}

/// How a connection begins.
#[derive(Debug)]
pub(crate) enum Greeting {
    /// A client wants a session.
    Session(Startup),
    /// Somebody wants to cancel what session `id` runs.
    Cancel {
        /// The session.
        id: i32,
        /// Its key.
        secret: i32,
    },
    /// It was told that TLS comes next.
    Encrypt,
    /// The client left before it said anything.
    Gone,
}

/// Reads until it is clear what the client wants.
pub(crate) async fn greet(input: &mut Input, output: &mut Output, encryption: Encryption) -> Result<Greeting> {
    loop {
        let Some(packet) = input.startup().await? else { return Ok(Greeting::Gone) };
        let mut body = Body(packet);
        match body.u32()? {
            request @ (SSL_REQUEST | GSSENC_REQUEST) => {
                let encrypts = request == SSL_REQUEST && encryption == Encryption::Possible;
                output.byte(if encrypts { b'S' } else { b'N' });
                if output.flush().await.is_err() {
                    return Ok(Greeting::Gone);
                }
                // What came behind the request was sent by nobody who could know the answer.
                match (encrypts, input.is_empty()) {
                    (true, true) => return Ok(Greeting::Encrypt),
                    (true, false) => {
                        let message = "received unencrypted data after SSL request";
                        return Err(Error::new(SqlState::ProtocolViolation, message));
                    }
                    (false, _) => {}
                }
            }
            CANCEL_REQUEST => return Ok(Greeting::Cancel { id: body.i32()?, secret: body.i32()? }),
            version => return session(version, body.0, output),
        }
    }
}

fn session(version: u32, parameters: Bytes, output: &mut Output) -> Result<Greeting> {
    let (major, minor) = (version >> 16, version & 0xffff);
    if major != 3 {
        let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    }
    let mut named = pairs(Body(parameters))?;
    let unknown: Vec<String> = named.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if minor > 0 || !unknown.is_empty() {
        named.retain(|name, _| !name.starts_with("_pq_."));
        output.message(&NegotiateProtocolVersion::new(3 << 16, unknown));
    }
    if named.contains_key("replication") {
        return Err(Error::unsupported("replication"));
    }
    let Some(user) = named.remove("user").filter(|user| !user.is_empty()) else {
        let message = "no PostgreSQL user name specified in startup packet";
        return Err(Error::new(SqlState::InvalidAuthorization, message));
    };
    let database = named.remove("database").filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    Ok(Greeting::Session(Startup { user, database, parameters: named.into_iter().collect(), role: None, client: None }))
}

fn pairs(mut body: Body) -> Result<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    loop {
        let name = body.text()?;
        if name.is_empty() {
            return Ok(pairs);
        }
        pairs.insert(name, body.text()?);
    }
}
