//! What ends a statement early: cancellation and `statement_timeout`.
//!
//! Promises: a watched stream ends with 57014 soon after either, and an error in it fails the
//! transaction block. Does not free what the statement holds: dropping the stream does.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use thalweg_dataflow::error::{Error, SqlState};
use tokio::sync::watch;
use tokio::time::Instant;

/// The end of one statement's patience. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    cancelled: watch::Receiver<bool>,
    deadline: Option<Instant>,
    failed: Arc<AtomicBool>,
}

impl Guard {
    /// For a statement that starts now.
    pub(crate) fn new(cancelled: watch::Receiver<bool>, timeout: Option<Duration>, failed: Arc<AtomicBool>) -> Guard {
        Guard { cancelled, deadline: timeout.map(|timeout| Instant::now() + timeout), failed }
    }

    /// Waits until the statement is to stop; why.
    pub(crate) async fn stopped(&mut self) -> Error {
        let deadline = self.deadline;
        let late = async move {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let cancelled = async {
            if self.cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
                // The switch is gone with its session: nobody can cancel any more.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = cancelled => user_request(),
            () = late => Error::new(SqlState::QueryCanceled, "canceling statement due to statement timeout"),
        }
    }

    /// The same rows, ended when the statement is to stop.
    pub(crate) fn watch(self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let failed = self.failed.clone();
        let mut guard = self;
        let stopped = async move { guard.stopped().await }.boxed();
        Box::pin(Watched { schema, rows: Some(rows), stopped, failed })
    }
}

fn user_request() -> Error {
    Error::new(SqlState::QueryCanceled, "canceling statement due to user request")
}

struct Watched {
    schema: SchemaRef,
    rows: Option<SendableRecordBatchStream>,
    stopped: BoxFuture<'static, Error>,
    failed: Arc<AtomicBool>,
}

impl Stream for Watched {
    type Item = DataFusionResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(rows) = &mut this.rows else { return Poll::Ready(None) };
        let next = match this.stopped.poll_unpin(context) {
            Poll::Ready(error) => Poll::Ready(Some(Err(DataFusionError::External(Box::new(error))))),
            Poll::Pending => rows.poll_next_unpin(context),
        };
        match &next {
            Poll::Ready(Some(Err(_))) => {
                this.failed.store(true, Ordering::Release);
                this.rows = None;
            }
            Poll::Ready(None) => this.rows = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        next
    }
}

impl RecordBatchStream for Watched {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
