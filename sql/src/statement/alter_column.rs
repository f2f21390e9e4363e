//! ALTER TABLE: defaults, NOT NULL and types of columns, and constraints that come, go and get other
//! names.
//!
//! Promises: rows that are there are held against what is new, and those that others commit meanwhile
//! too; a type changes with all rows or not at all. What only the catalog holds is changed there alone.

use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;

use super::already_exists;
use super::alter_table::computed_from;
use super::change::alter;
use super::create_table::{check_expressions, constraints};
use super::index;
use super::sequence::bound_default;
use crate::catalog::{Object, ObjectData, Rule};
use crate::parser::alter_column::ColumnChange;
use crate::parser::table::Constraint;
use crate::session::Session;

/// ALTER COLUMN; the catalog's turn is held.
pub(super) async fn alter_column(session: &mut Session, old: &Object, name: &str, change: &ColumnChange) -> Result<()> {
    let place = old.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", old.name);
        Error::new(SqlState::UndefinedColumn, message)
    })?;
    match change {
        ColumnChange::SetDefault(text) => set_default(session, old, place, Some(text)).await,
        ColumnChange::DropDefault => set_default(session, old, place, None).await,
        ColumnChange::DropExpression(if_exists) => drop_expression(session, old, place, *if_exists).await,
        ColumnChange::SetNotNull => {
            let mut object = old.clone();
            object.columns[place].not_null = true;
            let next = (*session.database.published()).clone();
            alter::hold_rows(session, old, object, next, Vec::new()).await
        }
        ColumnChange::DropNotNull => drop_not_null(session, old, place).await,
        ColumnChange::Type(data_type, using) => set_type(session, old, place, data_type, using.as_deref()).await,
    }
}

async fn put(session: &Session, object: Object) -> Result<()> {
    let mut next = (*session.database.published()).clone();
    next.catalog.put(object);
    session.database.publish(next).await
}

async fn set_default(session: &Session, old: &Object, place: usize, text: Option<&String>) -> Result<()> {
    let current = session.database.published();
    if old.identity(place).is_some() {
        let (column, table) = (&old.columns[place].name, &old.name);
        let message = format!("column \"{column}\" of relation \"{table}\" is an identity column");
        let error = Error::new(SqlState::SyntaxError, message);
        return Err(match text {
            Some(_) => error,
            None => error.hint("Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead."),
        });
    }
    if old.generated(place).is_some() {
        let error = is_generated(old, place);
        return Err(match text {
            Some(_) => error,
            None => error.hint("Use ALTER TABLE ... ALTER COLUMN ... DROP EXPRESSION instead."),
        });
    }
    let text = text.map(|text| bound_default(session, &current.catalog, text)).transpose()?;
    let mut object = old.clone();
    if let ObjectData::Table(table) = &mut object.data {
        table.defaults[place] = text;
        let defaults = table.defaults.clone();
        check_expressions(session, &object, &defaults, &[])?;
    }
    put(session, object).await
}

fn is_generated(old: &Object, place: usize) -> Error {
    let message = format!("column \"{}\" of relation \"{}\" is a generated column", old.columns[place].name, old.name);
    Error::new(SqlState::SyntaxError, message)
}

/// DROP EXPRESSION: the column keeps its values; what IF makes a no is told.
async fn drop_expression(session: &Session, old: &Object, place: usize, if_exists: bool) -> Result<()> {
    if old.generated(place).is_none() {
        let (column, table) = (&old.columns[place].name, &old.name);
        let message = format!("column \"{column}\" of relation \"{table}\" is not a stored generated column");
        if !if_exists {
            return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message));
        }
        session.notice(Error::new(SqlState::SuccessfulCompletion, format!("{message}, skipping")));
        return Ok(());
    }
    let mut object = old.clone();
    let number = object.numbers().get(place).copied();
    if let ObjectData::Table(table) = &mut object.data {
        table.generated.retain(|one| Some(one.column) != number);
    }
    put(session, object).await
}

async fn drop_not_null(session: &Session, old: &Object, place: usize) -> Result<()> {
    let column = &old.columns[place].name;
    let of_primary =
        |rule: &Rule| matches!(rule, Rule::Unique { primary: true, columns, .. } if columns.contains(&place));
    if old.table().is_some_and(|table| table.constraints.iter().any(|one| of_primary(&one.rule))) {
        let message = format!("column \"{column}\" is in a primary key");
        return Err(Error::new(SqlState::InvalidTableDefinition, message));
    }
    if old.identity(place).is_some() {
        let message = format!("column \"{column}\" of relation \"{}\" is an identity column", old.name);
        return Err(Error::new(SqlState::SyntaxError, message));
    }
    let mut object = old.clone();
    object.columns[place].not_null = false;
    put(session, object).await
}

