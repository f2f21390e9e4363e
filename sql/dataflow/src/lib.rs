//! The incremental engine: types, deltas, operators and state. (Model: docs/model.md.)
//!
//! Knows no SQL text, no network and no clock but the one handed in.

mod arrangement;
mod checkpoint;
mod coordinator;
mod cut;
pub mod delta;
pub mod engine;
pub mod error;
mod graph;
mod operator;
pub mod plan;
pub mod scan;
#[cfg(test)]
mod simulation;
pub mod sketch;
pub mod source;
pub mod storage;
pub mod table;
pub mod types;

pub use error::{Error, Result, SqlState};
