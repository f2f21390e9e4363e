//! What is known of everything, as tables: `thalweg.*`, `information_schema.*`, `pg_catalog.*`.
//!
//! Promises: built from one snapshot of data and catalog. All of them go through the planner like any
//! relation, and so do the functions of `pg_catalog` ([`functions`]): a query may ask for both and for
//! users' rows beside them.

mod activity;
mod advisory;
mod config;
mod constraints;
pub(crate) mod file_errors;
mod fixed;
mod function;
mod functions;
mod information;
mod names;
mod pg_catalog;
mod postgresql;
mod privileges;
mod queries;
mod roles;
mod routines;
mod sequences;
mod session;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod thalweg;

pub(crate) use names::class_oid;
pub(crate) use pg_catalog::DATABASE_OID;
pub(crate) use queries::asks_catalog;

use std::sync::{Arc, OnceLock};

use datafusion::catalog::TableProvider;
use thalweg_dataflow::engine::{Engine, Snapshot, Status};
use thalweg_dataflow::error::Result;

use crate::catalog::Object;
use crate::database::Published;
use crate::locks::SessionLocks;
use crate::planner::SystemFunction;
use crate::roles::acl::USAGE;
use crate::roles::rights::{Asker, denied};
use crate::sequence::{Sequences, Used};
use crate::session::activity::Sessions;
use crate::session::asked::Asked;
use crate::session::own::{Random, TransactionNumber, Transactions};
use crate::session::{Notice, Session};
use crate::settings::SessionSettings;
use file_errors::FileErrors;
use queries::CatalogTables;
use tokio::sync::mpsc;

/// What the system tables are made from.
pub(crate) struct SystemTables {
    snapshot: Arc<Snapshot>,
    published: Arc<Published>,
    engine: Engine,
    status: OnceLock<Status>,
    file_errors: Arc<FileErrors>,
    server_settings: Vec<(String, String, String)>,
    role: u32,
    path: Vec<String>,
    sequences: Arc<Sequences>,
    used: Used,
    random: Random,
    transactions: Arc<Transactions>,
    transaction: TransactionNumber,
    settings: SessionSettings,
    asked: Asked,
    sessions: Arc<Sessions>,
    pid: i32,
    locks: SessionLocks,
    notices: mpsc::Sender<Notice>,
    catalog: OnceLock<CatalogTables>,
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
            role: session.role_in(&published.catalog),
            path: session.path_in(&published.catalog),
            sequences: inner.sequences.clone(),
            used: session.used.clone(),
            random: session.random.clone(),
            transactions: inner.transactions.clone(),
            transaction: session.transaction_number(),
            settings: session.settings.clone(),
            asked: session.asked.clone(),
            sessions: inner.sessions.clone(),
            pid: session.pid(),
            locks: session.locks.clone(),
            notices: session.notices.clone(),
            catalog: OnceLock::new(),
        }
    }

    /// The state of everything, as of when it is first asked for.
    fn status(&self) -> &Status {
        self.status.get_or_init(|| self.engine.status())
    }

    /// Who asks.
    fn asker(&self) -> Asker<'_> {
        Asker { catalog: &self.published.catalog, role: self.role }
    }

    /// Refuses tables that are not for everybody. Error: 42501.
    pub(crate) fn need_to_read(&self, schema: &str, name: &str) -> Result<()> {
        let secret = schema == "pg_catalog" && roles::SECRET.contains(&name);
        match secret && !self.published.catalog.roles.is_superuser(self.role) {
            true => Err(denied("table", name)),
            false => Ok(()),
        }
    }

    /// Refuses names in schemas that may not be used. Error: 42501.
    pub(crate) fn need_to_use(&self, schema: &str) -> Result<()> {
        let asker = self.asker();
        let barred = asker.catalog.user_schema(schema).is_some() && !asker.has_on_schema(schema, USAGE);
        if barred { Err(denied("schema", schema)) } else { Ok(()) }
    }

    /// The one row of a sequence.
    pub(crate) fn sequence(&self, object: &Object) -> Result<Arc<dyn TableProvider>> {
        sequences::row(&self.sequences, object)
    }

    /// The table of this name.
    pub(crate) fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
        let made: Result<Arc<dyn TableProvider>> = match schema {
            "thalweg" => thalweg::table(self, name)?,
            "pg_catalog" => pg_catalog::table(self.catalog(), name)?,
            "information_schema" => information::table(self.catalog(), name)?,
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

    /// The function of `pg_catalog` of this name, if it is one that asks the catalog.
    pub(crate) fn function(&self, name: &str) -> Option<SystemFunction> {
        functions::find(self.catalog(), name)
    }

    fn catalog(&self) -> &CatalogTables {
        self.catalog.get_or_init(|| CatalogTables {
            published: self.published.clone(),
            role: self.role,
            path: self.path.clone(),
            sequences: self.sequences.clone(),
            used: self.used.clone(),
            random: self.random.clone(),
            transactions: self.transactions.clone(),
            transaction: self.transaction.clone(),
            settings: self.settings.all(),
            current: self.settings.clone(),
            asked: self.asked.clone(),
            sessions: self.sessions.clone(),
            pid: self.pid,
            locks: self.locks.clone(),
            notices: self.notices.clone(),
            engine: self.engine.clone(),
            listed: self.settings.listed().map(|(one, value, reset)| (one, value.into(), reset.into())).collect(),
            thalweg: thalweg::TABLES
                .iter()
                .filter_map(|name| Some((*name, self.table("thalweg", name)?.schema())))
                .collect(),
        })
    }
}
