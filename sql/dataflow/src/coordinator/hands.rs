//! What is outside of the coordinator's own steps: the clock, and the threads that build views and
//! write checkpoints.
//!
//! Promises: nothing else in the engine reads a clock or starts a thread for the coordinator, so
//! whoever hands over other hands runs it step by step on one thread.

use std::sync::Arc;
use std::time::Instant;

use super::backfill::{self, Job, Target};
use super::inbox::Inbox;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::storage::Store;

/// The coordinator's hands.
pub(crate) trait Hands: Send + Sync {
    /// Microseconds since 1970 UTC: a cut's clock reading.
    fn clock(&self) -> i64;

    /// For when a checkpoint is due.
    fn instant(&self) -> Instant;

    /// Lets a view be built, from this epoch on.
    fn build(&self, job: Job, first: Target, inbox: Arc<Inbox>) -> Result<()>;

    /// What writes checkpoints.
    fn writer(&self, store: Arc<dyn Store>, inbox: Arc<Inbox>) -> Result<Writer>;
}

/// The real clock, and a thread for each.
#[derive(Debug)]
pub(crate) struct Threads;

impl Hands for Threads {
    fn clock(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| since.as_micros() as i64)
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn build(&self, job: Job, first: Target, inbox: Arc<Inbox>) -> Result<()> {
        let thread = std::thread::Builder::new().name("backfill".into());
        let spawned = thread.spawn(move || backfill::run(job, first, inbox));
        spawned.map_err(|error| Error::internal(format!("a backfill thread cannot be started: {error}")))?;
        Ok(())
    }

    fn writer(&self, store: Arc<dyn Store>, inbox: Arc<Inbox>) -> Result<Writer> {
        Writer::start(store, inbox)
    }
}
