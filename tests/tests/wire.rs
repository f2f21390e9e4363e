//! The Postgres wire: what a client sends in any form is answered as protocol 3.0 says, and nothing
//! that a client sends or does ends the server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

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

/// A session whose bytes the test writes itself.
struct Raw(TcpStream);

/// A message: its type and all after the length.
type Message = (u8, Vec<u8>);

impl Raw {
    fn connect(server: &Server) -> Raw {
        let socket = TcpStream::connect(("127.0.0.1", server.port())).expect("the server listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        Raw(socket)
    }

    /// A session that is ready, as user tester of this database.
    fn session(server: &Server, database: &str) -> (Raw, Vec<Message>) {
        let mut raw = Raw::connect(server);
        let body = [&[0, 3, 0, 0], b"user\0tester\0database\0".as_slice(), database.as_bytes(), b"\0\0"].concat();
        raw.bytes(&[&(body.len() as u32 + 4).to_be_bytes(), body.as_slice()].concat());
        let greeting = raw.until_ready();
        (raw, greeting)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server reads");
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        self.bytes(&framed(kind, body));
    }

    /// Passes over the messages up to ReadyForQuery; how many of them were rows.
    fn count_rows(&self) -> u64 {
        let mut from = std::io::BufReader::with_capacity(1 << 20, &self.0);
        let mut rows = 0;
        loop {
            let mut head = [0; 5];
            from.read_exact(&mut head).expect("a whole message");
            let length = u64::from(u32::from_be_bytes([head[1], head[2], head[3], head[4]])) - 4;
            std::io::copy(&mut from.by_ref().take(length), &mut std::io::sink()).expect("a whole message");
            match head[0] {
                b'D' => rows += 1,
                b'Z' => return rows,
                kind => assert!(b"TCN".contains(&kind), "a message of type {}", char::from(kind)),
            }
        }
    }

    /// The next message; `None` at the end of the connection.
    fn next(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).expect("a whole message");
        Some((head[0], body))
    }

    /// Everything up to ReadyForQuery, it included.
    fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let next = self.next().unwrap_or_else(|| panic!("the connection ended after {messages:?}"));
            let ready = next.0 == b'Z';
            messages.push(next);
            if ready {
                return messages;
            }
        }
    }

    fn simple(&mut self, sql: &str) -> Vec<Message> {
        self.send(b'Q', &[sql.as_bytes(), b"\0"].concat());
        self.until_ready()
    }
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], (body.len() as u32 + 4).to_be_bytes().as_slice(), body].concat()
}

/// The types of messages, as a word.
fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|(kind, _)| char::from(*kind)).collect()
}

/// A field of the first error or notice.
fn field(messages: &[Message], field: u8) -> Option<String> {
    let (_, body) = messages.iter().find(|(kind, _)| matches!(kind, b'E' | b'N'))?;
    let mut fields = body.split(|byte| *byte == 0).filter(|text| !text.is_empty());
    let found = fields.find(|text| text[0] == field)?;
    Some(String::from_utf8_lossy(&found[1..]).into_owned())
}

