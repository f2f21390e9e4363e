//! Every statement of issue 2 and of the README, and some queries, print in psql, byte for byte, what
//! PostgreSQL prints over the same rows. (Queries of every kind: `tests/slt`.)
//!
//! Both hold the events of `tests/data/sample.csv`: PostgreSQL by COPY, ours from a generator of
//! the same seed and as an external table. A query without ORDER BY has no order to compare: then
//! the lines between header and footer are sorted first.

use std::path::{Path, PathBuf};

use thalweg_tests::postgres::{Postgres, psql};
use thalweg_tests::server::{Options, Server};
use thalweg_tests::views;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// The statements of a text, comments left out. Knows strings, no dollar quotes.
fn statements(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let mut statements = vec![String::new()];
    let mut quoted = false;
    for character in lines.join("\n").chars() {
        quoted ^= character == '\'';
        match character {
            ';' if !quoted => statements.push(String::new()),
            other => statements.last_mut().expect("there is one").push(other),
        }
    }
    statements.into_iter().map(|text| text.trim().to_string()).filter(|text| !text.is_empty()).collect()
}

/// The queries in the README's ```sql blocks. What PostgreSQL has no word for (sources, external
/// tables, `thalweg.*`) is left to other tests.
fn readme() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let mut queries = Vec::new();
    for block in text.split("```sql").skip(1) {
        queries.extend(statements(block.split("```").next().unwrap_or_default()));
    }
    queries.retain(|sql| {
        let word = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        ["SELECT", "WITH"].contains(&word.as_str()) && !sql.contains("thalweg.")
    });
    queries
}

/// What psql printed, rows sorted if the query asks for no order.
fn printed(sql: &str, output: &std::process::Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    let ordered = sql.to_ascii_uppercase().contains("ORDER BY");
    let mut lines: Vec<&str> = text.split('\n').collect();
    if !ordered && lines.len() > 4 {
        // Header and rule before, `(n rows)` and two empty ends after.
        let end = lines.len() - 3;
        lines[2..end].sort_unstable();
    }
    format!("{}{errors}", lines.join("\n"))
}

/// An error without where it is and what could be done: there ours may say more, or less.
fn without_place(printed: &str) -> String {
    match printed.find("\nLINE 1: ").or_else(|| printed.find("\nHINT: ")) {
        Some(end) if printed.contains("ERROR: ") => printed[..end].to_string(),
        _ => printed.trim_end().to_string(),
    }
}

fn load_postgres(postgres: &Postgres) {
    let csv = std::fs::read_to_string(data("sample.csv")).expect("the sample");
    let mut load = format!("CREATE TABLE events ({});\nCOPY events FROM STDIN (FORMAT csv, HEADER);\n", views::COLUMNS);
    load.push_str(&csv);
    load.push_str("\\.\nCREATE VIEW history AS SELECT * FROM events;\n");
    for (view, sql) in views::VIEWS {
        load.push_str(&format!("CREATE MATERIALIZED VIEW {view} AS {sql};\n"));
    }
    let loaded = postgres.psql(&load);
    assert!(loaded.stderr.is_empty(), "PostgreSQL: {}", String::from_utf8_lossy(&loaded.stderr));
}

fn load_ours(server: &Server) {
    let rows = std::fs::read_to_string(data("sample.csv")).expect("the sample").lines().count() - 1;
    let mut load = format!(
        "CREATE SOURCE events WITH (connector='generator', dataset='ecommerce', rate='max', seed='1', rows='{rows}');\n\
         CREATE EXTERNAL TABLE history STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true');\n",
        data("sample.csv").display()
    );
    for (view, sql) in views::VIEWS {
        load.push_str(&format!("CREATE MATERIALIZED VIEW {view} AS {sql};\n"));
    }
    let loaded = psql("127.0.0.1", server.port(), "thalweg", &load);
    let errors = String::from_utf8_lossy(&loaded.stderr);
    assert!(!errors.contains("ERROR"), "thalweg: {errors}");
}

