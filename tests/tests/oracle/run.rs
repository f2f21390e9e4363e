//! Runs a script against a real database and compares.
//!
//! Promises: a difference comes back as a [`Failure`] that names the view; nothing is left running.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use thalweg_dataflow::engine::{Engine, EngineOptions};
use thalweg_dataflow::storage::{CutLog, MemoryStore, Storage, Store, StoreCutLog};
use thalweg_dataflow::types::{PgType, TextStyle, TextWriter};
use thalweg_dataflow::{Error, Result};
use thalweg_sql::batch::BatchOptions;
use thalweg_sql::database::{Database, DatabaseOptions};
use thalweg_sql::session::{Outcome, Session, Startup};

use super::coverage::{Coverage, Traits, traits_of};
use super::postgres::{Tables, insertion};
use super::script::{Script, Setup, SourceSpec, Step};
use super::source::{Record, Topics};
use super::value::Kind;

/// How long the engine may take to read what a step appended.
const PATIENCE: Duration = Duration::from_secs(30);

/// What went wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The view at fault, if one is.
    pub(crate) view: Option<String>,
    pub(crate) text: String,
}

/// What was done, for the coverage line.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) views: usize,
    pub(crate) epochs: u64,
    pub(crate) comparisons: usize,
    /// Queries that PostgreSQL answered alike.
    pub(crate) postgres: usize,
    pub(crate) rows: usize,
    pub(crate) changes: usize,
    pub(crate) failing: usize,
    pub(crate) restarts: usize,
    pub(crate) crashes: usize,
    pub(crate) coverage: Coverage,
}

impl Tally {
    /// A statement, or a block, that changed so many rows.
    fn changed(&mut self, sql: &str, rows: i64) {
        if !sql.ends_with("ROLLBACK") {
            self.coverage.changed(rows);
        }
        self.changes += 1;
    }
}

/// Where the state lies: a folder, or memory that outlives engines.
enum Disk {
    Folder(tempfile::TempDir),
    Memory { state: Arc<MemoryStore>, cuts: Arc<MemoryStore> },
}

impl Disk {
    fn storage(&self) -> Result<Storage> {
        Ok(match self {
            Disk::Folder(folder) => Storage::open(folder.path())?,
            Disk::Memory { state, cuts } => Storage {
                store: state.clone() as Arc<dyn Store>,
                cuts: Arc::new(StoreCutLog::open(cuts.clone())?) as Arc<dyn CutLog>,
            },
        })
    }

    /// What a killed process would find. The state first: what is added meanwhile to the log is
    /// only more to play again.
    fn crash(&self) -> Disk {
        match self {
            Disk::Folder(_) => unreachable!("folders are closed kindly here; tests/kills.rs kills"),
            Disk::Memory { state, cuts } => {
                let state = Arc::new(state.crash());
                Disk::Memory { state, cuts: Arc::new(cuts.crash()) }
            }
        }
    }
}

/// A running database.
struct Running {
    engine: Engine,
    database: Database,
    session: Session,
}

async fn open(setup: &Setup, disk: &Disk, topics: &Topics) -> Result<Running> {
    let options = EngineOptions {
        workers: setup.workers,
        checkpoint_interval: Duration::from_millis(setup.checkpoint_ms),
        epoch_max_rows: setup.epoch_rows,
        source_queue_rows: 1000,
        source_batch_rows: setup.batch_rows,
        source_errors_max_rows: 1_000_000,
    };
    let engine = Engine::open(options, disk.storage()?)?;
    let options = DatabaseOptions {
        batch: BatchOptions { workers: setup.workers, memory: 1 << 30, spill: std::env::temp_dir() },
        file_errors_max_rows: 1000,
        settings: Vec::new(),
    };
    let database = Database::open(engine.clone(), Arc::new(topics.clone()), options).await?;
    let session = database.session(Startup {
        user: "tester".into(),
        database: "thalweg".into(),
        parameters: vec![],
        role: None,
        client: None,
    });
    Ok(Running { engine, database, session })
}

/// Rows as text.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