/// The server answers, and nothing panicked on the way.
fn lives(server: &Server) {
    let (mut raw, _) = Raw::session(server, "thalweg");
    assert_eq!(kinds(&raw.simple("SELECT 1")), "TDCZ");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

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

#[test]
fn malformed_messages_end_the_connection_and_not_the_server() {
    let server = Server::start(Options::default());
    let broken: [&[u8]; 9] = [
        b"Q\0\0\0\x03",
        b"Q\0\0\0\0",
        b"Q\x7f\xff\xff\xffSELECT 1\0",
        b"Q\xff\xff\xff\xffSELECT 1\0",
        b"~\0\0\0\x04",
        b"Q\0\0\0\x0dSELECT 1x",
        b"B\0\0\0\x0a\0\0\0\x01\0\x07",
        b"P\0\0\0\x08\0\0\xff\xff",
        b"D\0\0\0\x06Xa",
    ];
    for bytes in broken {
        let (mut raw, _) = Raw::session(&server, "thalweg");
        raw.bytes(bytes);
        let answer = [raw.next().unwrap_or_else(|| panic!("an answer to {bytes:?}"))];
        assert_eq!(field(&answer, b'C').as_deref(), Some("08P01"), "{bytes:?}");
        assert_eq!(field(&answer, b'S').as_deref(), Some("FATAL"), "{bytes:?}");
        assert_eq!(raw.next(), None, "the connection ends: {bytes:?}");
    }
    // Not yet a session: a length that lies, a protocol nobody speaks, no protocol at all.
    let beginnings: [&[u8]; 5] = [
        b"\0\0\0\0",
        b"\x7f\xff\xff\xff\0\x03\0\0",
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x09\0\x03\0\0x",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for bytes in beginnings {
        let mut raw = Raw::connect(&server);
        raw.bytes(bytes);
        let answer = [raw.next().unwrap_or_else(|| panic!("an answer to {bytes:?}"))];
        assert_eq!(field(&answer, b'S').as_deref(), Some("FATAL"), "{bytes:?}");
        assert_eq!(raw.next(), None, "the connection ends: {bytes:?}");
    }
    lives(&server);
}

#[test]
fn random_bytes_do_not_end_the_server() {
    let server = Server::start(Options::default());
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..200 {
        // Every other one begins as a session does, and frames its nonsense well.
        let mut raw = if round % 2 == 0 { Raw::session(&server, "thalweg").0 } else { Raw::connect(&server) };
        for _ in 0..random() % 8 {
            let body: Vec<u8> =
                (0..random() % 60).map(|_| if random() % 3 == 0 { 0 } else { random() as u8 }).collect();
            let kind = b"QPBDECSHdcfF"[(random() % 12) as usize];
            let bytes = if round % 2 == 0 { framed(kind, &body) } else { body };
            // The server may have hung up already.
            if raw.0.write_all(&bytes).is_err() {
                break;
            }
        }
    }
    lives(&server);
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

/// Rows of a result that is far larger than what the server may need for it.
const THREE_MILLION: &str = "SELECT n, 'the row with the number ' || n FROM generate_series(1, 3000000) g(n)";

/// Memory that clients of the server may cost it, whatever they ask and however they behave.
const MEMORY: u64 = 64 << 20;

/// Waits until nothing works in the server any more.
fn await_rest(server: &Server) {
    let used = || ["batch", "thalweg-net"].map(|thread| server.ticks(thread));
    let mut before = used();
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let now = used();
        if now == before {
            return;
        }
        before = now;
    }
}

/// Fails if the server came to need much more memory since `before`.
fn bounded(server: &Server, before: u64) {
    let grown = server.peak_memory().saturating_sub(before);
    assert!(grown < MEMORY, "the server grew by {grown} bytes");
}

#[test]
fn a_result_waits_for_a_slow_reader() {
    let server = Server::start(Options::default());
    lives(&server);
    let (mut raw, _) = Raw::session(&server, "thalweg");
    server.forget_peak();
    let before = server.peak_memory();
    raw.send(b'Q', &[THREE_MILLION.as_bytes(), b"\0"].concat());
    assert_eq!(raw.next().map(|(kind, _)| kind), Some(b'T'));
    for _ in 0..3 {
        // It reads a little, and then nothing until the server has nothing left to do.
        for _ in 0..1000 {
            assert_eq!(raw.next().map(|(kind, _)| kind), Some(b'D'));
        }
        await_rest(&server);
    }
    lives(&server);
    assert_eq!(raw.count_rows(), 3_000_000 - 3_000);
    bounded(&server, before);
}

#[test]
fn a_client_that_never_reads_costs_little() {
    let server = Server::start(Options::default());
    lives(&server);
    server.forget_peak();
    let before = server.peak_memory();
    let mut rude = Vec::new();
    for text in
        [THREE_MILLION, "SELECT repeat('x', 100000)", "COPY (SELECT n FROM generate_series(1, 3000000) g(n)) TO STDOUT"]
    {
        let (mut raw, _) = Raw::session(&server, "thalweg");
        raw.0.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let query = framed(b'Q', &[text.as_bytes(), b"\0"].concat());
        // Until the server takes no more: what it was sent waits on the way.
        let taken = (0..1_000_000).take_while(|_| raw.0.write_all(&query).is_ok()).count();
        assert!(taken < 1_000_000, "{text}");
        rude.push(raw);
    }
    await_rest(&server);
    lives(&server);
    bounded(&server, before);
    drop(rude);
    lives(&server);
}

/// Sends a text; the SQLSTATE of the error, or none.
fn outcome(server: &Server, text: &str) -> Option<String> {
    let (mut raw, _) = Raw::session(server, "thalweg");
    // A million items take their time where other tests run beside this one.
    raw.0.set_read_timeout(Some(Duration::from_secs(180))).expect("a timeout");
    raw.send(b'Q', &[text.as_bytes(), b"\0"].concat());
    field(&raw.until_ready(), b'C').filter(|code| code != "00000")
}

/// `open` so many times, a middle, `close` as often.
fn nested(open: &str, middle: &str, close: &str, count: usize) -> String {
    format!("{}{middle}{}", open.repeat(count), close.repeat(count))
}

#[test]
fn sql_nests_deeply_and_nothing_overflows() {
    let server = Server::start(Options::default());
    let forms = [
        ("SELECT ", "(", "1", ")"),
        ("SELECT ", "NOT ", "true", ""),
        ("SELECT ", "- ", "1", ""),
        ("SELECT ", "", "1", "::int"),
        ("SELECT ", "", "1", " IS NULL"),
        ("SELECT ", "", "'a'", " COLLATE \"C\""),
        ("SELECT ", "CASE WHEN true THEN ", "1", " END"),
        ("SELECT ", "CASE WHEN false THEN 0 ELSE ", "1", " END"),
        ("SELECT ", "abs(", "1", ")"),
        ("SELECT ", "coalesce(NULL, ", "1", ")"),
        ("SELECT ", "(SELECT ", "1", ")"),
        ("SELECT * FROM ", "(SELECT * FROM ", "(SELECT 1) s", ") s"),
        ("SELECT 1 WHERE ", "EXISTS (SELECT 1 WHERE ", "true", ")"),
        ("SELECT 1 WHERE ", "1 IN (SELECT 1 WHERE ", "true", ")"),
        ("SELECT ", "ARRAY[", "1", "]"),
        ("", "(", "SELECT 1", ")"),
        ("", "SELECT 1 UNION ", "SELECT 1", ""),
        ("", "SELECT 1 UNION ALL ", "SELECT 1", ""),
        ("", "WITH w AS (", "SELECT 1", ") SELECT 1"),
        ("SELECT * FROM ", "(", "pg_class", " c JOIN pg_class d ON true)"),
        ("SELECT 1 ", "/*", "", "*/"),
        ("", "EXPLAIN ", "SELECT 1", ""),
        ("SELECT '", "[", "1", "]'::jsonb"),
        ("SELECT '", "{", "1", "}'::int[]"),
        ("SELECT 'a' ~ '", "(", "a", ")'"),
    ];
    for (begin, open, middle, close) in forms {
        for count in [10, 100, 100_000, 500_000] {
            let text = format!("{begin}{}", nested(open, middle, close, count));
            let state = outcome(&server, &text);
            let some = text.chars().take(60).collect::<String>();
            // An answer, or a refusal by name: too complex, too long, not supported, not SQL.
            let known = state.as_deref().is_none_or(|code| {
                ["54001", "54000", "0A000", "42601", "22P02", "2201B", "42725", "42P01", "42712"].contains(&code)
            });
            assert!(known, "{count} times: {some}: {state:?}");
        }
        // None of them keeps the server busy afterwards.
        lives(&server);
    }
}

#[test]
fn long_lists_and_chains_are_answered() {
    let server = Server::start(Options::default());
    let listed = |count: usize, item: &dyn Fn(usize) -> String, between: &str| {
        (0..count).map(item).collect::<Vec<_>>().join(between)
    };
    let tables = listed(64, &|n| format!("(SELECT {n} AS x) t{n}"), ", ");
    let chained = listed(
        40,
        &|n| {
            if n == 0 {
                "w0 AS (SELECT 1 AS x)".into()
            } else {
                format!("w{n} AS (SELECT a.x FROM w{} a, w{} b)", n - 1, n - 1)
            }
        },
        ", ",
    );
    let (plain, refused) = (None, Some("54001"));
    for (text, state) in [
        (format!("SELECT 5 IN ({})", listed(1_000_000, &|n| n.to_string(), ",")), plain),
        (format!("SELECT 5 IN ({})", listed(100_000, &|n| format!("-{n}"), ",")), plain),
        (format!("SELECT count(*) FROM (VALUES {}) v(n)", listed(200_000, &|n| format!("(-{n})"), ",")), plain),
        (format!("SELECT count(*) FROM {tables}"), plain),
        (format!("SELECT {}", listed(1_664, &|n| n.to_string(), ",")), plain),
        (format!("SELECT 1 WHERE {}", listed(10_000, &|n| format!("1 = {n}"), " OR ")), plain),
        (format!("SELECT 1 WHERE {}", listed(10_000, &|n| format!("{n} = {n}"), " AND ")), plain),
        (format!("SELECT {}", listed(390, &|n| n.to_string(), " + ")), plain),
        (format!("SELECT {}", listed(10_000, &|n| n.to_string(), " + ")), refused),
        (format!("SELECT {}", listed(300_000, &|n| n.to_string(), " + ")), refused),
        (format!("SELECT 1 {}", listed(40, &|n| format!("UNION ALL SELECT {n}"), " ")), plain),
        (format!("WITH {chained} SELECT count(*) FROM w39"), refused),
        ("SELECT 1;".repeat(20_000), plain),
        (";".repeat(1_000_000), plain),
        (format!("SELECT {}", listed(1_665, &|n| n.to_string(), ",")), Some("54011")),
        ("SELECT 'a' ~ '((a{1000}){1000}){1000}'".into(), Some("2201B")),
    ] {
        let some = text.chars().take(60).collect::<String>();
        assert_eq!(outcome(&server, &text).as_deref(), state, "{some}");
    }
    lives(&server);
}

/// How many connections there can be at both ends: ten thousand, if this process may have so many
/// files open.
fn many() -> usize {
    let own = std::process::id().to_string();
    let raised = std::process::Command::new("prlimit").args(["--pid", &own, "--nofile=20000:"]).status();
    // It may have more already, or may not raise it so far.
    drop(raised);
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux tells them");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line of it");
    let limit: usize = line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).expect("a number");
    let many = limit.saturating_sub(1_000).min(10_000);
    assert!(many >= 2_000, "{line}: too few to test with (ulimit -n)");
    many
}

