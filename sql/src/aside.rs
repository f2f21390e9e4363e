//! Work that keeps a thread busy, done without keeping the thread's other clients waiting.
//!
//! Does not make the work any shorter, and cannot stop it: what may be asked for is bounded where it
//! is read (`parser`) and bound (`planner`).

use tokio::runtime::{Handle, RuntimeFlavor};

/// Bytes of text that are read and bound at once.
const LONG_TEXT: usize = 64 << 10;

/// Reads or binds a text: a long one [`aside`].
pub(crate) fn aside_if_long<T>(text: &str, work: impl FnOnce() -> T) -> T {
    if text.len() > LONG_TEXT { aside(work) } else { work() }
}

/// Does the work here and now; meanwhile the other tasks of this thread move to another one.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        // A test's runtime of one thread, or none at all.
        _ => work(),
    }
}
