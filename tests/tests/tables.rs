//! Tables under many clients, over COPY, and through `kill -9`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use thalweg_tests::client::{await_value, message, number, rows, sorted, value};
use thalweg_tests::server::{Options, Server};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

fn server() -> Server {
    let args = ["--checkpoint-interval", "100ms", "--workers", "2"].map(str::to_string).to_vec();
    Server::start(Options { args, ..Options::default() })
}

async fn copy(client: &Client, sql: &str, parts: &[&str]) -> Result<u64, tokio_postgres::Error> {
    let sink = client.copy_in::<_, Bytes>(sql).await?;
    tokio::pin!(sink);
    for part in parts {
        sink.as_mut().feed(Bytes::copy_from_slice(part.as_bytes())).await?;
    }
    sink.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_brings_all_lines_or_none() {
    let server = server();
    let client = server.connect().await;
    let create =
        "CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL, at timestamptz DEFAULT '2020-01-01 00:00:00+00')";
    client.batch_execute(create).await.expect("a table");
    client
        .batch_execute("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, max(name) AS last FROM t")
        .await
        .expect("a view");
    let done = copy(&client, "COPY t (id, name) FROM STDIN", &["1\tann\n2\tb", "\\tob\n", "3\t\\\\N\n"]).await;
    assert_eq!(done.expect("three lines"), 3);
    let csv = "COPY t FROM STDIN WITH (FORMAT csv, HEADER)";
    let done = copy(&client, csv, &["id,name,at\n4,\"a\nb\",\n", "5,\"\",2020-02-02 00:00:00\n"]).await;
    assert_eq!(done.expect("two lines"), 2);
    for (sql, data, wanted) in [
        ("COPY t (id, name) FROM STDIN", "6\tx\n7\n", "22P04 missing data for column \"name\""),
        ("COPY t (id, name) FROM STDIN", "6\tx\ty\n", "22P04 extra data after last expected column"),
        ("COPY t (id, name) FROM STDIN", "6\tx\nseven\ty\n", "22P02 invalid input syntax for type integer: \"seven\""),
        (
            "COPY t (id, name) FROM STDIN",
            "6\t\\N\n",
            "23502 null value in column \"name\" of relation \"t\" violates not-null constraint",
        ),
        (
            "COPY t (id, name) FROM STDIN",
            "6\tx\n5\ty\n",
            "23505 duplicate key value violates unique constraint \"t_pkey\"",
        ),
        ("COPY t (id, nosuch) FROM STDIN", "", "42703 column \"nosuch\" of relation \"t\" does not exist"),
        ("COPY nosuch FROM STDIN", "", "42P01 relation \"nosuch\" does not exist"),
        ("COPY v FROM STDIN", "", "42809 cannot change materialized view \"v\""),
    ] {
        // tokio-postgres loses count of its answers when a COPY is refused at once.
        let error = copy(&server.connect().await, sql, &[data]).await.expect_err(sql);
        assert_eq!(message(&error), wanted, "{sql} {data:?}");
    }
    let wanted = [["1", "ann"], ["2", "b\tob"], ["3", "\\N"], ["4", "a\nb"], ["5", ""]];
    let wanted: Vec<_> = wanted.map(|row| row.map(|field| Some(field.to_string())).to_vec()).to_vec();
    assert_eq!(sorted(&client, "SELECT id, name FROM t").await, wanted);
    assert_eq!(value(&client, "SELECT n FROM v").await, "5");
    assert_eq!(value(&client, "SELECT count(*) FROM t WHERE at IS NULL").await, "1");
    // In a block they go with it.
    client.batch_execute("BEGIN").await.expect("a block");
    copy(&client, "COPY t (id, name) FROM STDIN CSV", &["10,x\n11,y\n"]).await.expect("two lines");
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "7");
    client.batch_execute("ROLLBACK").await.expect("the block ends");
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "5");
    // A client that gives up half way.
    let sink = client.copy_in::<_, Bytes>("COPY t (id, name) FROM STDIN").await.expect("data is wanted");
    let mut sink = Box::pin(sink);
    sink.as_mut().feed(Bytes::from_static(b"12\tz\n")).await.expect("data");
    drop(sink);
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost_and_blocks_are_whole() {
    let server = server();
    let client = server.connect().await;
    let setup = "CREATE TABLE accounts (id int PRIMARY KEY, amount bigint NOT NULL CHECK (amount >= 0)); \
                 INSERT INTO accounts VALUES (1, 1000), (2, 1000), (3, 1000), (4, 1000); \
                 CREATE TABLE log (a int, b int)";
    client.batch_execute(setup).await.expect("tables");
    let view = "CREATE MATERIALIZED VIEW total AS SELECT sum(amount)::bigint AS amount, count(*) AS n FROM accounts";
    client.batch_execute(view).await.expect("a view");
    let moved = Arc::new(AtomicI64::new(0));
    let mut tasks = Vec::new();
    for seed in 0..8 {
        let (client, moved) = (server.connect().await, moved.clone());
        tasks.push(tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            for _ in 0..15 {
                let (from, to) = (random.random_range(1..5), random.random_range(1..5));
                if from == to {
                    // One statement outside a block never fails for the sake of others.
                    let sql = format!("UPDATE accounts SET amount = amount + 0 WHERE id = {from}");
                    client.batch_execute(&sql).await.expect("an update");
                    continue;
                }
                let sql = format!(
                    "BEGIN; UPDATE accounts SET amount = amount - 1 WHERE id = {from}; \
                     UPDATE accounts SET amount = amount + 1 WHERE id = {to}; INSERT INTO log VALUES ({from}, {to}); COMMIT"
                );
                match client.batch_execute(&sql).await {
                    Ok(()) => drop(moved.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => {
                        assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{}", message(&error));
                        client.batch_execute("ROLLBACK").await.expect("the block ends");
                    }
                }
                // Whatever others do, the sum of one snapshot is the same, in the view too.
                let both = rows(&client, "SELECT (SELECT sum(amount) FROM accounts), (SELECT amount FROM total)").await;
                assert_eq!(both[0], [Some("4000".to_string()), Some("4000".to_string())]);
            }
        }));
    }
    for task in tasks {
        task.await.expect("a client's work");
    }
    let moved = moved.load(Ordering::Relaxed);
    assert!(moved > 0, "some blocks were committed");
    assert_eq!(number(&client, "SELECT count(*) FROM log").await, moved);
    let net = "SELECT a.id, a.amount - 1000 + (SELECT count(*) FROM log WHERE log.a = a.id) \
               - (SELECT count(*) FROM log WHERE log.b = a.id) AS off FROM accounts a";
    for row in rows(&client, net).await {
        assert_eq!(row[1].as_deref(), Some("0"), "every committed block counts once");
    }
    println!("{moved} blocks committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_of_many_clients_add_up() {
    let server = server();
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE hits (page text PRIMARY KEY, n bigint)").await.expect("a table");
    let upsert = "INSERT INTO hits VALUES ('home', 1) ON CONFLICT (page) DO UPDATE SET n = hits.n + excluded.n";
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let client = server.connect().await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..10 {
                client.batch_execute(upsert).await.expect("an upsert");
            }
        }));
    }
    for task in tasks {
        task.await.expect("a client's work");
    }
    assert_eq!(value(&client, "SELECT n FROM hits").await, "80");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_rows_survive_kills_once() {
    let mut server = server();
    let client = server.connect().await;
    let setup = "CREATE TABLE t (id bigint PRIMARY KEY, kind text); CREATE TABLE other (n bigint)";
    client.batch_execute(setup).await.expect("tables");
    let view = "CREATE MATERIALIZED VIEW kinds AS SELECT kind, count(*) AS n, max(id) AS last FROM t GROUP BY kind";
    client.batch_execute(view).await.expect("a view");
    drop(client);
    let next = Arc::new(AtomicI64::new(0));
    let mut random = StdRng::seed_from_u64(17);
    let (mut acknowledged, mut deleted): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
    // What was under way when the server was killed may be there or not.
    let (mut open, mut open_deletes): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let mut tasks = Vec::new();
        for worker in 0..6 {
            let (url, next) = (server.url(), next.clone());
            tasks.push(tokio::spawn(insert_until_killed(url, next, worker)));
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(50..900))).await;
        server.kill9();
        for task in tasks {
            let done = task.await.expect("a client's work");
            acknowledged.extend(done.0);
            open.extend(done.1);
            deleted.extend(done.2);
            open_deletes.extend(done.3);
        }
        server.restart();
        let client = server.connect().await;
        let there: Vec<i64> = ids(&client).await;
        let mut unique = there.clone();
        unique.dedup();
        assert_eq!(unique, there, "no row is there twice");
        for id in &acknowledged {
            let gone = deleted.contains(id);
            let found = there.binary_search(id).is_ok();
            assert!(found || gone || open_deletes.contains(id), "row {id} was acknowledged and is not there");
            assert!(!(found && gone), "row {id} was deleted and is there");
        }
        for id in &there {
            assert!(acknowledged.contains(id) || open.contains(id), "row {id} was never inserted");
        }
        // Each row's block inserted into both tables.
        let pairs = "SELECT count(*) FROM t WHERE kind = 'both' AND id NOT IN (SELECT n FROM other)";
        assert_eq!(number(&client, pairs).await, 0, "blocks are whole");
        let maintained = sorted(&client, "SELECT * FROM kinds").await;
        let batch = sorted(&client, "SELECT kind, count(*) AS n, max(id) AS last FROM t GROUP BY kind").await;
        assert_eq!(maintained, batch);
    }
    assert!(acknowledged.len() > 100, "enough was inserted: {}", acknowledged.len());
    println!("{} rows acknowledged, {} deleted", acknowledged.len(), deleted.len());
}

