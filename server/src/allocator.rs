//! The global allocator: jemalloc, told to give memory back.
//!
//! Promises: pages that are free for a second return to the system, by a thread of jemalloc's own,
//! so that resident memory follows what is used (a store that is closed and opened again, a big
//! query that ended). Wins over `MALLOC_CONF` only where that says nothing.
#![allow(unsafe_code)] // One static under a name that jemalloc looks for.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What jemalloc reads at start: a C string.
const OPTIONS: &[u8; 63] = b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:1000\0";

// SAFETY: jemalloc declares this symbol as a weak `const char *`; a reference to an array of bytes
// is such a pointer, the text ends in zero and lives for ever. Nobody else defines the symbol.
#[used]
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 63] = OPTIONS;

#[cfg(test)]
mod tests {
    #[test]
    fn the_options_are_a_c_string() {
        assert!(std::ffi::CStr::from_bytes_until_nul(super::OPTIONS).is_ok());
        assert_eq!(super::MALLOC_CONF.as_ptr(), super::OPTIONS.as_ptr());
    }
}
