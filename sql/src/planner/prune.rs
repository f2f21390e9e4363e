//! Cutting the columns that nobody reads, from a view's output down to its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use thalweg_dataflow::plan::{Call, Op, Plan};
use thalweg_dataflow::{Error, Result};

use super::lower::{columns_of, map};

/// Where a kept column went.
type Places = BTreeMap<usize, usize>;

/// The same plan, reading only what its output needs.
pub(crate) fn prune(plan: Plan) -> Result<Plan> {
    let all = (0..plan.schema.fields().len()).collect();
    let (plan, places) = keep(plan, &all)?;
    if places.iter().any(|(old, new)| old != new) || places.len() != plan.schema.fields().len() {
        return Err(Error::internal("pruning moved an output column"));
    }
    Ok(plan)
}

/// The plan with at least the wanted columns, in their order, and where each went.
fn keep(plan: Plan, wanted: &BTreeSet<usize>) -> Result<(Plan, Places)> {
    let schema = plan.schema;
    match plan.op {
        Op::Source { relation, columns } => {
            let kept: Vec<usize> = wanted.iter().copied().collect();
            let columns = kept.iter().map(|place| columns[*place]).collect();
            let schema = select(&schema, &kept);
            Ok((Plan { op: Op::Source { relation, columns }, schema }, places(&kept)))
        }
        Op::View { relation } => {
            let kept: Vec<usize> = (0..schema.fields().len()).collect();
            Ok((Plan { op: Op::View { relation }, schema }, places(&kept)))
        }
        Op::Map { input, filters, project } => {
            let kept: Vec<usize> = wanted.iter().copied().collect();
            let project: Vec<_> = kept.iter().map(|place| project[*place].clone()).collect();
            let mut below = BTreeSet::new();
            for expr in filters.iter().chain(&project) {
                columns_of(expr, &mut |place| {
                    below.insert(place);
                });
            }
            let (input, moved) = keep(*input, &below)?;
            let filters = filters.into_iter().map(|expr| relocate(expr, &moved)).collect::<Result<_>>()?;
            let project = project.into_iter().map(|expr| relocate(expr, &moved)).collect::<Result<_>>()?;
            let schema = select(&schema, &kept);
            Ok((map(input, filters, project, schema), places(&kept)))
        }
        Op::Union { inputs } => {
            let kept: Vec<usize> = wanted.iter().copied().collect();
            let schema = select(&schema, &kept);
            let inputs = inputs.into_iter().map(|input| exactly(input, wanted)).collect::<Result<_>>()?;
            Ok((Plan { op: Op::Union { inputs }, schema }, places(&kept)))
        }
        Op::Reduce { input, keys, calls } => reduce(*input, keys, calls, &schema, wanted),
    }
}

fn reduce(
    input: Plan,
    keys: Vec<usize>,
    calls: Vec<Call>,
    schema: &SchemaRef,
    wanted: &BTreeSet<usize>,
) -> Result<(Plan, Places)> {
    let mut kept: Vec<usize> = (0..keys.len()).collect();
    kept.extend(wanted.iter().copied().filter(|place| *place >= keys.len()));
    if kept.is_empty() && !calls.is_empty() {
        // A group without keys and calls would be nothing at all.
        kept.push(0);
    }
    let calls: Vec<Call> =
        kept.iter().filter(|place| **place >= keys.len()).map(|place| calls[place - keys.len()].clone()).collect();
    let mut below: BTreeSet<usize> = keys.iter().copied().collect();
    below.extend(calls.iter().flat_map(|call| call.argument.into_iter().chain(call.filter)));
    let (input, moved) = keep(input, &below)?;
    let place = |old: usize| moved.get(&old).copied().ok_or_else(|| Error::internal("pruning lost a column"));
    let keys = keys.into_iter().map(place).collect::<Result<_>>()?;
    let calls = calls
        .into_iter()
        .map(|call| {
            Ok(Call {
                argument: call.argument.map(place).transpose()?,
                filter: call.filter.map(place).transpose()?,
                ..call
            })
        })
        .collect::<Result<_>>()?;
    let schema = select(schema, &kept);
    Ok((Plan { op: Op::Reduce { input: Box::new(input), keys, calls }, schema }, places(&kept)))
}

/// The plan with the wanted columns and no others.
fn exactly(plan: Plan, wanted: &BTreeSet<usize>) -> Result<Plan> {
    let (plan, moved) = keep(plan, wanted)?;
    if plan.schema.fields().len() == wanted.len() {
        return Ok(plan);
    }
    let mut project: Vec<Arc<dyn PhysicalExpr>> = Vec::with_capacity(wanted.len());
    let mut kept = Vec::with_capacity(wanted.len());
    for old in wanted {
        let new = moved.get(old).copied().ok_or_else(|| Error::internal("pruning lost a column"))?;
        project.push(Arc::new(Column::new(plan.schema.field(new).name(), new)));
        kept.push(new);
    }
    let schema = select(&plan.schema, &kept);
    Ok(map(plan, Vec::new(), project, schema))
}

fn select(schema: &SchemaRef, kept: &[usize]) -> SchemaRef {
    Arc::new(Schema::new(kept.iter().map(|place| schema.field(*place).clone()).collect::<Vec<_>>()))
}

fn places(kept: &[usize]) -> Places {
    kept.iter().enumerate().map(|(new, old)| (*old, new)).collect()
}

fn relocate(expr: Arc<dyn PhysicalExpr>, moved: &Places) -> Result<Arc<dyn PhysicalExpr>> {
    let relocated = expr.transform_up(|node| match node.downcast_ref::<Column>() {
        Some(column) => match moved.get(&column.index()) {
            Some(new) => Ok(Transformed::yes(Arc::new(Column::new(column.name(), *new)) as Arc<dyn PhysicalExpr>)),
            None => Ok(Transformed::no(node)),
        },
        None => Ok(Transformed::no(node)),
    })?;
    Ok(relocated.data)
}
