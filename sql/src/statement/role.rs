//! CREATE, ALTER and DROP ROLE.
//!
//! Who may do it follows PostgreSQL 16: CREATEROLE makes roles and rules those that it has the ADMIN
//! option on, and gives nothing that it has not itself. Promises: durable when it returns; a password
//! is kept as a verifier alone. Membership: [`super::membership`].

use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::{PgType, parse_text};

use datafusion::scalar::ScalarValue;

use super::membership::{self, Grant};
use super::role_settings;
use crate::database::Published;
use crate::parser::role::{MemberOptions, RoleName, RoleOptions, RoleStatement};
use crate::roles::verifier::{Secret, Verifier};
use crate::roles::{Membership, Role, SUPERUSER};
use crate::session::{Outcome, Session};

/// See the module.
pub(crate) async fn run(session: &mut Session, statement: &RoleStatement) -> Result<Outcome> {
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    let mut next = (*current).clone();
    match statement {
        RoleStatement::Create { name, options } => create(session, &mut next, name, options)?,
        RoleStatement::Alter { name, options } => alter(session, &mut next, name, options)?,
        RoleStatement::Keep { whose, keep } => role_settings::keep(session, &mut next.catalog, whose, keep)?,
        RoleStatement::Rename { name, to } => rename(session, &mut next, name, to)?,
        RoleStatement::Drop { if_exists, names } => drop(session, &mut next, *if_exists, names)?,
        RoleStatement::Grant { roles, members, options, grantor } => {
            let grantor = grantor.as_ref();
            membership::grant(session, &mut next, &Grant { roles, members, options: *options, grantor })?;
        }
        RoleStatement::Revoke { roles, members, options, grantor, cascade } => {
            let grantor = grantor.as_ref();
            membership::revoke(session, &mut next, &Grant { roles, members, options: *options, grantor }, *cascade)?;
        }
    }
    let first_password = next.catalog.roles.have_password() && !database.has_passwords();
    session.changed_rights(&current.catalog, &mut next.catalog);
    database.publish(next).await?;
    if first_password {
        warn_of_first_password(session);
    }
    Ok(Outcome::Done(statement.tag().into()))
}

/// From the first password on nobody is trusted any more; whoever is about to be locked out should know.
fn warn_of_first_password(session: &Session) {
    let published = session.database.published();
    let superuser = published.catalog.roles.get(SUPERUSER);
    if let Some(role) = superuser.filter(|role| role.password.is_none()) {
        let message = format!("from now on connections need a password, and superuser \"{}\" has none", role.name);
        let hint = format!("Use ALTER ROLE {} PASSWORD '...' before this session ends.", role.name);
        session.warning(Error::new(SqlState::Warning, message).hint(hint));
    }
}

pub(super) fn denied(message: impl Into<String>, detail: impl Into<String>) -> Error {
    Error::new(SqlState::InsufficientPrivilege, message).detail(detail)
}

/// Refuses names that roles cannot have. Error: 42939.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let reserved = Error::new(SqlState::ReservedName, format!("role name \"{name}\" is reserved"));
    match name {
        "public" | "none" => Err(reserved),
        name if name.starts_with("pg_") => Err(reserved.detail("Role names starting with \"pg_\" are reserved.")),
        "" => Err(Error::new(SqlState::SyntaxError, "zero-length delimited identifier")),
        _ => Ok(()),
    }
}

/// What is kept of a password, which may be a verifier already. Error: 0A000 for MD5.
pub(crate) fn verifier(password: &Secret) -> Result<Verifier> {
    let text = password.text();
    let is_md5 = text.len() == 35 && text.starts_with("md5") && text[3..].bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_md5 {
        return Err(Error::unsupported("an MD5 password").hint("Give the password itself or a SCRAM-SHA-256 verifier."));
    }
    Verifier::parse(text).map_or_else(|| Verifier::of_password(password), Ok)
}

/// The name that a statement gives to a role.
fn new_name(name: &RoleName) -> Result<&str> {
    match name {
        RoleName::Named(name) => check_name(name).map(|()| name.as_str()),
        RoleName::Public => check_name("public").map(|()| ""),
        RoleName::Current | RoleName::Session => {
            Err(Error::new(SqlState::ReservedName, "a role cannot have the name of a key word"))
        }
    }
}

