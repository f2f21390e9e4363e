//! The priority of reader threads: what runs in the background yields to what follows live.
#![allow(unsafe_code)] // the standard library does not know priorities

/// Runs the calling thread at the lowest ordinary priority (nice 19): backfills and batch reads.
pub(crate) fn lower() {
    // SAFETY: no memory is involved; on Linux, 0 names the calling thread. A refusal is harmless.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}
