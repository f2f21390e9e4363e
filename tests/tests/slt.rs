//! The files of `tests/slt`, each run three ways: on a real PostgreSQL, as queries here, and with every
//! query as a materialized view here, made where it first stands and kept up from there on.
//!
//! Promises: what the files hold is what PostgreSQL answers; names and types of columns, the details
//! of errors and what they are about are held against PostgreSQL's too. `THALWEG_SLT_RECORD=1` writes PostgreSQL's answers into the files,
//! `THALWEG_SLT_ONLY=name` runs one of them.

#![expect(clippy::unwrap_used, reason = "a test and its helpers stop where they cannot go on")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sqllogictest::{DB, DBOutput, DefaultColumnType, Normalizer, Record, Runner, default_validator, parse_file};
use thalweg_tests::postgres::{Postgres, psql};
use thalweg_tests::server::{Options, Server};
use thalweg_tests::views;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// The name and type of each column of each query, or its error's detail; of other statements that
/// fail what the error is about.
type Shapes = Arc<Mutex<BTreeMap<String, String>>>;

/// Views made so far, by all files.
static VIEWS: AtomicUsize = AtomicUsize::new(0);

/// A session that a file is run in.
struct Session {
    runtime: Arc<Runtime>,
    client: Client,
    /// The views made so far, by their queries; `None`: queries are run as queries.
    views: Option<BTreeMap<String, String>>,
    shapes: Shapes,
}

/// An error: SQLSTATE and message.
#[derive(Debug)]
struct Failed {
    message: String,
    /// Schema, table, column and constraint.
    about: Option<String>,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Failed {
        let about = error
            .as_db_error()
            .map(|error| format!("{:?}", (error.schema(), error.table(), error.column(), error.constraint())));
        Failed { message: thalweg_tests::client::message(&error), about }
    }
}

/// Whether a view may stand for it.
fn is_query(sql: &str) -> bool {
    let word: String = sql.trim_start_matches('(').chars().take_while(char::is_ascii_alphabetic).collect();
    let changes =
        |sql: &str| ["INSERT INTO ", "UPDATE ", "DELETE FROM ", "MERGE INTO "].iter().any(|word| sql.contains(word));
    match word.to_ascii_uppercase().as_str() {
        "WITH" => !changes(&sql.to_ascii_uppercase()),
        word => ["SELECT", "VALUES", "TABLE"].contains(&word),
    }
}

/// A value on one line, with all its spaces.
fn shown(value: Option<&str>) -> String {
    match value {
        None => "NULL".into(),
        Some("") => "(empty)".into(),
        Some(text) => {
            let text = text.replace('\n', "\\n").replace('\t', "\\t").replace("  ", "␣␣");
            match text.trim() {
                inner if inner.len() < text.len() => text.replace(' ', "␣"),
                _ => text,
            }
        }
    }
}

/// Rows of values as text.
type TextRows = Vec<Vec<String>>;

