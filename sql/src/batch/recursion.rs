//! WITH RECURSIVE in a batch query: the step is run over the rows of the run before until it gives
//! none that are new.
//!
//! The working table is a slot of batches that the step's scans read, any number of them, and that
//! is filled between two runs. UNION keeps what is the same of every row it has seen, by bytes, which
//! the planner makes equal for equal values. Memory is reserved for those and for an iteration's rows.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{OwnedRow, Row, RowConverter, Rows, SortField};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, reset_plan_states};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;

use crate::planner::{RecursiveQuery, Same};

/// The rows of the iteration before.
type Slot = Arc<Mutex<Vec<RecordBatch>>>;

/// The working table, to be scanned.
#[derive(Debug)]
pub(super) struct WorkingRows {
    pub(super) name: String,
    pub(super) schema: SchemaRef,
}

#[async_trait]
impl TableProvider for WorkingRows {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let properties = Arc::new(one_partition(schema.clone()));
        let projection = projection.cloned();
        Ok(Arc::new(WorkingScan { name: self.name.clone(), schema, projection, slot: Slot::default(), properties }))
    }
}

fn one_partition(schema: SchemaRef) -> PlanProperties {
    PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(1),
        EmissionType::Incremental,
        Boundedness::Bounded,
    )
}

/// One scan of the working table.
#[derive(Debug, Clone)]
struct WorkingScan {
    name: String,
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    slot: Slot,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for WorkingScan {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkingScan: {}", self.name)
    }
}

impl ExecutionPlan for WorkingScan {
    fn name(&self) -> &str {
        "WorkingScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _each: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.slot.lock().clone();
        Ok(Box::pin(MemoryStream::try_new(rows, self.schema.clone(), self.projection.clone())?))
    }
}

/// The fixed point.
#[derive(Debug)]
pub(super) struct Recursion {
    /// The first term and the step.
    inputs: [Arc<dyn ExecutionPlan>; 2],
    schema: SchemaRef,
    distinct: Option<Same>,
    slot: Slot,
    properties: Arc<PlanProperties>,
}

impl Recursion {
    /// The node's plan over those of its terms.
    pub(super) fn of(
        query: &RecursiveQuery,
        inputs: &[Arc<dyn ExecutionPlan>],
        schema: SchemaRef,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [first, step] = inputs else {
            return Err(DataFusionError::Internal("a recursive query has two inputs".into()));
        };
        // A slot of this node's own: the same query may stand twice in a statement.
        let slot = Slot::default();
        let step = step.clone().transform_up(|node| match node.downcast_ref::<WorkingScan>() {
            Some(scan) if scan.name == query.name => {
                let scan = WorkingScan { slot: slot.clone(), ..scan.clone() };
                Ok(Transformed::yes(Arc::new(scan) as Arc<dyn ExecutionPlan>))
            }
            _ => Ok(Transformed::no(node)),
        })?;
        Ok(Recursion::over([first.clone(), step.data], schema, query.distinct.clone(), slot))
    }

    fn over(
        inputs: [Arc<dyn ExecutionPlan>; 2],
        schema: SchemaRef,
        distinct: Option<Same>,
        slot: Slot,
    ) -> Arc<dyn ExecutionPlan> {
        let properties = Arc::new(one_partition(schema.clone()));
        Arc::new(Recursion { inputs, schema, distinct, slot, properties })
    }
}

impl DisplayAs for Recursion {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.distinct.is_some() { "Recursion: distinct" } else { "Recursion" })
    }
}

impl ExecutionPlan for Recursion {
    fn name(&self) -> &str {
        "Recursion"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition; 2]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; 2]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(
        &self,
        _each: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let inputs = <[_; 2]>::try_from(children)
            .map_err(|_| DataFusionError::Internal("a recursive query has two inputs".into()))?;
        Ok(Recursion::over(inputs, self.schema.clone(), self.distinct.clone(), self.slot.clone()))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = Run {
            next: Some(self.inputs[0].clone()),
            step: self.inputs[1].clone(),
            seen: self.distinct.as_ref().map(|same| Seen::new(&self.schema, same)).transpose()?,
            reservation: MemoryConsumer::new("WITH RECURSIVE").register(context.memory_pool()),
            schema: self.schema.clone(),
            slot: self.slot.clone(),
            context,
        };
        let iterations = futures::stream::try_unfold(run, Run::iterate);
        let rows = iterations.map_ok(|rows| futures::stream::iter(rows).map(Ok)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows)))
    }
}

