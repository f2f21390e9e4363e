//! The Postgres wire: what a client sends in any form is answered as protocol 3.0 says, and nothing
//! that a client sends or does ends the server.

mod hostile;
mod raw;

use std::time::{Duration, Instant, SystemTime};

use raw::{Message, Raw, field, kinds, lives};

use thalweg_tests::client::{message, rows, value};
use thalweg_tests::server::{Options, Server};
use tokio_postgres::NoTls;

/// A source whose scan takes minutes.
const BIG: &str =
    "CREATE SOURCE big WITH (connector='generator', dataset='ecommerce', rate='max', rows='2000000000', seed='7')";
const LONG: &str = "SELECT count(*) FROM big WHERE price > 10";

/// A source of which to compare all pairs takes minutes, in few steps.
const MANY: &str =
    "CREATE SOURCE many WITH (connector='generator', dataset='ecommerce', rate='max', rows='400000', seed='7')";
const PAIRS: &str = "SELECT count(*) FROM many a JOIN many b ON a.price < b.price";

/// Twenty rows.
const TWENTY: &str = "SELECT n FROM (VALUES (1),(2),(3),(4),(5),(6),(7),(8),(9),(10),(11),(12),(13),(14),(15),(16),(17),(18),(19),(20)) v(n) ORDER BY n";

#[test]
fn simple_queries_answer_every_statement_in_order() {
    let server = Server::start(Options::default());
    let (mut raw, greeting) = Raw::session(&server, "thalweg");
    assert!(kinds(&greeting).starts_with('R') && kinds(&greeting).ends_with("KZ"), "{}", kinds(&greeting));
    assert_eq!(kinds(&raw.simple("")), "IZ");
    assert_eq!(kinds(&raw.simple(" ; -- nothing\n;")), "IZ");
    assert_eq!(kinds(&raw.simple("SELECT 1; SELECT 2, 'two'")), "TDCTDCZ");
    // The statements before the error have run, those after it have not.
    assert_eq!(kinds(&raw.simple("SELECT 1; SELECT nope; SELECT 2")), "TDCEZ");
    // All statements of a request have one moment.
    let messages = raw.simple("SELECT now(); SELECT pg_typeof(1); SELECT now()");
    assert_eq!(kinds(&messages), "TDCTDCTDCZ");
    assert_eq!(messages[1], messages[7]);
    assert_eq!(kinds(&raw.simple("SELECT")), "TDCZ");
    let messages = raw.simple("SELECT NULL::text AS a, '' AS b, 1.50 AS c");
    assert_eq!(messages[1].1, b"\0\x03\xff\xff\xff\xff\0\0\0\0\0\0\0\x041.50", "a row in text form");
    assert_eq!(messages[2].1, b"SELECT 1\0");
    lives(&server);
}

#[test]
fn errors_and_notices_carry_their_fields() {
    let server = Server::start(Options::default());
    let (mut raw, greeting) = Raw::session(&server, "elsewhere");
    assert_eq!(
        field(&greeting, b'M').as_deref(),
        Some("database \"elsewhere\" does not exist, connected to \"thalweg\"")
    );
    assert_eq!(field(&greeting, b'S').as_deref(), Some("NOTICE"));
    let messages = raw.simple("SELECT * FROM no_such_table");
    assert_eq!(kinds(&messages), "EZ");
    assert_eq!(field(&messages, b'S').as_deref(), Some("ERROR"));
    assert_eq!(field(&messages, b'V').as_deref(), Some("ERROR"));
    assert_eq!(field(&messages, b'C').as_deref(), Some("42P01"));
    assert_eq!(field(&messages, b'M').as_deref(), Some("relation \"no_such_table\" does not exist"));
    let messages = raw.simple("SELEC 1");
    assert_eq!(field(&messages, b'C').as_deref(), Some("42601"));
    assert_eq!(field(&messages, b'P').as_deref(), Some("1"));
    let messages = raw.simple("DROP MATERIALIZED VIEW IF EXISTS nothing");
    assert_eq!(kinds(&messages), "NCZ");
    assert_eq!(field(&messages, b'C').as_deref(), Some("00000"));
    assert_eq!(messages[2].1, b"I", "no transaction block");
    lives(&server);
}

