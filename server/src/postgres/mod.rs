//! The Postgres wire, protocol 3.0: what psql and every Postgres driver speak.
//!
//! One task a connection, one [`Session`](thalweg_sql::session::Session) each. Results are
//! encoded batch by batch into one reused buffer that is sent at 64 KiB, so that memory does not
//! grow with them and a slow client slows its own statement only. While a statement runs the
//! socket is watched: a client that goes away cancels it. Does not know SQL, and (yet) no
//! COPY TO.
//!
//! | file | what |
//! |---|---|
//! | `frontend` | bytes to messages |
//! | `backend` | messages to bytes |
//! | `tls` | certificates, the handshake, halves of a connection with TLS or without |
//! | `startup` | SSLRequest, CancelRequest, the first packet, what is answered to it |
//! | `authenticate` | from a socket to a session |
//! | `hba` | who may connect, from where and how |
//! | `scram` | the password's exchange |
//! | `limiter` | how often an address may fail to log in |
//! | `connection` | the loop over messages, the simple protocol, errors |
//! | `extended` | Parse, Bind, Describe, Execute, Close, Sync |
//! | `deallocate` | DEALLOCATE of what Parse prepared |
//! | `attend` | waiting for a statement while notices, disconnects and stops happen |
//! | `cursor` | a result on its way, under a row limit |
//! | `rows` | RowDescription and DataRow |
//! | `cancel` | the connection limit and cancel keys |

mod attend;
mod authenticate;
pub(crate) mod backend;
pub(crate) mod cancel;
pub(crate) mod connection;
mod copy;
mod cursor;
mod extended;
pub(crate) mod frontend;
pub(crate) mod hba;
pub(crate) mod limiter;
mod rows;
mod scram;
pub(crate) mod startup;
pub(crate) mod tls;
