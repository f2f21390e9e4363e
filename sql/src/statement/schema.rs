//! CREATE, ALTER and DROP SCHEMA.
//!
//! Promises: durable when it returns; a schema goes with all that is in it or not at all; who may do
//! what follows PostgreSQL 16. In a block what is created goes with ROLLBACK, what is dropped comes back.

use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::plan::RelationId;

use super::drop;
use crate::catalog::{Catalog, SYSTEM_SCHEMAS};
use crate::database::Published;
use crate::parser::role::RoleName;
use crate::parser::schema::SchemaStatement;
use crate::session::path::no_schema;
use crate::session::{Outcome, Session};

/// See the module.
pub(crate) async fn run(session: &mut Session, statement: &SchemaStatement) -> Result<Outcome> {
    // Elements are [`super::schema_elements`]'s.
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    let mut next = (*current).clone();
    let mut gone = Vec::new();
    let changed = match statement {
        SchemaStatement::Create { if_not_exists, name, owner, .. } => {
            create(session, &mut next.catalog, *if_not_exists, name.as_deref(), owner.as_ref())?
        }
        SchemaStatement::Drop { if_exists, names, cascade } => {
            gone = take(session, &mut next, *if_exists, names, *cascade)?;
            true
        }
        SchemaStatement::Rename { name, to } => {
            session.changed_lastingly(statement.tag());
            rename(session, &mut next.catalog, name, to)?;
            true
        }
        SchemaStatement::Owner { name, to } => {
            change_owner(session, &mut next.catalog, name, to)?;
            session.changed_rights(&current.catalog, &mut next.catalog);
            true
        }
    };
    if changed {
        database.publish(next).await?;
    }
    if !gone.is_empty() {
        database.0.engine.remove(gone).await?;
    }
    Ok(Outcome::Done(statement.tag().into()))
}

/// Refuses names that are the system's. Error: 42939.
fn check_name(name: &str) -> Result<()> {
    if !name.starts_with("pg_") {
        return Ok(());
    }
    let error = Error::new(SqlState::ReservedName, format!("unacceptable schema name \"{name}\""));
    Err(error.detail("The prefix \"pg_\" is reserved for system schemas."))
}

/// Refuses who may not give things to a role.
pub(super) fn need_to_become(session: &Session, catalog: &Catalog, to: u32) -> Result<()> {
    if catalog.roles.can_become(session.role_in(catalog), to) {
        return Ok(());
    }
    let message = format!("must be able to SET ROLE \"{}\"", catalog.roles.name(to));
    Err(Error::new(SqlState::InsufficientPrivilege, message))
}

fn already_exists(name: &str) -> Error {
    Error::new(SqlState::DuplicateSchema, format!("schema \"{name}\" already exists"))
}

/// Whether there is something new.
fn create(
    session: &mut Session,
    catalog: &mut Catalog,
    if_not_exists: bool,
    name: Option<&str>,
    owner: Option<&RoleName>,
) -> Result<bool> {
    let owner = match owner {
        Some(owner) => session.one_role(catalog, owner)?,
        None => session.role_in(catalog),
    };
    let name = name.map_or_else(|| catalog.roles.name(owner), str::to_string);
    session.asker(catalog).need_to_create_schemas()?;
    need_to_become(session, catalog, owner)?;
    check_name(&name)?;
    if catalog.schema_oid(&name).is_some() {
        if !if_not_exists {
            return Err(already_exists(&name));
        }
        let text = format!("schema \"{name}\" already exists, skipping");
        session.notice(Error::new(SqlState::DuplicateSchema, text));
        return Ok(false);
    }
    session.create_schema(catalog, name, owner);
    Ok(true)
}

/// The oid of a schema that may be changed.
fn changeable(session: &Session, catalog: &Catalog, name: &str) -> Result<u32> {
    let Some(oid) = catalog.schema_oid(name) else { return Err(no_schema(name)) };
    if SYSTEM_SCHEMAS.contains(&name) {
        let message = format!("permission denied to change schema \"{name}\"");
        let error = Error::new(SqlState::InsufficientPrivilege, message);
        return Err(error.detail("It is the system's."));
    }
    session.asker(catalog).need_to_own_schema(oid, name)?;
    Ok(oid)
}

/// What the engine is to remove.
fn take(
    session: &mut Session,
    next: &mut Published,
    if_exists: bool,
    names: &[String],
    cascade: bool,
) -> Result<Vec<RelationId>> {
    let mut oids = Vec::new();
    for name in names {
        if SYSTEM_SCHEMAS.contains(&name.as_str()) {
            let message = format!("cannot drop schema {name} because it is required by the database system");
            return Err(Error::new(SqlState::DependentObjectsStillExist, message));
        }
        match next.catalog.user_schema(name) {
            Some(oid) => {
                session.asker(&next.catalog).need_to_own_schema(oid, name)?;
                if !oids.contains(&oid) {
                    oids.push(oid);
                }
            }
            None if if_exists => {
                let text = format!("schema \"{name}\" does not exist, skipping");
                session.notice(Error::new(SqlState::SuccessfulCompletion, text));
            }
            None => return Err(no_schema(name)),
        }
    }
    drop::take(session, next, &oids, cascade)
}

fn rename(session: &Session, catalog: &mut Catalog, name: &str, to: &str) -> Result<()> {
    if catalog.schema_oid(name).is_none() {
        return Err(no_schema(name));
    }
    if catalog.schema_oid(to).is_some() {
        return Err(already_exists(to));
    }
    let oid = changeable(session, catalog, name)?;
    session.asker(catalog).need_to_create_schemas()?;
    check_name(to)?;
    catalog.rename_schema(oid, to);
    Ok(())
}

fn change_owner(session: &Session, catalog: &mut Catalog, name: &str, to: &RoleName) -> Result<()> {
    let oid = changeable(session, catalog, name)?;
    let to = session.one_role(catalog, to)?;
    need_to_become(session, catalog, to)?;
    session.asker(catalog).need_to_create_schemas()?;
    catalog.set_owner(oid, to);
    Ok(())
}
