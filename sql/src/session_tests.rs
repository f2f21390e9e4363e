//! Sessions over the real engine in memory: DDL, blocks, settings, SHOW, and a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use thalweg_dataflow::engine::{Engine, EngineOptions};
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::scan::Scan;
use thalweg_dataflow::source::{
    BadLines, Connectors, FileDefinition, Offsets, ReadRequest, Reader, Source, SourceDefinition, SourceItem,
    SourceOutput,
};
use thalweg_dataflow::storage::Storage;

use crate::batch::BatchOptions;
use crate::database::{Database, DatabaseOptions};
use crate::session::{Outcome, Session, Startup};
use crate::statement::resolve::schema_of;

/// A source without records.
#[derive(Debug)]
struct Silent(SchemaRef);

struct Nothing;

impl Reader for Nothing {}

impl Source for Silent {
    fn schema(&self) -> SchemaRef {
        self.0.clone()
    }

    fn start(&self) -> Result<Offsets> {
        Ok(Offsets::from([(0, 7)]))
    }

    fn end(&self) -> Result<Offsets> {
        Ok(Offsets::from([(0, 7)]))
    }

    fn read(&self, request: ReadRequest, output: Arc<dyn SourceOutput>) -> Result<Box<dyn Reader>> {
        if request.until.is_some() {
            let _ = output.push(SourceItem::Finished);
        }
        Ok(Box::new(Nothing))
    }

    fn progress(&self, _offsets: &Offsets) {}

    fn describe(&self) -> String {
        "silence".into()
    }
}

struct Silence;

impl Connectors for Silence {
    fn create_source(&self, definition: &SourceDefinition) -> Result<Arc<dyn Source>> {
        if definition.options.get("connector").is_none_or(|connector| connector != "silence") {
            return Err(Error::new(SqlState::InvalidParameter, "unknown connector"));
        }
        self.open_source(definition)
    }

    fn open_source(&self, definition: &SourceDefinition) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Silent(schema_of(&definition.columns))))
    }

    fn open_files(&self, _definition: &FileDefinition, _skipped: Arc<dyn BadLines>) -> Result<Arc<dyn Scan>> {
        Err(Error::new(SqlState::UndefinedFile, "no such file"))
    }

    fn redact(&self, options: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let hide = |(name, value): (&String, &String)| {
            (name.clone(), if name.contains("password") { "***".into() } else { value.clone() })
        };
        options.iter().map(hide).collect()
    }
}

async fn open(storage: &Storage) -> Database {
    let options = EngineOptions {
        workers: 1,
        checkpoint_interval: Duration::from_millis(50),
        epoch_max_rows: 1000,
        source_queue_rows: 1000,
        source_batch_rows: 1000,
        source_errors_max_rows: 10,
    };
    let engine = Engine::open(options, storage.clone()).unwrap();
    let batch = BatchOptions { workers: 1, memory: 64 << 20, spill: std::env::temp_dir() };
    Database::open(engine, Arc::new(Silence), DatabaseOptions { batch, file_errors_max_rows: 10, settings: Vec::new() })
        .await
        .unwrap()
}

fn session(database: &Database) -> Session {
    database.session(Startup {
        user: "ann".into(),
        database: "thalweg".into(),
        parameters: Vec::new(),
        role: None,
        client: None,
    })
}

/// What a client sees: rows by `|`, the tag, or the error.
async fn say(session: &mut Session, sql: &str) -> String {
    match run(session, sql).await {
        Ok(text) => text,
        Err(error) => format!("{} {}", error.state().code(), error.message()),
    }
}

async fn run(session: &mut Session, sql: &str) -> Result<String> {
    let mut last = String::new();
    for statement in session.parse(sql)? {
        let prepared = session.prepare(statement, &[]).await?;
        last = match session.execute(&prepared, Vec::new()).await? {
            Outcome::Done(tag) => tag,
            Outcome::Empty => String::new(),
            Outcome::Copy(_) | Outcome::CopyOut(_) => "COPY".into(),
            Outcome::Rows { rows, tag, .. } => {
                let mut lines = Vec::new();
                let batches: Vec<_> = rows.try_collect().await?;
                for batch in &batches {
                    for row in 0..batch.num_rows() {
                        let fields = batch
                            .columns()
                            .iter()
                            .map(|column| arrow::util::display::array_value_to_string(column, row));
                        lines.push(fields.collect::<Result<Vec<_>, _>>()?.join("|"));
                    }
                }
                let tag = tag.complete(lines.len() as u64);
                lines.push(tag);
                lines.join("\n")
            }
        };
    }
    Ok(last)
}

