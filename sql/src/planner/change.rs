//! INSERT, UPDATE and DELETE, bound: which rows go, which come, and what RETURNING says of them.
//!
//! Values are bound as in queries and then stored into columns by PostgreSQL's assignment casts.
//! Rows that are at hand already (VALUES, what ON CONFLICT finds) are looked at by expressions over
//! [`RowScope`]; an UPDATE or DELETE is a query over its table, each row of which has a number.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env, at, fold, name_parts};
use super::change_by_key::{ByKey, by_key};
use super::from::unseen;
use super::names::output_name;
use super::record::has_outer_join;
use super::scope::{Scope, ScopeColumn};
use super::typed::{Typed, metadata};
use super::unnest::unnest;
use super::{Planner, Resolver, Settings};
use crate::parser::change::{ColumnName, Conflict, ConflictAction, Delete, Insert, Update};

/// A table as a statement changes it.
pub(crate) struct Target<'a> {
    /// The engine's name for it.
    pub(crate) id: RelationId,
    /// Its name.
    pub(crate) name: &'a str,
    /// What its columns are qualified by.
    pub(crate) visible: &'a str,
    /// Its columns.
    pub(crate) columns: &'a [thalweg_dataflow::source::Column],
    /// Their DEFAULTs.
    pub(crate) defaults: &'a [Option<String>],
    /// The columns of each unique key.
    pub(crate) keys: Vec<Vec<usize>>,
    /// The places of its identity columns, and which of them are ALWAYS.
    pub(crate) identities: Vec<(usize, bool)>,
    /// The places of the columns that are computed from others, and what from.
    pub(crate) generated: Vec<(usize, &'a str)>,
}

impl Target<'_> {
    /// Whether a column is an identity, and ALWAYS.
    pub(super) fn identity(&self, place: usize) -> Option<bool> {
        self.identities.iter().find(|(known, _)| *known == place).map(|(_, always)| *always)
    }

    /// Whether a column is computed from others.
    pub(super) fn is_generated(&self, place: usize) -> bool {
        self.generated.iter().any(|(known, _)| *known == place)
    }
}

/// Expressions over rows that are at hand: their columns by number, and what names mean them.
#[derive(Debug, Clone)]
pub(crate) struct RowScope {
    /// The rows' schema as DataFusion knows it.
    pub(crate) schema: DFSchemaRef,
    pub(super) scope: Scope,
}

/// RETURNING.
#[derive(Debug, Clone)]
pub(crate) struct Returning {
    /// One expression a column.
    pub(crate) exprs: Vec<Expr>,
    /// The columns.
    pub(crate) schema: SchemaRef,
}

/// Where the rows of an INSERT come from; all columns of the table, in order.
pub(crate) enum Rows {
    /// VALUES: expressions over nothing.
    Values(Vec<Vec<Expr>>),
    /// A query.
    Query(LogicalPlan),
}

/// INSERT, bound.
pub(crate) struct BoundInsert {
    /// The rows.
    pub(crate) rows: Rows,
    /// DO UPDATE: the new value of every column and the condition, over the row that is there and
    /// behind it the one that was to be inserted.
    pub(crate) update: Option<(Vec<Expr>, Option<Expr>, RowScope)>,
    /// RETURNING, over the table's columns.
    pub(crate) returning: Option<(Returning, RowScope)>,
    /// The types of `$1`, ...
    pub(crate) parameters: Vec<PgType>,
}

/// UPDATE or DELETE, bound: a query that gives each row's number, its columns, for UPDATE its
/// columns as they are to be, and the columns of RETURNING.
pub(crate) struct BoundChange {
    /// The query.
    pub(crate) plan: LogicalPlan,
    /// Its columns.
    pub(crate) schema: SchemaRef,
    /// The columns of RETURNING.
    pub(crate) returning: Option<SchemaRef>,
    /// The types of `$1`, ...
    pub(crate) parameters: Vec<PgType>,
    /// The same by a key, where the condition names one.
    pub(crate) by_key: Option<ByKey>,
}

impl RowScope {
    /// Over these tables, the columns of one behind those of the other.
    pub(crate) fn new(tables: &[(&str, &[thalweg_dataflow::source::Column])]) -> Result<RowScope> {
        let mut scope = Scope::default();
        let mut fields = Vec::new();
        for (table, columns) in tables {
            scope.tables.push((*table).to_string());
            for column in *columns {
                let place = fields.len().to_string();
                scope.columns.push(ScopeColumn {
                    table: Some((*table).to_string()),
                    name: column.name.clone(),
                    expr: Expr::Column(Column::new_unqualified(&place)),
                    ty: column.data_type.clone(),
                    hidden: false,
                    origin: None,
                });
                fields.push(column.data_type.field(place, true));
            }
        }
        let schema = DFSchema::try_from(Schema::new(fields))?;
        Ok(RowScope { schema: Arc::new(schema), scope })
    }

