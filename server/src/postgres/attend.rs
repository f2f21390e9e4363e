//! Waiting for a statement without going deaf: notices go out, a client that leaves cancels it.
//!
//! Promises: [`Wire::attend`] polls the work it is given until it ends, so a statement is never
//! dropped half way while its client is there; when the client is gone the statement is cancelled
//! and given a moment to end. A statement that panics is an error of its own (XX000): the session
//! goes on.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use thalweg_dataflow::Error;
use thalweg_sql::session::{CancelHandle, Notice};
use tokio::sync::mpsc;

use super::backend::Output;
use super::connection::Stop;
use super::frontend::Input;
use crate::shutdown::Shutdown;

/// What is buffered is sent when a statement makes the client wait longer than this.
const LINGER: Duration = Duration::from_millis(20);

/// How long a cancelled statement may take to end before it is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// The client is gone, or it is to go because the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It left.
    Gone,
    /// The server stops.
    Stopping,
}

/// The two halves of a connection and what must be watched beside them.
#[derive(Debug)]
pub(crate) struct Wire {
    /// What the client sends.
    pub(crate) input: Input,
    /// What it is sent.
    pub(crate) output: Output,
    /// Notices of the session.
    pub(crate) notices: mpsc::Receiver<Notice>,
    /// Cancels what the session runs.
    pub(crate) cancel: CancelHandle,
    /// The server's end.
    pub(crate) shutdown: Shutdown,
}

/// Does work that waits for nothing. A panic is an error, as in [`Wire::attend`].
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Stop> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| broke_off())
}

fn broke_off() -> Stop {
    Stop::Error(Error::internal("the statement broke off"))
}

impl Wire {
    /// Waits for `work`.
    pub(crate) async fn attend<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        // What a panic leaves behind is dropped with the statement; the panic itself is in the log.
        let work = AssertUnwindSafe(work).catch_unwind();
        tokio::pin!(work);
        let ended = loop {
            let linger = !self.output.is_empty();
            tokio::select! {
                biased;
                done = &mut work => {
                    self.drain_notices();
                    return done.map_err(|_| broke_off());
                }
                Some(notice) = self.notices.recv() => {
                    self.output.notice(&notice);
                    if self.output.flush().await.is_err() {
                        break Ended::Gone;
                    }
                }
                () = self.shutdown.wait() => break Ended::Stopping,
                () = self.input.gone() => break Ended::Gone,
                () = tokio::time::sleep(LINGER), if linger => {
                    if self.output.flush().await.is_err() {
                        break Ended::Gone;
                    }
                }
            }
        };
        self.cancel.cancel();
        if tokio::time::timeout(CANCEL_GRACE, work).await.is_err() {
            tracing::warn!("a cancelled statement did not end within {CANCEL_GRACE:?}");
        }
        Err(Stop::Ended(ended))
    }

    /// Sends what is buffered; notices wait meanwhile.
    pub(crate) async fn flush(&mut self) -> Result<(), Ended> {
        tokio::select! {
            biased;
            sent = self.output.flush() => sent.map_err(|_| Ended::Gone),
            () = self.input.gone() => Err(Ended::Gone),
            () = self.shutdown.wait() => Err(Ended::Stopping),
        }
    }

    /// Puts the notices that wait in front of what follows.
    pub(crate) fn drain_notices(&mut self) {
        while let Ok(notice) = self.notices.try_recv() {
            self.output.notice(&notice);
        }
    }
}
