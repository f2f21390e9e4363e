//! CREATE TABLE: columns, defaults and constraints checked, then in the engine and the catalog.
//!
//! Promises: durable when it returns; what is refused leaves nothing behind. Constraints without a
//! name get PostgreSQL's (`t_pkey`, `t_a_b_key`, `t_x_check`).

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;

use super::like::{NewIndex, expanded};
use super::query::planning;
use super::resolve::Names;
use super::sequence::{bound_default, generated};
use super::{already_exists, is_skipped};
use crate::catalog::index::Extras;
use crate::catalog::{Catalog, Constraint, Generated, Index, Object, ObjectData, Rule, Table};
use crate::database::Published;
use crate::parser::parse_expression;
use crate::parser::table::{self, CreateTable};
use crate::planner::Planner;
use crate::planner::change::{RowScope, Target};
use crate::session::{Outcome, Session};
use crate::walk::{Node, ON, any_expr, walk};

const TAG: &str = "CREATE TABLE";

/// The longest name, in bytes.
const MAX_NAME: usize = 63;

/// See the module.
pub(crate) async fn run(session: &mut Session, create: &CreateTable) -> Result<Outcome> {
    let schema = session.schema_for(&create.name, create.temporary)?;
    let name = create.name.name.clone();
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    if is_skipped(session, &current.catalog, (&schema, &name), create.if_not_exists)? {
        return Ok(Outcome::Done(TAG.into()));
    }
    let (create, indexes) = &expanded(session, &current.catalog, create)?;
    if create.columns.is_empty() {
        return Err(Error::unsupported("a table without columns"));
    }
    let mut next = (*current).clone();
    let oid = next.catalog.allocate();
    let defaults = bound_defaults(session, &current.catalog, &create.defaults)?;
    let data = ObjectData::Table(Table::new(defaults.clone(), Vec::new()));
    let mut object = Object { oid, schema, name, columns: create.columns.clone(), data };
    let constraints = constraints(&create.constraints, Vec::new(), &mut object, &mut next.catalog)?;
    check_expressions(session, &object, &defaults, &constraints)?;
    let mut table = Table::new(defaults, constraints);
    enter_generated(&mut table, &object.columns, &create.generated);
    object.data = ObjectData::Table(table);
    check_generated(session, &object)?;
    add_indexes(indexes, &mut object, &mut next.catalog);
    let mut made = generated(&create.generators, create, &mut object, &mut next.catalog)?;
    made.insert(0, object);
    install(session, next, made).await?;
    if let Some(action) = create.on_commit {
        session.on_commit(oid, action);
    }
    Ok(Outcome::Done(TAG.into()))
}

/// The indexes that come with LIKE, under names of their own.
fn add_indexes(indexes: &[NewIndex], object: &mut Object, catalog: &mut Catalog) {
    for new in indexes {
        let mut names: Vec<String> = new.columns.iter().map(|(name, _)| name.clone()).collect();
        for expression in &new.extras.expressions {
            names.insert(expression.at.min(names.len()), expression.column.name.clone());
        }
        names.extend_from_slice(&new.included);
        let own: Vec<String> = object.index_names().cloned().collect();
        let taken = |name: &str| {
            object.name == name || own.iter().any(|own| own == name) || catalog.is_taken(&object.schema, name)
        };
        let name = chosen_name(&object.name, &names, "idx", &taken);
        let oid = catalog.allocate();
        let place = |name: &String| object.columns.iter().position(|column| column.name == *name);
        let columns = new.columns.iter().filter_map(|(name, order)| Some((place(name)?, order.clone()))).collect();
        let included = new.included.iter().filter_map(place).collect();
        let extras = Extras { included, ..new.extras.clone() };
        if let ObjectData::Table(table) = &mut object.data {
            table.indexes.push(Index { oid, name, unique: new.unique, columns, extras });
        }
    }
}

/// Puts new tables and sequences into the engine and the catalog.
pub(super) async fn install(session: &mut Session, mut next: Published, made: Vec<Object>) -> Result<()> {
    let database = session.database.clone();
    let relations: Vec<RelationId> = made.iter().map(Object::relation).collect();
    // In the engine first: whoever finds it in the catalog can use it.
    for object in made {
        let definition = object.table_definition().ok_or_else(|| Error::internal("a table without a definition"))?;
        session.create(&mut next.catalog, object)?;
        database.0.engine.add_table(definition).await?;
    }
    if let Err(error) = database.publish(next).await {
        database.0.engine.remove(relations).await?;
        return Err(error);
    }
    Ok(())
}