/// The state of an execution.
struct Run {
    /// What runs next: the first term, then the step.
    next: Option<Arc<dyn ExecutionPlan>>,
    step: Arc<dyn ExecutionPlan>,
    seen: Option<Seen>,
    /// Of the iteration's rows, twice: they are written while the next are made.
    reservation: MemoryReservation,
    schema: SchemaRef,
    slot: Slot,
    context: Arc<TaskContext>,
}

impl Run {
    /// The rows of one iteration; `None` if it has none.
    async fn iterate(mut self) -> Result<Option<(Vec<RecordBatch>, Run)>> {
        let Some(plan) = self.next.take() else { return Ok(None) };
        // A recursion that never ends hears a cancel here.
        tokio::task::yield_now().await;
        let mut stream = plan.execute(0, self.context.clone())?;
        let mut rows = Vec::new();
        let mut size = self.seen.as_ref().map_or(0, |seen| seen.size);
        while let Some(batch) = stream.next().await {
            let batch = RecordBatch::try_new(self.schema.clone(), batch?.columns().to_vec())?;
            let batch = match &mut self.seen {
                Some(seen) => seen.new_rows(&batch)?,
                None => batch,
            };
            if batch.num_rows() > 0 {
                size += batch.get_array_memory_size();
                self.reservation.try_resize(size)?;
                rows.push(batch);
            }
        }
        if let Some(seen) = &mut self.seen {
            rows = seen.greatest(rows)?;
        }
        if rows.is_empty() {
            self.slot.lock().clear();
            return Ok(None);
        }
        *self.slot.lock() = rows.clone();
        self.next = Some(reset_plan_states(self.step.clone())?);
        Ok(Some((rows, self)))
    }
}

/// The rows of all iterations.
struct Seen {
    keys: Compared,
    /// Which of an iteration's rows that are the same is kept; without, the first.
    forms: Option<Compared>,
    rows: HashSet<OwnedRow>,
    /// Bytes.
    size: usize,
}

/// Some columns of rows as bytes.
struct Compared {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Compared {
    fn new(schema: &SchemaRef, columns: &[usize]) -> Result<Compared> {
        let fields = columns.iter().map(|column| SortField::new(schema.field(*column).data_type().clone())).collect();
        Ok(Compared { columns: columns.to_vec(), converter: RowConverter::new(fields)? })
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Rows> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|column| batch.column(*column).clone()).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }
}

impl Seen {
    fn new(schema: &SchemaRef, same: &Same) -> Result<Seen> {
        let forms = (!same.forms.is_empty()).then(|| Compared::new(schema, &same.forms)).transpose()?;
        Ok(Seen { keys: Compared::new(schema, &same.keys)?, forms, rows: HashSet::new(), size: 0 })
    }

    /// The rows of a batch that were not there before, each once; where their forms matter, all of
    /// them, for [`Seen::greatest`].
    fn new_rows(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = self.keys.rows(batch)?;
        let new: Vec<bool> = match &self.forms {
            Some(_) => rows.iter().map(|row| !self.rows.contains(&row.owned())).collect(),
            None => rows.iter().map(|row| self.insert(row.owned())).collect(),
        };
        Ok(filter_record_batch(batch, &new.into())?)
    }

    fn insert(&mut self, row: OwnedRow) -> bool {
        let size = row.as_ref().len() + size_of::<OwnedRow>();
        let added = self.rows.insert(row);
        self.size += if added { size } else { 0 };
        added
    }

    /// Of an iteration's new rows that are the same, the one of the greatest form.
    fn greatest(&mut self, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let (Some(forms), Some(first)) = (&mut self.forms, batches.first()) else { return Ok(batches) };
        let all = concat_batches(&first.schema(), &batches)?;
        let (keys, forms) = (self.keys.rows(&all)?, forms.rows(&all)?);
        let mut best: HashMap<Row<'_>, usize> = HashMap::new();
        for (place, key) in keys.iter().enumerate() {
            let known = best.entry(key).or_insert(place);
            if forms.row(place) > forms.row(*known) {
                *known = place;
            }
        }
        let mut kept = vec![false; all.num_rows()];
        best.values().for_each(|place| kept[*place] = true);
        drop(best);
        keys.iter().for_each(|key| _ = self.insert(key.owned()));
        Ok(vec![filter_record_batch(&all, &kept.into())?])
    }
}
