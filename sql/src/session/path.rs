//! The search path in force: where names without a schema are looked for, and where objects are made.
//!
//! Promises: holds schemas that exist and that the role in force may use, each once, in the order of
//! `search_path`, `$user` replaced.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::Session;
use crate::catalog::{Catalog, Object, SYSTEM_SCHEMAS, TEMPORARY};
use crate::parser::Name;
use crate::roles::acl::USAGE;
use crate::roles::rights::{Asker, denied};
use crate::settings::SessionSettings;

/// The path of a role under these settings.
pub(crate) fn resolved(
    settings: &SessionSettings,
    asker: &Asker<'_>,
    (user, temporary): (&str, Option<&str>),
) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    for name in settings.search_path() {
        // A user may have the name of a schema of the system.
        let (name, exists) = match name.as_str() {
            TEMPORARY => (temporary.unwrap_or(TEMPORARY).to_string(), temporary.is_some()),
            "$user" => (user.to_string(), asker.catalog.user_schema(user).is_some()),
            _ => {
                let exists = asker.catalog.schema_oid(&name).is_some();
                (name, exists)
            }
        };
        let usable = exists && asker.has_on_schema(&name, USAGE);
        if usable && !path.contains(&name) {
            path.push(name);
        }
    }
    path
}

impl Session {
    /// The path now.
    pub(crate) fn path(&self) -> Vec<String> {
        self.path_in(&self.database.published().catalog)
    }

    /// The path over a catalog, with what is temporary before all else, unless it says where.
    pub(crate) fn path_in(&self, catalog: &Catalog) -> Vec<String> {
        let mut path = self.named_path(catalog);
        let temporary = self.temporary.used_schema().filter(|schema| catalog.user_schema(schema).is_some());
        if let Some(temporary) = temporary.filter(|schema| !path.contains(schema)) {
            path.insert(0, temporary);
        }
        path
    }

    /// The same as `search_path` names it.
    pub(crate) fn named_path(&self, catalog: &Catalog) -> Vec<String> {
        let temporary = self.temporary.used_schema().filter(|schema| catalog.user_schema(schema).is_some());
        resolved(&self.settings, &self.asker(catalog), (&self.current_user(), temporary.as_deref()))
    }

    /// The object of a name that a statement about objects names; `None`: there is none. Errors: 3F000
    /// and 42501 about its schema.
    pub(crate) fn find<'a>(&self, catalog: &'a Catalog, name: &Name) -> Result<Option<&'a Object>> {
        if let Some(schema) = &name.schema {
            self.known_schema(catalog, schema)?;
        }
        Ok(catalog.find(name.schema.as_deref(), &name.name, &self.path_in(catalog)))
    }

    /// The same where there must be one. Error: 42P01.
    pub(crate) fn relation<'a>(&self, catalog: &'a Catalog, name: &Name) -> Result<&'a Object> {
        self.find(catalog, name)?
            .ok_or_else(|| Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist")))
    }

    /// Refuses a schema that does not exist, or may not be used.
    pub(crate) fn known_schema(&self, catalog: &Catalog, schema: &str) -> Result<()> {
        if schema == TEMPORARY {
            return Ok(());
        }
        if catalog.schema_oid(schema).is_none() {
            return Err(no_schema(schema));
        }
        if self.asker(catalog).has_on_schema(schema, USAGE) { Ok(()) } else { Err(denied("schema", schema)) }
    }

    /// The schema in which an object is to be made, if the session may.
    pub(crate) fn creation_schema(&self, name: &Name) -> Result<String> {
        let published = self.database.published();
        let catalog = &published.catalog;
        let schema =
            match &name.schema {
                Some(schema) => schema.clone(),
                None => self.named_path(catalog).into_iter().next().ok_or_else(|| {
                    Error::new(SqlState::InvalidSchemaName, "no schema has been selected to create in")
                })?,
            };
        self.may_create_in(catalog, &schema)?;
        Ok(schema)
    }

    /// Refuses to make an object in a schema that is not there, not the session's to use, or the
    /// system's.
    pub(crate) fn may_create_in(&self, catalog: &Catalog, schema: &str) -> Result<()> {
        if catalog.schema_oid(schema).is_none() {
            return Err(no_schema(schema));
        }
        if SYSTEM_SCHEMAS.contains(&schema) {
            let error = Error::unsupported(format!("creating an object in schema \"{schema}\""));
            return Err(error.hint("Users' objects live in schemas that users make, and in \"public\"."));
        }
        self.asker(catalog).need_to_create_in(schema)
    }
}

/// `schema "x" does not exist`.
pub(crate) fn no_schema(name: &str) -> Error {
    Error::new(SqlState::InvalidSchemaName, format!("schema \"{name}\" does not exist"))
}