    /// What names mean in it.
    pub(super) fn names(&self) -> &Scope {
        &self.scope
    }

    /// A column by its place.
    pub(super) fn column(&self, place: usize) -> Expr {
        Expr::Column(Column::new_unqualified(place.to_string()))
    }
}

/// What an expression sees that no WITH is around.
pub(super) fn env<'s>(scope: &'s Scope, clause: &'static str) -> Env<'s> {
    Env {
        scope,
        outer: None,
        ctes: Vec::new().into(),
        no_aggregates: Some(clause),
        no_windows: Some(clause),
        windows: Vec::new().into(),
    }
}

impl Planner {
    /// Binds an INSERT. Whether the table has the constraint that ON CONFLICT names is the caller's
    /// business.
    pub(crate) fn bind_insert(
        &self,
        insert: &Insert,
        target: &Target<'_>,
        resolver: &dyn Resolver,
        settings: &Settings,
        parameters: &[Option<PgType>],
    ) -> Result<BoundInsert> {
        let binder = Binder::new(resolver, settings, parameters).behind(&insert.with)?;
        let places = places(target, insert.columns.as_deref())?;
        let own = RowScope::new(&[(target.visible, target.columns)])?;
        let own = binder.env(&own.scope, "VALUES");
        let rows = match insert.source.as_deref() {
            None => Rows::Values(vec![binder.row(
                target,
                (&[], None),
                &[],
                None,
                &binder.env(&Scope::default(), "VALUES"),
            )?]),
            Some(query) => binder
                .inserted(target, query, (&places, insert.columns.as_deref()), insert.overriding)
                .map_err(|error| unseen(error, Some(&own)))?,
        };
        let update = match &insert.conflict {
            Some(Conflict { action: ConflictAction::Update(assignments, condition), .. }) => {
                let mut scope = RowScope::new(&[(target.visible, target.columns), ("excluded", target.columns)])?;
                scope
                    .scope
                    .renamed
                    .extend((target.name != target.visible).then(|| (target.name.into(), target.visible.into())));
                let values = binder
                    .assigned(target, assignments, &binder.env(&scope.scope, "UPDATE"), &|place| scope.column(place))?;
                let condition = match condition {
                    Some(condition) => {
                        let env = binder.env(&scope.scope, "WHERE");
                        Some(binder.condition(&env, condition, "WHERE")?)
                    }
                    None => None,
                };
                Some((values, condition, scope))
            }
            _ => None,
        };
        let returning = match &insert.returning {
            Some(items) => {
                let scope = RowScope::new(&[(target.visible, target.columns)])?;
                let bound = binder.returning(items, &scope.scope)?;
                Some((bound, scope))
            }
            None => None,
        };
        Ok(BoundInsert { rows, update, returning, parameters: settled(binder)? })
    }

    /// Binds an UPDATE.
    pub(crate) fn bind_update(
        &self,
        update: &Update,
        target: &Target<'_>,
        resolver: &dyn Resolver,
        settings: &Settings,
        parameters: &[Option<PgType>],
    ) -> Result<BoundChange> {
        let binder = Binder::new(resolver, settings, parameters).behind(&update.with)?;
        if update.from.iter().any(has_outer_join) {
            binder.note_assigned(&update.assignments);
            binder.note_names(&update.condition);
            binder.note_names(&update.returning);
        }
        let (plan, scope) = binder.changed_rows(target, &update.from, update.condition.as_ref())?;
        let own = |place: usize| scope.columns[place].expr.clone();
        let values = binder.assigned(target, &update.assignments, &binder.env(&scope, "UPDATE"), &own)?;
        let mut bound = binder.change(plan, &scope, target, Some(values), update.returning.as_deref())?;
        if update.from.is_empty() {
            let under = (resolver, settings, bound.parameters.as_slice());
            let (set, returning) = (Some(update.assignments.as_slice()), update.returning.as_deref());
            bound.by_key = by_key(target, update.condition.as_ref(), set, returning, &update.with, under)?;
        }
        Ok(bound)
    }

