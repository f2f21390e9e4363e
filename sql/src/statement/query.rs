//! SELECT, VALUES, TABLE, WITH.
//!
//! All queries go through the planner and the batch engine, those about the catalog (psql's `\d`,
//! drivers) too. A statement reads one snapshot; in a block all statements read the same.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;
use thalweg_dataflow::error::Result;
use thalweg_dataflow::types::PgType;

use super::locking;
use super::plan_cache::{LastPlan, PlanKey};
use super::resolve::{Names, open_files, with_near_name};
use crate::aside::aside_if_long;
use crate::parser::Statement;
use crate::planner::{Bound, Planner, Settings};
use crate::session::{Outcome, Prepared, RowsTag, Session, View};
use crate::system::SystemTables;

/// What the planner is told of the session; `text` is what places in errors are counted from.
pub(crate) fn planning(session: &Session, text: &str, view: bool) -> Settings {
    Settings {
        zone: session.settings.zone().into(),
        literal_zone: None,
        now: session.now(),
        user: session.current_user(),
        session_user: session.session_user(),
        database: crate::database::DATABASE.into(),
        schema: session.named_path(&session.database.published().catalog).into_iter().next(),
        version: crate::settings::VERSION.into(),
        text: text.into(),
        shared_parameters: None,
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
    let path = session.path_in(&view.published.catalog);
    let published = open_files(&session.database, &view.published, query, &path).await?;
    let system = SystemTables::new(session, &view.snapshot, &published);
    let names = Names::of_statement(&published, path, &session.database.0.engine, &system, Some(&view.given));
    let bound = aside_if_long(&settings.text, || Planner.bind(query, &names, &settings, types));
    let bound = bound.map_err(|error| with_near_name(&published, error))?;
    let oids = names.oids();
    let columns = || Planner.columns_read(query, &names, &settings, types);
    session.asker(&published.catalog).need_to_read_columns(&oids, columns)?;
    Ok((bound, oids))
}

/// The bound query of a statement: the one of the last time, from the cache, or bound now.
pub(crate) async fn planned(
    session: &Session,
    view: &View,
    statement: &Statement,
    (query, text): (&Query, &str),
    types: &[Option<PgType>],
    last: &LastPlan,
) -> Result<Arc<Bound>> {
    let plans = &session.database.0.plans;
    let meaning = session.meaning(&view.published);
    if let Some(bound) = plans.last(last, &view.published, &meaning) {
        return Ok(bound);
    }
    let key = PlanKey { text: text.into(), types: types.to_vec(), meaning };
    if let Some(bound) = plans.get(&key, &view.published, last) {
        return Ok(bound);
    }
    // Boxed: it is rare, and its future is large.
    let settings = planning(session, statement.request(), false);
    let (bound, _) = Box::pin(bind(session, view, query, types, settings)).await?;
    let bound = Arc::new(bound);
    plans.put(key, &view.published, &bound);
    Ok(bound)
}

/// The parameters' types and the columns of a query with this text.
pub(crate) async fn describe(
    session: &Session,
    view: &View,
    statement: &Statement,
    query: &Query,
    text: &str,
    types: &[Option<PgType>],
) -> Result<(Vec<PgType>, SchemaRef)> {
    if !query.locks.is_empty() {
        let settings = planning(session, statement.request(), false);
        let (bound, _) = bind(session, view, &locking::plain(query)?, types, settings).await?;
        return Ok((bound.parameters, bound.schema));
    }
    let bound = planned(session, view, statement, (query, text), types, &LastPlan::default()).await?;
    Ok((bound.parameters.clone(), bound.schema.clone()))
}

/// Runs a query with this text, which `prepared` is or has in it.
pub(crate) async fn run(
    session: &mut Session,
    query: &Query,
    text: &str,
    prepared: &Prepared,
    parameters: &[ScalarValue],
) -> Result<Outcome> {
    if !query.locks.is_empty() {
        return locking::run(session, query, prepared, parameters).await;
    }
    let view = session.view();
    let types: Vec<Option<PgType>> = prepared.parameters.iter().cloned().map(Some).collect();
    let bound = planned(session, &view, &prepared.statement, (query, text), &types, &prepared.plan).await?;
    let rows = session.database.0.batch.execute_in(&bound, parameters, &view).await?;
    Ok(Outcome::Rows { schema: bound.schema.clone(), rows, tag: RowsTag::Select })
}
