//! The incremental engine: types, deltas, operators and state. (Model: docs/model.md.)
//!
//! Knows no SQL text, no network and no clock but the one handed in.

pub mod delta;
pub mod engine;
pub mod error;
pub mod plan;
pub mod scan;
pub mod source;
pub mod storage;
pub mod types;

pub use error::{Error, Result, SqlState};
