//! FROM: relations, derived tables and joins, with the scope they make.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Case, Expr, JoinType, LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion::sql::sqlparser::ast::Spanned;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, JoinConstraint, JoinOperator, TableFactor};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::Relation;
use super::binder::{Binder, BoundQuery, Ctes, Env, at, fold, name_parts};
use super::expand::{Argument, TableFunction};
use super::json_records;
use super::query::rename;
use super::scope::{Scope, ScopeColumn};
use super::typed::{Typed, metadata};
use crate::parser::elsewhere;
use crate::parser::with_changes::NO_RETURNING;

/// A relation's place in a plan; execution puts rows behind it.
pub(crate) struct RelationSource {
    /// The relation.
    pub(crate) relation: Relation,
    /// Its columns.
    pub(crate) schema: SchemaRef,
}

impl fmt::Debug for RelationSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.relation.fmt(f)
    }
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// What an expression beside this scope sees.
pub(super) fn surroundings<'e>(scope: &'e Scope, outer: Option<&'e Env<'e>>, ctes: &Ctes) -> Env<'e> {
    Env {
        scope,
        outer,
        ctes: ctes.clone(),
        no_aggregates: Some("JOIN conditions"),
        no_windows: Some("JOIN conditions"),
        windows: Vec::new().into(),
    }
}

/// The error for a table or column that is in sight of other parts of the statement alone.
pub(super) fn unseen(error: Error, beside: Option<&Env<'_>>) -> Error {
    let mut near = beside;
    while let Some(env) = near {
        let named = |table: &&String| error.message() == format!("missing FROM-clause entry for table \"{table}\"");
        if let Some(table) = env.scope.tables.iter().find(named) {
            let message = format!("invalid reference to FROM-clause entry for table \"{table}\"");
            let hint = format!(
                "There is an entry for table \"{table}\", but it cannot be referenced from this part of the query."
            );
            let position = error.position();
            return at(Error::new(SqlState::UndefinedTable, message).hint(hint), position);
        }
        let column = |column: &&ScopeColumn| error.message() == format!("column \"{}\" does not exist", column.name);
        let mut columns = env.scope.columns.iter().filter(|column| !column.hidden);
        if let Some(ScopeColumn { table: Some(table), name, .. }) = columns.find(column) {
            let hint = format!(
                "There is a column named \"{name}\" in table \"{table}\", but it cannot be referenced from this part of the query."
            );
            return error.hint(hint);
        }
        near = env.outer;
    }
    error
}

/// A function in FROM, and its alias.
fn called(factor: &TableFactor) -> Result<(TableFunction<'_>, Option<&ast::TableAlias>)> {
    let own = |name: &ast::ObjectName| Ok::<_, Error>(name_parts(name)?.pop().unwrap_or_default());
    match factor {
        TableFactor::Table { name, alias, args: Some(list), with_ordinality, sample: None, .. }
            if list.settings.is_none() =>
        {
            let args = list.args.iter().map(Argument::Written).collect();
            Ok((TableFunction { name: own(name)?, args, ordinality: *with_ordinality }, alias.as_ref()))
        }
        TableFactor::Function { name, args, with_ordinality, alias, .. } => {
            let args = args.iter().map(Argument::Written).collect();
            Ok((TableFunction { name: own(name)?, args, ordinality: *with_ordinality }, alias.as_ref()))
        }
        TableFactor::UNNEST { array_exprs, with_ordinality, alias, with_offset: false, .. } => {
            let args = array_exprs.iter().map(Argument::Plain).collect();
            Ok((TableFunction { name: "unnest".into(), args, ordinality: *with_ordinality }, alias.as_ref()))
        }
        other => Err(Error::unsupported(format!("{other} in FROM"))),
    }
}

/// A part of FROM: its rows and what they can be named by.
pub(crate) struct From {
    /// The rows.
    pub(crate) plan: LogicalPlan,
    /// The names.
    pub(crate) scope: Scope,
}