    /// Binds a DELETE.
    pub(crate) fn bind_delete(
        &self,
        delete: &Delete,
        target: &Target<'_>,
        resolver: &dyn Resolver,
        settings: &Settings,
        parameters: &[Option<PgType>],
    ) -> Result<BoundChange> {
        let binder = Binder::new(resolver, settings, parameters).behind(&delete.with)?;
        if delete.using.iter().any(has_outer_join) {
            binder.note_names(&delete.condition);
            binder.note_names(&delete.returning);
        }
        let (plan, scope) = binder.changed_rows(target, &delete.using, delete.condition.as_ref())?;
        let mut bound = binder.change(plan, &scope, target, None, delete.returning.as_deref())?;
        if delete.using.is_empty() {
            let under = (resolver, settings, bound.parameters.as_slice());
            let returning = delete.returning.as_deref();
            bound.by_key = by_key(target, delete.condition.as_ref(), None, returning, &delete.with, under)?;
        }
        Ok(bound)
    }

    /// The values of a row for which nothing is given: the DEFAULT of each column.
    pub(crate) fn bind_defaults(
        &self,
        target: &Target<'_>,
        resolver: &dyn Resolver,
        settings: &Settings,
    ) -> Result<Vec<Expr>> {
        let binder = Binder::new(resolver, settings, &[]);
        (0..target.columns.len()).map(|place| binder.default(target, place)).collect()
    }

    /// A CHECK over the columns of its table.
    pub(crate) fn bind_check(
        &self,
        expr: &ast::Expr,
        scope: &RowScope,
        resolver: &dyn Resolver,
        settings: &Settings,
    ) -> Result<Expr> {
        let binder = Binder::new(resolver, settings, &[]);
        let env = env(&scope.scope, "check constraints");
        let condition = binder.condition(&env, expr, "CHECK")?;
        settled(binder)?;
        Ok(condition)
    }
}

/// The types of the parameters; all must be known by now.
pub(super) fn settled(binder: Binder<'_>) -> Result<Vec<PgType>> {
    let parameters = binder.parameters.into_inner();
    if let Some(shared) = &binder.settings.shared_parameters {
        shared.lock().clone_from(&parameters);
        return Ok(parameters.into_iter().map(|ty| ty.unwrap_or(PgType::Text)).collect());
    }
    known(parameters)
}

/// The types of the parameters, none of them open.
pub(crate) fn known(parameters: Vec<Option<PgType>>) -> Result<Vec<PgType>> {
    match parameters.iter().position(Option::is_none) {
        Some(open) => Err(Error::new(
            SqlState::IndeterminateDatatype,
            format!("could not determine data type of parameter ${}", open + 1),
        )),
        None => Ok(parameters.into_iter().flatten().collect()),
    }
}

/// The place of a column; PostgreSQL's error if there is none.
pub(crate) fn column_place(target: &Target<'_>, column: &ColumnName) -> Result<usize> {
    target.columns.iter().position(|known| known.name == column.name).ok_or_else(|| {
        let message = format!("column \"{}\" of relation \"{}\" does not exist", column.name, target.name);
        at(Error::new(SqlState::UndefinedColumn, message), column.at)
    })
}

impl<'b> Binder<'b> {
    /// For a statement with this WITH before it.
    pub(super) fn behind(mut self, with: &[ast::With]) -> Result<Binder<'b>> {
        for with in with {
            self.before = self.with(Some(with), None, &self.before)?;
        }
        Ok(self)
    }

    /// What an expression of the statement sees.
    pub(super) fn env<'s>(&self, scope: &'s Scope, clause: &'static str) -> Env<'s> {
        Env { ctes: self.before.clone(), ..env(scope, clause) }
    }
}

