//! ALTER TABLE, RENAME TO of views, SET SCHEMA of all: these and RENAME here, ADD and DROP COLUMN by [`super::change::alter`].
//!
//! Views keep their queries as they were written, and what the table was to them (`catalog::meaning`).
//! A CHECK follows a column that is renamed; rows are untouched then.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::alter_column;
use super::change::alter;
use super::change::draft::Draft;
use super::create_table::columns_in;
use super::definition::quoted;
use super::resolve::{Names, open_files};
use super::{already_exists, drop};
use crate::catalog::{Object, ObjectData, Rule, Stored, is_temporary};
use crate::database::{Database, Published};
use crate::parser::alter_column::ColumnChange;
use crate::parser::alter_table::{AlterAction, AlterTable, NewColumn};
use crate::parser::table::CreateTable;
use crate::parser::{ObjectKind, parse_expression, parse_query};
use crate::planner::{Planner, Settings};
use crate::session::{Outcome, Session};
use crate::settings::SessionSettings;
use crate::walk::{NodeMut, walk_mut};

/// The command tag.
fn tag(alter: &AlterTable) -> &'static str {
    match alter.view {
        Some(ObjectKind::View) => "ALTER MATERIALIZED VIEW",
        Some(ObjectKind::NamedQuery) => "ALTER VIEW",
        Some(ObjectKind::Source) => "ALTER SOURCE",
        Some(ObjectKind::Sequence) => "ALTER SEQUENCE",
        Some(ObjectKind::Table) | None => "ALTER TABLE",
    }
}

/// See the module.
pub(crate) async fn run(session: &mut Session, alter: &AlterTable) -> Result<Outcome> {
    let tag = tag(alter);
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    let object = match session.relation(&current.catalog, &alter.name) {
        Err(error) if alter.if_exists && error.state() != SqlState::InsufficientPrivilege => {
            let name = &alter.name.name;
            let text = format!("relation \"{name}\" does not exist, skipping");
            session.notice(Error::new(SqlState::SuccessfulCompletion, text));
            return Ok(Outcome::Done(tag.into()));
        }
        found => found?,
    };
    session.asker(&current.catalog).need_to_own(object)?;
    if let [AlterAction::SetSchema(to)] = alter.actions.as_slice() {
        check_kind(alter, object)?;
        move_to(session, object, to).await?;
        return Ok(Outcome::Done(tag.into()));
    }
    if matches!(object.data, ObjectData::StoredSource(_)) {
        return Err(Error::unsupported(format!(
            "altering table \"{}\", which stores what a connector reads,",
            object.name
        )));
    }
    let renamed = matches!(alter.actions.as_slice(), [AlterAction::Rename(_)]);
    let is_view = matches!(object.data, ObjectData::View(_) | ObjectData::NamedQuery(_) | ObjectData::Sequence(_));
    check_kind(alter, object)?;
    if object.table().is_none() && !(renamed && is_view) {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a table", object.name)));
    }
    session.refuse_changed(object.relation(), "alter table", &object.name)?;
    session.changed_lastingly(tag);
    let mut changed = object.clone();
    match alter.actions.as_slice() {
        [AlterAction::Rename(to)] => {
            if current.catalog.is_taken(&object.schema, to) {
                return Err(already_exists(to));
            }
            changed.name.clone_from(to);
        }
        [AlterAction::RenameColumn(from, to)] => rename_column(&mut changed, from, to)?,
        actions => {
            alter_together(session, object, actions).await?;
            return Ok(Outcome::Done(tag.into()));
        }
    }
    let mut next = (*current).clone();
    next.catalog.keep_names(object);
    next.catalog.put(changed);
    database.publish(next).await?;
    Ok(Outcome::Done(tag.into()))
}

