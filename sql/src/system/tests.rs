//! What psql 15 asks (captured with `psql -E` in psql15.sql) and what drivers ask, over a catalog
//! with one source and one view.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use thalweg_dataflow::Error;
use thalweg_dataflow::engine::{Engine, EngineOptions};
use thalweg_dataflow::source::{Column, SourceDefinition};
use thalweg_dataflow::storage::Storage;
use thalweg_dataflow::types::PgType;

use super::queries::{CatalogTables, asks_catalog};
use crate::batch::{Batch, BatchOptions};
use crate::catalog::{Object, ObjectData, PUBLIC, View, ViewBody};
use crate::database::Published;
use crate::parser;
use crate::planner::{Planner, Relation, Resolver, Settings, SystemFunction};
use crate::settings::SessionSettings;

fn column(name: &str, data_type: PgType) -> Column {
    Column { name: name.into(), data_type, not_null: false }
}

fn tables() -> CatalogTables {
    let mut published = Published::default();
    let source = published.catalog.allocate();
    let view = published.catalog.allocate();
    let columns = vec![column("event_time", PgType::Timestamptz), column("price", PgType::Numeric(Some((10, 2))))];
    let definition = SourceDefinition {
        name: "events".into(),
        columns: columns.clone(),
        includes: Vec::new(),
        options: BTreeMap::new(),
        format: None,
        start: BTreeMap::new(),
    };
    published.catalog.put(Object {
        oid: source,
        schema: PUBLIC.into(),
        name: "events".into(),
        columns,
        data: ObjectData::Source(definition),
    });
    let body = ViewBody {
        meaning: crate::catalog::Meaning::default(),
        relation: view,
        text: "SELECT count(*) AS n, 'x'::varchar(9) AS s FROM events".into(),
        settings: BTreeMap::new(),
        reads: vec![source],
        options: BTreeMap::new(),
    };
    let columns = vec![column("n", PgType::Int8), column("s", PgType::Varchar(Some(9)))];
    let data = ObjectData::View(View { body, replacement: None, indexes: Vec::new() });
    published.catalog.put(Object { oid: view, schema: PUBLIC.into(), name: "v".into(), columns, data });
    let options = EngineOptions {
        workers: 1,
        checkpoint_interval: Duration::from_secs(1),
        epoch_max_rows: 1,
        source_queue_rows: 1,
        source_batch_rows: 1,
        source_errors_max_rows: 1,
    };
    CatalogTables {
        published: Arc::new(published),
        role: crate::roles::SUPERUSER,
        path: vec![PUBLIC.into()],
        settings: SessionSettings::new("ann").all(),
        listed: Vec::new(),
        current: SessionSettings::new("ann"),
        asked: Default::default(),
        sessions: Arc::default(),
        pid: 0,
        locks: crate::locks::SessionLocks::new(&Arc::default(), 0, 0),
        notices: tokio::sync::mpsc::channel(1).0,
        engine: Engine::open(options, Storage::memory()).unwrap(),
        sequences: Default::default(),
        used: Default::default(),
        random: Default::default(),
        transactions: Arc::new(crate::session::own::Transactions::new()),
        transaction: Default::default(),
        thalweg: Vec::new(),
    }
}

/// What a test reads: the catalog alone.
struct Catalog(CatalogTables);

impl Resolver for Catalog {
    fn relation(&self, schema: Option<&str>, name: &str) -> Result<Option<Relation>, Error> {
        let made = match schema {
            None | Some("pg_catalog") => super::pg_catalog::table(&self.0, name),
            Some(_) => super::information::table(&self.0, name),
        };
        Ok(made.transpose()?.map(Relation::Virtual))
    }

    fn system_function(&self, name: &str) -> Option<SystemFunction> {
        super::functions::find(&self.0, name)
    }
}

/// The rows, fields by `|`, nulls empty; the names first.
async fn ask(sql: &str) -> Result<Vec<String>, String> {
    let said = |error: Error| format!("{} {}", error.message(), error.detail_text().unwrap_or_default());
    let query = parser::parse_query(sql).map_err(said)?;
    let tables = tables();
    assert!(asks_catalog(&query, &tables.published, &[PUBLIC.to_string()]), "{sql}");
    let bound = Planner.bind(&query, &Catalog(tables), &Settings::default(), &[]).map_err(said)?;
    let names: Vec<String> = bound.schema.fields().iter().map(|field| field.name().clone()).collect();
    let spill = tempfile::tempdir().map_err(|error| error.to_string())?;
    let options = BatchOptions { workers: 1, memory: 1 << 26, spill: spill.path().into() };
    // Its threads go with it, and with them what they run.
    let batch = Batch::new(options).map_err(said)?;
    let rows = batch.run(&bound, &[], None).await.map_err(said)?;
    let batches: Vec<_> = rows.try_collect().await.map_err(|error| error.to_string())?;
    let mut rows = vec![names.join("|")];
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let fields = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
            rows.push(fields.collect::<Vec<_>>().join("|"));
        }
    }
    Ok(rows)
}

