//! Bytes as the first packets of a client and as the messages of a session: nothing may panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thalweg::fuzz::messages(bytes));
