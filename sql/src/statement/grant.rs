//! GRANT and REVOKE on relations, schemas and the database, default privileges, and who owns what.
//!
//! Promises: durable when it returns; all things of one statement change or none; who may grant what,
//! warnings and refusals are PostgreSQL's.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::alter_table::linked;
use super::drop;
use super::schema::need_to_become;
use crate::catalog::{Catalog, DefaultAcl, DefaultKind, Object, ObjectData, SYSTEM_SCHEMAS};
use crate::database::{DATABASE, Published};
use crate::parser::grant::{Change, GrantStatement, Objects};
use crate::parser::role::RoleName;
use crate::parser::{Name, ObjectKind};
use crate::roles::SUPERUSER;
use crate::roles::acl::{self, Acl, Rights, Thing};
use crate::roles::rights::denied;
use crate::session::{Outcome, Session};

/// See the module.
pub(crate) async fn run(session: &mut Session, statement: &GrantStatement) -> Result<Outcome> {
    let tag = statement.tag();
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    let mut next = (*current).clone();
    let mut gone = Vec::new();
    match statement {
        GrantStatement::Objects(objects, change) => on_objects(session, &mut next.catalog, objects, change)?,
        GrantStatement::Default { roles, schemas, kind, change } => {
            by_default(session, &mut next.catalog, (roles, schemas, *kind), change)?;
        }
        GrantStatement::Owner { kind, if_exists, name, to } => {
            change_owner(session, &mut next.catalog, (*kind, *if_exists, name), to)?;
        }
        GrantStatement::Reassign { from, to } => reassign(session, &mut next.catalog, from, to)?,
        GrantStatement::DropOwned { of, cascade } => gone = drop_owned(session, &mut next, of, *cascade)?,
    }
    session.changed_rights(&current.catalog, &mut next.catalog);
    database.publish(next).await?;
    if !gone.is_empty() {
        database.0.engine.remove(gone).await?;
    }
    Ok(Outcome::Done(tag.into()))
}

fn on_objects(session: &Session, catalog: &mut Catalog, objects: &Objects, change: &Change) -> Result<()> {
    if let Some(by) = &change.grantor
        && session.one_role(catalog, by)? != session.role_in(catalog)
    {
        return Err(Error::new(SqlState::FeatureNotSupported, "grantor must be current user"));
    }
    match objects {
        Objects::Relations(names) => {
            let oids = names.iter().map(|name| Ok(relation(session, catalog, name)?.oid));
            for oid in oids.collect::<Result<Vec<u32>>>()? {
                on_relation(session, catalog, oid, change)?;
            }
        }
        Objects::AllTables(schemas) => {
            schemas.iter().try_for_each(|schema| session.known_schema(catalog, schema))?;
            let in_them = |object: &&Object| schemas.contains(&object.schema) && object.sequence().is_none();
            let all = catalog.objects().filter(in_them);
            for oid in all.map(|object| object.oid).collect::<Vec<u32>>() {
                on_relation(session, catalog, oid, change)?;
            }
        }
        Objects::Sequences(names) => {
            for name in names {
                let object = relation(session, catalog, name)?;
                if object.sequence().is_none() {
                    let message = format!("\"{}\" is not a sequence", object.name);
                    return Err(Error::new(SqlState::WrongObjectType, message));
                }
                on_relation(session, catalog, object.oid, change)?;
            }
        }
        Objects::AllSequences(schemas) => {
            schemas.iter().try_for_each(|schema| session.known_schema(catalog, schema))?;
            let in_them = |object: &&Object| schemas.contains(&object.schema) && object.sequence().is_some();
            for oid in catalog.objects().filter(in_them).map(|object| object.oid).collect::<Vec<u32>>() {
                on_relation(session, catalog, oid, change)?;
            }
        }
        Objects::AllOthers(schemas) => {
            schemas.iter().try_for_each(|schema| session.known_schema(catalog, schema))?;
        }
        Objects::Schemas(names) => {
            for name in names {
                let Some(oid) = catalog.user_schema(name) else {
                    session.known_schema(catalog, name)?;
                    let error = Error::unsupported(format!("a privilege on schema \"{name}\""));
                    return Err(error.hint("Everybody may read the schemas of the system."));
                };
                let (owner, acl) = (catalog.owner(oid), catalog.schema_acl(oid));
                let acl = changed(session, catalog, (Thing::Schema, owner, acl), ("schema", name), change)?;
                catalog.set_acl(oid, Some(acl));
            }
        }
        Objects::Databases(names) => {
            for name in names {
                if name != DATABASE {
                    let message = format!("database \"{name}\" does not exist");
                    return Err(Error::new(SqlState::InvalidCatalogName, message));
                }
                let acl = Catalog::acl_in_force(catalog.database_acl(), Thing::Database, SUPERUSER);
                let acl = changed(session, catalog, (Thing::Database, SUPERUSER, acl), ("database", name), change)?;
                catalog.set_database_acl(acl);
            }
        }
    }
    Ok(())
}

