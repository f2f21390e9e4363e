//! The threads on which batch queries run, away from those that serve connections.
//!
//! Promises: however long an operator works without yielding, the task that waits for its rows
//! stays free to hear of a cancel; a stream that is dropped takes its query with it, as soon as
//! the operator yields. One set of threads a server.

use std::fmt;
use std::future::Future;

use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::StreamExt;
use thalweg_dataflow::{Error, Result};
use tokio::runtime::{Builder, Runtime};

/// The most batches that wait between a query and its client.
const RESULT_BATCHES: usize = 2;

/// What the threads are called.
const NAME: &str = "batch";

/// Bytes of each thread's stack: expressions are trees as deep as `parser` lets them be.
const STACK: usize = 32 << 20;

/// See the module.
pub(super) struct Threads {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Threads {
    /// So many threads.
    pub(super) fn start(count: usize) -> Result<Threads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name(NAME)
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .map_err(|error| Error::internal(format!("the threads of batch queries did not start: {error}")))?;
        Ok(Threads { runtime: Some(runtime) })
    }

    /// Waits for work that is done there.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let done = self.runtime()?.spawn(work).await;
        done.map_err(|error| Error::internal(format!("a query's preparation stopped: {error}")))?
    }

    /// The rows of a stream that is started and polled there.
    pub(super) fn stream(
        &self,
        schema: SchemaRef,
        start: impl Future<Output = DataFusionResult<SendableRecordBatchStream>> + Send + 'static,
    ) -> Result<SendableRecordBatchStream> {
        let mut builder = RecordBatchReceiverStreamBuilder::new(schema, RESULT_BATCHES);
        let out = builder.tx();
        let work = async move {
            let mut rows = start.await?;
            while let Some(batch) = rows.next().await {
                if out.send(batch).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        builder.spawn_on(work, self.runtime()?.handle());
        Ok(builder.build())
    }

    fn runtime(&self) -> Result<&Runtime> {
        self.runtime.as_ref().ok_or_else(|| Error::internal("the threads of batch queries are gone"))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The last user may be a task of another runtime, which must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Threads")
    }
}
