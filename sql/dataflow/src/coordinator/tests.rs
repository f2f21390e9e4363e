//! The engine as a whole, over the memory store: views against a plain recomputation, through
//! epochs, builds, crashes and restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, col, lit};
use parking_lot::{Condvar, Mutex};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::engine::{BuildState, Definition, Engine, EngineOptions, ViewDefinition};
use crate::error::{Error, Result};
use crate::plan::{Call, Function, Op, Plan, RelationId};
use crate::source::{Offsets, ReadRequest, Reader, Source, SourceBatch, SourceItem, SourceOutput};
use crate::storage::{MemoryStore, Storage, StoreCutLog};
use crate::types::{PgType, TextStyle, write_text};

const SOURCE: RelationId = RelationId(1);

#[derive(Debug, Clone)]
struct Row {
    k: Option<&'static str>,
    x: Option<i64>,
    p: i128,
}

/// A source whose partitions are rows in memory.
#[derive(Debug, Default)]
struct Rows {
    partitions: Mutex<BTreeMap<i32, Vec<Row>>>,
    grown: Condvar,
    /// Whether they cannot be read for now.
    away: AtomicBool,
    /// Readers that give nothing more for now: those of so many columns that read up to an end, and
    /// under 0 those that follow.
    held: Mutex<BTreeSet<usize>>,
    /// Readers that were started, named as in `held`.
    started: Mutex<BTreeSet<usize>>,
}

impl Rows {
    fn hold(&self, readers: usize) {
        self.held.lock().insert(readers);
    }

    fn release(&self, readers: usize) {
        self.held.lock().remove(&readers);
        self.grown.notify_all();
    }
}

struct Thread(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>, Arc<Rows>);

impl Reader for Thread {}

impl Drop for Thread {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.2.grown.notify_all();
        self.1.take().unwrap().join().unwrap();
    }
}

#[derive(Debug)]
struct TestSource(Arc<Rows>);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        PgType::Text.field("k", true),
        PgType::Int8.field("x", true),
        PgType::Numeric(Some((10, 2))).field("p", true),
    ]))
}

fn batch_of(rows: &[Row], columns: &[usize]) -> RecordBatch {
    let all: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.k).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.x).collect::<Int64Array>()),
        Arc::new(
            rows.iter().map(|row| Some(row.p)).collect::<Decimal128Array>().with_precision_and_scale(10, 2).unwrap(),
        ),
    ];
    RecordBatch::try_new(schema(), all).unwrap().project(columns).unwrap()
}

impl Source for TestSource {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn start(&self) -> Result<Offsets> {
        Ok(self.0.partitions.lock().keys().map(|partition| (*partition, 0)).collect())
    }

    fn end(&self) -> Result<Offsets> {
        Ok(self.0.partitions.lock().iter().map(|(partition, rows)| (*partition, rows.len() as i64)).collect())
    }

