//! EXPLAIN: a view's dataflow and a query's plan as trees of text.

use thalweg_dataflow::plan::{Op, Plan, RelationId};

use super::Bound;

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
    let columns = |places: &[usize], schema: &arrow::datatypes::SchemaRef| {
        places.iter().map(|place| schema.field(*place).name().as_str()).collect::<Vec<_>>().join(", ")
    };
    let text = match &plan.op {
        Op::Source { relation, .. } => {
            let all: Vec<usize> = (0..plan.schema.fields().len()).collect();
            format!("Source {} ({})", name(*relation), columns(&all, &plan.schema))
        }
        Op::View { relation } => format!("View {}", name(*relation)),
        Op::Map { filters, project, .. } => {
            let mut text = "Map".to_string();
            if !filters.is_empty() {
                let filters: Vec<String> = filters.iter().map(|filter| filter.to_string()).collect();
                text.push_str(&format!(" where {}", filters.join(" and ")));
            }
            let outputs: Vec<String> = project.iter().map(|expr| expr.to_string()).collect();
            format!("{text} -> {}", outputs.join(", "))
        }
        Op::Union { .. } => "Union all".to_string(),
        Op::Reduce { input, keys, calls } => {
            let mut text = match (keys.is_empty(), calls.is_empty()) {
                (false, true) => format!("Distinct {}", columns(keys, &input.schema)),
                (false, false) => format!("Reduce by {}", columns(keys, &input.schema)),
                (true, _) => "Reduce".to_string(),
            };
            for (place, call) in calls.iter().enumerate() {
                let field = |place: usize| input.schema.field(place).name().clone();
                let argument = call.argument.map_or_else(|| "*".to_string(), field);
                let distinct = if call.distinct { "DISTINCT " } else { "" };
                text.push_str(if place == 0 { ": " } else { ", " });
                text.push_str(&format!("{}({distinct}{argument})", call.function.name()));
                if let Some(filter) = call.filter {
                    text.push_str(&format!(" filter {}", field(filter)));
                }
            }
            text
        }
    };
    let mark = if shared(plan) { " [shared]" } else { "" };
    let arrow = if depth == 0 { String::new() } else { format!("{}-> ", "  ".repeat(2 * depth - 1)) };
    lines.push(format!("{arrow}{text}{mark}"));
    for input in plan.inputs() {
        describe(input, depth + 1, name, shared, lines);
    }
}

/// The lines of `EXPLAIN` of a query.
pub fn explain_query(bound: &Bound) -> Vec<String> {
    bound.plan.display_indent().to_string().lines().map(str::to_string).collect()
}
