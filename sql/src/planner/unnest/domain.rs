//! The domain of a subquery: the columns of the outer side that it names, and their distinct values.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan, TableScan};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::part::Key;
use super::push_recursive::Working;
use super::{Unnester, named, project};
use crate::planner::functions;
use crate::planner::recursive_query::WorkingTable;

/// The outer columns that a subquery names.
pub(super) struct Domain<'a> {
    outer: &'a LogicalPlan,
    columns: Vec<(Column, PgType)>,
    /// The working tables that carry these columns.
    working: Vec<Working>,
}

impl<'a> Domain<'a> {
    /// What `query` names of `outer`.
    pub(super) fn of(query: &LogicalPlan, outer: &'a LogicalPlan) -> Result<Domain<'a>> {
        let mut columns: Vec<(Column, PgType)> = Vec::new();
        each_outer_column(query, &mut |column| {
            if !columns.iter().any(|(known, _)| known == column)
                && let Some((_, field)) = outer
                    .schema()
                    .iter()
                    .find(|(relation, field)| *relation == column.relation.as_ref() && *field.name() == column.name)
            {
                columns.push((column.clone(), PgType::of(field)));
            }
        })?;
        Ok(Domain { outer, columns, working: Vec::new() })
    }

    /// The same inside a recursive term whose working table carries the columns.
    pub(super) fn within(&self, working: Working) -> Domain<'a> {
        let working = self.working.iter().cloned().chain([working]).collect();
        Domain { outer: self.outer, columns: self.columns.clone(), working }
    }

    /// The working table that a scan reads, if it carries the columns.
    pub(super) fn working(&self, scan: &TableScan) -> Option<&Working> {
        let table = WorkingTable::of(scan)?;
        self.working.iter().find(|working| working.name == table.name)
    }

    /// Whether the subquery names nothing of the outer side.
    pub(super) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    fn has(&self, column: &Column) -> bool {
        self.columns.iter().any(|(known, _)| known == column)
    }

    /// Whether an expression names any of these columns.
    pub(super) fn concerns(&self, expr: &Expr) -> Result<bool> {
        Ok(expr.exists(|inner| Ok(matches!(inner, Expr::OuterReferenceColumn(_, column) if self.has(column))))?)
    }

    /// Whether a plan names any of these columns.
    pub(super) fn concerns_plan(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut found = false;
        each_outer_column(plan, &mut |column| found |= self.has(column))?;
        Ok(found || self.reads_working(plan)?)
    }

    /// Whether a plan reads a working table that carries these columns.
    pub(super) fn reads_working(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut found = false;
        if self.working.is_empty() {
            return Ok(found);
        }
        plan.apply_with_subqueries(|node| {
            found |= matches!(node, LogicalPlan::TableScan(scan) if self.working(scan).is_some());
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(found)
    }

    /// An expression as the outer side reads it.
    pub(super) fn own(&self, expr: Expr) -> Result<Expr> {
        let own = expr.transform(|inner| match inner {
            Expr::OuterReferenceColumn(_, column) if self.has(&column) => Ok(Transformed::yes(Expr::Column(column))),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(own.data)
    }

    /// Whether keys tell the value of each of these columns.
    pub(super) fn is_bound(&self, keys: &[Key]) -> bool {
        self.columns.iter().all(|(column, _)| keys.iter().any(|key| key.copy_of.as_ref() == Some(column)))
    }

    /// The distinct values of the columns, under names of their own. In a recursive term: those
    /// whose recursion goes on.
    pub(super) fn rows(&self, unnester: &Unnester<'_>) -> Result<(LogicalPlan, Vec<Key>)> {
        if let Some(working) = self.working.last() {
            return unnester.going_on(working);
        }
        unnester.note_copy(self.outer)?;
        let mut exprs = Vec::with_capacity(self.columns.len());
        let mut keys = Vec::with_capacity(self.columns.len());
        for (column, ty) in &self.columns {
            let value = Expr::Column(column.clone());
            // A zero with a sign and one without are equal to some operators, not to all.
            let outer = match ty {
                PgType::Float4 | PgType::Float8 => functions::canonical(value, ty)?,
                _ => value,
            };
            let name = unnester.fresh("outer");
            exprs.push(named(outer.clone(), &name));
            keys.push(Key {
                outer,
                column: name,
                null_safe: true,
                copy_of: Some(column.clone()),
                ty: Some(ty.clone()),
            });
        }
        let values = project(without_limit(self.outer)?, exprs)?;
        Ok((LogicalPlan::Distinct(Distinct::All(values.into())), keys))
    }
}

/// Calls `each` for all columns of outer queries that a plan names.
pub(super) fn each_outer_column(plan: &LogicalPlan, each: &mut dyn FnMut(&Column)) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                if let Expr::OuterReferenceColumn(_, column) = inner {
                    each(column);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// Calls `each` for all columns of outer queries that the subqueries of an expression name.
pub(in crate::planner) fn outer_columns(expr: &Expr, each: &mut dyn FnMut(&Column)) -> Result<()> {
    expr.apply(|inner| {
        let subquery = match inner {
            Expr::ScalarSubquery(subquery) => subquery,
            Expr::Exists(exists) => &exists.subquery,
            Expr::InSubquery(test) => &test.subquery,
            Expr::SetComparison(test) => &test.subquery,
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        each_outer_column(&subquery.subquery, each).map_err(Error::into_datafusion)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// The plan without a LIMIT near its top: which rows it leaves may differ from one reading to the
/// next, and more values than the outer side has do no harm.
fn without_limit(plan: &LogicalPlan) -> Result<LogicalPlan> {
    if !has_limit(plan) {
        return Ok(plan.clone());
    }
    match plan {
        LogicalPlan::Limit(limit) => without_limit(&limit.input),
        LogicalPlan::Sort(sort) => without_limit(&sort.input),
        other => {
            let inputs = other.inputs().into_iter().map(without_limit).collect::<Result<Vec<_>>>()?;
            Ok(other.with_new_exprs(other.expressions(), inputs)?)
        }
    }
}

fn has_limit(plan: &LogicalPlan) -> bool {
    let goes_on = match plan {
        LogicalPlan::Limit(_) => return true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) => true,
        LogicalPlan::Sort(sort) => sort.fetch.is_none(),
        LogicalPlan::Join(join) => join.join_type == JoinType::Inner,
        _ => false,
    };
    goes_on && plan.inputs().into_iter().any(has_limit)
}
