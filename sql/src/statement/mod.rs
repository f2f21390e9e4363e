//! Executing statements, one file a kind.
//!
//! [`describe`] says what a statement will give, [`execute`] gives it. Neither knows the wire.

mod alter_column;
pub(crate) mod alter_table;
pub(crate) mod change;
mod comment;
pub(crate) mod copy_out;
pub(crate) mod create_source;
pub(crate) mod create_table;
mod create_table_as;
pub(crate) mod create_view;
pub(crate) mod cursor;
pub(crate) mod definition;
pub(crate) mod drop;
pub(crate) mod explain;
pub(crate) mod external_table;
pub(crate) mod grant;
pub(crate) mod index;
mod index_keys;
mod like;
pub(crate) mod lock_table;
mod locking;
mod maintenance;
mod membership;
pub(crate) mod named_query;
pub(crate) mod plan_cache;
pub(crate) mod prepared;
pub(crate) mod qualified;
pub(crate) mod query;
pub(crate) mod resolve;
pub(crate) mod role;
mod role_settings;
mod schema;
mod schema_elements;
pub(crate) mod sequence;
pub(crate) mod show;
pub(crate) mod stored_source;

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;

use crate::catalog::Catalog;
use crate::guard::Guard;
use crate::parser::{Kind, Set, Statement};
use crate::session::{Outcome, Prepared, RowsTag, Session};

/// The types of the parameters, and the columns if there will be rows.
pub(crate) async fn describe(
    session: &Session,
    statement: &Statement,
    types: &[Option<PgType>],
) -> Result<(Vec<PgType>, Option<SchemaRef>)> {
    match statement.kind() {
        Kind::Query(query) => {
            let view = session.peek_view();
            let (parameters, schema) =
                query::describe(session, &view, statement, query, statement.text(), types).await?;
            Ok((parameters, Some(schema)))
        }
        // No rows come, but their queries may have parameters.
        Kind::Declare(declare) => {
            let view = session.peek_view();
            let described = query::describe(session, &view, statement, &declare.query, &declare.text, types).await?;
            Ok((described.0, None))
        }
        Kind::CopyOut(copy) => {
            let view = session.peek_view();
            let placed = copy_out::placed(copy, statement);
            let described = query::describe(session, &view, &placed, &copy.query, &copy.text, types).await?;
            Ok((described.0, None))
        }
        Kind::Execute(execute) => Ok((Vec::new(), session.statements.get(&execute.name)?.columns.clone())),
        Kind::Fetch(fetch) if !fetch.moves => Ok((Vec::new(), Some(session.cursors.schema(&fetch.name)?))),
        Kind::Insert(_) | Kind::Update(_) | Kind::Delete(_) | Kind::Merge(_) => {
            change::describe(session, statement, types).await
        }
        Kind::WithChanges(changes) => change::with_changes::describe(session, changes, types).await,
        Kind::Show(show) => Ok((Vec::new(), Some(show::columns(show)?))),
        Kind::Explain(_) => Ok((Vec::new(), Some(explain::columns()))),
        _ => Ok((Vec::new(), None)),
    }
}

