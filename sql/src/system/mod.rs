//! What is known of everything, as tables: `thalweg.*`, `information_schema.*`, `pg_catalog.*`.
//!
//! Promises: built from one snapshot of data and catalog. `thalweg.*` goes through the planner like
//! any relation; queries about `pg_catalog` and `information_schema` are run by DataFusion alone
//! ([`asks_catalog`]), because clients ask them with constructs that views never need.

pub(crate) mod file_errors;
mod table;
pub(crate) mod thalweg;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;
use thalweg_dataflow::engine::{Snapshot, Status};
use thalweg_dataflow::error::{Error, Result};
use thalweg_dataflow::types::PgType;

use crate::database::Published;
use crate::session::{Outcome, Prepared, Session, View};
use file_errors::FileErrors;

/// What the system tables are made from.
pub(crate) struct SystemTables {
    snapshot: Arc<Snapshot>,
    published: Arc<Published>,
    status: Status,
    file_errors: Arc<FileErrors>,
    server_settings: Vec<(String, String, String)>,
}

impl SystemTables {
    /// As this session sees them.
    pub(crate) fn new(session: &Session, snapshot: &Arc<Snapshot>, published: &Arc<Published>) -> SystemTables {
        let inner = &session.database.0;
        SystemTables {
            snapshot: snapshot.clone(),
            published: published.clone(),
            status: session.database.status(),
            file_errors: inner.file_errors.clone(),
            server_settings: inner.options.settings.clone(),
        }
    }

    /// The table of this name.
    pub(crate) fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
        let made = match schema {
            "thalweg" => thalweg::table(self, name)?,
            _ => return None,
        };
        match made {
            Ok(table) => Some(table),
            Err(error) => {
                tracing::error!(%error, schema, name, "a system table could not be made");
                None
            }
        }
    }
}

/// Whether a query is about the catalog alone.
pub(crate) fn asks_catalog(_query: &Query, _published: &Published, _path: &[String]) -> bool {
    false
}

/// The parameters' types and the columns of such a query.
pub(crate) async fn describe(
    _session: &Session,
    _view: &View,
    _query: &Query,
    _types: &[Option<PgType>],
) -> Result<(Vec<PgType>, SchemaRef)> {
    Err(Error::unsupported("a query about the catalog"))
}

/// Runs such a query.
pub(crate) async fn run(
    _session: &Session,
    _view: &View,
    _query: &Query,
    _prepared: &Prepared,
    _parameters: &[ScalarValue],
) -> Result<Outcome> {
    Err(Error::unsupported("a query about the catalog"))
}
