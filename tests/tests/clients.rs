//! Real clients against a server, each a program in `tests/clients` that says "ok".
//!
//! psycopg 3, pgjdbc and lib/pq run every SELECT of issue 2 and of the README, in text and in binary
//! form (each client compares the forms itself). The others browse the catalog, change rows, cancel:
//! docs/clients.md has the list. Promises: a client that is missing is fetched as tests/run does it,
//! into `~/.cache/thalweg` (Debian's packages: by tests/run alone); one that cannot be had fails its
//! test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use thalweg_tests::client::await_value;
use thalweg_tests::postgres::{Postgres, psql};
use thalweg_tests::server::{Options, Server, binary};

/// The version of pgjdbc that tests/run fetches.
const PGJDBC: &str = "42.7.4";

/// Rows of the source in setup.sql.
const ROWS: &str = "20000";

/// Queries of issue 2 over what setup.sql and [`served`] make, and Grafana's forms.
const ISSUE: [&str; 4] = [
    "SELECT brand, viewers, buyers, round(100.0*buyers/nullif(viewers,0),2) AS conversion FROM brand_funnel ORDER BY revenue DESC NULLS LAST LIMIT 10",
    "SELECT h.brand, count(*) FROM history h JOIN brand_funnel f ON h.brand = f.brand WHERE f.buyers > 10 GROUP BY 1 ORDER BY 1",
    "SELECT * FROM history ORDER BY event_time, user_id, product_id, event_type, user_session LIMIT 100",
    "SELECT floor(extract(epoch from event_time)/60)*60 AS \"time\", count(*) AS events FROM history GROUP BY 1 ORDER BY 1",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psycopg() {
    let (server, queries, count) = served().await;
    let mut client = Command::new(python());
    client.arg(clients().join("psycopg/client.py")).arg(server.port().to_string()).arg(queries);
    agrees(&mut client, count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgjdbc() {
    let (server, queries, count) = served().await;
    let mut client = Command::new("java");
    client.arg("-cp").arg(pgjdbc_jar()).arg(clients().join("jdbc/Client.java"));
    agrees(client.arg(server.port().to_string()).arg(queries), count);
}

/// A result hundreds of times the heap of the client, a thousand rows at a time.
#[test]
fn pgjdbc_streams() {
    /// What the server may need besides what it had.
    const MEMORY: u64 = 96 << 20;
    let rows = std::env::var("THALWEG_STREAM_ROWS").unwrap_or_else(|_| "2000000".into());
    let server = Server::start(Options::default());
    server.forget_peak();
    let before = server.peak_memory();
    let mut client = Command::new("java");
    client.args(["-Xmx24m", "-cp"]).arg(pgjdbc_jar()).arg(clients().join("jdbc/Stream.java"));
    let output = ran(client.arg(server.port().to_string()).arg(&rows));
    assert_eq!(output.lines().last(), Some(format!("ok {rows}").as_str()), "{output}");
    let grown = server.peak_memory() - before;
    println!("{output}the server: {before} bytes before, {grown} more at most");
    assert!(grown < MEMORY, "the server grew by {grown} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libpq_go() {
    let (server, queries, count) = served().await;
    let mut client = Command::new("go");
    client.current_dir(clients().join("libpq-go")).args(["run", "."]);
    agrees(client.arg(server.port().to_string()).arg(queries), count);
}

#[test]
fn psql_prints_of_the_catalog_what_it_prints_over_postgresql() {
    let (server, postgres) = (browsed(), Postgres::start());
    let loaded = postgres.psql(&file("catalog.sql"));
    assert!(loaded.stderr.is_empty(), "PostgreSQL: {}", String::from_utf8_lossy(&loaded.stderr));
    let printed = |output: std::process::Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let mut different = Vec::new();
    for command in file("psql/same.psql").lines() {
        let theirs = printed(postgres.psql(&format!("{command}\n")));
        let ours = printed(psql("127.0.0.1", server.port(), "thalweg", &format!("{command}\n")));
        if ours != theirs {
            different.push(format!("{command}\n--- PostgreSQL\n{theirs}\n--- Thalweg\n{ours}"));
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n\n"));
}

#[test]
fn psql_commands_are_all_answered() {
    let server = browsed();
    for command in file("psql/commands.psql").lines() {
        let output = psql("127.0.0.1", server.port(), "thalweg", &format!("{command}\n"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!errors.contains("ERROR") && !errors.contains("FATAL"), "{command}: {errors}");
    }
}

#[test]
fn oids_and_comments_outlive_a_restart() {
    let mut server = browsed();
    let look = "SELECT oid, relname, obj_description(oid, 'pg_class'), col_description(oid, 3) FROM pg_class
                WHERE relnamespace = 'public'::regnamespace ORDER BY oid;
                SELECT oid, conname FROM pg_constraint ORDER BY oid;";
    let seen = |server: &Server| psql("127.0.0.1", server.port(), "thalweg", look).stdout;
    let before = seen(&server);
    assert!(String::from_utf8_lossy(&before).contains("who buys"), "{}", String::from_utf8_lossy(&before));
    server.restart();
    assert_eq!(String::from_utf8_lossy(&before), String::from_utf8_lossy(&seen(&server)));
    let changed = "DROP VIEW order_names;
                   ALTER TABLE customers DROP COLUMN name;
                   COMMENT ON TABLE customers IS NULL;
                   SELECT obj_description('customers'::regclass, 'pg_class') IS NULL AS gone,
                          col_description('customers'::regclass, 2) AS email;";
    let output = psql("127.0.0.1", server.port(), "thalweg", &format!("\\t\n{changed}"));
    assert!(String::from_utf8_lossy(&output.stdout).contains(" t    | may be null"), "{output:?}");
    for (wrong, message) in [
        ("COMMENT ON TABLE totals IS 'x'", "\"totals\" is not a table"),
        ("COMMENT ON VIEW nosuch IS 'x'", "relation \"nosuch\" does not exist"),
        ("COMMENT ON COLUMN customers.nosuch IS 'x'", "column \"nosuch\" of relation \"customers\" does not exist"),
        ("COMMENT ON FUNCTION abs IS 'x'", "COMMENT ON FUNCTION is not supported"),
        ("ALTER VIEW orders RENAME TO x", "\"orders\" is not a view"),
        ("REFRESH MATERIALIZED VIEW orders", "\"orders\" is not a materialized view"),
        ("LOCK TABLE orders", "LOCK TABLE can only be used in transaction blocks"),
        ("SELECT 'nosuch'::regclass", "relation \"nosuch\" does not exist"),
    ] {
        let output = psql("127.0.0.1", server.port(), "thalweg", &format!("{wrong};\n"));
        assert!(String::from_utf8_lossy(&output.stderr).contains(message), "{wrong}: {output:?}");
    }
}

#[test]
fn views_keep_their_rows_under_other_names() {
    let mut server = browsed();
    let ask = |server: &Server, sql: &str| {
        let output = psql("127.0.0.1", server.port(), "thalweg", &format!("\\set ON_ERROR_STOP 1\n\\a\n\\t\n{sql}\n"));
        assert!(output.stderr.is_empty(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    ask(&server, "CREATE VIEW ids AS SELECT id FROM order_names JOIN totals ON true WHERE n > 1;");
    ask(&server, "ALTER TABLE order_names RENAME TO named;");
    ask(&server, "ALTER MATERIALIZED VIEW totals RENAME TO sums;");
    let look = "SELECT count(*) FROM ids; SELECT count(*) FROM named; SELECT count(*) FROM sums;";
    let before = ask(&server, look);
    assert!(before.ends_with("3\n3\n2\n"), "{before}");
    server.restart();
    assert_eq!(ask(&server, look), before);
}

#[test]
fn psql_completes_names() {
    let server = browsed();
    says_ok(Command::new("python3").arg(clients().join("psql/complete.py")).arg(server.port().to_string()));
}

#[test]
fn pgjdbc_metadata() {
    let server = browsed();
    let mut client = Command::new("java");
    client.arg("-cp").arg(pgjdbc_jar()).arg(clients().join("jdbc/Metadata.java"));
    says_ok(client.arg(server.port().to_string()));
}

#[test]
fn pgjdbc_updatable_results() {
    let server = browsed();
    let mut client = Command::new("java");
    client.arg("-cp").arg(pgjdbc_jar()).arg(clients().join("jdbc/Updatable.java"));
    says_ok(client.arg(server.port().to_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grafana() {
    let (server, _, _) = served().await;
    let mut client = Command::new("go");
    client.current_dir(clients().join("grafana")).args(["run", "."]);
    let statements = file("grafana/statements.sql").lines().filter(|line| !line.starts_with("--")).count();
    agrees(client.arg(server.port().to_string()).arg("statements.sql"), statements);
}

/// The statements of tools that cannot be started here.
#[test]
fn statements_of_metabase_and_tableau() {
    let server = browsed();
    for name in ["metabase", "tableau"] {
        let text = format!("\\set ON_ERROR_STOP 1\n{}\\echo all answered\n", file(&format!("statements/{name}.sql")));
        let output = psql("127.0.0.1", server.port(), "thalweg", &text);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(String::from_utf8_lossy(&output.stdout).contains("all answered"), "{name}: {errors}");
    }
}

#[test]
fn psycopg2() {
    python_client("psycopg2");
}

#[test]
fn asyncpg() {
    python_client("asyncpg");
}

#[test]
fn sqlalchemy() {
    python_client("sqlalchemy");
}

#[test]
fn adbc() {
    python_client("adbc");
}

#[test]
fn odbc() {
    python_client("odbc");
}

#[test]
fn node_postgres() {
    let server = browsed();
    let mut client = Command::new("node");
    client.env("NODE_PATH", node_modules()).arg(clients().join("node/client.js"));
    says_ok(client.arg(server.port().to_string()));
}

#[test]
fn pgbench() {
    let server = browsed();
    says_ok(Command::new(clients().join("pgbench/run.sh")).arg(server.port().to_string()));
}

#[test]
fn postgres_fdw() {
    let (server, postgres) = (browsed(), Postgres::start());
    let mut client = Command::new(clients().join("postgres_fdw/run.sh"));
    says_ok(client.arg(server.port().to_string()).arg(postgres.socket()));
}

#[test]
fn pg_dump() {
    let (server, postgres) = (browsed(), Postgres::start());
    let mut client = Command::new(clients().join("pg_dump/run.sh"));
    says_ok(client.arg(server.port().to_string()).arg(postgres.socket()).arg(python()));
}

#[test]
fn dbt() {
    let server = browsed();
    let mut client = Command::new(clients().join("dbt/run.sh"));
    let program = venv("dbt", "dbt/requirements.txt").join("bin/dbt");
    says_ok(client.arg(server.port().to_string()).arg(program));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn superset() {
    let (server, _, _) = served().await;
    let mut client = Command::new(venv("superset", "superset/requirements.txt").join("bin/python"));
    says_ok(client.arg(clients().join("superset/client.py")).arg(server.port().to_string()));
}

/// A server with the objects of catalog.sql.
fn browsed() -> Server {
    // The clients' user owns what it makes, as in PostgreSQL.
    let args = ["--superuser", "tester"].map(str::to_string).to_vec();
    let server = Server::start(Options { args, ..Options::default() });
    let loaded = psql("127.0.0.1", server.port(), "thalweg", &file("catalog.sql"));
    let errors = String::from_utf8_lossy(&loaded.stderr);
    assert!(!errors.contains("ERROR"), "{errors}");
    server
}

/// `tests/clients/NAME/client.py` is content.
fn python_client(name: &str) {
    let server = browsed();
    says_ok(Command::new(python()).arg(clients().join(name).join("client.py")).arg(server.port().to_string()));
}

/// The client ends well and says so.
fn says_ok(client: &mut Command) {
    let output = ran(client);
    assert_eq!(output.lines().last(), Some("ok"), "{output}");
}

/// The text of a file of `tests/clients`.
fn file(name: &str) -> String {
    std::fs::read_to_string(clients().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A server with the views of the issue over generated events, an external table, and the file of
/// the queries, one a line; how many there are.
async fn served() -> (Server, PathBuf, usize) {
    let server = Server::start(Options::default());
    ran(Command::new(binary())
        .args(["generate", "--rows", "5000", "--seed", "3", "--out"])
        .arg(server.dir().join("2019-Nov.csv")));
    let client = server.connect().await;
    let setup = std::fs::read_to_string(clients().join("setup.sql")).expect("setup.sql");
    let history =
        "CREATE EXTERNAL TABLE history STORED AS CSV LOCATION '2019-Nov.csv' OPTIONS ('format.has_header' 'true')";
    for statement in setup.lines().chain([history]) {
        client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    await_value(&client, "SELECT sum(events) FROM event_type_counts", ROWS, Duration::from_secs(60)).await;
    let forms = std::fs::read_to_string(clients().join("queries.sql")).expect("queries.sql");
    let mut queries: Vec<String> = forms.lines().map(str::to_string).collect();
    queries.extend(ISSUE.map(str::to_string));
    let readme = readme();
    assert!(readme.len() >= 3, "the README shows queries: {readme:?}");
    queries.extend(readme);
    let path = server.dir().join("queries.sql");
    std::fs::write(&path, queries.join("\n")).expect("the temporary folder is writable");
    (server, path, queries.len())
}

/// The SELECTs in the README's SQL blocks, each on one line.
fn readme() -> Vec<String> {
    let text = std::fs::read_to_string(clients().join("../../README.md")).expect("README.md");
    let blocks = text.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let statements = blocks.flat_map(|block| block.split(';'));
    let statements = statements.map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|statement| statement.starts_with("SELECT ")).collect()
}

/// The client ends well and says how many queries agreed.
fn agrees(client: &mut Command, queries: usize) {
    let output = ran(client);
    assert_eq!(output.lines().last(), Some(format!("ok {queries}").as_str()), "{output}");
}

/// What a command printed; it must succeed.
fn ran(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

fn clients() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/clients"))
}

/// A folder of `~/.cache/thalweg`.
fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/thalweg");
    std::env::var_os("THALWEG_CACHE").map_or_else(home, PathBuf::from)
}

/// A Python that has the packages of requirements.txt.
fn python() -> PathBuf {
    match std::env::var_os("THALWEG_TEST_PYTHON") {
        Some(python) => python.into(),
        None => venv("venv", "requirements.txt").join("bin/python"),
    }
}

/// A Python environment with the packages of a list; made again when the list changes.
fn venv(name: &str, list: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let (list, venv) = (clients().join(list), cache().join(name));
    let made_from = venv.join("requirements.txt");
    let wanted = std::fs::read(&list).expect("the list of packages");
    if std::fs::read(&made_from).ok() != Some(wanted) {
        ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        ran(Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&list));
        std::fs::copy(&list, &made_from).expect("the cache is writable");
    }
    venv
}

/// The jar of pgjdbc.
fn pgjdbc_jar() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    if let Some(jar) = std::env::var_os("THALWEG_TEST_PGJDBC") {
        return jar.into();
    }
    let folder = cache().join("pgjdbc");
    let jar = folder.join(format!("postgresql-{PGJDBC}.jar"));
    if !jar.is_file() {
        ran(Command::new("mvn")
            .args(["-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"])
            .arg(format!("-Dartifact=org.postgresql:postgresql:{PGJDBC}"))
            .arg(format!("-DoutputDirectory={}", folder.display())));
    }
    jar
}

/// The folder of node-postgres.
fn node_modules() -> PathBuf {
    let folder = cache().join("node");
    let wanted = file("node/package-lock.json");
    if std::fs::read_to_string(folder.join("installed.json")).ok().as_ref() != Some(&wanted) {
        std::fs::create_dir_all(&folder).expect("the cache is writable");
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(clients().join("node").join(name), folder.join(name)).expect("the cache is writable");
        }
        ran(Command::new("npm").current_dir(&folder).args(["ci", "--no-audit", "--no-fund", "--silent"]));
        std::fs::write(folder.join("installed.json"), wanted).expect("the cache is writable");
    }
    folder.join("node_modules")
}