fn create(session: &mut Session, next: &mut Published, name: &RoleName, options: &RoleOptions) -> Result<()> {
    let catalog = &mut next.catalog;
    let creator = session.role_in(catalog);
    let me = catalog.roles.get(creator).cloned();
    const DENIED: &str = "permission denied to create role";
    if !me.as_ref().is_some_and(|me| me.superuser || me.create_role) {
        return Err(denied(DENIED, "Only roles with the CREATEROLE attribute may create roles."));
    }
    let name = new_name(name)?;
    if catalog.roles.find(name).is_some() {
        return Err(Error::new(SqlState::DuplicateObject, format!("role \"{name}\" already exists")));
    }
    let mut role = Role::new(catalog.allocate(), name.into());
    let oid = role.oid;
    if let Some(attribute) = me.and_then(|me| beyond(&me, options)) {
        let detail =
            format!("Only roles with the {attribute} attribute may create roles with the {attribute} attribute.");
        return Err(denied(DENIED, detail));
    }
    apply(session, &mut role, options)?;
    let grant = catalog.allocate();
    let by_superuser = catalog.roles.is_superuser(creator);
    let seeded = catalog.roles.ensure_seed();
    catalog.change_roles(|roles| {
        roles.put(role);
        if !by_superuser {
            let (inherit, set) = (false, false);
            let own =
                Membership { oid: grant, role: oid, member: creator, grantor: SUPERUSER, admin: true, inherit, set };
            roles.members_mut().push(own);
        }
    });
    seeded?;
    let new = [RoleName::Named(name.into())];
    let grants = [
        (&options.of[..], &new[..], false),
        (&new[..], &options.members[..], false),
        (&new[..], &options.admins[..], true),
    ];
    for (roles, members, admin) in grants {
        let options = MemberOptions { admin: admin.then_some(true), ..MemberOptions::default() };
        membership::grant(session, next, &Grant { roles, members, options, grantor: None })?;
    }
    Ok(())
}

/// An attribute that is asked for and that the asker has not.
fn beyond(me: &Role, options: &RoleOptions) -> Option<&'static str> {
    let asked = [
        (options.superuser, me.superuser, "SUPERUSER"),
        (options.create_db, me.create_db || me.superuser, "CREATEDB"),
        (options.replication, me.replication || me.superuser, "REPLICATION"),
        (options.bypass_rls, me.bypass_rls || me.superuser, "BYPASSRLS"),
    ];
    asked.into_iter().find(|(asked, has, _)| *asked == Some(true) && !has).map(|(_, _, name)| name)
}

fn apply(session: &Session, role: &mut Role, options: &RoleOptions) -> Result<()> {
    let flags = [
        (&mut role.superuser, options.superuser),
        (&mut role.create_role, options.create_role),
        (&mut role.create_db, options.create_db),
        (&mut role.inherit, options.inherit),
        (&mut role.login, options.login),
        (&mut role.replication, options.replication),
        (&mut role.bypass_rls, options.bypass_rls),
    ];
    flags.into_iter().for_each(|(flag, asked)| *flag = asked.unwrap_or(*flag));
    if let Some(limit) = options.connection_limit {
        if limit < -1 {
            return Err(Error::new(SqlState::InvalidParameter, format!("invalid connection limit: {limit}")));
        }
        role.connection_limit = limit;
    }
    match &options.password {
        None => {}
        Some(None) => role.password = None,
        Some(Some(password)) if password.text().is_empty() => {
            let text = "empty string is not a valid password, clearing password";
            session.notice(Error::new(SqlState::SuccessfulCompletion, text));
            role.password = None;
        }
        Some(Some(password)) => role.password = Some(verifier(password)?),
    }
    if let Some(until) = &options.valid_until {
        let zone = &session.text_style().zone;
        role.valid_until = match parse_text(&PgType::Timestamptz, until, zone)? {
            ScalarValue::TimestampMicrosecond(time, _) => time,
            _ => return Err(Error::internal("a time of another type")),
        };
    }
    Ok(())
}

/// Refuses to touch what every database has.
fn refuse_reserved(role: &Role, what: &str) -> Result<()> {
    if !role.name.starts_with("pg_") {
        return Ok(());
    }
    let error = Error::new(SqlState::ReservedName, format!("role name \"{}\" is reserved", role.name));
    Err(error.detail(format!("Cannot {what} reserved roles.")))
}

/// Whether somebody may change a role: CREATEROLE with the ADMIN option, superusers all.
pub(super) fn rules(catalog: &crate::catalog::Catalog, me: u32, role: &Role) -> bool {
    let roles = &catalog.roles;
    let creates = roles.get(me).is_some_and(|me| me.create_role);
    roles.is_superuser(me) || (creates && !role.superuser && roles.administers(me, role.oid))
}

