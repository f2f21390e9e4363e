//! Cutting the columns that nobody reads, from a view's output down to its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use thalweg_dataflow::plan::{Call, JoinKind, On, Op, Plan, SortColumn};
use thalweg_dataflow::{Error, Result};

use super::join::side_by_side;
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
        op @ (Op::View { .. } | Op::Table { .. } | Op::Values { .. } | Op::Variable { .. }) => {
            let kept: Vec<usize> = (0..schema.fields().len()).collect();
            Ok((Plan { op, schema }, places(&kept)))
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
        Op::Join { left, right, kind, on } => join(*left, *right, kind, on, wanted),
        Op::TopK { input, keys, order, offset, limit } => {
            let mut below = wanted.clone();
            below.extend(keys.iter().copied().chain(order.iter().map(|by| by.column)));
            let input = Box::new(exactly(*input, &below)?);
            let moved = ranks(&below);
            let (keys, order) = (at(&keys, &moved)?, ordered(order, &moved)?);
            let schema = input.schema.clone();
            Ok((Plan { op: Op::TopK { input, keys, order, offset, limit }, schema }, moved))
        }
        Op::GroupApply { input, keys, order, passed, arguments, function } => {
            let (kept, passed) = passed_on(&schema, &passed, wanted);
            let mut below: BTreeSet<usize> = keys.iter().chain(&passed).chain(&arguments).copied().collect();
            below.extend(order.iter().map(|by| by.column));
            let input = Box::new(exactly(*input, &below)?);
            let moved = ranks(&below);
            let (keys, order) = (at(&keys, &moved)?, ordered(order, &moved)?);
            let (passed, arguments) = (at(&passed, &moved)?, at(&arguments, &moved)?);
            let op = Op::GroupApply { input, keys, order, passed, arguments, function };
            Ok((Plan { op, schema: select(&schema, &kept) }, places(&kept)))
        }
        Op::Expand { input, passed, arguments, function } => {
            let (kept, passed) = passed_on(&schema, &passed, wanted);
            let below = passed.iter().chain(&arguments).copied().collect();
            let (input, moved) = keep(*input, &below)?;
            let (passed, arguments) = (at(&passed, &moved)?, at(&arguments, &moved)?);
            let op = Op::Expand { input: Box::new(input), passed, arguments, function };
            Ok((Plan { op, schema: select(&schema, &kept) }, places(&kept)))
        }
        Op::Iterate { name, body, limit } => {
            // The body reads its own rows, whole.
            let all = (0..schema.fields().len()).collect();
            let body = Box::new(exactly(*body, &all)?);
            Ok((Plan { op: Op::Iterate { name, body, limit }, schema }, ranks(&all)))
        }
    }
}

/// Of an operator that passes columns on and puts its own behind them: the places that stay in its
/// output, and the columns still passed on.
fn passed_on(schema: &SchemaRef, passed: &[usize], wanted: &BTreeSet<usize>) -> (Vec<usize>, Vec<usize>) {
    let kept: Vec<usize> =
        (0..schema.fields().len()).filter(|place| *place >= passed.len() || wanted.contains(place)).collect();
    let passed = kept.iter().filter_map(|place| passed.get(*place)).copied().collect();
    (kept, passed)
}

fn join(left: Plan, right: Plan, kind: JoinKind, on: Vec<On>, wanted: &BTreeSet<usize>) -> Result<(Plan, Places)> {
    let narrow = matches!(kind, JoinKind::Semi | JoinKind::Anti);
    let width = left.schema.fields().len();
    let mut below: (BTreeSet<usize>, BTreeSet<usize>) = Default::default();
    for place in wanted {
        if *place < width {
            below.0.insert(*place);
        } else {
            below.1.insert(*place - width);
        }
    }
    for on in &on {
        below.0.insert(on.left);
        below.1.insert(on.right);
    }
    // Exactly these, so that no index keeps what nobody looks at.
    let (left, right) = (exactly(left, &below.0)?, exactly(right, &below.1)?);
    let (left_places, right_places) = (ranks(&below.0), ranks(&below.1));
    let lost = || Error::internal("pruning lost a key");
    let on = on
        .into_iter()
        .map(|on| {
            Ok(On {
                left: *left_places.get(&on.left).ok_or_else(lost)?,
                right: *right_places.get(&on.right).ok_or_else(lost)?,
                ..on
            })
        })
        .collect::<Result<_>>()?;
    let first = left.schema.fields().len();
    let mut moved = left_places;
    if !narrow {
        moved.extend(right_places.into_iter().map(|(old, new)| (old + width, new + first)));
    }
    let schema = if narrow { left.schema.clone() } else { side_by_side(&left.schema, &right.schema) };
    Ok((Plan { op: Op::Join { left: Box::new(left), right: Box::new(right), kind, on }, schema }, moved))
}

/// Places after a move.
fn at(columns: &[usize], moved: &Places) -> Result<Vec<usize>> {
    let place = |old: &usize| moved.get(old).copied().ok_or_else(|| Error::internal("pruning lost a column"));
    columns.iter().map(place).collect()
}

fn ordered(order: Vec<SortColumn>, moved: &Places) -> Result<Vec<SortColumn>> {
    let columns = at(&order.iter().map(|by| by.column).collect::<Vec<_>>(), moved)?;
    Ok(order.into_iter().zip(columns).map(|(by, column)| SortColumn { column, ..by }).collect())
}

fn ranks(kept: &BTreeSet<usize>) -> Places {
    kept.iter().enumerate().map(|(new, old)| (*old, new)).collect()
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
