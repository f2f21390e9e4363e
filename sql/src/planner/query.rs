//! Queries: VALUES, and ORDER BY around a SELECT.
//!
//! Every query ends in a plan whose columns have names of their own; what the user sees is kept
//! beside it.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SortExpr, Union};
use datafusion::sql::sqlparser::ast::{self, SetExpr, SetOperator};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, BoundQuery, Ctes, Env, OutputColumn, fold};
use super::expr::Cast;
use super::functions;
use super::scope::Scope;
use super::typed::{Typed, compares_natively, marked, metadata};

impl Binder<'_> {
    /// Binds a query.
    pub(crate) fn query(&self, query: &ast::Query, outer: Option<&Env<'_>>, ctes: &Ctes) -> Result<BoundQuery> {
        refuse_clauses(query)?;
        let ctes = self.with(query.with.as_ref(), outer, ctes)?;
        let order = order_items(query.order_by.as_ref())?;
        let bound = match query.body.as_ref() {
            SetExpr::Select(select) => self.select(select, order, outer, &ctes)?,
            other => {
                let bound = self.set_expr(other, outer, &ctes)?;
                self.order_output(bound, order)?
            }
        };
        self.first_rows(bound, query, outer, &ctes)
    }

    pub(super) fn set_expr(&self, body: &SetExpr, outer: Option<&Env<'_>>, ctes: &Ctes) -> Result<BoundQuery> {
        self.nested(|| match body {
            SetExpr::Select(select) => self.select(select, Vec::new(), outer, ctes),
            SetExpr::Query(query) => self.query(query, outer, ctes),
            SetExpr::Values(values) => self.values(values, outer, ctes),
            SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right }
                if matches!(left.as_ref(), SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: inner, .. }
                    if inner == set_quantifier) =>
            {
                let (mut branches, mut first) = (vec![right.as_ref()], left.as_ref());
                while let SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier: inner, right } = first
                    && inner == set_quantifier
                {
                    branches.push(right.as_ref());
                    first = left.as_ref();
                }
                branches.push(first);
                let bound = branches.into_iter().rev().map(|branch| self.set_expr(branch, outer, ctes));
                self.union_of(bound.collect::<Result<_>>()?, *set_quantifier)
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let left = self.set_expr(left, outer, ctes)?;
                let right = self.set_expr(right, outer, ctes)?;
                self.set_operation(left, *op, *set_quantifier, right)
            }
            SetExpr::Table(_) => Err(Error::internal("TABLE is a SELECT when it is read")),
            _ => Err(Error::unsupported("a data-changing statement in a query")),
        })
    }

    /// A plan whose columns are given names of their own again.
    pub(super) fn rebuilt(&self, plan: LogicalPlan, names: Vec<String>, types: Vec<PgType>) -> Result<BoundQuery> {
        let mut exprs = Vec::with_capacity(names.len());
        let mut columns = Vec::with_capacity(names.len());
        for (place, (name, ty)) in names.into_iter().zip(types).enumerate() {
            let column = Expr::Column(Column::from(plan.schema().qualified_field(place)));
            let unique = self.unique(&name);
            exprs.push(marked(column, &unique, &ty, plan.schema()));
            columns.push(OutputColumn { name, column: Column::new_unqualified(unique), ty: Some(ty), origin: None });
        }
        let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
        Ok(BoundQuery { plan, columns })
    }

    /// The rows of a query in these types; `exact`: equal values also have equal bytes.
    pub(super) fn convert(&self, bound: BoundQuery, types: &[PgType], exact: bool) -> Result<LogicalPlan> {
        let mut exprs = Vec::with_capacity(types.len());
        for (column, ty) in bound.columns.iter().zip(types) {
            let typed = Typed { expr: Expr::Column(column.column.clone()), ty: column.ty.clone(), at: None };
            let mut expr = self.coerce(typed, ty, Cast::Explicit)?.expr;
            if exact {
                expr = functions::canonical(expr, ty)?;
            }
            exprs.push(marked(expr, &self.unique(&column.name), ty, bound.plan.schema()));
        }
        Ok(LogicalPlanBuilder::from(bound.plan).project(exprs)?.build()?)
    }

    /// A query whose unknown columns have become text.
    pub(crate) fn settled_query(&self, bound: BoundQuery) -> Result<BoundQuery> {
        if bound.columns.iter().all(|column| column.ty.is_some()) {
            return Ok(bound);
        }
        Ok(BoundQuery {
            plan: bound.plan,
            columns: bound
                .columns
                .into_iter()
                .map(|column| OutputColumn { ty: column.ty.or(Some(PgType::Text)), ..column })
                .collect(),
        })
    }

    fn values(&self, values: &ast::Values, outer: Option<&Env<'_>>, ctes: &Ctes) -> Result<BoundQuery> {
        let scope = Scope::default();
        let env = Env {
            scope: &scope,
            outer,
            ctes: ctes.clone(),
            no_aggregates: Some("VALUES"),
            no_windows: Some("VALUES"),
            windows: Vec::new().into(),
        };
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut columns: Vec<Vec<Typed>> = vec![Vec::new(); width];
        for row in &values.rows {
            if row.content.len() != width {
                return Err(Error::new(SqlState::SyntaxError, "VALUES lists must all be the same length"));
            }
            for (column, item) in columns.iter_mut().zip(&row.content) {
                column.push(self.expr(&env, item)?);
            }
        }
        let mut types = Vec::with_capacity(width);
        let mut rows: Vec<Vec<Expr>> = vec![Vec::with_capacity(width); values.rows.len()];
        for column in columns {
            let (items, ty) = self.unify(column, "VALUES")?;
            types.push(ty);
            for (row, item) in rows.iter_mut().zip(items) {
                row.push(item.expr);
            }
        }
        let constant = rows.iter().flatten().all(|expr| matches!(expr, Expr::Literal(..) | Expr::Placeholder(_)));
        let plan = if constant { LogicalPlanBuilder::values(rows)?.build()? } else { rows_computed(rows, &types)? };
        let names = (1..=width).map(|number| format!("column{number}")).collect();
        self.rebuilt(plan, names, types)
    }

    /// ORDER BY over output columns alone.
    fn order_output(&self, bound: BoundQuery, order: Vec<ast::OrderByExpr>) -> Result<BoundQuery> {
        if order.is_empty() {
            return Ok(bound);
        }
        let bound = self.settled_query(bound)?;
        let mut sorts = Vec::with_capacity(order.len());
        for item in &order {
            let place = match output_place(&item.expr, &bound.columns, "ORDER BY")? {
                Some(place) => place,
                None if let ast::Expr::Identifier(name) = &item.expr => {
                    let message = format!("column \"{}\" does not exist", fold(name));
                    return Err(Error::new(SqlState::UndefinedColumn, message));
                }
                None => {
                    return Err(Error::new(
                        SqlState::FeatureNotSupported,
                        "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
                    )
                    .detail("Only result column names can be used, not expressions or functions.")
                    .hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause."));
                }
            };
            let column = &bound.columns[place];
            sorts.push(sort(
                Expr::Column(column.column.clone()),
                column.ty.as_ref().unwrap_or(&PgType::Text),
                &item.options,
            )?);
        }
        let plan = LogicalPlanBuilder::from(bound.plan).sort(sorts)?.build()?;
        Ok(BoundQuery { plan, columns: bound.columns })
    }
}