impl Running {
    async fn run(&mut self, sql: &str) -> Result<Rows> {
        let mut rows = Rows::new();
        for statement in self.session.parse(sql)? {
            let prepared = self.session.prepare(statement, &[]).await?;
            if let Outcome::Rows { schema, rows: mut stream, .. } = self.session.execute(&prepared, vec![]).await? {
                let types: Vec<PgType> = schema.fields().iter().map(|field| PgType::of(field)).collect();
                while let Some(batch) = stream.next().await {
                    let batch = batch.map_err(Error::from)?;
                    let writers: Vec<TextWriter> = types
                        .iter()
                        .zip(batch.columns())
                        .map(|(data_type, column)| TextWriter::new(data_type, column))
                        .collect::<Result<_>>()?;
                    let style = TextStyle::default();
                    rows.extend((0..batch.num_rows()).map(|row| {
                        let text = |writer: &TextWriter| {
                            let mut text = String::new();
                            writer.write(row, &style, &mut text);
                            text
                        };
                        writers.iter().map(|writer| (!writer.is_null(row)).then(|| text(writer))).collect()
                    }));
                }
            }
        }
        Ok(rows)
    }

    /// Makes the sources and tables.
    async fn create(&mut self, sources: &[SourceSpec]) -> Result<()> {
        for source in sources {
            let columns: Vec<String> =
                source.columns.iter().map(|column| format!("{} {}", column.name, column.declared)).collect();
            let (name, columns) = (&source.name, columns.join(", "));
            let sql = if source.table {
                format!("CREATE TABLE {name} ({columns})")
            } else {
                format!("CREATE SOURCE {name} ({columns}) WITH (connector='test', topic='{name}')")
            };
            self.run(&sql).await?;
        }
        Ok(())
    }

    /// Inserts the rows among some records.
    async fn insert(&mut self, table: &str, records: &[Record], tally: &mut Tally) -> Result<()> {
        if let Some(sql) = insertion(table, records) {
            self.run(&sql).await?;
            tally.coverage.changed(records.len() as i64);
        }
        Ok(())
    }

    /// Waits until every source that is read has met the ends of its topic.
    async fn settle(&self, topics: &Topics) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let status = self.engine.status();
            let names = self.database.names();
            let behind: Vec<String> = status
                .sources
                .iter()
                .filter(|(_, source)| source.active)
                .filter_map(|(id, source)| {
                    let name = names.get(id)?;
                    let ends = topics.get(name).ends();
                    let met =
                        |(partition, end): (&i32, &i64)| source.offsets.get(partition).is_some_and(|at| at >= end);
                    (!ends.iter().all(met)).then(|| format!("{name} at {:?} of {ends:?}", source.offsets))
                })
                .collect();
            if behind.is_empty() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                let fatal = self.engine.snapshot().source_errors().len();
                return Err(format!(
                    "the engine stands still: {} (epoch {}, {fatal} bad)",
                    behind.join(", "),
                    status.epoch
                ));
            }
            let next = self.engine.published_after(status.epoch);
            // The timeout is only for an engine that is gone.
            let _ = tokio::time::timeout(Duration::from_millis(200), next).await;
        }
    }

    /// Valid and bad records of each source that is read, against the topic.
    async fn check_totals(&mut self, topics: &Topics) -> Result<(), String> {
        let names = self.database.names();
        for (id, source) in self.engine.status().sources {
            let Some(name) = names.get(&id).filter(|_| source.active) else { continue };
            let (rows, bad) = topics.get(name).totals();
            if (source.rows, source.errors) != (rows, bad) {
                let (has_rows, has_bad) = (source.rows, source.errors);
                return Err(format!("{name} counts {has_rows} rows, {has_bad} errors; there are {rows} and {bad}"));
            }
            let kept: Vec<(i32, i64)> = self
                .engine
                .snapshot()
                .source_errors()
                .into_iter()
                .filter(|error| error.source == id)
                .map(|error| (error.partition, error.record.offset))
                .collect();
            let once: BTreeSet<(i32, i64)> = kept.iter().copied().collect();
            if kept.len() as u64 != bad || once.len() != kept.len() {
                return Err(format!("{name} keeps {} errors, {} different; there are {bad}", kept.len(), once.len()));
            }
        }
        Ok(())
    }
}

