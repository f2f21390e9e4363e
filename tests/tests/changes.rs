//! Statements that change tables give what PostgreSQL gives: rows, counts, and errors with their
//! details, one after the other in one session of each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thalweg_tests::client::{await_value, value};
use thalweg_tests::postgres::{Postgres, psql};
use thalweg_tests::server::{Options, Server};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// The statements of a file, a line each.
fn statements(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(file);
    let text = std::fs::read_to_string(path).expect("the statements");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.map(str::to_string).collect()
}

/// What a client hears, as text. Rows without an order are sorted.
async fn answer(client: &Client, sql: &str) -> String {
    let mut out = String::new();
    let mut rows = Vec::new();
    match client.simple_query(sql).await {
        Ok(messages) => {
            for message in messages {
                match message {
                    SimpleQueryMessage::RowDescription(columns) => {
                        let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
                        out.push_str(&format!("[{}]\n", names.join(", ")));
                    }
                    SimpleQueryMessage::Row(row) => {
                        let values = (0..row.len()).map(|place| row.get(place).unwrap_or("NULL"));
                        rows.push(values.collect::<Vec<_>>().join(" | "));
                    }
                    SimpleQueryMessage::CommandComplete(count) => {
                        if !sql.to_ascii_uppercase().contains("ORDER BY") {
                            rows.sort();
                        }
                        rows.drain(..).for_each(|row| out.push_str(&format!("{row}\n")));
                        out.push_str(&format!("{count} rows\n"));
                    }
                    _ => {}
                }
            }
        }
        Err(error) => match error.as_db_error() {
            Some(fields) => {
                out.push_str(&format!("{} {}\n", fields.code().code(), fields.message()));
                if let Some(detail) = fields.detail() {
                    out.push_str(&format!("DETAIL: {detail}\n"));
                }
                // Ours suggests near names oftener.
                if !fields.code().code().starts_with("42703")
                    && fields.code().code() != "42P01"
                    && let Some(hint) = fields.hint()
                {
                    out.push_str(&format!("HINT: {hint}\n"));
                }
            }
            None => out.push_str(&format!("{error}\n")),
        },
    }
    out
}