/// Runs a statement.
pub(crate) async fn execute(
    session: &mut Session,
    prepared: &Prepared,
    parameters: Vec<ScalarValue>,
    guard: &Guard,
) -> Result<Outcome> {
    let done = |tag: &str| Ok(Outcome::Done(tag.to_string()));
    match prepared.statement.kind() {
        Kind::Empty => Ok(Outcome::Empty),
        Kind::Query(query) => query::run(session, query, prepared.statement.text(), prepared, &parameters).await,
        Kind::CreateSource(create) => create_source::run(session, create).await,
        Kind::CreateView(create) => create_view::run(session, create, prepared.statement.request(), guard).await,
        Kind::CreateNamedQuery(create) => named_query::run(session, create, prepared.statement.request()).await,
        Kind::CreateExternalTable(create) => external_table::run(session, create).await,
        Kind::CreateTableAs(create) => create_table_as::run(session, create, prepared.statement.request(), guard).await,
        Kind::CreateTable(create) => create_table::run(session, create).await,
        Kind::CreateStoredSource(create) => stored_source::run(session, create, guard).await,
        Kind::CreateIndex(create) => index::create(session, create, prepared.statement.request()).await,
        Kind::DropIndex(drop) => index::drop(session, drop).await,
        Kind::Comment(comment) => comment::run(session, comment).await,
        Kind::Lock(lock) => lock_table::run(session, lock).await,
        Kind::Maintenance(what) => maintenance::run(session, what).await,
        Kind::Refresh(name) => comment::refresh(session, name),
        Kind::AlterTable(alter) => alter_table::run(session, alter).await,
        Kind::Insert(_) | Kind::Update(_) | Kind::Delete(_) | Kind::Merge(_) => {
            change::run(session, prepared, &parameters, guard).await
        }
        Kind::WithChanges(changes) => change::with_changes::run(session, prepared, changes, &parameters, guard).await,
        Kind::Truncate(truncate) => change::truncate(session, truncate, guard).await,
        Kind::Copy(copy) => Ok(Outcome::Copy(Box::new(change::copy::CopyIn::new(session, copy, guard)?))),
        Kind::Drop(drop) => drop::run(session, drop).await,
        Kind::Role(role) => role::run(session, role).await,
        Kind::Grant(grant) => grant::run(session, grant).await,
        Kind::CreateSequence(create) => sequence::create(session, create).await,
        Kind::AlterSequence(alter) => sequence::alter(session, alter).await,
        Kind::Schema(schema) => schema_elements::run(session, schema, &prepared.statement, guard).await,
        Kind::Show(show) => show::run(session, show),
        Kind::Explain(explain) => explain::run(session, explain, prepared.statement.request()).await,
        Kind::Set(set) => set_setting(session, set),
        Kind::Reset(name) => reset(session, name.as_deref()).and_then(done),
        Kind::Begin(tag, modes) => {
            session.begin(*modes)?;
            done(tag)
        }
        Kind::Commit { chain } => session.commit(*chain).await.and_then(done),
        Kind::Rollback { chain } => session.rollback(*chain).await.and_then(done),
        Kind::Savepoint(name) => session.savepoint(name).and_then(|()| done("SAVEPOINT")),
        Kind::Release(name) => session.release(name).and_then(|()| done("RELEASE")),
        Kind::RollbackTo(name) => session.rollback_to(name).await.and_then(|()| done("ROLLBACK")),
        Kind::SetTransaction(modes) => session.set_modes(*modes).and_then(|()| done("SET")),
        Kind::SetTransactions(modes) => session.set_default_modes(*modes).and_then(|()| done("SET")),
        Kind::Prepare(prepare) => prepared::prepare(session, prepare).await,
        // The session puts what it names in its place.
        Kind::Execute(_) => Err(Error::internal("EXECUTE was not resolved")),
        Kind::Declare(declare) => cursor::declare(session, declare, prepared, &parameters).await,
        Kind::Fetch(fetch) => cursor::fetch(session, fetch).await,
        Kind::Close(name) => cursor::close(session, name.as_deref()),
        Kind::CopyOut(copy) => copy_out::run(session, copy, prepared, &parameters).await,
        Kind::Discard(tag) => discard(session, tag).await.and_then(|()| done(tag)),
        Kind::Deallocate(None) => {
            session.statements.clear();
            done("DEALLOCATE ALL")
        }
        Kind::Deallocate(Some(name)) => {
            session.statements.get(name)?;
            session.statements.forget(name);
            done("DEALLOCATE")
        }
    }
}

/// DISCARD ALL and its kin.
async fn discard(session: &mut Session, tag: &str) -> Result<()> {
    if tag == "DISCARD ALL" {
        session.refuse_in_block("DISCARD ALL")?;
        session.settings.reset_all();
        session.set_session_authorization(None, false)?;
        session.statements.clear();
        session.cursors.clear();
    }
    if ["DISCARD ALL", "DISCARD SEQUENCES"].contains(&tag) {
        session.used.clear();
    }
    if ["DISCARD ALL", "DISCARD TEMP"].contains(&tag) {
        session.discard_temporary().await?;
    }
    Ok(())
}

fn reset(session: &mut Session, name: Option<&str>) -> Result<&'static str> {
    match name {
        None => session.settings.reset_all(),
        Some("role") => session.set_role(None, false)?,
        Some("session_authorization") => session.set_session_authorization(None, false)?,
        Some(name) => session.settings.set(name, None, false)?,
    }
    Ok("RESET")
}

fn set_setting(session: &mut Session, set: &Set) -> Result<Outcome> {
    let value = set.value.as_deref();
    match set.name.as_str() {
        "role" => session.set_role(value, set.local)?,
        "session_authorization" => session.set_session_authorization(value, set.local)?,
        name => session.settings.set(name, value, set.local)?,
    }
    if set.local && session.block.is_none() {
        session.warning(Error::new(SqlState::NoActiveTransaction, "SET LOCAL can only be used in transaction blocks"));
    }
    Ok(Outcome::Done("SET".into()))
}

/// `relation "x" already exists`.
pub(crate) fn already_exists(name: &str) -> Error {
    Error::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists"))
}

/// The notice of IF NOT EXISTS.
pub(crate) fn skipping(name: &str) -> Error {
    Error::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists, skipping"))
}

/// Whether IF NOT EXISTS makes nothing of a CREATE, since the name is taken; without it that is 42P07.
pub(crate) fn is_skipped(
    session: &mut Session,
    catalog: &Catalog,
    (schema, name): (&str, &str),
    if_not_exists: bool,
) -> Result<bool> {
    if !catalog.is_taken(schema, name) {
        return Ok(false);
    }
    if !if_not_exists {
        return Err(already_exists(name));
    }
    session.notice(skipping(name));
    Ok(true)
}

/// Text columns of these names.
pub(crate) fn text_columns(names: &[&str]) -> SchemaRef {
    let fields: Fields = names.iter().map(|name| PgType::Text.field(*name, true)).collect();
    Arc::new(Schema::new(fields))
}

/// Rows of text, column by column.
pub(crate) fn text_rows(schema: SchemaRef, columns: Vec<Vec<Option<String>>>, tag: RowsTag) -> Result<Outcome> {
    let arrays: Vec<ArrayRef> =
        columns.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    Ok(Outcome::Rows { schema: schema.clone(), rows: one_batch(schema, batch), tag })
}

/// A stream of one batch.
pub(crate) fn one_batch(schema: SchemaRef, batch: RecordBatch) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)])))
}
