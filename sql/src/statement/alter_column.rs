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
use super::change::draft::Draft;
use super::create_table::{check_expressions, constraints};
use super::sequence::bound_default;
use crate::catalog::{Object, ObjectData, Rule};
use crate::parser::alter_column::ColumnChange;
use crate::parser::table::Constraint;
use crate::session::Session;

/// ALTER COLUMN.
pub(super) async fn alter_column(
    session: &Session,
    draft: &mut Draft,
    name: &str,
    change: &ColumnChange,
) -> Result<()> {
    let place = draft.object.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", draft.object.name);
        Error::new(SqlState::UndefinedColumn, message)
    })?;
    match change {
        ColumnChange::SetDefault(text) => set_default(session, draft, place, Some(text)),
        ColumnChange::DropDefault => set_default(session, draft, place, None),
        ColumnChange::DropExpression(if_exists) => drop_expression(session, draft, place, *if_exists),
        ColumnChange::SetNotNull => {
            let mut object = draft.object.clone();
            object.columns[place].not_null = true;
            alter::hold_rows(draft, object, Vec::new())
        }
        ColumnChange::DropNotNull => drop_not_null(draft, place),
        ColumnChange::Type(data_type, using) => set_type(session, draft, place, data_type, using.as_deref()).await,
    }
}

fn set_default(session: &Session, draft: &mut Draft, place: usize, text: Option<&String>) -> Result<()> {
    if draft.object.identity(place).is_some() {
        let (column, table) = (&draft.object.columns[place].name, &draft.object.name);
        let message = format!("column \"{column}\" of relation \"{table}\" is an identity column");
        let error = Error::new(SqlState::SyntaxError, message);
        return Err(match text {
            Some(_) => error,
            None => error.hint("Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead."),
        });
    }
    if draft.object.generated(place).is_some() {
        let error = is_generated(&draft.object, place);
        return Err(match text {
            Some(_) => error,
            None => error.hint("Use ALTER TABLE ... ALTER COLUMN ... DROP EXPRESSION instead."),
        });
    }
    let text = text.map(|text| bound_default(session, &draft.next.catalog, text)).transpose()?;
    let table = draft.table_mut()?;
    table.defaults[place] = text;
    let defaults = table.defaults.clone();
    check_expressions(session, &draft.object, &defaults, &[])
}

fn is_generated(table: &Object, place: usize) -> Error {
    let (column, table) = (&table.columns[place].name, &table.name);
    let message = format!("column \"{column}\" of relation \"{table}\" is a generated column");
    Error::new(SqlState::SyntaxError, message)
}

/// DROP EXPRESSION: the column keeps its values; what IF makes a no is told.
fn drop_expression(session: &Session, draft: &mut Draft, place: usize, if_exists: bool) -> Result<()> {
    if draft.object.generated(place).is_none() {
        let (column, table) = (&draft.object.columns[place].name, &draft.object.name);
        let message = format!("column \"{column}\" of relation \"{table}\" is not a stored generated column");
        if !if_exists {
            return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message));
        }
        session.notice(Error::new(SqlState::SuccessfulCompletion, format!("{message}, skipping")));
        return Ok(());
    }
    let number = draft.object.numbers().get(place).copied();
    draft.table_mut()?.generated.retain(|one| Some(one.column) != number);
    Ok(())
}

fn drop_not_null(draft: &mut Draft, place: usize) -> Result<()> {
    let column = &draft.object.columns[place].name;
    let of_primary =
        |rule: &Rule| matches!(rule, Rule::Unique { primary: true, columns, .. } if columns.contains(&place));
    if draft.table()?.constraints.iter().any(|one| of_primary(&one.rule)) {
        let message = format!("column \"{column}\" is in a primary key");
        return Err(Error::new(SqlState::InvalidTableDefinition, message));
    }
    if draft.object.identity(place).is_some() {
        let message = format!("column \"{column}\" of relation \"{}\" is an identity column", draft.object.name);
        return Err(Error::new(SqlState::SyntaxError, message));
    }
    draft.object.columns[place].not_null = false;
    Ok(())
}

