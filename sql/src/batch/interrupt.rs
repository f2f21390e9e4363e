//! Stopping a query in the middle of an operator that gives no row for long.
//!
//! A join without keys compares all pairs before it answers, and may do so for minutes within one
//! poll, where no task can be aborted. Promises: once a query is interrupted its joins fail at
//! the next few thousand pairs; while they compare, other queries' tasks get another thread. A
//! physical rule puts both in.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, RecordBatchStream, SendableRecordBatchStream,
};
use futures::{Stream, StreamExt};
use thalweg_dataflow::{Error, SqlState};

/// The switch of one query. Cheap to clone; a new one is not thrown.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(
                Error::new(SqlState::QueryCanceled, "canceling statement: nobody waits for it").into_datafusion()
            );
        }
        Ok(())
    }

    /// The same rows; dropping their stream interrupts the query.
    pub(super) fn on_drop(self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        Box::pin(Interrupting { rows, interrupt: self })
    }
}

struct Interrupting {
    rows: SendableRecordBatchStream,
    interrupt: Interrupt,
}

impl Drop for Interrupting {
    fn drop(&mut self) {
        self.interrupt.0.store(true, Ordering::Relaxed);
    }
}

impl Stream for Interrupting {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.rows.poll_next_unpin(context)
    }
}

impl RecordBatchStream for Interrupting {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

/// The rule, for one query.
#[derive(Debug)]
pub(super) struct InterruptJoins(pub(super) Interrupt);

impl PhysicalOptimizerRule for InterruptJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let changed = plan.transform_up(|node| {
            if node.is::<CrossJoinExec>() {
                return Ok(Transformed::yes(Aside::around(node)));
            }
            let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() else { return Ok(Transformed::no(node)) };
            let filter = join.filter().map(|filter| {
                let expr = Interruptible { inner: filter.expression().clone(), interrupt: self.0.clone() };
                JoinFilter::new(Arc::new(expr), filter.column_indices().to_vec(), filter.schema().clone())
            });
            let join = NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?;
            Ok(Transformed::yes(Aside::around(Arc::new(join))))
        })?;
        Ok(changed.data)
    }

    fn name(&self) -> &str {
        "interrupt_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A condition that fails once its query is interrupted.
#[derive(Debug)]
struct Interruptible {
    inner: Arc<dyn PhysicalExpr>,
    interrupt: Interrupt,
}

impl PartialEq for Interruptible {
    fn eq(&self, other: &Interruptible) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Interruptible {}

impl Hash for Interruptible {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Interruptible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Interruptible {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType> {
        self.inner.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.inner.nullable(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.interrupt.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().unwrap_or_else(|| self.inner.clone());
        Ok(Arc::new(Interruptible { inner, interrupt: self.interrupt.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

/// An operator that works long between two rows: while it does, its thread's other tasks move to
/// another one.
#[derive(Debug)]
struct Aside {
    input: Arc<dyn ExecutionPlan>,
}

impl Aside {
    fn around(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Aside { input })
    }
}

impl DisplayAs for Aside {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aside")
    }
}

impl ExecutionPlan for Aside {
    fn name(&self) -> &str {
        "Aside"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _each: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Aside::around(children.pop().unwrap_or_else(|| self.input.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        Ok(make_cooperative(Box::pin(SetAside { rows })))
    }
}

struct SetAside {
    rows: SendableRecordBatchStream,
}

impl Stream for SetAside {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        tokio::task::block_in_place(|| self.rows.poll_next_unpin(context))
    }
}

impl RecordBatchStream for SetAside {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}