const CREATE: &str =
    "CREATE SOURCE s (a bigint NOT NULL, \"B c\" numeric(10,2)) WITH (connector='silence', password='x''y')";

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_made_shown_and_dropped() {
    let database = open(&Storage::memory()).await;
    let mut session = session(&database);
    assert_eq!(say(&mut session, "create source s (a int) with (connector='nosuch')").await, "22023 unknown connector");
    assert_eq!(say(&mut session, CREATE).await, "CREATE SOURCE");
    assert_eq!(say(&mut session, CREATE).await, "42P07 relation \"s\" already exists");
    assert_eq!(say(&mut session, "create source if not exists s with (connector='silence')").await, "CREATE SOURCE");
    let shown = "s|CREATE SOURCE s (\n  a bigint NOT NULL,\n  \"B c\" numeric(10,2)\n)\nWITH (connector = 'silence', password = '***')\nSHOW";
    assert_eq!(say(&mut session, "show create source s").await, shown);
    assert_eq!(say(&mut session, "drop table s").await, "42809 \"s\" is not a table");
    assert_eq!(say(&mut session, "drop source t").await, "42P01 source \"t\" does not exist");
    assert_eq!(say(&mut session, "drop source if exists t, s").await, "DROP SOURCE");
    assert_eq!(say(&mut session, "show sources").await, "SHOW");
    database.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_the_catalog_again() {
    let storage = Storage::memory();
    let database = open(&storage).await;
    assert_eq!(say(&mut session(&database), CREATE).await, "CREATE SOURCE");
    database.stop().await.unwrap();
    drop(database);
    let database = open(&storage).await;
    let mut session = session(&database);
    assert_eq!(say(&mut session, "show sources").await, "s|silence|idle\nSHOW");
    assert_eq!(say(&mut session, "create source other with (connector='silence')").await, "CREATE SOURCE");
    let oids: Vec<u32> = database.names().keys().map(|id| id.0).collect();
    assert_eq!(oids, [16384, 16385]);
    database.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_block_takes_nothing_but_its_end() {
    let database = open(&Storage::memory()).await;
    let mut session = session(&database);
    assert_eq!(say(&mut session, "begin; set application_name = 'x'").await, "SET");
    assert_eq!(say(&mut session, "discard all").await, "25001 DISCARD ALL cannot run inside a transaction block");
    let refused = "25P02 current transaction is aborted, commands ignored until end of transaction block";
    assert_eq!(say(&mut session, "show application_name").await, refused);
    assert_eq!(say(&mut session, "commit").await, "ROLLBACK");
    assert_eq!(say(&mut session, "show application_name").await, "\nSHOW");
    assert_eq!(say(&mut session, "begin").await, "BEGIN");
    assert_eq!(say(&mut session, "selct").await, "42601 syntax error at or near \"selct\"");
    assert_eq!(say(&mut session, "select 1").await, refused);
    assert_eq!(say(&mut session, "rollback").await, "ROLLBACK");
    let mut notices = session.take_notices().unwrap();
    assert_eq!(say(&mut session, "commit").await, "COMMIT");
    assert_eq!(notices.recv().await.unwrap().fields.message(), "there is no transaction in progress");
    database.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_reported_when_they_change() {
    let database = open(&Storage::memory()).await;
    let mut session = session(&database);
    let first = session.parameter_changes();
    assert!(first.contains(&("TimeZone", "UTC".into())) && first.contains(&("integer_datetimes", "on".into())));
    assert_eq!(session.parameter_changes(), []);
    assert_eq!(say(&mut session, "set time zone 'asia/tokyo'").await, "SET");
    assert_eq!(session.parameter_changes(), [("TimeZone", "Asia/Tokyo".to_string())]);
    assert_eq!(say(&mut session, "show timezone").await, "Asia/Tokyo\nSHOW");
    assert_eq!(say(&mut session, "show nosuch").await, "42704 unrecognized configuration parameter \"nosuch\"");
    database.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_is_asked_like_postgresql_s() {
    let database = open(&Storage::memory()).await;
    let mut session = session(&database);
    assert_eq!(say(&mut session, CREATE).await, "CREATE SOURCE");
    let sql = "select relname, relkind, pg_get_userbyid(relowner) from pg_class where relname = 's'";
    assert_eq!(say(&mut session, sql).await, "s|r|thalweg\nSELECT 1");
    database.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statements_of_a_request_read_one_snapshot_and_ddl_in_between_is_seen() {
    let database = open(&Storage::memory()).await;
    let mut session = session(&database);
    session.begin_request(false);
    let first = say(&mut session, "select now()").await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(say(&mut session, "select now()").await, first);
    let pinned = session.view().snapshot;
    assert!(Arc::ptr_eq(&session.view().snapshot, &pinned));
    assert_eq!(say(&mut session, "begin; select now(); ").await, first, "the block goes on with it");
    assert!(Arc::ptr_eq(&session.view().snapshot, &pinned));
    assert_eq!(say(&mut session, "commit").await, "COMMIT");
    assert!(!Arc::ptr_eq(&session.view().snapshot, &pinned));
    assert_eq!(say(&mut session, CREATE).await, "CREATE SOURCE");
    assert_eq!(say(&mut session, "select count(*) from s").await, "0\nSELECT 1");
    session.end_request();
    assert_ne!(say(&mut session, "select now()").await, first);
    database.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_the_server_join_users_relations() {
    let database = open(&Storage::memory()).await;
    let mut session = session(&database);
    assert_eq!(say(&mut session, CREATE).await, "CREATE SOURCE");
    assert_eq!(
        say(&mut session, "create materialized view v as select count(*) as n from s").await,
        "CREATE MATERIALIZED VIEW"
    );
    let sql = "select v.n, t.name from v join thalweg.sources t on t.rows = v.n";
    assert_eq!(say(&mut session, sql).await, "0|s\nSELECT 1");
    let sql = "select name, (select n from v) from thalweg.materialized_views where name in (select 'v' from s right join v on true)";
    assert_eq!(say(&mut session, sql).await, "v|0\nSELECT 1");
    database.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_asked_for_holds_what_was_there() {
    let database = open(&Storage::memory()).await;
    let mut session = session(&database);
    for value in 1..4 {
        say(&mut session, "create table if not exists t (a int)").await;
        say(&mut session, &format!("insert into t values ({value})")).await;
        let before = database.0.engine.status().epoch;
        assert_eq!(say(&mut session, "checkpoint").await, "CHECKPOINT");
        assert!(database.0.engine.status().checkpoint >= before);
    }
    assert_eq!(say(&mut session, "checkpoint").await, "CHECKPOINT", "with nothing new");
    database.stop().await.unwrap();
}
