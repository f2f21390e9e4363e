//! Rows in comparisons: `(a, b) = (1, 2)`, `ROW(a, b) < ROW(c, d)`, `(a, b) = (SELECT ...)`, `(a, b) IN
//! ((1, 2), ...)`, `(a, b) IS NULL`, `IS DISTINCT FROM`.
//!
//! They become comparisons of their items, from the left: the first pair that differs decides, and a
//! null before one leaves the answer open, as in PostgreSQL. A row is no value by itself.

use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env};
use super::typed::Typed;

/// The items of `(a, b, ...)` or `ROW(a, b, ...)`; `None` if the expression is no row.
pub(super) fn row_items(expr: &ast::Expr) -> Option<Vec<&ast::Expr>> {
    match expr {
        ast::Expr::Tuple(items) => Some(items.iter().collect()),
        ast::Expr::Nested(inner) => match inner.as_ref() {
            ast::Expr::Tuple(_) | ast::Expr::Function(_) => row_items(inner),
            _ => None,
        },
        ast::Expr::Function(call) => row_call(call),
        _ => None,
    }
}

/// The items of `ROW(...)`; `None` if a call is none.
pub(super) fn row_call(call: &ast::Function) -> Option<Vec<&ast::Expr>> {
    match &call.args {
        ast::FunctionArguments::List(list) if call.name.to_string().eq_ignore_ascii_case("row") => {
            list.args.iter().map(plain).collect()
        }
        _ => None,
    }
}

fn plain(arg: &ast::FunctionArg) -> Option<&ast::Expr> {
    match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// A query in parentheses.
fn query_of(expr: &ast::Expr) -> Option<&ast::Query> {
    match expr {
        ast::Expr::Subquery(query) => Some(query),
        ast::Expr::Nested(inner) => query_of(inner),
        _ => None,
    }
}

impl Binder<'_> {
    /// A comparison of rows; `None`: the left side is no row, or it is no comparison.
    pub(super) fn rows_compared(
        &self,
        env: &Env<'_>,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        distinct: bool,
    ) -> Result<Option<Typed>> {
        use BinaryOperator as B;
        if !matches!(op, B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq) {
            return Ok(None);
        }
        let Some(left) = row_items(left) else { return Ok(None) };
        let others = match (row_items(right), query_of(right)) {
            (Some(right), _) => self.all(env, &right)?,
            (None, Some(query)) => {
                let values = self.row_subquery(env, query)?;
                if values.len() != left.len() {
                    let many = if values.len() < left.len() { "few" } else { "many" };
                    return Err(Error::new(SqlState::SyntaxError, format!("subquery has too {many} columns")));
                }
                values
            }
            (None, None) => return Ok(None),
        };
        if left.len() != others.len() {
            return Err(Error::new(SqlState::SyntaxError, "unequal number of entries in row expressions"));
        }
        let pairs = self.all(env, &left)?.into_iter().zip(others).collect();
        Ok(Some(Typed::new(self.pairs_compared(pairs, op, distinct)?, PgType::Bool)))
    }

    fn all(&self, env: &Env<'_>, items: &[&ast::Expr]) -> Result<Vec<Typed>> {
        items.iter().map(|item| self.expr(env, item)).collect()
    }

    /// Rows compared item by item, given in pairs.
    pub(super) fn pairs_compared(
        &self,
        pairs: Vec<(Typed, Typed)>,
        op: &BinaryOperator,
        distinct: bool,
    ) -> Result<Expr> {
        use BinaryOperator as B;
        let strict = match op {
            B::LtEq => B::Lt,
            B::GtEq => B::Gt,
            other => other.clone(),
        };
        let mut result: Option<Expr> = None;
        // From the right: what is left of a pair comes before it.
        for (one, other) in pairs.into_iter().rev() {
            result = Some(match (op, result) {
                (_, None) => self.compare(op, one, other, distinct)?.expr,
                (B::Eq, Some(rest)) => self.compare(op, one, other, distinct)?.expr.and(rest),
                (B::NotEq, Some(rest)) => self.compare(op, one, other, distinct)?.expr.or(rest),
                (_, Some(rest)) => {
                    let decides = self.compare(&strict, one.clone(), other.clone(), false)?.expr;
                    decides.or(self.compare(&B::Eq, one, other, false)?.expr.and(rest))
                }
            });
        }
        result.ok_or_else(|| Error::new(SqlState::FeatureNotSupported, "cannot compare rows of zero length"))
    }

    /// `row [NOT] IN (rows)`; `None`: it is no row.
    pub(super) fn row_in_list(
        &self,
        env: &Env<'_>,
        row: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
    ) -> Result<Option<Typed>> {
        if row_items(row).is_none() {
            return Ok(None);
        }
        let mut any: Option<Expr> = None;
        for item in list {
            let equal = self.rows_compared(env, row, &BinaryOperator::Eq, item, false)?;
            let equal = equal.ok_or_else(|| Error::unsupported("a row beside a value in IN"))?.expr;
            any = Some(match any {
                Some(any) => any.or(equal),
                None => equal,
            });
        }
        let any = any.unwrap_or_else(|| datafusion::prelude::lit(false));
        Ok(Some(Typed::new(if negated { Expr::Not(Box::new(any)) } else { any }, PgType::Bool)))
    }

    /// `row IS NULL`: all items are; `row IS NOT NULL`: none is. `None`: it is no row.
    pub(super) fn row_is_null(&self, env: &Env<'_>, row: &ast::Expr, null: bool) -> Result<Option<Typed>> {
        let Some(items) = row_items(row) else { return Ok(None) };
        let mut all = datafusion::prelude::lit(true);
        for item in items {
            let value = self.settled(self.expr(env, item)?)?.expr;
            all = all.and(if null { value.is_null() } else { value.is_not_null() });
        }
        Ok(Some(Typed::new(all, PgType::Bool)))
    }
}
