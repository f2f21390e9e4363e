//! WITH RECURSIVE as a dataflow: the recursive term over the rows of all iterations at once.
//!
//! Every row of the recursive term carries the iteration it comes from behind its own columns;
//! grouping and ordering happen within an iteration, and rows of the term meet each other only
//! within one. Then one iteration's rows are what the term makes of the rows of the one before, and
//! under UNION a row belongs to the first iteration that makes it. The engine's `Iterate` does the
//! rest. A recursion that stands in the term and reads the working table does all this for each
//! iteration of the outer one, whose number is one more of its columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, Literal, case};
use thalweg_dataflow::plan::{Call, Function, JoinKind, On, Op, Plan, SortColumn};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::lower::{identity, lower, map};
use super::recursive_query::{RecursiveQuery, WorkingTable};

/// Iterations that a view may need, so that one that never ends fails instead.
const MAX_ITERATIONS: u64 = 10_000;

/// The dataflow of a recursive query.
pub(super) fn recursive(query: &RecursiveQuery) -> Result<Plan> {
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
    // The same for the same recursion, whatever is around it.
    let name = height(&first).max(height(&step)).to_string();
    let variable = Plan { op: Op::Variable { of: name.clone() }, schema: counted.clone() };
    let carrier = Carrier { rows: vec![(named(&query.name), variable.clone())], variable };
    let step = carrier.carried(step)?;
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
    let iterate = Plan { op: Op::Iterate { name, body: Box::new(body), limit: MAX_ITERATIONS }, schema: counted };
    Ok(map(iterate, Vec::new(), identity(&schema), schema))
}