#[test]
fn psql_prints_what_it_prints_over_postgresql() {
    let postgres = Postgres::start();
    load_postgres(&postgres);
    let server = Server::start(Options::default());
    load_ours(&server);
    let file = |name: &str| statements(&std::fs::read_to_string(data(name)).expect("the queries"));
    let mut queries = file("issue2.sql");
    queries.extend(readme());
    let to_the_byte = queries.len();
    queries.extend(file("recursion.sql"));
    queries.extend(file("sets.sql"));
    queries.extend(file("arrays.sql"));
    queries.extend(file("aggregates.sql"));
    queries.extend(file("frames.sql"));
    let mut different = Vec::new();
    for (place, sql) in queries.iter().enumerate() {
        for form in ["", "\\x\n"] {
            let text = format!("{form}{sql};\n");
            if form == "\\x\n" && !sql.to_ascii_uppercase().contains("ORDER BY") {
                continue;
            }
            let mut theirs = printed(sql, &postgres.psql(&text));
            let mut ours = printed(sql, &psql("127.0.0.1", server.port(), "thalweg", &text));
            if place >= to_the_byte {
                (theirs, ours) = (without_place(&theirs), without_place(&ours));
            }
            if ours != theirs {
                different.push(format!(
                    "{text}--- PostgreSQL\n{}--- thalweg\n{}",
                    cut(&theirs, &ours),
                    cut(&ours, &theirs)
                ));
            }
        }
    }
    println!("{} queries", queries.len());
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), queries.len(), different.join("\n"));
}

/// Why a query may not be a view: what it reads, or that its value changes by itself.
const NO_VIEW: &[&str] = &[
    "the external table",
    "Its value would change without any input changing.",
    "a materialized view without columns",
    "specified more than once",
];

#[test]
fn every_query_gives_the_same_as_a_view() {
    let server = Server::start(Options::default());
    load_ours(&server);
    let file = |name: &str| statements(&std::fs::read_to_string(data(name)).expect("the queries"));
    let mut queries = [file("issue2.sql"), readme(), file("recursion.sql")].concat();
    queries.extend(file("sets.sql"));
    queries.extend(file("arrays.sql"));
    queries.extend(file("aggregates.sql"));
    queries.extend(file("frames.sql"));
    let run = |sql: &str| {
        let output = psql("127.0.0.1", server.port(), "thalweg", &format!("\\pset format unaligned\n{sql};\n"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines: Vec<String> = text.lines().skip(1).map(str::to_string).collect();
        lines.sort_unstable();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (lines, without_place(&errors), errors)
    };
    let (mut views, mut different) = (0, Vec::new());
    for (place, sql) in queries.iter().enumerate() {
        let word = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if !["SELECT", "WITH", "VALUES"].contains(&word.as_str()) {
            continue;
        }
        let (_, created, refusal) = run(&format!("CREATE MATERIALIZED VIEW q{place} AS {sql}"));
        let (rows, error, _) = run(sql);
        if created.contains("ERROR") {
            if created != error && !NO_VIEW.iter().any(|reason| refusal.contains(reason)) {
                different.push(format!("{sql}\n--- as a view\n{refusal}"));
            }
            continue;
        }
        views += 1;
        let (kept, view_error, _) = run(&format!("SELECT * FROM q{place}"));
        if (&kept, &view_error) != (&rows, &error) {
            different.push(format!("{sql}\n--- query\n{rows:?} {error}\n--- view\n{kept:?} {view_error}"));
        }
    }
    println!("{views} of {} queries are views too", queries.len());
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

/// The lines around the first difference.
fn cut(text: &str, other: &str) -> String {
    let same = text.lines().zip(other.lines()).take_while(|(a, b)| a == b).count();
    let lines: Vec<&str> = text.lines().skip(same.saturating_sub(2)).take(6).collect();
    format!("{}\n", lines.join("\n"))
}

/// Whole scripts: what a session keeps between its statements is in them.
#[test]
fn scripts_print_what_they_print_over_postgresql() {
    let postgres = Postgres::start();
    let server = Server::start(Options::default());
    let merged = |output: std::process::Output| {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (out.into_owned(), err.into_owned())
    };
    for name in ["session.sql", "indexes.sql", "maintenance.sql"] {
        let script = std::fs::read_to_string(data(name)).expect("the script");
        // A statement for each answer, and errors among the answers.
        let text = format!("\\set ECHO queries\n{script}");
        let theirs = merged(postgres.psql(&text));
        let ours = merged(psql("127.0.0.1", server.port(), "thalweg", &text));
        assert_eq!(different(&ours.0, &theirs.0), None, "what the statements of {name} print");
        assert_eq!(different(&ours.1, &theirs.1), None, "the errors of {name}");
    }
}

/// The first place where two outputs differ, with what stands around it.
fn different(ours: &str, theirs: &str) -> Option<String> {
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.lines().collect(), theirs.lines().collect());
    let place = (0..ours.len().max(theirs.len())).find(|place| ours.get(*place) != theirs.get(*place))?;
    let around =
        |lines: &[&str]| lines[place.saturating_sub(6).min(lines.len())..(place + 4).min(lines.len())].join("\n");
    Some(format!("line {}\n--- ours\n{}\n--- PostgreSQL\n{}", place + 1, around(&ours), around(&theirs)))
}
