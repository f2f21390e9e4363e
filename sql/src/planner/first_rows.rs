//! LIMIT, OFFSET and FETCH.
//!
//! Counts that are constants or parameters become DataFusion's limit. Others (`LIMIT (SELECT ...)`)
//! and WITH TIES become conditions on numbers that a window gives the rows.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Column, ScalarValue};
use datafusion::functions_window::rank::rank_udwf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SortExpr, cast};
use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::types::{PgType, Zone};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, BoundQuery, Ctes, Env, at};
use super::expr::Cast;
use super::functions::udf::{Input, PgFunction};
use super::functions::{evaluated, primitive};
use super::scope::Scope;
use super::typed::{Category, Typed, base_name, category};
use super::unnest::numbering;
use crate::parser::fetch_count;

/// What a query says of how many rows it wants.
struct Wanted {
    limit: Option<ast::Expr>,
    offset: Option<ast::Expr>,
    with_ties: bool,
}

impl Binder<'_> {
    /// The rows of a query that LIMIT, OFFSET and FETCH leave.
    pub(super) fn first_rows(
        &self,
        bound: BoundQuery,
        query: &ast::Query,
        outer: Option<&Env<'_>>,
        ctes: &Ctes,
    ) -> Result<BoundQuery> {
        let wanted = wanted(query)?;
        let scope = Scope::default();
        let env = Env {
            scope: &scope,
            outer,
            ctes: ctes.clone(),
            no_aggregates: Some("LIMIT"),
            no_windows: Some("LIMIT"),
            windows: Vec::new().into(),
        };
        let fetch = self.row_count(&env, wanted.limit, "LIMIT")?;
        let skip = self.row_count(&env, wanted.offset, "OFFSET")?;
        if fetch.is_none() && skip.is_none() {
            return Ok(bound);
        }
        let simple = |count: &Expr| matches!(count, Expr::Literal(..) | Expr::Placeholder(_));
        let plan = match wanted.with_ties || !fetch.iter().chain(&skip).all(simple) {
            false => LogicalPlanBuilder::from(bound.plan).limit_by_expr(skip, fetch)?.build()?,
            true => self.by_number(bound.plan, skip, fetch, wanted.with_ties)?,
        };
        Ok(BoundQuery { plan, columns: bound.columns })
    }

    /// A count of rows; none where it is null, which is no bound.
    fn row_count(&self, env: &Env<'_>, expr: Option<ast::Expr>, clause: &'static str) -> Result<Option<Expr>> {
        let Some(expr) = expr else { return Ok(None) };
        let count = self.expr(env, &expr)?;
        if let Some(ty) = count.ty.as_ref().filter(|ty| category(ty) != Category::Number) {
            let message = format!("argument of {clause} must be type bigint, not type {}", base_name(ty));
            return Err(at(Error::new(SqlState::DatatypeMismatch, message), count.at));
        }
        let count = self.coerce(count, &PgType::Int8, Cast::Explicit)?.expr;
        Ok(match count {
            Expr::Literal(ScalarValue::Int64(None), _) => None,
            Expr::Literal(ScalarValue::Int64(Some(value)), _) if value < 0 => return Err(negative(clause)),
            Expr::Literal(..) | Expr::Placeholder(_) => Some(count),
            other => {
                let kernel = if clause == "LIMIT" { limit_count } else { offset_count };
                let function = PgFunction::new(clause, vec![PgType::Int8], PgType::Int8, Zone::default(), kernel);
                Some(evaluated(function, vec![other]))
            }
        })
    }

    fn or_zero(&self, count: Expr) -> Result<Expr> {
        let zero = Typed::constant(ScalarValue::Int64(Some(0)), PgType::Int8);
        Ok(self.coalesce(vec![Typed::new(count, PgType::Int8), zero])?.expr)
    }

    /// The rows whose numbers, in the plan's order, are behind `skip` and within `fetch`.
    fn by_number(
        &self,
        plan: LogicalPlan,
        skip: Option<Expr>,
        fetch: Option<Expr>,
        with_ties: bool,
    ) -> Result<LogicalPlan> {
        let shown: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let (shown, input, order) = ordered(plan, shown);
        if with_ties && order.is_empty() {
            let message = "WITH TIES cannot be specified without ORDER BY clause";
            return Err(Error::new(SqlState::SyntaxError, message));
        }
        let (number, rank) = (self.unique("number"), self.unique("rank"));
        let mut windows = vec![numbering(row_number_udwf(), Vec::new(), order.clone()).alias(&number)];
        if with_ties {
            windows.push(numbering(rank_udwf(), Vec::new(), order.clone()).alias(&rank));
        }
        let place = |name: &str| cast(Expr::Column(Column::new_unqualified(name)), DataType::Int64);
        let zero = || Expr::Literal(ScalarValue::Int64(Some(0)), None);
        let mut plan = LogicalPlanBuilder::from(input).window(windows)?;
        if let Some(fetch) = fetch {
            // A count that is null lets all rows pass.
            let skipped = skip.clone().map_or_else(|| Ok(zero()), |skip| self.or_zero(skip))?;
            let last = place(if with_ties { &rank } else { &number });
            let within = (last - skipped).lt_eq(fetch);
            plan = plan.filter(within.is_not_false())?;
        }
        if let Some(skip) = skip {
            plan = plan.filter(place(&number).gt(self.or_zero(skip)?))?;
        }
        if !order.is_empty() {
            plan = plan.sort(order)?;
        }
        Ok(plan.project(shown)?.build()?)
    }
}