#[test]
fn ten_thousand_sessions() {
    /// What one of them may cost while it does nothing.
    const EACH: u64 = 48 << 10;
    let (many, args) = (many(), ["--max-connections", "20000"].map(str::to_string));
    let server = Server::start(Options { args: args.to_vec(), ..Options::default() });
    lives(&server);
    let before = server.memory();
    let mut sessions: Vec<Raw> = (0..many).map(|_| Raw::session(&server, "thalweg").0).collect();
    lives(&server);
    let each = server.memory().saturating_sub(before) / many as u64;
    println!("{many} sessions, {each} bytes each");
    assert!(each < EACH, "a session costs {each} bytes");
    for raw in sessions.iter_mut().step_by(many / 100) {
        assert_eq!(kinds(&raw.simple("SELECT 1")), "TDCZ");
    }
    drop(sessions);
    lives(&server);
}

#[test]
fn who_says_nothing_does_not_keep_others_out_for_long() {
    const DOORS: usize = 200;
    let doors = DOORS.to_string();
    let args = ["--max-authenticating-connections", &doors, "--authentication-timeout", "10s"].map(str::to_string);
    let server = Server::start(Options { args: args.to_vec(), ..Options::default() });
    lives(&server);
    server.forget_peak();
    let before = server.peak_memory();
    let mut silent: Vec<Raw> = (0..DOORS).map(|_| Raw::connect(&server)).collect();
    // Half a packet is as little as none.
    for raw in silent.iter_mut().step_by(2) {
        raw.bytes(b"\0\0\0\x50\0\x03\0\0user\0");
    }
    // So many as are turned away well within that time.
    for _ in 0..500 {
        let mut refused = Raw::connect(&server);
        let answer = [refused.next().expect("an answer")];
        assert_eq!(field(&answer, b'C').as_deref(), Some("53300"));
        assert_eq!(refused.next(), None);
    }
    // They are shown the door when their time is over.
    for mut raw in silent {
        assert_eq!(raw.next(), None);
    }
    lives(&server);
    bounded(&server, before);
}