impl Binder<'_> {
    /// The plan of UPDATE or DELETE over its rows.
    fn change(
        self,
        plan: LogicalPlan,
        scope: &Scope,
        target: &Target<'_>,
        values: Option<Vec<Expr>>,
        returning: Option<&[ast::SelectItem]>,
    ) -> Result<BoundChange> {
        let width = target.columns.len();
        let is_update = values.is_some();
        let mut exprs = Vec::new();
        let mut fields = Vec::new();
        let mut push = |name: String, expr: Expr, ty: &PgType| {
            exprs.push(expr.alias_with_metadata(&name, Some(metadata(ty))));
            fields.push(ty.field(name, true));
        };
        let number = scope.columns.last().map(|column| column.expr.clone()).unwrap_or_default();
        push("number".into(), number, &PgType::Int8);
        for (place, column) in target.columns.iter().enumerate() {
            push(format!("old{place}"), scope.columns[place].expr.clone(), &column.data_type);
        }
        for (place, value) in values.into_iter().flatten().enumerate() {
            push(format!("new{place}"), value, &target.columns[place].data_type);
        }
        let shown = if is_update { 1 + 2 * width } else { 1 + width };
        // What RETURNING sees: the table's columns as they become or were, and the others'.
        let mut after = scope.clone();
        after.columns.pop();
        for (place, column) in after.columns.iter_mut().enumerate() {
            let name = match (place < width, is_update) {
                (true, true) => format!("new{place}"),
                (true, false) => format!("old{place}"),
                (false, _) => {
                    let name = format!("other{place}");
                    push(name.clone(), column.expr.clone(), &column.ty.clone());
                    name
                }
            };
            column.expr = Expr::Column(Column::new_unqualified(name));
        }
        let rows = after.rows.iter_mut().map(|(_, column)| (&mut column.expr, column.ty.clone()));
        let present = after.present.iter_mut().map(|(_, present)| (present, PgType::Bool));
        for (place, (expr, ty)) in rows.chain(present).enumerate() {
            let name = format!("row{place}");
            push(name.clone(), expr.clone(), &ty);
            *expr = Expr::Column(Column::new_unqualified(name));
        }
        let mut plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
        if is_update && !target.generated.is_empty() {
            plan = self.with_generated(plan, target)?;
        }
        let mut fields: Vec<Field> = fields.into_iter().take(shown).collect();
        let returning = match returning {
            Some(items) => {
                let bound = self.returning(items, &after)?;
                let mut exprs: Vec<Expr> =
                    fields.iter().map(|field| Expr::Column(Column::new_unqualified(field.name()))).collect();
                for (place, (expr, field)) in bound.exprs.into_iter().zip(bound.schema.fields()).enumerate() {
                    let name = format!("returned{place}");
                    exprs.push(expr.alias_with_metadata(&name, Some(metadata(&PgType::of(field)))));
                    fields.push(PgType::of(field).field(name, true));
                }
                plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
                Some(bound.schema)
            }
            None => None,
        };
        let plan = unnest(plan, &|wanted| self.unique(wanted), false)?;
        let (schema, parameters) = (Arc::new(Schema::new(fields)), settled(self)?);
        Ok(BoundChange { plan, schema, returning, parameters, by_key: None })
    }

    pub(super) fn returning(&self, items: &[ast::SelectItem], scope: &Scope) -> Result<Returning> {
        let env = self.env(scope, "RETURNING");
        let (mut exprs, mut fields) = (Vec::new(), Vec::new());
        let mut push = |name: String, typed: Typed| -> Result<()> {
            let typed = self.settled(typed)?;
            let ty = typed.ty.unwrap_or(PgType::Text);
            exprs.push(typed.expr);
            fields.push(ty.field(name, true));
            Ok(())
        };
        let star = |table: Option<&str>| {
            let columns = scope
                .columns
                .iter()
                .filter(|column| !column.hidden && table.is_none_or(|table| column.table.as_deref() == Some(table)));
            let typed = columns.map(|column| (column.name.clone(), Typed::new(column.expr.clone(), column.ty.clone())));
            typed.collect::<Vec<_>>()
        };
        for item in items {
            match item {
                ast::SelectItem::UnnamedExpr(expr) => push(output_name(expr), self.expr(&env, expr)?)?,
                ast::SelectItem::ExprWithAlias { expr, alias } => push(fold(alias), self.expr(&env, expr)?)?,
                ast::SelectItem::Wildcard(_) => {
                    star(None).into_iter().try_for_each(|(name, typed)| push(name, typed))?
                }
                ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let table = name_parts(name)?.pop().unwrap_or_default();
                    if !scope.tables.contains(&table) {
                        return Err(scope.no_column(Some(&table), "*"));
                    }
                    star(Some(&table)).into_iter().try_for_each(|(name, typed)| push(name, typed))?;
                }
                other => return Err(Error::unsupported(format!("{other} in RETURNING"))),
            }
        }
        Ok(Returning { exprs, schema: Arc::new(Schema::new(fields)) })
    }
}

/// The places of the named columns, or of all; each may be named once.
pub(crate) fn places(target: &Target<'_>, columns: Option<&[ColumnName]>) -> Result<Vec<usize>> {
    let Some(columns) = columns else { return Ok((0..target.columns.len()).collect()) };
    let mut places = Vec::with_capacity(columns.len());
    for column in columns {
        let place = column_place(target, column)?;
        let twice = places.iter().zip(columns).any(|(known, other): (&usize, &ColumnName)| {
            *known == place && (column.part.is_empty() || other.part.is_empty())
        });
        if twice {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(at(Error::new(SqlState::DuplicateColumn, message), column.at));
        }
        places.push(place);
    }
    Ok(places)
}

/// A column of one value, for rows that are constants.
pub(crate) fn constant(expr: &Expr, ty: &PgType) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) if value.data_type() == ty.arrow() => Some(value.clone()),
        Expr::Literal(value, _) if value.data_type() == DataType::Null => ScalarValue::try_from(&ty.arrow()).ok(),
        _ => None,
    }
}
