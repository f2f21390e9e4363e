//! Clients that mean no good, or do not know better: broken messages, deep and long SQL, too many
//! connections, silence, results that nobody reads. The server lives, and its memory has a bound.

use std::io::Write;
use std::time::Duration;

use thalweg_tests::server::{Options, Server};

use crate::raw::{Raw, field, framed, kinds, lives};

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
