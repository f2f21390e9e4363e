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
pub(crate) fn take(
    session: &mut Session,
    next: &mut Published,
    oids: &[u32],
    cascade: bool,
) -> Result<Vec<RelationId>> {
    let asked = oids;
    let oids = &next.catalog.with_owned(oids)[..];
    let dependants: Vec<u32> = next.catalog.closure(oids);
    let dependants = next.catalog.with_owned(&[oids, &dependants].concat()).split_off(oids.len());
    let path = session.path_in(&next.catalog);
    let all: Vec<u32> = oids.iter().chain(&dependants).copied().collect();
    refuse_identities(&next.catalog, asked, &all, &path)?;
    let near = |oid: &u32| {
        let all = next.catalog.dependants(*oid);
        let others = all.iter().map(|object| object.oid).filter(|oid| dependants.contains(oid));
        (others.collect(), spoken(&next.catalog, *oid, &path))
    };
    let mut falling = falling(&next.catalog, &oids.iter().map(near).collect::<Vec<_>>(), &path);
    // Sequences go with the tables that own them, and are not told of.
    falling.retain(|one| !oids.contains(&one.oid) && !goes_with_table(&next.catalog, one.oid, &all));
    let defaults = defaults_of(&next.catalog, &all, &path);
    falling.extend(defaults.iter().map(|(_, falling)| falling.clone()));
    if !falling.is_empty() && !cascade {
        return Err(restricted(&next.catalog, asked, &falling, &path));
    }
    if !falling.is_empty() {
        session.notice(cascades(&falling));
    }
    if !defaults.is_empty() {
        session.changed_lastingly("DROP SEQUENCE");
    }
    for ((table, place), _) in defaults {
        next.catalog.drop_default(table, place);
    }
    let mut relations = Vec::new();
    if session.drops_later(&all) {
        all.iter().for_each(|oid| next.catalog.hide(*oid));
        return Ok(relations);
    }
    session.database.0.sequences.forget(&all);
    for oid in &all {
        relations.extend(next.catalog.remove(*oid).iter().flat_map(Object::relations));
        next.sources.remove(oid);
        next.files.remove(oid);
    }
    if !oids.is_empty() {
        relations.extend(next.catalog.release_versions());
    }
    Ok(relations)
}

/// Takes away an object that was made a moment ago.
pub(super) async fn undo(session: &Session, oid: u32) -> Result<()> {
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let mut next = (*database.published()).clone();
    let mut all = next.catalog.closure(&[oid]);
    all.push(oid);
    let gone: Vec<RelationId> =
        all.iter().filter_map(|oid| next.catalog.remove(*oid)).flat_map(|object| object.relations()).collect();
    database.publish(next).await?;
    database.0.engine.remove(gone).await
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

/// Whether a sequence is owned by a table that goes.
fn goes_with_table(catalog: &Catalog, oid: u32, all: &[u32]) -> bool {
    let owner = catalog.get(oid).and_then(Object::sequence).and_then(|sequence| sequence.owned_by);
    owner.is_some_and(|(table, _)| all.contains(&table))
}

/// Refuses to drop an identity's sequence by itself.
fn refuse_identities(catalog: &Catalog, asked: &[u32], all: &[u32], path: &[String]) -> Result<()> {
    for object in asked.iter().filter_map(|oid| catalog.get(*oid)).filter(|object| catalog.is_identity(object.oid)) {
        let Some((table, place)) = object.sequence().and_then(|sequence| catalog.owner_column(sequence)) else {
            continue;
        };
        if !all.contains(&table.oid) {
            let column = format!("column {} of {}", table.columns[place].name, catalog.spoken(table, path));
            let own = catalog.spoken(object, path);
            let message = format!("cannot drop {own} because {column} requires it");
            return Err(Error::new(SqlState::DependentObjectsStillExist, message)
                .hint(format!("You can drop {column} instead.")));
        }
    }
    Ok(())
}

/// The DEFAULTs, by table and place, that name a sequence that goes.
fn defaults_of(catalog: &Catalog, all: &[u32], path: &[String]) -> Vec<((u32, usize), Falling)> {
    let mut found = Vec::new();
    for sequence in all.iter().filter_map(|oid| catalog.get(*oid)).filter(|object| object.sequence().is_some()) {
        for (oid, place) in catalog.defaults_of(sequence.oid) {
            let Some(table) = catalog.get(oid).filter(|_| !all.contains(&oid)) else { continue };
            let column = &table.columns[place].name;
            let what = format!("default value for column {column} of {}", catalog.spoken(table, path));
            let line = format!("{what} depends on {}", catalog.spoken(sequence, path));
            found.push(((oid, place), Falling { oid: 0, what, line }));
        }
    }
    found
}

/// Something that falls with what is dropped, and a line that says why.
#[derive(Clone)]
pub(super) struct Falling {
    pub(super) oid: u32,
    /// As messages name it.
    what: String,
    line: String,
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
                    way.push((Some(Falling { oid, what: own.clone(), line }), own, next));
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
pub(super) fn cascades(falling: &[Falling]) -> Error {
    let lines: Vec<String> = falling.iter().map(|falling| format!("drop cascades to {}", falling.what)).collect();
    match lines.as_slice() {
        [only] => Error::new(SqlState::SuccessfulCompletion, only),
        _ => Error::new(SqlState::SuccessfulCompletion, format!("drop cascades to {} other objects", lines.len()))
            .detail(lines.join("\n")),
    }
}
