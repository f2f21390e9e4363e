//! Aggregates in a subquery that are a surrounding query's: those over its columns alone.
//!
//! `SELECT (SELECT max(t.v) FROM u LIMIT 1) FROM t` has one row: the aggregate is the outer SELECT's.
//! While the subquery is bound a column stands for the call; grouping the outer query puts the
//! aggregation's column in its place.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use thalweg_dataflow::Result;
use thalweg_dataflow::types::PgType;

use super::binder::{Binder, Env};
use super::scope::Scope;
use super::unnest::outer_columns;

impl Binder<'_> {
    /// An aggregate call as the query at hand writes it, and the query that it belongs to.
    pub(super) fn of_its_query<'e>(&self, env: &'e Env<'e>, call: Expr, ty: &PgType) -> Result<(Expr, &'e Env<'e>)> {
        let (mut own, mut outer) = (false, Vec::new());
        call.apply(|inner| {
            match inner {
                Expr::Column(_) => own = true,
                Expr::OuterReferenceColumn(_, column) => outer.push(column.clone()),
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let mut surrounding = env.outer;
        while let (false, Some(query)) = (own, surrounding) {
            if outer.iter().any(|column| query.scope.reads(column)) {
                return Ok((self.stand_in(query.scope, call, ty)?, query));
            }
            surrounding = query.outer;
        }
        Ok((call, env))
    }

    fn stand_in(&self, scope: &Scope, call: Expr, ty: &PgType) -> Result<Expr> {
        let call = call.transform(|inner| match inner {
            Expr::OuterReferenceColumn(_, column) if scope.reads(&column) => Ok(Transformed::yes(Expr::Column(column))),
            other => Ok(Transformed::no(other)),
        })?;
        let name = self.unique("#aggregate");
        let column = Column::new_unqualified(name.clone());
        self.outer_calls.borrow_mut().push((column.clone(), call.data));
        Ok(Expr::OuterReferenceColumn(ty.field(name, true).into(), column))
    }

    /// The call that a column stands for.
    pub(super) fn outer_call(&self, column: &Column) -> Option<Expr> {
        self.outer_calls.borrow().iter().find(|(known, _)| known == column).map(|(_, call)| call.clone())
    }

    /// The calls in subqueries of these expressions that are aggregates of the query with this scope.
    pub(super) fn calls_in_subqueries(&self, exprs: &[&Expr], scope: &Scope) -> Result<Vec<Expr>> {
        let mut calls = Vec::new();
        for expr in exprs {
            outer_columns(expr, &mut |column| {
                if let Some(call) = self.outer_call(column)
                    && scope.reads_all(&call)
                {
                    calls.push(call);
                }
            })?;
        }
        Ok(calls)
    }
}