async fn ids(client: &Client) -> Vec<i64> {
    let rows = client.query("SELECT id FROM t ORDER BY id", &[]).await.expect("the rows");
    rows.iter().map(|row| row.get(0)).collect()
}

/// What was acknowledged, what was under way, and the same of deletes.
type Done = (Vec<i64>, Vec<i64>, Vec<i64>, Vec<i64>);

async fn insert_until_killed(url: String, next: Arc<AtomicI64>, worker: usize) -> Done {
    let mut done = Done::default();
    let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await else { return done };
    tokio::spawn(connection);
    loop {
        let id = next.fetch_add(1, Ordering::Relaxed);
        let sql = match worker {
            0 => format!("BEGIN; INSERT INTO t VALUES ({id}, 'both'); INSERT INTO other VALUES ({id}); COMMIT"),
            _ => format!("INSERT INTO t VALUES ({id}, 'kind {}')", id % 5),
        };
        match client.simple_query(&sql).await {
            Ok(_) => done.0.push(id),
            Err(error) => {
                assert!(
                    error.as_db_error().is_none_or(|error| error.code().code().starts_with("57")),
                    "{}",
                    message(&error)
                );
                done.1.push(id);
                return done;
            }
        }
        if worker == 1 && id % 3 == 0 {
            match client.simple_query(&format!("DELETE FROM t WHERE id = {id}")).await {
                Ok(_) => done.2.push(id),
                Err(_) => {
                    done.3.push(id);
                    return done;
                }
            }
        }
    }
}

