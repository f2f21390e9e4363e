//! IN, ANY and ALL where their truth is wanted as a value: true, false or null.

use datafusion::common::{Column, ScalarValue};
use datafusion::functions_aggregate::bool_and_or::{bool_and_udaf, bool_or_udaf};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::expr::{InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Aggregate, BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::prelude::lit;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::condition::has;
use super::domain::Domain;
use super::part::{Key, Part};
use super::rows::Rows;
use super::value::{Attached, distinct};
use super::{ROW, Unnester, aggregate_call, named, project};
use crate::planner::functions::{self, extreme_key};

/// The column that tells of a query's only column whether it has nulls: null if there are no rows.
pub(super) struct Nulls {
    pub(super) column: Column,
}

/// The value that decides an inequality with any or all of a query's values.
struct Extreme {
    value: Expr,
    nulls: Nulls,
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
        members.keys.push(Key { outer: value.clone(), column: key, null_safe: false, copy_of: None, ty: None });
        attached.add(self, distinct(members))?;
        let nulls = Expr::Column(self.nulls(attached, &query, &domain)?.column);
        Ok(decision(true, Expr::Column(found).is_not_null(), nulls, Some(value)))
    }

    /// Adds what [`Nulls`] tells.
    pub(super) fn nulls(&self, attached: &mut Attached, query: &LogicalPlan, domain: &Domain<'_>) -> Result<Nulls> {
        let Some(column) = query.schema().columns().into_iter().next() else {
            return Err(Error::internal("a subquery without its column"));
        };
        self.note_copy(query)?;
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
        let Some(column) = query.schema().columns().into_iter().next() else {
            return Err(Error::internal("a subquery without its column"));
        };
        let ty = PgType::of(query.schema().field(0));
        let any = test.quantifier == SetQuantifier::Any;
        // The least or the greatest of the values decides an inequality.
        let least = match test.op {
            Operator::Gt | Operator::GtEq => Some(any),
            Operator::Lt | Operator::LtEq => Some(!any),
            _ => None,
        };
        match least {
            Some(least) if ty != PgType::Bool => {
                let extreme = self.extreme(attached, &query, (column, ty), least)?;
                let value = (*test.expr).clone();
                let holds = Expr::BinaryExpr(BinaryExpr {
                    left: Box::new(value.clone()),
                    op: test.op,
                    right: Box::new(extreme.value),
                });
                let decided = if any { holds.is_true() } else { holds.is_false() };
                let nulls = extreme.nulls.column;
                Ok(decision(any, decided, Expr::Column(nulls), Some(&value)))
            }
            _ => {
                let tests = vec![((*test.expr).clone(), test.op, Expr::Column(column))];
                self.compared(attached, query, tests, test.quantifier)
            }
        }
    }

    /// Adds the least or the greatest value of a query's only column, and [`Nulls`].
    fn extreme(
        &self,
        attached: &mut Attached,
        query: &LogicalPlan,
        (column, ty): (Column, PgType),
        least: bool,
    ) -> Result<Extreme> {
        let outer = attached.outer(query)?;
        let domain = Domain::of(query, &outer)?;
        let part = self.completed(self.push(query, &domain)?, &domain)?;
        let (given, extreme, any) = (self.fresh("given"), self.fresh("extreme"), self.fresh("nulls"));
        let part = self.narrow(part, vec![named(Expr::Column(column), &given)])?;
        // Arrow orders some types its own way; of a numeric's modifier the engine knows nothing.
        let (keyed, modified) = (extreme_key::is_needed(&ty), matches!(ty, PgType::Numeric(Some(_))));
        let given = Expr::Column(given);
        let argument = match (keyed, modified) {
            (true, _) => extreme_key::key(given.clone(), &ty),
            (_, true) => functions::cast(given.clone(), &ty, &PgType::Numeric(None), "UTC")?,
            _ => given.clone(),
        };
        let function = if least { min_udaf() } else { max_udaf() };
        let calls = vec![
            named(aggregate_call(function, argument), &extreme),
            named(aggregate_call(bool_or_udaf(), given.is_null()), &any),
        ];
        let groups = part.key_columns();
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(part.plan.into(), groups, calls)?);
        let part = Part { keys: part.keys, ..Part::independent(plan) };
        if domain.is_empty() {
            attached.add_row(self, part.plan)?
        } else {
            attached.add(self, part)?
        }
        let value = Expr::Column(extreme);
        let value = match (keyed, modified) {
            (true, _) => extreme_key::value(value, &ty),
            (_, true) => functions::cast(value, &PgType::Numeric(None), &ty, "UTC")?,
            _ => value,
        };
        Ok(Extreme { value, nulls: Nulls { column: any } })
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
        let all = Expr::Column(all);
        let decided = if any { all.is_true() } else { all.is_false() };
        let answer = decision(any, decided, Expr::Column(open), None);
        let answer = project(whole, vec![named(answer, &self.fresh("answer"))])?;
        self.scalar(attached, answer, Rows::One)
    }
}

/// The truth of ANY or ALL: `any` where a row decided it; unknown where nulls were among the rows
/// (`nulls`, itself null where there were no rows) or where there were rows and the value is null;
/// else the contrary.
fn decision(any: bool, decided: Expr, nulls: Expr, value: Option<&Expr>) -> Expr {
    let mut whens = vec![(decided, lit(any)), (nulls.clone().is_null(), lit(!any))];
    let unknown = match value {
        Some(value) => nulls.or(value.clone().is_null()),
        None => nulls,
    };
    whens.push((unknown, lit(ScalarValue::Boolean(None))));
    Expr::Case(Case {
        expr: None,
        when_then_expr: whens.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect(),
        else_expr: Some(Box::new(lit(!any))),
    })
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
