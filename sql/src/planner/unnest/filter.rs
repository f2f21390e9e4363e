//! Subqueries where rows are filtered: EXISTS and IN become semi and anti joins.

use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, Filter, JoinType, LogicalPlan};
use thalweg_dataflow::Result;

use super::domain::Domain;
use super::membership::{Nulls, row_values};
use super::peel::Test;
use super::rows::exactly_one;
use super::value::Attached;
use super::{Unnester, filtered, is_nested, select};

impl Unnester<'_> {
    /// WHERE and HAVING.
    pub(super) fn filter(&self, filter: Filter) -> Result<LogicalPlan> {
        let columns = filter.input.schema().columns();
        let (mut plain, mut nested) = (Vec::new(), Vec::new());
        for condition in split_conjunction_owned(filter.predicate) {
            if is_nested(&condition)? { nested.push(condition) } else { plain.push(condition) }
        }
        let mut plan = filtered((*filter.input).clone(), plain)?;
        let mut values = Vec::new();
        for condition in nested {
            match self.decided(plan, condition)? {
                (joined, None) => plan = joined,
                (same, Some(condition)) => {
                    plan = same;
                    values.push(condition);
                }
            }
        }
        if values.is_empty() {
            return Ok(plan);
        }
        let mut attached = Attached::new(plan);
        let values = self.attach(&mut attached, values)?;
        select(filtered(attached.plan, values)?, columns)
    }

    /// The rows that meet one condition, or the condition back if it wants values.
    fn decided(&self, plan: LogicalPlan, condition: Expr) -> Result<(LogicalPlan, Option<Expr>)> {
        match positive(condition) {
            Expr::Exists(exists) => self.exists_join(plan, exists),
            Expr::InSubquery(test) if !is_nested(&test.expr)? => self.in_join(plan, test),
            other => Ok((plan, Some(other))),
        }
    }

    fn exists_join(&self, plan: LogicalPlan, exists: Exists) -> Result<(LogicalPlan, Option<Expr>)> {
        let query = self.inside(&exists.subquery)?;
        let domain = Domain::of(&query, &plan)?;
        if domain.is_empty() || exactly_one(&query) {
            // Without its own subqueries, which would be gone through once more at each level.
            let subquery = exists.subquery.with_plan(query.into());
            return Ok((plan, Some(Expr::Exists(Exists { subquery, ..exists }))));
        }
        let rows = self.peeled(&query, Vec::new(), &domain)?;
        let kind = if exists.negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
        Ok((self.met(plan, rows, kind)?, None))
    }

    fn in_join(&self, plan: LogicalPlan, test: InSubquery) -> Result<(LogicalPlan, Option<Expr>)> {
        let query = self.inside(&test.subquery)?;
        let columns = query.schema().columns();
        let outer = row_values(&test.expr);
        let single = outer.len() == 1;
        let tests = outer.into_iter().zip(columns).map(|(outer, column)| Test {
            outer,
            inner: Expr::Column(column),
            unless_false: test.negated && !single,
        });
        let domain = Domain::of(&query, &plan)?;
        let rows = self.peeled(&query, tests.collect(), &domain)?;
        if !test.negated {
            return Ok((self.met(plan, rows, JoinType::LeftSemi)?, None));
        }
        let columns = plan.schema().columns();
        // Nulls first: their join is with few rows, and what follows it may be any join.
        let plan = match single {
            true => {
                let mut attached = Attached::new(plan.clone());
                let nulls = self.nulls(&mut attached, &query, &domain)?;
                select(filtered(attached.plan, [excludable(nulls, &test.expr)])?, columns)?
            }
            false => plan.clone(),
        };
        Ok((self.met(plan, rows, JoinType::LeftAnti)?, None))
    }
}

/// Whether `value NOT IN` can be true: there are no rows, or neither the value nor any of them is
/// null.
fn excludable(nulls: Nulls, value: &Expr) -> Expr {
    let any = Expr::Column(nulls.column);
    any.clone().is_null().or(any.is_false().and(value.clone().is_not_null()))
}

/// NOT before EXISTS and IN drawn into them.
fn positive(condition: Expr) -> Expr {
    match condition {
        Expr::Not(inner) => match positive(*inner) {
            Expr::Exists(exists) => Expr::Exists(Exists { negated: !exists.negated, ..exists }),
            Expr::InSubquery(test) => Expr::InSubquery(InSubquery { negated: !test.negated, ..test }),
            other => Expr::Not(Box::new(other)),
        },
        other => other,
    }
}
