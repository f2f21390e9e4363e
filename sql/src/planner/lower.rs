//! Lowering: from a bound plan to a dataflow.
//!
//! Works on the plan as it was bound: no rule of an optimiser stands between a view's text and its
//! dataflow, so an update of DataFusion does not change what is stored. Every operator and
//! expression that the engine cannot maintain is refused by name. Neighbouring maps become one;
//! columns that nobody reads are cut by `prune`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, concat};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use thalweg_dataflow::plan::{Call, Function, Op, Plan};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::Relation;
use super::expand::Expand;
use super::factor::conjuncts;
use super::from::RelationSource;
use super::functions::aggregates::engine_function;
use super::functions::approximate::Approximate;
use super::groups;
use super::guard::guard;
use super::join::constants;
use super::recursion;
use super::recursive_query::{RecursiveQuery, WorkingTable};

const HINT: &str = "A query may use it over materialized views.";

/// The dataflow that computes a bound plan.
pub(crate) fn lower(plan: &LogicalPlan) -> Result<Plan> {
    match plan {
        LogicalPlan::TableScan(scan) => match WorkingTable::of(scan) {
            Some(table) => Ok(recursion::variable(table)),
            None => relation(scan),
        },
        LogicalPlan::SubqueryAlias(alias) => lower(&alias.input),
        LogicalPlan::Projection(inner) => projection(inner, lower(&inner.input)?),
        LogicalPlan::Filter(filter) => {
            let input = lower(&filter.input)?;
            let filters = conjuncts(&filter.predicate)
                .iter()
                .map(|expr| physical(expr, filter.input.schema()))
                .collect::<Result<Vec<_>>>()?;
            let project = identity(&input.schema);
            let schema = input.schema.clone();
            Ok(map(input, filters, project, schema))
        }
        LogicalPlan::Aggregate(aggregate) if is_maintained(aggregate) => reduce(aggregate),
        LogicalPlan::Aggregate(aggregate) => groups::aggregates(aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let input = lower(input)?;
            let keys = (0..input.schema.fields().len()).collect();
            Ok(Plan {
                schema: input.schema.clone(),
                op: Op::Reduce { input: Box::new(input), keys, calls: Vec::new() },
            })
        }
        LogicalPlan::Union(union) => {
            let mut inputs = Vec::with_capacity(union.inputs.len());
            for input in &union.inputs {
                match lower(input)? {
                    Plan { op: Op::Union { inputs: inner }, .. } => inputs.extend(inner),
                    other => inputs.push(other),
                }
            }
            let schema = inputs
                .first()
                .map(|input| input.schema.clone())
                .ok_or_else(|| Error::internal("a union of nothing"))?;
            Ok(Plan { op: Op::Union { inputs }, schema })
        }
        LogicalPlan::Join(join) => super::join::join(join),
        LogicalPlan::Window(window) => groups::windows(window),
        LogicalPlan::Limit(limit) => super::limit::limit(limit),
        LogicalPlan::EmptyRelation(empty) => {
            let rows = usize::from(empty.produce_one_row);
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
            constants(none, Arc::new(Schema::empty()))
        }
        LogicalPlan::Values(values) => self::values(values),
        // The rows of a view have no order; PostgreSQL accepts the clause as well.
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => lower(&sort.input),
        other => match (RecursiveQuery::of(other), Expand::of(other)) {
            (Some(query), _) => recursion::recursive(query),
            (_, Some(node)) => expand(node),
            _ => Err(refused(construct(other))),
        },
    }
}

/// A projection over what its input was lowered to.
pub(crate) fn projection(projection: &datafusion::logical_expr::Projection, input: Plan) -> Result<Plan> {
    let below = projection.input.schema();
    let project = projection.expr.iter().map(|expr| physical(expr, below)).collect::<Result<Vec<_>>>()?;
    let named = projection.expr.iter().zip(projection.schema.fields());
    let schema = schema_of(named.map(|(expr, field)| (field.name().clone(), type_of(expr, below))));
    Ok(map(input, Vec::new(), project, schema))
}

