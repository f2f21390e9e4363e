//! Where the rows of a batch query come from: views of a snapshot, sources, files.
//!
//! Views are read by [`ViewScan`]. What lies outside is read on blocking threads, which hand batches over
//! a short bounded channel and stop as soon as the stream behind it is dropped (LIMIT, cancel, error).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use parking_lot::Mutex;
use thalweg_dataflow::scan::{Scan, Split};
use thalweg_dataflow::source::{Closed, Offsets, ReadRequest, Source, SourceItem, SourceOutput};
use thalweg_dataflow::{Error, Result};
use tokio::sync::mpsc::Sender;

use super::BATCH_ROWS;
use super::view_scan::{ViewRows, ViewScan};

/// The most batches that wait between a reader and the query (`batch.queue_batches`).
const QUEUE_BATCHES: usize = 4;
/// How often a source's reader is asked whether it is still wanted.
const POLL: Duration = Duration::from_millis(50);

type Batches = Sender<DataFusionResult<RecordBatch>>;

/// One relation as one statement reads it.
#[derive(Clone)]
pub(super) enum Rows {
    /// A view or table.
    View(ViewRows),
    /// What the engine does not hold.
    Outside(Outside),
}

/// What is read on threads of its own.
#[derive(Clone)]
pub(super) enum Outside {
    /// A source between two positions.
    Source { source: Arc<dyn Source>, from: Offsets, until: Offsets },
    /// Files, in splits.
    Files { scan: Arc<dyn Scan> },
}

/// A relation as a table of DataFusion's.
pub(super) struct Table {
    pub(super) schema: SchemaRef,
    pub(super) rows: Rows,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.rows {
            Rows::View(_) => "View",
            Rows::Outside(Outside::Source { .. }) => "Source",
            Rows::Outside(Outside::Files { .. }) => "Files",
        })
    }
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let outside = match &self.rows {
            Rows::View(rows) => {
                let stripes = state.config().target_partitions();
                let scan = ViewScan::new(rows.clone(), columns, schema, stripes, limit);
                return Ok(Arc::new(scan.map_err(Error::into_datafusion)?));
            }
            Rows::Outside(outside) => outside,
        };
        let mut count = 1;
        let mut queue = VecDeque::new();
        if let Outside::Files { scan } = outside {
            let wanted = state.config().target_partitions();
            let scan = scan.clone();
            // More splits than threads, so that nobody waits long for the slowest.
            let splits = tokio::task::spawn_blocking(move || scan.splits(wanted * 8))
                .await
                .map_err(|error| DataFusionError::External(Box::new(error)))?;
            queue = splits.map_err(Error::into_datafusion)?.into();
            count = wanted.min(queue.len()).max(1);
        }
        let queue = Arc::new(Mutex::new(queue));
        let partitions = (0..count)
            .map(|_| {
                Arc::new(Partition {
                    schema: schema.clone(),
                    outside: outside.clone(),
                    columns: columns.clone(),
                    queue: queue.clone(),
                }) as Arc<dyn PartitionStream>
            })
            .collect();
        Ok(Arc::new(StreamingTableExec::try_new(schema, partitions, None, Vec::new(), false, limit)?))
    }
}

/// One stream of a table.
struct Partition {
    schema: SchemaRef,
    outside: Outside,
    columns: Vec<usize>,
    queue: Arc<Mutex<VecDeque<Split>>>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.columns)
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), QUEUE_BATCHES);
        let (outside, columns) = (self.outside.clone(), self.columns.clone());
        let (queue, out) = (self.queue.clone(), builder.tx());
        builder.spawn_blocking(move || {
            let result = match outside {
                Outside::Source { source, from, until } => read_source(source.as_ref(), from, until, columns, out),
                Outside::Files { scan } => read_files(scan.as_ref(), &queue, &columns, &out),
            };
            result.map_err(Error::into_datafusion)
        });
        builder.build()
    }
}

fn read_files(scan: &dyn Scan, queue: &Mutex<VecDeque<Split>>, columns: &[usize], out: &Batches) -> Result<()> {
    loop {
        let Some(split) = queue.lock().pop_front() else { return Ok(()) };
        for batch in scan.read(&split, columns)? {
            if out.blocking_send(Ok(batch?)).is_err() {
                return Ok(());
            }
        }
    }
}

/// What a source's reader pushes into.
struct Output {
    out: Batches,
    done: std::sync::mpsc::Sender<Result<()>>,
}

impl SourceOutput for Output {
    fn push(&self, item: SourceItem) -> Result<(), Closed> {
        match item {
            SourceItem::Batch(batch) if batch.rows.num_rows() == 0 => Ok(()),
            SourceItem::Batch(batch) => self.out.blocking_send(Ok(batch.rows)).map_err(|_| Closed),
            // The reader goes on trying; the statement waits for it, as long as its client does.
            SourceItem::Stalled(_) | SourceItem::Resumed => Ok(()),
            SourceItem::Finished => self.done.send(Ok(())).map_err(|_| Closed),
            SourceItem::Failed(error) => self.done.send(Err(error)).map_err(|_| Closed),
        }
    }

    fn is_closed(&self) -> bool {
        self.out.is_closed()
    }
}

fn read_source(source: &dyn Source, from: Offsets, until: Offsets, columns: Vec<usize>, out: Batches) -> Result<()> {
    if until.iter().all(|(partition, end)| from.get(partition).is_some_and(|start| start >= end)) {
        return Ok(());
    }
    let (done, finished) = std::sync::mpsc::channel();
    let wanted = out.clone();
    let request = ReadRequest {
        from,
        until: Some(until),
        boundaries: Default::default(),
        columns,
        batch_rows: BATCH_ROWS,
        background: true,
    };
    let reader = source.read(request, Arc::new(Output { out, done }))?;
    let result = loop {
        match finished.recv_timeout(POLL) {
            Ok(result) => break result,
            Err(RecvTimeoutError::Disconnected) => break Ok(()),
            Err(RecvTimeoutError::Timeout) if wanted.is_closed() => break Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    drop(reader);
    result
}
