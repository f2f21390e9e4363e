//! Set-returning functions in a batch query: a batch of rows in, batches of what they become out.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::TryStreamExt;
use thalweg_dataflow::plan::{ByText, Expanded, SetFunction};

/// The rows of the input, each with the rows that a function makes of it.
#[derive(Debug)]
pub(super) struct ExpandExec {
    input: Arc<dyn ExecutionPlan>,
    function: ByText<dyn SetFunction>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl ExpandExec {
    /// A function over an input; `schema` is the output's.
    pub(super) fn over(
        input: Arc<dyn ExecutionPlan>,
        function: ByText<dyn SetFunction>,
        arguments: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    ) -> Arc<dyn ExecutionPlan> {
        let known = input.properties();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            datafusion::physical_expr::Partitioning::UnknownPartitioning(known.output_partitioning().partition_count()),
            known.emission_type,
            known.boundedness,
        ));
        Arc::new(ExpandExec { input, function, arguments, schema, properties })
    }
}

impl DisplayAs for ExpandExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExpandExec: {}", thalweg_dataflow::plan::Text::text(self.function.0.as_ref()))
    }
}

impl ExecutionPlan for ExpandExec {
    fn name(&self) -> &str {
        "ExpandExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        each: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for argument in &self.arguments {
            if each(argument)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().unwrap_or_else(|| self.input.clone());
        Ok(ExpandExec::over(input, self.function.clone(), self.arguments.clone(), self.schema.clone()))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (function, arguments, schema) = (self.function.clone(), self.arguments.clone(), self.schema.clone());
        let rows = input.map_ok(move |batch| {
            let expansion = expansion(&function, &arguments, &schema, batch);
            futures::stream::iter(match expansion {
                Ok(slices) => slices,
                Err(error) => Box::new(std::iter::once(Err(error))) as Slices,
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows.try_flatten())))
    }
}

type Slices = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

fn expansion(
    function: &ByText<dyn SetFunction>,
    arguments: &[Arc<dyn PhysicalExpr>],
    schema: &SchemaRef,
    batch: RecordBatch,
) -> Result<Slices> {
    let rows = batch.num_rows();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(arguments.len());
    for argument in arguments {
        columns.push(argument.evaluate(&batch)?.into_array(rows)?);
    }
    let fields =
        arguments.iter().zip(&columns).enumerate().map(|(place, (_, column))| {
            arrow::datatypes::Field::new(format!("{place}"), column.data_type().clone(), true)
        });
    let own = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    let slices = function.0.expand(RecordBatch::try_new_with_options(own, columns, &options)?);
    let schema = schema.clone();
    Ok(Box::new(slices.map(move |slice| {
        let Expanded { origins, columns } = slice.map_err(|error| error.into_datafusion())?;
        let passed = batch.columns().iter().map(|column| take(column, &origins, None));
        let mut all = passed.collect::<std::result::Result<Vec<_>, _>>()?;
        all.extend(columns);
        RecordBatch::try_new(schema.clone(), all).map_err(DataFusionError::from)
    })))
}