/// DEFAULTs with the sequences in them named by oid.
pub(super) fn bound_defaults(
    session: &Session,
    catalog: &Catalog,
    defaults: &[Option<String>],
) -> Result<Vec<Option<String>>> {
    let bound = |text: &Option<String>| text.as_ref().map(|text| bound_default(session, catalog, text)).transpose();
    defaults.iter().map(bound).collect()
}

/// The constraints as the catalog holds them, behind those that are there; columns of a primary key
/// are NOT NULL from here on.
pub(super) fn constraints(
    written: &[table::Constraint],
    mut made: Vec<Constraint>,
    object: &mut Object,
    catalog: &mut Catalog,
) -> Result<Vec<Constraint>> {
    let primary = written.iter().filter(|constraint| matches!(constraint.rule, table::Rule::PrimaryKey(_)));
    let known = made.iter().filter(|constraint| matches!(constraint.rule, Rule::Unique { primary: true, .. }));
    if primary.count() + known.count() > 1 {
        return Err(Error::new(
            SqlState::InvalidTableDefinition,
            format!("multiple primary keys for table \"{}\" are not allowed", object.name),
        ));
    }
    for constraint in written {
        let (rule, label, columns) = match &constraint.rule {
            table::Rule::PrimaryKey(names) => {
                let columns = key_columns(object, names, "primary key")?;
                columns.iter().for_each(|place| object.columns[*place].not_null = true);
                let index = catalog.allocate();
                (Rule::Unique { primary: true, columns, index }, "pkey", Vec::new())
            }
            table::Rule::Unique(names) => {
                let columns = key_columns(object, names, "unique")?;
                let index = catalog.allocate();
                (Rule::Unique { primary: false, columns, index }, "key", names.clone())
            }
            table::Rule::Check(text) => {
                let named: Vec<String> = columns_in(text)?.into_iter().collect();
                let one = if named.len() == 1 { named } else { Vec::new() };
                (Rule::Check(text.clone()), "check", one)
            }
        };
        let is_index = matches!(rule, Rule::Unique { .. });
        let taken = |name: &str| {
            made.iter().any(|known| known.name == name)
                || (is_index && (object.name == name || catalog.is_taken(&object.schema, name)))
        };
        let name = match &constraint.name {
            Some(name) if made.iter().any(|known| known.name == *name) => {
                let message = match is_index {
                    true => format!("constraint \"{name}\" for relation \"{}\" already exists", object.name),
                    false => format!("check constraint \"{name}\" already exists"),
                };
                return Err(Error::new(SqlState::DuplicateObject, message));
            }
            Some(name) if taken(name) => return Err(already_exists(name)),
            Some(name) => name.clone(),
            None => chosen_name(&object.name, &columns, label, &taken),
        };
        made.push(Constraint { oid: catalog.allocate(), name, rule });
    }
    Ok(made)
}

/// Whether values of a type can be told apart by an index. Errors 42704.
pub(super) fn check_order(ty: &PgType) -> Result<()> {
    if !matches!(ty.element().unwrap_or(ty), PgType::Json) {
        return Ok(());
    }
    let message = format!("data type {} has no default operator class for access method \"btree\"", ty.name());
    Err(Error::new(SqlState::UndefinedObject, message)
        .hint("You must specify an operator class for the index or define a default operator class for the data type."))
}

fn key_columns(object: &Object, names: &[String], what: &str) -> Result<Vec<usize>> {
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        let place = object.columns.iter().position(|column| column.name == *name).ok_or_else(|| {
            Error::new(SqlState::UndefinedColumn, format!("column \"{name}\" named in key does not exist"))
        })?;
        check_order(&object.columns[place].data_type)?;
        if places.contains(&place) {
            return Err(Error::new(
                SqlState::DuplicateColumn,
                format!("column \"{name}\" appears twice in {what} constraint"),
            ));
        }
        places.push(place);
    }
    Ok(places)
}

/// The names of columns in an expression.
pub(super) fn columns_in(text: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let expr = parse_expression(text)?;
    let fold = |ident: &ast::Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    let _ = walk(&expr, &mut |node| {
        match node {
            Node::Expr(ast::Expr::Identifier(ident)) => drop(names.insert(fold(ident))),
            Node::Expr(ast::Expr::CompoundIdentifier(parts)) => names.extend(parts.last().map(fold)),
            _ => {}
        }
        ON
    });
    Ok(names)
}

