//! Roles: who may connect, what each may do, who is a member of whom. Part of the catalog.
//!
//! Promises: the superuser of a fresh database and the predefined roles are always there; oids come
//! from the catalog's counter; no password is held, only what verifies one. Attributes, membership
//! and its options mean what they mean in PostgreSQL 16. Does not check statements (`rights` does).

pub(crate) mod acl;
pub mod login;
pub(crate) mod rights;
pub mod verifier;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use thalweg_dataflow::error::{Error, Result, SqlState};

use verifier::Verifier;

/// The oid of the superuser that every database has, as in PostgreSQL.
pub(crate) const SUPERUSER: u32 = 10;

/// The name of a fresh database's superuser if nothing else is said.
pub(crate) const SUPERUSER_NAME: &str = "thalweg";

/// No role: what a name means that is gone. It has what PUBLIC has.
pub(crate) const NOBODY: u32 = u32::MAX;

/// Who may read every relation.
pub(crate) const READ_ALL_DATA: u32 = 6181;

/// Who may change every table.
pub(crate) const WRITE_ALL_DATA: u32 = 6182;

/// Who may read files of the server by SQL.
pub(crate) const READ_SERVER_FILES: u32 = 4569;

/// Who may see what all sessions do.
pub(crate) const READ_ALL_STATS: u32 = 3375;

/// Who may end what others' sessions do.
pub(crate) const SIGNAL_BACKEND: u32 = 4200;

/// Who may ask for a checkpoint.
pub(crate) const CHECKPOINT: u32 = 4544;

/// The roles that are there without being made, with PostgreSQL's oids.
static PREDEFINED: LazyLock<Vec<Role>> = LazyLock::new(|| {
    let role = |(oid, name): (u32, &str)| Role::new(oid, name.into());
    [
        (READ_ALL_STATS, "pg_read_all_stats"),
        (SIGNAL_BACKEND, "pg_signal_backend"),
        (READ_SERVER_FILES, "pg_read_server_files"),
        (READ_ALL_DATA, "pg_read_all_data"),
        (WRITE_ALL_DATA, "pg_write_all_data"),
        (CHECKPOINT, "pg_checkpoint"),
    ]
    .map(role)
    .into()
});

/// A role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Role {
    /// Its oid, for ever.
    pub(crate) oid: u32,
    /// Its name.
    pub(crate) name: String,
    /// SUPERUSER: nothing is checked.
    pub(crate) superuser: bool,
    /// CREATEROLE.
    pub(crate) create_role: bool,
    /// CREATEDB: shown, there is one database.
    pub(crate) create_db: bool,
    /// INHERIT: what later grants of membership default to.
    pub(crate) inherit: bool,
    /// LOGIN.
    pub(crate) login: bool,
    /// REPLICATION: shown, there is none.
    pub(crate) replication: bool,
    /// BYPASSRLS: shown, there is no row security.
    pub(crate) bypass_rls: bool,
    /// CONNECTION LIMIT; -1: none.
    pub(crate) connection_limit: i32,
    /// PASSWORD.
    pub(crate) password: Option<Verifier>,
    /// VALID UNTIL, microseconds since 1970 UTC; the password is no good from then on.
    pub(crate) valid_until: Option<i64>,
}

impl Role {
    /// A role as CREATE ROLE without options makes it.
    pub(crate) fn new(oid: u32, name: String) -> Role {
        Role {
            oid,
            name,
            superuser: false,
            create_role: false,
            create_db: false,
            inherit: true,
            login: false,
            replication: false,
            bypass_rls: false,
            connection_limit: -1,
            password: None,
            valid_until: None,
        }
    }

    fn superuser() -> Role {
        Role {
            superuser: true,
            create_role: true,
            create_db: true,
            login: true,
            replication: true,
            bypass_rls: true,
            ..Role::new(SUPERUSER, SUPERUSER_NAME.into())
        }
    }
}

