//! CREATE [OR REPLACE] VIEW: a query under a name.
//!
//! Promises: bound once, so that what cannot be read is refused now; it keeps the meaning it has
//! then. OR REPLACE keeps the columns and their order and may add some behind, as in PostgreSQL; not
//! while a materialized view reads it. Runs nothing: the binder puts the query in the name's place.

use std::collections::HashSet;

use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::Column;

use super::already_exists;
use super::create_source::columns_of;
use super::create_view::{meaning, still_there, stored};
use super::query::{bind, planning};
use super::sequence::calls_sequences;
use crate::catalog::{Catalog, Meaning, NamedQuery, Object, ObjectData, is_temporary};
use crate::parser::{CreateNamedQuery, ObjectKind};
use crate::session::{Outcome, Session};
use crate::system;

const TAG: &str = "CREATE VIEW";

/// See the module.
pub(crate) async fn run(session: &mut Session, create: &CreateNamedQuery, text: &str) -> Result<Outcome> {
    let mut schema = session.schema_for(&create.name, create.temporary)?;
    let view = session.peek_view();
    if system::asks_catalog(&create.query, &view.published, &session.path_in(&view.published.catalog)) {
        return Err(Error::unsupported("a view of the system catalogs"));
    }
    if calls_sequences(&*create.query) {
        return Err(Error::unsupported("a view that calls a function of sequences"));
    }
    let (bound, reads) = bind(session, &view, &create.query, &[], planning(session, text, false)).await?;
    if !bound.parameters.is_empty() {
        return Err(Error::new(SqlState::UndefinedParameter, "there is no parameter $1"));
    }
    let read = reads.iter().filter_map(|oid| view.published.catalog.get(*oid));
    if !is_temporary(&schema) && read.map(|object| &object.schema).any(|schema| is_temporary(schema)) {
        schema = session.schema_for(&create.name, create.name.schema.is_none())?;
        let text = format!("view \"{}\" will be a temporary view", create.name.name);
        session.notice(Error::new(SqlState::SuccessfulCompletion, text));
    }
    let columns = stored(named(columns_of(&bound.schema), &create.columns)?)?;
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    still_there(&current, &view.published, &reads)?;
    let mut next = (*current).clone();
    let mut is_new = false;
    let oid = match current.catalog.find(Some(&schema), &create.name.name, std::slice::from_ref(&schema)) {
        Some(existing) if !create.or_replace => return Err(already_exists(&existing.name)),
        Some(existing) => {
            session.asker(&current.catalog).need_to_own(existing)?;
            replaceable(&current.catalog, existing, &columns, &reads)?;
            existing.oid
        }
        None if current.catalog.index(&schema, &create.name.name).is_some() => {
            let name = &create.name.name;
            let other_kind = || Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not a view"));
            return Err(if create.or_replace { other_kind() } else { already_exists(name) });
        }
        None => {
            is_new = true;
            next.catalog.allocate()
        }
    };
    let (text, settings) = (create.text.clone(), meaning(session));
    let data = ObjectData::NamedQuery(NamedQuery { text, settings, reads, meaning: Meaning::default() });
    let object = Object { oid, schema, name: create.name.name.clone(), columns, data };
    if is_new {
        session.create(&mut next.catalog, object)?;
    } else {
        next.catalog.put(object);
        session.changed_lastingly(TAG);
    }
    database.publish(next).await?;
    Ok(Outcome::Done(TAG.into()))
}

/// Gives columns the names from the list, from the left.
fn named(mut columns: Vec<Column>, names: &[String]) -> Result<Vec<Column>> {
    if names.len() > columns.len() {
        return Err(Error::new(SqlState::SyntaxError, "CREATE VIEW specifies more column names than columns"));
    }
    columns.iter_mut().zip(names).for_each(|(column, name)| column.name.clone_from(name));
    let mut seen = HashSet::new();
    match columns.iter().find(|column| !seen.insert(&column.name)) {
        Some(twice) => {
            Err(Error::new(SqlState::DuplicateColumn, format!("column \"{}\" specified more than once", twice.name)))
        }
        None => Ok(columns),
    }
}

/// Refuses what PostgreSQL refuses, and what would change the meaning of a stored query.
fn replaceable(catalog: &Catalog, existing: &Object, columns: &[Column], reads: &[u32]) -> Result<()> {
    let name = &existing.name;
    if existing.named_query().is_none() {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not a view")));
    }
    same_columns(&existing.columns, columns)?;
    let dependants = catalog.closure(&[existing.oid]);
    if reads.iter().any(|read| *read == existing.oid || dependants.contains(read)) {
        return Err(Error::new(
            SqlState::InvalidObjectDefinition,
            format!("infinite recursion detected in rules for relation \"{name}\""),
        ));
    }
    // A `*` over this view is stored as it was written.
    let wider = columns.len() > existing.columns.len();
    let in_the_way = |object: &&Object| wider || object.kind() == ObjectKind::View;
    let lines: Vec<String> = dependants
        .iter()
        .filter_map(|oid| catalog.get(*oid))
        .filter(in_the_way)
        .map(|object| format!("{} {} depends on view {name}", object.kind().word(), object.name))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    let message = format!("cannot replace view {name} because other objects depend on it");
    Err(Error::new(SqlState::DependentObjectsStillExist, message)
        .detail(lines.join("\n"))
        .hint("Drop the dependent objects first, or create the new view under another name."))
}

/// The old columns must be the first of the new ones.
fn same_columns(old: &[Column], new: &[Column]) -> Result<()> {
    let refused = |message: String| Error::new(SqlState::InvalidTableDefinition, message);
    if new.len() < old.len() {
        return Err(refused("cannot drop columns from view".into()));
    }
    for (old, new) in old.iter().zip(new) {
        if old.name != new.name {
            let message = format!("cannot change name of view column \"{}\" to \"{}\"", old.name, new.name);
            let hint = "Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.";
            return Err(refused(message).hint(hint));
        }
        if old.data_type != new.data_type {
            let (from, to) = (old.data_type.name(), new.data_type.name());
            let message = format!("cannot change data type of view column \"{}\" from {from} to {to}", old.name);
            return Err(refused(message));
        }
    }
    Ok(())
}
