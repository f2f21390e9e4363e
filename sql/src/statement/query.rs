//! SELECT, VALUES, TABLE, WITH.
//!
//! Queries over users' relations and `thalweg.*` go through the planner and the batch engine;
//! queries about the catalog alone (psql's `\d`, drivers) through [`crate::system`]. A statement
//! reads one snapshot; in a block all statements read the same.

use arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;
use thalweg_dataflow::error::Result;
use thalweg_dataflow::types::PgType;

use super::resolve::{Names, open_files, with_near_name};
use crate::parser::Statement;
use crate::planner::{Bound, Planner, Settings};
use crate::session::{Outcome, Prepared, RowsTag, Session, View};
use crate::system::{self, SystemTables};

/// What the planner is told of the session; `text` is what places in errors are counted from.
pub(crate) fn planning(session: &Session, text: &str, view: bool) -> Settings {
    Settings {
        zone: session.settings.zone().into(),
        literal_zone: None,
        now: session.now(),
        user: session.user.clone(),
        database: crate::database::DATABASE.into(),
        schema: session.settings.search_path().into_iter().next().unwrap_or_default(),
        version: crate::settings::VERSION.into(),
        text: text.into(),
        view,
    }
}

/// Binds a query over what it reads.
pub(crate) async fn bind(
    session: &Session,
    view: &View,
    query: &Query,
    types: &[Option<PgType>],
    settings: Settings,
) -> Result<(Bound, Vec<u32>)> {
    let path = session.settings.search_path();
    let published = open_files(&session.database, &view.published, query, &path).await?;
    let system = SystemTables::new(session, &view.snapshot, &published);
    let names = Names::of_statement(&published, path, session.database.status(), &system);
    let bound = Planner.bind(query, &names, &settings, types).map_err(|error| with_near_name(&published, error))?;
    let oids = names.oids();
    Ok((bound, oids))
}

/// The parameters' types and the columns.
pub(crate) async fn describe(
    session: &Session,
    view: &View,
    statement: &Statement,
    query: &Query,
    types: &[Option<PgType>],
) -> Result<(Vec<PgType>, SchemaRef)> {
    let path = session.settings.search_path();
    if system::asks_catalog(query, &view.published, &path) {
        return system::describe(session, view, query, types).await;
    }
    let (bound, _) = bind(session, view, query, types, planning(session, statement.request(), false)).await?;
    Ok((bound.parameters, bound.schema))
}

/// Runs a query.
pub(crate) async fn run(
    session: &mut Session,
    query: &Query,
    prepared: &Prepared,
    parameters: &[ScalarValue],
) -> Result<Outcome> {
    let view = session.view();
    let path = session.settings.search_path();
    if system::asks_catalog(query, &view.published, &path) {
        return system::run(session, &view, query, prepared, parameters).await;
    }
    let types: Vec<Option<PgType>> = prepared.parameters.iter().cloned().map(Some).collect();
    let (bound, _) =
        bind(session, &view, query, &types, planning(session, prepared.statement.request(), false)).await?;
    let rows = session.database.0.batch.execute_in(&bound, parameters, &view).await?;
    Ok(Outcome::Rows { schema: bound.schema.clone(), rows, tag: RowsTag::Select })
}
