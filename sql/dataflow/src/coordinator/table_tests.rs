//! Tables: what commits may do, what others see of them, and that none is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::engine::{BuildState, Definition, Engine, EngineOptions, ViewDefinition};
use crate::error::{Result, SqlState};
use crate::plan::{Call, Function, Op, Plan, RelationId};
use crate::storage::{MemoryStore, Storage, StoreCutLog};
use crate::table::{Committed, Follower, OnConflict, TableChange, TableDefinition, UniqueKey};
use crate::types::PgType;

const TABLE: RelationId = RelationId(1);
const VIEW: RelationId = RelationId(2);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![PgType::Int8.field("id", false), PgType::Text.field("name", true)]))
}

fn table(keyed: bool) -> TableDefinition {
    let key = UniqueKey { name: "t_pkey".into(), columns: vec![0] };
    TableDefinition {
        id: TABLE,
        name: "t".into(),
        schema: schema(),
        keys: if keyed { vec![key] } else { Vec::new() },
        followers: Vec::new(),
    }
}

type Row = (i64, Option<String>);

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(id, _)| *id).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, name)| name.clone()).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn row(id: i64, name: &str) -> Row {
    (id, Some(name.into()))
}

fn options() -> EngineOptions {
    EngineOptions {
        workers: 2,
        checkpoint_interval: Duration::from_millis(20),
        epoch_max_rows: 100,
        source_queue_rows: 100,
        source_batch_rows: 100,
        source_errors_max_rows: 10,
    }
}

/// SELECT name, count(*), min(id) FROM t GROUP BY name.
fn by_name() -> ViewDefinition {
    let below = Plan { op: Op::View { relation: TABLE }, schema: schema() };
    let call = |function, argument| Call { function, argument, distinct: false, filter: None };
    let fields =
        vec![PgType::Text.field("name", true), PgType::Int8.field("count", true), PgType::Int8.field("min", true)];
    let op = Op::Reduce {
        input: Box::new(below),
        keys: vec![1],
        calls: vec![call(Function::Count, None), call(Function::Min, Some(0))],
    };
    ViewDefinition { id: VIEW, plan: Plan { op, schema: Arc::new(Schema::new(fields)) } }
}

async fn change(
    engine: &Engine,
    table: &TableDefinition,
    deletes: &[Row],
    inserts: &[Row],
    on_conflict: OnConflict,
) -> Result<Committed> {
    let table = Arc::new(table.clone());
    engine.commit(&[TableChange { table, deletes: batch(deletes), inserts: batch(inserts), on_conflict }]).await
}

fn rows(engine: &Engine) -> Vec<Row> {
    let mut out = Vec::new();
    for batch in engine.snapshot().scan(TABLE, None).unwrap() {
        let batch = batch.unwrap();
        let (ids, names) = (batch.column(0).as_primitive::<Int64Type>().clone(), batch.column(1).as_string::<i32>());
        for place in 0..batch.num_rows() {
            out.push((ids.value(place), names.is_valid(place).then(|| names.value(place).to_string())));
        }
    }
    out.sort();
    out
}

fn view(engine: &Engine) -> BTreeMap<Option<String>, (i64, i64)> {
    let mut out = BTreeMap::new();
    for batch in engine.snapshot().scan(VIEW, None).unwrap() {
        let batch = batch.unwrap();
        let names = batch.column(0).as_string::<i32>();
        for place in 0..batch.num_rows() {
            let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(place);
            out.insert(names.is_valid(place).then(|| names.value(place).to_string()), (number(1), number(2)));
        }
    }
    out
}

async fn engine(storage: Storage, definitions: Vec<Definition>) -> Engine {
    let engine = Engine::open(options(), storage).unwrap();
    engine.start(definitions).unwrap();
    engine
}

