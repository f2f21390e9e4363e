//! Who a session is: the role that logged in, and those that SET SESSION AUTHORIZATION and SET ROLE put in its
//! place.
//!
//! Promises: rights are those of the role in force now; a role that is gone has PUBLIC's. SET ROLE
//! ends with a block that rolls back, SET LOCAL ROLE with its block. Authenticates nobody.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::Session;
use crate::catalog::Catalog;
use crate::parser::role::RoleName;
use crate::roles::rights::Asker;
use crate::roles::{NOBODY, acl};

impl Session {
    /// The oid of the role whose rights count.
    pub(crate) fn role_in(&self, catalog: &Catalog) -> u32 {
        match self.settings.get("role") {
            Ok("none") | Err(_) => self.session_role(catalog),
            Ok(name) => catalog.roles.find(name).map_or(NOBODY, |role| role.oid),
        }
    }

    /// Who asks, for checks against a catalog.
    pub(crate) fn asker<'a>(&self, catalog: &'a Catalog) -> Asker<'a> {
        Asker { catalog, role: self.role_in(catalog) }
    }

    /// `current_user`.
    pub(crate) fn current_user(&self) -> String {
        match self.settings.get("role") {
            Ok("none") | Err(_) => self.session_user(),
            Ok(name) => name.into(),
        }
    }

    /// `session_user`: who logged in, or who SET SESSION AUTHORIZATION put in its place.
    pub(crate) fn session_user(&self) -> String {
        self.settings.get("session_authorization").unwrap_or(&self.user).into()
    }

    /// The oid of the role that the session is of.
    pub(crate) fn session_role(&self, catalog: &Catalog) -> u32 {
        match self.settings.get("session_authorization") {
            Ok(name) if name != self.user => catalog.roles.find(name).map_or(NOBODY, |role| role.oid),
            _ => self.login_role,
        }
    }

    /// SET SESSION AUTHORIZATION; `None`: DEFAULT, RESET. For who logged in as a superuser.
    pub(crate) fn set_session_authorization(&mut self, name: Option<&str>, local: bool) -> Result<()> {
        if let Some(name) = name {
            let published = self.database.published();
            let roles = &published.catalog.roles;
            let missing = || Error::new(SqlState::InvalidParameter, format!("role \"{name}\" does not exist"));
            let role = roles.find(name).ok_or_else(missing)?;
            if role.oid != self.login_role && !roles.is_superuser(self.login_role) {
                let message = format!("permission denied to set session authorization \"{name}\"");
                return Err(Error::new(SqlState::InsufficientPrivilege, message));
            }
        }
        let name = name.unwrap_or(&self.user).to_string();
        self.settings.set_user("session_authorization", &name, local);
        self.set_role(None, local)
    }

    /// SET ROLE; `None`: NONE, RESET.
    pub(crate) fn set_role(&mut self, name: Option<&str>, local: bool) -> Result<()> {
        let name = name.filter(|name| *name != "none");
        if let Some(name) = name {
            let published = self.database.published();
            let roles = &published.catalog.roles;
            let missing = || Error::new(SqlState::InvalidParameter, format!("role \"{name}\" does not exist"));
            let role = roles.find(name).ok_or_else(missing)?;
            if !roles.can_become(self.session_role(&published.catalog), role.oid) {
                let message = format!("permission denied to set role \"{name}\"");
                return Err(Error::new(SqlState::InsufficientPrivilege, message));
            }
        }
        self.settings.set_user("role", name.unwrap_or("none"), local);
        self.tell_superuser();
        Ok(())
    }

    /// Keeps `is_superuser` true to the role in force.
    pub(super) fn tell_superuser(&mut self) {
        let published = self.database.published();
        let superuser = published.catalog.roles.is_superuser(self.role_in(&published.catalog));
        let word = if superuser { "on" } else { "off" };
        if self.settings.get("is_superuser").is_ok_and(|known| known != word) {
            self.settings.put("is_superuser", word);
        }
    }

    /// The oid of a role that a statement names; [`acl::PUBLIC`] for PUBLIC. Error: 42704.
    pub(crate) fn named_role(&self, catalog: &Catalog, name: &RoleName) -> Result<u32> {
        match name {
            RoleName::Named(name) => catalog.roles.named(name).map(|role| role.oid),
            RoleName::Current => Ok(self.role_in(catalog)),
            RoleName::Session => Ok(self.session_role(catalog)),
            RoleName::Public => Ok(acl::PUBLIC),
        }
    }

    /// The same where PUBLIC is no answer.
    pub(crate) fn one_role(&self, catalog: &Catalog, name: &RoleName) -> Result<u32> {
        match self.named_role(catalog, name)? {
            acl::PUBLIC => Err(Error::new(SqlState::UndefinedObject, "role \"public\" does not exist")),
            role => Ok(role),
        }
    }
}
