//! TRUNCATE: all rows of some tables go, in one commit.
//!
//! Rows that others commit while it runs stay: it then stands before them.

use arrow::compute::concat_batches;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::table::{OnConflict, TableChange};

use super::{MAX_TRIES, Target, concurrent_update, gone, keep};
use crate::catalog::Object;
use crate::guard::Guard;
use crate::parser::change;
use crate::parser::table::Truncate;
use crate::roles::acl;
use crate::sequence::Place;
use crate::session::{Outcome, Session, View};
use crate::statement::sequence;

/// See the module.
pub(crate) async fn run(session: &mut Session, truncate: &Truncate, guard: &Guard) -> Result<Outcome> {
    let database = session.database.clone();
    let mut last = concurrent_update();
    let mut _turn = None;
    for _ in 0..MAX_TRIES {
        let view = session.view();
        let mut stop = guard.clone();
        let changes = tokio::select! {
            biased;
            error = stop.stopped() => return Err(error),
            changes = changes(session, &view, truncate) => changes?,
        };
        if session.is_in_block() {
            for change in &changes {
                let view = session.view();
                keep(session, view, change).await?;
            }
            restart(session, &changes, truncate).await?;
            return Ok(Outcome::Done("TRUNCATE TABLE".into()));
        }
        match database.0.engine.commit(&changes).await {
            Ok(_) => {
                restart(session, &changes, truncate).await?;
                return Ok(Outcome::Done("TRUNCATE TABLE".into()));
            }
            Err(error) if error.state() == SqlState::SerializationFailure => {
                last = error;
                if _turn.is_none() {
                    _turn = Some(database.0.turn.lock().await);
                }
            }
            Err(error) => return Err(gone(error, truncate.names.first().map_or("", |name| &name.name))),
        }
    }
    Err(last)
}

/// RESTART IDENTITY: the sequences that the tables own begin again.
async fn restart(session: &Session, changes: &[TableChange], truncate: &Truncate) -> Result<()> {
    if !truncate.restart {
        return Ok(());
    }
    let catalog = &session.database.published().catalog;
    let is_one = |object: &&Object| changes.iter().any(|change| change.table.id == object.relation());
    let tables: Vec<u32> = catalog.objects().filter(is_one).map(|object| object.oid).collect();
    for object in catalog.with_owned(&tables).into_iter().filter_map(|oid| catalog.get(oid)) {
        if let Some(definition) = object.sequence() {
            let place = Place { last: definition.start, called: false };
            sequence::set(session, object.clone(), place).await?;
        }
    }
    Ok(())
}

async fn changes(session: &Session, view: &View, truncate: &Truncate) -> Result<Vec<TableChange>> {
    let mut tables: Vec<Target> = Vec::new();
    for name in &truncate.names {
        let target = change::Target { name: name.clone(), alias: None, at: None };
        let target = Target::find(session, view, &target)?;
        session.asker(&view.published.catalog).need(&target.object, acl::TRUNCATE)?;
        if tables.iter().all(|known| known.object.oid != target.object.oid) {
            tables.push(target);
        }
    }
    let view = view.clone();
    let read = tokio::task::spawn_blocking(move || {
        let change = |target: Target| {
            let table = target.definition;
            let rows = view.rows(table.id)?.collect::<Result<Vec<_>>>()?;
            let deletes = concat_batches(&table.schema, &rows)?;
            let inserts = table.no_rows();
            Ok(TableChange { table, deletes, inserts, on_conflict: OnConflict::Fail })
        };
        tables.into_iter().map(change).collect()
    });
    read.await.map_err(|error| Error::internal(format!("the rows could not be read: {error}")))?
}
