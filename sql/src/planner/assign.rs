//! Values stored into columns: VALUES, DEFAULT and SET, by PostgreSQL's assignment casts.
//!
//! A literal or parameter whose type is open takes the column's. Text that is too long for its
//! column is an error of the row, never cut.

use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::{CastContext, PgType, castable};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env, at};
use super::change::{RowScope, Rows, Target, column_place, env};
use super::expr::Cast;
use super::functions;
use super::scope::Scope;
use super::typed::{Typed, base_name, metadata};
use super::unnest::unnest;
use super::{Planner, Resolver, Settings};
use crate::parser::change::{Assignment, AssignmentSource, ColumnName, Overriding};
use crate::parser::parse_expression;
use crate::parser::phrases::is_default;

impl Binder<'_> {
    /// The rows of an INSERT; `places`: the columns that are given, `named`: in a list.
    pub(super) fn inserted(
        &self,
        target: &Target<'_>,
        query: &ast::Query,
        (places, named): (&[usize], Option<&[ColumnName]>),
        overriding: Option<Overriding>,
    ) -> Result<Rows> {
        let width = |width: usize, place: Option<usize>| same_width(width, (places, named), place);
        let nothing = Scope::default();
        let env = self.env(&nothing, "VALUES");
        if let Some(values) = plain_values(query) {
            let first = values.rows.first().map_or(0, |row| row.content.len());
            let mut rows = Vec::with_capacity(values.rows.len());
            for row in &values.rows {
                if row.content.len() != first {
                    let place = row.content.first().and_then(|expr| self.position(ast::Spanned::span(expr)));
                    let error = Error::new(SqlState::SyntaxError, "VALUES lists must all be the same length");
                    return Err(at(error, place));
                }
                let extra = row.content.get(places.len());
                width(first, extra.and_then(|expr| self.position(ast::Spanned::span(expr))))?;
                rows.push(self.row(target, (places, named), &row.content, overriding, &env)?);
            }
            return Ok(Rows::Values(rows));
        }
        self.type_parameters(query, places.iter().map(|place| &target.columns[*place].data_type))?;
        let bound = self.query(query, None, &self.before)?;
        width(bound.columns.len(), None)?;
        let mut exprs = Vec::with_capacity(target.columns.len());
        for (place, column) in target.columns.iter().enumerate() {
            let mut value = None;
            for (given, (_, output)) in
                places.iter().zip(&bound.columns).enumerate().filter(|(_, (known, _))| **known == place)
            {
                if is_taken(target, place, overriding)? {
                    let part = named.and_then(|named| named.get(given)).filter(|column| !column.part.is_empty());
                    let typed = Typed { expr: Expr::Column(output.column.clone()), ty: output.ty.clone(), at: None };
                    value = Some(self.stored(&env, target, (place, part), typed, value)?);
                }
            }
            let expr = value.map_or_else(|| self.default(target, place), Ok)?;
            exprs.push(expr.alias_with_metadata(place.to_string(), Some(metadata(&column.data_type))));
        }
        let plan = LogicalPlanBuilder::from(bound.plan).project(exprs)?.build()?;
        Ok(Rows::Query(unnest(plan, &|wanted| self.unique(wanted), false)?))
    }

    /// Parameters that a SELECT gives to columns have the types of these, if theirs are open.
    fn type_parameters<'t>(&self, query: &ast::Query, types: impl Iterator<Item = &'t PgType>) -> Result<()> {
        let ast::SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
        if select.distinct.is_some() {
            return Ok(());
        }
        for (item, ty) in select.projection.iter().zip(types) {
            let (ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. }) = item else {
                // How many columns a star stands for is not known yet.
                return Ok(());
            };
            if let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(name), .. }) = expr {
                let parameter = self.parameter(name)?;
                if parameter.ty.is_none() {
                    self.coerce(parameter, &ty.base(), Cast::Explicit)?;
                }
            }
        }
        Ok(())
    }

    /// One row of VALUES, in the table's order.
    pub(super) fn row(
        &self,
        target: &Target<'_>,
        (places, named): (&[usize], Option<&[ColumnName]>),
        values: &[ast::Expr],
        overriding: Option<Overriding>,
        env: &Env<'_>,
    ) -> Result<Vec<Expr>> {
        let mut row: Vec<Option<Expr>> = vec![None; target.columns.len()];
        for (given, (place, value)) in places.iter().zip(values).enumerate() {
            let part = named.and_then(|named| named.get(given)).filter(|column| !column.part.is_empty());
            if let (Some(part), true) = (part, is_default(value)) {
                return Err(at(part_default(), part.at));
            }
            if !is_default(value) && is_taken(target, *place, overriding)? {
                let value = self.expr(env, value)?;
                let before = row[*place].take();
                row[*place] = Some(self.stored(env, target, (*place, part), value, before)?);
            }
        }
        row.into_iter()
            .enumerate()
            .map(|(place, value)| value.map_or_else(|| self.default(target, place), Ok))
            .collect()
    }

    /// The DEFAULT of a column.
    pub(super) fn default(&self, target: &Target<'_>, place: usize) -> Result<Expr> {
        let column = &target.columns[place];
        let Some(text) = target.defaults.get(place).and_then(Option::as_ref) else {
            return Ok(super::typed::literal(super::typed::null(&column.data_type), &column.data_type));
        };
        let scope = Scope::default();
        let typed = self.expr(&env(&scope, "DEFAULT expressions"), &parse_expression(text)?)?;
        // The text's places are not the statement's.
        self.store(Typed { at: None, ..typed }, &column.data_type, &|from| {
            format!(
                "column \"{}\" is of type {} but default expression is of type {from}",
                column.name,
                base_name(&column.data_type)
            )
        })
    }

    /// A value as it is stored into a column, or into a part of what the column has `before`.
    fn stored(
        &self,
        env: &Env<'_>,
        target: &Target<'_>,
        (place, part): (usize, Option<&ColumnName>),
        value: Typed,
        before: Option<Expr>,
    ) -> Result<Expr> {
        let column = &target.columns[place];
        let Some(part) = part else { return self.assign(value, &column.name, &column.data_type) };
        let before =
            before.unwrap_or_else(|| super::typed::literal(super::typed::null(&column.data_type), &column.data_type));
        let whole = Typed::new(before, column.data_type.clone());
        self.assign_part(env, whole, part, value)
    }

    /// A value as it is stored into a column.
    pub(super) fn assign(&self, typed: Typed, column: &str, target: &PgType) -> Result<Expr> {
        self.store(typed, target, &|from| {
            format!("column \"{column}\" is of type {} but expression is of type {from}", base_name(target))
        })
    }

    pub(super) fn store(&self, typed: Typed, target: &PgType, mismatch: &dyn Fn(String) -> String) -> Result<Expr> {
        let place = typed.at;
        let typed = match (&typed.ty, &typed.expr) {
            (Some(_), _) => typed,
            // A literal or parameter whose type is open takes the column's, its modifier aside.
            (None, Expr::Literal(..) | Expr::Placeholder(_))
                if matches!(target, PgType::Varchar(_) | PgType::Bpchar(_)) =>
            {
                self.coerce(typed, &PgType::Varchar(None), Cast::Explicit)?
            }
            (None, Expr::Literal(..)) => self.coerce(typed, target, Cast::Explicit)?,
            (None, Expr::Placeholder(_)) => self.coerce(typed, &target.base(), Cast::Explicit)?,
            (None, _) if !matches!(target, PgType::Varchar(_) | PgType::Bpchar(_)) => {
                self.coerce(typed, target, Cast::Explicit)?
            }
            (None, _) => Typed { ty: Some(PgType::Text), ..typed },
        };
        let Some(from) = typed.ty else { return Err(Error::internal("a value without a type")) };
        if from == *target {
            return Ok(typed.expr);
        }
        if castable(&from, target).is_none_or(|context| context == CastContext::Explicit) {
            let error = Error::new(SqlState::DatatypeMismatch, mismatch(base_name(&from)))
                .hint("You will need to rewrite or cast the expression.");
            return Err(at(error, place));
        }
        functions::assign(typed.expr, &from, target, &self.settings.zone).map_err(|error| at(error, place))
    }

    /// The new value of every column: as SET says, or what `own` gives.
    pub(super) fn assigned(
        &self,
        target: &Target<'_>,
        assignments: &[Assignment],
        env: &Env<'_>,
        own: &dyn Fn(usize) -> Expr,
    ) -> Result<Vec<Expr>> {
        let mut values: Vec<Option<Expr>> = vec![None; target.columns.len()];
        let mut whole = vec![false; target.columns.len()];
        for assignment in assignments {
            let given = self.given(&assignment.source, assignment.columns.len(), env)?;
            for (column, value) in assignment.columns.iter().zip(given) {
                let place = column_place(target, column)?;
                let declared = &target.columns[place];
                let part = Some(column).filter(|column| !column.part.is_empty());
                if values[place].is_some() && (part.is_none() || whole[place]) {
                    let message = format!("multiple assignments to same column \"{}\"", column.name);
                    return Err(Error::new(SqlState::SyntaxError, message));
                }
                whole[place] |= part.is_none();
                if value.is_some() && target.identity(place) == Some(true) {
                    let message = format!("column \"{}\" can only be updated to DEFAULT", declared.name);
                    return Err(generated_always(message, &declared.name));
                }
                if value.is_some() && target.is_generated(place) {
                    let message = format!("column \"{}\" can only be updated to DEFAULT", declared.name);
                    return Err(computed(message, &declared.name));
                }
                let before = values[place].take().unwrap_or_else(|| own(place));
                values[place] = Some(match (value, part) {
                    (Some(value), _) => self.stored(env, target, (place, part), value, Some(before))?,
                    (None, Some(part)) => return Err(at(part_default(), part.at)),
                    (None, None) => self.default(target, place)?,
                });
            }
        }
        Ok(values.into_iter().enumerate().map(|(place, value)| value.unwrap_or_else(|| own(place))).collect())
    }
}