/// Runs a script; `tables` is what PostgreSQL has.
pub(crate) async fn run(script: &Script, tables: &Tables) -> Result<Tally, Failure> {
    let fail = |text: String| Failure { view: None, text };
    let plain = |error: Error| Failure { view: None, text: describe(&error) };
    let topics = Topics::default();
    let mut disk = match script.setup.sled {
        true => Disk::Folder(tempfile::tempdir().unwrap()),
        false => Disk::Memory { state: Arc::default(), cuts: Arc::default() },
    };
    tables.reset(&script.sources).await;
    let mut running = open(&script.setup, &disk, &topics).await.map_err(plain)?;
    running.create(&script.sources).await.map_err(plain)?;
    let mut tally = Tally::default();
    let mut alive: Vec<String> = Vec::new();
    for step in &script.steps {
        match step {
            Step::Create(name) => {
                let sql = format!("CREATE MATERIALIZED VIEW {name} AS {}", script.definition(name));
                let created = tokio::time::timeout(PATIENCE, running.run(&sql)).await;
                let failed = match created {
                    Ok(Ok(_)) => None,
                    Ok(Err(error)) => Some(describe(&error)),
                    Err(_) => Some("CREATE MATERIALIZED VIEW does not return".into()),
                };
                if let Some(text) = failed {
                    return Err(Failure { view: Some(name.clone()), text: format!("{sql}\n{text}") });
                }
                alive.push(name.clone());
                tally.views += 1;
            }
            Step::Drop(name) => {
                running.run(&format!("DROP MATERIALIZED VIEW {name}")).await.map_err(plain)?;
                alive.retain(|other| other != name);
            }
            Step::Append(source, partition, records) => {
                if script.is_table(source) {
                    running.insert(source, records, &mut tally).await.map_err(plain)?;
                } else {
                    topics.get(source).append(*partition, records);
                }
                tables.append(source, records).await;
                tally.rows += records.len();
            }
            Step::Change(sql) => {
                running.run(sql).await.map_err(|error| fail(format!("{sql}: {}", describe(&error))))?;
                tally.changed(sql, tables.run(sql).await);
            }
            Step::Compare => {
                running.settle(&topics).await.map_err(fail)?;
                running.check_totals(&topics).await.map_err(fail)?;
                compare_all(&mut running, tables, script, &alive, &mut tally).await?;
            }
            Step::Restart { crash } => {
                tally.epochs += running.engine.status().epoch;
                tally.restarts += 1;
                if *crash && !script.setup.sled {
                    tally.crashes += 1;
                    disk = disk.crash();
                }
                running.database.stop().await.map_err(plain)?;
                drop(running);
                running = open(&script.setup, &disk, &topics).await.map_err(plain)?;
            }
        }
    }
    tally.epochs += running.engine.status().epoch;
    running.database.stop().await.map_err(plain)?;
    Ok(tally)
}

async fn compare_all(
    running: &mut Running,
    tables: &Tables,
    script: &Script,
    alive: &[String],
    tally: &mut Tally,
) -> Result<(), Failure> {
    let mut failing = BTreeSet::new();
    let traits = traits(tables, script).await;
    for view in alive {
        tally.comparisons += 1;
        let met: Vec<Traits> = script.ancestors(view).iter().filter_map(|name| traits.get(name).copied()).collect();
        tally.coverage.compared(&script.reference(view), &met);
        let columns: Vec<String> = script.views[view].cols.iter().map(|col| col.name.clone()).collect();
        let maintained = live(running, &format!("SELECT {} FROM {view}", columns.join(", "))).await;
        let reference = running.run(&script.reference(view)).await;
        let excused = script.ancestors(view).iter().any(|name| failing.contains(name));
        let lazy = script.ancestors(view).iter().any(|name| script.is_lazy(name));
        let of_data = |error: &Error| lazy && error.state().code().starts_with("22");
        let foreign = tables.rows(&script.reference(view)).await;
        let against_postgres = against_postgres(script, view, &reference, &foreign);
        tally.postgres += usize::from(reference.is_ok() && foreign.is_ok());
        let difference = match (&maintained, &reference) {
            (Ok(maintained), Ok(reference)) => difference(script, view, maintained, reference),
            (Err(ours), Err(theirs)) => {
                failing.insert(view.clone());
                tally.failing += 1;
                let alike = ours.state() == theirs.state() || excused || of_data(ours);
                (!alike).then(|| format!("the view fails: {}\nthe query fails: {}", describe(ours), describe(theirs)))
            }
            (Err(error), Ok(_)) => {
                // A view below may fail in a row or column that this query does not need.
                failing.insert(view.clone());
                (!excused && !of_data(error))
                    .then(|| format!("the view fails: {}; the query does not", describe(error)))
            }
            (Ok(_), Err(error)) if of_data(error) => None,
            (Ok(_), Err(error)) => Some(format!("the query fails: {}; the view does not", describe(error))),
        };
        if let Some(difference) = difference.or(against_postgres) {
            let text = format!("{difference}\n{}", explain(script, view));
            return Err(Failure { view: Some(view.clone()), text });
        }
    }
    Ok(())
}

