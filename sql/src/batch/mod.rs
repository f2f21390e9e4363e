//! Batch queries: a bound query run once, over one snapshot.
//!
//! Promises: all views are read at the snapshot's epoch; a source is read from its start to its
//! end as of the statement's start; dropping the stream stops every reader; who waits for the rows
//! never works on them, but for a query that is simple and over a thousand at most; an expression that fails on a row fails the query. The binder has settled
//! all types: DataFusion's own coercion is off. Knows no text.

mod computed;
mod expand;
mod extension;
mod guard_rule;
mod interrupt;
mod kept_plan;
mod key_range;
mod lookup;
mod null_keys_rule;
mod one_row_rule;
mod outer_join_rule;
mod recursion;
mod tables;
mod threads;
mod view_scan;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::context::SessionConfig;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use futures::StreamExt;
use thalweg_dataflow::engine::Snapshot;
use thalweg_dataflow::types::{PgType, normalize};
use thalweg_dataflow::{Error, Result, SqlState};

use crate::aside::aside;
use crate::planner::{Bound, Relation, RelationSource, WorkingTable, parameter_place};
use crate::session::{View, Writes};
use crate::statement::one_batch;
use computed::Parameters;
use interrupt::{Interrupt, InterruptJoins};
pub(crate) use lookup::{Lookup, one_row};
use recursion::WorkingRows;
use tables::{Outside, Rows, Table};
use threads::Threads;
use view_scan::ViewRows;

/// Rows of one batch inside a query.
const BATCH_ROWS: usize = 8192;

/// What batch queries may use, for the whole server.
#[derive(Debug, Clone)]
pub struct BatchOptions {
    /// Threads of all batch queries together, and partitions of each (`workers`).
    pub workers: usize,
    /// Bytes that all batch queries together may hold before they spill: a share of `memory`.
    pub memory: usize,
    /// Where they spill to.
    pub spill: PathBuf,
}

/// Runs batch queries; one a server, cheap to clone.
#[derive(Debug, Clone)]
pub struct Batch {
    state: Arc<SessionState>,
    threads: Arc<Threads>,
}

/// The lookup that a query is, if it is one.
pub(crate) fn lookup(bound: &Bound, view: &View) -> Option<Arc<Lookup>> {
    if let Some(known) = bound.kept.lookup.get() {
        return Some(known.clone());
    }
    // What is none now may become one: a view has its keys once it is built.
    let lookup = Arc::new(Lookup::of(&bound.plan, view)?);
    Some(bound.kept.lookup.get_or_init(|| lookup).clone())
}

/// The rows of a query that is a lookup; `None` if it is none, or over too many rows for one.
pub(crate) fn looked_up(bound: &Bound, parameters: &[ScalarValue], view: &View) -> Result<Option<RecordBatch>> {
    let Some(lookup) = lookup(bound, view) else { return Ok(None) };
    check_parameters(parameters, &bound.parameters)?;
    let rows = lookup.run((parameters, &bound.parameters), view)?;
    rows.map(|rows| dress(&rows.columns, rows.count, &bound.schema)).transpose()
}

