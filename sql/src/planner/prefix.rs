//! Operators before their operand.

use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, UnaryOperator, Value};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env};
use super::expr::{Cast, number};
use super::operator::NOT_UNIQUE;
use super::typed::{Category, Typed, category, implicit};

impl Binder<'_> {
    /// `op inner`.
    pub(super) fn unary(&self, env: &Env<'_>, op: UnaryOperator, inner: &ast::Expr) -> Result<Typed> {
        match (op, inner) {
            (UnaryOperator::Not, _) => {
                let inner = self.condition(env, inner, "NOT")?;
                Ok(Typed::new(Expr::Not(Box::new(inner)), PgType::Bool))
            }
            (UnaryOperator::Minus, ast::Expr::Value(value)) if matches!(value.value, Value::Number(..)) => {
                match &value.value {
                    Value::Number(digits, _) => number(&format!("-{digits}")),
                    _ => Err(Error::internal("a number that is none")),
                }
            }
            // A minus holds tighter than a power in PostgreSQL, looser in sqlparser.
            (UnaryOperator::Minus, ast::Expr::BinaryOp { left, op: BinaryOperator::PGExp, right }) => {
                let left = Box::new(ast::Expr::UnaryOp { op, expr: left.clone() });
                self.expr(env, &ast::Expr::BinaryOp { left, op: BinaryOperator::PGExp, right: right.clone() })
            }
            (UnaryOperator::Minus, _) => self.negate(self.expr(env, inner)?),
            (UnaryOperator::Plus, _) => {
                let inner = self.expr(env, inner)?;
                match &inner.ty {
                    Some(ty) if category(ty) == Category::Number => Ok(inner),
                    Some(_) => Err(no_prefix_operator("+", &inner)),
                    None => self.coerce(inner, &PgType::Float8, Cast::Implicit),
                }
            }
            (UnaryOperator::PGSquareRoot | UnaryOperator::PGCubeRoot, _) => {
                let (symbol, name) = if op == UnaryOperator::PGSquareRoot { ("|/", "sqrt") } else { ("||/", "cbrt") };
                let inner = self.expr(env, inner)?;
                if inner.ty.as_ref().is_some_and(|ty| !implicit(ty, &PgType::Float8)) {
                    return Err(no_prefix_operator(symbol, &inner));
                }
                let inner = self.coerce(inner, &PgType::Float8, Cast::Implicit)?;
                self.call_by_name(name, vec![inner])
            }
            (UnaryOperator::BitwiseNot, _) => {
                let inner = self.expr(env, inner)?;
                match inner.ty {
                    Some(PgType::Int2 | PgType::Int4 | PgType::Int8) => self.call_by_name("~", vec![inner]),
                    _ => Err(no_prefix_operator("~", &inner)),
                }
            }
            (UnaryOperator::PGAbs, _) => {
                let inner = self.expr(env, inner)?;
                if inner.ty.as_ref().is_some_and(|ty| category(ty) != Category::Number) {
                    return Err(no_prefix_operator("@", &inner));
                }
                self.call_by_name("abs", vec![inner])
            }
            (other, _) => Err(Error::unsupported(format!("the operator {other}"))),
        }
    }

    /// `- inner`.
    pub(crate) fn negate(&self, inner: Typed) -> Result<Typed> {
        let Some(ty) = inner.ty.clone() else {
            return Err(Error::new(SqlState::AmbiguousFunction, "operator is not unique: - unknown").hint(NOT_UNIQUE));
        };
        if let PgType::Time(_) = ty {
            return self.negate(self.coerce(inner, &PgType::Interval, Cast::Implicit)?);
        }
        if category(&ty) != Category::Number && ty != PgType::Interval || ty == PgType::Oid {
            return Err(no_prefix_operator("-", &inner));
        }
        self.call_by_name("uminus", vec![inner])
    }
}

pub(super) fn no_prefix_operator(symbol: &str, operand: &Typed) -> Error {
    if operand.ty.is_none() {
        return Error::new(SqlState::AmbiguousFunction, format!("operator is not unique: {symbol} unknown"))
            .hint(NOT_UNIQUE);
    }
    let message = format!("operator does not exist: {symbol} {}", operand.type_name());
    Error::new(SqlState::UndefinedFunction, message)
        .hint("No operator matches the given name and argument type. You might need to add an explicit type cast.")
}
