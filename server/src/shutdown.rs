//! Stopping: the first SIGINT or SIGTERM asks everything to end, the second ends the process.
//!
//! Promises: who holds a [`Shutdown`] learns of the request at once; nothing is lost by the
//! second signal that a kill would not lose (the data folder survives both). Does not itself stop
//! anything.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code after a second signal: what a shell reports for SIGINT.
const IMPATIENT: i32 = 130;

/// A request to stop, shared by everything that runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// Installs the signal handlers. To be called inside the runtime.
    pub(crate) fn on_signals() -> std::io::Result<Shutdown> {
        let shutdown = Shutdown::default();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let token = shutdown.token.clone();
        tokio::spawn(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            token.cancel();
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            std::process::exit(IMPATIENT);
        });
        Ok(shutdown)
    }

    /// One that is requested with this one, and can be alone.
    pub(crate) fn part(&self) -> Shutdown {
        Shutdown { token: self.token.child_token() }
    }

    /// Asks everything to stop.
    pub(crate) fn request(&self) {
        self.token.cancel();
    }

    /// Whether it was asked for.
    pub(crate) fn requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Resolves once it is asked for.
    pub(crate) async fn wait(&self) {
        self.token.cancelled().await;
    }
}