/// Acknowledged inserts a second, by hand: `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn inserts_per_second() {
    let server = Server::start(Options::default());
    let client = server.connect().await;
    client
        .batch_execute("CREATE TABLE t (id bigint PRIMARY KEY, name text, at timestamptz DEFAULT now())")
        .await
        .expect("a table");
    let next = Arc::new(AtomicI64::new(0));
    for clients in [1, 8, 32] {
        let (start, span) = (Instant::now(), Duration::from_secs(5));
        let before = next.load(Ordering::Relaxed);
        let mut tasks = Vec::new();
        for _ in 0..clients {
            let (client, next) = (server.connect().await, next.clone());
            tasks.push(tokio::spawn(async move {
                let insert = client.prepare("INSERT INTO t (id, name) VALUES ($1, $2)").await.expect("a statement");
                let mut slowest = Duration::ZERO;
                while start.elapsed() < span {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    let asked = Instant::now();
                    client.execute(&insert, &[&id, &"somebody"]).await.expect("an insert");
                    slowest = slowest.max(asked.elapsed());
                }
                slowest
            }));
        }
        let mut slowest = Duration::ZERO;
        for task in tasks {
            slowest = slowest.max(task.await.expect("a client's work"));
        }
        let done = next.load(Ordering::Relaxed) - before;
        let rate = done as f64 / start.elapsed().as_secs_f64();
        println!("{clients} clients: {rate:.0} inserts/s, slowest {slowest:.1?}");
    }
    assert_eq!(number(&client, "SELECT count(*) FROM t").await, next.load(Ordering::Relaxed));
}