fn refuse_clauses(query: &ast::Query) -> Result<()> {
    if !query.locks.is_empty() {
        return Err(Error::unsupported("SELECT ... FOR UPDATE or FOR SHARE"));
    }
    if query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty()
    {
        return Err(Error::unsupported("this clause of the query"));
    }
    Ok(())
}

/// VALUES whose items are no constants: a union of rows.
fn rows_computed(rows: Vec<Vec<Expr>>, types: &[PgType]) -> Result<LogicalPlan> {
    let mut inputs = Vec::with_capacity(rows.len());
    for row in rows {
        let named =
            row.into_iter().zip(types).enumerate().map(|(place, (expr, ty))| {
                expr.alias_with_metadata(format!("column{}", place + 1), Some(metadata(ty)))
            });
        inputs.push(Arc::new(LogicalPlanBuilder::empty(true).project(named.collect::<Vec<_>>())?.build()?));
    }
    match inputs.as_slice() {
        [only] => Ok((**only).clone()),
        _ => Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)),
    }
}

/// The items of ORDER BY.
fn order_items(order: Option<&ast::OrderBy>) -> Result<Vec<ast::OrderByExpr>> {
    match order.map(|order| &order.kind) {
        None => Ok(Vec::new()),
        Some(ast::OrderByKind::Expressions(items)) => Ok(items.clone()),
        Some(ast::OrderByKind::All(_)) => Err(Error::unsupported("ORDER BY ALL")),
    }
}

