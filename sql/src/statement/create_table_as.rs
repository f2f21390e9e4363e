//! CREATE TABLE ... AS and SELECT INTO: a table of a query's columns, and its rows in it.
//!
//! Promises: the query sees what was there before the table; the table is there with all rows or not at
//! all, in a block until it ends. The rows are one commit, and no more than one may carry.

use std::collections::HashSet;
use std::sync::Arc;

use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::Column;
use thalweg_dataflow::table::{OnConflict, TableChange};

use super::change::{commit_rows, rows_of};
use super::create_source::columns_of;
use super::create_table::install;
use super::create_view::stored;
use super::query::{bind, planning};
use super::{already_exists, is_skipped};
use crate::catalog::{Object, ObjectData, Table};
use crate::guard::Guard;
use crate::parser::create_table_as::CreateTableAs;
use crate::session::{Outcome, Session};

/// See the module.
pub(crate) async fn run(session: &mut Session, create: &CreateTableAs, text: &str, guard: &Guard) -> Result<Outcome> {
    let schema = session.schema_for(&create.name, create.temporary)?;
    let name = create.name.name.clone();
    let database = session.database.clone();
    if is_skipped(session, &database.published().catalog, (&schema, &name), create.if_not_exists)? {
        return Ok(Outcome::Done("CREATE TABLE AS".into()));
    }
    let view = session.view();
    let (bound, _) = bind(session, &view, &create.query, &[], planning(session, text, false)).await?;
    if !bound.parameters.is_empty() {
        return Err(Error::new(SqlState::UndefinedParameter, "there is no parameter $1"));
    }
    let columns = named(columns_of(&bound.schema), &create.columns)?;
    let defaults = vec![None; columns.len()];
    let data = ObjectData::Table(Table::new(defaults, Vec::new()));
    let mut object = Object { oid: 0, schema, name, columns, data };
    let rows = if create.with_data {
        let schema = object.table_definition().map(|definition| definition.schema);
        let schema = schema.ok_or_else(|| Error::internal("a table without a definition"))?;
        let mut stop = guard.clone();
        tokio::select! {
            biased;
            error = stop.stopped() => return Err(error),
            rows = rows_of(session, &view, bound.plan, schema) => Some(rows?),
        }
    } else {
        None
    };
    drop(view);
    let turn = database.0.ddl.lock().await;
    let mut next = (*database.published()).clone();
    if next.catalog.is_taken(&object.schema, &object.name) {
        return Err(already_exists(&object.name));
    }
    object.oid = next.catalog.allocate();
    let (oid, definition) = (object.oid, object.table_definition());
    install(session, next, vec![object]).await?;
    drop(turn);
    if let Some(action) = create.on_commit {
        session.on_commit(oid, action);
    }
    let (Some(rows), Some(definition)) = (rows, definition) else {
        return Ok(Outcome::Done("CREATE TABLE AS".into()));
    };
    let table = Arc::new(definition);
    let count = rows.num_rows();
    let change = TableChange { deletes: table.no_rows(), table, inserts: rows, on_conflict: OnConflict::Fail };
    if let Err(error) = commit_rows(session, &change).await {
        if session.block.is_none() {
            super::drop::undo(session, oid).await?;
        }
        return Err(error);
    }
    Ok(Outcome::Done(format!("SELECT {count}")))
}

/// The columns of the table: the query's, with the names that were given.
fn named(columns: Vec<Column>, names: &[String]) -> Result<Vec<Column>> {
    let mut columns = stored(columns)?;
    if names.len() > columns.len() {
        return Err(Error::new(SqlState::SyntaxError, "too many column names were specified"));
    }
    columns.iter_mut().zip(names).for_each(|(column, name)| column.name.clone_from(name));
    columns.iter_mut().for_each(|column| column.not_null = false);
    let mut seen = HashSet::new();
    if let Some(twice) = columns.iter().find(|column| !seen.insert(&column.name)) {
        let message = format!("column \"{}\" specified more than once", twice.name);
        return Err(Error::new(SqlState::DuplicateColumn, message));
    }
    if columns.is_empty() {
        return Err(Error::unsupported("a table without columns"));
    }
    Ok(columns)
}
