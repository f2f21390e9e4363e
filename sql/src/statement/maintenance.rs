//! VACUUM, ANALYZE, CLUSTER, REINDEX: nothing to do but to check names and rights; CHECKPOINT.
//!
//! The engine compacts its state by itself, keeps no statistics and no index apart from its table. So what
//! is left of these statements is what a tool hears: the tags, errors and warnings of PostgreSQL.
//! CHECKPOINT returns when all that was published before is in a durable checkpoint.

use thalweg_dataflow::error::{Error, Result, SqlState};

use crate::catalog::{Catalog, Object, ObjectData};
use crate::database::DATABASE;
use crate::parser::Name;
use crate::parser::maintenance::{Maintenance, Reindex, Reindexed};
use crate::roles::CHECKPOINT;
use crate::session::path::no_schema;
use crate::session::{Outcome, Session};
use crate::system::SystemTables;

/// See the module.
pub(super) async fn run(session: &mut Session, statement: &Maintenance) -> Result<Outcome> {
    let tag = match statement {
        Maintenance::Vacuum { relations, analyzes, refusal } => {
            session.refuse_in_block("VACUUM")?;
            refusal.clone().map_or(Ok(()), Err)?;
            look_at(session, relations, ("vacuum", *analyzes))?;
            "VACUUM"
        }
        Maintenance::Analyze(relations) => {
            look_at(session, relations, ("analyze", true))?;
            "ANALYZE"
        }
        Maintenance::Cluster(table) => {
            match table {
                None => session.refuse_in_block("CLUSTER")?,
                Some((table, index)) => cluster(session, table, index.as_deref())?,
            }
            "CLUSTER"
        }
        Maintenance::Reindex(reindex) => {
            check_reindex(session, reindex)?;
            "REINDEX"
        }
        Maintenance::Checkpoint => {
            let published = session.database.published();
            let roles = &published.catalog.roles;
            if !roles.has_rights_of(session.role_in(&published.catalog), CHECKPOINT) {
                let message = "must be superuser or have privileges of pg_checkpoint to do CHECKPOINT";
                return Err(Error::new(SqlState::InsufficientPrivilege, message));
            }
            session.database.0.engine.checkpoint().await?;
            "CHECKPOINT"
        }
    };
    Ok(Outcome::Done(tag.into()))
}

/// What a name means here.
enum Target<'a> {
    /// An object.
    Object(&'a Object),
    /// An index, of this object.
    Index(&'a Object),
    /// A table of the system.
    System,
}

/// What a name means. Errors: 42P01, 3F000.
fn target<'a>(session: &Session, catalog: &'a Catalog, name: &Name) -> Result<Target<'a>> {
    if let Some(object) = session.find(catalog, name)? {
        return Ok(Target::Object(object));
    }
    if let Some(table) = catalog.find_index(name.schema.as_deref(), &name.name, &session.path_in(catalog)) {
        return Ok(Target::Index(table));
    }
    let view = session.peek_view();
    let system = SystemTables::new(session, &view.snapshot, &view.published);
    match system.table(name.schema.as_deref().unwrap_or("pg_catalog"), &name.name) {
        Some(_) => Ok(Target::System),
        None => Err(Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"))),
    }
}

/// VACUUM and ANALYZE: what is not there is an error, what is not the asker's or has no rows of its own is
/// passed over with a warning.
fn look_at(session: &Session, relations: &[(Name, Vec<String>)], (verb, analyzes): (&str, bool)) -> Result<()> {
    let published = session.database.published();
    let catalog = &published.catalog;
    let warn = |name: &str, why: String| {
        session.warning(Error::new(SqlState::Warning, format!("skipping \"{name}\" --- {why}")));
    };
    let asker = session.asker(catalog);
    let others = |name: &str| warn(name, format!("only table or database owner can {verb} it"));
    if relations.is_empty() {
        let all = catalog.objects().filter(|object| has_rows(object) && !asker.owns(object.oid));
        all.for_each(|object| others(&object.name));
    }
    let mut found = Vec::new();
    for (name, columns) in relations {
        match target(session, catalog, name)? {
            Target::System if catalog.roles.is_superuser(asker.role) => {}
            Target::System => warn(&name.name, format!("only superuser or database owner can {verb} it")),
            Target::Object(owner) | Target::Index(owner) if !asker.owns(owner.oid) => others(&name.name),
            Target::Object(object) if has_rows(object) => found.push((object, columns)),
            Target::Object(_) | Target::Index(_) => {
                warn(&name.name, format!("cannot {verb} non-tables or special system tables"));
            }
        }
    }
    match analyzes {
        true => found.into_iter().try_for_each(|(object, columns)| known_columns(object, columns)),
        false => Ok(()),
    }
}

/// Whether it is a table or materialized view, in PostgreSQL's sense.
fn has_rows(object: &Object) -> bool {
    !matches!(object.data, ObjectData::NamedQuery(_) | ObjectData::Sequence(_))
}

