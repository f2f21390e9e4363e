//! LOCK TABLE, and what other statements lock before they begin.
//!
//! Whoever changes rows or objects locks their relations as PostgreSQL's INSERT does, so that a LOCK TABLE
//! waits for them and they for it; a query waits where somebody has locked ACCESS EXCLUSIVE. Nothing but
//! LOCK TABLE locks more than that: changes of the same rows are told apart at COMMIT.

use datafusion::sql::sqlparser::ast::{ObjectName, Query};
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::resolve::{folded, relations_of};
use crate::catalog::{Catalog, Object, ObjectData};
use crate::locks::{Mode, Scope, Tag};
use crate::parser::change::relations_read;
use crate::parser::lock_table::LockTable;
use crate::parser::{Kind, Name};
use crate::roles::acl::{DELETE, INSERT, Rights, SELECT, TRUNCATE, UPDATE};
use crate::session::{Outcome, Session};

/// LOCK TABLE.
pub(super) async fn run(session: &Session, lock: &LockTable) -> Result<Outcome> {
    if !session.is_in_block() {
        let message = "LOCK TABLE can only be used in transaction blocks";
        return Err(Error::new(SqlState::NoActiveTransaction, message));
    }
    let published = session.database.published();
    let catalog = &published.catalog;
    for name in &lock.names {
        let object = lockable(session, catalog, name)?;
        let asker = session.asker(catalog);
        let any_of: &[Rights] = match lock.mode {
            Mode::AccessShare => &[SELECT],
            Mode::RowExclusive => &[INSERT, UPDATE, DELETE, TRUNCATE],
            _ => &[UPDATE, DELETE, TRUNCATE],
        };
        if !any_of.iter().any(|right| asker.has(object.oid, *right)) {
            asker.need(object, any_of[0])?;
        }
        for object in with_inputs(catalog, object) {
            take(session, object, lock.mode, lock.nowait).await?;
        }
    }
    Ok(Outcome::Done("LOCK TABLE".into()))
}

fn lockable<'a>(session: &Session, catalog: &'a Catalog, name: &Name) -> Result<&'a Object> {
    let refused = |kinds: &str| {
        let message = format!("cannot lock relation \"{}\"", name.name);
        let detail = format!("This operation is not supported for {kinds}.");
        Err(Error::new(SqlState::WrongObjectType, message).detail(detail))
    };
    match session.find(catalog, name)? {
        Some(object) => match object.data {
            ObjectData::Sequence(_) => refused("sequences"),
            ObjectData::View(_) => refused("materialized views"),
            _ => Ok(object),
        },
        None if catalog.find_index(name.schema.as_deref(), &name.name, &session.path_in(catalog)).is_some() => {
            refused("indexes")
        }
        None => session.relation(catalog, name),
    }
}

/// A relation and, if it is a view that is not materialized, what it reads.
fn with_inputs<'a>(catalog: &'a Catalog, object: &'a Object) -> Vec<&'a Object> {
    let mut all = vec![object];
    let mut place = 0;
    while let Some(next) = all.get(place) {
        let reads = next.named_query().map(|query| query.reads.as_slice()).unwrap_or_default();
        let inputs: Vec<&Object> = reads.iter().filter_map(|oid| catalog.get(*oid)).collect();
        for input in inputs {
            if all.iter().all(|known| known.oid != input.oid) {
                all.push(input);
            }
        }
        place += 1;
    }
    all
}

/// Locks a relation; whether that had to be waited for.
async fn take(session: &Session, object: &Object, mode: Mode, nowait: bool) -> Result<bool> {
    let tag = Tag::Relation(object.oid);
    if !nowait {
        return session.locks.lock(tag, mode, Scope::Transaction, session.settings.settled().lock_timeout).await;
    }
    match session.locks.try_lock(tag, mode, Scope::Transaction)? {
        true => Ok(false),
        false => {
            let message = format!("could not obtain lock on relation \"{}\"", object.name);
            Err(Error::new(SqlState::LockNotAvailable, message))
        }
    }
}

/// Locks what a statement is about to change, or to read where that matters; whether it had to wait. Errors: 40P01, 55P03; names
/// that mean nothing are the statement's own business.
pub(crate) async fn before(session: &Session, kind: &Kind) -> Result<bool> {
    let mut waited = false;
    let changed = changed(kind);
    let strong = session.locks.all().has_access_exclusive();
    if changed.is_empty() && !strong {
        return Ok(false);
    }
    let published = session.database.published();
    let catalog = &published.catalog;
    let path = session.path_in(catalog);
    for name in changed {
        if let Some(object) = catalog.find(name.schema.as_deref(), &name.name, &path) {
            waited |= take(session, object, Mode::RowExclusive, false).await?;
        }
    }
    if !strong {
        return Ok(waited);
    }
    for (schema, name) in read(kind) {
        let Some(object) = catalog.find(schema.as_deref(), &name, &path) else { continue };
        for object in with_inputs(catalog, object) {
            waited |= take(session, object, Mode::AccessShare, false).await?;
        }
    }
    Ok(waited)
}

/// The relations that a statement names to change them.
fn changed(kind: &Kind) -> Vec<&Name> {
    match kind {
        Kind::Insert(insert) => vec![&insert.target.name],
        Kind::Update(update) => vec![&update.target.name],
        Kind::Delete(delete) => vec![&delete.target.name],
        Kind::Merge(merge) => vec![&merge.target.name],
        Kind::Copy(copy) => vec![&copy.target.name],
        Kind::AlterTable(alter) => vec![&alter.name],
        Kind::CreateIndex(create) => vec![&create.table],
        Kind::Truncate(truncate) => truncate.names.iter().collect(),
        Kind::Drop(drop) => drop.names.iter().collect(),
        Kind::WithChanges(changes) => {
            let parts = changes.parts.iter().map(|part| &part.statement).chain([&changes.main]);
            parts.flat_map(|part| changed(part.kind())).collect()
        }
        _ => Vec::new(),
    }
}

/// The relations that a statement reads.
fn read(kind: &Kind) -> Vec<(Option<String>, String)> {
    let of = |query: &Query| relations_of(query);
    match kind {
        Kind::Query(query) => of(query),
        Kind::CopyOut(copy) => of(&copy.query),
        Kind::Declare(declare) => of(&declare.query),
        Kind::CreateTableAs(create) => of(&create.query),
        Kind::CreateView(create) => of(&create.query),
        _ => relations_read(kind).iter().filter_map(|name: &ObjectName| folded(name)).collect(),
    }
}
