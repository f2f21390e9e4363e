//! What a client asks a server, as text: rows, one value, waiting for a view.
//!
//! Promises: values come as the server prints them (simple protocol). Panics where a test cannot
//! go on, with the statement.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// A row as text; null is `None`.
pub type Row = Vec<Option<String>>;

/// The rows of the last statement.
pub async fn try_rows(client: &Client, sql: &str) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|place| row.get(place).map(str::to_string)).collect());
            }
            SimpleQueryMessage::RowDescription(_) => rows.clear(),
            _ => {}
        }
    }
    Ok(rows)
}

/// The rows of a statement that works.
pub async fn rows(client: &Client, sql: &str) -> Vec<Row> {
    try_rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {}", message(&error)))
}

/// The rows in a fixed order, whatever order they came in.
pub async fn sorted(client: &Client, sql: &str) -> Vec<Row> {
    let mut rows = rows(client, sql).await;
    rows.sort();
    rows
}

/// The only value of a statement that works; null is empty.
pub async fn value(client: &Client, sql: &str) -> String {
    let rows = rows(client, sql).await;
    assert!(rows.len() == 1 && rows[0].len() == 1, "one value is expected of {sql}: {rows:?}");
    rows[0][0].clone().unwrap_or_default()
}

/// A whole number.
pub async fn number(client: &Client, sql: &str) -> i64 {
    let text = value(client, sql).await;
    text.parse().unwrap_or_else(|_| panic!("{sql} gives {text:?}, no number"))
}

/// Waits until a view can be read.
pub async fn await_view(client: &Client, view: &str, within: Duration) {
    let start = Instant::now();
    loop {
        match try_rows(client, &format!("SELECT count(*) FROM {view}")).await {
            Ok(_) => return,
            Err(error) if error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {
                assert!(start.elapsed() < within, "{view} is not there after {within:?}: {}", message(&error));
            }
            Err(error) => panic!("{view}: {}", message(&error)),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a statement gives this value.
pub async fn await_value(client: &Client, sql: &str, wanted: &str, within: Duration) {
    let start = Instant::now();
    loop {
        let now = value(client, sql).await;
        if now == wanted {
            return;
        }
        assert!(start.elapsed() < within, "{sql} is {now} after {within:?}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What an error says, SQLSTATE first.
pub fn message(error: &Error) -> String {
    match error.as_db_error() {
        Some(fields) => format!("{} {}", fields.code().code(), fields.message()),
        None => error.to_string(),
    }
}

/// The first difference of two lists of rows, for a message; `None` if they are equal.
pub fn difference(ours: &[Row], theirs: &[Row]) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let only = |these: &[Row], those: &[Row]| {
        let list = these.iter().filter(|row| !those.contains(row)).take(5).map(|row| format!("{row:?}"));
        list.collect::<Vec<_>>().join("\n  ")
    };
    Some(format!(
        "{} rows and {} rows\nonly in the first:\n  {}\nonly in the second:\n  {}",
        ours.len(),
        theirs.len(),
        only(ours, theirs),
        only(theirs, ours)
    ))
}
