//! The rows that a semi or anti join looks among: a subquery less what stands at its top.
//!
//! Whether a subquery has a row does not depend on how its rows are projected, sorted or made
//! distinct, and its conditions may as well be the join's. Taken off only as far down as the outer
//! side is named.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};
use datafusion::prelude::lit;
use thalweg_dataflow::Result;

use super::condition::{Pair, equality};
use super::domain::Domain;
use super::value::bare;
use super::{Unnester, filtered, named, project};

/// A subquery as the right side of a join.
pub(super) struct Peeled {
    plan: LogicalPlan,
    pairs: Vec<Pair>,
    conditions: Vec<Expr>,
}

impl Unnester<'_> {
    /// The rows of `query` as the right side of a join with the outer side, on which these tests
    /// hold: comparisons of the outer side's expressions (on the left) with the query's columns.
    pub(super) fn peeled(&self, query: &LogicalPlan, tests: Vec<Test>, domain: &Domain<'_>) -> Result<Peeled> {
        let mut conditions = Vec::new();
        let mut values: Vec<Expr> = tests.iter().map(|test| test.inner.clone()).collect();
        let base = strip(query, domain, &mut conditions, &mut values)?;
        let (mut plain, mut open) = (Vec::new(), Vec::new());
        for condition in conditions {
            if domain.concerns(&condition)? { open.push(condition) } else { plain.push(condition) }
        }
        let mut part = self.completed(self.push(&base, domain)?, domain)?;
        part.plan = filtered(part.plan, plain)?;
        let mut narrow = Narrow { unnester: self, exprs: Vec::new() };
        let mut pairs = Vec::new();
        for key in &part.keys {
            let right = narrow.column(Expr::Column(key.column.clone()));
            pairs.push(Pair { left: key.outer.clone(), right, null_safe: key.null_safe });
        }
        let mut rest = Vec::new();
        for (test, value) in tests.into_iter().zip(values) {
            if domain.concerns(&value)? {
                let equal = test.outer.eq(domain_side(value, domain, &mut narrow)?);
                rest.push(if test.unless_false { equal.is_not_false() } else { equal });
            } else if test.unless_false {
                rest.push(test.outer.eq(narrow.column(value)).is_not_false());
            } else {
                pairs.push(Pair { left: test.outer, right: narrow.column(value), null_safe: false });
            }
        }
        for condition in open {
            match sides(&condition, domain)? {
                Some((outer, inner, null_safe)) => {
                    pairs.push(Pair { left: domain.own(outer)?, right: narrow.column(inner), null_safe })
                }
                None => rest.push(domain_side(condition, domain, &mut narrow)?),
            }
        }
        if narrow.exprs.is_empty() {
            narrow.column(lit(true));
        }
        let plan = project(part.plan, narrow.exprs)?;
        Ok(Peeled { plan, pairs, conditions: rest })
    }

    /// The rows of the outer side that meet one of these rows, or none.
    pub(super) fn met(&self, outer: LogicalPlan, rows: Peeled, kind: JoinType) -> Result<LogicalPlan> {
        self.joined(outer, rows.plan, kind, rows.pairs, rows.conditions.into_iter().reduce(Expr::and))
    }
}

/// `outer = inner`.
pub(super) struct Test {
    /// Over the outer side.
    pub(super) outer: Expr,
    /// Over the subquery's columns.
    pub(super) inner: Expr,
    /// Whether a null will do as well.
    pub(super) unless_false: bool,
}

/// The few columns of the right side that are needed, under names of their own.
struct Narrow<'a, 'b> {
    unnester: &'a Unnester<'b>,
    exprs: Vec<Expr>,
}

impl Narrow<'_, '_> {
    fn column(&mut self, expr: Expr) -> Expr {
        for known in &self.exprs {
            if let Expr::Alias(alias) = known
                && *alias.expr == expr
            {
                return Expr::Column(Column::new(alias.relation.clone(), alias.name.clone()));
            }
        }
        let name = self.unnester.fresh("inner");
        self.exprs.push(named(expr, &name));
        Expr::Column(name)
    }
}

/// A condition as the join reads it: outer columns as the left side's, inner ones renamed.
fn domain_side(condition: Expr, domain: &Domain<'_>, narrow: &mut Narrow<'_, '_>) -> Result<Expr> {
    let inner = condition.transform(|inner| match inner {
        Expr::Column(_) => Ok(Transformed::yes(narrow.column(inner))),
        other => Ok(Transformed::no(other)),
    })?;
    domain.own(inner.data)
}

/// An equality between the outer side and inner columns.
fn sides(condition: &Expr, domain: &Domain<'_>) -> Result<Option<(Expr, Expr, bool)>> {
    let Some((left, right, null_safe)) = equality(condition) else { return Ok(None) };
    for (outer, inner) in [(left, right), (right, left)] {
        if domain.concerns(outer)?
            && outer.column_refs().is_empty()
            && !domain.concerns(inner)?
            && !inner.column_refs().is_empty()
        {
            return Ok(Some((outer.clone(), inner.clone(), null_safe)));
        }
    }
    Ok(None)
}

/// Takes off what the module says. Conditions and values become ones over the columns of what is
/// left.
fn strip(
    plan: &LogicalPlan,
    domain: &Domain<'_>,
    conditions: &mut Vec<Expr>,
    values: &mut [Expr],
) -> Result<LogicalPlan> {
    if !domain.concerns_plan(plan)? {
        return Ok(plan.clone());
    }
    match plan {
        LogicalPlan::Filter(filter) => {
            conditions.extend(split_conjunction_owned(filter.predicate.clone()));
            strip(&filter.input, domain, conditions, values)
        }
        LogicalPlan::Projection(projection) => {
            let columns: Vec<(Column, Expr)> =
                projection.schema.columns().into_iter().zip(projection.expr.iter().cloned().map(bare)).collect();
            replace_all(conditions, values, &columns)?;
            strip(&projection.input, domain, conditions, values)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let below = alias.input.schema().columns().into_iter().map(Expr::Column);
            let columns: Vec<(Column, Expr)> = alias.schema.columns().into_iter().zip(below).collect();
            replace_all(conditions, values, &columns)?;
            strip(&alias.input, domain, conditions, values)
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => strip(&sort.input, domain, conditions, values),
        LogicalPlan::Distinct(Distinct::All(input)) => strip(input, domain, conditions, values),
        other => Ok(other.clone()),
    }
}

fn replace_all(conditions: &mut [Expr], values: &mut [Expr], columns: &[(Column, Expr)]) -> Result<()> {
    for expr in conditions.iter_mut().chain(values) {
        let replaced = expr.clone().transform(|inner| match &inner {
            Expr::Column(column) => match columns.iter().find(|(known, _)| known == column) {
                Some((_, expr)) => {
                    Ok(Transformed::new(expr.clone(), true, datafusion::common::tree_node::TreeNodeRecursion::Jump))
                }
                None => Ok(Transformed::no(inner)),
            },
            _ => Ok(Transformed::no(inner)),
        })?;
        *expr = replaced.data;
    }
    Ok(())
}
