//! Bytes as all that a client sends to a server in memory: no panic, no internal error, and the
//! session ends when its client does.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use thalweg::fuzz::Server;

/// One for all sessions, as for real clients.
static SERVER: OnceLock<Server> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let server =
        SERVER.get_or_init(|| Server::start().expect("the machine has threads and a folder for temporary files"));
    server.session(bytes);
});
