//! CREATE TABLE ... WITH (connector = ...): a table that keeps what a source reads.
//!
//! To the engine it is a source and a view of all its rows, which is read as a table: so that each
//! record counts once and survives `kill -9` with its checkpoint, and a view that is created later has
//! what the topic has forgotten. Promises: it returns when all is stored that was there when it
//! started; cancelled or failed it leaves nothing. Statements do not change its rows.

use thalweg_dataflow::engine::ViewDefinition;
use thalweg_dataflow::error::{Error, Result};
use thalweg_dataflow::plan::{Op, Plan, RelationId};

use super::create_source::{columns_of, need_files, open};
use super::create_view::{Entered, wait};
use super::is_skipped;
use super::resolve::schema_of;
use crate::catalog::{Object, ObjectData, StoredSource};
use crate::guard::Guard;
use crate::parser::CreateSource;
use crate::session::{Outcome, Session};

const TAG: &str = "CREATE TABLE";

/// See the module.
pub(crate) async fn run(session: &mut Session, create: &CreateSource, guard: &Guard) -> Result<Outcome> {
    let schema = session.creation_schema(&create.name)?;
    let name = create.name.name.clone();
    let database = session.database.clone();
    let turn = database.0.ddl.lock().await;
    if is_skipped(session, &database.published().catalog, (&schema, &name), create.if_not_exists)? {
        return Ok(Outcome::Done(TAG.into()));
    }
    need_files(session, create)?;
    let (source, definition) = open(&database, create, &schema).await?;
    let mut next = (*database.published()).clone();
    let (number, oid) = (next.catalog.allocate(), next.catalog.allocate());
    let columns = columns_of(&source.schema());
    let start = definition.start.clone();
    let data = ObjectData::StoredSource(StoredSource { source: number, definition });
    let object = Object { oid, schema, name: name.clone(), columns, data };
    let view = rows(&object)?;
    session.create(&mut next.catalog, object)?;
    next.sources.insert(oid, source.clone());
    database.0.engine.add_source(RelationId(number), source, start).await?;
    if let Err(error) = database.publish(next).await {
        database.0.engine.remove(vec![RelationId(number)]).await?;
        return Err(error);
    }
    let entered = Entered { database: database.clone(), oid, relation: RelationId(oid), settled: false };
    let building = database.0.engine.add_view(view).await;
    drop(turn);
    let built = match building {
        Ok(mut build) => {
            let mut patience = guard.clone();
            let what = format!("table \"{name}\"");
            tokio::select! {
                biased;
                stopped = patience.stopped() => Err(stopped),
                built = wait(session, &what, &mut build) => built,
            }
        }
        Err(error) => Err(error),
    };
    match built {
        Ok(()) => entered.complete().await.map(|()| Outcome::Done(TAG.into())),
        Err(error) => {
            entered.abandon().await?;
            Err(error)
        }
    }
}

/// The view that keeps the rows.
pub(crate) fn rows(object: &Object) -> Result<ViewDefinition> {
    let Some((relation, _)) = object.source() else { return Err(Error::internal("a table without its source")) };
    let op = Op::Source { relation, columns: (0..object.columns.len()).collect() };
    Ok(ViewDefinition { id: object.relation(), plan: Plan { op, schema: schema_of(&object.columns) } })
}
