//! CREATE [OR REPLACE] MATERIALIZED VIEW: bound, lowered, entered, built, complete.
//!
//! Promises: it returns when the view is complete; cancelled, failed or abandoned by its
//! connection it leaves nothing; the catalog holds the view from the start of the build, so that a
//! restart goes on with it. OR REPLACE builds beside under a number of its own and swaps when
//! complete: the oid stays and the old view is served meanwhile.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use thalweg_dataflow::engine::{Build, BuildState, ViewDefinition};
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::plan::{Plan, RelationId};
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;

use super::create_source::columns_of;
use super::definition::quoted;
use super::query::{bind, planning};
use super::resolve::schema_of;
use super::{already_exists, skipping};
use crate::catalog::{Meaning, Object, ObjectData, View, ViewBody, is_temporary};
use crate::database::{Database, Published};
use crate::guard::Guard;
use crate::parser::{CreateView, ObjectKind};
use crate::planner::Planner;
use crate::session::{Outcome, Session};

const TAG: &str = "CREATE MATERIALIZED VIEW";

/// The time between two notices of progress.
const NOTICE_EVERY: Duration = Duration::from_secs(2);

/// The time between two looks at a build that no statement waits for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// See the module.
pub(crate) async fn run(session: &mut Session, create: &CreateView, text: &str, guard: &Guard) -> Result<Outcome> {
    check_options(create)?;
    let schema = session.creation_schema(&create.name)?;
    let name = &create.name.name;
    let view = session.peek_view();
    if let Some(existing) = view.published.catalog.find(Some(&schema), name, &[]) {
        if create.if_not_exists {
            session.notice(skipping(name));
            return Ok(Outcome::Done(TAG.into()));
        }
        replaceable(existing, create, &view.published)?;
        session.asker(&view.published.catalog).need_to_own(existing)?;
    }
    let (bound, reads) = bind(session, &view, &create.query, &[], planning(session, text, true)).await?;
    if !bound.parameters.is_empty() {
        return Err(Error::unsupported("a parameter in a materialized view"));
    }
    let read = reads.iter().filter_map(|oid| view.published.catalog.get(*oid));
    if read.map(|object| &object.schema).any(|schema| is_temporary(schema)) {
        let message = "materialized views must not use temporary tables or views";
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    }
    let columns = stored(named(columns_of(&bound.schema), &create.columns)?)?;
    let mut plan = Planner.lower(&bound)?;
    plan.schema = schema_of(&columns);
    let (text, settings) = (create.text.clone(), meaning(session));
    let body =
        ViewBody { relation: 0, text, settings, reads, meaning: Meaning::default(), options: create.options.clone() };
    let (entered, mut build) = enter(session, create, &schema, body, columns, plan, &view.published).await?;
    let mut patience = guard.clone();
    let what = format!("materialized view \"{name}\"");
    let built = tokio::select! {
        biased;
        stopped = patience.stopped() => Err(stopped),
        built = wait(session, &what, &mut build) => built,
    };
    match built {
        Ok(()) => entered.complete().await.map(|()| Outcome::Done(TAG.into())),
        Err(error) => {
            entered.abandon().await?;
            Err(error)
        }
    }
}

/// The settings that give a stored query its meaning.
pub(super) fn meaning(session: &Session) -> BTreeMap<String, String> {
    // The path in force, as $user may mean another schema by and by.
    let path: Vec<String> = session.path().iter().map(|schema| quoted(schema)).collect();
    let zone = session.settings.zone();
    BTreeMap::from([("TimeZone".to_string(), zone.to_string()), ("search_path".to_string(), path.join(", "))])
}

fn check_options(create: &CreateView) -> Result<()> {
    for (name, value) in &create.options {
        match (name.as_str(), value.as_str()) {
            ("on_error", "fail") => {}
            ("on_error", "skip") => return Err(Error::unsupported("on_error = 'skip'")),
            ("on_error", _) => {
                let error = Error::new(
                    SqlState::InvalidParameter,
                    format!("invalid value for option \"on_error\": \"{value}\""),
                );
                return Err(error.hint("Available values: fail."));
            }
            _ => {
                let error = Error::new(SqlState::InvalidParameter, format!("unrecognized parameter \"{name}\""));
                return Err(error.hint("A materialized view knows the option \"on_error\"."));
            }
        }
    }
    Ok(())
}