    fn read(&self, request: ReadRequest, output: Arc<dyn SourceOutput>) -> Result<Box<dyn Reader>> {
        let kind = if request.until.is_some() { request.columns.len() } else { 0 };
        self.0.started.lock().insert(kind);
        let stop = Arc::new(AtomicBool::new(false));
        let (rows, stopped) = (self.0.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut at = request.from.clone();
            let mut seed = 7usize;
            let mut told = false;
            loop {
                if stopped.load(Ordering::Relaxed) || output.is_closed() {
                    return;
                }
                if rows.held.lock().contains(&kind) {
                    rows.grown.wait_for(&mut rows.partitions.lock(), Duration::from_millis(20));
                    continue;
                }
                if rows.away.load(Ordering::Relaxed) {
                    if !std::mem::replace(&mut told, true) {
                        let _ = output.push(SourceItem::Stalled(Error::internal("away")));
                    }
                    rows.grown.wait_for(&mut rows.partitions.lock(), Duration::from_millis(20));
                    continue;
                }
                let mut found = None;
                {
                    let mut partitions = rows.partitions.lock();
                    for (partition, rows) in partitions.iter() {
                        let from = at.get(partition).copied().unwrap_or(0);
                        let until =
                            request.until.as_ref().map_or(i64::MAX, |until| until.get(partition).copied().unwrap_or(0));
                        seed = seed * 31 % 101;
                        let mut to = (rows.len() as i64).min(until).min(from + 1 + (seed % 40) as i64);
                        for boundary in request.boundaries.get(partition).into_iter().flatten() {
                            if *boundary > from {
                                to = to.min(*boundary);
                            }
                        }
                        if to > from {
                            found =
                                Some((*partition, to, batch_of(&rows[from as usize..to as usize], &request.columns)));
                            break;
                        }
                    }
                    if found.is_none() {
                        if request.until.is_some() {
                            let _ = output.push(SourceItem::Finished);
                            return;
                        }
                        rows.grown.wait_for(&mut partitions, Duration::from_millis(20));
                    }
                }
                if let Some((partition, end, rows)) = found {
                    at.insert(partition, end);
                    let batch =
                        SourceBatch { partition, end, rows, bad: Vec::new(), headers: 0, tombstones: 0, bytes: 1 };
                    if output.push(SourceItem::Batch(batch)).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Box::new(Thread(stop, Some(thread), self.0.clone())))
    }

    fn progress(&self, _: &Offsets) {}

    fn describe(&self) -> String {
        "rows of a test".into()
    }
}

fn options(workers: usize) -> EngineOptions {
    EngineOptions {
        workers,
        checkpoint_interval: Duration::from_millis(5),
        epoch_max_rows: 300,
        source_queue_rows: 200,
        source_batch_rows: 100,
        source_errors_max_rows: 1000,
    }
}

fn plan(op: Op, fields: Vec<(&str, PgType)>) -> Plan {
    Plan {
        op,
        schema: Arc::new(Schema::new(
            fields.into_iter().map(|(name, data_type)| data_type.field(name, true)).collect::<Vec<_>>(),
        )),
    }
}

fn call(function: Function, argument: Option<usize>, distinct: bool, filter: Option<usize>) -> Call {
    Call { function, argument, distinct, filter }
}

/// SELECT k, count(*), sum(p), count(DISTINCT x) FILTER (WHERE x > 3), min(x), max(p), avg(x) GROUP BY k.
fn by_key() -> Plan {
    let source = plan(
        Op::Source { relation: SOURCE, columns: vec![0, 1, 2] },
        vec![("k", PgType::Text), ("x", PgType::Int8), ("p", PgType::Numeric(Some((10, 2))))],
    );
    let s = source.schema.clone();
    let over: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(col("x", &s).unwrap(), Operator::Gt, lit(3i64)));
    let project = vec![col("k", &s).unwrap(), col("x", &s).unwrap(), col("p", &s).unwrap(), over];
    let map = plan(
        Op::Map { input: Box::new(source), filters: vec![], project },
        vec![("k", PgType::Text), ("x", PgType::Int8), ("p", PgType::Numeric(Some((10, 2)))), ("f", PgType::Bool)],
    );
    plan(
        Op::Reduce {
            input: Box::new(map),
            keys: vec![0],
            calls: vec![
                call(Function::Count, None, false, None),
                call(Function::Sum, Some(2), false, None),
                call(Function::Count, Some(1), true, Some(3)),
                call(Function::Min, Some(1), false, None),
                call(Function::Max, Some(2), false, None),
                call(Function::Avg, Some(1), false, None),
            ],
        },
        vec![
            ("k", PgType::Text),
            ("n", PgType::Int8),
            ("s", PgType::Numeric(None)),
            ("d", PgType::Int8),
            ("lo", PgType::Int8),
            ("hi", PgType::Numeric(None)),
            ("mean", PgType::Numeric(None)),
        ],
    )
}

/// SELECT d, count(*), min(n), max(n), sum(DISTINCT lo), count(k) FROM by_key GROUP BY d: over retractions.
fn by_distinct(view: RelationId) -> Plan {
    let below = Plan { op: Op::View { relation: view }, schema: by_key().schema };
    plan(
        Op::Reduce {
            input: Box::new(below),
            keys: vec![3],
            calls: vec![
                call(Function::Count, None, false, None),
                call(Function::Min, Some(1), false, None),
                call(Function::Max, Some(1), false, None),
                call(Function::Sum, Some(4), true, None),
                call(Function::Count, Some(0), false, None),
            ],
        },
        vec![
            ("d", PgType::Int8),
            ("c", PgType::Int8),
            ("lo", PgType::Int8),
            ("hi", PgType::Int8),
            ("s", PgType::Numeric(None)),
            ("ck", PgType::Int8),
        ],
    )
}

/// SELECT count(*), max(x) FROM source: one row, always.
fn global() -> Plan {
    let source = plan(Op::Source { relation: SOURCE, columns: vec![1] }, vec![("x", PgType::Int8)]);
    plan(
        Op::Reduce {
            input: Box::new(source),
            keys: vec![],
            calls: vec![call(Function::Count, None, false, None), call(Function::Max, Some(0), false, None)],
        },
        vec![("n", PgType::Int8), ("hi", PgType::Int8)],
    )
}

/// SELECT 10 / x, x FROM source WHERE x > 0 UNION ALL SELECT x, x FROM source: rows with multiplicity.
fn rows_kept() -> Plan {
    let source = plan(Op::Source { relation: SOURCE, columns: vec![1] }, vec![("x", PgType::Int8)]);
    let s = source.schema.clone();
    let x = || col("x", &s).unwrap();
    let fields = || vec![("a", PgType::Int8), ("x", PgType::Int8)];
    let divide: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(lit(10i64), Operator::Divide, x()));
    let positive: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(x(), Operator::Gt, lit(0i64)));
    let first = plan(
        Op::Map { input: Box::new(source.clone()), filters: vec![positive], project: vec![divide, x()] },
        fields(),
    );
    let second = plan(Op::Map { input: Box::new(source), filters: vec![], project: vec![x(), x()] }, fields());
    plan(Op::Union { inputs: vec![first, second] }, fields())
}