/// Views that are not materialized, and unique indexes, before and after `kill -9`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_and_indexes_survive_kill9() {
    let mut server = server();
    let client = server.connect().await;
    let setup = "CREATE TABLE t (id int, name text, n int); INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 2), (3, 'b', 3); \
                 CREATE MATERIALIZED VIEW seen AS SELECT count(*) AS n FROM t; \
                 CREATE VIEW base AS SELECT *, n * 2 AS twice FROM t; \
                 CREATE VIEW per (name, total) AS SELECT name, sum(twice) FROM base GROUP BY name; \
                 CREATE MATERIALIZED VIEW kept AS SELECT p.name, p.total, s.n FROM per p, seen s; \
                 CREATE UNIQUE INDEX one ON t (id); CREATE INDEX other ON t (name DESC)";
    client.batch_execute(setup).await.expect("views and indexes");
    let error = client.batch_execute("CREATE OR REPLACE VIEW base AS SELECT *, n * 3 AS twice FROM t").await;
    let error = error.expect_err("a materialized view reads it");
    assert_eq!(message(&error), "2BP01 cannot replace view base because other objects depend on it");
    let error =
        client.batch_execute("CREATE VIEW round AS SELECT 1 AS a; CREATE OR REPLACE VIEW round AS SELECT a FROM round");
    assert_eq!(
        message(&error.await.expect_err("a circle")),
        "42P17 infinite recursion detected in rules for relation \"round\""
    );
    let error = client.batch_execute("DROP VIEW base").await.expect_err("views depend on it");
    assert_eq!(message(&error), "2BP01 cannot drop view base because other objects depend on it");
    let error = client.batch_execute("DELETE FROM base").await.expect_err("no changes through views");
    assert_eq!(message(&error), "0A000 changing rows through view \"base\" is not supported");
    for round in 0..3 {
        server.kill9();
        server.restart();
        let client = server.connect().await;
        let error = client.batch_execute("INSERT INTO t VALUES (1, 'twice', 0)").await.expect_err("the key is taken");
        assert_eq!(message(&error), "23505 duplicate key value violates unique constraint \"one\"");
        let sql = format!("INSERT INTO t VALUES ({}, 'c', 5); DELETE FROM t WHERE id = {}", 10 + round, 9 + round);
        client.batch_execute(&sql).await.expect("changes");
        let wanted = [["a", "6", "4"], ["b", "6", "4"], ["c", "10", "4"]];
        let wanted: Vec<_> = wanted.map(|row| row.map(|field| Some(field.to_string())).to_vec()).to_vec();
        assert_eq!(sorted(&client, "SELECT * FROM kept").await, wanted);
        let same = "SELECT name, total, (SELECT count(*) FROM base) FROM per";
        assert_eq!(sorted(&client, same).await, wanted);
    }
    let client = server.connect().await;
    let columns = rows(&client, "SHOW CREATE VIEW per").await;
    let wanted = "CREATE VIEW per (name, total) AS\nSELECT name, sum(twice) FROM base GROUP BY name";
    assert_eq!(columns[0][1].as_deref(), Some(wanted));
    let columns = rows(&client, "SHOW CREATE TABLE t").await;
    let wanted = "CREATE TABLE t (\n  id integer,\n  name text,\n  n integer\n);\nCREATE UNIQUE INDEX one ON t (id);\n\
                  CREATE INDEX other ON t (name DESC)";
    assert_eq!(columns[0][1].as_deref(), Some(wanted));
    // A view of the same rows twice as wide is the same node below.
    client.batch_execute("DROP VIEW per CASCADE").await.expect("the views go");
    let error = client.simple_query("SELECT * FROM kept").await.expect_err("it went too");
    assert_eq!(message(&error), "42P01 relation \"kept\" does not exist");
    client
        .batch_execute("CREATE OR REPLACE VIEW base AS SELECT id, name, n, n * 3 AS twice FROM t")
        .await
        .expect("free");
    assert_eq!(value(&client, "SELECT max(twice) FROM base").await, "15");
}