/// When an action is done among several, as in PostgreSQL: what drops comes first.
fn pass(action: &AlterAction) -> u8 {
    match action {
        AlterAction::DropColumn { .. } | AlterAction::DropConstraint { .. } => 0,
        AlterAction::AlterColumn(
            _,
            ColumnChange::DropDefault | ColumnChange::DropNotNull | ColumnChange::DropExpression(_),
        ) => 0,
        AlterAction::AlterColumn(_, ColumnChange::Type(..)) => 1,
        AlterAction::AddColumns(_) => 2,
        AlterAction::AlterColumn(_, ColumnChange::SetNotNull) => 3,
        AlterAction::AddConstraint(_) => 4,
        _ => 5,
    }
}

/// Actions on one table, all of them or none.
async fn alter_together(session: &mut Session, object: &Object, actions: &[AlterAction]) -> Result<()> {
    let mut retyped = BTreeSet::new();
    for action in actions {
        if let AlterAction::AlterColumn(name, ColumnChange::Type(..)) = action
            && !retyped.insert(name)
        {
            let message = format!("cannot alter type of column \"{name}\" twice");
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
    }
    let mut actions: Vec<&AlterAction> = actions.iter().collect();
    actions.sort_by_key(|action| pass(action));
    let mut draft = Draft::new(session, object);
    let mut done = Ok(());
    for action in actions {
        done = act(session, &mut draft, action).await;
        if done.is_err() {
            break;
        }
    }
    let made = draft.made();
    let done = match done {
        Ok(()) => draft.finish(session).await,
        failed => failed,
    };
    if done.is_err() {
        Draft::abandon(session, made).await?;
    }
    done
}

/// One action; what IF makes a no is told.
async fn act(session: &mut Session, draft: &mut Draft, action: &AlterAction) -> Result<()> {
    match action {
        AlterAction::AddColumns(new) => return add_columns(session, draft, new).await,
        AlterAction::DropColumn { if_exists, name, cascade } => {
            if let Some(place) = draft.object.columns.iter().position(|column| column.name == *name) {
                refuse_computed_from(session, &draft.object, place, *cascade)?;
                let gone = match draft.place_before(place) {
                    Some(before) => readers_of_column(session, &draft.old, before, *cascade).await?,
                    None => Vec::new(),
                };
                return alter::drop_column(draft, place, &gone);
            }
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", draft.object.name);
            if !if_exists {
                return Err(Error::new(SqlState::UndefinedColumn, message));
            }
            session.notice(Error::new(SqlState::SuccessfulCompletion, format!("{message}, skipping")));
            Ok(())
        }
        AlterAction::AlterColumn(name, change) => alter_column::alter_column(session, draft, name, change).await,
        AlterAction::AddConstraint(written) => alter_column::add_constraint(session, draft, &written.constraints),
        AlterAction::DropConstraint { if_exists, name } => {
            alter_column::drop_constraint(session, draft, name, *if_exists)
        }
        AlterAction::RenameConstraint(from, to) => alter_column::rename_constraint(draft, from, to),
        AlterAction::Rename(_) | AlterAction::RenameColumn(..) | AlterAction::SetSchema(_) => Ok(()),
    }
}

/// ADD COLUMN: all of them or none; what IF makes a no is told.
async fn add_columns(session: &mut Session, draft: &mut Draft, new: &[NewColumn]) -> Result<()> {
    let object = &draft.object;
    let mut all: Option<CreateTable> = None;
    for NewColumn { if_not_exists, column } in new {
        let before = all.iter().flat_map(|all| &all.columns).chain(&object.columns);
        let twice = before.map(|known| &known.name).find(|name| column.columns.iter().any(|one| one.name == **name));
        if let Some(name) = twice {
            let message = format!("column \"{name}\" of relation \"{}\" already exists", object.name);
            if !if_not_exists {
                return Err(Error::new(SqlState::DuplicateColumn, message));
            }
            session.notice(Error::new(SqlState::DuplicateColumn, format!("{message}, skipping")));
            continue;
        }
        match &mut all {
            Some(all) => all.append(column),
            None => all = Some(column.clone()),
        }
    }
    match all {
        Some(all) => alter::add_columns(session, draft, &all).await,
        None => Ok(()),
    }
}

/// Refuses ALTER VIEW of a table, and the like; ALTER TABLE takes all.
fn check_kind(alter: &AlterTable, object: &Object) -> Result<()> {
    match alter.view.filter(|kind| *kind != object.kind()) {
        None => Ok(()),
        Some(kind) => {
            Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a {}", object.name, kind.word())))
        }
    }
}

/// The names that an object takes in its schema: its own and those of its indexes.
fn names_of(object: &Object) -> Vec<&String> {
    std::iter::once(&object.name).chain(object.index_names()).collect()
}

/// SET SCHEMA: the object and its indexes; views that read it go on doing so. The catalog's turn is held.
async fn move_to(session: &mut Session, object: &Object, to: &str) -> Result<()> {
    let database = session.database.clone();
    let mut next = (*database.published()).clone();
    session.may_create_in(&next.catalog, to)?;
    if object.schema == to {
        return Ok(());
    }
    if is_temporary(to) || is_temporary(&object.schema) {
        let message = "cannot move objects into or out of temporary schemas";
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    }
    if let Some((table, _)) = object.sequence().and_then(|sequence| next.catalog.owner_column(sequence)) {
        return Err(linked("cannot move an owned sequence into another schema".into(), object, table));
    }
    if let Some(taken) = names_of(object).into_iter().find(|name| next.catalog.is_taken(to, name)) {
        let message = format!("relation \"{taken}\" already exists in schema \"{to}\"");
        return Err(Error::new(SqlState::DuplicateTable, message));
    }
    session.changed_lastingly("ALTER ... SET SCHEMA");
    next.catalog.keep_names(object);
    let owned = next.catalog.with_owned(&[object.oid]);
    for object in owned.into_iter().filter_map(|oid| next.catalog.get(oid).cloned()).collect::<Vec<_>>() {
        next.catalog.put(Object { schema: to.into(), ..object });
    }
    database.publish(next).await
}

/// What is not done to a sequence that a table's column owns.
pub(super) fn linked(message: String, sequence: &Object, table: &Object) -> Error {
    let detail = format!("Sequence \"{}\" is linked to table \"{}\".", sequence.name, table.name);
    Error::new(SqlState::FeatureNotSupported, message).detail(detail)
}

/// The views that go with a column: those that read it, and all that depends on these. Error 2BP01
/// if there are any and they are not to go.
async fn readers_of_column(session: &mut Session, table: &Object, place: usize, cascade: bool) -> Result<Vec<u32>> {
    let current = session.database.published();
    let readers = readers(session, table, place).await?;
    let path = session.path_in(&current.catalog);
    let of = current.catalog.full_name(table, &path);
    let column = format!("column {} of table {of}", table.columns[place].name);
    let falling = drop::falling(&current.catalog, &[(readers, column.clone())], &path);
    if falling.is_empty() {
        return Ok(Vec::new());
    }
    if !cascade {
        return Err(drop::still_needed(format!("cannot drop {column} because other objects depend on it"), &falling));
    }
    session.notice(drop::cascades(&falling));
    Ok(falling.into_iter().map(|falling| falling.oid).collect())
}

/// The columns that are computed from a column, by their places.
pub(super) fn computed_from(table: &Object, place: usize) -> Result<Vec<usize>> {
    let mut found = Vec::new();
    for other in 0..table.columns.len() {
        if let Some(text) = table.generated(other)
            && columns_in(text)?.contains(&table.columns[place].name)
        {
            found.push(other);
        }
    }
    Ok(found)
}

/// Error 2BP01 for a column from which others are computed.
fn refuse_computed_from(session: &Session, table: &Object, place: usize, cascade: bool) -> Result<()> {
    let computed = computed_from(table, place)?;
    if computed.is_empty() {
        return Ok(());
    }
    if cascade {
        let what = format!("dropping column \"{}\" with those computed from it", table.columns[place].name);
        return Err(Error::unsupported(what).hint("Drop these first."));
    }
    let catalog = &session.database.published().catalog;
    let of = catalog.full_name(table, &session.path_in(catalog));
    let spoken = |place: usize| format!("column {} of table {of}", table.columns[place].name);
    let lines: Vec<String> =
        computed.into_iter().map(|other| format!("{} depends on {}", spoken(other), spoken(place))).collect();
    let message = format!("cannot drop {} because other objects depend on it", spoken(place));
    Err(Error::new(SqlState::DependentObjectsStillExist, message)
        .detail(lines.join("\n"))
        .hint("Use DROP ... CASCADE to drop the dependent objects too."))
}

/// The views that read a column.
pub(super) async fn readers(session: &Session, table: &Object, place: usize) -> Result<Vec<u32>> {
    let database = session.database.clone();
    let current = database.published();
    let number = table.numbers().get(place).copied();
    let (mut readers, hidden) = (Vec::new(), current.catalog.hidden_dependants(table.oid));
    for dependant in current.catalog.dependants(table.oid).into_iter().chain(hidden.iter().copied()) {
        for stored in dependant.stored() {
            if columns_of(&database, &current, stored, table).await?.iter().any(|read| Some(*read) == number) {
                readers.push(dependant.oid);
            }
        }
    }
    readers.dedup();
    if let Some(reader) = hidden.iter().find(|hidden| readers.contains(&hidden.oid)) {
        let text =
            format!("{} \"{}\" is being dropped by a transaction that is open", reader.kind().word(), reader.name);
        return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, text));
    }
    Ok(readers)
}

