//! WITH RECURSIVE as a dataflow: the recursive term over the rows of all iterations at once.
//!
//! Every row of the recursive term carries the iteration it comes from behind its own columns;
//! grouping and ordering happen within an iteration, and rows of the term meet each other only
//! within one. Then one iteration's rows are what the term makes of the rows of the one before, and
//! under UNION a row belongs to the first iteration that makes it. The engine's `Iterate` does the
//! rest.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{LogicalPlan, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, Literal, case};
use thalweg_dataflow::plan::{Call, Function, JoinKind, On, Op, Plan, SortColumn};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::lower::{identity, lower, map, refused};
use super::recursive_query::{RecursiveQuery, WorkingTable};

/// Iterations that a view may need, so that one that never ends fails instead.
const MAX_ITERATIONS: u64 = 10_000;

/// The dataflow of a recursive query.
pub(super) fn recursive(query: &RecursiveQuery) -> Result<Plan> {
    query.step.apply(|node| match RecursiveQuery::of(node) {
        Some(inner) if reads_another(inner)? => {
            Err(refused("a recursive query that reads the one around it").into_datafusion())
        }
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    let (first, step) = (lower(&query.first)?, lower(&query.step)?);
    let (schema, width) = (first.schema.clone(), first.schema.fields().len());
    let counted = with_iteration(&schema);
    let column = || Arc::new(Column::new(counted.field(width).name(), width)) as Arc<dyn PhysicalExpr>;
    let number = |value| Arc::new(Literal::new(ScalarValue::Int64(Some(value)))) as Arc<dyn PhysicalExpr>;
    let with = |input: Plan, iteration| {
        let mut project = identity(&schema);
        project.push(iteration);
        map(input, Vec::new(), project, counted.clone())
    };
    let variable = Plan { op: Op::Variable, schema: counted.clone() };
    let step = carried(step, &variable)?;
    let first = with(first, number(0));
    let step = with(step, Arc::new(BinaryExpr::new(column(), Operator::Plus, number(1))));
    let mut body = Plan { op: Op::Union { inputs: vec![first, step] }, schema: counted.clone() };
    if let Some(same) = &query.distinct {
        let mut order = vec![SortColumn { column: width, descending: false, nulls_first: false }];
        let greatest = |form: &usize| SortColumn { column: *form, descending: true, nulls_first: false };
        order.extend(same.forms.iter().map(greatest));
        let keys = same.keys.clone();
        let op = Op::TopK { input: Box::new(body), keys, order, offset: 0, limit: Some(1) };
        body = Plan { op, schema: counted.clone() };
    }
    let iterate = Plan { op: Op::Iterate { body: Box::new(body), limit: MAX_ITERATIONS }, schema: counted };
    Ok(map(iterate, Vec::new(), identity(&schema), schema))
}

/// The working table's rows.
pub(super) fn variable(table: &WorkingTable) -> Plan {
    let fields = table.schema.fields().iter().map(|field| PgType::of(field).field(field.name(), true));
    // The iteration is added with everybody else's.
    Plan { op: Op::Variable, schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
}

/// Whether a recursive query reads the working table of another one.
fn reads_another(query: &RecursiveQuery) -> datafusion::error::Result<bool> {
    let mut known = vec![query.name.clone()];
    let mut read = Vec::new();
    for term in [&query.first, &query.step] {
        term.apply(|node| {
            known.extend(RecursiveQuery::of(node).map(|inner| inner.name.clone()));
            if let LogicalPlan::TableScan(scan) = node {
                read.extend(WorkingTable::of(scan).map(|table| table.name.clone()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(read.iter().any(|name| !known.contains(name)))
}

fn with_iteration(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(PgType::Int8.field("iteration", true));
    Arc::new(Schema::new(fields))
}

/// A part of the recursive term, its rows' iteration behind their columns.
fn carried(plan: Plan, variable: &Plan) -> Result<Plan> {
    if !plan.is_recursive() {
        return Ok(beside(plan, variable));
    }
    let (schema, width) = (with_iteration(&plan.schema), plan.schema.fields().len());
    let op = match plan.op {
        Op::Variable => return Ok(variable.clone()),
        Op::Map { input, filters, mut project } => {
            let input = carried(*input, variable)?;
            project.push(last(&input));
            Op::Map { input: Box::new(input), filters, project }
        }
        Op::Union { inputs } => {
            let inputs = inputs.into_iter().map(|input| carried(input, variable)).collect::<Result<_>>()?;
            Op::Union { inputs }
        }
        Op::Reduce { input, mut keys, calls } => {
            let input = Box::new(carried(*input, variable)?);
            let (place, nothing) = (keys.len(), keys.is_empty().then(|| over_nothing(&calls, &plan.schema)));
            keys.push(input.schema.fields().len() - 1);
            let grouped = moved_last(Op::Reduce { input, keys, calls }, &plan.schema, place);
            return match nothing {
                Some(nothing) => everywhere(grouped, nothing?, variable),
                None => Ok(grouped),
            };
        }
        Op::TopK { input, mut keys, order, offset, limit } => {
            let input = Box::new(carried(*input, variable)?);
            keys.push(width);
            Op::TopK { input, keys, order, offset, limit }
        }
        Op::GroupApply { input, mut keys, order, mut passed, arguments, function } => {
            let whole = keys.is_empty() && function.0.aggregates();
            let nothing = match whole {
                true => Some(function.0.evaluate(&no_rows(&input.schema, &arguments)?)?),
                false => None,
            };
            let input = Box::new(carried(*input, variable)?);
            let iteration = input.schema.fields().len() - 1;
            keys.push(iteration);
            let place = passed.len();
            passed.push(iteration);
            let op = Op::GroupApply { input, keys, order, passed, arguments, function };
            let grouped = moved_last(op, &plan.schema, place);
            return match nothing {
                Some(nothing) => everywhere(grouped, scalars(&nothing)?, variable),
                None => Ok(grouped),
            };
        }
        Op::Expand { input, mut passed, arguments, function } => {
            let input = Box::new(carried(*input, variable)?);
            let place = passed.len();
            passed.push(input.schema.fields().len() - 1);
            let op = Op::Expand { input, passed, arguments, function };
            return Ok(moved_last(op, &plan.schema, place));
        }
        Op::Join { left, right, kind, on } => return join((*left, *right), kind, on, &plan.schema, variable),
        Op::Source { .. } | Op::View { .. } | Op::Table { .. } | Op::Values { .. } | Op::Iterate { .. } => {
            return Err(Error::internal("a leaf that is recursive"));
        }
    };
    Ok(Plan { op, schema })
}

fn join(
    (left, right): (Plan, Plan),
    kind: JoinKind,
    mut on: Vec<On>,
    schema: &SchemaRef,
    variable: &Plan,
) -> Result<Plan> {
    let narrow = matches!(kind, JoinKind::Semi | JoinKind::Anti);
    // What an outer side is without its iteration would stand for all of them.
    let (in_left, in_right) = (left.is_recursive() || kind != JoinKind::Inner, right.is_recursive());
    if kind == JoinKind::Full {
        return Err(refused("a recursive reference within an outer join"));
    }
    let left = if in_left { carried(left, variable)? } else { left };
    let right = if in_right { carried(right, variable)? } else { right };
    let width = left.schema.fields().len();
    if in_left && in_right {
        let columns = (width - 1, right.schema.fields().len() - 1);
        on.push(On { left: columns.0, right: columns.1, nulls_equal: true });
    }
    let columns: Vec<Field> = left
        .schema
        .fields()
        .iter()
        .chain(right.schema.fields().iter().filter(|_| !narrow))
        .map(|field| field.as_ref().clone())
        .collect();
    let count = columns.len();
    let op = Op::Join { left: Box::new(left), right: Box::new(right), kind, on };
    let joined = Plan { op, schema: Arc::new(Schema::new(columns)) };
    // The users' columns, then the iteration: the left side's, if it has one.
    let own_right = !narrow && in_right;
    let iteration = if in_left { width - 1 } else { count - 1 };
    let places = (0..count)
        .filter(|place| !(in_left && *place == width - 1 || own_right && *place == count - 1))
        .chain([iteration]);
    Ok(chosen(joined, places.collect(), schema))
}

/// The rows of a part that is not recursive, once for each iteration that has rows.
fn beside(plan: Plan, variable: &Plan) -> Plan {
    let schema = with_iteration(&plan.schema);
    let right = Box::new(iterations(variable));
    let op = Op::Join { left: Box::new(plan), right, kind: JoinKind::Inner, on: Vec::new() };
    Plan { op, schema }
}

/// The iterations that have rows.
fn iterations(variable: &Plan) -> Plan {
    let one = Arc::new(Schema::new(vec![PgType::Int8.field("iteration", true)]));
    let iterations = map(variable.clone(), Vec::new(), vec![last(variable)], one.clone());
    Plan { op: Op::Reduce { input: Box::new(iterations), keys: vec![0], calls: Vec::new() }, schema: one }
}

/// An aggregate without groups, one row for each iteration that has rows: where nothing was
/// aggregated these values.
fn everywhere(grouped: Plan, nothing: Vec<ScalarValue>, variable: &Plan) -> Result<Plan> {
    let (schema, width) = (grouped.schema.clone(), nothing.len());
    let left = iterations(variable);
    let fields = left.schema.fields().iter().chain(schema.fields()).map(|field| field.as_ref().clone());
    let both = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let on = vec![On { left: 0, right: width, nulls_equal: true }];
    let op = Op::Join { left: Box::new(left), right: Box::new(grouped), kind: JoinKind::Left, on };
    let joined = Plan { op, schema: both };
    let all = identity(&joined.schema);
    let found: Arc<dyn PhysicalExpr> = Arc::new(IsNotNullExpr::new(all[1 + width].clone()));
    let mut project = Vec::with_capacity(width + 1);
    for (place, value) in nothing.into_iter().enumerate() {
        let value: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(value));
        project.push(case(None, vec![(found.clone(), all[1 + place].clone())], Some(value))?);
    }
    project.push(all[0].clone());
    Ok(map(joined, Vec::new(), project, schema))
}

/// What the engine's aggregates give over no rows.
fn over_nothing(calls: &[Call], schema: &SchemaRef) -> Result<Vec<ScalarValue>> {
    let value = |(call, field): (&Call, &Arc<Field>)| match call.function {
        Function::Count | Function::ApproxCountDistinct => Ok(ScalarValue::Int64(Some(0))),
        _ => Ok(ScalarValue::try_from(field.data_type())?),
    };
    calls.iter().zip(schema.fields()).map(value).collect()
}

/// No rows of these columns.
fn no_rows(schema: &SchemaRef, columns: &[usize]) -> Result<RecordBatch> {
    let fields = columns.iter().map(|column| schema.field(*column).clone().with_nullable(true));
    Ok(RecordBatch::new_empty(Arc::new(Schema::new(fields.collect::<Vec<_>>()))))
}

/// The one value of each column.
fn scalars(columns: &[ArrayRef]) -> Result<Vec<ScalarValue>> {
    columns.iter().map(|column| Ok(ScalarValue::try_from_array(column, 0)?)).collect()
}

fn last(plan: &Plan) -> Arc<dyn PhysicalExpr> {
    let place = plan.schema.fields().len() - 1;
    Arc::new(Column::new(plan.schema.field(place).name(), place))
}

/// An operator that has the iteration at `place` among the columns of `schema`, with it behind them.
fn moved_last(op: Op, schema: &SchemaRef, place: usize) -> Plan {
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.insert(place, PgType::Int8.field("iteration", true));
    let count = fields.len();
    let places = (0..count).filter(|other| *other != place).chain([place]).collect();
    chosen(Plan { op, schema: Arc::new(Schema::new(fields)) }, places, schema)
}

/// These columns of a plan; the last is the iteration, the others are those of `schema`.
fn chosen(plan: Plan, places: Vec<usize>, schema: &SchemaRef) -> Plan {
    let all = identity(&plan.schema);
    let project = places.into_iter().map(|place| all[place].clone()).collect();
    map(plan, Vec::new(), project, with_iteration(schema))
}