/// PostgreSQL's name for a constraint: `table_columns_label`, the longer part cut to fit, and a
/// number behind where it is taken.
pub(super) fn chosen_name(table: &str, columns: &[String], label: &str, taken: &dyn Fn(&str) -> bool) -> String {
    for number in 0_usize.. {
        let label = if number == 0 { label.to_string() } else { format!("{label}{number}") };
        let (mut first, mut second) = (table.to_string(), columns.join("_"));
        let separators = if second.is_empty() { 1 } else { 2 };
        while first.len() + second.len() + label.len() + separators > MAX_NAME {
            let longer = if first.len() > second.len() { &mut first } else { &mut second };
            if longer.pop().is_none() {
                break;
            }
        }
        let name = if second.is_empty() { format!("{first}_{label}") } else { format!("{first}_{second}_{label}") };
        if !taken(&name) {
            return name;
        }
    }
    String::new()
}

/// Binds every DEFAULT and CHECK once, so that what cannot be used is refused now.
pub(super) fn check_expressions(
    session: &Session,
    object: &Object,
    defaults: &[Option<String>],
    constraints: &[Constraint],
) -> Result<()> {
    let view = session.peek_view();
    let names = Names::of_defaults(session, &view);
    let settings = planning(session, "", false);
    let target = Target {
        id: object.relation(),
        name: &object.name,
        visible: &object.name,
        columns: &object.columns,
        defaults,
        keys: Vec::new(),
        identities: Vec::new(),
        generated: Vec::new(),
    };
    for text in defaults.iter().flatten() {
        let expr = parse_expression(text)?;
        if has_subquery(&expr) {
            return Err(Error::new(SqlState::FeatureNotSupported, "cannot use subquery in DEFAULT expression"));
        }
        if columns_in(text)?.iter().any(|name| !is_value_word(name)) {
            return Err(Error::new(SqlState::FeatureNotSupported, "cannot use column reference in DEFAULT expression"));
        }
    }
    Planner.bind_defaults(&target, &names, &settings)?;
    let scope = RowScope::new(&[(&object.name, &object.columns)])?;
    for constraint in constraints {
        let Rule::Check(text) = &constraint.rule else { continue };
        let expr = parse_expression(text)?;
        if has_subquery(&expr) {
            return Err(Error::new(SqlState::FeatureNotSupported, "cannot use subquery in check constraint"));
        }
        Planner.bind_check(&expr, &scope, &names, &settings)?;
    }
    Ok(())
}

/// Puts the columns that are computed from others into a table that has them.
pub(super) fn enter_generated(table: &mut Table, columns: &[Column], generated: &[(String, String)]) {
    for (name, text) in generated {
        let Some(place) = columns.iter().position(|column| column.name == *name) else { continue };
        let column = table.numbers.get(place).copied().unwrap_or(place as u32);
        table.generated.push(Generated { column, expression: text.clone() });
    }
}

/// Binds what columns are computed from, so that what cannot be used is refused now.
pub(super) fn check_generated(session: &Session, object: &Object) -> Result<()> {
    let generated: Vec<(usize, &str)> =
        (0..object.columns.len()).filter_map(|place| Some((place, object.generated(place)?))).collect();
    for (_, text) in &generated {
        if has_subquery(&parse_expression(text)?) {
            let message = "cannot use subquery in column generation expression";
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        let read = columns_in(text)?;
        if let Some((place, _)) = generated.iter().find(|(place, _)| read.contains(&object.columns[*place].name)) {
            let name = &object.columns[*place].name;
            let message = format!("cannot use generated column \"{name}\" in column generation expression");
            return Err(Error::new(SqlState::InvalidObjectDefinition, message)
                .detail("A generated column cannot reference another generated column."));
        }
    }
    let view = session.peek_view();
    let names = Names::of_defaults(session, &view);
    let target = Target {
        id: object.relation(),
        name: &object.name,
        visible: &object.name,
        columns: &object.columns,
        defaults: &[],
        keys: Vec::new(),
        identities: Vec::new(),
        generated,
    };
    Planner.check_generated(&target, &names, &planning(session, "", false))
}

/// Words that are values by themselves and look like names.
fn is_value_word(name: &str) -> bool {
    name.starts_with("current_") || matches!(name, "user" | "session_user" | "localtime" | "localtimestamp")
}

pub(super) fn has_subquery(expr: &ast::Expr) -> bool {
    any_expr(expr, &mut |inner| {
        matches!(inner, ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. })
    })
}
