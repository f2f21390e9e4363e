//! What a role may do, asked when a statement is planned.
//!
//! Promises: nothing is checked for superusers; a view's inputs are read with the rights of its owner;
//! refusals are 42501 in PostgreSQL's words. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::plan::RelationId;

use super::acl::{self, Acl, Rights, Thing};
use super::{READ_ALL_DATA, READ_SERVER_FILES, SUPERUSER, WRITE_ALL_DATA};
use crate::catalog::{Catalog, Object, is_temporary};

/// Somebody, and the catalog that says what they may.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// The catalog.
    pub(crate) catalog: &'a Catalog,
    /// The oid of the role.
    pub(crate) role: u32,
}

/// `permission denied for table t`.
pub(crate) fn denied(what: &str, name: &str) -> Error {
    Error::new(SqlState::InsufficientPrivilege, format!("permission denied for {what} {name}"))
}

/// Whether a role may connect to the database.
pub(crate) fn may_connect(catalog: &Catalog, role: u32) -> bool {
    Asker { catalog, role }.has_on_database(acl::CONNECT)
}

impl Asker<'_> {
    fn all_powerful(&self) -> bool {
        self.catalog.roles.is_superuser(self.role)
    }

    /// Whether it has this right, all of them if there are several, on an object.
    pub(crate) fn has(&self, oid: u32, right: Rights) -> bool {
        if self.all_powerful() {
            return true;
        }
        let missing = right & !self.catalog.held(self.role, oid);
        let roles = &self.catalog.roles;
        let all = |rights: Rights, role: u32| missing & !rights == 0 && roles.has_rights_of(self.role, role);
        missing == 0 || all(acl::SELECT, READ_ALL_DATA) || all(acl::INSERT | acl::UPDATE | acl::DELETE, WRITE_ALL_DATA)
    }

    /// Whether it may see what came of an object, which may be gone: then who may read all.
    pub(crate) fn sees(&self, object: Option<&Object>, right: Rights) -> bool {
        match object {
            Some(object) => self.has(object.oid, right),
            None => self.catalog.roles.has_rights_of(self.role, READ_ALL_DATA),
        }
    }

    fn has_on(&self, acl: Option<&Acl>, thing: Thing, right: Rights) -> bool {
        let inherited = self.catalog.roles.inherited(self.role);
        let acl = Catalog::acl_in_force(acl, thing, SUPERUSER);
        self.all_powerful() || right & !acl.held(|grantee| inherited.contains(&grantee)) == 0
    }

    /// Whether it has this right on a schema. Those of the system are for everybody to read.
    pub(crate) fn has_on_schema(&self, schema: &str, right: Rights) -> bool {
        if self.all_powerful() {
            return true;
        }
        // Nobody else finds a name in a temporary one.
        if is_temporary(schema) {
            return true;
        }
        let Some(oid) = self.catalog.user_schema(schema) else { return right & !acl::USAGE == 0 };
        let roles = &self.catalog.roles;
        let inherited = roles.inherited(self.role);
        let missing = right & !self.catalog.schema_acl(oid).held(|grantee| inherited.contains(&grantee));
        let all_data = || [READ_ALL_DATA, WRITE_ALL_DATA].iter().any(|role| roles.has_rights_of(self.role, *role));
        missing == 0 || (missing == acl::USAGE && all_data())
    }

    /// Whether it has this right on the database.
    pub(crate) fn has_on_database(&self, right: Rights) -> bool {
        self.has_on(self.catalog.database_acl(), Thing::Database, right)
    }

    /// Whether it owns an object, by itself or as a member.
    pub(crate) fn owns(&self, oid: u32) -> bool {
        self.catalog.roles.has_rights_of(self.role, self.catalog.owner(oid))
    }

    /// Refuses without this right on an object.
    pub(crate) fn need(&self, object: &Object, right: Rights) -> Result<()> {
        if !self.has_on_schema(&object.schema, acl::USAGE) {
            return Err(denied("schema", &object.schema));
        }
        if self.has(object.oid, right) { Ok(()) } else { Err(denied(object.kind().word(), &object.name)) }
    }

    /// Refuses without this right on all of these columns of an object, by their places, or on the whole; where
    /// none is named, on any.
    pub(crate) fn need_on_columns(&self, object: &Object, right: Rights, places: &BTreeSet<usize>) -> Result<()> {
        let whole = self.need(object, right);
        if whole.is_ok() || !self.has_on_schema(&object.schema, acl::USAGE) {
            return whole;
        }
        let held = self.catalog.held_on_columns(self.role, object.oid);
        let numbers = object.numbers();
        let has = |place: &usize| {
            let own = numbers.get(*place).and_then(|number| held.get(number));
            own.is_some_and(|rights| right & !rights == 0)
        };
        let enough = match places.is_empty() {
            true => (0..numbers.len()).any(|place| has(&place)),
            false => places.iter().all(has),
        };
        if enough { Ok(()) } else { whole }
    }

    /// As [`Asker::need_to_read`] for a query whose columns read can be asked for: rights on these are enough.
    pub(crate) fn need_to_read_columns(
        &self,
        oids: &[u32],
        columns: impl FnOnce() -> Result<BTreeMap<RelationId, BTreeSet<usize>>>,
    ) -> Result<()> {
        let refused = match self.need_to_read(oids) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let (by_column, whole): (Vec<u32>, Vec<u32>) =
            oids.iter().partition(|oid| self.catalog.column_acls(**oid).is_some() && !self.has(**oid, acl::SELECT));
        if by_column.is_empty() {
            return Err(refused);
        }
        self.need_to_read(&whole)?;
        let columns = columns()?;
        for object in by_column.iter().filter_map(|oid| self.catalog.get(*oid)) {
            let named = columns.get(&object.relation()).cloned().unwrap_or_default();
            self.need_on_columns(object, acl::SELECT, &named)?;
        }
        Ok(())
    }

    /// Refuses to read any of these, or what a view among them reads where its owner may not.
    pub(crate) fn need_to_read(&self, oids: &[u32]) -> Result<()> {
        for object in oids.iter().filter_map(|oid| self.catalog.get(*oid)) {
            self.need(object, acl::SELECT)?;
            if let Some(query) = object.named_query() {
                let owner = Asker { catalog: self.catalog, role: self.catalog.owner(object.oid) };
                // The superuser's own views, and those of who asks, are the most.
                if !owner.all_powerful() {
                    owner.need_to_read(&query.reads)?;
                }
            }
        }
        Ok(())
    }

    /// Refuses who does not own an object.
    pub(crate) fn need_to_own(&self, object: &Object) -> Result<()> {
        if self.owns(object.oid) {
            return Ok(());
        }
        let what = format!("must be owner of {} {}", object.kind().word(), object.name);
        Err(Error::new(SqlState::InsufficientPrivilege, what))
    }

    /// Refuses who does not own a schema.
    pub(crate) fn need_to_own_schema(&self, oid: u32, name: &str) -> Result<()> {
        if self.owns(oid) {
            return Ok(());
        }
        Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of schema {name}")))
    }

    /// Refuses who may not make schemas.
    pub(crate) fn need_to_create_schemas(&self) -> Result<()> {
        if self.has_on_database(acl::CREATE) { Ok(()) } else { Err(denied("database", crate::database::DATABASE)) }
    }

    /// Refuses who may make nothing in a schema.
    pub(crate) fn need_to_create_in(&self, schema: &str) -> Result<()> {
        if self.has_on_schema(schema, acl::CREATE) { Ok(()) } else { Err(denied("schema", schema)) }
    }

    /// Refuses who may not have the server read files of its own.
    pub(crate) fn need_server_files(&self) -> Result<()> {
        if self.catalog.roles.has_rights_of(self.role, READ_SERVER_FILES) {
            return Ok(());
        }
        Err(Error::new(SqlState::InsufficientPrivilege, "permission denied to read files of the server")
            .detail("Only roles with privileges of the \"pg_read_server_files\" role may read them by SQL."))
    }
}
