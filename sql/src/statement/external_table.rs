//! CREATE EXTERNAL TABLE: files that batch queries scan.
//!
//! Promises: the columns, declared or inferred, are fixed at CREATE. The engine never sees it.

use std::sync::Arc;

use thalweg_dataflow::error::{Error, Result};
use thalweg_dataflow::scan::Scan;
use thalweg_dataflow::source::FileDefinition;

use super::create_source::columns_of;
use super::is_skipped;
use crate::catalog::{Object, ObjectData};
use crate::database::Database;
use crate::parser::CreateExternalTable;
use crate::session::{Outcome, Session};

const TAG: &str = "CREATE EXTERNAL TABLE";

/// See the module.
pub(crate) async fn run(session: &mut Session, create: &CreateExternalTable) -> Result<Outcome> {
    let schema = session.creation_schema(&create.name)?;
    let name = create.name.name.clone();
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    if is_skipped(session, &database.published().catalog, (&schema, &name), create.if_not_exists)? {
        return Ok(Outcome::Done(TAG.into()));
    }
    session.asker(&database.published().catalog).need_server_files()?;
    let mut definition = FileDefinition {
        name: name.clone(),
        columns: create.columns.clone(),
        stored_as: create.stored_as.clone(),
        location: create.location.clone(),
        options: create.options.clone(),
    };
    let mut next = (*database.published()).clone();
    let oid = next.catalog.allocate();
    let scan = open(&database, oid, definition.clone()).await?;
    definition.columns = columns_of(&scan.schema());
    let columns = definition.columns.clone();
    session.create(&mut next.catalog, Object { oid, schema, name, columns, data: ObjectData::Files(definition) })?;
    next.files.insert(oid, scan);
    database.publish(next).await?;
    Ok(Outcome::Done(TAG.into()))
}

/// Opens the files of the external table of this oid, off the async threads.
pub(crate) async fn open(database: &Database, oid: u32, definition: FileDefinition) -> Result<Arc<dyn Scan>> {
    let connectors = database.0.connectors.clone();
    let skipped = database.0.file_errors.of_table(oid);
    tokio::task::spawn_blocking(move || connectors.open_files(&definition, skipped))
        .await
        .map_err(|error| Error::internal(format!("opening the files broke off: {error}")))?
}
