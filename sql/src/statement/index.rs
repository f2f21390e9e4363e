//! CREATE INDEX and DROP INDEX.
//!
//! A unique index of a table is a key of it, like UNIQUE; one of a materialized view is taken where the view's
//! query makes it true. Any other is kept in the catalog alone, and a notice says so: no lookup uses it.
//! Promises: durable when it returns; rows that share a key refuse the whole (23505).

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::create_table::chosen_name;
use super::{already_exists, index_keys, skipping};
use crate::catalog::{Index, Object, ObjectData, Rule};
use crate::database::{Database, Published};
use crate::parser::Name;
use crate::parser::index::{CreateIndex, DropIndex};
use crate::session::{Outcome, Session};

/// CREATE INDEX.
pub(crate) async fn create(session: &mut Session, create: &CreateIndex, request: &str) -> Result<Outcome> {
    const TAG: &str = "CREATE INDEX";
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    let mut object = indexable(session, &current, &create.table)?.clone();
    session.asker(&current.catalog).need_to_own(&object)?;
    session.refuse_changed(object.relation(), "create an index on", &object.name)?;
    session.changed_lastingly(TAG);
    let catalog = &current.catalog;
    let taken = |name: &str| catalog.is_taken(&object.schema, name);
    let mut index = index_keys::index(session, create, &object, request)?;
    index.name = match &create.name {
        Some(name) if taken(name) && create.if_not_exists => {
            session.notice(skipping(name));
            return Ok(Outcome::Done(TAG.into()));
        }
        Some(name) if taken(name) => return Err(already_exists(name)),
        Some(name) => name.clone(),
        None => chosen_name(&object.name, &index_keys::names(&index, &object.columns), "idx", &taken),
    };
    if object.table().is_none() && create.unique {
        need_key(session, &object, &index)?;
    }
    let mut next = (*current).clone();
    index.oid = next.catalog.allocate();
    if !create.unique {
        let text = format!("index \"{}\" is kept in the catalog only: lookups do not use it yet", index.name);
        session.notice(Error::new(SqlState::SuccessfulCompletion, text));
    }
    let name = index.name.clone();
    object.indexes_mut().into_iter().for_each(|indexes| indexes.push(index.clone()));
    let keys = create.unique && object.table().is_some();
    install(&database, next, object, keys).await.map_err(|error| match error.state() {
        SqlState::UniqueViolation => {
            let detail = error.detail_text().unwrap_or_default().replace(" already exists.", " is duplicated.");
            let message = format!("could not create unique index \"{name}\"");
            Error::new(SqlState::UniqueViolation, message).detail(detail).about(error.subject().clone())
        }
        _ => error,
    })?;
    Ok(Outcome::Done(TAG.into()))
}

/// Refuses a unique index of a view that its query does not make unique already.
fn need_key(session: &Session, view: &Object, index: &Index) -> Result<()> {
    let places = index.places();
    let snapshot = session.database.0.engine.snapshot();
    if snapshot.keys(view.relation()).iter().any(|key| key.iter().all(|place| places.contains(place))) {
        return Ok(());
    }
    let error = Error::unsupported("a unique index on a materialized view over other columns than those of a key");
    Err(error.hint("The columns that a view is grouped by are a key of it."))
}

/// The table of this name.
fn indexable<'a>(session: &Session, published: &'a Published, name: &Name) -> Result<&'a Object> {
    let object = session.relation(&published.catalog, name)?;
    match &object.data {
        ObjectData::Table(_) => Ok(object),
        ObjectData::View(view) if view.replacement.is_none() => Ok(object),
        ObjectData::View(_) => {
            let message = format!("materialized view \"{}\" is being replaced", object.name);
            Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message))
        }
        ObjectData::NamedQuery(_) => {
            let message = format!("cannot create index on relation \"{}\"", object.name);
            Err(Error::new(SqlState::WrongObjectType, message).detail("This operation is not supported for views."))
        }
        ObjectData::Sequence(_) => {
            let message = format!("cannot create index on relation \"{}\"", object.name);
            Err(Error::new(SqlState::WrongObjectType, message).detail("This operation is not supported for sequences."))
        }
        ObjectData::Source(_) => Err(Error::unsupported("an index on a source")),
        ObjectData::StoredSource(_) => {
            Err(Error::unsupported("an index on a table that stores what a connector reads"))
        }
        ObjectData::Files(_) => Err(Error::unsupported("an index on an external table")),
    }
}