fn replaceable(existing: &Object, create: &CreateView, published: &Published) -> Result<()> {
    let name = &existing.name;
    if !create.or_replace {
        return Err(already_exists(name));
    }
    let Some(view) = existing.view() else {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not a materialized view")));
    };
    if view.replacement.is_some() {
        return Err(Error::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!("materialized view \"{name}\" is being replaced already"),
        ));
    }
    if let Some(index) = view.indexes.first() {
        let error = Error::unsupported(format!("replacing materialized view \"{name}\", which has an index,"));
        return Err(error.hint(format!("Use DROP INDEX {} first.", index.name)));
    }
    let dependants = published.catalog.dependants(existing.oid);
    if dependants.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = dependants
        .iter()
        .map(|dependant| format!("{} {} depends on materialized view {name}", dependant.kind().word(), dependant.name))
        .collect();
    Err(Error::new(
        SqlState::DependentObjectsStillExist,
        format!("cannot replace materialized view {name} because other objects depend on it"),
    )
    .detail(lines.join("\n"))
    .hint("Drop the dependent objects first, or create the new view under another name."))
}

/// The columns, each of a type that a column may have.
pub(super) fn stored(columns: Vec<Column>) -> Result<Vec<Column>> {
    match columns.iter().find(|column| matches!(column.data_type, PgType::Record | PgType::Array(PgType::Record))) {
        Some(row) => {
            let message = format!("column \"{}\" has pseudo-type {}", row.name, row.data_type.name());
            Err(Error::new(SqlState::InvalidTableDefinition, message))
        }
        None => Ok(columns),
    }
}

/// Gives columns the names from the list, from the left.
fn named(mut columns: Vec<Column>, names: &[String]) -> Result<Vec<Column>> {
    if names.len() > columns.len() {
        return Err(Error::new(SqlState::SyntaxError, "too many column names were specified"));
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = name.clone();
    }
    let mut seen = HashSet::new();
    match columns.iter().find(|column| !seen.insert(&column.name)) {
        Some(twice) => {
            Err(Error::new(SqlState::DuplicateColumn, format!("column \"{}\" specified more than once", twice.name)))
        }
        None if columns.is_empty() => Err(Error::unsupported("a materialized view without columns")),
        None => Ok(columns),
    }
}

/// A view, or a table that stores a source, in the catalog while its build runs. Dropped before it is
/// complete, it takes itself away.
pub(super) struct Entered {
    pub(super) database: Database,
    pub(super) oid: u32,
    pub(super) relation: RelationId,
    pub(super) settled: bool,
}

impl Entered {
    pub(super) async fn complete(mut self) -> Result<()> {
        self.settled = true;
        complete(&self.database, self.oid, self.relation).await
    }

    pub(super) async fn abandon(mut self) -> Result<()> {
        self.settled = true;
        abandon(&self.database, self.oid, self.relation).await
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let (database, oid, relation) = (self.database.clone(), self.oid, self.relation);
        tokio::spawn(async move {
            if let Err(error) = abandon(&database, oid, relation).await {
                tracing::error!(%error, oid, "a build that nobody waits for could not be taken away");
            }
        });
    }
}

/// Puts the view into the catalog and starts its build.
async fn enter(
    session: &mut Session,
    create: &CreateView,
    schema: &str,
    mut body: ViewBody,
    columns: Vec<Column>,
    plan: Plan,
    bound_over: &Published,
) -> Result<(Entered, Build)> {
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    still_there(&current, bound_over, &body.reads)?;
    let mut next = (*current).clone();
    let number = next.catalog.allocate();
    body.relation = number;
    let name = create.name.name.clone();
    let oid = match current.catalog.find(Some(schema), &name, &[]) {
        Some(existing) => {
            replaceable(existing, create, &current)?;
            session.asker(&current.catalog).need_to_own(existing)?;
            let mut changed = existing.clone();
            if let ObjectData::View(view) = &mut changed.data {
                view.replacement = Some((body, columns));
            }
            next.catalog.put(changed);
            session.changed_lastingly(TAG);
            existing.oid
        }
        None => {
            let data = ObjectData::View(View { body, replacement: None, indexes: Vec::new() });
            session.create(&mut next.catalog, Object { oid: number, schema: schema.into(), name, columns, data })?;
            number
        }
    };
    database.publish(next).await?;
    let entered = Entered { database: database.clone(), oid, relation: RelationId(number), settled: false };
    match database.0.engine.add_view(ViewDefinition { id: RelationId(number), plan }).await {
        Ok(build) => Ok((entered, build)),
        Err(error) => {
            drop(_turn);
            entered.abandon().await?;
            Err(error)
        }
    }
}

/// Everything that was bound must still mean the same, and stay.
pub(super) fn still_there(current: &Published, bound_over: &Published, reads: &[u32]) -> Result<()> {
    for oid in reads {
        let (before, now) = (bound_over.catalog.get(*oid), current.catalog.get(*oid));
        match (before, now) {
            (Some(before), Some(now)) if now.view().is_some_and(|view| view.replacement.is_some()) => {
                let text = format!("materialized view \"{}\" is being replaced", before.name);
                return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, text));
            }
            (Some(before), Some(now))
                if before.relation() == now.relation()
                    && before.named_query() == now.named_query()
                    && (&before.schema, &before.name, &before.columns) == (&now.schema, &now.name, &now.columns) => {}
            (Some(before), _) => {
                return Err(Error::new(
                    SqlState::UndefinedTable,
                    format!("relation \"{}\" was dropped or replaced meanwhile", before.name),
                ));
            }
            (None, _) => return Err(Error::internal("a view reads what was never there")),
        }
    }
    Ok(())
}