/// What the rows of each source and table are like.
async fn traits(tables: &Tables, script: &Script) -> BTreeMap<String, Traits> {
    let mut traits = BTreeMap::new();
    for source in &script.sources {
        let row = tables.rows(&traits_of(&source.name)).await.expect("PostgreSQL knows its tables").remove(0);
        traits.insert(source.name.clone(), std::array::from_fn(|place| row[place].as_deref() == Some("t")));
    }
    traits
}

/// Our query against PostgreSQL's. Which of several rows fails first, and whether one that is not
/// needed fails at all, is not fixed by PostgreSQL: only failures of other kinds than of data are
/// told.
fn against_postgres(script: &Script, view: &str, ours: &Result<Rows>, theirs: &Result<Rows, String>) -> Option<String> {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            difference(script, view, ours, theirs).map(|text| format!("our query (above) is not PostgreSQL's: {text}"))
        }
        (Err(error), _) if error.state().code().starts_with("22") => None,
        (Err(error), _) => Some(format!("the query fails: {}; PostgreSQL's: {theirs:?}", describe(error))),
        (Ok(_), Err(error)) if error.starts_with("22") => None,
        (Ok(_), Err(error)) => Some(format!("PostgreSQL refuses the query: {error}")),
    }
}

/// Reads a view; after a restart it may be in the making for a moment.
async fn live(running: &mut Running, sql: &str) -> Result<Rows> {
    let start = Instant::now();
    loop {
        match running.run(sql).await {
            Err(error) if error.state().code() == "55000" && start.elapsed() < PATIENCE => {
                let epoch = running.engine.status().epoch;
                let next = running.engine.published_after(epoch);
                let _ = tokio::time::timeout(Duration::from_millis(50), next).await;
            }
            other => return other,
        }
    }
}

fn describe(error: &Error) -> String {
    let detail = error.detail_text().map(|detail| format!("; {detail}")).unwrap_or_default();
    format!("{} {}{detail}", error.state().code(), error.message())
}

fn explain(script: &Script, view: &str) -> String {
    let mut text = String::new();
    for name in script.ancestors(view) {
        if script.views.contains_key(&name) {
            text.push_str(&format!("  CREATE MATERIALIZED VIEW {name} AS {};\n", script.definition(&name)));
        }
    }
    text
}

/// One text for values that PostgreSQL holds equal and prints differently: which of them a group
/// or a minimum shows depends on the order of rows.
fn canonical(text: &str, kind: Kind) -> String {
    match kind {
        Kind::Float8 if text == "-0" => "0".into(),
        Kind::Numeric if text.contains('.') => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        _ => text.to_string(),
    }
}

/// A row's exact columns as text, and its inexact ones.
type Keyed = (Vec<Option<String>>, Vec<Option<f64>>);

fn difference(script: &Script, view: &str, maintained: &Rows, reference: &Rows) -> Option<String> {
    let cols = &script.views[view].cols;
    // Exact columns as text decide the order; inexact floats of equal rows are compared as numbers.
    let sorted = |rows: &Rows| {
        let mut keyed: Vec<Keyed> = rows
            .iter()
            .map(|row| {
                let exact = row.iter().zip(cols).filter(|(_, col)| col.exact);
                let exact = exact.map(|(text, col)| text.as_ref().map(|text| canonical(text, col.kind))).collect();
                let inexact = row.iter().zip(cols).filter(|(_, col)| !col.exact);
                (exact, inexact.map(|(text, _)| text.as_ref().and_then(|text| text.parse().ok())).collect())
            })
            .collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.partial_cmp(&b.1).unwrap_or(std::cmp::Ordering::Equal)));
        keyed
    };
    let (ours, theirs) = (sorted(maintained), sorted(reference));
    let near = |a: &Option<f64>, b: &Option<f64>| match (a, b) {
        (Some(a), Some(b)) => a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        (None, None) => true,
        _ => false,
    };
    let same = ours.len() == theirs.len()
        && ours.iter().zip(&theirs).all(|(a, b)| a.0 == b.0 && a.1.iter().zip(&b.1).all(|(a, b)| near(a, b)));
    if same {
        return None;
    }
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    ours.iter().for_each(|row| *counts.entry(format!("{row:?}")).or_insert(0) += 1);
    theirs.iter().for_each(|row| *counts.entry(format!("{row:?}")).or_insert(0) -= 1);
    let lines = counts.iter().filter(|(_, count)| **count != 0);
    let lines: Vec<String> = lines.map(|(row, count)| format!("  {count:+} {row}")).take(12).collect();
    Some(format!(
        "the view has {} rows, the query {} (+ only in the view, - only in the query):\n{}",
        ours.len(),
        theirs.len(),
        lines.join("\n")
    ))
}
