//! Placeholder.

pub mod batch;
pub mod planner;
