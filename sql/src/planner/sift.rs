//! Conditions before set-returning functions: rows that a WHERE leaves out are never expanded.
//!
//! `FROM docs, jsonb_array_elements(doc) WHERE jsonb_typeof(doc) = 'array'` would fail on a document that is no
//! array; PostgreSQL looks at the condition first, since it names nothing of the function. Moves conditions
//! only where there is such a function to move them below; all else is left to optimisers.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchemaRef};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Filter, JoinType, LogicalPlan};
use thalweg_dataflow::Result;

use super::expand::Expand;

/// The plan with conditions as early as that.
pub(super) fn sifted(plan: LogicalPlan) -> Result<LogicalPlan> {
    let sifted = plan.transform_down(|node| {
        let LogicalPlan::Filter(filter) = &node else { return Ok(Transformed::no(node)) };
        let mut input = filter.input.as_ref().clone();
        let mut kept = Vec::new();
        for condition in split_conjunction(&filter.predicate) {
            match below(&input, condition)? {
                Some(sifted) => input = sifted,
                None => kept.push(condition.clone()),
            }
        }
        Ok(match conjunction(kept) {
            Some(rest) if rest == filter.predicate => Transformed::no(node),
            Some(rest) => Transformed::yes(LogicalPlan::Filter(Filter::try_new(rest, input.into())?)),
            None => Transformed::yes(input),
        })
    });
    Ok(sifted?.data)
}

/// The plan with a condition over its columns below the functions that are in it; `None`: it names what they
/// give, or there are none.
fn below(plan: &LogicalPlan, condition: &Expr) -> datafusion::error::Result<Option<LogicalPlan>> {
    if condition.is_volatile() {
        return Ok(None);
    }
    let through = |inner: Option<Expr>, place: usize| -> datafusion::error::Result<Option<LogicalPlan>> {
        let Some(inner) = inner else { return Ok(None) };
        let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
        let Some(sifted) = below(&inputs[place], &inner)? else { return Ok(None) };
        inputs[place] = sifted;
        plan.with_new_exprs(plan.expressions(), inputs).map(Some)
    };
    match plan {
        LogicalPlan::Filter(_) => through(Some(condition.clone()), 0),
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = alias.input.schema().columns();
            through(renamed(condition, &alias.schema, |place| inner.get(place).cloned())?, 0)
        }
        LogicalPlan::Projection(projection) => {
            let plain = |place: usize| match projection.expr.get(place).map(|expr| expr.clone().unalias()) {
                Some(Expr::Column(column)) => Some(column),
                _ => None,
            };
            through(renamed(condition, &projection.schema, plain)?, 0)
        }
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner | JoinType::Left if reads_only(condition, join.left.schema()) => {
                through(Some(condition.clone()), 0)
            }
            JoinType::Inner | JoinType::Right if reads_only(condition, join.right.schema()) => {
                through(Some(condition.clone()), 1)
            }
            _ => Ok(None),
        },
        other => match Expand::of(other) {
            Some(node) if reads_only(condition, node.input.schema()) => {
                let input = match below(&node.input, condition)? {
                    Some(sifted) => sifted,
                    None => LogicalPlan::Filter(Filter::try_new(condition.clone(), node.input.clone().into())?),
                };
                node.over(input, node.arguments.clone()).map(Some)
            }
            _ => Ok(None),
        },
    }
}

fn reads_only(condition: &Expr, schema: &DFSchemaRef) -> bool {
    condition.column_refs().into_iter().all(|column| schema.has_column(column))
}

/// The condition over other columns: `inner` gives the one for each place of the schema.
fn renamed(
    condition: &Expr,
    schema: &DFSchemaRef,
    inner: impl Fn(usize) -> Option<Column>,
) -> datafusion::error::Result<Option<Expr>> {
    let mut all = true;
    let renamed = condition.clone().transform(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        match schema.maybe_index_of_column(column).and_then(&inner) {
            Some(column) => Ok(Transformed::yes(Expr::Column(column))),
            None => {
                all = false;
                Ok(Transformed::no(expr))
            }
        }
    });
    Ok(renamed.map(|renamed| renamed.data).ok().filter(|_| all))
}