async fn fresh(table: &TableDefinition) -> Engine {
    let engine = engine(Storage::memory(), vec![]).await;
    engine.add_table(table.clone()).await.unwrap();
    engine
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_there_when_it_is_acknowledged_or_not_at_all() {
    let table = table(true);
    let engine = fresh(&table).await;
    let before = engine.snapshot();
    change(&engine, &table, &[], &[row(1, "a"), row(2, "b"), (3, None)], OnConflict::Fail).await.unwrap();
    assert_eq!(rows(&engine), [row(1, "a"), row(2, "b"), (3, None)]);
    assert_eq!(before.scan(TABLE, None).unwrap().count(), 0, "an older snapshot keeps what it had");
    // The second row's key is taken: the first one is not there either, nor is the deleted one gone.
    let error =
        change(&engine, &table, &[row(1, "a")], &[row(9, "x"), row(2, "c")], OnConflict::Fail).await.unwrap_err();
    assert_eq!(error.state(), SqlState::UniqueViolation);
    assert_eq!(error.message(), "duplicate key value violates unique constraint \"t_pkey\"");
    assert_eq!(error.detail_text(), Some("Key (id)=(2) already exists."));
    assert_eq!(rows(&engine).len(), 3);
    // Its keys were given back.
    change(&engine, &table, &[row(1, "a")], &[row(9, "x"), row(1, "again")], OnConflict::Fail).await.unwrap();
    assert_eq!(rows(&engine), [row(1, "again"), row(2, "b"), (3, None), row(9, "x")]);
    let error = change(&engine, &table, &[row(1, "a")], &[], OnConflict::Fail).await.unwrap_err();
    assert_eq!(error.state(), SqlState::SerializationFailure);
    engine.remove(vec![TABLE]).await.unwrap();
    let error = change(&engine, &table, &[], &[row(4, "d")], OnConflict::Fail).await.unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedTable);
    engine.stop().await.unwrap();
    let error = change(&engine, &table, &[], &[row(4, "d")], OnConflict::Fail).await.unwrap_err();
    assert_eq!(error.state(), SqlState::AdminShutdown, "nobody waits for an engine that has stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_key_is_taken_are_left_out_or_fail_as_asked() {
    let table = table(true);
    let engine = fresh(&table).await;
    let wanted = [row(1, "a"), row(2, "b"), row(1, "twice")];
    let done = change(&engine, &table, &[], &wanted, OnConflict::Skip(Some(0))).await.unwrap();
    assert_eq!(done.skipped, [[2]]);
    let done = change(&engine, &table, &[], &[row(2, "c"), row(3, "c")], OnConflict::Skip(None)).await.unwrap();
    assert_eq!(done.skipped, [[0]]);
    let error =
        change(&engine, &table, &[], &[row(4, "d"), row(3, "d")], OnConflict::Retry(Some(0))).await.unwrap_err();
    assert_eq!(error.state(), SqlState::SerializationFailure);
    assert_eq!(rows(&engine), [row(1, "a"), row(2, "b"), row(3, "c")]);
    // What has a key is found without reading the rest; after a restart too (see below).
    let found = engine.lookup(&table, 0, &batch(&[row(3, "?"), row(7, "?"), row(1, "?"), row(3, "!")])).await.unwrap();
    assert_eq!(found.of, [Some(0), None, Some(1), Some(2)]);
    assert_eq!(found.rows.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["c", "a", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_rows_of_a_table_without_key_are_counted() {
    let table = table(false);
    let engine = fresh(&table).await;
    let twice = [row(1, "a"), row(1, "a")];
    change(&engine, &table, &[], &twice, OnConflict::Fail).await.unwrap();
    let thrice = [row(1, "a"), row(1, "a"), row(1, "a")];
    let error = change(&engine, &table, &thrice, &[], OnConflict::Fail).await.unwrap_err();
    assert_eq!(error.state(), SqlState::SerializationFailure);
    change(&engine, &table, &[row(1, "a")], &[], OnConflict::Fail).await.unwrap();
    assert_eq!(rows(&engine), [row(1, "a")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_each_row_is_changed_by_one() {
    let table = table(true);
    let engine = fresh(&table).await;
    change(&engine, &table, &[], &[row(0, "0")], OnConflict::Fail).await.unwrap();
    let done = Arc::new(AtomicI64::new(0));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (engine, table, done) = (engine.clone(), table.clone(), done.clone());
            tokio::spawn(async move {
                for _ in 0..20 {
                    let now = rows(&engine)[0].clone();
                    let next = now.1.clone().unwrap().parse::<i64>().unwrap() + 1;
                    let changed = change(&engine, &table, &[now], &[row(0, &next.to_string())], OnConflict::Fail).await;
                    match changed {
                        Ok(_) => drop(done.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => assert_eq!(error.state(), SqlState::SerializationFailure),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(rows(&engine), [row(0, &done.load(Ordering::Relaxed).to_string())], "no update is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_takes_the_place_of_another_with_all_its_rows_or_not_at_all() {
    let old = table(true);
    let new = TableDefinition { id: RelationId(7), ..table(true) };
    let (state, cuts) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    let storage = Storage { store: state.clone(), cuts: Arc::new(StoreCutLog::open(cuts.clone()).unwrap()) };
    let running = engine(storage, vec![]).await;
    running.add_table(old.clone()).await.unwrap();
    change(&running, &old, &[], &[row(1, "a"), row(2, "b")], OnConflict::Fail).await.unwrap();
    let moved = |rows: Vec<Row>| {
        let on_conflict = OnConflict::Fail;
        let out = TableChange { table: Arc::new(old.clone()), deletes: batch(&rows), inserts: batch(&[]), on_conflict };
        let rows: Vec<Row> = rows.into_iter().map(|(id, _)| row(id, "new")).collect();
        let come =
            TableChange { table: Arc::new(new.clone()), deletes: batch(&[]), inserts: batch(&rows), on_conflict };
        running.replace_table(out, come, b"catalog".to_vec())
    };
    let error = moved(vec![row(1, "a")]).await.unwrap_err();
    assert_eq!(error.state(), SqlState::SerializationFailure, "a row came meanwhile");
    assert_eq!(rows(&running).len(), 2);
    moved(vec![row(1, "a"), row(2, "b")]).await.unwrap();
    assert!(running.snapshot().scan(TABLE, None).is_err(), "the old one is gone");
    let (state, cuts) = (Arc::new(state.crash()), Arc::new(cuts.crash()));
    running.stop().await.unwrap();
    let storage = Storage { store: state, cuts: Arc::new(StoreCutLog::open(cuts).unwrap()) };
    let running = engine(storage, vec![Definition::Table(new.clone())]).await;
    assert_eq!(running.catalog().as_deref(), Some(&b"catalog"[..]));
    running.replayed().await.unwrap();
    let there: usize = running.snapshot().scan(new.id, None).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(there, 2);
}

/// The names of a table's rows, in order.
fn names(engine: &Engine, id: RelationId) -> Vec<Option<String>> {
    let batches = engine.snapshot().scan(id, None).unwrap();
    let mut names: Vec<Option<String>> = batches
        .flat_map(|batch| {
            let batch = batch.unwrap();
            let names = batch.columns().last().unwrap().as_string::<i32>().clone();
            (0..names.len()).map(|row| names.is_valid(row).then(|| names.value(row).to_string())).collect::<Vec<_>>()
        })
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_replaced_follows_through_commits_and_a_crash() {
    let old = table(true);
    let followers = vec![Follower { id: TABLE, columns: vec![Some(0), None] }];
    let new = TableDefinition { id: RelationId(7), followers, ..table(true) };
    let (state, cuts) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    let storage = Storage { store: state.clone(), cuts: Arc::new(StoreCutLog::open(cuts.clone()).unwrap()) };
    let running = engine(storage, vec![]).await;
    running.add_table(old.clone()).await.unwrap();
    change(&running, &old, &[], &[row(1, "a"), row(2, "b")], OnConflict::Fail).await.unwrap();
    let (from, to, on_conflict) = (Arc::new(old.clone()), Arc::new(new.clone()), OnConflict::Fail);
    let there = batch(&[row(1, "a"), row(2, "b")]);
    let out = TableChange { table: from, deletes: there.clone(), inserts: batch(&[]), on_conflict };
    let come = TableChange { table: to, deletes: batch(&[]), inserts: there, on_conflict };
    running.replace_table(out, come, b"catalog".to_vec()).await.unwrap();
    assert_eq!(names(&running, TABLE), [None, None], "a column that went is null");
    change(&running, &new, &[row(1, "a")], &[row(1, "x"), row(3, "c")], OnConflict::Fail).await.unwrap();
    change(&running, &new, &[], &[row(3, "d")], OnConflict::Skip(None)).await.unwrap();
    assert_eq!(names(&running, TABLE), [None, None, None], "what is left out is left out of both");
    change(&running, &old, &[], &[row(9, "z")], OnConflict::Fail).await.unwrap_err();
    let (state, cuts) = (Arc::new(state.crash()), Arc::new(cuts.crash()));
    running.stop().await.unwrap();
    let storage = Storage { store: state, cuts: Arc::new(StoreCutLog::open(cuts).unwrap()) };
    let behind = TableDefinition { keys: Vec::new(), ..old.clone() };
    let running = engine(storage, vec![Definition::Table(behind), Definition::Table(new.clone())]).await;
    running.replayed().await.unwrap();
    change(&running, &new, &[row(2, "b")], &[], OnConflict::Fail).await.unwrap();
    assert_eq!(names(&running, TABLE), [None, None]);
    assert_eq!(names(&running, new.id), [Some("c".into()), Some("x".into())]);
    change(&running, &old, &[], &[row(9, "z")], OnConflict::Fail).await.unwrap_err();
}

fn check(engine: &Engine, model: &BTreeMap<i64, Option<String>>) {
    let wanted: Vec<Row> = model.iter().map(|(id, name)| (*id, name.clone())).collect();
    assert_eq!(rows(engine), wanted);
    let mut groups: BTreeMap<Option<String>, (i64, i64)> = BTreeMap::new();
    for (id, name) in model {
        let group = groups.entry(name.clone()).or_insert((0, i64::MAX));
        *group = (group.0 + 1, group.1.min(*id));
    }
    assert_eq!(view(engine), groups);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_commit_survives_a_crash_once() {
    let table = table(true);
    let mut random = StdRng::seed_from_u64(5);
    let (mut state, mut cuts) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    let storage = |state: &Arc<MemoryStore>, cuts: &Arc<MemoryStore>| Storage {
        store: state.clone(),
        cuts: Arc::new(StoreCutLog::open(cuts.clone()).unwrap()),
    };
    let mut model: BTreeMap<i64, Option<String>> = BTreeMap::new();
    let mut running = engine(storage(&state, &cuts), vec![]).await;
    running.add_table(table.clone()).await.unwrap();
    let mut build = running.add_view(by_name()).await.unwrap();
    build.state.wait_for(|state| *state == BuildState::Live).await.unwrap();
    for round in 0..12 {
        for _ in 0..random.random_range(1..30) {
            let mut deletes: BTreeMap<i64, Option<String>> = BTreeMap::new();
            let mut inserts = BTreeMap::new();
            for _ in 0..random.random_range(1..20) {
                let id = random.random_range(0..60);
                if let Some(name) = model.get(&id) {
                    deletes.insert(id, name.clone());
                }
                if !model.contains_key(&id) || random.random_bool(0.6) {
                    let name = random.random_bool(0.9).then(|| format!("n{}", random.random_range(0..6)));
                    inserts.insert(id, name);
                }
            }
            let (out, come): (Vec<Row>, Vec<Row>) = (deletes.into_iter().collect(), inserts.into_iter().collect());
            change(&running, &table, &out, &come, OnConflict::Fail).await.unwrap();
            out.iter().for_each(|(id, _)| drop(model.remove(id)));
            model.extend(come);
        }
        check(&running, &model);
        if round % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        if round % 4 == 3 {
            running.stop().await.unwrap();
        } else {
            let (crashed_state, crashed_cuts) = (state.crash(), cuts.crash());
            running.stop().await.unwrap();
            (state, cuts) = (Arc::new(crashed_state), Arc::new(crashed_cuts));
        }
        running =
            engine(storage(&state, &cuts), vec![Definition::Table(table.clone()), Definition::View(by_name())]).await;
        running.replayed().await.unwrap();
        let mut epoch = running.snapshot().epoch();
        while view_is_building(&running) {
            epoch = running.published_after(epoch).await;
        }
        check(&running, &model);
        let taken = model.iter().next().map(|(id, name)| (*id, name.clone()));
        if let Some(taken) = taken {
            let found = running.lookup(&table, 0, &batch(&[(taken.0, None)])).await.unwrap();
            let wanted = batch(std::slice::from_ref(&taken));
            assert_eq!(found.rows.columns(), wanted.columns());
            let error = change(&running, &table, &[], &[taken], OnConflict::Fail).await.unwrap_err();
            assert_eq!(error.state(), SqlState::UniqueViolation, "keys are indexed again");
        }
    }
    running.stop().await.unwrap();
}

fn view_is_building(engine: &Engine) -> bool {
    engine.status().views.get(&VIEW).is_none_or(|view| view.state != BuildState::Live)
}
