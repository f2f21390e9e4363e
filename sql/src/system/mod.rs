//! What is known of everything, as tables: `thalweg.*`, `information_schema.*`, `pg_catalog.*`.
//!
//! Promises: built from one snapshot of data and catalog. `thalweg.*` goes through the planner like
//! any relation; queries about `pg_catalog` and `information_schema` are run by DataFusion alone
//! ([`asks_catalog`]), because clients ask them with constructs that views never need.

mod constraints;
pub(crate) mod file_errors;
mod functions;
mod information;
mod pg_catalog;
mod queries;
mod rewrite;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod thalweg;

pub(crate) use queries::asks_catalog;

use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;
use thalweg_dataflow::engine::{Engine, Snapshot, Status};
use thalweg_dataflow::error::Result;
use thalweg_dataflow::types::PgType;

use crate::database::Published;
use crate::session::{Outcome, Prepared, RowsTag, Session, View};
use file_errors::FileErrors;
use queries::{CatalogQuery, CatalogTables};

/// What the system tables are made from.
pub(crate) struct SystemTables {
    snapshot: Arc<Snapshot>,
    published: Arc<Published>,
    engine: Engine,
    status: OnceLock<Status>,
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
            engine: inner.engine.clone(),
            status: OnceLock::new(),
            file_errors: inner.file_errors.clone(),
            server_settings: inner.options.settings.clone(),
        }
    }

    /// The state of everything, as of when it is first asked for.
    fn status(&self) -> &Status {
        self.status.get_or_init(|| self.engine.status())
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

/// What catalog queries of this session see.
fn catalog_tables(session: &Session, view: &View) -> CatalogTables {
    let system = SystemTables::new(session, &view.snapshot, &view.published);
    let thalweg =
        thalweg::TABLES.iter().filter_map(|name| Some((*name, system.table("thalweg", name)?.schema()))).collect();
    CatalogTables {
        published: view.published.clone(),
        user: session.user.clone(),
        settings: session.settings.all(),
        thalweg,
    }
}

/// The parameters' types and the columns of a query about the catalog.
pub(crate) async fn describe(
    session: &Session,
    view: &View,
    query: &Query,
    types: &[Option<PgType>],
) -> Result<(Vec<PgType>, SchemaRef)> {
    let planned = CatalogQuery::plan(catalog_tables(session, view), query, types).await?;
    Ok((planned.parameters, planned.schema))
}

/// Runs a query about the catalog.
pub(crate) async fn run(
    session: &Session,
    view: &View,
    query: &Query,
    prepared: &Prepared,
    parameters: &[ScalarValue],
) -> Result<Outcome> {
    let types: Vec<Option<PgType>> = prepared.parameters.iter().cloned().map(Some).collect();
    let planned = CatalogQuery::plan(catalog_tables(session, view), query, &types).await?;
    let schema = planned.schema.clone();
    Ok(Outcome::Rows { schema, rows: planned.run(parameters).await?, tag: RowsTag::Select })
}
