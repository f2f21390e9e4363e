//! Unnesting: a bound plan with subqueries becomes one of joins, aggregates and windows alone.
//!
//! Promises: the result holds no subquery expression and no reference to an outer query of its
//! own; its columns are the old ones, in their order; it means what PostgreSQL means, errors
//! (21000) included, for queries and views alike. Pure: reads no catalog, chooses no execution.
//!
//! The method is that of Neumann and Kemper (Unnesting Arbitrary Queries, BTW 2015), bottom-up. A
//! subquery that names columns of its surrounding query (the *outer side*) is made a [`part`] that
//! gives its rows for every value of those columns at once, and the outer side is joined with it.
//! Where the subquery compares an inner value with an outer one for equality, the inner value
//! stands for the outer; only where that does not do, the distinct outer values themselves (the
//! [`domain`]) are joined in. What the subquery is asked for (its value, whether it has rows,
//! whether it holds a value) becomes a column of the join ([`value`], [`membership`]), or, where
//! rows are filtered, a semi or anti join ([`filter`]).

mod condition;
mod domain;
mod filter;
mod joins;
mod membership;
mod part;
mod peel;
mod push;
mod push_join;
mod push_recursive;
mod rows;
mod value;

#[cfg(test)]
mod tests;

use std::cell::Cell;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Filter, LogicalPlan, Projection, SortExpr, Subquery, Window,
};
use thalweg_dataflow::{Error, Result, SqlState};

pub(super) use domain::outer_columns;
pub(super) use push::{numbering, row_number};
use value::Attached;

use crate::planner::binder::with_stack;
use crate::planner::contents::is_subquery;
use crate::planner::expand::Expand;
use crate::planner::sift::sifted;

/// The same query without subqueries. `names` gives names that nothing else has; `view` tells
/// whether the result is maintained, where a LIMIT that saves a query work only makes some.
pub(crate) fn unnest(plan: LogicalPlan, names: &dyn Fn(&str) -> String, view: bool) -> Result<LogicalPlan> {
    sifted(Unnester { names, view, copied: Cell::new(0) }.rewrite(plan)?)
}

/// `(a, b, ...)` before IN, as the binder writes it.
pub(super) const ROW: &str = "row";

/// How many nodes of outer sides may be copied: each level of subqueries may double them.
const MAX_COPIED: usize = 20_000;

/// What all steps share.
struct Unnester<'a> {
    names: &'a dyn Fn(&str) -> String,
    view: bool,
    copied: Cell<usize>,
}

impl Unnester<'_> {
    /// A column that nothing else has.
    fn fresh(&self, wanted: &str) -> Column {
        let name = (self.names)(&format!("#{wanted}"));
        Column::new(Some(TableReference::bare(name.clone())), name)
    }

    /// Notes that a plan is used once more.
    fn note_copy(&self, plan: &LogicalPlan) -> Result<()> {
        let mut nodes = 0;
        plan.apply(|_| {
            nodes += 1;
            Ok(TreeNodeRecursion::Continue)
        })?;
        self.copied.set(self.copied.get() + nodes);
        if self.copied.get() > MAX_COPIED {
            return Err(Error::new(SqlState::StatementTooComplex, "subqueries depend on each other too deeply"));
        }
        Ok(())
    }

    /// The plan without subqueries; inputs first.
    fn rewrite(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        with_stack(|| self.rewrite_node(plan))
    }

    fn rewrite_node(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = plan
            .map_children(|input| {
                let rewritten = self.rewrite(input).map_err(Error::into_datafusion)?;
                Ok(Transformed::yes(rewritten))
            })?
            .data;
        if let LogicalPlan::Join(join) = plan {
            return self.join(join);
        }
        if !holds_subquery(&plan)? {
            return Ok(plan);
        }
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => {
                let mut attached = Attached::new((*projection.input).clone());
                let exprs = self.attach(&mut attached, projection.expr)?;
                project(attached.plan, all_called(exprs, projection.schema.columns()))
            }
            LogicalPlan::Aggregate(aggregate) => {
                let mut attached = Attached::new((*aggregate.input).clone());
                let count = aggregate.group_expr.len();
                let exprs = aggregate.group_expr.into_iter().chain(aggregate.aggr_expr).collect();
                let exprs = self.attach(&mut attached, exprs)?;
                let mut groups = all_called(exprs, aggregate.schema.columns());
                let calls = groups.split_off(count);
                Ok(LogicalPlan::Aggregate(Aggregate::try_new(attached.plan.into(), groups, calls)?))
            }
            LogicalPlan::Window(window) => {
                let columns = window.schema.columns();
                let own = columns[columns.len() - window.window_expr.len()..].to_vec();
                let mut attached = Attached::new((*window.input).clone());
                let exprs = self.attach(&mut attached, window.window_expr)?;
                let plan = LogicalPlan::Window(Window::try_new(all_called(exprs, own), attached.plan.into())?);
                select(plan, columns)
            }
            LogicalPlan::Sort(sort) => {
                let columns = sort.input.schema().columns();
                let mut attached = Attached::new((*sort.input).clone());
                let keys = sort.expr.iter().map(|key| key.expr.clone()).collect();
                let keys = self.attach(&mut attached, keys)?;
                let expr: Vec<SortExpr> = sort.expr.iter().zip(keys).map(|(key, expr)| key.with_expr(expr)).collect();
                let input = attached.plan.into();
                select(LogicalPlan::Sort(datafusion::logical_expr::Sort { expr, input, fetch: sort.fetch }), columns)
            }
            other => match Expand::of(&other) {
                Some(expand) => {
                    let mut attached = Attached::new(expand.input.clone());
                    let arguments = self.attach(&mut attached, expand.arguments.clone())?;
                    select(expand.over(attached.plan, arguments)?, other.schema().columns())
                }
                None => Err(Error::unsupported(format!("a subquery in {}", construct(&other)))),
            },
        }
    }

    /// A subquery's plan, itself without subqueries.
    fn inside(&self, subquery: &Subquery) -> Result<LogicalPlan> {
        self.rewrite((*subquery.subquery).clone())
    }
}