/// A set-returning function: its arguments are computed below.
fn expand(node: &Expand) -> Result<Plan> {
    let input = lower(&node.input)?;
    let (width, below) = (input.schema.fields().len(), node.input.schema());
    let mut fields: Vec<(String, PgType)> =
        input.schema.fields().iter().map(|field| (field.name().clone(), PgType::of(field))).collect();
    let mut project = identity(&input.schema);
    let mut output = fields.clone();
    for argument in &node.arguments {
        project.push(physical(argument, below)?);
        fields.push((argument.schema_name().to_string(), type_of(argument, below)));
    }
    let own = node.columns.iter().zip(node.function.0.columns());
    output.extend(own.map(|(column, ty)| (column.name.clone(), ty)));
    let arguments = (width..fields.len()).collect();
    let input = Box::new(map(input, Vec::new(), project, schema_of(fields)));
    let op = Op::Expand { input, passed: (0..width).collect(), arguments, function: node.function.clone() };
    Ok(Plan { op, schema: schema_of(output) })
}

/// The engine's own function for one of DataFusion's.
fn maintained(function: &datafusion::logical_expr::AggregateUDF) -> Option<Function> {
    Approximate::engine_function(function).or_else(|| engine_function(function.name()))
}

/// Whether the engine keeps all of these aggregates up to date row by row.
fn is_maintained(aggregate: &datafusion::logical_expr::Aggregate) -> bool {
    aggregate.aggr_expr.iter().all(|expr| {
        let call = match expr {
            Expr::Alias(alias) => alias.expr.as_ref(),
            other => other,
        };
        let Expr::AggregateFunction(call) = call else { return false };
        maintained(&call.func).is_some() && call.params.order_by.is_empty() && call.params.args.len() == 1
    })
}

pub(crate) fn refused(construct: &str) -> Error {
    Error::unsupported(format!("{construct} in a materialized view")).hint(HINT)
}

/// What a user calls an operator that is refused.
fn construct(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Distinct(_) => "DISTINCT ON",
        _ => "this construct",
    }
}

fn relation(scan: &datafusion::logical_expr::TableScan) -> Result<Plan> {
    let Some(source) = (scan.source.as_ref() as &dyn std::any::Any).downcast_ref::<RelationSource>() else {
        return Err(refused(&format!("the system table {}", scan.table_name.table())));
    };
    let schema = schema_of(source.schema.fields().iter().map(|field| (field.name().clone(), PgType::of(field))));
    match &source.relation {
        Relation::Source { id, .. } => {
            Ok(Plan { op: Op::Source { relation: *id, columns: (0..schema.fields().len()).collect() }, schema })
        }
        Relation::View { id, .. } => Ok(Plan { op: Op::View { relation: *id }, schema }),
        Relation::Files { name, .. } => Err(refused(&format!("the external table \"{name}\""))),
        Relation::Virtual(_) => Err(refused(&format!("the system table {}", scan.table_name.table()))),
    }
}

/// VALUES: each item is evaluated once, here.
fn values(values: &datafusion::logical_expr::Values) -> Result<Plan> {
    let none = DFSchema::empty();
    let one = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); values.schema.fields().len()];
    for row in &values.values {
        for (column, expr) in columns.iter_mut().zip(row) {
            column.push(physical(expr, &none)?.evaluate(&one)?.into_array(1)?);
        }
    }
    let mut arrays = Vec::with_capacity(columns.len());
    for (column, field) in columns.iter().zip(values.schema.fields()) {
        let parts: Vec<ArrayRef> =
            column.iter().map(|part| cast(part, field.data_type())).collect::<std::result::Result<_, _>>()?;
        arrays.push(concat(&parts.iter().map(|part| part.as_ref()).collect::<Vec<_>>())?);
    }
    let types = values.schema.fields().iter().zip(values.values.first().into_iter().flatten());
    let schema = schema_of(types.map(|(field, expr)| (field.name().clone(), type_of(expr, &none))));
    let options = RecordBatchOptions::new().with_row_count(Some(values.values.len()));
    constants(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?, schema)
}

