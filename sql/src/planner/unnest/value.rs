//! Subqueries where a value is wanted: the outer side gets a column that holds it.

use arrow::array::AsArray;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::functions_aggregate::bool_and_or::bool_or_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Signature, Subquery, Volatility,
};
use datafusion::prelude::lit;
use thalweg_dataflow::types::{PgType, Zone};
use thalweg_dataflow::{Error, Result, SqlState};

use super::condition::{has, is_one_row};
use super::domain::Domain;
use super::part::{Key, Part, is_null, or_default};
use super::rows::{Rows, exactly_one};
use super::{Unnester, aggregate_call, named, project};
use crate::planner::contents::is_subquery;
use crate::planner::functions;
use crate::planner::functions::udf::{Input, Kernel, PgFunction};
use crate::planner::typed::metadata;

/// An outer side with the columns that its subqueries became.
pub(super) struct Attached {
    /// As it was.
    base: LogicalPlan,
    /// With all columns so far.
    pub(super) plan: LogicalPlan,
    known: Vec<(Expr, Expr)>,
}

impl Attached {
    /// An outer side as it is.
    pub(super) fn new(plan: LogicalPlan) -> Attached {
        Attached { base: plan.clone(), plan, known: Vec::new() }
    }

    /// What a subquery depends on: the side as it was, unless it also names a column added since.
    pub(super) fn outer(&self, query: &LogicalPlan) -> Result<LogicalPlan> {
        let mut added = false;
        super::domain::each_outer_column(query, &mut |column| {
            added |= has(self.plan.schema(), column) && !has(self.base.schema(), column);
        })?;
        Ok(if added { self.plan.clone() } else { self.base.clone() })
    }

    /// Adds the columns of a part to every row.
    pub(super) fn add(&mut self, unnester: &Unnester<'_>, part: Part) -> Result<()> {
        let pairs = part.pairs();
        self.plan = unnester.joined(self.plan.clone(), part.plan, JoinType::Left, pairs, None)?;
        Ok(())
    }

    /// Adds the columns of a plan of one row to every row.
    pub(super) fn add_row(&mut self, unnester: &Unnester<'_>, row: LogicalPlan) -> Result<()> {
        self.plan = unnester.crossed(self.plan.clone(), row)?;
        Ok(())
    }
}

