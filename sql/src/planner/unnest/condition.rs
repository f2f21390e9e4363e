//! Conditions: which side of a join an expression is over, and equalities between the two sides.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinConstraint, NullEquality, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{BinaryExpr, Case, Expr, ExprSchemable, Join, JoinType, LogicalPlan, Operator};
use thalweg_dataflow::Result;
use thalweg_dataflow::types::PgType;

use super::{Unnester, filtered};
use crate::planner::typed::literal;

/// Two expressions, one a side of a join, that must be equal.
pub(super) struct Pair {
    pub(super) left: Expr,
    pub(super) right: Expr,
    /// Whether a null equals a null.
    pub(super) null_safe: bool,
}

/// Whether the schema has exactly this column.
pub(super) fn has(schema: &DFSchema, column: &Column) -> bool {
    schema.iter().any(|(relation, field)| relation == column.relation.as_ref() && *field.name() == column.name)
}

/// Whether an expression reads columns, and all of this schema.
fn is_over(expr: &Expr, schema: &DFSchema) -> bool {
    let mut any = false;
    let mut all = true;
    let read = expr.apply(|inner| {
        if let Expr::Column(column) = inner {
            any = true;
            all &= has(schema, column);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    read.is_ok() && any && all
}

/// `a = b` or `a IS NOT DISTINCT FROM b`: the operands and whether a null equals a null.
pub(super) fn equality(condition: &Expr) -> Option<(&Expr, &Expr, bool)> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => Some((left, right, false)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::IsNotDistinctFrom, right }) => Some((left, right, true)),
        _ => None,
    }
}

/// The condition that two expressions are equal.
pub(super) fn equal(left: Expr, right: Expr, null_safe: bool) -> Expr {
    let op = if null_safe { Operator::IsNotDistinctFrom } else { Operator::Eq };
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}

/// An equality between the two sides.
pub(super) fn across(condition: &Expr, left: &LogicalPlan, right: &LogicalPlan) -> Option<Pair> {
    let (one, other, null_safe) = equality(condition)?;
    if is_over(one, left.schema()) && is_over(other, right.schema()) {
        Some(Pair { left: one.clone(), right: other.clone(), null_safe })
    } else if is_over(one, right.schema()) && is_over(other, left.schema()) {
        Some(Pair { left: other.clone(), right: one.clone(), null_safe })
    } else {
        None
    }
}

/// The value, or another where it is null.
fn or(value: Expr, other: Expr) -> Expr {
    let present = Box::new(value.clone().is_not_null());
    Expr::Case(Case { expr: None, when_then_expr: vec![(present, Box::new(value))], else_expr: Some(Box::new(other)) })
}

impl Unnester<'_> {
    /// A join. Equalities in the filter become pairs.
    pub(super) fn joined(
        &self,
        left: LogicalPlan,
        right: LogicalPlan,
        kind: JoinType,
        mut pairs: Vec<Pair>,
        filter: Option<Expr>,
    ) -> Result<LogicalPlan> {
        if kind == JoinType::Inner && pairs.is_empty() && (is_one_row(&left) || is_one_row(&right)) {
            return filtered(if is_one_row(&left) { right } else { left }, filter);
        }
        let mut rest = Vec::new();
        for condition in filter.map(split_conjunction_owned).unwrap_or_default() {
            match across(&condition, &left, &right) {
                Some(pair) => pairs.push(pair),
                None => rest.push(condition),
            }
        }
        let mut on = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let nullable = pair.left.nullable(left.schema())? || pair.right.nullable(right.schema())?;
            if !(pair.null_safe && nullable) {
                on.push((pair.left, pair.right));
            } else if self.view {
                rest.push(equal(pair.left, pair.right, true));
            } else {
                on.extend(plain_pairs(pair, &left)?);
            }
        }
        let filter = rest.into_iter().reduce(Expr::and);
        let (left, right, null_equality) = (left.into(), right.into(), NullEquality::NullEqualsNothing);
        let join = Join::try_new(left, right, on, filter, kind, JoinConstraint::On, null_equality, false)?;
        Ok(LogicalPlan::Join(join))
    }

    /// All rows of both.
    pub(super) fn crossed(&self, left: LogicalPlan, right: LogicalPlan) -> Result<LogicalPlan> {
        self.joined(left, right, JoinType::Inner, Vec::new(), None)
    }
}

/// Whether a plan is one row without columns: what is joined with it stays as it is.
pub(super) fn is_one_row(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::EmptyRelation(empty) if empty.produce_one_row && empty.schema.fields().is_empty())
}

/// A pair of which a null equals a null as two of which it does not: whether they are null, and
/// what they are otherwise. DataFusion 55 mixes up the null equalities of neighbouring joins, and
/// that of a join with the equalities it finds in filters; the engine has no need of this.
fn plain_pairs(pair: Pair, left: &LogicalPlan) -> Result<[(Expr, Expr); 2]> {
    let (_, field) = pair.left.to_field(left.schema())?;
    let zero = literal(ScalarValue::new_default(field.data_type())?, &PgType::of(&field));
    let nulls = (pair.left.clone().is_null(), pair.right.clone().is_null());
    Ok([nulls, (or(pair.left, zero.clone()), or(pair.right, zero))])
}