impl Session {
    fn open(runtime: &Arc<Runtime>, url: &str, as_views: bool, shapes: &Shapes) -> Session {
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        });
        Session { runtime: runtime.clone(), client, views: as_views.then(BTreeMap::new), shapes: shapes.clone() }
    }

    /// The rows of a statement as text, if it has any columns, and how many rows it gave or changed.
    fn simple(&self, sql: &str) -> Result<(Option<TextRows>, u64), Failed> {
        let (mut rows, mut changed) = (None, 0);
        for message in self.runtime.block_on(self.client.simple_query(sql))? {
            match message {
                SimpleQueryMessage::RowDescription(_) => rows = Some(Vec::new()),
                SimpleQueryMessage::Row(row) => {
                    let row = (0..row.len()).map(|place| shown(row.get(place))).collect();
                    rows.get_or_insert_default().push(row);
                }
                SimpleQueryMessage::CommandComplete(count) => changed = count,
                _ => {}
            }
        }
        Ok((rows, changed))
    }

    /// The view of a query, made if it is not there.
    fn view_of(&mut self, sql: &str, columns: usize) -> Result<String, Failed> {
        let views = self.views.as_ref().unwrap();
        if let Some(view) = views.get(sql) {
            return Ok(view.clone());
        }
        let view = format!("slt_{}", VIEWS.fetch_add(1, Ordering::Relaxed));
        let names: Vec<String> = (1..=columns).map(|place| format!("c{place}")).collect();
        self.simple(&format!("CREATE MATERIALIZED VIEW {view} AS SELECT * FROM ({sql}) AS q({})", names.join(", ")))?;
        self.views.as_mut().unwrap().insert(sql.to_string(), view.clone());
        Ok(view)
    }

    /// Drops the views, so that tables may go.
    fn drop_views(&mut self) -> Result<(), Failed> {
        for view in self.views.iter_mut().flat_map(|views| std::mem::take(views).into_values()).collect::<Vec<_>>() {
            self.simple(&format!("DROP MATERIALIZED VIEW {view}"))?;
        }
        Ok(())
    }
}

impl DB for Session {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        if !is_query(sql) {
            let drops = ["DROP", "ALTER"].iter().any(|word| sql.starts_with(word));
            if drops {
                self.drop_views()?;
            }
            let done = self.simple(sql);
            if let (None, Err(Failed { about: Some(about), .. })) = (&self.views, &done) {
                self.shapes.lock().unwrap().insert(sql.to_string(), format!("fails: {about}"));
            }
            let (rows, changed) = done?;
            let Some(rows) = rows else { return Ok(DBOutput::StatementComplete(changed)) };
            let types = vec![DefaultColumnType::Text; rows.first().map_or(0, Vec::len)];
            return Ok(DBOutput::Rows { types, rows });
        }
        let prepared = self.runtime.block_on(self.client.prepare(sql));
        if let (None, Some(error)) = (&self.views, prepared.as_ref().err().and_then(tokio_postgres::Error::as_db_error))
        {
            self.shapes.lock().unwrap().insert(sql.to_string(), format!("fails: {:?}", error.detail()));
        }
        let prepared = prepared?;
        let shape: Vec<String> =
            prepared.columns().iter().map(|column| format!("{} {}", column.name(), column.type_())).collect();
        let types = prepared.columns().iter().map(|column| match column.type_().name() {
            "int2" | "int4" | "int8" => DefaultColumnType::Integer,
            "float4" | "float8" | "numeric" => DefaultColumnType::FloatingPoint,
            _ => DefaultColumnType::Text,
        });
        let types: Vec<DefaultColumnType> = types.collect();
        if self.views.is_some() {
            let view = self.view_of(sql, types.len())?;
            let (rows, _) = self.simple(&format!("SELECT * FROM {view}"))?;
            return Ok(DBOutput::Rows { types, rows: rows.unwrap_or_default() });
        }
        self.shapes.lock().unwrap().insert(sql.to_string(), shape.join(", "));
        let (rows, _) = self.simple(sql)?;
        Ok(DBOutput::Rows { types, rows: rows.unwrap_or_default() })
    }

    fn shutdown(&mut self) {
        self.drop_views().unwrap();
    }
}

/// Equal whatever the order: a view has none.
fn as_bags(normalizer: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let mut actual: Vec<String> = actual.iter().map(|row| normalizer(&row.join(" "))).collect();
    let mut expected: Vec<String> = expected.iter().map(normalizer).collect();
    actual.sort_unstable();
    expected.sort_unstable();
    actual == expected
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt");
    let only = std::env::var("THALWEG_SLT_ONLY").ok();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| only.as_deref().is_none_or(|only| file.file_stem().is_some_and(|name| name == only)));
    files.sort();
    files
}