impl Binder<'_> {
    /// The FROM clause; without one, a single row without columns.
    pub(crate) fn from(&self, tables: &[ast::TableWithJoins], outer: Option<&Env<'_>>, ctes: &Ctes) -> Result<From> {
        let mut whole: Option<From> = None;
        for table in tables {
            // What stands before a LATERAL item is in its sight.
            let scope = whole.as_ref().map(|so_far| so_far.scope.clone()).unwrap_or_default();
            let beside = surroundings(&scope, outer, ctes);
            let next = self.table_with_joins(table, outer, Some(&beside), ctes)?;
            whole = Some(match whole {
                None => next,
                Some(mut so_far) => {
                    so_far.scope.extend(next.scope)?;
                    From {
                        plan: LogicalPlanBuilder::from(so_far.plan).cross_join(next.plan)?.build()?,
                        scope: so_far.scope,
                    }
                }
            });
        }
        match whole {
            Some(whole) => Ok(whole),
            None => Ok(From { plan: LogicalPlanBuilder::empty(true).build()?, scope: Scope::default() }),
        }
    }

    /// One item with the joins behind it; `beside` is what its LATERAL items see.
    fn table_with_joins(
        &self,
        table: &ast::TableWithJoins,
        outer: Option<&Env<'_>>,
        beside: Option<&Env<'_>>,
        ctes: &Ctes,
    ) -> Result<From> {
        let mut left = self.factor(&table.relation, outer, beside, ctes)?;
        for join in &table.joins {
            let scope = left.scope.clone();
            let near = surroundings(&scope, beside.or(outer), ctes);
            let right = self.factor(&join.relation, outer, Some(&near), ctes)?;
            left = self.join(left, right, &join.join_operator, outer, ctes).map_err(|error| unseen(error, beside))?;
        }
        Ok(left)
    }

    fn factor(
        &self,
        factor: &TableFactor,
        outer: Option<&Env<'_>>,
        beside: Option<&Env<'_>>,
        ctes: &Ctes,
    ) -> Result<From> {
        match factor {
            TableFactor::Table { name, alias, args: None, sample: None, with_ordinality: false, .. } => {
                let place = self.position(name.span());
                let mut from = self.table(name, alias.as_ref(), ctes).map_err(|error| at(error, place))?;
                if let (Some(alias), Some(own)) = (alias, name_parts(name)?.pop()) {
                    from.scope.renamed.push((own, fold(&alias.name)));
                }
                Ok(from)
            }
            TableFactor::Table { .. } | TableFactor::Function { .. } | TableFactor::UNNEST { .. } => {
                let scope = Scope::default();
                let clause = Some("functions in FROM");
                let within = surroundings(&scope, beside.or(outer), ctes);
                let env = Env { no_aggregates: clause, no_windows: clause, ..within };
                let (function, alias) = called(factor)?;
                if let Some(hint) = elsewhere::windowed(&function.name) {
                    let what = format!("{} in FROM", function.name.to_uppercase());
                    return Err(at(Error::unsupported(what).hint(hint), self.position(factor.span())));
                }
                if let Some(derived) = json_records::derived(&function, alias)? {
                    return self.factor(&derived, outer, beside, ctes);
                }
                if super::system::is_called_table(&function.name) {
                    let name =
                        ast::ObjectName::from(vec![ast::Ident::new("pg_catalog"), ast::Ident::new(&function.name)]);
                    return self.table(&name, alias, ctes);
                }
                let mut bound = self.table_function(&env, &function).map_err(|error| unseen(error, beside))?;
                let visible = alias.map_or_else(|| function.name.clone(), |alias| fold(&alias.name));
                let is_single = bound.columns.len() == 1;
                if let Some(alias) = alias {
                    // The function's own column is called as the table is, if it has no name itself.
                    let own = bound.columns.len() - usize::from(function.ordinality);
                    if own == 1 && bound.columns[0].name == function.name {
                        bound.columns[0].name = fold(&alias.name);
                    }
                }
                let mut from = self.derived(bound, visible.clone(), alias.map_or(&[], |alias| &alias.columns))?;
                if is_single {
                    from.scope.rows.extend(from.scope.columns.first().cloned().map(|column| (visible, column)));
                }
                Ok(from)
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let seen = if *lateral { beside.or(outer) } else { outer };
                let bound = self.nested(|| self.query(subquery, seen, ctes)).map_err(|error| unseen(error, beside))?;
                let bound = self.settled_query(bound)?;
                let Some(alias) = alias else {
                    return Err(Error::new(SqlState::SyntaxError, "subquery in FROM must have an alias")
                        .hint("For example, FROM (SELECT ...) [AS] foo."));
                };
                self.derived(bound, fold(&alias.name), &alias.columns)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.nested(|| self.table_with_joins(table_with_joins, outer, beside, ctes))
            }
            other => Err(Error::unsupported(format!("{other} in FROM"))),
        }
    }

    fn table(&self, name: &ast::ObjectName, alias: Option<&ast::TableAlias>, ctes: &Ctes) -> Result<From> {
        let parts = name_parts(name)?;
        let columns = alias.map_or(&[][..], |alias| alias.columns.as_slice());
        let visible = |own: &str| alias.map_or_else(|| own.to_string(), |alias| fold(&alias.name));
        let (schema, own) = match parts.as_slice() {
            [own] => (None, own.as_str()),
            [schema, own] | [_, schema, own] => (Some(schema.as_str()), own.as_str()),
            _ => {
                return Err(Error::new(
                    SqlState::SyntaxError,
                    format!("improper relation name (too many dotted names): {name}"),
                ));
            }
        };
        if schema.is_none()
            && let Some((_, bound)) = ctes.iter().rev().find(|(cte, _)| cte == own)
        {
            if matches!(bound.columns.as_slice(), [only] if only.name == NO_RETURNING) {
                let message = format!("WITH query \"{own}\" does not have a RETURNING clause");
                return Err(Error::new(SqlState::FeatureNotSupported, message));
            }
            self.note_named(&bound.plan)?;
            return self.derived(bound.clone(), visible(own), columns);
        }
        if let Some(named) = self.resolver.named_query(schema, own)? {
            let bound = self.named_query(&named)?;
            self.note_named(&bound.plan)?;
            let mut from = self.derived(bound, visible(own), columns)?;
            from.scope.originates(Some(named.oid));
            return Ok(from);
        }
        let relation = self.resolver.relation(schema, own)?.ok_or_else(|| {
            let full = parts.join(".");
            Error::new(SqlState::UndefinedTable, format!("relation \"{full}\" does not exist"))
        })?;
        let oid = match &relation {
            Relation::Virtual(_) => u32::try_from(crate::system::class_oid(own).unwrap_or(0)).ok(),
            _ => None,
        };
        let origin = oid.or_else(|| self.resolver.oid(schema, own));
        let mut from = self.scan(relation, own, visible(own))?;
        from.scope.originates(origin);
        from.scope.table_oids.extend(oid.map(|oid| (visible(own), oid)));
        if let Some(key) = self.resolver.primary_key(schema, own) {
            from.scope.decides(&key);
        }
        if columns.len() > from.scope.columns.len() {
            let message = format!(
                "table \"{own}\" has {} columns available but {} columns specified",
                from.scope.columns.len(),
                columns.len()
            );
            return Err(Error::new(SqlState::InvalidColumnReference, message));
        }
        for (column, name) in from.scope.columns.iter_mut().zip(columns) {
            column.name = fold(&name.name);
        }
        Ok(from)
    }

    fn scan(&self, relation: Relation, own: &str, visible: String) -> Result<From> {
        let places = match &relation {
            Relation::View { visible, .. } => visible.clone(),
            _ => None,
        };
        let (schema, source): (SchemaRef, Arc<dyn TableSource>) = match &relation {
            Relation::Source { id, schema, .. } | Relation::View { id, schema, .. } => {
                let mut reads = self.reads.borrow_mut();
                if !reads.contains(id) {
                    reads.push(*id);
                }
                (schema.clone(), Arc::new(RelationSource { schema: schema.clone(), relation: relation.clone() }))
            }
            Relation::Files { scan, .. } => {
                (scan.schema(), Arc::new(RelationSource { schema: scan.schema(), relation: relation.clone() }))
            }
            Relation::Virtual(provider) => (provider.schema(), provider_as_source(provider.clone())),
        };
        let alias = TableReference::bare(self.unique(own));
        let mut plan = LogicalPlanBuilder::scan(alias.clone(), source, None)?.build()?;
        let types: Vec<PgType> = schema.fields().iter().map(|field| PgType::of(field)).collect();
        if schema.fields().iter().zip(&types).any(|(field, ty)| *field.data_type() != ty.arrow()) {
            // System tables may use layouts that the SQL layer does not know.
            let exprs = schema.fields().iter().zip(&types).map(|(field, ty)| {
                let column = Expr::Column(Column::new(Some(alias.clone()), field.name()));
                let cast = if *field.data_type() == ty.arrow() {
                    column
                } else {
                    datafusion::prelude::cast(column, ty.arrow())
                };
                cast.alias_qualified_with_metadata(Some(alias.clone()), field.name(), Some(metadata(ty)))
            });
            plan = LogicalPlanBuilder::from(plan).project(exprs.collect::<Vec<_>>())?.build()?;
        }
        let columns = places.unwrap_or_else(|| (0..types.len()).collect()).into_iter().map(|place| {
            let name = schema.field(place).name().clone();
            let expr = Expr::Column(Column::new(Some(alias.clone()), &name));
            ScopeColumn {
                table: Some(visible.clone()),
                name,
                expr,
                ty: types[place].clone(),
                hidden: false,
                origin: None,
            }
        });
        Ok(From { plan, scope: Scope { columns: columns.collect(), tables: vec![visible], ..Scope::default() } })
    }

    fn derived(&self, mut bound: BoundQuery, visible: String, names: &[ast::TableAliasColumnDef]) -> Result<From> {
        rename(&mut bound, &visible, names)?;
        let alias = TableReference::bare(self.unique(&visible));
        let plan = LogicalPlanBuilder::from(bound.plan).alias(alias.clone())?.build()?;
        let columns = bound.columns.into_iter().map(|column| ScopeColumn {
            table: Some(visible.clone()),
            name: column.name,
            expr: Expr::Column(Column::new(Some(alias.clone()), column.column.name)),
            ty: column.ty.unwrap_or(PgType::Text),
            hidden: false,
            origin: column.origin,
        });
        Ok(From { plan, scope: Scope { columns: columns.collect(), tables: vec![visible], ..Scope::default() } })
    }

    fn join(
        &self,
        left: From,
        right: From,
        operator: &JoinOperator,
        outer: Option<&Env<'_>>,
        ctes: &Ctes,
    ) -> Result<From> {
        let (kind, constraint) = match operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (JoinType::Inner, constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (JoinType::Left, constraint),
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (JoinType::Right, constraint),
            JoinOperator::FullOuter(constraint) => (JoinType::Full, constraint),
            JoinOperator::CrossJoin(JoinConstraint::None) => {
                let mut scope = left.scope;
                scope.extend(right.scope)?;
                return Ok(From { plan: LogicalPlanBuilder::from(left.plan).cross_join(right.plan)?.build()?, scope });
            }
            other => return Err(Error::unsupported(format!("this kind of join ({other:?})"))),
        };
        let left = if matches!(kind, JoinType::Right | JoinType::Full) { self.missable(left)? } else { left };
        let right = if matches!(kind, JoinType::Left | JoinType::Full) { self.missable(right)? } else { right };
        let (condition, scope) = match constraint {
            JoinConstraint::On(condition) => {
                let mut scope = left.scope;
                scope.extend(right.scope)?;
                let env = surroundings(&scope, outer, ctes);
                let condition = self.condition(&env, condition, "JOIN/ON")?;
                (vec![condition], scope)
            }
            JoinConstraint::Using(names) => {
                let names = names
                    .iter()
                    .map(|name| Ok(name_parts(name)?.pop().unwrap_or_default()))
                    .collect::<Result<Vec<_>>>()?;
                self.merge(left.scope, right.scope, &names, kind)?
            }
            JoinConstraint::Natural => {
                let names: Vec<String> = left
                    .scope
                    .columns
                    .iter()
                    .filter(|column| !column.hidden)
                    .map(|column| column.name.clone())
                    .collect();
                let names: Vec<String> = names
                    .into_iter()
                    .filter(|name| right.scope.columns.iter().any(|column| !column.hidden && column.name == *name))
                    .collect();
                self.merge(left.scope, right.scope, &names, kind)?
            }
            JoinConstraint::None => return Err(Error::new(SqlState::SyntaxError, "JOIN needs ON or USING")),
        };
        let condition = if condition.is_empty() { vec![datafusion::prelude::lit(true)] } else { condition };
        let plan = LogicalPlanBuilder::from(left.plan).join_on(right.plan, kind, condition)?.build()?;
        Ok(From { plan, scope })
    }

    /// USING: the conditions, and the scope in which the named columns are one each.
    fn merge(&self, mut left: Scope, mut right: Scope, names: &[String], kind: JoinType) -> Result<(Vec<Expr>, Scope)> {
        let mut conditions = Vec::with_capacity(names.len());
        let mut merged = Vec::with_capacity(names.len());
        for name in names {
            let missing = |side: &str| {
                Error::new(
                    SqlState::UndefinedColumn,
                    format!("column \"{name}\" specified in USING clause does not exist in {side} table"),
                )
            };
            let one = left.find(None, name)?.ok_or_else(|| missing("left"))?.clone();
            let other = right.find(None, name)?.ok_or_else(|| missing("right"))?.clone();
            let (first, second) =
                (Typed::new(one.expr.clone(), one.ty.clone()), Typed::new(other.expr.clone(), other.ty.clone()));
            conditions.push(self.compare(&BinaryOperator::Eq, first.clone(), second.clone(), false)?.expr);
            let (values, ty) = self.unify(vec![first, second], "JOIN/USING")?;
            let expr = match kind {
                JoinType::Right => values[1].expr.clone(),
                JoinType::Full => Expr::Case(Case {
                    expr: None,
                    when_then_expr: vec![(
                        Box::new(values[0].expr.clone().is_not_null()),
                        Box::new(values[0].expr.clone()),
                    )],
                    else_expr: Some(Box::new(values[1].expr.clone())),
                }),
                _ => values[0].expr.clone(),
            };
            merged.push(ScopeColumn { table: None, name: name.clone(), expr, ty, hidden: false, origin: None });
            for column in left.columns.iter_mut().chain(right.columns.iter_mut()).filter(|column| column.name == *name)
            {
                column.hidden = true;
            }
        }
        let mut scope = Scope { columns: merged, tables: Vec::new(), ..Scope::default() };
        scope.extend(left)?;
        scope.extend(right)?;
        Ok((conditions, scope))
    }
}