impl Batch {
    /// Prepares the memory pool, the spill folder and the threads.
    pub fn new(options: BatchOptions) -> Result<Batch> {
        let runtime = RuntimeEnvBuilder::new()
            // A fair pool gives each of a plan's operators its share, and fails a query while most
            // of the memory is free.
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(options.memory)))
            .with_temp_file_path(options.spill.clone())
            .build_arc()?;
        let threads = Threads::start(options.workers.max(1))?;
        Ok(Batch { state: Arc::new(state(&options, runtime)), threads: Arc::new(threads) })
    }

    /// Starts a query; `parameters` are the values of `$1`, ... in the types that
    /// [`Bound::parameters`] names. The batches have the schema [`Bound::schema`]. Dropping the
    /// stream cancels. Must be called within a tokio runtime.
    pub async fn execute(
        &self,
        bound: &Bound,
        parameters: &[ScalarValue],
        snapshot: Arc<Snapshot>,
    ) -> Result<SendableRecordBatchStream> {
        self.run(bound, parameters, Some(snapshot)).await
    }

    /// As [`Batch::execute`], over what a block sees: the snapshot and its own changes.
    pub(crate) async fn execute_in(
        &self,
        bound: &Bound,
        parameters: &[ScalarValue],
        view: &View,
    ) -> Result<SendableRecordBatchStream> {
        if let Some(rows) = looked_up(bound, parameters, view)? {
            return Ok(one_batch(bound.schema.clone(), rows));
        }
        self.start(bound, parameters, Some(view.snapshot.clone()), view.writes.clone()).await
    }

    /// As [`Batch::execute`], for a query that reads no view if there is no snapshot.
    pub(crate) async fn run(
        &self,
        bound: &Bound,
        parameters: &[ScalarValue],
        snapshot: Option<Arc<Snapshot>>,
    ) -> Result<SendableRecordBatchStream> {
        self.start(bound, parameters, snapshot, None).await
    }

    async fn start(
        &self,
        bound: &Bound,
        parameters: &[ScalarValue],
        snapshot: Option<Arc<Snapshot>>,
        writes: Option<Writes>,
    ) -> Result<SendableRecordBatchStream> {
        check_parameters(parameters, &bound.parameters)?;
        let known = self.known(bound, snapshot.as_ref(), writes.is_some())?;
        if let Some(plan) = known.as_ref().filter(|plan| kept_plan::is_small(plan)) {
            return Ok(dressed(execute_stream(plan.clone(), self.state.task_ctx())?, bound.schema.clone()));
        }
        let interrupt = Interrupt::default();
        let switch = interrupt.clone();
        let state = self.state.clone();
        let schema = bound.schema.clone();
        let physical = self.physical(bound, known, parameters, snapshot, writes).await?;
        let rows = self.threads.stream(schema.clone(), async move {
            let physical = InterruptJoins(switch).optimize(physical.await?, state.config_options())?;
            Ok(dressed(execute_stream(physical, state.task_ctx())?, schema))
        })?;
        Ok(interrupt.on_drop(rows))
    }

    /// The physical plan that is kept of a query, over a snapshot.
    fn known(
        &self,
        bound: &Bound,
        snapshot: Option<&Arc<Snapshot>>,
        is_changed: bool,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let known = bound.kept.physical.lock().clone();
        match (known, snapshot) {
            (Some(plan), Some(snapshot)) if !is_changed => Ok(kept_plan::over(&plan, snapshot)?),
            _ => Ok(None),
        }
    }

    /// The physical plan, to be awaited where it will run.
    async fn physical(
        &self,
        bound: &Bound,
        known: Option<Arc<dyn ExecutionPlan>>,
        parameters: &[ScalarValue],
        snapshot: Option<Arc<Snapshot>>,
        writes: Option<Writes>,
    ) -> Result<impl Future<Output = DataFusionResult<Arc<dyn ExecutionPlan>>> + Send + 'static> {
        let mut resolved = None;
        if known.is_none() {
            resolved = Some(self.resolved(bound, parameters, snapshot, writes).await?);
        }
        let (state, kept) = (self.state.clone(), bound.kept.clone());
        let may_stay = parameters.is_empty();
        Ok(async move {
            let plan = match (known, resolved) {
                (Some(plan), _) => return Ok(plan),
                (None, Some(plan)) => plan,
                (None, None) => return internal_err!("a query without a plan"),
            };
            let physical = state.query_planner().create_physical_plan(&plan, state.as_ref()).await?;
            if may_stay {
                *kept.physical.lock() = kept_plan::kept(&physical)?;
            }
            Ok(physical)
        })
    }

    /// The optimised plan with values for its parameters and rows behind its scans.
    async fn resolved(
        &self,
        bound: &Bound,
        parameters: &[ScalarValue],
        snapshot: Option<Arc<Snapshot>>,
        writes: Option<Writes>,
    ) -> Result<LogicalPlan> {
        let plan = self.optimized(bound).await?;
        if !asks_outside(&plan)? {
            return resolve(plan, parameters, &bound.parameters, snapshot.as_ref(), writes.as_ref());
        }
        // The ends of sources are asked from the outside, which may take its time.
        let (parameters, types) = (parameters.to_vec(), bound.parameters.clone());
        let resolved =
            tokio::task::spawn_blocking(move || resolve(plan, &parameters, &types, snapshot.as_ref(), writes.as_ref()));
        resolved.await.map_err(|error| Error::internal(format!("a query's preparation stopped: {error}")))?
    }

    /// The optimised plan, which knows neither parameters nor rows.
    async fn optimized(&self, bound: &Bound) -> Result<LogicalPlan> {
        if let Some(plan) = bound.kept.optimized.get() {
            return Ok(plan.clone());
        }
        let (plan, state) = (bound.plan.clone(), self.state.clone());
        let plan = self.threads.run(async move { Ok(aside(|| state.optimize(&plan))?) }).await?;
        Ok(bound.kept.optimized.get_or_init(|| plan).clone())
    }
}

/// How DataFusion is to plan and run.
fn state(options: &BatchOptions, runtime: Arc<RuntimeEnv>) -> SessionState {
    let mut config = SessionConfig::new().with_target_partitions(options.workers.max(1)).with_batch_size(BATCH_ROWS);
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    // Whether a column may be null is no part of PostgreSQL's types; the rules lose track of it.
    config.options_mut().execution.skip_physical_aggregate_schema_check = true;
    // Rows without an order come as they were made: generate_series, files.
    config.options_mut().optimizer.enable_round_robin_repartition = false;
    // What a join learns of its keys while it runs would stay in the conditions of a kept plan.
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.enable_dynamic_filter_pushdown = false;
    optimizer.enable_join_dynamic_filter_pushdown = false;
    optimizer.enable_topk_dynamic_filter_pushdown = false;
    optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_query_planner(Arc::new(extension::Planner))
        .with_analyzer_rules(vec![Arc::new(one_row_rule::KeepOneRow)])
        .with_optimizer_rules(null_keys_rule::rules())
        .with_physical_optimizer_rules(physical_rules())
        .build()
}

