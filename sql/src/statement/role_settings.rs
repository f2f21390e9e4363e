//! ALTER ROLE ... SET and ALTER DATABASE ... SET: the settings that a session begins with.
//!
//! Promises: a value that SET would refuse is refused; of several that fit a session the one of its role
//! counts more than the database's, and what the client asks for at its connection most. Changes no
//! session that is open.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::role::{denied, rules};
use crate::catalog::Catalog;
use crate::database::DATABASE;
use crate::parser::role::Whose;
use crate::parser::setting::Keep;
use crate::roles::Kept;
use crate::roles::SUPERUSER;
use crate::session::Session;
use crate::settings::SessionSettings;

/// See the module.
pub(super) fn keep(session: &Session, catalog: &mut Catalog, whose: &Whose, keep: &Keep) -> Result<()> {
    let (role, database) = match whose {
        Whose::Role(name, database) => (Some(session.one_role(catalog, name)?), database.as_ref()),
        Whose::All(database) => (None, database.as_ref()),
        Whose::Database(name) => (None, Some(name)),
    };
    if let Some(name) = database.filter(|name| *name != DATABASE) {
        return Err(Error::new(SqlState::InvalidCatalogName, format!("database \"{name}\" does not exist")));
    }
    may(session, catalog, whose, role)?;
    let in_database = database.is_some();
    let change = match keep {
        Keep::Set(name, Some(value)) => Some((name, value.clone())),
        Keep::Current(name) => Some((name, session.settings.get(name)?.to_string())),
        Keep::Set(_, None) | Keep::Reset(_) => None,
    };
    if let Some((name, value)) = &change {
        check(catalog, name, value)?;
    }
    let gone = match keep {
        Keep::Set(name, _) | Keep::Current(name) | Keep::Reset(Some(name)) => Some(name.as_str()),
        Keep::Reset(None) => None,
    };
    catalog.change_roles(|roles| {
        let settings = roles.settings_mut();
        let same = |one: &Kept| one.role == role && one.in_database == in_database;
        let place = settings.iter().position(|one| same(one) && Some(one.name.as_str()) == gone);
        match (change, place) {
            // Its place stays, as in PostgreSQL.
            (Some((_, value)), Some(place)) => settings[place].value = value,
            (Some((name, value)), None) => settings.push(Kept { role, in_database, name: name.clone(), value }),
            (None, _) => settings.retain(|one| !same(one) || gone.is_some_and(|name| one.name != name)),
        }
    });
    Ok(())
}

/// Refuses a setting or a value that SET would refuse.
fn check(catalog: &Catalog, name: &str, value: &str) -> Result<()> {
    if name == "role" {
        return catalog.roles.named(value).map(|_| ());
    }
    SessionSettings::new("").set(name, Some(value), false)
}

/// Refuses who may not change these settings.
fn may(session: &Session, catalog: &Catalog, whose: &Whose, role: Option<u32>) -> Result<()> {
    let me = session.role_in(catalog);
    let superuser = catalog.roles.is_superuser(me);
    match (whose, role.and_then(|role| catalog.roles.get(role))) {
        (_, Some(role)) if role.superuser && !superuser => Err(denied(
            "permission denied to alter role",
            "Only roles with the SUPERUSER attribute may alter roles with the SUPERUSER attribute.",
        )),
        (_, Some(role)) if role.oid != me && !rules(catalog, me, role) => {
            let name = &role.name;
            let detail = format!(
                "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{name}\" may alter this role."
            );
            Err(denied("permission denied to alter role", detail))
        }
        (Whose::Database(name), _) if !catalog.roles.has_rights_of(me, SUPERUSER) => {
            Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of database {name}")))
        }
        (Whose::All(_), _) if !superuser => Err(denied(
            "permission denied to alter setting",
            "Only roles with the SUPERUSER attribute may alter settings globally.",
        )),
        _ => Ok(()),
    }
}

impl Session {
    /// The settings that were kept for who logged in; what counts more stands later.
    pub(crate) fn kept_settings(&self) -> Vec<(String, String)> {
        let published = self.database.published();
        let own = |one: &&Kept| one.role.is_none_or(|role| role == self.login_role);
        let mut kept: Vec<&Kept> = published.catalog.roles.settings().iter().filter(own).collect();
        kept.sort_by_key(|one| (one.role.is_some(), one.in_database));
        kept.into_iter().map(|one| (one.name.clone(), one.value.clone())).collect()
    }
}