impl Binder<'_> {
    /// The values that a part of SET gives to so many columns; `None`: DEFAULT.
    fn given(&self, source: &AssignmentSource, width: usize, env: &Env<'_>) -> Result<Vec<Option<Typed>>> {
        match source {
            AssignmentSource::Values(values) => values
                .iter()
                .map(|value| if is_default(value) { Ok(None) } else { self.expr(env, value).map(Some) })
                .collect(),
            AssignmentSource::Row(query) => {
                let values = self.row_subquery(env, query)?;
                if values.len() != width {
                    let error = Error::new(SqlState::SyntaxError, "number of columns does not match number of values");
                    return Err(at(error, self.position(ast::Spanned::span(query.as_ref()))));
                }
                Ok(values.into_iter().map(Some).collect())
            }
        }
    }
}

impl Planner {
    /// A column's values in the type that it is to have: what USING says, or its own.
    pub(crate) fn bind_conversion(
        &self,
        using: Option<&ast::Expr>,
        (scope, place): (&RowScope, usize),
        column: &Column,
        resolver: &dyn Resolver,
        settings: &Settings,
    ) -> Result<Expr> {
        let binder = Binder::new(resolver, settings, &[]);
        let typed = match (using, scope.names().columns.get(place)) {
            (Some(using), _) => binder.expr(&env(scope.names(), "transform expressions"), using)?,
            (None, Some(own)) => Typed::new(own.expr.clone(), own.ty.clone()),
            (None, None) => return Err(Error::internal("a column that is none")),
        };
        let (name, to) = (&column.name, column.data_type.base().name());
        binder.assign(typed, name, &column.data_type).map_err(|error| match (error.state(), using) {
            (SqlState::DatatypeMismatch, None) => {
                let message = format!("column \"{name}\" cannot be cast automatically to type {to}");
                let hint = format!("You might need to specify \"USING {name}::{to}\".");
                Error::new(SqlState::DatatypeMismatch, message).hint(hint)
            }
            (SqlState::DatatypeMismatch, Some(_)) => {
                let message =
                    format!("result of USING clause for column \"{name}\" cannot be cast automatically to type {to}");
                Error::new(SqlState::DatatypeMismatch, message).hint("You might need to add an explicit cast.")
            }
            _ => error,
        })
    }
}

