//! The operators: small, synchronous, total. Each takes deltas and gives deltas; what fails on a
//! row goes beside, as an error with the row's diff.
//!
//! State lives in arrangements only. No operator reads a clock or does I/O.

pub(crate) mod errors;
pub(crate) mod expand;
pub(crate) mod group_apply;
pub(crate) mod index;
pub(crate) mod join;
#[cfg(test)]
mod join_tests;
pub(crate) mod keyed;
pub(crate) mod map;
pub(crate) mod reduce;
pub(crate) mod top_k;
#[cfg(test)]
mod work_tests;

pub(crate) use errors::{ErrorChange, Errors, row_text};