fn text(batches: Vec<RecordBatch>) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let mut line = String::new();
            for (place, column) in batch.columns().iter().enumerate() {
                if place > 0 {
                    line.push('|');
                }
                if column.is_valid(row) {
                    write_text(
                        &PgType::of(batch.schema().field(place)),
                        column.as_ref(),
                        row,
                        &TextStyle::default(),
                        &mut line,
                    )
                    .unwrap();
                }
            }
            lines.push(line);
        }
    }
    lines.sort();
    lines
}

/// A row of `by_key`: the key, then its aggregates.
type ByKey = (Option<&'static str>, i64, i128, i64, Option<i64>, i128, Option<(i64, i64)>);

fn expected_by_key(rows: &[Row]) -> Vec<ByKey> {
    let mut groups: BTreeMap<Option<&str>, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|row| groups.entry(row.k).or_default().push(row));
    groups
        .into_iter()
        .map(|(k, rows)| {
            let xs: Vec<i64> = rows.iter().filter_map(|row| row.x).collect();
            let distinct: BTreeSet<i64> = xs.iter().copied().filter(|x| *x > 3).collect();
            let mean = (!xs.is_empty()).then(|| (xs.iter().sum(), xs.len() as i64));
            (
                k,
                rows.len() as i64,
                rows.iter().map(|row| row.p).sum(),
                distinct.len() as i64,
                xs.iter().min().copied(),
                rows.iter().map(|row| row.p).max().unwrap(),
                mean,
            )
        })
        .collect()
}