/// Puts the changed table into the catalog, with its keys in the engine if they changed.
pub(super) async fn install(database: &Database, mut next: Published, object: Object, keys: bool) -> Result<()> {
    if !keys {
        next.catalog.put(object);
        return database.publish(next).await;
    }
    let definition = object.table_definition().ok_or_else(|| Error::internal("a table without a definition"))?;
    next.catalog.put(object);
    database.0.engine.set_keys(definition, next.catalog.encode()?).await?;
    database.install(next);
    Ok(())
}

/// DROP INDEX.
pub(crate) async fn drop(session: &mut Session, drop: &DropIndex) -> Result<Outcome> {
    const TAG: &str = "DROP INDEX";
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let mut found: Vec<(u32, u32)> = Vec::new();
    for name in &drop.names {
        match find(session, &database.published(), name) {
            Ok(index) if found.contains(&index) => {}
            Ok(index) => found.push(index),
            Err(error) if drop.if_exists && error.state() == SqlState::InvalidSchemaName => {
                let text = format!("{}, skipping", error.message());
                session.notice(Error::new(SqlState::SuccessfulCompletion, text));
            }
            Err(error) if drop.if_exists && error.state() == SqlState::UndefinedObject => {
                let text = format!("index \"{}\" does not exist, skipping", name.name);
                session.notice(Error::new(SqlState::SuccessfulCompletion, text));
            }
            Err(error) => return Err(error),
        }
    }
    for (table, oid) in found {
        let current = database.published();
        let Some(mut object) = current.catalog.get(table).cloned() else { continue };
        session.refuse_changed(object.relation(), "drop an index of", &object.name)?;
        session.changed_lastingly(TAG);
        let is_table = object.table().is_some();
        let Some(indexes) = object.indexes_mut() else { continue };
        let keys = is_table && indexes.iter().any(|index| index.oid == oid && index.unique);
        indexes.retain(|index| index.oid != oid);
        install(&database, (*current).clone(), object, keys).await?;
    }
    Ok(Outcome::Done(TAG.into()))
}

/// The oids of a table and of its index of this name.
fn find(session: &Session, published: &Published, name: &Name) -> Result<(u32, u32)> {
    let catalog = &published.catalog;
    if let Some(other) = session.find(catalog, name)? {
        let (tag, word) = (other.kind().tag(), other.kind().word());
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not an index", other.name))
            .hint(format!("Use DROP {tag} to remove a {word}.")));
    }
    let missing = || Error::new(SqlState::UndefinedObject, format!("index \"{}\" does not exist", name.name));
    let path = session.path_in(catalog);
    let object = catalog.find_index(name.schema.as_deref(), &name.name, &path).ok_or_else(missing)?;
    let constraints = object.table().map_or(&[][..], |table| &table.constraints);
    let of_constraint =
        |one: &&crate::catalog::Constraint| one.name == name.name && matches!(one.rule, Rule::Unique { .. });
    if let Some(constraint) = constraints.iter().find(of_constraint) {
        let spoken = format!("constraint {} on table {}", constraint.name, object.name);
        let message = format!("cannot drop index {} because {spoken} requires it", constraint.name);
        return Err(
            Error::new(SqlState::DependentObjectsStillExist, message).hint(format!("You can drop {spoken} instead."))
        );
    }
    let index = object.indexes().iter().find(|index| index.name == name.name).ok_or_else(missing)?;
    if !session.asker(catalog).owns(object.oid) {
        let message = format!("must be owner of index {}", index.name);
        return Err(Error::new(SqlState::InsufficientPrivilege, message));
    }
    Ok((object.oid, index.oid))
}
