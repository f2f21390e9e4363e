//! What one statement reads: data and catalog of one moment, and what came before it in its block.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use thalweg_dataflow::engine::{Rows, Snapshot};
use thalweg_dataflow::error::Result;
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::table::Pending;

use crate::database::Published;
use crate::planner::SharedParameters;

/// What a block changed, by table.
pub(crate) type Writes = Arc<BTreeMap<RelationId, Arc<Pending>>>;

/// What one statement reads: data and catalog of one moment.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The data.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The catalog.
    pub(crate) published: Arc<Published>,
    /// What the block changed so far, by table.
    pub(crate) writes: Option<Writes>,
    /// What the statements in the statement's WITH gave.
    pub(crate) given: Given,
}

/// What the statements in a WITH gave to those that come after them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    /// The rows of RETURNING, by the names of their relations.
    pub(crate) rows: BTreeMap<String, Arc<dyn TableProvider>>,
    /// The types of the parameters that they share, while these are looked for.
    pub(crate) parameters: Option<SharedParameters>,
}

impl View {
    /// What the block changed of a table.
    pub(crate) fn pending(&self, table: RelationId) -> Option<&Pending> {
        self.writes.as_ref()?.get(&table).map(Arc::as_ref)
    }

    /// The rows of a view or table, all columns.
    pub(crate) fn rows(&self, relation: RelationId) -> Result<Rows> {
        let rows = self.snapshot.scan(relation, None)?;
        match self.pending(relation) {
            Some(pending) => pending.over(rows),
            None => Ok(rows),
        }
    }
}
