//! Queries of at most one row: `SELECT ... FROM t WHERE key = ...`, `SELECT 1`.
//!
//! The row is found by its key in the snapshot, and what the query makes of it are expressions over
//! one row: DataFusion plans and runs nothing. Promises: the answer is what the batch engine would
//! give. A query of any other shape is not taken.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, FetchType, Limit, LogicalPlan, Operator, SkipType, TableScan};
use datafusion::physical_expr::create_physical_expr;
use thalweg_dataflow::Result;
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::types::PgType;

use super::fill;
use crate::planner::{Relation, RelationSource, guard};
use crate::session::View;

/// A query that was recognised.
pub(super) struct Lookup<'a> {
    base: Base<'a>,
    /// What is done to the row, first step first.
    steps: Vec<Step<'a>>,
}

/// Where the row comes from.
enum Base<'a> {
    /// From nowhere: one row of no columns.
    Nothing,
    /// From a view or table.
    Row { relation: RelationId, schema: &'a DFSchema, key: usize, values: Vec<&'a Expr> },
}

/// A node of the plan.
enum Step<'a> {
    Filter(&'a Expr, &'a DFSchema),
    Project(&'a [Expr], &'a DFSchema),
}

impl<'a> Lookup<'a> {
    /// The lookup that this plan is, if it is one.
    pub(super) fn of(plan: &'a LogicalPlan, view: &View) -> Option<Lookup<'a>> {
        let mut steps = Vec::new();
        let mut node = plan;
        let scan = loop {
            node = match node {
                LogicalPlan::Projection(projection) => {
                    steps.push(Step::Project(&projection.expr, projection.input.schema()));
                    &projection.input
                }
                LogicalPlan::Filter(filter) => {
                    steps.push(Step::Filter(&filter.predicate, filter.input.schema()));
                    &filter.input
                }
                // One row is in any order.
                LogicalPlan::Sort(sort) if sort.fetch != Some(0) => &sort.input,
                LogicalPlan::Limit(limit) if takes_the_first(limit) => &limit.input,
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => break None,
                LogicalPlan::TableScan(scan) => break Some(scan),
                _ => return None,
            };
        };
        steps.reverse();
        for step in &steps {
            let exprs = match step {
                Step::Filter(condition, _) => std::slice::from_ref(*condition),
                Step::Project(exprs, _) => exprs,
            };
            if !exprs.iter().all(is_over_one_row) {
                return None;
            }
        }
        let base = match scan {
            None => Base::Nothing,
            Some(scan) => row_of(scan, &steps, view)?,
        };
        Some(Lookup { base, steps })
    }

    /// The row, if it is there and passes.
    pub(super) fn run(&self, parameters: &[ScalarValue], types: &[PgType], view: &View) -> Result<RecordBatch> {
        let mut rows = match &self.base {
            Base::Nothing => {
                let options = RecordBatchOptions::new().with_row_count(Some(1));
                RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?
            }
            Base::Row { relation, schema, key, values } => {
                let values = values.iter().map(|value| match fill((*value).clone(), parameters, types)?.data {
                    Expr::Literal(value, _) => Ok(value.to_array()?),
                    _ => Err(thalweg_dataflow::Error::internal("a key's value that is no constant")),
                });
                let found = view.snapshot.lookup(*relation, *key, &values.collect::<Result<Vec<_>>>()?)?;
                let found = match view.pending(*relation) {
                    Some(pending) => {
                        let all = pending.over(Box::new(std::iter::once(Ok(found.clone()))))?;
                        concat_batches(&found.schema(), &all.collect::<Result<Vec<_>>>()?)?
                    }
                    None => found,
                };
                named(&found, schema)?
            }
        };
        let over = |expr: &Expr, schema: &DFSchema, rows: &RecordBatch| {
            let filled = fill(expr.clone(), parameters, types)?.data;
            let props = ExecutionProps::new();
            let physical = create_physical_expr(&filled, schema, &props, &PhysicalPlanningContext::default())?;
            guard(physical)?.evaluate(rows)?.into_array(rows.num_rows())
        };
        for step in &self.steps {
            rows = match step {
                Step::Filter(condition, schema) => {
                    let rows = named(&rows, schema)?;
                    let verdict = over(condition, schema, &rows)?;
                    let passes: BooleanArray =
                        verdict.as_boolean().iter().map(|verdict| Some(verdict == Some(true))).collect();
                    filter_record_batch(&rows, &passes)?
                }
                Step::Project(exprs, schema) => {
                    let rows = named(&rows, schema)?;
                    let columns = exprs.iter().map(|expr| over(expr, schema, &rows)).collect::<Result<Vec<_>, _>>()?;
                    let fields = columns.iter().enumerate().map(|(place, column)| {
                        arrow::datatypes::Field::new(place.to_string(), column.data_type().clone(), true)
                    });
                    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
                    RecordBatch::try_new_with_options(schema, columns, &options)?
                }
            };
        }
        Ok(rows)
    }
}

/// LIMIT that lets one row pass.
fn takes_the_first(limit: &Limit) -> bool {
    matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)))
        && matches!(limit.get_fetch_type(), Ok(FetchType::Literal(fetch)) if fetch != Some(0))
}

/// Whether an expression needs nothing but its row.
fn is_over_one_row(expr: &Expr) -> bool {
    let mut only = true;
    let walked = expr.apply(|inner| {
        only = !matches!(
            inner,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
        );
        Ok(if only { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    only && walked.is_ok()
}

/// The row that the conditions right above the scan name by a key.
fn row_of<'a>(scan: &'a TableScan, steps: &[Step<'a>], view: &View) -> Option<Base<'a>> {
    let source = (scan.source.as_ref() as &dyn std::any::Any).downcast_ref::<RelationSource>()?;
    let Relation::View { id, schema, .. } = &source.relation else { return None };
    let is_whole = scan.projection.is_none() && scan.filters.is_empty() && scan.fetch.is_none();
    if !is_whole || source.schema.fields().len() != schema.fields().len() {
        return None;
    }
    let conditions = steps.iter().map_while(|step| match step {
        Step::Filter(condition, schema) => Some((*condition, *schema)),
        Step::Project(..) => None,
    });
    let equalities: Vec<(usize, &Expr)> = conditions
        .flat_map(|(condition, schema)| {
            split_conjunction(condition).into_iter().filter_map(move |part| equality(part, schema))
        })
        .collect();
    let keys = view.snapshot.keys(*id);
    let given = |column: &usize| equalities.iter().find(|(place, _)| place == column).map(|(_, value)| *value);
    let (key, values) = keys
        .iter()
        .enumerate()
        .find_map(|(key, columns)| Some((key, columns.iter().map(given).collect::<Option<_>>()?)))?;
    Some(Base::Row { relation: *id, schema: &scan.projected_schema, key, values })
}

/// `column = constant`, of one type.
fn equality<'a>(part: &'a Expr, schema: &DFSchema) -> Option<(usize, &'a Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return None };
    let (column, value) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), value) | (value, Expr::Column(column)) => (column, value),
        _ => return None,
    };
    let place = schema.index_of_column(column).ok()?;
    let layout = schema.field(place).data_type();
    let fits = match value {
        Expr::Literal(value, _) => value.data_type() == *layout,
        Expr::Placeholder(parameter) => parameter.field.as_ref().is_some_and(|field| field.data_type() == layout),
        _ => false,
    };
    fits.then_some((place, value))
}

/// The same rows under a plan's names.
fn named(rows: &RecordBatch, schema: &DFSchema) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(RecordBatch::try_new_with_options(schema, rows.columns().to_vec(), &options)?)
}
