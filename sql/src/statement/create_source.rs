//! CREATE SOURCE: checked against the outside world, its start resolved, then in the catalog.
//!
//! Promises: what the connector refuses leaves nothing behind. Reads no row.

use std::sync::Arc;

use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::{Column, Source, SourceDefinition};
use thalweg_dataflow::types::PgType;

use super::is_skipped;
use crate::catalog::{Object, ObjectData, PUBLIC};
use crate::database::Database;
use crate::parser::CreateSource;
use crate::session::{Outcome, Session};

/// See the module.
pub(crate) async fn run(session: &mut Session, create: &CreateSource) -> Result<Outcome> {
    let schema = session.creation_schema(&create.name)?;
    let name = create.name.name.clone();
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    if is_skipped(session, &database.published().catalog, (&schema, &name), create.if_not_exists)? {
        return Ok(Outcome::Done("CREATE SOURCE".into()));
    }
    need_files(session, create)?;
    let (source, definition) = open(&database, create, &schema).await?;
    let mut next = (*database.published()).clone();
    let oid = next.catalog.allocate();
    let columns = columns_of(&source.schema());
    let object = Object { oid, schema, name, columns, data: ObjectData::Source(definition.clone()) };
    let relation = object.relation();
    session.create(&mut next.catalog, object)?;
    next.sources.insert(oid, source.clone());
    database.0.engine.add_source(relation, source, definition.start).await?;
    if let Err(error) = database.publish(next).await {
        database.0.engine.remove(vec![relation]).await?;
        return Err(error);
    }
    Ok(Outcome::Done("CREATE SOURCE".into()))
}

/// Refuses options that have the server read files (certificates, say) or run programs to who may
/// not have it do so.
pub(super) fn need_files(session: &Session, create: &CreateSource) -> Result<()> {
    let published = session.database.published();
    let asker = session.asker(&published.catalog);
    let runs = |name: &&String| name.contains("plugin.library") || name.ends_with(".cmd");
    if let Some(name) = create.options.keys().find(runs).filter(|_| !published.catalog.roles.is_superuser(asker.role)) {
        let message = format!("permission denied to set option \"{name}\"");
        return Err(Error::new(SqlState::InsufficientPrivilege, message)
            .detail("Only roles with the SUPERUSER attribute may have the server run programs."));
    }
    if create.options.keys().any(|name| name.ends_with("location") || name.ends_with("keytab")) {
        asker.need_server_files()?;
    }
    Ok(())
}

/// Opens a source that is to be made, and resolves its start.
pub(super) async fn open(
    database: &Database,
    create: &CreateSource,
    schema: &str,
) -> Result<(Arc<dyn Source>, SourceDefinition)> {
    let own = &create.name.name;
    let mut definition = SourceDefinition {
        // Consumer groups are called by it: sources of one name in two schemas are two.
        name: if schema == PUBLIC { own.clone() } else { format!("{schema}.{own}") },
        columns: create.columns.clone(),
        includes: create.includes.clone(),
        options: create.options.clone(),
        format: create.format.clone(),
        start: Default::default(),
    };
    let connectors = database.0.connectors.clone();
    tokio::task::spawn_blocking(move || {
        let source = connectors.create_source(&definition)?;
        definition.start = source.start()?;
        Ok::<_, Error>((source, definition))
    })
    .await
    .map_err(|error| Error::internal(format!("the connector broke off: {error}")))?
}

/// The columns that a schema declares.
pub(crate) fn columns_of(schema: &arrow::datatypes::Schema) -> Vec<Column> {
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| Column {
        name: field.name().clone(),
        data_type: PgType::of(field),
        not_null: !field.is_nullable(),
    };
    schema.fields().iter().map(column).collect()
}
