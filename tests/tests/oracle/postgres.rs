//! The sources and tables in a real PostgreSQL: the same queries asked of an engine that shares no
//! line with ours.
//!
//! Promises: values come as text in UTC; the tables of the round before are gone.

use thalweg_tests::client::try_rows;
use thalweg_tests::postgres::Postgres;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::run::Rows;
use super::script::SourceSpec;
use super::source::Record;

/// A PostgreSQL and a session in it.
pub(crate) struct Tables {
    client: Client,
    /// Stops when dropped.
    _server: Postgres,
}

impl Tables {
    /// Starts one.
    pub(crate) async fn start() -> Tables {
        let server = Postgres::start();
        let url = format!("host={} user=tester dbname=postgres options='-c timezone=UTC'", server.socket().display());
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("PostgreSQL is there");
        tokio::spawn(connection);
        Tables { client, _server: server }
    }

    /// Makes the tables of a round, empty.
    pub(crate) async fn reset(&self, sources: &[SourceSpec]) {
        for source in sources {
            let columns: Vec<String> =
                source.columns.iter().map(|column| format!("{} {}", column.name, column.declared)).collect();
            let name = &source.name;
            let sql = format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({})", columns.join(", "));
            self.client.batch_execute(&sql).await.expect("PostgreSQL takes a source's columns");
        }
    }

    /// Appends the rows among some records.
    pub(crate) async fn append(&self, source: &str, records: &[Record]) {
        if let Some(sql) = insertion(source, records) {
            self.run(&sql).await;
        }
    }

    /// Runs statements that do not fail: how many rows they changed.
    pub(crate) async fn run(&self, sql: &str) -> i64 {
        let answer = self.client.simple_query(sql).await.unwrap_or_else(|error| panic!("PostgreSQL: {sql}: {error}"));
        let changed = answer.iter().map(|message| match message {
            SimpleQueryMessage::CommandComplete(count) => *count as i64,
            _ => 0,
        });
        changed.sum()
    }

    /// A query's rows, or its SQLSTATE.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Rows, String> {
        try_rows(&self.client, sql).await.map_err(|error| match error.as_db_error() {
            Some(error) => format!("{} {}", error.code().code(), error.message()),
            None => error.to_string(),
        })
    }
}

/// The INSERT of the rows among some records, if there are any.
pub(crate) fn insertion(table: &str, records: &[Record]) -> Option<String> {
    let literal = |value: &Option<String>| match value {
        Some(text) => format!("'{}'", text.replace('\'', "''")),
        None => "NULL".into(),
    };
    let rows: Vec<String> = records
        .iter()
        .filter_map(|record| match record {
            Record::Row(row) => Some(format!("({})", row.iter().map(literal).collect::<Vec<_>>().join(", "))),
            Record::Bad(_) | Record::Gap => None,
        })
        .collect();
    (!rows.is_empty()).then(|| format!("INSERT INTO {table} VALUES {}", rows.join(", ")))
}
