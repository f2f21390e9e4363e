//! CASE, COALESCE and NULLIF: expressions that leave some of their parts aside.

use datafusion::logical_expr::{Case, Expr};
use datafusion::sql::sqlparser::ast::Spanned;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::binder::{Binder, Env};
use super::expand::no_sets;
use super::expr::Cast;
use super::typed::{Typed, literal, null};

impl Binder<'_> {
    /// `CASE [operand] WHEN ... THEN ... ELSE ... END`.
    pub(super) fn case(
        &self,
        env: &Env<'_>,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Typed> {
        let operand = operand.map(|operand| self.expr(env, operand)).transpose()?;
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
        let ty = first.ty.clone().or_else(|| second.ty.clone()).unwrap_or(PgType::Text);
        let first = self.coerce(first, &ty, Cast::Implicit)?;
        let null = literal(null(&ty), &ty);
        let pairs = vec![(Box::new(equal), Box::new(null))];
        Ok(Typed::new(
            Expr::Case(Case { expr: None, when_then_expr: pairs, else_expr: Some(Box::new(first.expr)) }),
            ty,
        ))
    }
}
