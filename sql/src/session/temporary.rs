//! A session's temporary tables, views and sequences: their schema, and what a commit does to them.
//!
//! They are objects like any other, in a schema of the session's own that stands first in its path and
//! that no other session finds names in. Promises: they go with the session, and with a restart what a
//! crash left of them.

use std::collections::BTreeMap;

use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::plan::RelationId;

use super::Session;
use crate::catalog::{Catalog, Object, TEMPORARY};
use crate::database::{DATABASE, Database};
use crate::parser::Name;
use crate::roles::acl;
use crate::statement::drop;

/// What a commit does to a temporary table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnCommit {
    /// DELETE ROWS.
    DeleteRows,
    /// DROP.
    Drop,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Temporary {
    /// Which session of the server this is.
    number: u32,
    /// Whether there may be any.
    used: bool,
    /// By oid; nothing for tables that keep their rows.
    on_commit: BTreeMap<u32, OnCommit>,
}

impl Temporary {
    /// Of the session of this number.
    pub(super) fn new(number: u32) -> Temporary {
        Temporary { number, ..Temporary::default() }
    }

    /// The name of its schema.
    pub(super) fn schema(&self) -> String {
        format!("{TEMPORARY}_{}", self.number)
    }

    /// The same once something was made in it.
    pub(super) fn used_schema(&self) -> Option<String> {
        self.used.then(|| self.schema())
    }
}

impl Session {
    /// Whether a schema's name means the session's own.
    fn is_own_temporary(&self, schema: &str) -> bool {
        schema == TEMPORARY || schema == self.temporary.schema()
    }

    /// The schema in which an object is to be made, if the session may.
    pub(crate) fn schema_for(&self, name: &Name, temporary: bool) -> Result<String> {
        let own = name.schema.as_deref().is_some_and(|schema| self.is_own_temporary(schema));
        if !temporary && !own {
            return self.creation_schema(name);
        }
        if name.schema.is_some() && !own {
            let message = "cannot create temporary relation in non-temporary schema";
            return Err(Error::new(SqlState::InvalidTableDefinition, message));
        }
        let published = self.database.published();
        if !self.asker(&published.catalog).has_on_database(acl::TEMPORARY) {
            let message = format!("permission denied to create temporary tables in database \"{DATABASE}\"");
            return Err(Error::new(SqlState::InsufficientPrivilege, message));
        }
        Ok(self.temporary.schema())
    }

    /// Makes the session's schema if an object is about to be put into it.
    pub(super) fn enter_temporary(&mut self, catalog: &mut Catalog, object: &Object) {
        if object.schema == self.temporary.schema() {
            self.temporary.used = true;
            if catalog.user_schema(&object.schema).is_none() {
                let oid = catalog.allocate();
                catalog.put_schema(oid, object.schema.clone(), false);
            }
        }
    }

    /// A table has an ON COMMIT.
    pub(crate) fn on_commit(&mut self, table: u32, action: OnCommit) {
        self.temporary.on_commit.insert(table, action);
    }

    /// Whether the rows of a table go with the commit that would make them durable.
    pub(crate) fn loses_rows(&self, table: RelationId) -> bool {
        self.temporary.on_commit.get(&table.0) == Some(&OnCommit::DeleteRows)
    }

    /// A commit: what is to go with it goes.
    pub(super) async fn drop_on_commit(&mut self) -> Result<()> {
        let falls = |action: &OnCommit| *action == OnCommit::Drop;
        if !self.temporary.on_commit.values().any(falls) {
            return Ok(());
        }
        let gone: Vec<u32> =
            self.temporary.on_commit.iter().filter(|(_, action)| falls(action)).map(|(oid, _)| *oid).collect();
        gone.iter().for_each(|oid| _ = self.temporary.on_commit.remove(oid));
        let database = self.database.clone();
        let _turn = database.0.ddl.lock().await;
        let mut next = (*database.published()).clone();
        let oids: Vec<u32> = gone.into_iter().filter(|oid| next.catalog.get(*oid).is_some()).collect();
        if oids.is_empty() {
            return Ok(());
        }
        let relations = drop::take(self, &mut next, &oids, true)?;
        database.publish(next).await?;
        database.0.engine.remove(relations).await
    }

    /// DISCARD TEMP.
    pub(crate) async fn discard_temporary(&mut self) -> Result<()> {
        self.temporary.on_commit.clear();
        match self.temporary.used_schema() {
            Some(schema) => drop_all(&self.database, &schema).await,
            None => Ok(()),
        }
    }
}

/// Takes a session's schema away with all that is in it.
pub(super) async fn drop_all(database: &Database, schema: &str) -> Result<()> {
    let _turn = database.0.ddl.lock().await;
    let mut next = (*database.published()).clone();
    let Some(oid) = next.catalog.user_schema(schema) else { return Ok(()) };
    let mut all = next.catalog.closure(&[oid]);
    all.push(oid);
    let gone: Vec<Object> = all.iter().filter_map(|oid| next.catalog.forget(*oid)).collect();
    let mut relations: Vec<RelationId> = gone.iter().flat_map(Object::relations).collect();
    relations.extend(next.catalog.release_versions());
    database.publish(next).await?;
    database.0.sequences.forget(&all);
    if relations.is_empty() { Ok(()) } else { database.0.engine.remove(relations).await }
}
