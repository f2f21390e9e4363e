//! What the server asks of the catalog before it lets a client in.
//!
//! Promises: who does not exist gets a verifier like anybody else's, which nothing fits; the caller
//! learns why a login is refused for its log, and decides what to tell. Does not know the wire.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::verifier::{Secret, Verifier};
use super::{NOBODY, SUPERUSER};
use crate::database::Database;

/// A role that wants to log in, as of now.
#[derive(Debug, Clone)]
pub struct Login {
    /// Its oid; `None`: there is no such role.
    pub role: Option<u32>,
    /// Whether it may log in.
    pub may_login: bool,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// CONNECTION LIMIT; `None`: none.
    pub connection_limit: Option<usize>,
    /// What verifies its password; for who has none, one that nothing fits.
    pub verifier: Verifier,
    /// Why no password is good enough, for the log.
    pub hopeless: Option<&'static str>,
}

/// What became of the password that a start was given for the superuser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenPassword {
    /// There was none.
    Nothing,
    /// It is the superuser's from now on.
    Set,
    /// It is the superuser's already.
    Known,
    /// The superuser has another, which stays.
    Another,
}

impl Database {
    /// What there is to know of a user who wants in.
    pub fn login(&self, user: &str) -> Result<Login> {
        let published = self.published();
        let roles = &published.catalog.roles;
        let role = roles.find(user);
        let now = chrono::Utc::now().timestamp_micros();
        let hopeless = match role {
            None => Some("there is no such role"),
            Some(role) if role.password.is_none() => Some("the role has no password"),
            Some(role) if role.valid_until.is_some_and(|until| until < now) => Some("the password has expired"),
            Some(_) => None,
        };
        let verifier = match role.and_then(|role| role.password.clone()) {
            Some(verifier) => verifier,
            None => Verifier::nobody(roles.seed(), user)?,
        };
        Ok(Login {
            role: role.map(|role| role.oid),
            may_login: role.is_some_and(|role| role.login),
            superuser: role.is_some_and(|role| role.superuser),
            connection_limit: role.and_then(|role| usize::try_from(role.connection_limit).ok()),
            verifier,
            hopeless,
        })
    }

    /// Whether some role has a password.
    pub fn has_passwords(&self) -> bool {
        self.published().catalog.roles.have_password()
    }

    /// Whether a user is a member of a role, or is it, for rules about who may connect.
    pub fn is_member(&self, user: &str, role: &str) -> bool {
        let published = self.published();
        let roles = &published.catalog.roles;
        match (roles.find(user), roles.find(role)) {
            (Some(user), Some(role)) => roles.is_member(user.oid, role.oid),
            _ => false,
        }
    }

    /// The name of the superuser that every database has.
    pub fn superuser(&self) -> String {
        self.published().catalog.roles.name(SUPERUSER)
    }

    /// At start: names the superuser of a database that holds nothing yet, and sets its password if it
    /// has none. Errors: 42939 for a name that is reserved; the engine's.
    pub async fn prepare_superuser(&self, name: &str, password: Option<&Secret>) -> Result<GivenPassword> {
        let _turn = self.0.ddl.lock().await;
        let mut next = (*self.published()).clone();
        let Some(mut role) = next.catalog.roles.get(SUPERUSER).cloned() else {
            return Err(Error::internal("a database without a superuser"));
        };
        let renamed = next.catalog.is_untouched() && role.name != name;
        if renamed {
            crate::statement::role::check_name(name)?;
            role.name = name.into();
        }
        let given = match (password, &role.password) {
            (None, _) => GivenPassword::Nothing,
            (Some(given), Some(known)) if known.fits(given) => GivenPassword::Known,
            (Some(_), Some(_)) => GivenPassword::Another,
            (Some(given), None) => {
                role.password = Some(crate::statement::role::verifier(given)?);
                next.catalog.roles.ensure_seed()?;
                GivenPassword::Set
            }
        };
        if renamed || given == GivenPassword::Set {
            next.catalog.change_roles(|roles| roles.put(role));
            self.publish(next).await?;
        }
        Ok(given)
    }

    /// Refuses who may not connect to the database. Error: 42501.
    pub fn may_connect(&self, role: u32) -> Result<()> {
        if role == NOBODY || !super::rights::may_connect(&self.published().catalog, role) {
            let name = crate::database::DATABASE;
            let error =
                Error::new(SqlState::InsufficientPrivilege, format!("permission denied for database \"{name}\""));
            return Err(error.detail("User does not have CONNECT privilege."));
        }
        Ok(())
    }
}