#[tokio::test]
async fn every_query_of_psql_15_is_answered() {
    let mut failures = Vec::new();
    for query in include_str!("psql15.sql").split("\n-- ") {
        if let Err(error) = ask(&format!("-- {query}")).await {
            failures.push(format!("{query}\n   {error}"));
        }
    }
    assert!(failures.is_empty(), "{} queries fail:\n{}", failures.len(), failures.join("\n\n"));
}

#[tokio::test]
async fn d_lists_sources_and_views() {
    let sql = include_str!("psql15.sql").split("\n-- ").next().unwrap();
    let rows = ask(sql).await.unwrap();
    assert_eq!(rows, ["Schema|Name|Type|Owner", "public|events|table|thalweg", "public|v|materialized view|thalweg"]);
}

#[tokio::test]
async fn d_of_a_view_shows_its_columns_and_definition() {
    let columns = "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull
                   FROM pg_catalog.pg_attribute a WHERE a.attrelid = '16385' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    assert_eq!(
        ask(columns).await.unwrap(),
        ["attname|format_type|attnotnull", "n|bigint|false", "s|character varying(9)|false"]
    );
    let price = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'price'";
    assert_eq!(ask(price).await.unwrap(), ["format_type", "numeric(10,2)"]);
    let definition = "SELECT pg_catalog.pg_get_viewdef('16385'::pg_catalog.oid, true)";
    assert_eq!(
        ask(definition).await.unwrap(),
        ["pg_get_viewdef", " SELECT count(*) AS n, 'x'::varchar(9) AS s FROM events;"]
    );
    assert_eq!(ask("SELECT 'v'::regclass::oid AS oid").await.unwrap(), ["oid", "16385"]);
}

#[tokio::test]
async fn information_schema_shows_views_too() {
    let sql = "select table_name, table_type from information_schema.tables where table_schema = 'public' order by 1";
    assert_eq!(ask(sql).await.unwrap(), ["table_name|table_type", "events|BASE TABLE", "v|VIEW"]);
    let sql = "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns \
               WHERE quote_ident(table_name) = 'events' ORDER BY ordinal_position";
    assert_eq!(ask(sql).await.unwrap(), ["column|type", "event_time|timestamp with time zone", "price|numeric"]);
}

#[tokio::test]
async fn settings_and_matviews_are_there() {
    assert_eq!(
        ask("SELECT current_setting('server_version_num')::int/100 AS version").await.unwrap(),
        ["version", "1600"]
    );
    assert_eq!(
        ask("select matviewname, matviewowner from pg_matviews").await.unwrap(),
        ["matviewname|matviewowner", "v|thalweg"]
    );
    assert_eq!(ask("select datname from pg_database").await.unwrap(), ["datname", "thalweg"]);
    assert!(
        ask("select current_setting('nosuch')")
            .await
            .unwrap_err()
            .contains("unrecognized configuration parameter \"nosuch\"")
    );
}

#[tokio::test]
async fn a_correlated_subquery_in_the_select_list_has_a_value() {
    let sql = "SELECT relname, (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid) AS n,
                      ARRAY(SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid ORDER BY attname) = '{n,s}' AS named
               FROM pg_class c ORDER BY 1";
    assert_eq!(ask(sql).await.unwrap(), ["relname|n|named", "events|2|false", "v|2|true"]);
}

#[tokio::test]
async fn names_without_an_object_are_errors() {
    assert_eq!(
        ask("SELECT 'nosuch'::regclass").await.unwrap_err(),
        "External error: relation \"nosuch\" does not exist"
    );
    assert_eq!(ask("SELECT 'nosuch'::regtype").await.unwrap_err(), "External error: type \"nosuch\" does not exist");
    assert_eq!(ask("SELECT to_regclass('nosuch') IS NULL AS gone").await.unwrap(), ["gone", "true"]);
    assert_eq!(ask("SELECT 16385::oid::regclass AS c, 23::regtype AS t").await.unwrap(), ["c|t", "v|integer"]);
}

#[test]
fn users_queries_do_not_ask_the_catalog() {
    let tables = tables();
    for sql in [
        "select * from events",
        "select 1",
        "select version()",
        "select count(*) from thalweg.sources",
        "with pg as (select 1) select * from pg",
    ] {
        let query = parser::parse_query(sql).unwrap();
        assert!(!asks_catalog(&query, &tables.published, &[PUBLIC.to_string()]), "{sql}");
    }
}