/// Whether an expression of this node (its inputs do not count) holds a subquery.
fn holds_subquery(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found = found || is_nested(expr)?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether an expression holds a subquery.
fn is_nested(expr: &Expr) -> datafusion::error::Result<bool> {
    expr.exists(|inner| Ok(is_subquery(inner)))
}

/// What a user calls a node.
fn construct(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Limit(_) => "LIMIT or OFFSET",
        LogicalPlan::Distinct(Distinct::On(_)) => "DISTINCT ON",
        _ => "this place",
    }
}

/// The plan with these columns alone.
fn select(plan: LogicalPlan, columns: Vec<Column>) -> Result<LogicalPlan> {
    project(plan, columns.into_iter().map(Expr::Column).collect())
}

/// The plan with these expressions.
fn project(plan: LogicalPlan, exprs: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, plan.into())?))
}

/// The plan with these expressions behind its columns.
fn extend(plan: LogicalPlan, exprs: impl IntoIterator<Item = Expr>) -> Result<LogicalPlan> {
    let mut all: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let own = all.len();
    all.extend(exprs);
    if all.len() == own { Ok(plan) } else { project(plan, all) }
}

/// The rows of the plan that meet all conditions.
fn filtered(plan: LogicalPlan, conditions: impl IntoIterator<Item = Expr>) -> Result<LogicalPlan> {
    match conditions.into_iter().reduce(Expr::and) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, plan.into())?)),
        None => Ok(plan),
    }
}

/// An expression under the name of a column.
fn named(expr: Expr, column: &Column) -> Expr {
    expr.alias_qualified(column.relation.clone(), column.name.clone())
}

/// An expression as a column of a node: under its name, if that is not the expression's own.
fn called(expr: Expr, column: &Column) -> Expr {
    let (relation, name) = expr.qualified_name();
    if relation == column.relation && name == column.name { expr } else { named(expr, column) }
}

/// Expressions as the columns of a node.
fn all_called(exprs: Vec<Expr>, columns: Vec<Column>) -> Vec<Expr> {
    exprs.into_iter().zip(&columns).map(|(expr, column)| called(expr, column)).collect()
}

/// `count(*)`, `bool_or(x)` and their kin, over one argument.
pub(super) fn aggregate_call(function: std::sync::Arc<datafusion::logical_expr::AggregateUDF>, argument: Expr) -> Expr {
    use datafusion::logical_expr::expr::AggregateFunction;
    Expr::AggregateFunction(AggregateFunction::new_udf(function, vec![argument], false, None, Vec::new(), None))
}
