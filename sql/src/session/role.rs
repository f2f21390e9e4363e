//! Who a session is: the role that logged in, and the one that SET ROLE put in its place.
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
            Ok("none") | Err(_) => self.session_role,
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
            Ok("none") | Err(_) => self.user.clone(),
            Ok(name) => name.into(),
        }
    }

    /// SET ROLE; `None`: NONE, RESET.
    pub(crate) fn set_role(&mut self, name: Option<&str>, local: bool) -> Result<()> {
        let name = name.filter(|name| *name != "none");
        if let Some(name) = name {
            let published = self.database.published();
            let roles = &published.catalog.roles;
            let missing = || Error::new(SqlState::InvalidParameter, format!("role \"{name}\" does not exist"));
            let role = roles.find(name).ok_or_else(missing)?;
            if !roles.can_become(self.session_role, role.oid) {
                let message = format!("permission denied to set role \"{name}\"");
                return Err(Error::new(SqlState::InsufficientPrivilege, message));
            }
        }
        self.settings.set_role(name.unwrap_or("none"), local);
        self.tell_superuser();
        Ok(())
    }

    /// Keeps `is_superuser` true to the role in force.
    pub(super) fn tell_superuser(&mut self) {
        let published = self.database.published();
        let superuser = published.catalog.roles.is_superuser(self.role_in(&published.catalog));
        let word = if superuser { "on" } else { "off" };
        if self.settings.get("is_superuser").is_ok_and(|known| known == word) {
            self.settings.put("is_superuser", word);
        }
    }

    /// The oid of a role that a statement names; [`acl::PUBLIC`] for PUBLIC. Error: 42704.
    pub(crate) fn named_role(&self, catalog: &Catalog, name: &RoleName) -> Result<u32> {
        match name {
            RoleName::Named(name) => catalog.roles.named(name).map(|role| role.oid),
            RoleName::Current => Ok(self.role_in(catalog)),
            RoleName::Session => Ok(self.session_role),
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
