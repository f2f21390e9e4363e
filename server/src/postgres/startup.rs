//! The beginning of a connection: encryption requests, cancel requests, the startup packet.
//!
//! Promises: encryption is declined with `N` (the client then goes on in clear or leaves); a
//! cancel request is answered by closing, as PostgreSQL does; a newer minor protocol is negotiated
//! down to 3.0. Does not open the session.

use std::collections::BTreeMap;

use bytes::Bytes;
use pgwire::messages::startup::NegotiateProtocolVersion;
use thalweg_dataflow::{Error, Result, SqlState};
use thalweg_sql::session::Startup;

use super::backend::Output;
use super::frontend::{Body, Input};

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

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
    /// The client left before it said anything.
    Gone,
}

/// Reads until it is clear what the client wants.
pub(crate) async fn greet(input: &mut Input, output: &mut Output) -> Result<Greeting> {
    loop {
        let Some(packet) = input.startup().await? else { return Ok(Greeting::Gone) };
        let mut body = Body(packet);
        match body.u32()? {
            SSL_REQUEST | GSSENC_REQUEST => {
                output.byte(b'N');
                if output.flush().await.is_err() {
                    return Ok(Greeting::Gone);
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
    Ok(Greeting::Session(Startup { user, database, parameters: named.into_iter().collect() }))
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
