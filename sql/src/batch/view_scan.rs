//! The physical node that reads a view or table of a snapshot.
//!
//! Promises: what it hands over is the snapshot's rows with what the block changed, in batches of some
//! thousands; a small relation is one stripe, so that its plan needs no exchange between threads, and
//! a large one as many as there are workers. Reads memory alone: it runs on the thread that asks.

use std::fmt;
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::stream;
use thalweg_dataflow::engine::{Rows, Snapshot};
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::table::Pending;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::BATCH_ROWS;

/// A view or table as one statement reads it.
#[derive(Clone)]
pub(super) struct ViewRows {
    pub(super) id: RelationId,
    pub(super) snapshot: Arc<Snapshot>,
    /// What the block changed.
    pub(super) pending: Option<Arc<Pending>>,
    /// Whether a column of row numbers comes behind the others.
    pub(super) numbered: bool,
}

impl ViewRows {
    /// Whether all rows come from one place, in one order.
    fn is_whole(&self) -> bool {
        self.numbered || self.pending.is_some()
    }

    fn stripe(&self, columns: &[usize], stripe: usize, stripes: usize) -> Result<Rows> {
        if !self.is_whole() {
            return self.snapshot.scan_stripe(self.id, Some(columns.to_vec()), stripe, stripes);
        }
        // Whole rows, since what is pending is known by them; projected afterwards.
        let mut rows = self.snapshot.scan(self.id, None)?;
        if let Some(pending) = &self.pending {
            rows = pending.over(rows)?;
        }
        let (numbered, columns) = (self.numbered, columns.to_vec());
        let mut number = 0;
        Ok(Box::new(rows.map(move |batch| {
            let batch = if numbered { with_numbers(&batch?, &mut number)? } else { batch? };
            Ok(batch.project(&columns)?)
        })))
    }
}

/// A batch with the numbers of its rows behind its columns.
fn with_numbers(batch: &RecordBatch, number: &mut i64) -> Result<RecordBatch> {
    let first = *number;
    *number += batch.num_rows() as i64;
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(PgType::Int8.field("number", false)));
    let mut arrays = batch.columns().to_vec();
    arrays.push(Arc::new(Int64Array::from_iter_values(first..*number)));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// See the module.
#[derive(Clone)]
pub(super) struct ViewScan {
    id: RelationId,
    /// `None` in a plan that is kept for later.
    rows: Option<ViewRows>,
    columns: Vec<usize>,
    schema: SchemaRef,
    /// About how many rows there are.
    about: usize,
    /// How many rows are wanted at most.
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl ViewScan {
    /// A scan of these columns, with this schema, in at most so many stripes.
    pub(super) fn new(
        rows: ViewRows,
        columns: Vec<usize>,
        schema: SchemaRef,
        most_stripes: usize,
        limit: Option<usize>,
    ) -> Result<ViewScan> {
        let about = rows.snapshot.about_rows(rows.id)?;
        let stripes = if rows.is_whole() || about <= BATCH_ROWS { 1 } else { most_stripes.max(1) };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(stripes),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let (id, rows) = (rows.id, Some(rows));
        Ok(ViewScan { id, rows, columns, schema, about, limit, properties: Arc::new(properties) })
    }

    /// The same scan, of no snapshot: it keeps none alive. `None` for one that a block's changes shaped.
    pub(super) fn unbound(&self) -> Option<ViewScan> {
        let is_plain = self.rows.as_ref().is_none_or(|rows| !rows.is_whole());
        is_plain.then(|| ViewScan { rows: None, ..self.clone() })
    }

    /// The same scan of another snapshot; `None` if the relation has become too different for plans
    /// that were made for it.
    pub(super) fn bound(&self, snapshot: &Arc<Snapshot>) -> Result<Option<ViewScan>> {
        let about = snapshot.about_rows(self.id)?;
        let (less, more) = (about.min(self.about), about.max(self.about));
        if more > BATCH_ROWS && more / 2 > less {
            return Ok(None);
        }
        let rows = ViewRows { id: self.id, snapshot: snapshot.clone(), pending: None, numbered: false };
        Ok(Some(ViewScan { rows: Some(rows), about, ..self.clone() }))
    }

    /// About how many rows it has.
    pub(super) fn about(&self) -> usize {
        self.about
    }

    fn stripes(&self) -> usize {
        self.properties.output_partitioning().partition_count()
    }
}

impl fmt::Debug for ViewScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewScan {:?}", self.id)
    }
}

impl DisplayAs for ViewScan {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewScan: relation={}, about {} rows", self.id.0, self.about)
    }
}

impl ExecutionPlan for ViewScan {
    fn name(&self) -> &str {
        "ViewScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _each: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => internal_err!("a scan has no inputs"),
        }
    }

    fn partition_statistics(&self, stripe: Option<usize>) -> DataFusionResult<Arc<Statistics>> {
        let rows = self.about / stripe.map_or(1, |_| self.stripes());
        let statistics = Statistics::new_unknown(&self.schema);
        Ok(Arc::new(statistics.with_num_rows(Precision::Inexact(rows))))
    }

    fn execute(&self, stripe: usize, _context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let Some(rows) = &self.rows else { return internal_err!("a scan of no snapshot") };
        let rows = rows.stripe(&self.columns, stripe, self.stripes()).map_err(Error::into_datafusion)?;
        let rows = Gathered { rows, schema: self.schema.clone(), left: self.limit, ended: false };
        let rows = rows.map(|batch| batch.map_err(Error::into_datafusion));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream::iter(rows))))
    }

    fn supports_limit_pushdown(&self) -> bool {
        false
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(ViewScan { limit, ..self.clone() }))
    }
}

/// The batches of many shards as fewer, until enough rows have come.
struct Gathered {
    rows: Rows,
    schema: SchemaRef,
    left: Option<usize>,
    ended: bool,
}

impl Iterator for Gathered {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let wanted = self.left.unwrap_or(usize::MAX).min(BATCH_ROWS);
        let mut gathered = Vec::new();
        let mut count = 0;
        while count < wanted && !self.ended {
            match self.rows.next() {
                None => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => {
                    count += batch.num_rows();
                    gathered.push(batch);
                    // What is large already is not copied.
                    if count >= BATCH_ROWS / 2 {
                        break;
                    }
                }
            }
        }
        let batch = match gathered.len() {
            0 => return None,
            1 => gathered.swap_remove(0),
            _ => match concat_batches(&gathered[0].schema(), &gathered) {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error.into())),
            },
        };
        let batch = batch.slice(0, batch.num_rows().min(self.left.unwrap_or(usize::MAX)));
        self.left = self.left.map(|left| left - batch.num_rows());
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), batch.columns().to_vec(), &options);
        Some(batch.map_err(Error::from))
    }
}
