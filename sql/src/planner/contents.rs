//! What an expression holds besides a computation over its row.

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Placeholder;

use super::functions::sleep::waits;

/// Which of the parameters a placeholder stands for, from 0.
pub(crate) fn parameter_place(placeholder: &Placeholder) -> usize {
    placeholder.id.trim_start_matches('$').parse::<usize>().unwrap_or(0).wrapping_sub(1)
}

/// Whether this, not what stands in it, is a subquery.
pub(crate) fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
}

/// Whether an expression needs nothing but its row, and no time.
pub(crate) fn is_over_one_row(expr: &Expr) -> bool {
    let needs_more = |inner: &Expr| {
        is_subquery(inner)
            || waits(inner)
            || matches!(inner, Expr::OuterReferenceColumn(..) | Expr::AggregateFunction(_) | Expr::WindowFunction(_))
    };
    expr.exists(|inner| Ok(needs_more(inner))).is_ok_and(|found| !found)
}