fn reduce(aggregate: &datafusion::logical_expr::Aggregate) -> Result<Plan> {
    let below = aggregate.input.schema();
    let input = lower(&aggregate.input)?;
    let mut columns = Columns { below, project: Vec::new(), fields: Vec::new() };
    let mut output = Vec::with_capacity(aggregate.schema.fields().len());
    let mut keys = Vec::with_capacity(aggregate.group_expr.len());
    for key in &aggregate.group_expr {
        let place = columns.push(key, false)?;
        let ty = columns.fields[place].1.clone();
        output.push((key.schema_name().to_string(), ty));
        keys.push(place);
    }
    let mut calls = Vec::with_capacity(aggregate.aggr_expr.len());
    for expr in &aggregate.aggr_expr {
        let (call, ty) = call(expr, &mut columns)?;
        output.push((expr.schema_name().to_string(), ty));
        calls.push(call);
    }
    let (project, schema) = (columns.project, schema_of(columns.fields));
    let input = map(input, Vec::new(), project, schema);
    Ok(Plan { op: Op::Reduce { input: Box::new(input), keys, calls }, schema: schema_of(output) })
}

fn call(expr: &Expr, columns: &mut Columns<'_>) -> Result<(Call, PgType)> {
    let inner = match expr {
        Expr::Alias(alias) => alias.expr.as_ref(),
        other => other,
    };
    let Expr::AggregateFunction(call) = inner else { return Err(refused(&format!("the aggregate {inner}"))) };
    let name = call.func.name();
    let function = maintained(&call.func).ok_or_else(|| refused(&format!("the aggregate function {name}")))?;
    if !call.params.order_by.is_empty() {
        return Err(refused("ORDER BY in an aggregate"));
    }
    let argument = match call.params.args.as_slice() {
        // count(*) counts a constant.
        [Expr::Literal(value, _)] if name == "count" && !value.is_null() && !call.params.distinct => None,
        [argument] => Some(columns.push(argument, true)?),
        _ => return Err(refused(&format!("{name} of several arguments"))),
    };
    let filter = call.params.filter.as_ref().map(|filter| columns.push(filter, true)).transpose()?;
    let ty = argument.map(|place| columns.fields[place].1.clone());
    let result = function.result(ty.as_ref()).ok_or_else(|| Error::internal(format!("no {name} over {ty:?}")))?;
    Ok((Call { function, argument, distinct: call.params.distinct, filter }, result))
}

/// The columns that a map computes for the aggregation above it.
struct Columns<'a> {
    below: &'a DFSchema,
    project: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<(String, PgType)>,
}

impl Columns<'_> {
    fn push(&mut self, expr: &Expr, share: bool) -> Result<usize> {
        let computed = physical(expr, self.below)?;
        if share && let Some(place) = self.project.iter().position(|known| known == &computed) {
            return Ok(place);
        }
        self.project.push(computed);
        self.fields.push((expr.schema_name().to_string(), type_of(expr, self.below)));
        Ok(self.project.len() - 1)
    }
}

/// The type of an expression: as its metadata says; DataFusion drops it at CASE.
pub(crate) fn type_of(expr: &Expr, schema: &DFSchema) -> PgType {
    match expr {
        Expr::Alias(alias) => match &alias.metadata {
            Some(marks) => marks
                .inner()
                .get(thalweg_dataflow::types::TYPE_KEY)
                .and_then(|name| PgType::parse(name))
                .unwrap_or_else(|| type_of(&alias.expr, schema)),
            None => type_of(&alias.expr, schema),
        },
        Expr::Case(case) => {
            let branches = case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(case.else_expr.as_deref());
            let mut types = branches.map(|branch| type_of(branch, schema));
            types.next().unwrap_or(PgType::Text)
        }
        other => match other.to_field(schema) {
            Ok((_, field)) => PgType::of(&field),
            Err(_) => PgType::Text,
        },
    }
}

fn schema_of(fields: impl IntoIterator<Item = (String, PgType)>) -> SchemaRef {
    let fields: Vec<Field> = fields.into_iter().map(|(name, ty)| ty.field(name, true)).collect();
    Arc::new(Schema::new(fields))
}

