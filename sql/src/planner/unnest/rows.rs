//! How many rows a query can have.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Distinct, Expr, JoinType, Limit, LogicalPlan};

/// What is known of a query's number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    One,
    AtMostOne,
    Any,
}

impl Rows {
    /// Of a query as it was bound: what becomes of it tells less.
    pub(super) fn of(plan: &LogicalPlan) -> Rows {
        match (exactly_one(plan), at_most_one(plan)) {
            (true, _) => Rows::One,
            (false, true) => Rows::AtMostOne,
            (false, false) => Rows::Any,
        }
    }
}

/// Whether it never has two.
fn at_most_one(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => plan.inputs().into_iter().all(at_most_one),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty() || at_most_one(&aggregate.input),
        LogicalPlan::Limit(limit) => {
            matches!(count(&limit.fetch), Some(fetch) if fetch <= 1) || at_most_one(&limit.input)
        }
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => at_most_one(&join.left),
            JoinType::Full => false,
            _ => at_most_one(&join.left) && at_most_one(&join.right),
        },
        _ => false,
    }
}

/// Whether it always has one.
pub(super) fn exactly_one(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Sort(_) | LogicalPlan::Window(_) => {
            plan.inputs().into_iter().all(exactly_one)
        }
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Limit(limit) => keeps_one(limit) && exactly_one(&limit.input),
        _ => false,
    }
}

/// Whether this LIMIT leaves one row as it is.
pub(super) fn keeps_one(limit: &Limit) -> bool {
    let skips = limit.skip.is_some() && count(&limit.skip) != Some(0);
    let fetches = limit.fetch.is_none() || matches!(count(&limit.fetch), Some(fetch) if fetch >= 1);
    !skips && fetches
}

fn count(expr: &Option<Box<Expr>>) -> Option<i64> {
    match expr.as_deref() {
        Some(Expr::Literal(ScalarValue::Int64(count), _)) => *count,
        _ => None,
    }
}
