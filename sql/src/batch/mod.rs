//! Batch queries: a bound query run once, over one snapshot.
//!
//! Promises: all views are read at the snapshot's epoch; a source is read from its start to its
//! end as of the statement's start; dropping the stream stops every reader; an expression that
//! fails on a row fails the query. Knows no text.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::physical_plan::SendableRecordBatchStream;
use thalweg_dataflow::Result;
use thalweg_dataflow::engine::Snapshot;

use crate::planner::Bound;

/// What batch queries may use, for the whole server.
#[derive(Debug, Clone)]
pub struct BatchOptions {
    /// Partitions of a query (`workers`).
    pub workers: usize,
    /// Bytes that all batch queries together may hold before they spill (`batch.memory`).
    pub memory: usize,
    /// Where they spill to.
    pub spill: PathBuf,
}

/// Runs batch queries; one a server, cheap to clone.
#[derive(Debug, Clone)]
pub struct Batch {
    options: Arc<BatchOptions>,
}

impl Batch {
    /// Prepares the memory pool and the spill folder.
    pub fn new(options: BatchOptions) -> Result<Batch> {
        Ok(Batch { options: Arc::new(options) })
    }

    /// Starts a query; `parameters` are the values of `$1`, ... in the types that
    /// [`Bound::parameters`] names. The batches have the schema [`Bound::schema`]. Dropping the
    /// stream cancels. Must be called within a tokio runtime.
    pub async fn execute(&self, bound: &Bound, parameters: &[ScalarValue], snapshot: Arc<Snapshot>) -> Result<SendableRecordBatchStream> {
        let _ = (bound, parameters, snapshot, &self.options);
        Err(thalweg_dataflow::Error::internal("not there yet"))
    }
}