/// One role is a member of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    /// The oid of the grant.
    pub(crate) oid: u32,
    /// The role that is granted.
    pub(crate) role: u32,
    /// Who gets it.
    pub(crate) member: u32,
    /// Who granted it.
    pub(crate) grantor: u32,
    /// ADMIN OPTION: the member may grant it on.
    pub(crate) admin: bool,
    /// INHERIT OPTION: the member has its rights.
    pub(crate) inherit: bool,
    /// SET OPTION: the member may SET ROLE to it.
    pub(crate) set: bool,
}

/// A setting that sessions begin with: of which role, in which database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Whose; `None`: everybody's.
    pub(crate) role: Option<u32>,
    /// Whether it was said for the database.
    pub(crate) in_database: bool,
    /// The setting's name in lower case.
    pub(crate) name: String,
    /// Its value as it was written.
    pub(crate) value: String,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Roles {
    roles: BTreeMap<u32, Role>,
    members: Vec<Membership>,
    /// Settings that a session begins with.
    #[serde(default)]
    settings: Vec<Kept>,
    /// The secret from which the salts of users who do not exist are made; empty until the first
    /// password is set.
    seed: Vec<u8>,
}

impl Default for Roles {
    fn default() -> Roles {
        let roles = BTreeMap::from([(SUPERUSER, Role::superuser())]);
        Roles { roles, members: Vec::new(), settings: Vec::new(), seed: Vec::new() }
    }
}