/// The output column that an item of `clause` names by its number or name.
pub(crate) fn output_place(expr: &ast::Expr, columns: &[OutputColumn], clause: &str) -> Result<Option<usize>> {
    match expr {
        ast::Expr::Identifier(ident) => {
            let name = fold(ident);
            let mut found = columns.iter().enumerate().filter(|(_, column)| column.name == name);
            let first = found.next();
            Ok(first.map(|(place, _)| place))
        }
        ast::Expr::Nested(inner) => output_place(inner, columns, clause),
        other => numbered_place(other, columns.len(), clause),
    }
}

/// The place, from 0, that a number in `clause` names among so many. Any other constant is refused there.
pub(crate) fn numbered_place(expr: &ast::Expr, count: usize, clause: &str) -> Result<Option<usize>> {
    let Some(constant) = written_constant(expr) else { return Ok(None) };
    let Some(number) = constant.and_then(|digits| digits.parse::<i32>().ok()) else {
        return Err(Error::new(SqlState::SyntaxError, format!("non-integer constant in {clause}")));
    };
    match usize::try_from(number) {
        Ok(place) if (1..=count).contains(&place) => Ok(Some(place - 1)),
        _ => Err(Error::new(
            SqlState::InvalidColumnReference,
            format!("{clause} position {number} is not in select list"),
        )),
    }
}

/// A constant as PostgreSQL's grammar sees it, its digits if it is a number.
fn written_constant(expr: &ast::Expr) -> Option<Option<String>> {
    match expr {
        ast::Expr::Nested(inner) => written_constant(inner),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => Some(Some(digits.clone())),
            ast::Value::Placeholder(_) => None,
            _ => Some(None),
        },
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => {
            let digits = written_constant(expr)??;
            Some(Some(digits.strip_prefix('-').map_or_else(|| format!("-{digits}"), str::to_string)))
        }
        _ => None,
    }
}

/// A sort key as PostgreSQL orders the type: nulls are larger than everything.
pub(crate) fn sort(expr: Expr, ty: &PgType, options: &ast::OrderByOptions) -> Result<SortExpr> {
    let ascending = options.asc.unwrap_or(true);
    let key = if compares_natively(ty) { expr } else { functions::key(expr, ty)? };
    Ok(SortExpr::new(key, ascending, options.nulls_first.unwrap_or(!ascending)))
}

/// Gives a derived table's columns the names of its alias.
pub(crate) fn rename(bound: &mut BoundQuery, table: &str, names: &[ast::TableAliasColumnDef]) -> Result<()> {
    if names.len() > bound.columns.len() {
        let message = format!(
            "table \"{table}\" has {} columns available but {} columns specified",
            bound.columns.len(),
            names.len()
        );
        return Err(Error::new(SqlState::InvalidColumnReference, message));
    }
    for (column, name) in bound.columns.iter_mut().zip(names) {
        column.name = fold(&name.name);
    }
    Ok(())
}