/// The relation of this name.
fn relation<'a>(session: &Session, catalog: &'a Catalog, name: &Name) -> Result<&'a Object> {
    let system = name.schema.as_deref().is_some_and(|schema| SYSTEM_SCHEMAS.contains(&schema));
    if system {
        return Err(Error::unsupported(format!("a privilege on system table \"{name}\"")));
    }
    session.relation(catalog, name)
}

fn on_relation(session: &Session, catalog: &mut Catalog, oid: u32, change: &Change) -> Result<()> {
    let Some(object) = catalog.get(oid) else { return Ok(()) };
    let (name, word, owner) = (object.name.clone(), object.kind().word(), catalog.owner(oid));
    let thing = object.thing();
    on_columns(session, catalog, oid, change)?;
    if change.rights.as_ref().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    let acl = Catalog::acl_in_force(catalog.acl(oid), thing, owner);
    let acl = changed(session, catalog, (thing, owner, acl), (word, &name), change)?;
    catalog.set_acl(oid, Some(acl));
    Ok(())
}

/// What a statement says of columns; a REVOKE on a relation is one on its columns too.
fn on_columns(session: &Session, catalog: &mut Catalog, oid: u32, change: &Change) -> Result<()> {
    let Some(object) = catalog.get(oid) else { return Ok(()) };
    let (name, owner, numbers) = (object.name.clone(), catalog.owner(oid), object.numbers());
    if !change.columns.is_empty() && !has_columns(object) {
        return Err(Error::unsupported(format!("a privilege on columns of a {}", object.kind().word())));
    }
    let (mut wanted, mut named): (Vec<(u32, Rights)>, Vec<String>) = Default::default();
    for (word, columns) in &change.columns {
        let rights = if word == "ALL" { Thing::Column.all() } else { acl::named(word, Thing::Column)? };
        for column in columns {
            let place = object.columns.iter().position(|known| known.name == *column).ok_or_else(|| {
                let message = format!("column \"{column}\" of relation \"{name}\" does not exist");
                Error::new(SqlState::UndefinedColumn, message)
            })?;
            wanted.push((numbers[place], rights));
            named.push(column.clone());
        }
    }
    if !change.grants {
        let all = match &change.rights {
            None => Thing::Column.all(),
            Some(words) => {
                words.iter().filter_map(|word| acl::named(word, Thing::Column).ok()).fold(0, |all, one| all | one)
            }
        };
        wanted.extend(catalog.column_acls(oid).into_iter().flat_map(|known| known.keys()).map(|number| (*number, all)));
    }
    let me = session.role_in(catalog);
    let table = Catalog::acl_in_force(catalog.acl(oid), Thing::Relation, owner);
    for (place, (number, rights)) in wanted.into_iter().enumerate() {
        let mut acl = catalog.column_acls(oid).and_then(|known| known.get(&number)).cloned().unwrap_or_default();
        let (mut grantor, mut options) = best_grantor(catalog, me, (Thing::Column, owner, &table), rights);
        if options & rights == 0 {
            (grantor, options) = best_grantor(catalog, me, (Thing::Column, owner, &acl), rights);
        }
        if options & rights == 0 && change.grants {
            let column = named.get(place).cloned().unwrap_or_default();
            let message = format!("permission denied for column \"{column}\" of relation \"{name}\"");
            return Err(Error::new(SqlState::InsufficientPrivilege, message));
        }
        for grantee in &change.grantees {
            let grantee = session.named_role(catalog, grantee)?;
            if change.grants {
                acl.grant(owner, grantee, grantor, rights & options, change.option)?;
            } else {
                acl.revoke(owner, grantee, grantor, rights & options, change.option, change.cascade)?;
            }
        }
        catalog.set_column_acl(oid, number, acl);
    }
    Ok(())
}

