//! The Postgres wire, protocol 3.0: what psql and every Postgres driver speak.
//!
//! One task a connection, one [`Session`](thalweg_sql::session::Session) each. Results are
//! encoded batch by batch into one reused buffer that is sent at 64 KiB, so that memory does not
//! grow with them and a slow client slows its own statement only. While a statement runs the
//! socket is watched: a client that goes away cancels it. Does not know SQL, and (yet) no TLS, no
//! passwords and no COPY TO.
//!
//! | file | what |
//! |---|---|
//! | `frontend` | bytes to messages |
//! | `backend` | messages to bytes |
//! | `startup` | SSLRequest, CancelRequest, the first packet, what is answered to it |
//! | `connection` | the loop over messages, the simple protocol, errors |
//! | `extended` | Parse, Bind, Describe, Execute, Close, Sync |
//! | `deallocate` | DEALLOCATE of what Parse prepared |
//! | `attend` | waiting for a statement while notices, disconnects and stops happen |
//! | `cursor` | a result on its way, under a row limit |
//! | `rows` | RowDescription and DataRow |
//! | `cancel` | the connection limit and cancel keys |

mod attend;
mod backend;
pub(crate) mod cancel;
pub(crate) mod connection;
mod copy;
mod cursor;
mod extended;
mod frontend;
mod rows;
mod startup;
