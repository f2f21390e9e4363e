//! CASE, COALESCE and NULLIF: expressions that leave some of their parts aside.

use datafusion::logical_expr::{Case, Expr};
use datafusion::sql::sqlparser::ast::Spanned;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::binder::{Binder, Env};
use super::expand::no_sets;
use super::expr::Cast;
use super::operator::comparison_type;
use super::typed::{Typed, literal, null, same_base};

impl Binder<'_> {
    /// `CASE [operand] WHEN ... THEN ... ELSE ... END`.
    pub(super) fn case(
        &self,
        env: &Env<'_>,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Typed> {
        // An open literal is text here, whatever it is compared with.
        let operand = operand.map(|operand| self.settled(self.expr(env, operand)?)).transpose()?;
        no_sets(&operand.iter().collect::<Vec<_>>(), "CASE")?;
        let mut whens = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        for when in conditions {
            let place = self.position(when.condition.span());
            let condition = match &operand {
                Some(operand) => {
                    self.compare(&BinaryOperator::Eq, operand.clone(), self.expr(env, &when.condition)?, false)?
                }
                None => Typed::new(self.condition(env, &when.condition, "CASE/WHEN")?, PgType::Bool),
            };
            whens.push(condition.at(place));
            results.push(self.expr(env, &when.result)?);
        }
        let has_else = otherwise.is_some();
        if let Some(otherwise) = otherwise {
            // PostgreSQL looks at ELSE first when it chooses the type.
            results.insert(0, self.expr(env, otherwise)?);
        }
        no_sets(&whens.iter().chain(&results).collect::<Vec<_>>(), "CASE")?;
        let (mut results, ty) = self.unify(results, "CASE")?;
        let otherwise = if has_else { Some(Box::new(results.remove(0).expr)) } else { None };
        let pairs = whens
            .into_iter()
            .map(|when| Box::new(when.expr))
            .zip(results.into_iter().map(|result| Box::new(result.expr)))
            .collect();
        Ok(Typed::new(Expr::Case(Case { expr: None, when_then_expr: pairs, else_expr: otherwise }), ty))
    }

    /// `COALESCE(...)`.
    pub(super) fn coalesce(&self, args: Vec<Typed>) -> Result<Typed> {
        no_sets(&args.iter().collect::<Vec<_>>(), "COALESCE")?;
        let (args, ty) = self.unify(args, "COALESCE")?;
        let mut exprs: Vec<Expr> = args.into_iter().map(|arg| arg.expr).collect();
        let Some(last) = exprs.pop() else { return Err(Error::internal("coalesce of nothing")) };
        if exprs.is_empty() {
            return Ok(Typed::new(last, ty));
        }
        let pairs = exprs.into_iter().map(|expr| (Box::new(expr.clone().is_not_null()), Box::new(expr))).collect();
        Ok(Typed::new(Expr::Case(Case { expr: None, when_then_expr: pairs, else_expr: Some(Box::new(last)) }), ty))
    }

    /// `NULLIF(a, b)`.
    pub(super) fn null_if(&self, mut args: Vec<Typed>) -> Result<Typed> {
        let (Some(second), Some(first)) = (args.pop(), args.pop()) else {
            return Err(Error::internal("nullif of nothing"));
        };
        let first = if first.ty.is_none() && second.ty.is_none() { self.settled(first)? } else { first };
        let equal = self.compare(&BinaryOperator::Eq, first.clone(), second.clone(), false)?.expr;
        let ty = null_if_type(first.ty.as_ref(), second.ty.as_ref());
        let first = self.coerce(first, &ty, Cast::Explicit)?;
        let null = literal(null(&ty), &ty);
        let pairs = vec![(Box::new(equal), Box::new(null))];
        Ok(Typed::new(
            Expr::Case(Case { expr: None, when_then_expr: pairs, else_expr: Some(Box::new(first.expr)) }),
            ty,
        ))
    }
}

/// The type of NULLIF: that of the left operand of the `=` which compares the two.
fn null_if_type(first: Option<&PgType>, second: Option<&PgType>) -> PgType {
    use PgType::{Date, Float4, Float8, Int2, Int4, Int8, Timestamp, Timestamptz};
    let ty = match (first, second) {
        (Some(one), None) => one.clone(),
        (None, Some(other)) => other.base(),
        (Some(one), Some(other)) if same_base(one, other) => one.clone(),
        // There is an `=` for each two of these.
        (Some(one @ (Int2 | Int4 | Int8)), Some(Int2 | Int4 | Int8))
        | (Some(one @ (Float4 | Float8)), Some(Float4 | Float8 | Int2 | Int4 | Int8 | PgType::Numeric(_)))
        | (Some(one @ (Date | Timestamp | Timestamptz)), Some(Date | Timestamp | Timestamptz)) => one.clone(),
        (Some(one), Some(other)) => comparison_type(one, other).unwrap_or_else(|| one.clone()),
        (None, None) => PgType::Text,
    };
    if matches!(ty, PgType::Varchar(_)) { PgType::Text } else { ty }
}
