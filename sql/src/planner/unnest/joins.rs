//! Joins whose condition holds subqueries, and joins whose right side names their left one: LATERAL.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema, NullEquality};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Distinct, Expr, Join, JoinType, LogicalPlan};
use datafusion::prelude::lit;
use thalweg_dataflow::{Error, Result, SqlState};

use super::condition::{Pair, across, has, is_one_row};
use super::domain::{Domain, each_outer_column, outer_columns};
use super::part::Part;
use super::value::{Attached, bare, without_from};
use super::{Unnester, extend, filtered, is_nested, named, project, select};
use crate::planner::expand::Expand;

impl Unnester<'_> {
    /// A join whose inputs hold no subqueries.
    pub(super) fn join(&self, node: Join) -> Result<LogicalPlan> {
        let domain = Domain::of(&node.right, &node.left)?;
        if !domain.is_empty() {
            let node = self.lateral(&node, &domain)?;
            return Ok(node);
        }
        let (mut nested, mut null_safe) = (false, false);
        for condition in split_conjunction_owned(node.filter.clone().unwrap_or_else(|| lit(true))) {
            nested |= is_nested(&condition)?;
            null_safe |= across(&condition, &node.left, &node.right).is_some_and(|pair| pair.null_safe);
        }
        if nested {
            return self.condition(node);
        }
        if null_safe && node.on.is_empty() {
            return self.joined((*node.left).clone(), (*node.right).clone(), node.join_type, Vec::new(), node.filter);
        }
        Ok(LogicalPlan::Join(node))
    }

    /// `left JOIN LATERAL right`.
    fn lateral(&self, node: &Join, domain: &Domain<'_>) -> Result<LogicalPlan> {
        if !matches!(node.join_type, JoinType::Inner | JoinType::Left) {
            let mut tables = Vec::new();
            each_outer_column(&node.right, &mut |column| {
                if has(node.left.schema(), column) {
                    tables.extend(column.relation.as_ref().map(|relation| relation.table().to_string()));
                }
            })?;
            let table = tables.into_iter().next().unwrap_or_default();
            let message = format!("invalid reference to FROM-clause entry for table \"{table}\"");
            return Err(Error::new(SqlState::InvalidColumnReference, message)
                .detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference."));
        }
        if let LogicalPlan::SubqueryAlias(alias) = node.right.as_ref()
            && let Some(exprs) = without_from(&alias.input)
            && (node.join_type == JoinType::Inner || node.filter.is_none() || node.filter == Some(lit(true)))
            && node.on.is_empty()
        {
            let computed = exprs.iter().zip(alias.schema.columns());
            let computed = computed.map(|(expr, column)| Ok(named(domain.own(bare(expr.clone()))?, &column)));
            let plan = extend((*node.left).clone(), computed.collect::<Result<Vec<_>>>()?)?;
            return self.rewrite(filtered(plan, node.filter.clone())?);
        }
        if let LogicalPlan::SubqueryAlias(alias) = node.right.as_ref()
            && let Some(expand) = Expand::of(&alias.input)
            && is_one_row(&expand.input)
            && node.join_type == JoinType::Inner
            && node.on.is_empty()
        {
            let arguments = expand.arguments.iter().map(|argument| domain.own(bare(argument.clone())));
            let plan = expand.over((*node.left).clone(), arguments.collect::<Result<Vec<_>>>()?)?;
            let mut exprs: Vec<Expr> = node.left.schema().columns().into_iter().map(Expr::Column).collect();
            let own = expand.columns.iter().zip(alias.schema.columns());
            exprs.extend(own.map(|(column, over)| named(Expr::Column(column.clone()), &over)));
            return self.rewrite(filtered(project(plan, exprs)?, node.filter.clone())?);
        }
        let part = self.completed(self.push(&node.right, domain)?, domain)?;
        let part = Part { order: Vec::new(), ..part }.exact(node.right.schema().columns())?;
        let columns = node.schema.columns();
        let null_safe = node.null_equality == NullEquality::NullEqualsNull;
        let mut pairs = part.pairs();
        pairs.extend(node.on.iter().map(|(left, right)| Pair { left: left.clone(), right: right.clone(), null_safe }));
        let mut filter = node.filter.clone();
        let mut nested = false;
        if let Some(condition) = &filter {
            nested = is_nested(condition)?;
        }
        if let (true, JoinType::Left, Some(condition)) = (nested, node.join_type, &node.filter) {
            // The right side's rows are chosen where they are made.
            let condition = condition.clone().transform(|inner| match inner {
                Expr::Column(column) if has(node.left.schema(), &column) => {
                    let field = node.left.schema().field_from_column(&column)?.clone();
                    Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            let right = self.rewrite(filtered((*node.right).clone(), [condition.data])?)?;
            let node = Join { right: right.into(), filter: None, ..node.clone() };
            return self.lateral(&node, &Domain::of(&node.right, &node.left)?);
        }
        let above = if nested { filter.take() } else { None };
        let joined = self.joined((*node.left).clone(), part.plan, node.join_type, pairs, filter)?;
        let joined = select(joined, columns)?;
        match above {
            Some(condition) => self.rewrite(filtered(joined, [condition])?),
            None => Ok(joined),
        }
    }

    /// ON with subqueries.
    fn condition(&self, node: Join) -> Result<LogicalPlan> {
        let Some(condition) = node.filter.clone() else { return Ok(LogicalPlan::Join(node)) };
        let conditions = split_conjunction_owned(condition);
        let columns = node.schema.columns();
        let null_safe = node.null_equality == NullEquality::NullEqualsNull;
        let pairs: Vec<Pair> =
            node.on.iter().map(|(left, right)| Pair { left: left.clone(), right: right.clone(), null_safe }).collect();
        if node.join_type == JoinType::Inner {
            let (mut plain, mut nested) = (Vec::new(), Vec::new());
            for condition in conditions {
                if is_nested(&condition)? { nested.push(condition) } else { plain.push(condition) }
            }
            let plain = plain.into_iter().reduce(Expr::and);
            let joined = self.joined((*node.left).clone(), (*node.right).clone(), JoinType::Inner, pairs, plain)?;
            return self.rewrite(filtered(joined, nested)?);
        }
        let (mut left, mut right) = (Attached::new((*node.left).clone()), Attached::new((*node.right).clone()));
        let mut local = Vec::with_capacity(conditions.len());
        for condition in conditions {
            let (here, there) = sides(&condition, &node)?;
            if is_nested(&condition)? && here && there {
                return self.both_sides(&node, columns);
            }
            // What names neither side may as well be the right one's.
            let side = if here { &mut left } else { &mut right };
            local.extend(self.attach(side, vec![condition])?);
        }
        let filter = local.into_iter().reduce(Expr::and);
        select(self.joined(left.plan, right.plan, node.join_type, pairs, filter)?, columns)
    }

    /// An outer join on a subquery that names both sides: the rows that match are found by an inner
    /// join with the distinct rows of the outer join's own side, which then meets them.
    fn both_sides(&self, node: &Join, columns: Vec<Column>) -> Result<LogicalPlan> {
        let (own, other) = match node.join_type {
            JoinType::Left => (&node.left, &node.right),
            JoinType::Right => (&node.right, &node.left),
            _ => return Err(Error::unsupported("FULL JOIN on a subquery over both sides")),
        };
        let rows = LogicalPlan::Distinct(Distinct::All(own.clone()));
        let (first, second) = match node.join_type {
            JoinType::Left => (rows, (**other).clone()),
            _ => ((**other).clone(), rows),
        };
        let pairs = node.on.iter().map(|(left, right)| Pair {
            left: left.clone(),
            right: right.clone(),
            null_safe: node.null_equality == NullEquality::NullEqualsNull,
        });
        let crossed = self.joined(first, second, JoinType::Inner, pairs.collect(), None)?;
        let matches = self.rewrite(filtered(crossed, node.filter.clone())?)?;
        let mut exprs: Vec<Expr> = other.schema().columns().into_iter().map(Expr::Column).collect();
        let mut ties = Vec::new();
        for column in own.schema().columns() {
            let name = self.fresh("own");
            exprs.push(named(Expr::Column(column.clone()), &name));
            ties.push(Pair { left: Expr::Column(column), right: Expr::Column(name), null_safe: true });
        }
        let joined = self.joined((**own).clone(), project(matches, exprs)?, JoinType::Left, ties, None)?;
        select(joined, columns)
    }
}

/// Whether a condition, with its subqueries, names columns of the left side, and of the right one.
fn sides(condition: &Expr, node: &Join) -> Result<(bool, bool)> {
    let (mut left, mut right) = (false, false);
    let mut note = |column: &Column| {
        left |= has(node.left.schema(), column);
        right |= has(node.right.schema(), column);
    };
    condition.apply(|inner| {
        if let Expr::Column(column) = inner {
            note(column);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    outer_columns(condition, &mut note)?;
    Ok((left, right))
}
