//! DROP SOURCE, VIEW, MATERIALIZED VIEW, TABLE; what goes with what is dropped.
//!
//! Promises: all names of one statement go or none; dependants are 2BP01 or, with CASCADE, go too
//! and are named in a notice. Words as PostgreSQL words them.

use std::collections::HashSet;

use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::plan::RelationId;

use crate::catalog::{Catalog, Object, ObjectData, did_you_mean};
use crate::database::Published;
use crate::parser::{Drop, Name, ObjectKind};
use crate::session::{Outcome, Session};

/// See the module.
pub(crate) async fn run(session: &mut Session, drop: &Drop) -> Result<Outcome> {
    let tag = format!("DROP {}", drop.kind.tag());
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    let mut oids = Vec::new();
    for name in &drop.names {
        match find(session, &current.catalog, drop.kind, name) {
            Ok(object) if !oids.contains(&object.oid) => oids.push(object.oid),
            Ok(_) => {}
            Err(error) if drop.if_exists && error.state() == SqlState::UndefinedTable => {
                let text = format!("{} \"{}\" does not exist, skipping", drop.kind.word(), name.name);
                session.notice(Error::new(SqlState::SuccessfulCompletion, text));
            }
            Err(error) if drop.if_exists && error.state() == SqlState::InvalidSchemaName => {
                let text = format!("{}, skipping", error.message());
                session.notice(Error::new(SqlState::SuccessfulCompletion, text));
            }
            Err(error) => return Err(error),
        }
    }
    let asker = session.asker(&current.catalog);
    oids.iter().filter_map(|oid| current.catalog.get(*oid)).try_for_each(|object| asker.need_to_own(object))?;
    let mut next = (*current).clone();
    let relations = take(session, &mut next, &oids, drop.cascade)?;
    if !oids.is_empty() {
        database.publish(next).await?;
    }
    if !relations.is_empty() {
        database.0.engine.remove(relations).await?;
    }
    Ok(Outcome::Done(tag))
}

/// Takes objects and schemas out of the catalog, with CASCADE also what depends on them; what the engine is to
/// remove. In a block they are out of sight until it ends.
pub(super) fn take(
    session: &mut Session,
    next: &mut Published,
    oids: &[u32],
    cascade: bool,
) -> Result<Vec<RelationId>> {
    let dependants = next.catalog.closure(oids);
    let path = session.path_in(&next.catalog);
    let near = |oid: &u32| {
        let all = next.catalog.dependants(*oid);
        let others = all.iter().map(|object| object.oid).filter(|oid| dependants.contains(oid));
        (others.collect(), spoken(&next.catalog, *oid, &path))
    };
    let falling = falling(&next.catalog, &oids.iter().map(near).collect::<Vec<_>>(), &path);
    if !falling.is_empty() && !cascade {
        return Err(restricted(&next.catalog, oids, &falling, &path));
    }
    if !falling.is_empty() {
        session.notice(cascades(&next.catalog, &falling, &path));
    }
    let all: Vec<u32> = oids.iter().chain(&dependants).copied().collect();
    let mut relations = Vec::new();
    if session.drops_later(&all) {
        all.iter().for_each(|oid| next.catalog.hide(*oid));
        return Ok(relations);
    }
    for oid in &all {
        relations.extend(next.catalog.remove(*oid).iter().flat_map(Object::relations));
        next.sources.remove(oid);
        next.files.remove(oid);
    }
    if !oids.is_empty() {
        relations.extend(next.catalog.release_forms());
    }
    Ok(relations)
}

/// The object of this kind and name.
pub(crate) fn find<'a>(session: &Session, catalog: &'a Catalog, kind: ObjectKind, name: &Name) -> Result<&'a Object> {
    let Some(object) = session.find(catalog, name)? else {
        if catalog.find_index(name.schema.as_deref(), &name.name, &session.path_in(catalog)).is_some() {
            let message = format!("\"{}\" is not a {}", name.name, kind.word());
            return Err(Error::new(SqlState::WrongObjectType, message).hint("Use DROP INDEX to remove an index."));
        }
        let error = Error::new(SqlState::UndefinedTable, format!("{} \"{}\" does not exist", kind.word(), name.name));
        let candidates = catalog.objects().filter(|object| object.kind() == kind).map(|object| object.name.as_str());
        return Err(did_you_mean(error, kind.word(), &name.name, candidates));
    };
    if object.kind() != kind {
        let article = if matches!(object.data, ObjectData::Files(_)) { "an external" } else { "a" };
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a {}", object.name, kind.word()))
            .hint(format!("Use DROP {} to remove {article} {}.", object.kind().tag(), object.kind().word())));
    }
    Ok(object)
}

fn spoken(catalog: &Catalog, oid: u32, path: &[String]) -> String {
    match (catalog.get(oid), catalog.schema_name(oid)) {
        (Some(object), _) => catalog.spoken(object, path),
        (None, Some(schema)) => format!("schema {schema}"),
        (None, None) => String::new(),
    }
}

/// Something that falls with what is dropped, and a line that says why.
pub(super) struct Falling {
    pub(super) oid: u32,
    pub(super) line: String,
}

/// All that depends on these, each once: `near` depends on what is called `spoken` there. In
/// PostgreSQL's order: what depends on a thing stands behind it.
pub(super) fn falling(catalog: &Catalog, near: &[(Vec<u32>, String)], path: &[String]) -> Vec<Falling> {
    let mut seen: HashSet<u32> = HashSet::new();
    let mut all = Vec::new();
    for (dependants, of) in near {
        // What is on the way, each with what depends on it and was not looked at yet.
        let mut way: Vec<(Option<Falling>, String, Vec<u32>)> = vec![(None, of.clone(), dependants.clone())];
        while let Some((_, name, left)) = way.last_mut() {
            match left.pop() {
                Some(oid) if seen.insert(oid) => {
                    let own = spoken(catalog, oid, path);
                    let line = format!("{own} depends on {name}");
                    let next = catalog.dependants(oid).iter().map(|object| object.oid).collect();
                    way.push((Some(Falling { oid, line }), own, next));
                }
                Some(_) => {}
                None => all.extend(way.pop().and_then(|(falling, ..)| falling)),
            }
        }
    }
    all.reverse();
    all
}

fn restricted(catalog: &Catalog, oids: &[u32], falling: &[Falling], path: &[String]) -> Error {
    let message = match oids {
        [only] => format!("cannot drop {} because other objects depend on it", spoken(catalog, *only, path)),
        _ => "cannot drop desired object(s) because other objects depend on them".to_string(),
    };
    still_needed(message, falling)
}

/// The error for what others need.
pub(super) fn still_needed(message: String, falling: &[Falling]) -> Error {
    let lines: Vec<&str> = falling.iter().map(|falling| falling.line.as_str()).collect();
    Error::new(SqlState::DependentObjectsStillExist, message)
        .detail(lines.join("\n"))
        .hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

/// What goes with what is dropped.
pub(super) fn cascades(catalog: &Catalog, falling: &[Falling], path: &[String]) -> Error {
    let lines: Vec<String> =
        falling.iter().map(|falling| format!("drop cascades to {}", spoken(catalog, falling.oid, path))).collect();
    match lines.as_slice() {
        [only] => Error::new(SqlState::SuccessfulCompletion, only),
        _ => Error::new(SqlState::SuccessfulCompletion, format!("drop cascades to {} other objects", lines.len()))
            .detail(lines.join("\n")),
    }
}
