//! The priority of threads: what runs in the background yields to what follows live, and that to what
//! answers clients.
//!
//! Linux gives every thread a priority of its own, and a new one that of the thread which starts it;
//! elsewhere nothing changes.
#![allow(unsafe_code)] // the standard library does not know priorities

/// Backfills and batch reads: the lowest ordinary priority.
pub(crate) const BACKGROUND: i32 = 19;

/// Runs the calling thread, and those that it starts, at this niceness: 0 is where threads begin, 19 the
/// lowest priority. A refusal is harmless.
pub fn lower(niceness: i32) {
    #[cfg(target_os = "linux")]
    // SAFETY: no memory is involved; 0 names the calling thread.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, niceness)
    };
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}