async fn set_type(
    session: &Session,
    draft: &mut Draft,
    place: usize,
    data_type: &PgType,
    using: Option<&str>,
) -> Result<()> {
    let readers = match draft.place_before(place) {
        Some(before) => super::alter_table::readers(session, &draft.old, before).await?,
        None => Vec::new(),
    };
    let current = session.database.published();
    let object = &draft.object;
    if let Some(reader) = readers.iter().find_map(|oid| current.catalog.get(*oid)) {
        let path = session.path_in(&current.catalog);
        let detail =
            format!("{} depends on column \"{}\"", current.catalog.spoken(reader, &path), object.columns[place].name);
        let error = Error::new(SqlState::FeatureNotSupported, "cannot alter type of a column used by a view or rule");
        return Err(error.detail(detail));
    }
    if let Some(other) = computed_from(object, place)?.first() {
        let (column, other) = (&object.columns[place].name, &object.columns[*other].name);
        let message = "cannot alter type of a column used by a generated column";
        let detail = format!("Column \"{column}\" is used by generated column \"{other}\".");
        return Err(Error::new(SqlState::FeatureNotSupported, message).detail(detail));
    }
    if object.generated(place).is_some() && using.is_some() {
        let detail = format!("Column \"{}\" is a generated column.", object.columns[place].name);
        let message = "cannot specify USING when altering type of generated column";
        return Err(Error::new(SqlState::InvalidColumnDefinition, message).detail(detail));
    }
    if object.identity(place).is_some() && !matches!(data_type, PgType::Int2 | PgType::Int4 | PgType::Int8) {
        let message = "identity column type must be smallint, integer, or bigint";
        return Err(Error::new(SqlState::InvalidParameter, message));
    }
    alter::retype(session, draft, place, data_type, using)
}

/// ADD CONSTRAINT.
pub(super) fn add_constraint(session: &Session, draft: &mut Draft, written: &[Constraint]) -> Result<()> {
    let known = draft.table()?.constraints.clone();
    let mut object = draft.object.clone();
    let twice =
        written.iter().filter_map(|one| one.name.as_ref()).find(|name| known.iter().any(|one| one.name == **name));
    if let Some(name) = twice {
        let message = format!("constraint \"{name}\" for relation \"{}\" already exists", object.name);
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    let count = known.len();
    let all = constraints(written, known, &mut object, &mut draft.next.catalog)?;
    check_expressions(session, &object, &draft.table()?.defaults, &all)?;
    let new = all[count..].to_vec();
    if let ObjectData::Table(table) = &mut object.data {
        table.constraints = all;
    }
    alter::hold_rows(draft, object, new)
}

/// DROP CONSTRAINT; what IF makes a no is told.
pub(super) fn drop_constraint(session: &Session, draft: &mut Draft, name: &str, if_exists: bool) -> Result<()> {
    let Some(place) = draft.table()?.constraints.iter().position(|one| one.name == name) else {
        let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", draft.object.name);
        if !if_exists {
            return Err(Error::new(SqlState::UndefinedObject, message));
        }
        session.notice(Error::new(SqlState::SuccessfulCompletion, format!("{message}, skipping")));
        return Ok(());
    };
    let gone = draft.table_mut()?.constraints.remove(place);
    draft.keys |= matches!(gone.rule, Rule::Unique { .. });
    // Its name is free for what follows.
    draft.next.catalog.put(draft.object.clone());
    Ok(())
}

/// RENAME CONSTRAINT.
pub(super) fn rename_constraint(draft: &mut Draft, from: &str, to: &str) -> Result<()> {
    let (name, constraints) = (draft.object.name.clone(), draft.table()?.constraints.clone());
    if constraints.iter().any(|one| one.name == to) {
        let message = format!("constraint \"{to}\" for relation \"{name}\" already exists");
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    let Some(place) = constraints.iter().position(|one| one.name == from) else {
        let message = format!("constraint \"{from}\" for table \"{name}\" does not exist");
        return Err(Error::new(SqlState::UndefinedObject, message));
    };
    let keys = matches!(constraints[place].rule, Rule::Unique { .. });
    if keys && draft.next.catalog.is_taken(&draft.object.schema, to) {
        return Err(already_exists(to));
    }
    draft.table_mut()?.constraints[place].name = to.to_string();
    draft.keys |= keys;
    Ok(())
}