/// Whether rights on single columns are checked where it is read and changed.
fn has_columns(object: &Object) -> bool {
    matches!(object.data, ObjectData::Table(_) | ObjectData::View(_) | ObjectData::StoredSource(_))
}

/// The rights that a statement names.
fn wanted(change: &Change, thing: Thing) -> Result<Rights> {
    match &change.rights {
        None => Ok(thing.all()),
        Some(words) => words.iter().try_fold(0, |rights, word| Ok(rights | acl::named(word, thing)?)),
    }
}

/// The access list after a GRANT or REVOKE by this session.
fn changed(
    session: &Session,
    catalog: &Catalog,
    (thing, owner, mut acl): (Thing, u32, Acl),
    (word, name): (&str, &str),
    change: &Change,
) -> Result<Acl> {
    let wanted = wanted(change, thing)?;
    let me = session.role_in(catalog);
    let (grantor, options) = best_grantor(catalog, me, (thing, owner, &acl), wanted);
    let available = wanted & options;
    if available == 0 {
        let inherited = catalog.roles.inherited(me);
        if acl.held(|grantee| inherited.contains(&grantee)) == 0 {
            return Err(denied(word, name));
        }
    }
    // ALL means all there is to give.
    if available == 0 || (available != wanted && change.rights.is_some()) {
        let state = if change.grants { SqlState::PrivilegeNotGranted } else { SqlState::PrivilegeNotRevoked };
        let part = if available == 0 { "no" } else { "not all" };
        let verb = if change.grants { "were granted" } else { "could be revoked" };
        session.warning(Error::new(state, format!("{part} privileges {verb} for \"{name}\"")));
    }
    for grantee in &change.grantees {
        let grantee = session.named_role(catalog, grantee)?;
        if change.grants {
            acl.grant(owner, grantee, grantor, available, change.option)?;
        } else {
            acl.revoke(owner, grantee, grantor, available, change.option, change.cascade)?;
        }
    }
    Ok(acl)
}

/// As whom a role grants, and what it may grant so: the owner if it can, else who of its roles has the
/// most of the grant options.
fn best_grantor(catalog: &Catalog, me: u32, (thing, owner, acl): (Thing, u32, &Acl), wanted: Rights) -> (u32, Rights) {
    if catalog.roles.has_rights_of(me, owner) {
        return (owner, thing.all());
    }
    let mut best = (me, 0);
    for role in catalog.roles.inherited(me) {
        let options = acl.grantable(|grantee| grantee == role);
        if (options & wanted).count_ones() > (best.1 & wanted).count_ones() {
            best = (role, options);
        }
    }
    best
}

fn by_default(
    session: &Session,
    catalog: &mut Catalog,
    (roles, schemas, kind): (&[RoleName], &[String], DefaultKind),
    change: &Change,
) -> Result<()> {
    let me = session.role_in(catalog);
    let whose = match roles {
        [] => vec![me],
        roles => roles.iter().map(|role| session.one_role(catalog, role)).collect::<Result<_>>()?,
    };
    if kind == DefaultKind::Schemas && !schemas.is_empty() {
        let message = "cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS";
        return Err(Error::new(SqlState::InvalidGrantOperation, message));
    }
    for schema in schemas {
        session.known_schema(catalog, schema)?;
    }
    let wanted = wanted(change, kind.thing())?;
    for role in whose {
        if !catalog.roles.has_rights_of(me, role) {
            let message = "permission denied to change default privileges";
            return Err(Error::new(SqlState::InsufficientPrivilege, message));
        }
        let places: Vec<Option<String>> =
            if schemas.is_empty() { vec![None] } else { schemas.iter().cloned().map(Some).collect() };
        for schema in places {
            let same = |one: &&DefaultAcl| one.role == role && one.schema == schema && one.kind == kind;
            let mine = catalog.default_acls().iter().find(same);
            let mut acl = match (mine, &schema) {
                (Some(one), _) => one.acl.clone(),
                (None, Some(_)) => Acl::default(),
                (None, None) => kind.thing().default_acl(role),
            };
            for grantee in &change.grantees {
                let grantee = session.named_role(catalog, grantee)?;
                if change.grants {
                    acl.grant(role, grantee, role, wanted, change.option)?;
                } else {
                    acl.revoke(role, grantee, role, wanted, change.option, change.cascade)?;
                }
            }
            catalog.set_default_acl(role, schema, kind, acl);
        }
    }
    Ok(())
}