/// The working table's rows.
pub(super) fn variable(table: &WorkingTable) -> Plan {
    let fields = table.schema.fields().iter().map(|field| PgType::of(field).field(field.name(), true));
    // The iteration is added with everybody else's.
    let op = Op::Variable { of: named(&table.name) };
    Plan { op, schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
}

/// A working table's name as long as the recursion around it is not there.
fn named(table: &str) -> String {
    format!("table {table}")
}

/// How many recursions are in one another in a plan.
fn height(plan: &Plan) -> usize {
    let below = plan.inputs().into_iter().map(height).max().unwrap_or(0);
    below + usize::from(matches!(plan.op, Op::Iterate { .. }))
}

fn with_iteration(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(PgType::Int8.field("iteration", true));
    Arc::new(Schema::new(fields))
}

/// What a recursion does to the parts of its recursive term.
struct Carrier {
    /// The rows of all its iterations.
    variable: Plan,
    /// The rows of the variables that carry the iteration, each with the iteration behind its columns.
    rows: Vec<(String, Plan)>,
}

impl Carrier {
    /// Whether a part's rows depend on the iteration.
    fn concerns(&self, plan: &Plan) -> bool {
        self.rows.iter().any(|(name, _)| plan.reads(name))
    }

    /// A part of the recursive term, its rows' iteration behind their columns.
    fn carried(&self, plan: Plan) -> Result<Plan> {
        if !self.concerns(&plan) {
            return Ok(beside(plan, &self.variable));
        }
        let (schema, width) = (with_iteration(&plan.schema), plan.schema.fields().len());
        let op = match plan.op {
            Op::Variable { of } => {
                let known = self.rows.iter().find(|(name, _)| *name == of).map(|(_, rows)| rows.clone());
                return known.ok_or_else(|| Error::internal("rows of a recursion that is not there"));
            }
            Op::Map { input, filters, mut project } => {
                let input = self.carried(*input)?;
                project.push(last(&input));
                Op::Map { input: Box::new(input), filters, project }
            }
            Op::Union { inputs } => {
                Op::Union { inputs: inputs.into_iter().map(|input| self.carried(input)).collect::<Result<_>>()? }
            }
            Op::TopK { input, mut keys, order, offset, limit } => {
                keys.push(width);
                Op::TopK { input: Box::new(self.carried(*input)?), keys, order, offset, limit }
            }
            Op::Expand { input, mut passed, arguments, function } => {
                let input = Box::new(self.carried(*input)?);
                let place = passed.len();
                passed.push(input.schema.fields().len() - 1);
                let op = Op::Expand { input, passed, arguments, function };
                return Ok(moved_last(op, &plan.schema, place));
            }
            op @ (Op::Reduce { .. } | Op::GroupApply { .. }) => return self.groups(op, &plan.schema),
            Op::Join { left, right, kind, on } => return self.join((*left, *right), kind, on, &plan.schema),
            Op::Iterate { name, body, limit } => return self.iterate(name, *body, limit, &plan.schema),
            Op::Source { .. } | Op::View { .. } | Op::Table { .. } | Op::Values { .. } => {
                return Err(Error::internal("a leaf that is recursive"));
            }
        };
        Ok(Plan { op, schema })
    }

    /// Aggregates and functions of groups, within an iteration.
    fn groups(&self, op: Op, schema: &SchemaRef) -> Result<Plan> {
        let (op, place, nothing) = match op {
            Op::Reduce { input, mut keys, calls } => {
                let input = Box::new(self.carried(*input)?);
                let nothing = keys.is_empty().then(|| over_nothing(&calls, schema)).transpose()?;
                let place = keys.len();
                keys.push(input.schema.fields().len() - 1);
                (Op::Reduce { input, keys, calls }, place, nothing)
            }
            Op::GroupApply { input, mut keys, order, mut passed, arguments, function } => {
                let whole = keys.is_empty() && function.0.aggregates();
                let nothing = match whole {
                    true => Some(scalars(&function.0.evaluate(&no_rows(&input.schema, &arguments)?)?)?),
                    false => None,
                };
                let input = Box::new(self.carried(*input)?);
                let iteration = input.schema.fields().len() - 1;
                keys.push(iteration);
                let place = passed.len();
                passed.push(iteration);
                (Op::GroupApply { input, keys, order, passed, arguments, function }, place, nothing)
            }
            _ => return Err(Error::internal("groups of something else")),
        };
        let grouped = moved_last(op, schema, place);
        match nothing {
            Some(nothing) => everywhere(grouped, nothing, &self.variable),
            None => Ok(grouped),
        }
    }

    /// A recursion that reads the rows of this one: it runs once for each iteration, whose number
    /// stands before its own.
    fn iterate(&self, name: String, body: Plan, limit: u64, schema: &SchemaRef) -> Result<Plan> {
        let own = schema.fields().len() - 1;
        let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.insert(own, PgType::Int8.field("iteration", true));
        let both = Arc::new(Schema::new(fields));
        // The two numbers change places.
        let swapped = |plan: Plan, to: SchemaRef| {
            let all = identity(&plan.schema);
            let places = (0..own).chain([own + 1, own]);
            map(plan, Vec::new(), places.map(|place| all[place].clone()).collect(), to)
        };
        let variable = Plan { op: Op::Variable { of: name.clone() }, schema: both.clone() };
        let rows = swapped(variable, with_iteration(schema));
        let rows = self.rows.iter().cloned().chain([(name.clone(), rows)]).collect();
        let within = Carrier { variable: self.variable.clone(), rows };
        let body = Box::new(swapped(within.carried(body)?, both.clone()));
        let iterate = Plan { op: Op::Iterate { name, body, limit }, schema: both };
        Ok(swapped(iterate, with_iteration(schema)))
    }

    fn join(&self, (left, right): (Plan, Plan), kind: JoinKind, mut on: Vec<On>, schema: &SchemaRef) -> Result<Plan> {
        let (narrow, full) = (matches!(kind, JoinKind::Semi | JoinKind::Anti), kind == JoinKind::Full);
        // What an outer side is without its iteration would stand for all of them.
        let in_left = self.concerns(&left) || kind != JoinKind::Inner;
        let in_right = self.concerns(&right) || full;
        let left = if in_left { self.carried(left)? } else { left };
        let right = if in_right { self.carried(right)? } else { right };
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
        let all = identity(&joined.schema);
        let is_own = |place: &usize| !(in_left && *place == width - 1 || own_right && *place == count - 1);
        let mut project: Vec<Arc<dyn PhysicalExpr>> =
            (0..count).filter(is_own).map(|place| all[place].clone()).collect();
        let (one, other) = (all[width - 1].clone(), all[count - 1].clone());
        project.push(match (in_left, full) {
            (_, true) => either(one, other)?,
            (true, false) => one,
            (false, false) => other,
        });
        Ok(map(joined, Vec::new(), project, with_iteration(schema)))
    }
}

/// The first, or the second where it is null.
fn either(one: Arc<dyn PhysicalExpr>, other: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let there: Arc<dyn PhysicalExpr> = Arc::new(IsNotNullExpr::new(one.clone()));
    Ok(case(None, vec![(there, one)], Some(other))?)
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
