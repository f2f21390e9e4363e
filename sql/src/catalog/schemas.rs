//! Schemas: what objects of one name are told apart by.
//!
//! Promises: a schema has an oid like an object, and is put out of sight, brought back and owned like
//! one. An object knows its schema by name, so that renaming one renames it in all its objects.

use super::{Catalog, Object};

/// Where users' objects live until another schema is made.
pub(crate) const PUBLIC: &str = "public";

/// The oid of the schema `public` that every database begins with.
pub(crate) const PUBLIC_OID: u32 = 2200;

/// The schema of a session's temporary objects, in its own words; its real name has a number behind.
pub(crate) const TEMPORARY: &str = "pg_temp";

/// Whether a schema is some session's temporary one.
pub(crate) fn is_temporary(schema: &str) -> bool {
    schema.strip_prefix(TEMPORARY).is_some_and(|rest| rest.starts_with('_'))
}

/// Schemas that are there and read-only.
pub(crate) const SYSTEM_SCHEMAS: [&str; 3] = ["pg_catalog", "information_schema", "thalweg"];

/// Their oids, in the same order.
const SYSTEM_OIDS: [u32; 3] = [11, 13_283, 12_001];

impl Catalog {
    /// All schemas, by oid and name.
    pub(crate) fn schemas(&self) -> impl Iterator<Item = (u32, &str)> {
        let own = self.schemas.iter().map(|(oid, name)| (*oid, name.as_str()));
        SYSTEM_OIDS.into_iter().zip(SYSTEM_SCHEMAS).chain(own)
    }

    /// The oid of a schema.
    pub(crate) fn schema_oid(&self, name: &str) -> Option<u32> {
        self.schemas().find(|(_, known)| *known == name).map(|(oid, _)| oid)
    }

    /// The name of a schema.
    pub(crate) fn schema_name(&self, oid: u32) -> Option<&str> {
        self.schemas().find(|(known, _)| *known == oid).map(|(_, name)| name)
    }

    /// The oid of a schema that users may change.
    pub(crate) fn user_schema(&self, name: &str) -> Option<u32> {
        self.schemas.iter().find(|(_, known)| *known == name).map(|(oid, _)| *oid)
    }

    /// The objects of a schema that users may change.
    pub(crate) fn objects_in(&self, schema: u32) -> impl Iterator<Item = &Object> {
        let name = self.schemas.get(&schema);
        self.objects.values().filter(move |object| name == Some(&object.schema))
    }

    /// Adds a schema; with `unsettled` it goes if its transaction does.
    pub(crate) fn put_schema(&mut self, oid: u32, name: String, unsettled: bool) {
        self.version += 1;
        if unsettled {
            self.unsettled.insert(oid);
        }
        self.schemas.insert(oid, name);
    }

    /// Another name for a schema; stored queries keep the one they know.
    pub(crate) fn rename_schema(&mut self, oid: u32, to: &str) {
        self.version += 1;
        let objects: Vec<Object> = self.objects_in(oid).cloned().collect();
        for object in objects {
            self.keep_names(&object);
            self.put(Object { schema: to.into(), ..object });
        }
        if let Some(from) = self.schemas.insert(oid, to.into()) {
            self.rename_in_default_acls(&from, to);
        }
    }

    /// Puts a schema out of sight; nothing if it is none.
    pub(super) fn hide_schema(&mut self, oid: u32) {
        if let Some(name) = self.schemas.remove(&oid) {
            self.dropped_schemas.insert(oid, name);
        }
    }

    /// Brings a hidden schema back before its objects, those of `with` among the hidden ones; under
    /// another name if its own is taken by now.
    pub(super) fn bring_schema_back(&mut self, oid: u32, with: &[u32]) {
        let Some(name) = self.dropped_schemas.remove(&oid) else { return };
        self.version += 1;
        let taken = self.user_schema(&name).is_some();
        let own = if taken { format!("{name}_{oid}") } else { name.clone() };
        if taken {
            for hidden in with {
                if let Some(object) = self.dropped.get_mut(hidden).filter(|object| object.schema == name) {
                    object.schema.clone_from(&own);
                }
            }
        }
        self.schemas.insert(oid, own);
    }

    /// Forgets a schema, in sight or hidden.
    pub(super) fn forget_schema(&mut self, oid: u32) {
        let name = self.schemas.remove(&oid).or_else(|| self.dropped_schemas.remove(&oid));
        if let Some(name) = name.filter(|name| self.user_schema(name).is_none()) {
            self.forget_default_acls_in(&name);
        }
    }
}
