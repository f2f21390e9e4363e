//! BETWEEN, of values and of rows.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator};
use thalweg_dataflow::Result;
use thalweg_dataflow::types::PgType;

use super::binder::{Binder, Env};
use super::typed::Typed;
use crate::parser::grammar_marks::SYMMETRIC;

impl Binder<'_> {
    /// `inner [NOT] BETWEEN [SYMMETRIC] low AND high`.
    pub(super) fn between(
        &self,
        env: &Env<'_>,
        inner: &ast::Expr,
        negated: bool,
        low: &ast::Expr,
        high: &ast::Expr,
    ) -> Result<Typed> {
        if let ast::Expr::Function(call) = low
            && call.name.to_string().trim_matches('"') == SYMMETRIC
            && let ast::FunctionArguments::List(list) = &call.args
            && let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(low))] = list.args.as_slice()
        {
            let one = self.between(env, inner, negated, low, high)?.expr;
            let other = self.between(env, inner, negated, high, low)?.expr;
            return Ok(Typed::new(if negated { one.and(other) } else { one.or(other) }, PgType::Bool));
        }
        let (first, second) = if negated {
            (BinaryOperator::Lt, BinaryOperator::Gt)
        } else {
            (BinaryOperator::GtEq, BinaryOperator::LtEq)
        };
        if let Some(first) = self.rows_compared(env, inner, &first, low, false)?
            && let Some(second) = self.rows_compared(env, inner, &second, high, false)?
        {
            let (first, second) = (first.expr, second.expr);
            return Ok(Typed::new(if negated { first.or(second) } else { first.and(second) }, PgType::Bool));
        }
        let (value, low, high) = (self.expr(env, inner)?, self.expr(env, low)?, self.expr(env, high)?);
        let first = self.compare(&first, value.clone(), low, false)?.expr;
        let second = self.compare(&second, value, high, false)?.expr;
        Ok(Typed::new(if negated { first.or(second) } else { first.and(second) }, PgType::Bool))
    }
}