/// Refuses columns that are not there, or twice.
fn known_columns(object: &Object, columns: &[String]) -> Result<()> {
    for (place, column) in columns.iter().enumerate() {
        let of = format!("column \"{column}\" of relation \"{}\"", object.name);
        if !object.columns.iter().any(|known| known.name == *column) {
            return Err(Error::new(SqlState::UndefinedColumn, format!("{of} does not exist")));
        }
        if columns[..place].contains(column) {
            return Err(Error::new(SqlState::DuplicateColumn, format!("{of} appears more than once")));
        }
    }
    Ok(())
}

/// The table or materialized view of a name, which must be the asker's; `None`: one of the system.
fn own_table<'a>(session: &Session, catalog: &'a Catalog, name: &Name) -> Result<Option<&'a Object>> {
    let asker = session.asker(catalog);
    match target(session, catalog, name)? {
        Target::Object(object) if has_rows(object) => asker.need_to_own(object).map(|()| Some(object)),
        Target::System if catalog.roles.is_superuser(asker.role) => Ok(None),
        Target::System => {
            Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of table {}", name.name)))
        }
        Target::Object(_) | Target::Index(_) => {
            let message = format!("\"{}\" is not a table or materialized view", name.name);
            Err(Error::new(SqlState::WrongObjectType, message))
        }
    }
}

/// CLUSTER of a table. Rows have no order that it could change; so no index is remembered either.
fn cluster(session: &Session, name: &Name, index: Option<&str>) -> Result<()> {
    let published = session.database.published();
    let catalog = &published.catalog;
    let table = own_table(session, catalog, name)?;
    let undefined = |message: String| Err(Error::new(SqlState::UndefinedObject, message));
    let Some(index) = index else {
        return undefined(format!("there is no previously clustered index for table \"{}\"", name.name));
    };
    if table.is_some_and(|table| table.index_names().any(|known| known == index)) {
        return Ok(());
    }
    let schema = table.map_or("pg_catalog", |table| table.schema.as_str());
    if catalog.index(schema, index).is_none() && catalog.find(Some(schema), index, &[]).is_none() {
        return undefined(format!("index \"{index}\" for table \"{}\" does not exist", name.name));
    }
    let message = format!("\"{index}\" is not an index for table \"{}\"", name.name);
    Err(Error::new(SqlState::WrongObjectType, message))
}

fn check_reindex(session: &Session, reindex: &Reindex) -> Result<()> {
    if reindex.concurrently {
        session.refuse_in_block("REINDEX CONCURRENTLY")?;
    }
    if let Some(name) = reindex.tablespace.as_ref().filter(|name| !["pg_default", "pg_global"].contains(&name.as_str()))
    {
        return Err(Error::new(SqlState::UndefinedObject, format!("tablespace \"{name}\" does not exist")));
    }
    let published = session.database.published();
    let catalog = &published.catalog;
    match &reindex.what {
        Reindexed::Index(name) => match target(session, catalog, name)? {
            Target::Index(table) if session.asker(catalog).owns(table.oid) => Ok(()),
            Target::Index(_) => {
                let message = format!("must be owner of index {}", name.name);
                Err(Error::new(SqlState::InsufficientPrivilege, message))
            }
            Target::Object(_) | Target::System => {
                Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not an index", name.name)))
            }
        },
        Reindexed::Table(name) => {
            let table = own_table(session, catalog, name)?;
            if table.is_none() && reindex.concurrently {
                return Err(no_system_concurrently());
            }
            if let Some(table) = table.filter(|table| table.index_names().next().is_none()) {
                let how = if reindex.concurrently { "that can be reindexed concurrently" } else { "to reindex" };
                let message = format!("table \"{}\" has no indexes {how}", table.name);
                session.notice(Error::new(SqlState::SuccessfulCompletion, message));
            }
            Ok(())
        }
        Reindexed::Schema(name) => {
            session.refuse_in_block("REINDEX SCHEMA")?;
            match catalog.user_schema(name) {
                Some(oid) => session.asker(catalog).need_to_own_schema(oid, name),
                None if catalog.schema_oid(name).is_none() => Err(no_schema(name)),
                None if catalog.roles.is_superuser(session.role_in(catalog)) => Ok(()),
                None => {
                    let message = format!("must be owner of schema {name}");
                    Err(Error::new(SqlState::InsufficientPrivilege, message))
                }
            }
        }
        Reindexed::Database(name) => whole(session, catalog, ("DATABASE", name.as_deref())),
        Reindexed::System(_) if reindex.concurrently => Err(no_system_concurrently()),
        Reindexed::System(name) => whole(session, catalog, ("SYSTEM", name.as_deref())),
    }
}

fn no_system_concurrently() -> Error {
    Error::new(SqlState::FeatureNotSupported, "cannot reindex system catalogs concurrently")
}

/// REINDEX DATABASE and SYSTEM.
fn whole(session: &Session, catalog: &Catalog, (what, name): (&str, Option<&str>)) -> Result<()> {
    session.refuse_in_block(&format!("REINDEX {what}"))?;
    if name.is_some_and(|name| name != DATABASE) {
        return Err(Error::new(SqlState::FeatureNotSupported, "can only reindex the currently open database"));
    }
    match catalog.roles.is_superuser(session.role_in(catalog)) {
        true => Ok(()),
        false => Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of database {DATABASE}"))),
    }
}