/// Follows a build to its end, with notices.
pub(super) async fn wait(session: &Session, what: &str, build: &mut Build) -> Result<()> {
    let mut notices = tokio::time::interval(NOTICE_EVERY);
    notices.tick().await;
    loop {
        let state = build.state.borrow_and_update().clone();
        match state {
            BuildState::Live => return Ok(()),
            BuildState::Failed(error) => return Err(error),
            BuildState::Building { .. } => {}
        }
        tokio::select! {
            changed = build.state.changed() => if changed.is_err() {
                return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, format!("{what} was dropped while it was being built")));
            },
            _ = notices.tick() => session.notice(progress(what, &state)),
        }
    }
}

fn progress(what: &str, state: &BuildState) -> Error {
    let (done, eta) = match state {
        BuildState::Building { done, eta } => (*done, *eta),
        BuildState::Live | BuildState::Failed(_) => (1.0, None),
    };
    let percent = (done.clamp(0.0, 1.0) * 100.0).floor();
    let left = eta.map_or(String::new(), |eta| format!(", about {} left", spoken(eta)));
    Error::new(SqlState::SuccessfulCompletion, format!("building {what}: {percent:.0} %{left}"))
}

/// `5 s`, `3 min 20 s`, `2 h 5 min`.
fn spoken(time: Duration) -> String {
    let seconds = time.as_secs().max(1);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// The build is complete: a replacement takes the place of what it replaces.
async fn complete(database: &Database, oid: u32, relation: RelationId) -> Result<()> {
    let _turn = database.0.ddl.lock().await;
    let mut next = (*database.published()).clone();
    let Some(mut object) = next.catalog.get(oid).cloned() else { return Ok(()) };
    let ObjectData::View(view) = &mut object.data else { return Ok(()) };
    match view.replacement.take() {
        Some((body, columns)) if body.relation == relation.0 => {
            let replaced = RelationId(std::mem::replace(&mut view.body, body).relation);
            object.columns = columns;
            next.catalog.put(object);
            let mut gone = next.catalog.release_versions();
            gone.push(replaced);
            database.publish(next).await?;
            database.0.engine.remove(gone).await
        }
        _ => Ok(()),
    }
}

/// The build is not wanted any more: nothing of it stays.
async fn abandon(database: &Database, oid: u32, relation: RelationId) -> Result<()> {
    let _turn = database.0.ddl.lock().await;
    let mut next = (*database.published()).clone();
    let Some(mut object) = next.catalog.get(oid).cloned() else { return Ok(()) };
    if matches!(object.data, ObjectData::StoredSource(_)) {
        next.catalog.remove(oid);
        next.sources.remove(&oid);
        database.publish(next).await?;
        return database.0.engine.remove(object.relations()).await;
    }
    let ObjectData::View(view) = &mut object.data else { return Ok(()) };
    if view.body.relation == relation.0 {
        next.catalog.remove(oid);
    } else if view.replacement.as_ref().is_some_and(|(body, _)| body.relation == relation.0) {
        view.replacement = None;
        next.catalog.put(object);
    } else {
        return Ok(());
    }
    database.publish(next).await?;
    database.0.engine.remove(vec![relation]).await
}

/// After a start: follows the builds that a restart interrupted.
pub(crate) fn resume(database: &Database) {
    let published = database.published();
    let is_built =
        |object: &&Object| object.kind() == ObjectKind::View || matches!(object.data, ObjectData::StoredSource(_));
    for object in published.catalog.objects().filter(is_built) {
        let source = object.source().map(|(id, _)| id);
        for relation in object.relations().into_iter().filter(|relation| Some(*relation) != source) {
            tokio::spawn(follow(database.clone(), object.oid, relation));
        }
    }
}

async fn follow(database: Database, oid: u32, relation: RelationId) {
    let settled = loop {
        match database.status().views.get(&relation).map(|view| view.state.clone()) {
            Some(BuildState::Live) => break complete(&database, oid, relation).await,
            Some(BuildState::Failed(error)) => {
                tracing::error!(%error, oid, "a materialized view could not be built again");
                break abandon(&database, oid, relation).await;
            }
            Some(BuildState::Building { .. }) => {}
            // Dropped meanwhile, or not attached yet.
            None if database.published().catalog.get(oid).is_none() => return,
            None => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    if let Err(error) = settled {
        tracing::error!(%error, oid, "the end of a build could not be recorded");
    }
}