fn change_owner(
    session: &Session,
    catalog: &mut Catalog,
    (kind, if_exists, name): (ObjectKind, bool, &Name),
    to: &RoleName,
) -> Result<()> {
    let object = match relation(session, catalog, name) {
        Err(_) if if_exists => {
            let text = format!("relation \"{name}\" does not exist, skipping");
            session.notice(Error::new(SqlState::SuccessfulCompletion, text));
            return Ok(());
        }
        found => found?,
    };
    // ALTER TABLE takes any relation, as in PostgreSQL.
    if object.kind() != kind && kind != ObjectKind::Table {
        let message = format!("\"{}\" is not a {}", object.name, kind.word());
        return Err(Error::new(SqlState::WrongObjectType, message));
    }
    let asker = session.asker(catalog);
    asker.need_to_own(object)?;
    let to = session.one_role(catalog, to)?;
    need_to_become(session, catalog, to)?;
    if !catalog.roles.is_superuser(asker.role) {
        crate::roles::rights::Asker { catalog, role: to }.need_to_create_in(&object.schema)?;
    }
    if let Some((table, _)) = object.sequence().and_then(|sequence| catalog.owner_column(sequence)) {
        let message = format!("cannot change owner of sequence \"{}\"", object.name);
        return Err(linked(message, object, table));
    }
    let all = catalog.with_owned(&[object.oid]);
    all.into_iter().for_each(|oid| catalog.set_owner(oid, to));
    Ok(())
}

/// The roles whose belongings a statement is about, if the session has their rights.
fn whose(session: &Session, catalog: &Catalog, names: &[RoleName], verb: &str) -> Result<Vec<u32>> {
    let me = session.role_in(catalog);
    let mut roles = Vec::with_capacity(names.len());
    for name in names {
        let role = session.one_role(catalog, name)?;
        if !catalog.roles.has_rights_of(me, role) {
            let name = catalog.roles.name(role);
            let message = format!("permission denied to {verb} objects");
            let detail = format!("Only roles with privileges of role \"{name}\" may {verb} objects owned by it.");
            return Err(Error::new(SqlState::InsufficientPrivilege, message).detail(detail));
        }
        roles.push(role);
    }
    Ok(roles)
}

fn owned(catalog: &Catalog, roles: &[u32]) -> Vec<u32> {
    let all = catalog.objects().map(|object| object.oid).chain(catalog.schemas().map(|(oid, _)| oid));
    all.filter(|oid| roles.contains(&catalog.owner(*oid))).collect()
}

fn reassign(session: &Session, catalog: &mut Catalog, from: &[RoleName], to: &RoleName) -> Result<()> {
    let from = whose(session, catalog, from, "reassign")?;
    let to = *whose(session, catalog, std::slice::from_ref(to), "reassign")?.first().unwrap_or(&SUPERUSER);
    owned(catalog, &from).into_iter().for_each(|oid| catalog.set_owner(oid, to));
    Ok(())
}

/// What the engine is to remove.
fn drop_owned(
    session: &mut Session,
    next: &mut Published,
    of: &[RoleName],
    cascade: bool,
) -> Result<Vec<thalweg_dataflow::plan::RelationId>> {
    let roles = whose(session, &next.catalog, of, "drop")?;
    if roles.contains(&SUPERUSER) {
        let name = next.catalog.roles.name(SUPERUSER);
        let message =
            format!("cannot drop objects owned by role {name} because they are required by the database system");
        return Err(Error::new(SqlState::DependentObjectsStillExist, message));
    }
    let oids = owned(&next.catalog, &roles);
    let gone = drop::take(session, next, &oids, cascade)?;
    roles.iter().for_each(|role| next.catalog.forget_rights(*role));
    Ok(gone)
}