#[test]
fn an_error_skips_to_sync() {
    let server = Server::start(Options::default());
    let (mut raw, _) = Raw::session(&server, "thalweg");
    raw.send(b'P', b"\0SELECT nope\0\0\0");
    raw.send(b'B', b"\0\0\0\0\0\0\0\0");
    raw.send(b'E', b"\0\0\0\0\0");
    raw.send(b'S', b"");
    let messages = raw.until_ready();
    assert_eq!(kinds(&messages), "EZ");
    assert_eq!(field(&messages, b'C').as_deref(), Some("42703"));
    raw.send(b'B', b"\0gone\0\0\0\0\0\0\0");
    raw.send(b'S', b"");
    assert_eq!(field(&raw.until_ready(), b'C').as_deref(), Some("26000"));
    raw.send(b'P', b"s\0SELECT $1::int4\0\0\0");
    raw.send(b'D', b"Ss\0");
    raw.send(b'B', b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\x2a\0\x01\0\x01");
    raw.send(b'E', b"\0\0\0\0\0");
    raw.send(b'S', b"");
    let messages = raw.until_ready();
    assert_eq!(kinds(&messages), "1tT2DCZ");
    assert_eq!(messages[4].1, b"\0\x01\0\0\0\x04\0\0\0\x2a", "42 in binary form");
    raw.send(b'P', b"s\0SELECT 1\0\0\0");
    raw.send(b'S', b"");
    assert_eq!(field(&raw.until_ready(), b'C').as_deref(), Some("42P05"), "the name is taken");
    assert_eq!(kinds(&raw.simple("DEALLOCATE s")), "CZ");
    assert_eq!(field(&raw.simple("DEALLOCATE s"), b'C').as_deref(), Some("26000"));
    lives(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_and_results_in_binary_form() {
    let server = Server::start(Options::default());
    let client = server.connect().await;
    let moment = SystemTime::UNIX_EPOCH + Duration::from_micros(1_572_611_696_789_000);
    let sql = "SELECT $1::int2, $2::int4, $3::int8, $4::float8, $5::text, $6::bool, $7::timestamptz, $8::text";
    let none: Option<&str> = None;
    let row = client
        .query_one(sql, &[&-7_i16, &42_i32, &i64::MAX, &1.5_f64, &"ä\n", &true, &moment, &none])
        .await
        .unwrap_or_else(|error| panic!("{}", message(&error)));
    assert_eq!((row.get::<_, i16>(0), row.get::<_, i32>(1), row.get::<_, i64>(2)), (-7, 42, i64::MAX));
    assert_eq!((row.get::<_, f64>(3), row.get::<_, &str>(4), row.get::<_, bool>(5)), (1.5, "ä\n", true));
    assert_eq!((row.get::<_, SystemTime>(6), row.get::<_, Option<&str>>(7)), (moment, None));
    // The type of a parameter follows from its place.
    let statement = client.prepare("SELECT n FROM (VALUES (1),(2),(3)) v(n) WHERE n > $1 ORDER BY n").await;
    let statement = statement.unwrap_or_else(|error| panic!("{}", message(&error)));
    for least in [0_i32, 1, 2, 3] {
        let found = client.query(&statement, &[&least]).await.expect("rows");
        let found: Vec<i32> = found.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, (least + 1..=3).collect::<Vec<_>>());
    }
    let error = client.query("SELECT 1/$1::int", &[&0_i32]).await.expect_err("a division by zero");
    assert_eq!(message(&error), "22012 division by zero");
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn portals_give_rows_in_pieces() {
    let server = Server::start(Options::default());
    let mut client = server.connect().await;
    let transaction = client.transaction().await.expect("a block");
    let portal = transaction.bind(TWENTY, &[]).await.expect("a portal");
    let other = transaction.bind(TWENTY, &[]).await.expect("another portal");
    let mut found: Vec<i32> = Vec::new();
    for expected in [7, 7, 6, 0] {
        let piece = transaction.query_portal(&portal, 7).await.expect("rows");
        assert_eq!(piece.len(), expected);
        found.extend(piece.iter().map(|row| row.get::<_, i32>(0)));
        // A portal does not disturb another.
        let one = transaction.query_portal(&other, 1).await.expect("a row");
        assert!(one.len() == 1);
    }
    assert_eq!(found, (1..=20).collect::<Vec<_>>());
    drop((portal, other));
    transaction.commit().await.expect("the block ends");
    assert_eq!(rows(&client, TWENTY).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_ends_a_statement_within_a_second_and_not_the_session() {
    let server = Server::start(Options::default());
    let client = server.connect().await;
    client.batch_execute(BIG).await.expect("a source");
    for extended in [false, true] {
        let token = client.cancel_token();
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let start = Instant::now();
            token.cancel_query(NoTls).await.expect("the request is taken");
            start
        };
        let run = async {
            if extended { client.query(LONG, &[]).await.map(drop) } else { client.simple_query(LONG).await.map(drop) }
        };
        let (start, outcome) = tokio::join!(cancel, run);
        let took = start.elapsed();
        let error = outcome.expect_err("it was cancelled");
        assert_eq!(message(&error), "57014 canceling statement due to user request");
        assert!(took < Duration::from_secs(1), "the cancel took {took:?}");
        assert_eq!(value(&client, "SELECT 1").await, "1");
    }
    // A cancel when nothing runs ends nothing that comes later.
    client.cancel_token().cancel_query(NoTls).await.expect("the request is taken");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(value(&client, "SELECT 2").await, "2");
    client.batch_execute("SET statement_timeout = '300ms'").await.expect("a setting");
    let error = client.simple_query(LONG).await.expect_err("it took too long");
    assert_eq!(message(&error), "57014 canceling statement due to statement timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_gives_no_row_for_minutes_hears_a_cancel_and_the_timeout() {
    /// Processor time after which all rows are read and the pairs are being compared.
    const JOINING: u64 = 200;
    let server = Server::start(Options::default());
    let client = server.connect().await;
    let other = server.connect().await;
    client.batch_execute(MANY).await.expect("a source");
    for extended in [false, true] {
        let token = client.cancel_token();
        let cancel = async {
            let before = server.ticks("batch");
            while server.ticks("batch") < before + JOINING {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(value(&other, "SELECT count(*) FROM (SELECT 1) s").await, "1", "others do not wait");
            token.cancel_query(NoTls).await.expect("the request is taken");
        };
        let run = async {
            if extended { client.query(PAIRS, &[]).await.map(drop) } else { client.simple_query(PAIRS).await.map(drop) }
        };
        let ((), outcome) = tokio::join!(cancel, run);
        let error = outcome.expect_err("it was cancelled");
        assert_eq!(message(&error), "57014 canceling statement due to user request");
        assert_eq!(value(&client, "SELECT count(*) FROM (SELECT 1) s").await, "1");
    }
    client.batch_execute("SET statement_timeout = '2s'").await.expect("a setting");
    let error = client.simple_query(PAIRS).await.expect_err("it took too long");
    assert_eq!(message(&error), "57014 canceling statement due to statement timeout");
    assert_eq!(value(&client, "SELECT 2").await, "2");
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let options = Options { args: vec!["--max-connections".into(), "1".into()], ..Options::default() };
    let server = Server::start(options);
    let seated = || {
        let start = Instant::now();
        loop {
            let mut raw = Raw::connect(&server);
            raw.bytes(b"\0\0\0\x15\0\x03\0\0user\0tester\0\0");
            let first = raw.next().expect("an answer");
            if first.0 == b'R' {
                raw.until_ready();
                return raw;
            }
            assert_eq!(field(&[first], b'C').as_deref(), Some("53300"));
            assert!(start.elapsed() < Duration::from_secs(3), "the place is not given back");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let mut first = seated();
    assert_eq!(kinds(&first.simple(BIG)), "CZ");
    let mut second = Raw::connect(&server);
    second.bytes(b"\0\0\0\x15\0\x03\0\0user\0tester\0\0");
    let refused = [second.next().expect("an answer")];
    assert_eq!(field(&refused, b'C').as_deref(), Some("53300"));
    // It leaves while its statement runs.
    first.send(b'Q', &[LONG.as_bytes(), b"\0"].concat());
    std::thread::sleep(Duration::from_millis(300));
    drop(first);
    drop(seated());
    // It says goodbye; it leaves in the middle of a message.
    let mut third = seated();
    third.send(b'X', b"");
    let mut fourth = seated();
    fourth.bytes(b"Q\0\0\0\xffSELECT");
    drop(fourth);
    assert_eq!(kinds(&seated().simple("SELECT 1")), "TDCZ");
}

#[test]
fn a_server_that_stops_tells_its_clients() {
    let mut server = Server::start(Options::default());
    let (mut idle, _) = Raw::session(&server, "thalweg");
    let (mut busy, _) = Raw::session(&server, "thalweg");
    assert_eq!(kinds(&busy.simple(BIG)), "CZ");
    busy.send(b'Q', &[LONG.as_bytes(), b"\0"].concat());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    for raw in [&mut idle, &mut busy] {
        let messages: Vec<Message> = std::iter::from_fn(|| raw.next()).collect();
        assert_eq!(field(&messages, b'C').as_deref(), Some("57P01"), "{}", kinds(&messages));
    }
}

/// Parse, Bind and Execute of a text without parameters.
fn extended(raw: &mut Raw, text: &str) {
    raw.send(b'P', &[b"\0", text.as_bytes(), b"\0\0\0"].concat());
    raw.send(b'B', b"\0\0\0\0\0\0\0\0");
    raw.send(b'E', b"\0\0\0\0\0");
}

#[test]
fn a_pipeline_is_one_transaction() {
    let server = Server::start(Options::default());
    let (mut raw, _) = Raw::session(&server, "thalweg");
    let psql = |sql: &str| {
        let output = thalweg_tests::postgres::psql("127.0.0.1", server.port(), "thalweg", sql);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    psql("CREATE TABLE t (k int PRIMARY KEY);");
    for key in [1, 2, 1] {
        extended(&mut raw, &format!("INSERT INTO t VALUES ({key})"));
    }
    extended(&mut raw, "INSERT INTO t VALUES (3)");
    raw.send(b'S', b"");
    let answers = raw.until_ready();
    assert_eq!(answers.iter().filter(|(kind, _)| *kind == b'E').count(), 1, "{answers:?}");
    assert!(psql("SELECT 'rows', count(*) FROM t;").contains("rows     |     0"), "an error takes all back");
    for key in [1, 2] {
        extended(&mut raw, &format!("INSERT INTO t VALUES ({key})"));
    }
    raw.send(b'S', b"");
    assert!(raw.until_ready().iter().all(|(kind, _)| *kind != b'E'));
    assert!(psql("SELECT 'rows', count(*) FROM t;").contains("rows     |     2"));
    // A key that another takes meanwhile is found out at Sync, before ReadyForQuery.
    extended(&mut raw, "INSERT INTO t VALUES (7)");
    raw.send(b'H', b"");
    while raw.next().is_some_and(|(kind, _)| kind != b'C') {}
    psql("INSERT INTO t VALUES (7);");
    raw.send(b'S', b"");
    assert!(raw.until_ready().iter().any(|(kind, body)| *kind == b'E' && body.windows(5).any(|code| code == b"23505")));
}

#[test]
fn a_cursor_is_a_portal_and_a_binary_one_gives_binary_rows() {
    let server = Server::start(Options::default());
    let (mut raw, _) = Raw::session(&server, "thalweg");
    let messages = raw.simple("BEGIN; DECLARE b BINARY CURSOR FOR SELECT 258 AS n, 'x' AS t; FETCH b");
    assert_eq!(kinds(&messages), "CCTDCZ");
    assert!(messages[2].1.ends_with(b"t\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\x01"), "{:?}", messages[2].1);
    assert_eq!(messages[3].1, b"\0\x02\0\0\0\x04\0\0\x01\x02\0\0\0\x01x");
    // Describe and Close know it, as psycopg's cursors of the server expect.
    raw.send(b'D', b"Pb\0");
    raw.send(b'S', b"");
    let described = raw.until_ready();
    assert_eq!(described[0], messages[2]);
    raw.send(b'C', b"Pb\0");
    raw.send(b'D', b"Pb\0");
    raw.send(b'S', b"");
    let messages = raw.until_ready();
    assert_eq!(kinds(&messages), "3EZ");
    assert_eq!(field(&messages, b'C').as_deref(), Some("34000"));
    lives(&server);
}

#[test]
fn idle_clients_are_told_and_disconnected() {
    let server = Server::start(Options::default());
    for (text, code) in [
        ("SET idle_session_timeout = '50ms'", b"57P05"),
        ("SET idle_in_transaction_session_timeout = '50ms'; BEGIN", b"25P03"),
    ] {
        let (mut raw, _) = Raw::session(&server, "thalweg");
        raw.send(b'Q', &[text.as_bytes(), b"\0"].concat());
        raw.until_ready();
        let (kind, body) = raw.next().expect("a last word");
        assert!(kind == b'E' && body.windows(5).any(|found| found == code), "{text}: {body:?}");
        assert!(raw.next().is_none(), "{text}: the connection ends");
    }
}