/// The clauses as one.
fn wanted(query: &ast::Query) -> Result<Wanted> {
    let (limit, offset) = match &query.limit_clause {
        None => (None, None),
        Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            (limit.clone(), offset.as_ref().map(|offset| offset.value.clone()))
        }
        Some(_) => return Err(Error::unsupported("this form of LIMIT")),
    };
    let Some(fetch) = &query.fetch else { return Ok(Wanted { limit, offset, with_ties: false }) };
    if fetch.percent {
        return Err(Error::unsupported("FETCH ... PERCENT"));
    }
    if fetch.quantity.as_ref().is_some_and(fetch_count::is_mark) {
        return Ok(Wanted { limit, offset, with_ties: fetch.with_ties });
    }
    if limit.is_some() {
        return Err(Error::new(SqlState::SyntaxError, "multiple LIMIT clauses not allowed"));
    }
    let one = ast::Expr::Value(ast::Value::Number("1".into(), false).into());
    let limit = Some(fetch.quantity.clone().unwrap_or(one));
    Ok(Wanted { limit, offset, with_ties: fetch.with_ties })
}

/// What a plan shows, its rows without their order, and the order.
fn ordered(plan: LogicalPlan, shown: Vec<Expr>) -> (Vec<Expr>, LogicalPlan, Vec<SortExpr>) {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => (shown, Arc::unwrap_or_clone(sort.input), sort.expr),
        LogicalPlan::Projection(projection) if matches!(projection.input.as_ref(), LogicalPlan::Sort(_)) => {
            ordered(Arc::unwrap_or_clone(projection.input), projection.expr)
        }
        other => (shown, other, Vec::new()),
    }
}

fn negative(clause: &str) -> Error {
    let state = if clause == "LIMIT" { SqlState::InvalidLimit } else { SqlState::InvalidOffset };
    Error::new(state, format!("{clause} must not be negative"))
}

fn limit_count(input: &Input<'_>) -> Result<ArrayRef> {
    counts(input, "LIMIT")
}

fn offset_count(input: &Input<'_>) -> Result<ArrayRef> {
    counts(input, "OFFSET")
}

/// The counts as they are; errors 2201W and 2201X for those below 0.
fn counts(input: &Input<'_>, clause: &str) -> Result<ArrayRef> {
    match primitive::<Int64Type>(input, 0)?.iter().flatten().any(|count| count < 0) {
        true => Err(negative(clause)),
        false => input.array(0),
    }
}