/// Runs a file in one session: what is wrong with it.
fn run(file: &Path, label: &str, session: impl Fn() -> Session) -> Vec<String> {
    let session = std::sync::Mutex::new(Some(session()));
    let mut runner = Runner::new(|| async { Ok(session.lock().unwrap().take().unwrap()) });
    runner.add_label(label);
    if label == "view" {
        runner.with_validator(as_bags);
    }
    let mut wrong = Vec::new();
    for record in parse_file::<DefaultColumnType>(file).unwrap() {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        if let Err(error) = runner.run(record) {
            wrong.push(format!("{label}: {error}"));
        }
    }
    runner.shutdown();
    wrong
}

/// The events of `tests/data/sample.csv` and the views over them, in PostgreSQL.
fn load_postgres(postgres: &Postgres) {
    let csv = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample.csv");
    let csv = std::fs::read_to_string(csv).unwrap();
    let mut load = format!("CREATE TABLE events ({});\nCOPY events FROM STDIN (FORMAT csv, HEADER);\n", views::COLUMNS);
    load.push_str(&format!("{csv}\\.\n"));
    for (view, sql) in views::VIEWS {
        load.push_str(&format!("CREATE MATERIALIZED VIEW {view} AS {sql};\n"));
    }
    let loaded = postgres.psql(&load);
    assert!(loaded.stderr.is_empty(), "PostgreSQL: {}", String::from_utf8_lossy(&loaded.stderr));
}

/// The same here.
fn load_ours(server: &Server) {
    let mut load = "CREATE SOURCE events WITH (connector='generator', dataset='ecommerce', rate='max', seed='1', \
                    rows='5000');\n"
        .to_string();
    for (view, sql) in views::VIEWS {
        load.push_str(&format!("CREATE MATERIALIZED VIEW {view} AS {sql};\n"));
    }
    let loaded = psql("127.0.0.1", server.port(), "thalweg", &load);
    let errors = String::from_utf8_lossy(&loaded.stderr);
    assert!(!errors.contains("ERROR"), "thalweg: {errors}");
}

/// Writes PostgreSQL's answers into a file.
fn record(file: &Path, session: impl Fn() -> Session) {
    let session = std::sync::Mutex::new(Some(session()));
    let mut runner = Runner::new(|| async { Ok(session.lock().unwrap().take().unwrap()) });
    runner.add_label("postgresql");
    let normalizer = sqllogictest::default_normalizer;
    let updated =
        runner.update_test_file(file, " ", default_validator, normalizer, sqllogictest::strict_column_validator);
    futures::executor::block_on(updated).unwrap();
}

#[test]
fn every_construct_is_postgresqls_as_a_query_and_as_a_view() {
    let runtime = Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
    let postgres = Postgres::start();
    load_postgres(&postgres);
    let theirs = format!("host={} user=tester dbname=postgres options='-c timezone=UTC'", postgres.socket().display());
    let (their_shapes, our_shapes) = (Shapes::default(), Shapes::default());
    if std::env::var_os("THALWEG_SLT_RECORD").is_some() {
        files().iter().for_each(|file| record(file, || Session::open(&runtime, &theirs, false, &their_shapes)));
    }
    let server = Server::start(Options::default());
    load_ours(&server);
    let ours = server.url();
    let mut wrong = Vec::new();
    for file in files() {
        wrong.extend(run(&file, "postgresql", || Session::open(&runtime, &theirs, false, &their_shapes)));
        wrong.extend(run(&file, "query", || Session::open(&runtime, &ours, false, &our_shapes)));
        wrong.extend(run(&file, "view", || Session::open(&runtime, &ours, true, &our_shapes)));
    }
    let our_shapes = our_shapes.lock().unwrap();
    for (sql, shape) in their_shapes.lock().unwrap().iter() {
        // One may fail as it is prepared, the other as it runs: that it fails alike is in the file.
        let comparable = |other: &&String| other.starts_with("fails: ") == shape.starts_with("fails: ");
        if let Some(other) = our_shapes.get(sql).filter(|other| *other != shape).filter(comparable) {
            wrong.push(format!("columns: {sql}\n  PostgreSQL: {shape}\n  here: {other}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}