/// A transaction that is open at a `kill -9` never was: what it made is gone, what it dropped is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_of_an_open_transaction_is_taken_back() {
    let mut server = Server::start(Options::default());
    let client = server.connect().await;
    let before = "CREATE TABLE kept (k int PRIMARY KEY); INSERT INTO kept VALUES (1), (2);";
    client.batch_execute(before).await.expect("a table");
    client.batch_execute("CREATE MATERIALIZED VIEW kept_view AS SELECT count(*) n FROM kept").await.expect("a view");
    for ended in ["killed", "gone"] {
        let open = server.connect().await;
        open.batch_execute("BEGIN").await.expect("a block");
        open.batch_execute("DROP TABLE kept CASCADE").await.expect("dropped");
        open.batch_execute("CREATE TABLE kept (other text)").await.expect("made");
        open.batch_execute("INSERT INTO kept VALUES ('x')").await.expect("a row");
        open.batch_execute("CREATE MATERIALIZED VIEW made_view AS SELECT * FROM kept").await.expect("a view");
        assert_eq!(value(&open, "SELECT other FROM kept").await, "x");
        if ended == "killed" {
            server.kill9();
            server.restart();
        }
        drop(open);
        let client = server.connect().await;
        await_value(&client, "SELECT count(*) FROM pg_class WHERE relname = 'made_view'", "0", Duration::from_secs(20))
            .await;
        assert_eq!(value(&client, "SELECT sum(k) FROM kept").await, "3", "{ended}");
        assert_eq!(value(&client, "SELECT n FROM kept_view").await, "2", "{ended}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_give_no_value_twice_whatever_is_killed() {
    let mut server = server();
    let client = server.connect().await;
    client.batch_execute("CREATE SEQUENCE s; CREATE TABLE t (id serial PRIMARY KEY, n int)").await.expect("a sequence");
    let mut given: Vec<i64> = Vec::new();
    for _ in 0..4 {
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let client = server.connect().await;
            tasks.push(tokio::spawn(async move {
                let mut own = Vec::new();
                for _ in 0..20 {
                    own.push(number(&client, "SELECT nextval('s')").await);
                    client.batch_execute("INSERT INTO t (n) VALUES (1)").await.expect("a row");
                }
                own
            }));
        }
        for task in tasks {
            given.extend(task.await.expect("a client's work"));
        }
        server.kill9();
        server.restart();
    }
    let count = given.len();
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), count, "no value was given twice");
    let client = server.connect().await;
    assert_eq!(number(&client, "SELECT count(*) FROM t").await, count as i64);
    assert!(number(&client, "SELECT nextval('s')").await > *given.last().expect("values"));
    // A kind stop gives back what was taken ahead.
    let last = number(&client, "SELECT last_value FROM s").await;
    drop(client);
    server.stop();
    server.restart();
    assert_eq!(number(&server.connect().await, "SELECT nextval('s')").await, last + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_read_for_update_are_held_until_commit() {
    let server = server();
    let (one, other) = (server.connect().await, server.connect().await);
    one.batch_execute("CREATE TABLE k (id int PRIMARY KEY, v int); INSERT INTO k VALUES (1, 1), (2, 2)")
        .await
        .expect("rows");
    for (clause, change, lost) in [
        ("FOR UPDATE", "UPDATE k SET v = v + 1 WHERE id = 1", true),
        ("FOR SHARE", "DELETE FROM k WHERE id = 1; INSERT INTO k VALUES (1, 50)", true),
        ("FOR UPDATE", "UPDATE k SET v = v + 1 WHERE id = 2", false),
        ("", "UPDATE k SET v = v + 1 WHERE id = 1", false),
    ] {
        one.batch_execute("BEGIN").await.expect("a block");
        assert_eq!(number(&one, &format!("SELECT id FROM k WHERE id = 1 {clause}")).await, 1);
        one.batch_execute("INSERT INTO k VALUES (100, 0)").await.expect("a row");
        other.batch_execute(change).await.expect("a change");
        match one.batch_execute("COMMIT").await {
            Ok(()) => assert!(!lost, "{clause} {change}"),
            Err(error) => {
                assert!(lost, "{clause} {change}: {}", message(&error));
                assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{}", message(&error));
            }
        }
        let there = number(&other, "SELECT count(*) FROM k WHERE id = 100").await;
        assert_eq!(there, i64::from(!lost), "{clause} {change}");
        other.batch_execute("DELETE FROM k WHERE id = 100").await.expect("it goes");
    }
}
