//! Whole-system tests: a real server, real clients, real brokers.
//!
//! The library holds what several test binaries share; the tests lie in `tests/`.

pub mod client;
pub mod kafka;
pub mod postgres;
pub mod server;
pub mod views;