/// What psql describes.
const DESCRIBED: &str = "CREATE TABLE plain (a int, b text NOT NULL, c numeric(10,2), d timestamptz);
CREATE TABLE described (id bigint PRIMARY KEY, name varchar(20) NOT NULL DEFAULT 'nobody', n int DEFAULT 7,
  on_day date DEFAULT '2020-02-02', \"Odd\" text UNIQUE, CHECK (n > 0), CONSTRAINT pair UNIQUE (name, n));
CREATE INDEX by_day ON described (on_day DESC, \"Odd\");
CREATE UNIQUE INDEX ON described (n, id);
CREATE VIEW shown (id, \"Day\", total) AS SELECT id, on_day, sum(n) OVER () FROM described;";

#[test]
fn psql_describes_tables_as_over_postgresql() {
    let postgres = Postgres::start();
    // Who makes the tables there and here has one name.
    let args = ["--superuser", "tester"].map(str::to_string).to_vec();
    let server = Server::start(Options { args, ..Options::default() });
    let ours =
        |sql: &str| String::from_utf8_lossy(&psql("127.0.0.1", server.port(), "thalweg", sql).stdout).into_owned();
    let theirs = |sql: &str| String::from_utf8_lossy(&postgres.psql(sql).stdout).into_owned();
    assert_eq!(ours(DESCRIBED), theirs(DESCRIBED));
    for sql in [
        "\\d plain\n",
        "\\d described\n",
        "\\d shown\n",
        "\\dv\n",
        "\\di\n",
        "SELECT schemaname, viewname FROM pg_views WHERE schemaname = 'public';",
        "SELECT table_name, check_option FROM information_schema.views WHERE table_schema = 'public';",
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1;",
        "SELECT table_name, column_name, column_default, is_nullable, data_type FROM information_schema.columns \
         WHERE table_schema = 'public' ORDER BY table_name, ordinal_position;",
        "SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'described'::regclass \
         AND contype <> 'c' ORDER BY 1;",
        "SELECT constraint_name, column_name, ordinal_position FROM information_schema.key_column_usage \
         WHERE table_schema = 'public' ORDER BY 1, 3;",
    ] {
        assert_eq!(ours(sql), theirs(sql), "{sql}");
    }
}

/// Runs a file here and on PostgreSQL, whose materialized views, that show nothing until they are
/// refreshed, are views.
async fn same_answers(file: &str) {
    let postgres = Postgres::start();
    let config = format!("host={} port=5432 user=tester dbname=postgres", postgres.socket().display());
    let theirs = || async {
        let connected = tokio_postgres::connect(&config, NoTls).await;
        let (client, connection) = connected.expect("PostgreSQL takes connections");
        tokio::spawn(connection);
        client.batch_execute("SET TimeZone = 'UTC'").await.expect("a setting");
        client
    };
    let mut their_client = theirs().await;
    let mut server = Server::start(Options::default());
    let mut ours = server.connect().await;
    let statements = statements(file);
    let mut different = Vec::new();
    for sql in &statements {
        if sql == "RESTART" || sql == "RECONNECT" {
            if sql == "RESTART" {
                server.restart();
            } else {
                their_client = theirs().await;
            }
            ours = server.connect().await;
            continue;
        }
        let plain = sql.replacen("MATERIALIZED VIEW", "VIEW", 1);
        let (wanted, got) = (answer(&their_client, &plain).await, answer(&ours, sql).await);
        if wanted != got.replace("materialized view", "view") {
            different.push(format!("{sql}\n--- PostgreSQL\n{wanted}--- thalweg\n{got}"));
        }
    }
    println!("{} statements", statements.len());
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), statements.len(), different.join("\n"));
}

/// Waits until a session waits for a lock. Panics after a minute.
async fn await_waiting(watcher: &Client, pid: &str) {
    let sql = format!("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = {pid}");
    await_value(watcher, &sql, "1", Duration::from_secs(60)).await;
}

/// What the sessions of a script of several hear (`locks.sql` says how it is written).
async fn sessions_hear(script: &str, connect: impl AsyncFn() -> Client) -> Vec<String> {
    let watcher = connect().await;
    let mut clients: BTreeMap<&str, (Arc<Client>, String)> = BTreeMap::new();
    let mut waiting: BTreeMap<&str, JoinHandle<String>> = BTreeMap::new();
    let mut heard = Vec::new();
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with("--")) {
        let (who, rest) = line.split_at(1);
        if rest == " RECONNECT" {
            clients.remove(who);
            continue;
        }
        if !clients.contains_key(who) {
            let client = connect().await;
            let pid = value(&client, "SELECT pg_backend_pid()").await;
            clients.insert(who, (Arc::new(client), pid));
        }
        let (client, pid) = &clients[who];
        let said = match rest.split_at(1) {
            ("=", _) => waiting.remove(who).expect("it waits").await.expect("an answer"),
            ("&", sql) => {
                let (client, sql) = (client.clone(), sql.trim().to_string());
                waiting.insert(who, tokio::spawn(async move { answer(&client, &sql).await }));
                await_waiting(&watcher, pid).await;
                continue;
            }
            (_, sql) => answer(client, sql.trim()).await,
        };
        // PostgreSQL's tag of this has the number of rows.
        if line.contains("CREATE MATERIALIZED VIEW") {
            continue;
        }
        // The numbers of processes are not the same, and our log has no statements.
        let said = said.replace("HINT: See server log for query details.\n", "");
        let words: Vec<&str> = said.split_whitespace().collect();
        let number = |place: usize| place > 0 && matches!(words[place - 1], "Process" | "process");
        let words = words.iter().enumerate().map(|(place, word)| if number(place) { "N" } else { word });
        heard.push(format!("{line}\n{}", words.collect::<Vec<_>>().join(" ")));
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_wait_for_locks_as_in_postgresql() {
    let postgres = Postgres::start();
    let config = format!("host={} port=5432 user=tester dbname=postgres", postgres.socket().display());
    let theirs = async || {
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.expect("PostgreSQL takes connections");
        tokio::spawn(connection);
        client
    };
    let server = Server::start(Options::default());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/locks.sql");
    let script = std::fs::read_to_string(path).expect("the script");
    let wanted = sessions_hear(&script, theirs).await;
    let got = sessions_hear(&script, async || server.connect().await).await;
    let different: Vec<String> = wanted
        .iter()
        .zip(&got)
        .filter(|(wanted, got)| wanted != got)
        .map(|(wanted, got)| format!("--- PostgreSQL\n{wanted}--- thalweg\n{got}"))
        .collect();
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), wanted.len(), different.join("\n"));
    assert_eq!(wanted.len(), got.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_give_what_postgresql_gives() {
    same_answers("changes.sql").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_altered_under_views_as_in_postgresql() {
    same_answers("altered.sql").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_are_as_in_postgresql() {
    same_answers("schemas.sql").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_are_as_in_postgresql() {
    same_answers("sequences.sql").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn temporary_tables_are_as_in_postgresql() {
    same_answers("temporary.sql").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_and_constraints_are_altered_as_in_postgresql() {
    same_answers("alter_column.sql").await;
}