/// The numbers of the columns of a table that a stored query names.
async fn columns_of(
    database: &Database,
    published: &Arc<Published>,
    stored: Stored<'_>,
    table: &Object,
) -> Result<Vec<u32>> {
    let query = parse_query(stored.text)?;
    let mut settings = SessionSettings::new("");
    stored.settings.iter().for_each(|(name, value)| settings.put(name, value));
    let published = open_files(database, published, &query, &settings.search_path()).await?;
    let names = Names::of_stored(&published, settings.search_path(), (stored.reads, stored.meaning));
    let planning = Settings { zone: settings.zone().into(), ..Settings::default() };
    let read = Planner.columns_read(&query, &names, &planning, &[])?;
    let version = table.version(stored.meaning.versions.get(&table.oid).copied());
    let places = read.get(&version.relation).into_iter().flatten();
    Ok(places.filter_map(|place| version.numbers.get(*place).copied()).collect())
}

fn rename_column(object: &mut Object, from: &str, to: &str) -> Result<()> {
    if object.columns.iter().any(|column| column.name == to) {
        return Err(Error::new(
            SqlState::DuplicateColumn,
            format!("column \"{to}\" of relation \"{}\" already exists", object.name),
        ));
    }
    let Some(column) = object.columns.iter_mut().find(|column| column.name == from) else {
        return Err(Error::new(SqlState::UndefinedColumn, format!("column \"{from}\" does not exist")));
    };
    column.name = to.to_string();
    let ObjectData::Table(table) = &mut object.data else { return Ok(()) };
    for constraint in &mut table.constraints {
        if let Rule::Check(text) = &mut constraint.rule {
            *text = renamed(text, from, to)?;
        }
    }
    for generated in &mut table.generated {
        generated.expression = renamed(&generated.expression, from, to)?;
    }
    for text in table.indexes.iter_mut().flat_map(|index| index.extras.texts_mut()) {
        *text = renamed(text, from, to)?;
    }
    Ok(())
}

/// An expression with another name for a column.
fn renamed(text: &str, from: &str, to: &str) -> Result<String> {
    let mut expr = parse_expression(text)?;
    let mut changed = false;
    let mut rename = |ident: &mut ast::Ident| {
        let folded = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
        if folded == from {
            let written = quoted(to);
            *ident = match written.starts_with('"') {
                true => ast::Ident::with_quote('"', to),
                false => ast::Ident::new(to),
            };
            changed = true;
        }
    };
    walk_mut(&mut expr, &mut |node| match node {
        NodeMut::Expr(ast::Expr::Identifier(ident)) => rename(ident),
        NodeMut::Expr(ast::Expr::CompoundIdentifier(parts)) => parts.last_mut().into_iter().for_each(&mut rename),
        _ => {}
    });
    Ok(if changed { expr.to_string() } else { text.to_string() })
}