/// Whether a value that is given for a column is the one it gets. Error 428C9 where it may not be given.
fn is_taken(target: &Target<'_>, place: usize, overriding: Option<Overriding>) -> Result<bool> {
    if target.is_generated(place) {
        let name = &target.columns[place].name;
        return Err(computed(format!("cannot insert a non-DEFAULT value into column \"{name}\""), name));
    }
    match (target.identity(place), overriding) {
        (None, _) | (Some(_), Some(Overriding::System)) | (Some(false), None) => Ok(true),
        (Some(_), Some(Overriding::User)) => Ok(false),
        (Some(true), None) => {
            let name = &target.columns[place].name;
            let error = generated_always(format!("cannot insert a non-DEFAULT value into column \"{name}\""), name);
            Err(error.hint("Use OVERRIDING SYSTEM VALUE to override."))
        }
    }
}

fn generated_always(message: String, column: &str) -> Error {
    let detail = format!("Column \"{column}\" is an identity column defined as GENERATED ALWAYS.");
    Error::new(SqlState::GeneratedAlways, message).detail(detail)
}

fn part_default() -> Error {
    Error::new(SqlState::FeatureNotSupported, "cannot set an array element to DEFAULT")
}

/// The error for a value of a column that is computed.
fn computed(message: String, column: &str) -> Error {
    Error::new(SqlState::GeneratedAlways, message).detail(format!("Column \"{column}\" is a generated column."))
}

/// Refuses a row of another width than the columns that it is for, perhaps named in a list; `extra` is
/// the place of the first value too many.
pub(super) fn same_width(
    width: usize,
    (places, named): (&[usize], Option<&[ColumnName]>),
    extra: Option<usize>,
) -> Result<()> {
    let (message, place) = if width > places.len() {
        ("INSERT has more expressions than target columns", extra)
    } else if let Some(without) = named.and_then(|columns| columns.get(width)) {
        ("INSERT has more target columns than expressions", without.at)
    } else {
        return Ok(());
    };
    Err(at(Error::new(SqlState::SyntaxError, message), place))
}

/// The rows of a query that is VALUES and nothing else.
fn plain_values(query: &ast::Query) -> Option<&ast::Values> {
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    match query.body.as_ref() {
        ast::SetExpr::Values(values) if plain => Some(values),
        _ => None,
    }
}
