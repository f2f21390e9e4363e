//! EXPLAIN: a view's dataflow and a query's plan as trees of text.

use arrow::datatypes::SchemaRef;
use thalweg_dataflow::plan::{Call, Function, JoinKind, Op, Plan, RelationId, SortColumn};

use super::Bound;
use super::deparse::{expression, readable};

/// The lines of `EXPLAIN MATERIALIZED VIEW`: the dataflow as a tree. `name` gives a relation's
/// name, `shared` tells whether an operator's state is shared with other views.
pub fn explain_view(plan: &Plan, name: &dyn Fn(RelationId) -> String, shared: &dyn Fn(&Plan) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    describe(plan, 0, name, shared, &mut lines);
    lines
}

fn describe(
    plan: &Plan,
    depth: usize,
    name: &dyn Fn(RelationId) -> String,
    shared: &dyn Fn(&Plan) -> bool,
    lines: &mut Vec<String>,
) {
    let text = operator(plan, name);
    let mark = if shared(plan) { " [shared]" } else { "" };
    let arrow = if depth == 0 { String::new() } else { format!("{}-> ", "  ".repeat(2 * depth - 1)) };
    lines.push(format!("{arrow}{text}{mark}"));
    for input in plan.inputs() {
        describe(input, depth + 1, name, shared, lines);
    }
}

/// The operator alone, without its inputs.
fn operator(plan: &Plan, name: &dyn Fn(RelationId) -> String) -> String {
    match &plan.op {
        Op::Source { relation, .. } => {
            let all: Vec<usize> = (0..plan.schema.fields().len()).collect();
            format!("Source {} ({})", name(*relation), columns(&all, &plan.schema))
        }
        Op::View { relation } => format!("View {}", name(*relation)),
        Op::Table { relation } => format!("Table {}", name(*relation)),
        Op::Map { input, filters, project } => {
            let written = |exprs: &[_]| exprs.iter().map(|expr| expression(expr, &input.schema)).collect::<Vec<_>>();
            let outputs = written(project).join(", ");
            match written(filters).as_slice() {
                [] => format!("Map -> {outputs}"),
                filters => format!("Map where {} -> {outputs}", filters.join(" AND ")),
            }
        }
        Op::Union { .. } => "Union all".to_string(),
        Op::Join { left, right, kind, on } => {
            let word = match kind {
                JoinKind::Inner if on.is_empty() => "Cross join",
                JoinKind::Inner => "Join",
                JoinKind::Left => "Left join",
                JoinKind::Full => "Full join",
                JoinKind::Semi => "Semi-join",
                JoinKind::Anti => "Anti-join",
            };
            let pairs = on.iter().map(|on| {
                let equal = if on.nulls_equal { "IS NOT DISTINCT FROM" } else { "=" };
                let (one, other) = (left.schema.field(on.left).name(), right.schema.field(on.right).name());
                format!("{one} {equal} {other}")
            });
            match pairs.collect::<Vec<_>>().join(" AND ") {
                pairs if pairs.is_empty() => word.to_string(),
                pairs => format!("{word} on {pairs}"),
            }
        }
        Op::TopK { keys, order, offset, limit, .. } => {
            let mut text = limit.map_or_else(|| "All".to_string(), |limit| format!("Top {limit}"));
            if *offset > 0 {
                text.push_str(&format!(" after {offset}"));
            }
            text + &grouping(keys, order, &plan.schema)
        }
        Op::GroupApply { input, keys, order, function, .. } => {
            let word = if function.0.aggregates() { "Aggregate" } else { "Window" };
            format!("{word}{}: {}", grouping(keys, order, &input.schema), function.0.text())
        }
        Op::Values { rows } => format!("Values {rows}"),
        Op::Expand { function, .. } => format!("Expand: {}", function.0.text()),
        Op::Iterate { .. } => "Iterate".to_string(),
        Op::Variable { .. } => "Rows of the iteration before".to_string(),
        Op::Reduce { input, keys, calls } => {
            // The keys come first in the output.
            let names = columns(&(0..keys.len()).collect::<Vec<_>>(), &plan.schema);
            let by = match (keys.is_empty(), calls.is_empty()) {
                (false, true) => format!("Distinct {names}"),
                (false, false) => format!("Reduce by {names}"),
                (true, _) => "Reduce".to_string(),
            };
            let calls: Vec<String> = calls.iter().map(|known| call(known, input)).collect();
            if calls.is_empty() { by } else { format!("{by}: {}", calls.join(", ")) }
        }
    }
}

/// ` by keys order by columns`.
fn grouping(keys: &[usize], order: &[SortColumn], schema: &SchemaRef) -> String {
    let mut text = String::new();
    if !keys.is_empty() {
        text.push_str(&format!(" by {}", columns(keys, schema)));
    }
    let order: Vec<String> = order
        .iter()
        .map(|by| {
            let nulls = match (by.descending, by.nulls_first) {
                (false, true) => " NULLS FIRST",
                (true, false) => " NULLS LAST",
                _ => "",
            };
            let descending = if by.descending { " DESC" } else { "" };
            format!("{}{descending}{nulls}", schema.field(by.column).name())
        })
        .collect();
    if !order.is_empty() {
        text.push_str(&format!(" order by {}", order.join(", ")));
    }
    text
}

fn columns(places: &[usize], schema: &SchemaRef) -> String {
    places.iter().map(|place| schema.field(*place).name().as_str()).collect::<Vec<_>>().join(", ")
}

/// An aggregate over what its input computes.
fn call(call: &Call, input: &Plan) -> String {
    let column = |place: usize| match &input.op {
        Op::Map { input, project, .. } => expression(&project[place], &input.schema),
        _ => input.schema.field(place).name().clone(),
    };
    let argument = call.argument.map_or_else(|| "*".to_string(), column);
    let argument = match call.function {
        Function::ApproxPercentile(fraction) => format!("{argument}, {}", f64::from_bits(fraction)),
        _ => argument,
    };
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let filter = call.filter.map_or_else(String::new, |filter| format!(" FILTER (WHERE {})", column(filter)));
    format!("{}({distinct}{argument}){filter}", call.function.name())
}

/// The lines of `EXPLAIN` of a query.
pub fn explain_query(bound: &Bound) -> Vec<String> {
    readable(bound.plan.clone()).display_indent().to_string().lines().map(str::to_string).collect()
}
