//! Subqueries in expressions: scalar, IN, EXISTS, ANY and ALL.
//!
//! Here they stay expressions of the plan; when the statement is bound `unnest` makes joins of all.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{ScalarValue, Spans};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Case, Expr, LogicalPlan, LogicalPlanBuilder, Subquery};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, BoundQuery, Env, OutputColumn};
use super::contents::is_subquery;
use super::functions;
use super::row_value::row_items;
use super::typed::Typed;

impl Binder<'_> {
    pub(super) fn subquery(&self, env: &Env<'_>, query: &ast::Query) -> Result<BoundQuery> {
        self.nested(|| self.query(query, Some(env), &env.ctes))
    }

    /// `(SELECT ...)` as a value.
    pub(crate) fn scalar_subquery(&self, env: &Env<'_>, query: &ast::Query) -> Result<Typed> {
        let bound = self.settled_query(self.subquery(env, query)?)?;
        let ty = match bound.columns.as_slice() {
            [column] => column.ty.clone().unwrap_or(PgType::Text),
            _ => return Err(Error::new(SqlState::SyntaxError, "subquery must return only one column")),
        };
        let value = functions::nullable(Expr::ScalarSubquery(wrap(bound.plan)), &ty);
        Ok(Typed::new(value, ty))
    }

    /// `(SELECT ...)` as a row: a value for each of its columns, null where it has no row.
    ///
    /// Each is a subquery of its own; where the query leaves open which row it gives (LIMIT without
    /// ORDER BY), they may be of different ones.
    pub(super) fn row_subquery(&self, env: &Env<'_>, query: &ast::Query) -> Result<Vec<Typed>> {
        let bound = self.settled_query(self.subquery(env, query)?)?;
        let value = |column: &OutputColumn| {
            let plan = LogicalPlanBuilder::from(bound.plan.clone());
            let plan = plan.project([Expr::Column(column.column.clone())])?.build()?;
            let ty = column.ty.clone().unwrap_or(PgType::Text);
            Ok(Typed::new(functions::nullable(Expr::ScalarSubquery(wrap(plan)), &ty), ty))
        };
        bound.columns.iter().map(value).collect()
    }

    /// `[NOT] EXISTS (SELECT ...)`.
    pub(crate) fn exists(&self, env: &Env<'_>, query: &ast::Query, negated: bool) -> Result<Typed> {
        let bound = self.subquery(env, query)?;
        Ok(Typed::new(Expr::Exists(Exists { subquery: wrap(bound.plan), negated }), PgType::Bool))
    }

    /// `inner [NOT] IN (SELECT ...)`.
    pub(crate) fn in_subquery(
        &self,
        env: &Env<'_>,
        inner: &ast::Expr,
        query: &ast::Query,
        negated: bool,
    ) -> Result<Typed> {
        let (mut values, plan) = self.beside(env, inner, query, &BinaryOperator::Eq)?;
        let expr = match (values.pop(), values.is_empty()) {
            (Some(only), true) => only,
            (last, _) => functions::row(values.into_iter().chain(last).collect()),
        };
        let test = InSubquery { expr: Box::new(expr), subquery: wrap(plan), negated };
        Ok(Typed::new(Expr::InSubquery(test), PgType::Bool))
    }

    /// `left op ANY|ALL (SELECT ...)`.
    fn quantified_query(
        &self,
        env: &Env<'_>,
        left: &ast::Expr,
        op: &BinaryOperator,
        query: &ast::Query,
        any: bool,
    ) -> Result<Typed> {
        use datafusion::logical_expr::Operator as O;
        let operator = match op {
            BinaryOperator::Eq if any => return self.in_subquery(env, left, query, false),
            BinaryOperator::NotEq if !any => return self.in_subquery(env, left, query, true),
            BinaryOperator::Eq => O::Eq,
            BinaryOperator::NotEq => O::NotEq,
            BinaryOperator::Lt => O::Lt,
            BinaryOperator::LtEq => O::LtEq,
            BinaryOperator::Gt => O::Gt,
            BinaryOperator::GtEq => O::GtEq,
            _ => return self.quantified_by_rows(env, left, op, query, any),
        };
        if row_items(left).is_some_and(|items| items.len() > 1) {
            return self.quantified_by_rows(env, left, op, query, any);
        }
        let (mut values, plan) = self.beside(env, left, query, op)?;
        let (Some(value), true) = (values.pop(), values.is_empty()) else {
            return Err(Error::internal("a comparison of several values"));
        };
        let quantifier = if any { SetQuantifier::Any } else { SetQuantifier::All };
        let test = SetComparison::new(Box::new(value), wrap(plan), operator, quantifier);
        Ok(Typed::new(Expr::SetComparison(test), PgType::Bool))
    }

    /// `left op ANY|ALL (SELECT ...)` of rows, or with an operator that is no comparison: whether there
    /// is a row that decides, and else one that leaves it open.
    fn quantified_by_rows(
        &self,
        env: &Env<'_>,
        left: &ast::Expr,
        op: &BinaryOperator,
        query: &ast::Query,
        any: bool,
    ) -> Result<Typed> {
        let items = row_items(left).unwrap_or_else(|| vec![left]);
        let values = items.into_iter().map(|item| self.expr(env, item)).collect::<Result<Vec<_>>>()?;
        let bound = self.settled_query(self.subquery(env, query)?)?;
        if values.len() != bound.columns.len() {
            let many = if bound.columns.len() < values.len() { "few" } else { "many" };
            return Err(Error::new(SqlState::SyntaxError, format!("subquery has too {many} columns")));
        }
        let mut pairs = Vec::with_capacity(values.len());
        for (value, column) in values.into_iter().zip(&bound.columns) {
            let computed =
                |expr: &Expr| is_subquery(expr) || matches!(expr, Expr::AggregateFunction(_) | Expr::WindowFunction(_));
            if value.expr.exists(|expr| Ok(computed(expr)))? {
                return Err(Error::unsupported(format!("{op} of this value with ANY or ALL over a query")));
            }
            let value = Typed { expr: env.scope.outward(&value.expr)?, ..value };
            let ty = column.ty.clone().unwrap_or(PgType::Text);
            pairs.push((value, Typed::new(Expr::Column(column.column.clone()), ty)));
        }
        let single = pairs.len() == 1;
        let condition = match pairs.pop() {
            Some((value, column)) if single => self.operate(op, value, column)?.expr,
            last => {
                pairs.extend(last);
                self.pairs_compared(pairs, op, false)?
            }
        };
        let exists = |condition: Expr| -> Result<Box<Expr>> {
            let plan = LogicalPlanBuilder::from(bound.plan.clone()).filter(condition)?.build()?;
            Ok(Box::new(Expr::Exists(Exists { subquery: wrap(plan), negated: false })))
        };
        let decides = if any { condition.clone() } else { Expr::Not(Box::new(condition.clone())) };
        let verdict = |value: Option<bool>| Box::new(Expr::Literal(ScalarValue::Boolean(value), None));
        let cases = vec![(exists(decides)?, verdict(Some(any))), (exists(condition.is_null())?, verdict(None))];
        let case = Case { expr: None, when_then_expr: cases, else_expr: Some(verdict(Some(!any))) };
        Ok(Typed::new(Expr::Case(case), PgType::Bool))
    }

    /// A value or row and a query to compare it with: both as keys of the types in which they are
    /// compared.
    fn beside(
        &self,
        env: &Env<'_>,
        inner: &ast::Expr,
        query: &ast::Query,
        op: &BinaryOperator,
    ) -> Result<(Vec<Expr>, LogicalPlan)> {
        let values = match row_items(inner) {
            Some(items) => items.into_iter().map(|item| self.expr(env, item)).collect::<Result<Vec<_>>>()?,
            None => vec![self.expr(env, inner)?],
        };
        let bound = self.subquery(env, query)?;
        if values.len() != bound.columns.len() {
            let many = if bound.columns.len() < values.len() { "few" } else { "many" };
            return Err(Error::new(SqlState::SyntaxError, format!("subquery has too {many} columns")));
        }
        let (mut keys, mut columns) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
        for (value, column) in values.into_iter().zip(bound.columns) {
            let column = Typed { expr: Expr::Column(column.column), ty: column.ty.or(Some(PgType::Text)), at: None };
            let (value, column) = self.comparable(op, value, column)?;
            keys.push(value);
            columns.push(column.alias(self.unique("key")));
        }
        let same = columns.iter().zip(bound.plan.schema().columns()).all(|(key, column)| match key {
            Expr::Alias(alias) => *alias.expr == Expr::Column(column),
            _ => false,
        });
        if same && columns.len() == bound.plan.schema().fields().len() {
            return Ok((keys, bound.plan));
        }
        Ok((keys, LogicalPlanBuilder::from(bound.plan).project(columns)?.build()?))
    }

    /// `left op ANY|ALL (array or query)`.
    pub(crate) fn quantified(
        &self,
        env: &Env<'_>,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        any: bool,
    ) -> Result<Typed> {
        let equal = *op == BinaryOperator::Eq && any;
        let unequal = *op == BinaryOperator::NotEq && !any;
        match right {
            ast::Expr::Subquery(query) => self.quantified_query(env, left, op, query, any),
            ast::Expr::Array(array) if equal || unequal => {
                let value = self.expr(env, left)?;
                let list = array.elem.iter().map(|item| self.expr(env, item)).collect::<Result<Vec<_>>>()?;
                // The elements of arrays are those of the whole.
                if list.iter().any(|item| item.ty.as_ref().is_some_and(|ty| ty.element().is_some())) {
                    let whole = self.expr(env, right)?;
                    return self.quantified_array(op, value, whole, any);
                }
                self.in_values(value, list, unequal)
            }
            ast::Expr::Nested(inner) => self.quantified(env, left, op, inner, any),
            _ => {
                let (value, array) = (self.expr(env, left)?, self.expr(env, right)?);
                self.quantified_array(op, value, array, any)
            }
        }
    }
}

/// A query as a part of an expression.
pub(super) fn wrap(plan: LogicalPlan) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() }
}

/// An expression whose own subquery, if it is one, has another plan.
pub(super) fn map_subquery(
    expr: Expr,
    change: &mut dyn FnMut(LogicalPlan) -> DataFusionResult<LogicalPlan>,
) -> DataFusionResult<Transformed<Expr>> {
    let mut changed = |subquery: Subquery| -> DataFusionResult<Subquery> {
        Ok(wrap(change(Arc::unwrap_or_clone(subquery.subquery))?))
    };
    Ok(Transformed::yes(match expr {
        Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(changed(subquery)?),
        Expr::Exists(exists) => Expr::Exists(Exists { subquery: changed(exists.subquery)?, ..exists }),
        Expr::InSubquery(test) => Expr::InSubquery(InSubquery { subquery: changed(test.subquery)?, ..test }),
        Expr::SetComparison(test) => Expr::SetComparison(SetComparison { subquery: changed(test.subquery)?, ..test }),
        other => return Ok(Transformed::no(other)),
    }))
}