async fn set_type(
    session: &mut Session,
    old: &Object,
    place: usize,
    data_type: &PgType,
    using: Option<&str>,
) -> Result<()> {
    let readers = super::alter_table::readers(session, old, place).await?;
    let current = session.database.published();
    if let Some(reader) = readers.iter().find_map(|oid| current.catalog.get(*oid)) {
        let path = session.path_in(&current.catalog);
        let detail =
            format!("{} depends on column \"{}\"", current.catalog.spoken(reader, &path), old.columns[place].name);
        let error = Error::new(SqlState::FeatureNotSupported, "cannot alter type of a column used by a view or rule");
        return Err(error.detail(detail));
    }
    if let Some(other) = computed_from(old, place)?.first() {
        let (column, other) = (&old.columns[place].name, &old.columns[*other].name);
        let message = "cannot alter type of a column used by a generated column";
        let detail = format!("Column \"{column}\" is used by generated column \"{other}\".");
        return Err(Error::new(SqlState::FeatureNotSupported, message).detail(detail));
    }
    if old.generated(place).is_some() && using.is_some() {
        let detail = format!("Column \"{}\" is a generated column.", old.columns[place].name);
        let message = "cannot specify USING when altering type of generated column";
        return Err(Error::new(SqlState::InvalidColumnDefinition, message).detail(detail));
    }
    if old.identity(place).is_some() && !matches!(data_type, PgType::Int2 | PgType::Int4 | PgType::Int8) {
        let message = "identity column type must be smallint, integer, or bigint";
        return Err(Error::new(SqlState::InvalidParameter, message));
    }
    let mut object = old.clone();
    object.columns[place].data_type = data_type.clone();
    if let Some(table) = object.table().cloned() {
        check_expressions(session, &object, &table.defaults, &table.constraints)?;
    }
    alter::retype(session, old, object, place, using).await
}

/// ADD CONSTRAINT; the catalog's turn is held.
pub(super) async fn add_constraint(session: &mut Session, old: &Object, written: &[Constraint]) -> Result<()> {
    let mut next = (*session.database.published()).clone();
    let mut object = old.clone();
    let Some(table) = old.table() else { return Err(Error::internal("a constraint of no table")) };
    let known = table.constraints.clone();
    let twice =
        written.iter().filter_map(|one| one.name.as_ref()).find(|name| known.iter().any(|one| one.name == **name));
    if let Some(name) = twice {
        let message = format!("constraint \"{name}\" for relation \"{}\" already exists", old.name);
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    let count = known.len();
    let all = constraints(written, known, &mut object, &mut next.catalog)?;
    check_expressions(session, &object, &table.defaults, &all)?;
    let new = all[count..].to_vec();
    if let ObjectData::Table(table) = &mut object.data {
        table.constraints = all;
    }
    alter::hold_rows(session, old, object, next, new).await
}

/// DROP CONSTRAINT; what IF makes a no is told. The catalog's turn is held.
pub(super) async fn drop_constraint(session: &Session, old: &Object, name: &str, if_exists: bool) -> Result<()> {
    let mut object = old.clone();
    let ObjectData::Table(table) = &mut object.data else { return Err(Error::internal("a constraint of no table")) };
    let Some(place) = table.constraints.iter().position(|one| one.name == name) else {
        let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", old.name);
        if !if_exists {
            return Err(Error::new(SqlState::UndefinedObject, message));
        }
        session.notice(Error::new(SqlState::SuccessfulCompletion, format!("{message}, skipping")));
        return Ok(());
    };
    let gone = table.constraints.remove(place);
    let keys = matches!(gone.rule, Rule::Unique { .. });
    index::install(&session.database, (*session.database.published()).clone(), object, keys).await
}

/// RENAME CONSTRAINT; the catalog's turn is held.
pub(super) async fn rename_constraint(session: &Session, old: &Object, from: &str, to: &str) -> Result<()> {
    let current = session.database.published();
    let mut object = old.clone();
    let ObjectData::Table(table) = &mut object.data else { return Err(Error::internal("a constraint of no table")) };
    if table.constraints.iter().any(|one| one.name == to) {
        let message = format!("constraint \"{to}\" for relation \"{}\" already exists", old.name);
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    let Some(constraint) = table.constraints.iter_mut().find(|one| one.name == from) else {
        let message = format!("constraint \"{from}\" for table \"{}\" does not exist", old.name);
        return Err(Error::new(SqlState::UndefinedObject, message));
    };
    let keys = matches!(constraint.rule, Rule::Unique { .. });
    if keys && current.catalog.is_taken(&old.schema, to) {
        return Err(already_exists(to));
    }
    constraint.name = to.to_string();
    index::install(&session.database, (*current).clone(), object, keys).await
}
