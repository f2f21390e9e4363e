//! The TCP listener: one task a connection.
//!
//! Promises: no more than so many connections wait to be let in; an accept that fails (too many open
//! files, say) does not end the listener; when the server stops nothing is accepted any more and the
//! connections get a moment to say goodbye.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::postgres::connection::{Shared, serve, turn_away};
use crate::postgres::tls::Incoming;

/// How long the listener waits after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections may take to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// A bound address.
#[derive(Debug)]
pub(crate) struct Listener {
    tcp: TcpListener,
    /// The address, with the port that was taken.
    pub(crate) address: SocketAddr,
}

impl Listener {
    /// Takes the address; nothing is accepted yet.
    pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<Listener> {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        Ok(Listener { tcp, address })
    }

    /// Serves connections until the server stops and they have ended.
    pub(crate) async fn run(self, shared: Arc<Shared>) {
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shared.shutdown.wait() => break,
                accepted = self.tcp.accept() => accepted,
            };
            match accepted {
                Ok((socket, from)) => match Arc::clone(&shared.doors).try_acquire_owned() {
                    Ok(door) => {
                        tracing::debug!("connection from {from}");
                        tasks.spawn(serve(Incoming::Tcp(socket), Arc::clone(&shared), door));
                    }
                    Err(_) => {
                        tracing::debug!("connection from {from} turned away: too many are not let in yet");
                        turn_away(socket);
                    }
                },
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.tcp);
        tasks.close();
        if tokio::time::timeout(STOP_GRACE, tasks.wait()).await.is_err() {
            tracing::warn!("{} connections did not end within {STOP_GRACE:?}", tasks.len());
        }
    }
}
