//! Formats: bytes to rows. Know no transport.

pub mod csv;