impl Unnester<'_> {
    /// The expressions with columns in the place of subqueries.
    pub(super) fn attach(&self, attached: &mut Attached, exprs: Vec<Expr>) -> Result<Vec<Expr>> {
        exprs
            .into_iter()
            .map(|expr| {
                let replaced = expr.transform_up(|inner| {
                    if !is_subquery(&inner) {
                        return Ok(Transformed::no(inner));
                    }
                    Ok(Transformed::yes(self.attached(attached, &inner).map_err(Error::into_datafusion)?))
                })?;
                Ok(replaced.data)
            })
            .collect()
    }

    fn attached(&self, attached: &mut Attached, expr: &Expr) -> Result<Expr> {
        if let Some((_, value)) = attached.known.iter().find(|(known, _)| known == expr) {
            return Ok(value.clone());
        }
        let value = match expr {
            Expr::ScalarSubquery(subquery) => {
                let rows = Rows::of(&subquery.subquery);
                let query = self.inside(subquery)?;
                self.scalar(attached, query, rows)?
            }
            Expr::Exists(Exists { subquery, negated }) => {
                let exists = self.exists(attached, subquery)?;
                if *negated { Expr::Not(Box::new(exists)) } else { exists }
            }
            Expr::InSubquery(test) => self.is_member(attached, test)?,
            Expr::SetComparison(test) => self.quantified(attached, test)?,
            _ => return Err(Error::internal("no subquery")),
        };
        attached.known.push((expr.clone(), value.clone()));
        Ok(value)
    }

    /// The value of a query of one column.
    pub(super) fn scalar(&self, attached: &mut Attached, query: LogicalPlan, rows: Rows) -> Result<Expr> {
        let Some(column) = query.schema().columns().into_iter().next() else {
            return Err(Error::internal("a scalar subquery without a column"));
        };
        let ty = PgType::of(query.schema().field(0));
        let outer = attached.outer(&query)?;
        let domain = Domain::of(&query, &outer)?;
        if let Some(exprs) = without_from(&query) {
            return domain.own(bare(exprs[0].clone()));
        }
        if domain.is_empty() {
            if rows == Rows::One {
                let value = self.fresh("value");
                attached.add_row(self, project(query, vec![named(Expr::Column(column), &value)])?)?;
                return Ok(Expr::Column(value));
            }
            let (row, value) = self.only(Part::independent(query), &column, &ty, rows)?;
            attached.add_row(self, row.plan)?;
            return Ok(value);
        }
        let part = Part { order: Vec::new(), ..self.push(&query, &domain)? };
        if part.defaults.is_none() && rows == Rows::Any {
            let (part, value) = self.only(part, &column, &ty, rows)?;
            attached.add(self, part)?;
            return Ok(value);
        }
        let default = part.defaults.iter().flatten().find(|(known, _)| *known == column);
        let default = default.map(|(_, default)| domain.own(default.clone())).transpose()?;
        let default = default.filter(|default| !is_null(default));
        let (value, found) = (self.fresh("value"), self.fresh("found"));
        let mut exprs = vec![named(Expr::Column(column), &value)];
        exprs.extend(default.as_ref().map(|_| named(lit(true), &found)));
        attached.add(self, self.narrow(part, exprs)?)?;
        let value = Expr::Column(value);
        Ok(match default {
            Some(default) => or_default(&found, value, default),
            None => value,
        })
    }

    /// A part's keys under names of their own, and these expressions.
    pub(super) fn narrow(&self, part: Part, mut exprs: Vec<Expr>) -> Result<Part> {
        let mut keys = Vec::with_capacity(part.keys.len());
        for key in part.keys {
            let name = self.fresh("key");
            exprs.push(named(Expr::Column(key.column.clone()), &name));
            keys.push(Key { column: name, ..key });
        }
        Ok(Part { keys, ..Part::independent(project(part.plan, exprs)?) })
    }

    /// One row for each value of the keys, and its value: an error if there were two.
    fn only(&self, part: Part, column: &Column, ty: &PgType, rows: Rows) -> Result<(Part, Expr)> {
        let (value, count) = (self.fresh("value"), self.fresh("count"));
        let first = aggregate_call(first_value_udaf(), Expr::Column(column.clone()));
        let first = first.alias_qualified_with_metadata(value.relation.clone(), value.name.clone(), Some(metadata(ty)));
        let calls = vec![first, named(functions::count_star(), &count)];
        let groups = part.key_columns();
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(part.plan.into(), groups, calls)?);
        let part = Part { keys: part.keys, ..Part::independent(plan) };
        let (out, several) = (self.fresh("value"), self.fresh("several"));
        let mut exprs = vec![named(Expr::Column(value), &out)];
        if rows != Rows::Any {
            return Ok((self.narrow(part, exprs)?, Expr::Column(out)));
        }
        // Not the count itself: it changes with every row.
        exprs.push(named(Expr::Column(count).gt(lit(1_i64)), &several));
        let part = self.narrow(part, exprs)?;
        Ok((part, one_row(Expr::Column(several), Expr::Column(out), ty)))
    }

    fn exists(&self, attached: &mut Attached, subquery: &Subquery) -> Result<Expr> {
        if exactly_one(&subquery.subquery) {
            return Ok(lit(true));
        }
        let query = self.inside(subquery)?;
        let outer = attached.outer(&query)?;
        let domain = Domain::of(&query, &outer)?;
        let found = self.fresh("found");
        if domain.is_empty() {
            let rows = LogicalPlanBuilder::from(query);
            let rows = if self.view { rows } else { rows.limit(0, Some(1))? };
            let row = self.fresh("row");
            let rows = project(rows.build()?, vec![named(lit(true), &row)])?;
            let any = named(aggregate_call(bool_or_udaf(), Expr::Column(row)), &found);
            let row = LogicalPlan::Aggregate(Aggregate::try_new(rows.into(), Vec::new(), vec![any])?);
            attached.add_row(self, row)?;
            return Ok(Expr::Column(found).is_not_null());
        }
        let part = self.completed(self.push(&query, &domain)?, &domain)?;
        let part = distinct(self.narrow(part, vec![named(lit(true), &found)])?);
        attached.add(self, part)?;
        Ok(Expr::Column(found).is_not_null())
    }
}

/// The expressions of a SELECT without FROM and conditions.
pub(super) fn without_from(query: &LogicalPlan) -> Option<&[Expr]> {
    match query {
        LogicalPlan::Projection(projection) if is_one_row(&projection.input) => Some(&projection.expr),
        _ => None,
    }
}

/// An expression without the names around it.
pub(super) fn bare(expr: Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => bare(*alias.expr),
        other => other,
    }
}

/// The rows of a part, each once.
pub(super) fn distinct(part: Part) -> Part {
    Part { plan: LogicalPlan::Distinct(Distinct::All(part.plan.into())), ..part }
}

/// `value`, or error 21000 where `several` is true.
fn one_row(several: Expr, value: Expr, ty: &PgType) -> Expr {
    let kernel: Kernel = |input: &Input<'_>| {
        let several = input.array(0)?;
        match several.as_boolean_opt() {
            Some(several) if several.has_true() => Err(Error::new(
                SqlState::CardinalityViolation,
                "more than one row returned by a subquery used as an expression",
            )),
            _ => input.array(1),
        }
    };
    let function = PgFunction::new("one_row", vec![PgType::Bool, ty.clone()], ty.clone(), Zone::default(), kernel);
    // Volatile, so that no optimiser evaluates it on rows that never come that far.
    let function = PgFunction { signature: Signature::user_defined(Volatility::Volatile), ..function };
    functions::evaluated(function, vec![several, value])
}
