//! DDL in a transaction block: how its end settles it.
//!
//! What a block creates is there at once, for everybody, and goes with ROLLBACK. What it drops is
//! out of sight at once and gone with COMMIT; ROLLBACK brings it back. Rights, owners and roles are
//! changed at once, and ROLLBACK changes them back. ALTER TABLE, CREATE OR
//! REPLACE and indexes are done at once and stay: ROLLBACK warns of them. After a crash an open
//! block counts as rolled back: the catalog knows what is not settled.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::Session;
use crate::catalog::{Catalog, Object};
use crate::database::Database;

/// What a block did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ddl {
    created: Vec<u32>,
    dropped: Vec<u32>,
    /// The tags of statements that stay.
    lasting: Vec<&'static str>,
    /// What it changed of rights and roles.
    rights: Rights,
}

/// Changes of rights and roles, as the catalog keeps them.
#[derive(Debug, Clone, Copy, Default)]
struct Rights {
    /// The block's number there, once there is one.
    block: Option<u32>,
    /// The first of them.
    from: usize,
    /// Behind the last.
    to: usize,
}

impl Ddl {
    fn is_empty(&self) -> bool {
        self.created.is_empty() && self.dropped.is_empty() && self.rights.from == self.rights.to
    }

    /// What it did since it was `earlier`.
    fn since(&self, earlier: &Ddl) -> Ddl {
        Ddl {
            created: self.created.get(earlier.created.len()..).unwrap_or_default().to_vec(),
            dropped: self.dropped.get(earlier.dropped.len()..).unwrap_or_default().to_vec(),
            lasting: self.lasting.get(earlier.lasting.len()..).unwrap_or_default().to_vec(),
            rights: Rights { from: earlier.rights.to, ..self.rights },
        }
    }
}

impl Session {
    /// Enters an object that this session makes, and owns from then on. Error 3F000 if its schema went
    /// meanwhile.
    pub(crate) fn create(&mut self, catalog: &mut Catalog, object: Object) -> Result<()> {
        self.enter_temporary(catalog, &object);
        if catalog.user_schema(&object.schema).is_none() {
            return Err(super::path::no_schema(&object.schema));
        }
        let oid = object.oid;
        if let Some(block) = &mut self.block {
            block.ddl.created.push(oid);
            catalog.put_unsettled(object);
        } else {
            catalog.put(object);
        }
        catalog.own(oid, self.role_in(catalog));
        Ok(())
    }

    /// Enters a schema that this session makes for a role.
    pub(crate) fn create_schema(&mut self, catalog: &mut Catalog, name: String, owner: u32) {
        let oid = catalog.allocate();
        catalog.put_schema(oid, name, self.block.is_some());
        if let Some(block) = &mut self.block {
            block.ddl.created.push(oid);
        }
        catalog.own(oid, owner);
    }

    /// Whether what a DROP names is only put out of sight until the block ends.
    pub(crate) fn drops_later(&mut self, oids: &[u32]) -> bool {
        match &mut self.block {
            Some(block) => {
                block.ddl.dropped.extend(oids);
                true
            }
            None => false,
        }
    }

    /// A statement changed an object, which ROLLBACK does not undo.
    pub(crate) fn changed_lastingly(&mut self, tag: &'static str) {
        if let Some(block) = &mut self.block {
            block.ddl.lasting.push(tag);
        }
    }

    /// A statement has changed rights or roles from `before` to `next`: the end of a block settles it.
    pub(crate) fn changed_rights(&mut self, before: &Catalog, next: &mut Catalog) {
        let Some(block) = &mut self.block else { return };
        let rights = &mut block.ddl.rights;
        let number = *rights.block.get_or_insert_with(|| next.allocate());
        next.keep_rights(number, before);
        rights.to += 1;
    }

    /// Settles what a block did with objects.
    pub(super) async fn settle(&self, ddl: Ddl, committed: bool) -> Result<()> {
        if !committed && let Some(tag) = ddl.lasting.first() {
            let text = format!("{tag} is not undone by ROLLBACK");
            self.warning(Error::new(SqlState::Warning, text));
        }
        settle(&self.database, ddl, committed).await
    }

    /// Settles what was done since a savepoint.
    pub(super) async fn undo_since(&self, earlier: &Ddl) -> Result<()> {
        let Some(block) = &self.block else { return Ok(()) };
        let later = block.ddl.since(earlier);
        self.settle(later, false).await
    }
}

async fn settle(database: &Database, ddl: Ddl, committed: bool) -> Result<()> {
    if ddl.is_empty() {
        return Ok(());
    }
    let _turn = database.0.ddl.lock().await;
    let mut next = (*database.published()).clone();
    let gone: Vec<u32> = if committed {
        next.catalog.settle(&ddl.created);
        ddl.dropped.clone()
    } else {
        // What it made and dropped again is hidden.
        let dependants = next.catalog.closure(&ddl.created);
        ddl.created.into_iter().chain(dependants).collect()
    };
    let mut relations = Vec::new();
    for oid in &gone {
        relations.extend(next.catalog.forget(*oid).iter().flat_map(Object::relations));
        next.sources.remove(oid);
        next.files.remove(oid);
    }
    relations.extend(next.catalog.release_versions());
    if !committed {
        next.catalog.bring_all_back(&ddl.dropped);
    }
    if let Some(block) = ddl.rights.block {
        next.catalog.settle_rights(block, ddl.rights.from, committed);
    }
    database.publish(next).await?;
    database.0.engine.remove(relations).await
}

/// A client left, perhaps inside a block.
impl Drop for Session {
    fn drop(&mut self) {
        self.locks.end();
        let block = self.block.take().filter(|block| !block.ddl.is_empty());
        let temporary = self.temporary.used_schema();
        if block.is_none() && temporary.is_none() {
            return;
        }
        let database = self.database.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Some(block) = block
                && let Err(error) = settle(&database, block.ddl, false).await
            {
                tracing::error!(%error, "what an unfinished transaction created could not be taken away");
            }
            if let Some(schema) = temporary
                && let Err(error) = super::temporary::drop_all(&database, &schema).await
            {
                tracing::error!(%error, "the temporary objects of a session could not be taken away");
            }
        });
    }
}