fn option(value: Option<i64>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn check(engine: &Engine, rows: &Rows) {
    let rows: Vec<Row> = rows.partitions.lock().values().flatten().cloned().collect();
    let snapshot = engine.snapshot();
    let read = |view: u32| text(snapshot.scan(RelationId(view), None).unwrap().collect::<Result<Vec<_>>>().unwrap());
    let keys = expected_by_key(&rows);
    let mut lines: Vec<String> = keys
        .iter()
        .map(|(k, n, s, d, lo, hi, mean)| {
            let number = |value: &i128| crate::types::Numeric::from_i128(*value, 2).to_string();
            let whole = |value: i64| crate::types::Numeric::from_i128(value.into(), 0);
            let mean = mean.map_or(String::new(), |(sum, count)| whole(sum).div(&whole(count)).unwrap().to_string());
            format!("{}|{n}|{}|{d}|{}|{}|{mean}", k.unwrap_or(""), number(s), option(*lo), number(hi))
        })
        .collect();
    lines.sort();
    assert_eq!(read(2), lines);
    let mut groups: BTreeMap<i64, Vec<_>> = BTreeMap::new();
    keys.iter().for_each(|key| groups.entry(key.3).or_default().push(key));
    let mut lines: Vec<String> = groups
        .iter()
        .map(|(d, keys)| {
            let los: BTreeSet<i64> = keys.iter().filter_map(|key| key.4).collect();
            let sum = (!los.is_empty()).then(|| los.iter().sum());
            let ns = || keys.iter().map(|key| key.1);
            format!(
                "{d}|{}|{}|{}|{}|{}",
                keys.len(),
                ns().min().unwrap(),
                ns().max().unwrap(),
                option(sum),
                keys.iter().filter(|key| key.0.is_some()).count()
            )
        })
        .collect();
    lines.sort();
    assert_eq!(read(3), lines);
    assert_eq!(read(4), vec![format!("{}|{}", rows.len(), option(rows.iter().filter_map(|row| row.x).max()))]);
    let positive = rows.iter().filter_map(|row| row.x).filter(|x| *x > 0).map(|x| format!("{}|{x}", 10 / x));
    let mut lines: Vec<String> = positive.chain(rows.iter().map(|row| format!("{0}|{0}", option(row.x)))).collect();
    lines.sort();
    assert_eq!(read(5), lines);
}

async fn settle(engine: &Engine, rows: &Rows) {
    let ends: Offsets =
        rows.partitions.lock().iter().map(|(partition, rows)| (*partition, rows.len() as i64)).collect();
    let mut epoch = 0;
    loop {
        let status = engine.status();
        let at = &status.sources[&SOURCE].offsets;
        if ends.iter().all(|(partition, end)| *end == 0 || at.get(partition) == Some(end)) {
            return;
        }
        epoch = tokio::time::timeout(Duration::from_secs(20), engine.published_after(epoch.max(status.epoch)))
            .await
            .expect("an epoch in 20 s");
        assert_ne!(epoch, 0);
    }
}

fn add_rows(random: &mut StdRng, rows: &Rows, count: usize) {
    let keys = [None, Some("a"), Some("b"), Some("samsung"), Some("")];
    let mut partitions = rows.partitions.lock();
    for _ in 0..count {
        let partition = random.random_range(0..3);
        let x = random.random_bool(0.9).then(|| random.random_range(-5..30));
        partitions.entry(partition).or_default().push(Row {
            k: keys[random.random_range(0..5)],
            x,
            p: random.random_range(-500..5000),
        });
    }
    drop(partitions);
    rows.grown.notify_all();
}

async fn live(engine: &Engine, definition: ViewDefinition) {
    let mut build = engine.add_view(definition).await.unwrap();
    let state = tokio::time::timeout(
        Duration::from_secs(20),
        build.state.wait_for(|state| !matches!(state, BuildState::Building { .. })),
    )
    .await;
    assert_eq!(*state.expect("a build in 20 s").unwrap(), BuildState::Live);
}

fn views() -> Vec<ViewDefinition> {
    vec![
        ViewDefinition { id: RelationId(2), plan: by_key() },
        ViewDefinition { id: RelationId(3), plan: by_distinct(RelationId(2)) },
        ViewDefinition { id: RelationId(4), plan: global() },
        ViewDefinition { id: RelationId(5), plan: rows_kept() },
    ]
}

fn storage_of(state: &Arc<MemoryStore>, cuts: &Arc<MemoryStore>) -> Storage {
    Storage { store: state.clone(), cuts: Arc::new(StoreCutLog::open(cuts.clone()).unwrap()) }
}

fn reopen(workers: usize, state: &Arc<MemoryStore>, cuts: &Arc<MemoryStore>, rows: &Arc<Rows>) -> Engine {
    let engine = Engine::open(options(workers), storage_of(state, cuts)).unwrap();
    let start = [(0, 0), (1, 0), (2, 0)].into();
    let source = Definition::Source { id: SOURCE, source: Arc::new(TestSource(rows.clone())), start };
    engine.start([source].into_iter().chain(views().into_iter().map(Definition::View)).collect()).unwrap();
    engine
}

#[tokio::test(flavor = "multi_thread")]
async fn views_equal_a_recomputation_through_crashes() {
    for seed in 0..6u64 {
        let mut random = StdRng::seed_from_u64(seed);
        let rows = Arc::new(Rows::default());
        rows.partitions.lock().extend([(0, Vec::new()), (1, Vec::new()), (2, Vec::new())]);
        let (mut state, mut cuts) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
        let workers = 1 + (seed % 3) as usize;
        let engine = Engine::open(options(workers), storage_of(&state, &cuts)).unwrap();
        engine.start(vec![]).unwrap();
        engine.add_source(SOURCE, Arc::new(TestSource(rows.clone())), [(0, 0), (1, 0), (2, 0)].into()).await.unwrap();
        let mut engine = engine;
        for view in views() {
            let count = random.random_range(0..400);
            add_rows(&mut random, &rows, count);
            live(&engine, view).await;
        }
        for round in 0..6 {
            for _ in 0..4 {
                let count = random.random_range(1..500);
                add_rows(&mut random, &rows, count);
                settle(&engine, &rows).await;
                check(&engine, &rows);
            }
            if round % 2 == 0 {
                // A crash: only what was flushed is there afterwards.
                let (crashed_state, crashed_cuts) = (state.crash(), cuts.crash());
                engine.stop().await.unwrap();
                (state, cuts) = (Arc::new(crashed_state), Arc::new(crashed_cuts));
            } else {
                engine.stop().await.unwrap();
            }
            // Cuts cannot be played again while the source is away; that holds nothing up.
            rows.away.store(round % 3 > 0, Ordering::Relaxed);
            engine = reopen(workers, &state, &cuts, &rows);
            if round % 3 == 1 {
                engine.stop().await.unwrap();
                engine = reopen(workers, &state, &cuts, &rows);
            }
            rows.away.store(false, Ordering::Relaxed);
            settle(&engine, &rows).await;
            assert!(
                engine.status().views.values().all(|view| view.state == BuildState::Live),
                "views are restored, not rebuilt"
            );
            check(&engine, &rows);
        }
        engine.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_does_not_change_while_epochs_go_on() {
    let mut random = StdRng::seed_from_u64(1);
    let rows = Arc::new(Rows::default());
    rows.partitions.lock().extend([(0, Vec::new()), (1, Vec::new()), (2, Vec::new())]);
    let engine = Engine::open(options(2), storage_of(&Arc::default(), &Arc::default())).unwrap();
    engine.start(vec![]).unwrap();
    engine.add_source(SOURCE, Arc::new(TestSource(rows.clone())), [(0, 0), (1, 0), (2, 0)].into()).await.unwrap();
    for view in views() {
        live(&engine, view).await;
    }
    for _ in 0..10 {
        add_rows(&mut random, &rows, 300);
        settle(&engine, &rows).await;
        let snapshot = engine.snapshot();
        let read =
            |view: u32| text(snapshot.scan(RelationId(view), None).unwrap().collect::<Result<Vec<_>>>().unwrap());
        let before: Vec<_> = (2..6).map(read).collect();
        for _ in 0..3 {
            add_rows(&mut random, &rows, 200);
            settle(&engine, &rows).await;
        }
        assert_eq!(before, (2..6).map(read).collect::<Vec<_>>());
        let total: i64 = snapshot
            .scan(RelationId(2), Some(vec![1]))
            .unwrap()
            .map(|batch| batch.unwrap().column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>())
            .sum();
        let all = snapshot
            .scan(RelationId(4), Some(vec![0]))
            .unwrap()
            .map(|batch| batch.unwrap().column(0).as_primitive::<Int64Type>().value(0))
            .next();
        assert_eq!(Some(total), all);
    }
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_counted_once_whatever_builds_meet() {
    let mut random = StdRng::seed_from_u64(3);
    let rows = Arc::new(Rows::default());
    rows.partitions.lock().extend([(0, Vec::new()), (1, Vec::new()), (2, Vec::new())]);
    let engine = Engine::open(options(1), storage_of(&Arc::default(), &Arc::default())).unwrap();
    engine.start(vec![]).unwrap();
    engine.add_source(SOURCE, Arc::new(TestSource(rows.clone())), [(0, 0), (1, 0), (2, 0)].into()).await.unwrap();
    // Two builds over a source that nobody reads: the first reads to 100 rows, the second to 300.
    for readers in [0, 1, 3] {
        rows.hold(readers);
    }
    add_rows(&mut random, &rows, 100);
    let first = engine.add_view(ViewDefinition { id: RelationId(4), plan: global() }).await.unwrap();
    while !rows.started.lock().contains(&1) {
        tokio::task::yield_now().await;
    }
    add_rows(&mut random, &rows, 200);
    let mut second = engine.add_view(ViewDefinition { id: RelationId(2), plan: by_key() }).await.unwrap();
    // The first goes live, is followed no further, and goes.
    rows.release(1);
    loop {
        let status = engine.status();
        if status.sources[&SOURCE].rows == 100 {
            break;
        }
        engine.published_after(status.epoch).await;
    }
    engine.remove(vec![RelationId(4)]).await.unwrap();
    drop(first);
    rows.release(3);
    let done = second.state.wait_for(|state| !matches!(state, BuildState::Building { .. }));
    assert_eq!(*tokio::time::timeout(Duration::from_secs(20), done).await.expect("20 s").unwrap(), BuildState::Live);
    assert_eq!(engine.status().sources[&SOURCE].rows, 300);
    engine.stop().await.unwrap();
}
