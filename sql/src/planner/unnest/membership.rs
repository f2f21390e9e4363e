//! IN, ANY and ALL where their truth is wanted as a value: true, false or null.

use datafusion::common::{Column, ScalarValue};
use datafusion::functions_aggregate::bool_and_or::{bool_and_udaf, bool_or_udaf};
use datafusion::logical_expr::expr::{InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Aggregate, BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::prelude::lit;
use thalweg_dataflow::Result;

use super::condition::has;
use super::domain::Domain;
use super::part::{Key, Part};
use super::rows::Rows;
use super::value::{Attached, distinct};
use super::{ROW, Unnester, aggregate_call, named, project};

/// The column that tells of a query's only column whether it has nulls: null if there are no rows.
pub(super) struct Nulls {
    pub(super) column: Column,
}

/// The values before IN: several if it is a row.
pub(super) fn row_values(expr: &Expr) -> Vec<Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == ROW => call.args.clone(),
        other => vec![other.clone()],
    }
}

impl Unnester<'_> {
    /// `value [NOT] IN (query)`.
    pub(super) fn is_member(&self, attached: &mut Attached, test: &InSubquery) -> Result<Expr> {
        let query = self.inside(&test.subquery)?;
        let values = row_values(&test.expr);
        let columns = query.schema().columns();
        let member = match (values.as_slice(), columns.as_slice()) {
            ([value], [column]) => self.one_member(attached, value, query, column)?,
            _ => {
                let equal = values.into_iter().zip(columns);
                let equal = equal.map(|(value, column)| Ok((value, Operator::Eq, Expr::Column(column))));
                let tests = equal.collect::<Result<Vec<_>>>()?;
                self.compared(attached, query, tests, SetQuantifier::Any)?
            }
        };
        Ok(if test.negated { Expr::Not(Box::new(member)) } else { member })
    }

    fn one_member(&self, attached: &mut Attached, value: &Expr, query: LogicalPlan, column: &Column) -> Result<Expr> {
        let outer = attached.outer(&query)?;
        let domain = Domain::of(&query, &outer)?;
        let part = self.completed(self.push(&query, &domain)?, &domain)?;
        let (found, key) = (self.fresh("found"), self.fresh("member"));
        let there = Expr::Column(column.clone());
        let present = Part { plan: super::filtered(part.plan, [there.clone().is_not_null()])?, ..part };
        let mut members = self.narrow(present, vec![named(lit(true), &found), named(there, &key)])?;
        members.keys.push(Key { outer: value.clone(), column: key, null_safe: false, copy_of: None });
        attached.add(self, distinct(members))?;
        let nulls = Expr::Column(self.nulls(attached, &query, &domain)?.column);
        let unknown = nulls.clone().or(value.clone().is_null());
        Ok(Expr::Case(Case {
            expr: None,
            when_then_expr: vec![
                (Box::new(Expr::Column(found).is_not_null()), Box::new(lit(true))),
                (Box::new(nulls.is_null()), Box::new(lit(false))),
                (Box::new(unknown), Box::new(lit(ScalarValue::Boolean(None)))),
            ],
            else_expr: Some(Box::new(lit(false))),
        }))
    }

    /// Adds what [`Nulls`] tells.
    pub(super) fn nulls(&self, attached: &mut Attached, query: &LogicalPlan, domain: &Domain<'_>) -> Result<Nulls> {
        let Some(column) = query.schema().columns().into_iter().next() else {
            return Err(thalweg_dataflow::Error::internal("a subquery without its column"));
        };
        let part = self.completed(self.push(query, domain)?, domain)?;
        let (is_null, any) = (self.fresh("null"), self.fresh("nulls"));
        let part = self.narrow(part, vec![named(Expr::Column(column).is_null(), &is_null)])?;
        let groups = part.key_columns();
        let call = named(aggregate_call(bool_or_udaf(), Expr::Column(is_null)), &any);
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(part.plan.into(), groups, vec![call])?);
        let part = Part { keys: part.keys, ..Part::independent(plan) };
        if domain.is_empty() {
            attached.add_row(self, part.plan)?
        } else {
            attached.add(self, part)?
        }
        Ok(Nulls { column: any })
    }

    /// `value op ANY (query)`, `value op ALL (query)`.
    pub(super) fn quantified(&self, attached: &mut Attached, test: &SetComparison) -> Result<Expr> {
        let query = self.inside(&test.subquery)?;
        let columns = query.schema().columns().into_iter();
        let tests = columns.map(|column| ((*test.expr).clone(), test.op, Expr::Column(column))).collect();
        self.compared(attached, query, tests, test.quantifier.clone())
    }

    /// Whether the comparisons hold with any row, or with all: the comparisons of each value of the
    /// outer side with each row, put together by bool_or or bool_and.
    fn compared(
        &self,
        attached: &mut Attached,
        query: LogicalPlan,
        tests: Vec<(Expr, Operator, Expr)>,
        quantifier: SetQuantifier,
    ) -> Result<Expr> {
        let mut holds: Option<Expr> = None;
        for (value, op, column) in tests {
            let one = Expr::BinaryExpr(BinaryExpr {
                left: Box::new(outward(value, &attached.plan)?),
                op,
                right: Box::new(column),
            });
            holds = Some(match holds {
                Some(so_far) => so_far.and(one),
                None => one,
            });
        }
        let any = quantifier == SetQuantifier::Any;
        let (test, all, open) = (self.fresh("test"), self.fresh("all"), self.fresh("open"));
        let one = project(query, vec![named(holds.unwrap_or_else(|| lit(true)), &test)])?;
        let test = Expr::Column(test);
        let calls = vec![
            named(aggregate_call(if any { bool_or_udaf() } else { bool_and_udaf() }, test.clone()), &all),
            // Both pass over nulls; this one tells whether there were any, and whether any row.
            named(aggregate_call(bool_or_udaf(), test.is_null()), &open),
        ];
        let whole = LogicalPlan::Aggregate(Aggregate::try_new(one.into(), Vec::new(), calls)?);
        let (all, open) = (Expr::Column(all), Expr::Column(open));
        let decided = if any { all.is_true() } else { all.is_false() };
        let answer = Case {
            expr: None,
            when_then_expr: vec![
                (Box::new(decided), Box::new(lit(any))),
                (Box::new(open.is_true()), Box::new(lit(ScalarValue::Boolean(None)))),
            ],
            else_expr: Some(Box::new(lit(!any))),
        };
        let answer = project(whole, vec![named(Expr::Case(answer), &self.fresh("answer"))])?;
        self.scalar(attached, answer, Rows::One)
    }
}

/// An expression over a plan, as a subquery of it names its columns.
fn outward(expr: Expr, plan: &LogicalPlan) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let outward = expr.transform(|inner| match inner {
        Expr::Column(column) if has(plan.schema(), &column) => {
            let (_, field) = Expr::Column(column.clone()).to_field(plan.schema())?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(outward.data)
}