impl Roles {
    /// All roles, by oid.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Role> {
        self.roles.values().chain(PREDEFINED.iter())
    }

    /// The roles that are not predefined.
    pub(crate) fn made(&self) -> &BTreeMap<u32, Role> {
        &self.roles
    }

    /// All memberships, in the order they were granted.
    pub(crate) fn members(&self) -> &[Membership] {
        &self.members
    }

    /// All memberships, to be changed.
    pub(crate) fn members_mut(&mut self) -> &mut Vec<Membership> {
        &mut self.members
    }

    /// The role with this oid.
    pub(crate) fn get(&self, oid: u32) -> Option<&Role> {
        self.roles.get(&oid).or_else(|| PREDEFINED.iter().find(|role| role.oid == oid))
    }

    /// The role of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Role> {
        self.all().find(|role| role.name == name)
    }

    /// The role of this name. Error: 42704.
    pub(crate) fn named(&self, name: &str) -> Result<&Role> {
        let missing = || Error::new(SqlState::UndefinedObject, format!("role \"{name}\" does not exist"));
        self.find(name).ok_or_else(missing)
    }

    /// The name of a role, as `pg_get_userbyid` has it.
    pub(crate) fn name(&self, oid: u32) -> String {
        self.get(oid).map_or_else(|| format!("unknown (OID={oid})"), |role| role.name.clone())
    }

    /// Adds or replaces a role.
    pub(crate) fn put(&mut self, role: Role) {
        self.roles.insert(role.oid, role);
    }

    /// Removes a role and its memberships.
    pub(crate) fn remove(&mut self, oid: u32) {
        self.roles.remove(&oid);
        self.members.retain(|one| one.role != oid && one.member != oid);
        self.settings.retain(|one| one.role != Some(oid));
    }

    /// The settings that sessions begin with; what counts more stands later.
    pub(crate) fn settings(&self) -> &[Kept] {
        &self.settings
    }

    /// The settings that sessions begin with, to be changed.
    pub(crate) fn settings_mut(&mut self) -> &mut Vec<Kept> {
        &mut self.settings
    }

    /// Whether some role has a password: from then on nobody is trusted without being asked.
    pub(crate) fn have_password(&self) -> bool {
        self.roles.values().any(|role| role.password.is_some())
    }

    /// The secret of this database, if one was made.
    pub(crate) fn seed(&self) -> &[u8] {
        &self.seed
    }

    /// Makes the secret if there is none yet.
    pub(crate) fn ensure_seed(&mut self) -> Result<()> {
        if self.seed.is_empty() {
            let mut seed = vec![0; 32];
            verifier::random(&mut seed)?;
            self.seed = seed;
        }
        Ok(())
    }

    /// Whether a role is one.
    pub(crate) fn is_superuser(&self, role: u32) -> bool {
        self.get(role).is_some_and(|role| role.superuser)
    }

    /// The role and all that it is a member of over grants that are `wanted`.
    fn closure(&self, member: u32, wanted: impl Fn(&Membership) -> bool) -> BTreeSet<u32> {
        let mut found = BTreeSet::from([member]);
        let mut todo = vec![member];
        while let Some(member) = todo.pop() {
            let granted = self.members.iter().filter(|one| one.member == member && wanted(one));
            todo.extend(granted.map(|one| one.role).filter(|role| found.insert(*role)));
        }
        found
    }

    /// The roles whose rights a role has.
    pub(crate) fn inherited(&self, member: u32) -> BTreeSet<u32> {
        self.closure(member, |one| one.inherit)
    }

    /// Whether `member` has the rights of `role`.
    pub(crate) fn has_rights_of(&self, member: u32, role: u32) -> bool {
        member == role || self.is_superuser(member) || self.inherited(member).contains(&role)
    }

    /// Whether `member` may SET ROLE to `role`.
    pub(crate) fn can_become(&self, member: u32, role: u32) -> bool {
        self.is_superuser(member) || self.closure(member, |one| one.set).contains(&role)
    }

    /// Whether `member` is one of `role`, whatever the options; a superuser is of none by itself.
    pub(crate) fn is_member(&self, member: u32, role: u32) -> bool {
        self.closure(member, |_| true).contains(&role)
    }

    /// Whether `member` may grant `role` and alter it.
    pub(crate) fn administers(&self, member: u32, role: u32) -> bool {
        let own = || self.inherited(member);
        self.is_superuser(member)
            || self.members.iter().any(|one| one.role == role && one.admin && own().contains(&one.member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(grants: &[(u32, u32, bool)]) -> Roles {
        let mut roles = Roles::default();
        for oid in 100..105 {
            roles.put(Role::new(oid, format!("r{oid}")));
        }
        for (oid, (role, member, inherit)) in (200..).zip(grants) {
            let (role, member, inherit) = (*role, *member, *inherit);
            let one = Membership { oid, role, member, grantor: SUPERUSER, admin: false, inherit, set: true };
            roles.members_mut().push(one);
        }
        roles
    }

    #[test]
    fn rights_come_along_grants_that_inherit() {
        let mut roles = roles(&[(101, 100, true), (102, 101, false), (103, 102, true)]);
        assert!(roles.has_rights_of(100, 101) && !roles.has_rights_of(100, 102) && roles.has_rights_of(102, 103));
        assert!(roles.is_member(100, 103) && roles.can_become(100, 103));
        assert!(!roles.is_member(SUPERUSER, 103) && roles.can_become(SUPERUSER, 103));
        assert!(!roles.administers(100, 101) && roles.administers(SUPERUSER, 101));
        roles.members_mut()[0].admin = true;
        assert!(roles.administers(100, 101) && !roles.administers(101, 101));
        roles.remove(101);
        assert!(!roles.is_member(100, 103) && roles.find("r101").is_none());
        assert!(!roles.has_rights_of(NOBODY, 103));
    }

    #[test]
    fn a_fresh_database_has_its_superuser_and_the_predefined_roles() {
        let roles = Roles::default();
        assert_eq!(roles.find(SUPERUSER_NAME).map(|role| (role.oid, role.login)), Some((SUPERUSER, true)));
        assert!(roles.find("pg_read_server_files").is_some_and(|role| !role.login));
        assert!(!roles.have_password() && roles.seed().is_empty());
        assert_eq!(roles.named("x").unwrap_err().message(), "role \"x\" does not exist");
        assert_eq!(roles.name(7), "unknown (OID=7)");
    }
}