/// DataFusion's rules, and ours.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    // It answers count(*) from statistics, of which our tables have none, and mistakes one count for
    // another over a relation that is known to be empty (DataFusion 55: "Input field name ... does
    // not match").
    rules.retain(|rule| rule.name() != "aggregate_statistics");
    let after = rules.iter().position(|rule| rule.name() == "join_selection").map_or(0, |place| place + 1);
    rules.insert(after, Arc::new(outer_join_rule::DoubtOuterJoins));
    rules.push(Arc::new(guard_rule::GuardConditions));
    rules
}

/// The rows of a plan as the user sees them.
fn dressed(rows: SendableRecordBatchStream, schema: SchemaRef) -> SendableRecordBatchStream {
    let target = schema.clone();
    let dressed = rows.map(move |batch| {
        let batch = batch?;
        dress(batch.columns(), batch.num_rows(), &target).map_err(Error::into_datafusion)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, dressed))
}

/// Rows with the columns' names and types that the user sees.
fn dress(columns: &[ArrayRef], count: usize, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = columns
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(column.clone())
            } else {
                normalize(&PgType::of(field), column)
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// Whether a plan's rows may come from sources, whose ends are asked for.
fn asks_outside(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(source) = (scan.source.as_ref() as &dyn Any).downcast_ref::<RelationSource>()
        {
            found |= matches!(source.relation, Relation::Source { .. });
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The plan with parameters for placeholders and rows behind its scans.
fn resolve(
    plan: LogicalPlan,
    parameters: &[ScalarValue],
    types: &[PgType],
    snapshot: Option<&Arc<Snapshot>>,
    writes: Option<&Writes>,
) -> Result<LogicalPlan> {
    let resolved = plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::TableScan(mut scan) => {
                if let Some(source) = (scan.source.as_ref() as &dyn Any).downcast_ref::<RelationSource>() {
                    let rows = rows_of(source, snapshot, writes).map_err(Error::into_datafusion)?;
                    scan.source = provider_as_source(Arc::new(Table { schema: source.schema.clone(), rows }));
                } else if let Some(table) = WorkingTable::of(&scan) {
                    let (name, schema) = (table.name.clone(), table.schema.clone());
                    scan.source = provider_as_source(Arc::new(WorkingRows { name, schema }));
                }
                LogicalPlan::TableScan(scan)
            }
            other => other,
        };
        let node = if parameters.is_empty() {
            Transformed::no(node)
        } else {
            node.map_expressions(|expr| fill(expr, parameters, types))?
        };
        Ok(Transformed::yes(node.data))
    })?;
    Ok(resolved.data)
}

fn check_parameters(parameters: &[ScalarValue], types: &[PgType]) -> Result<()> {
    if parameters.len() == types.len() {
        return Ok(());
    }
    let message = format!(
        "bind message supplies {} parameters, but prepared statement requires {}",
        parameters.len(),
        types.len()
    );
    Err(Error::new(SqlState::ProtocolViolation, message))
}

/// An expression with parameters for its placeholders.
pub(crate) fn fill(expr: Expr, parameters: &[ScalarValue], types: &[PgType]) -> DataFusionResult<Transformed<Expr>> {
    expr.transform_up(|inner| match &inner {
        Expr::Placeholder(placeholder) => {
            let place = parameter_place(placeholder);
            let value = parameter((parameters, types), place).map_err(Error::into_datafusion)?;
            Ok(Transformed::yes(crate::planner::literal(value.clone(), &types[place])))
        }
        _ => Ok(Transformed::no(inner)),
    })
}

/// The value of a parameter. Error 42P02: there is none.
fn parameter<'a>((parameters, types): Parameters<'a>, place: usize) -> Result<&'a ScalarValue> {
    match parameters.get(place) {
        Some(value) if place < types.len() => Ok(value),
        _ => {
            let message = format!("there is no parameter ${}", place.wrapping_add(1));
            Err(Error::new(SqlState::UndefinedParameter, message))
        }
    }
}

fn rows_of(source: &RelationSource, snapshot: Option<&Arc<Snapshot>>, writes: Option<&Writes>) -> Result<Rows> {
    match &source.relation {
        Relation::View { id, schema, .. } => {
            let snapshot = snapshot.ok_or_else(|| Error::internal("a view without a snapshot"))?;
            // A statement that changes a table asks for one column more: the rows' numbers.
            let numbered = source.schema.fields().len() > schema.fields().len();
            let pending = writes.and_then(|writes| writes.get(id)).cloned();
            Ok(Rows::View(ViewRows { id: *id, snapshot: snapshot.clone(), pending, numbered }))
        }
        Relation::Source { source, start, .. } => {
            // What a partition added later holds is read from its beginning.
            let until = source.end()?;
            Ok(Rows::Outside(Outside::Source { source: source.clone(), from: start.clone(), until }))
        }
        Relation::Files { scan, .. } => Ok(Rows::Outside(Outside::Files { scan: scan.clone() })),
        Relation::Virtual(_) => Err(Error::internal("a system table among the relations")),
    }
}