pub(crate) fn identity(schema: &SchemaRef) -> Vec<Arc<dyn PhysicalExpr>> {
    schema
        .fields()
        .iter()
        .enumerate()
        .map(|(place, field)| Arc::new(Column::new(field.name(), place)) as Arc<dyn PhysicalExpr>)
        .collect()
}

/// An expression as the engine evaluates it.
pub(crate) fn physical(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    let mut refusal = None;
    expr.apply(|inner| {
        refusal = match inner {
            Expr::ScalarSubquery(_) => Some("a subquery in an expression"),
            Expr::Exists(_) => Some("EXISTS"),
            Expr::InSubquery(_) | Expr::SetComparison(_) => Some("IN with a subquery"),
            Expr::Placeholder(_) => Some("a parameter"),
            Expr::WindowFunction(_) => Some("a window function"),
            Expr::OuterReferenceColumn(..) => Some("a reference to an outer query"),
            _ => None,
        };
        Ok(if refusal.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if let Some(construct) = refusal {
        return Err(refused(construct));
    }
    let expr = create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
    Ok(guard(expr)?)
}

/// A map over a plan. One that changes nothing but names is left out; one over another map becomes
/// one with it, unless that computed something twice.
pub(crate) fn map(
    input: Plan,
    filters: Vec<Arc<dyn PhysicalExpr>>,
    project: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
) -> Plan {
    if filters.is_empty() && is_identity(&project, &input.schema, &schema) {
        return Plan { op: input.op, schema };
    }
    if let Op::Map { input: below, filters: first, project: inner } = &input.op
        && let Some((second, project)) = compose(inner, &filters, &project)
    {
        let filters = first.iter().cloned().chain(second).collect();
        return Plan { op: Op::Map { input: below.clone(), filters, project }, schema };
    }
    Plan { op: Op::Map { input: Box::new(input), filters, project }, schema }
}

/// Whether a projection gives every column of its input, in its place and type.
fn is_identity(project: &[Arc<dyn PhysicalExpr>], input: &SchemaRef, output: &SchemaRef) -> bool {
    let in_place = |(place, expr): (usize, &Arc<dyn PhysicalExpr>)| {
        expr.downcast_ref::<Column>().is_some_and(|column| column.index() == place)
    };
    let types = |schema: &SchemaRef| schema.fields().iter().map(|field| PgType::of(field)).collect::<Vec<_>>();
    project.iter().enumerate().all(in_place) && types(input) == types(output)
}

type Exprs = Vec<Arc<dyn PhysicalExpr>>;

fn compose(
    inner: &[Arc<dyn PhysicalExpr>],
    filters: &[Arc<dyn PhysicalExpr>],
    project: &[Arc<dyn PhysicalExpr>],
) -> Option<(Exprs, Exprs)> {
    let mut uses = vec![0_usize; inner.len()];
    for expr in filters.iter().chain(project) {
        columns_of(expr, &mut |place| {
            if let Some(count) = uses.get_mut(place) {
                *count += 1;
            }
        });
    }
    let cheap = |expr: &Arc<dyn PhysicalExpr>| expr.is::<Column>() || expr.is::<Literal>();
    if inner.iter().zip(&uses).any(|(expr, uses)| *uses > 1 && !cheap(expr)) {
        return None;
    }
    let substitute = |expr: &Arc<dyn PhysicalExpr>| {
        expr.clone()
            .transform_down(|node| match node.downcast_ref::<Column>() {
                Some(column) => match inner.get(column.index()) {
                    Some(known) => Ok(Transformed::new(known.clone(), true, TreeNodeRecursion::Jump)),
                    None => Ok(Transformed::no(node)),
                },
                None => Ok(Transformed::no(node)),
            })
            .ok()
            .map(|transformed| transformed.data)
    };
    Some((
        filters.iter().map(substitute).collect::<Option<_>>()?,
        project.iter().map(substitute).collect::<Option<_>>()?,
    ))
}

/// Calls `each` for every column that an expression reads.
pub(crate) fn columns_of(expr: &Arc<dyn PhysicalExpr>, each: &mut dyn FnMut(usize)) {
    if let Some(column) = expr.downcast_ref::<Column>() {
        each(column.index());
    }
    for child in expr.children() {
        columns_of(child, each);
    }
}
