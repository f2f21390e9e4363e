//! Subqueries in expressions: scalar, IN, EXISTS, ANY and ALL.
//!
//! They stay expressions of the plan; where rows are filtered DataFusion turns them into joins,
//! elsewhere `membership` makes values of them. A view refuses them when it is lowered.

use std::sync::Arc;

use datafusion::common::Spans;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, BoundQuery, Env};
use super::expr::Cast;
use super::typed::{Typed, common, compares_natively};
use super::{functions, membership};

impl Binder<'_> {
    fn subquery(&self, env: &Env<'_>, query: &ast::Query) -> Result<BoundQuery> {
        self.nested(|| self.query(query, Some(env), &env.ctes))
    }

    /// `(SELECT ...)` as a value.
    pub(crate) fn scalar_subquery(&self, env: &Env<'_>, query: &ast::Query) -> Result<Typed> {
        let bound = self.settled_query(self.subquery(env, query)?)?;
        let ty = single_column(&bound)?;
        let value = functions::nullable(Expr::ScalarSubquery(wrap(bound.plan)), &ty);
        Ok(Typed::new(value, ty))
    }

    /// `[NOT] EXISTS (SELECT ...)`.
    pub(crate) fn exists(&self, env: &Env<'_>, query: &ast::Query, negated: bool) -> Result<Typed> {
        let bound = self.subquery(env, query)?;
        if self.joins_subqueries(env) {
            return Ok(Typed::new(Expr::Exists(Exists { subquery: wrap(bound.plan), negated }), PgType::Bool));
        }
        let exists = membership::exists(bound.plan, self.unique("exists"))?;
        Ok(Typed::new(if negated { Expr::Not(Box::new(exists)) } else { exists }, PgType::Bool))
    }

    /// `inner [NOT] IN (SELECT ...)`.
    pub(crate) fn in_subquery(
        &self,
        env: &Env<'_>,
        inner: &ast::Expr,
        query: &ast::Query,
        negated: bool,
    ) -> Result<Typed> {
        let value = self.expr(env, inner)?;
        let bound = self.settled_query(self.subquery(env, query)?)?;
        let column_type = match bound.columns.as_slice() {
            [_] => single_column(&bound)?,
            columns => {
                let many = if columns.is_empty() { "few" } else { "many" };
                return Err(Error::new(SqlState::SyntaxError, format!("subquery has too {many} columns")));
            }
        };
        let ty = common([(value.ty.as_ref(), value.at), (Some(&column_type), None)], "IN").map_err(|_| {
            let message =
                format!("operator does not exist: {} = {}", value.type_name(), super::typed::base_name(&column_type));
            Error::new(SqlState::UndefinedFunction, message).hint(
                "No operator matches the given name and argument types. You might need to add explicit type casts.",
            )
        })?;
        let value = self.coerce(value, &ty, Cast::Explicit)?;
        let mut plan = bound.plan;
        if column_type != ty || !compares_natively(&ty) {
            let column = Typed::new(Expr::Column(bound.columns[0].column.clone()), column_type);
            let column = self.coerce(column, &ty, Cast::Explicit)?;
            let key = functions::key(column.expr, &ty)?.alias(self.unique("key"));
            plan = LogicalPlanBuilder::from(plan).project([key])?.build()?;
        }
        let key = functions::key(value.expr, &ty)?;
        if self.joins_subqueries(env) {
            let expr = Box::new(key);
            return Ok(Typed::new(Expr::InSubquery(InSubquery { expr, subquery: wrap(plan), negated }), PgType::Bool));
        }
        let member = membership::is_member(key, plan, self.unique("members"))?;
        Ok(Typed::new(if negated { Expr::Not(Box::new(member)) } else { member }, PgType::Bool))
    }

    /// Whether subqueries may stay as they are: where they filter rows, and in a view, which names
    /// them when it refuses them.
    fn joins_subqueries(&self, env: &Env<'_>) -> bool {
        env.filters || self.settings.view
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
            ast::Expr::Subquery(query) if equal || unequal => self.in_subquery(env, left, query, unequal),
            ast::Expr::Array(array) if equal || unequal => {
                let value = self.expr(env, left)?;
                let list = array.elem.iter().map(|item| self.expr(env, item)).collect::<Result<Vec<_>>>()?;
                self.in_values(value, list, unequal)
            }
            ast::Expr::Nested(inner) => self.quantified(env, left, op, inner, any),
            ast::Expr::Cast { expr, .. } if equal || unequal => self.quantified(env, left, op, expr, any),
            ast::Expr::Value(value) if equal || unequal => {
                let list = value
                    .value
                    .clone()
                    .into_string()
                    .and_then(|text| array_items(&text))
                    .ok_or_else(|| Error::unsupported("ANY or ALL over this array"))?;
                let value = self.expr(env, left)?;
                self.in_values(value, list.into_iter().map(Typed::unknown).collect(), unequal)
            }
            _ => Err(Error::unsupported(format!("{op} {} over this operand", if any { "ANY" } else { "ALL" }))
                .hint("Supported are = ANY and <> ALL over a subquery or an array literal.")),
        }
    }
}

/// A query as a part of an expression.
pub(super) fn wrap(plan: LogicalPlan) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() }
}

fn single_column(bound: &BoundQuery) -> Result<PgType> {
    match bound.columns.as_slice() {
        [column] => Ok(column.ty.clone().unwrap_or(PgType::Text)),
        _ => Err(Error::new(SqlState::SyntaxError, "subquery must return only one column")),
    }
}

/// The items of `{a,b,"c d",NULL}`; `None` if it is not a flat array.
fn array_items(text: &str) -> Option<Vec<Option<String>>> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    let mut rest = inside.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut item = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next()? {
                    (_, '\\') => item.push(chars.next()?.1),
                    (end, '"') => break end,
                    (_, c) => item.push(c),
                }
            };
            items.push(Some(item));
            rest = quoted[end + 1..].trim_start();
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let item = rest[..end].trim();
            if item.contains(['{', '}', '"']) || item.is_empty() {
                return None;
            }
            items.push(if item.eq_ignore_ascii_case("null") { None } else { Some(item.to_string()) });
            rest = &rest[end..];
        }
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if rest.is_empty() => "",
            None => return None,
        };
    }
    Some(items)
}