fn alter(session: &Session, next: &mut Published, name: &RoleName, options: &RoleOptions) -> Result<()> {
    const DENIED: &str = "permission denied to alter role";
    let catalog = &mut next.catalog;
    let me = session.role_in(catalog);
    let oid = session.one_role(catalog, name)?;
    let Some(mut role) = catalog.roles.get(oid).cloned() else { return Err(Error::internal("a role without a name")) };
    refuse_reserved(&role, "alter")?;
    if role.superuser && !catalog.roles.is_superuser(me) {
        let detail = "Only roles with the SUPERUSER attribute may alter roles with the SUPERUSER attribute.";
        return Err(denied(DENIED, detail));
    }
    let own_password = oid == me && only_password(options);
    if !rules(catalog, me, &role) && !own_password {
        let name = &role.name;
        let detail = format!(
            "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{name}\" may alter this role."
        );
        return Err(denied(DENIED, detail));
    }
    if let Some(attribute) = catalog.roles.get(me).and_then(|me| beyond(me, options)) {
        let detail = format!("Only roles with the {attribute} attribute may change the {attribute} attribute.");
        return Err(denied(DENIED, detail));
    }
    if oid == SUPERUSER && options.superuser == Some(false) {
        return Err(denied(DENIED, "The bootstrap user must have the SUPERUSER attribute."));
    }
    apply(session, &mut role, options)?;
    catalog.roles.ensure_seed()?;
    catalog.change_roles(|roles| roles.put(role));
    Ok(())
}

/// Whether nothing but the password is to change.
fn only_password(options: &RoleOptions) -> bool {
    let flags = [
        options.superuser,
        options.create_role,
        options.create_db,
        options.inherit,
        options.login,
        options.replication,
        options.bypass_rls,
    ];
    options.password.is_some()
        && flags.iter().all(Option::is_none)
        && options.connection_limit.is_none()
        && options.valid_until.is_none()
}

fn rename(session: &Session, next: &mut Published, name: &RoleName, to: &str) -> Result<()> {
    let catalog = &mut next.catalog;
    let me = session.role_in(catalog);
    let oid = session.one_role(catalog, name)?;
    let Some(mut role) = catalog.roles.get(oid).cloned() else { return Err(Error::internal("a role without a name")) };
    refuse_reserved(&role, "rename")?;
    check_name(to)?;
    if oid == session.session_role(catalog) {
        return Err(Error::unsupported("renaming the session user"));
    }
    if oid == me {
        return Err(Error::unsupported("renaming the current user"));
    }
    if catalog.roles.find(to).is_some() {
        return Err(Error::new(SqlState::DuplicateObject, format!("role \"{to}\" already exists")));
    }
    if !rules(catalog, me, &role) {
        let name = &role.name;
        let detail = format!(
            "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{name}\" may rename this role."
        );
        return Err(denied("permission denied to rename role", detail));
    }
    role.name = to.into();
    catalog.change_roles(|roles| roles.put(role));
    Ok(())
}

fn drop(session: &Session, next: &mut Published, if_exists: bool, names: &[RoleName]) -> Result<()> {
    const DENIED: &str = "permission denied to drop role";
    let me = session.role_in(&next.catalog);
    if !next.catalog.roles.get(me).is_some_and(|me| me.superuser || me.create_role) {
        let detail =
            "Only roles with the CREATEROLE attribute and the ADMIN option on the target roles may drop roles.";
        return Err(denied(DENIED, detail));
    }
    for name in names {
        let catalog = &mut next.catalog;
        let RoleName::Named(name) = name else {
            let message = "cannot use special role specifier in DROP ROLE";
            return Err(Error::new(SqlState::InvalidParameter, message));
        };
        let role = match catalog.roles.named(name) {
            Ok(role) => role.clone(),
            Err(_) if if_exists => {
                let text = format!("role \"{name}\" does not exist, skipping");
                session.notice(Error::new(SqlState::SuccessfulCompletion, text));
                continue;
            }
            Err(error) => return Err(error),
        };
        for (oid, who) in [(me, "current"), (session.session_role(catalog), "session")] {
            if role.oid == oid {
                return Err(Error::new(SqlState::ObjectInUse, format!("{who} user cannot be dropped")));
            }
        }
        let depends = |message: String| Error::new(SqlState::DependentObjectsStillExist, message);
        if role.oid < crate::catalog::FIRST_OID {
            return Err(depends(format!("cannot drop role {name} because it is required by the database system")));
        }
        if role.superuser && !catalog.roles.is_superuser(me) {
            let detail = "Only roles with the SUPERUSER attribute may drop roles with the SUPERUSER attribute.";
            return Err(denied(DENIED, detail));
        }
        if !rules(catalog, me, &role) {
            let detail = format!(
                "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{name}\" may drop this role."
            );
            return Err(denied(DENIED, detail));
        }
        let lines = catalog.dependent_on_role(role.oid, &session.path_in(catalog));
        if !lines.is_empty() {
            let error = depends(format!("role \"{name}\" cannot be dropped because some objects depend on it"));
            return Err(error.detail(lines.join("\n")));
        }
        catalog.change_roles(|roles| roles.remove(role.oid));
    }
    Ok(())
}
