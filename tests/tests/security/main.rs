//! Who gets in, as whom, and what each may do: TLS, SCRAM, rules, roles, privileges; real clients.
//!
//! libpq (psql) checks certificates and channel binding; PostgreSQL itself says what `\du`, `\dp` and
//! refusals look like. Does not test the parts by themselves: those are unit tests beside them.

mod rights;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use thalweg_tests::client::{rows, value};
use thalweg_tests::server::{Options, Server, binary, free_port};
use tokio_postgres::{Client, NoTls};

const PASSWORD: &str = "corr3ct horse";

/// A certificate and its key, signed by itself, for 127.0.0.1.
fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is there (apt-get install openssl)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

fn args(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// A server with a certificate and a password for its superuser.
fn secured(folder: &Path, more: &[&str]) -> Server {
    let (certificate, key) = certificate(folder, "server");
    let mut list = args(&["--tls-cert", &certificate.to_string_lossy(), "--tls-key", &key.to_string_lossy()]);
    list.extend(args(more));
    let env = vec![("THALWEG_PASSWORD".to_string(), PASSWORD.to_string())];
    Server::start(Options { args: list, env, ..Options::default() })
}

/// What psql says to a statement, over a connection string.
fn psql(server: &Server, connection: &str, password: &str, sql: &str) -> (bool, String) {
    let output = Command::new("psql")
        .args(["-X", "-w", "-A", "-t", "-c", sql])
        .arg(format!("host=127.0.0.1 port={} dbname=thalweg {connection}", server.port()))
        .env("PGPASSWORD", password)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("psql is there");
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    (output.status.success(), said.trim().to_string())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A session of a user with a password, in clear.
async fn login(server: &Server, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.port()).user(user).password(password).dbname("thalweg");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// SQLSTATE and message of what was refused.
fn refusal<T>(result: Result<T, tokio_postgres::Error>) -> String {
    match result {
        Ok(_) => "allowed".to_string(),
        Err(error) => match error.as_db_error() {
            Some(error) => format!("{} {}", error.code().code(), error.message()),
            None => format!("{error:?}"),
        },
    }
}

/// Waits until the log says something so many times.
fn await_log(server: &Server, wanted: &str, times: usize) {
    let start = Instant::now();
    while server.log().matches(wanted).count() < times {
        assert!(start.elapsed() < Duration::from_secs(20), "the log does not say {wanted:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_machine_is_trusted_until_there_is_a_password() {
    let server = Server::start(Options::default());
    assert!(server.log().contains("everybody on this machine is trusted"), "{}", server.log());
    let first = server.connect().await;
    assert_eq!(value(&first, "SELECT current_user").await, "tester");
    assert_eq!(value(&first, "SHOW is_superuser").await, "on");
    first.batch_execute("CREATE ROLE ann LOGIN PASSWORD 'x'").await.unwrap();
    assert_eq!(
        refusal(login(&server, "tester", "x").await),
        "28P01 password authentication failed for user \"tester\""
    );
    assert_eq!(
        refusal(login(&server, "thalweg", "x").await),
        "28P01 password authentication failed for user \"thalweg\""
    );
    let ann = login(&server, "ann", "x").await.unwrap();
    assert_eq!(value(&ann, "SHOW is_superuser").await, "off");
    first.batch_execute("DROP ROLE ann").await.unwrap();
    assert_eq!(value(&server.connect().await, "SELECT session_user").await, "tester");
}

#[test]
fn listening_elsewhere_without_authentication_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |more: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", &format!("0.0.0.0:{}", free_port()), "--data-dir"]);
        command.arg(folder.path().join("data")).args(more).stdin(Stdio::null()).output().unwrap()
    };
    let output = refused(&[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("error: no role has a password: without one the server listens on loopback"));
    for (more, said) in [
        (&["--tls", "require"][..], "invalid value \"require\" for --tls: it needs a certificate"),
        (&["--tls-cert", "nowhere"][..], "--tls-cert and --tls-key go together"),
        (&["--tls-cert", "nowhere", "--tls-key", "nowhere"][..], "cannot read certificate file nowhere"),
        (&["--hba-file", "nowhere"][..], "cannot read the rules in nowhere"),
        (&["--password-file", "nowhere"][..], "cannot read password file nowhere"),
        (&["--superuser", "pg_me"][..], "role name \"pg_me\" is reserved"),
    ] {
        let output = refused(more);
        assert!(!output.status.success() && text(&output.stderr).contains(said), "{more:?}: {}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libpq_comes_in_over_tls_with_a_bound_password() {
    let folder = tempfile::tempdir().unwrap();
    let server = secured(folder.path(), &["--tls", "require"]);
    let root = folder.path().join("server.crt");
    let verified = format!("user=thalweg sslmode=verify-full channel_binding=require sslrootcert={}", root.display());
    let (ok, said) = psql(&server, &verified, PASSWORD, "SELECT current_user, session_user");
    assert!(ok && said == "thalweg|thalweg", "{said}");
    for (user, password) in [("thalweg", "wrong"), ("nobody", PASSWORD)] {
        let (ok, said) = psql(&server, &format!("user={user} sslmode=require"), password, "SELECT 1");
        assert!(!ok && said.contains(&format!("password authentication failed for user \"{user}\"")), "{said}");
    }
    let clear = login(&server, "thalweg", PASSWORD).await;
    assert_eq!(
        refusal(clear),
        "28000 no pg_hba.conf entry for host \"127.0.0.1\", user \"thalweg\", database \"thalweg\", no encryption"
    );
    let said = server.log();
    let failed = |line: &str| line.contains("login of \"nobody\" from 127.0.0.1:") && line.ends_with("no such role");
    assert!(said.lines().any(failed), "{said}");
}

#[test]
fn newer_libpq_negotiates_at_once_and_cancels_in_tls() {
    let folder = tempfile::tempdir().unwrap();
    let server = secured(folder.path(), &["--tls", "require"]);
    let output = Command::new(python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/clients/psycopg/security.py"))
        .arg(server.port().to_string())
        .arg(folder.path().join("server.crt"))
        .arg(PASSWORD)
        .output()
        .expect("Python runs");
    assert_eq!(text(&output.stdout).trim(), "ok", "{}", text(&output.stderr));
}

/// The Python with psycopg that tests/run makes.
fn python() -> PathBuf {
    let cache = || {
        let home = PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/thalweg");
        std::env::var_os("THALWEG_CACHE").map_or(home, PathBuf::from).join("venv/bin/python")
    };
    std::env::var_os("THALWEG_TEST_PYTHON").map_or_else(cache, PathBuf::from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_taken_up_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = secured(folder.path(), &[]);
    let old = folder.path().join("old.crt");
    std::fs::copy(folder.path().join("server.crt"), &old).unwrap();
    let verified = |root: &Path| {
        let connection = format!("user=thalweg sslmode=verify-ca sslrootcert={}", root.display());
        psql(&server, &connection, PASSWORD, "SELECT 1").0
    };
    assert!(verified(&old));
    let (new, key) = certificate(folder.path(), "new");
    std::fs::write(folder.path().join("server.crt"), "no certificate").unwrap();
    server.signal("HUP");
    await_log(&server, "the certificate in force stay as they were: there is no certificate in", 1);
    assert!(verified(&old));
    std::fs::copy(&new, folder.path().join("server.crt")).unwrap();
    server.signal("HUP");
    await_log(&server, "cannot be used", 1);
    assert!(verified(&old), "a certificate without its key is not taken");
    std::fs::copy(&key, folder.path().join("server.key")).unwrap();
    server.signal("HUP");
    let start = Instant::now();
    while !verified(&new) {
        assert!(start.elapsed() < Duration::from_secs(20), "the new certificate is not in force");
    }
    assert!(!verified(&old));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_decide_in_their_order_and_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("hba.conf");
    std::fs::write(
        &rules,
        "host all ann all reject\nhost all +readers 127.0.0.1/32 trust\nhost all thalweg all scram-sha-256\n",
    )
    .unwrap();
    let server = secured(folder.path(), &["--hba-file", &rules.to_string_lossy()]);
    let admin = login(&server, "thalweg", PASSWORD).await.unwrap();
    admin
        .batch_execute("CREATE ROLE ann LOGIN; CREATE ROLE readers; CREATE ROLE bob LOGIN IN ROLE readers")
        .await
        .unwrap();
    admin.batch_execute("CREATE ROLE carl PASSWORD 'x' NOLOGIN IN ROLE readers").await.unwrap();
    let who = |user: &str, said: &str| {
        format!("{said} host \"127.0.0.1\", user \"{user}\", database \"thalweg\", no encryption")
    };
    assert_eq!(refusal(login(&server, "ann", "").await), who("ann", "28000 pg_hba.conf rejects connection for"));
    assert_eq!(refusal(login(&server, "dora", "").await), who("dora", "28000 no pg_hba.conf entry for"));
    assert_eq!(refusal(login(&server, "bob", "").await), "allowed");
    assert_eq!(refusal(login(&server, "carl", "").await), "28000 role \"carl\" is not permitted to log in");
    std::fs::write(&rules, "host all all all nonsense\n").unwrap();
    server.signal("HUP");
    await_log(&server, "line 1: authentication method \"nonsense\" is not supported", 1);
    assert_eq!(refusal(login(&server, "bob", "").await), "allowed");
    std::fs::write(&rules, "hostssl all all all scram-sha-256\nhost all dora all trust\n").unwrap();
    server.signal("HUP");
    await_log(&server, "received SIGHUP", 2);
    let start = Instant::now();
    while refusal(login(&server, "bob", "").await) == "allowed" {
        assert!(start.elapsed() < Duration::from_secs(20), "the new rules are not in force");
    }
    assert_eq!(refusal(login(&server, "thalweg", PASSWORD).await), who("thalweg", "28000 no pg_hba.conf entry for"));
    assert_eq!(refusal(login(&server, "dora", "").await), "28000 role \"dora\" does not exist");
    assert!(psql(&server, "user=thalweg sslmode=require", PASSWORD, "SELECT 1").0);
    assert_eq!(value(&admin, "SELECT 1").await, "1", "who is in stays in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_fails_too_often_has_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let server = secured(folder.path(), &["--login-failures-per-minute", "3"]);
    for _ in 0..5 {
        login(&server, "thalweg", PASSWORD).await.unwrap();
    }
    for _ in 0..3 {
        let said = refusal(login(&server, "thalweg", "wrong").await);
        assert_eq!(said, "28P01 password authentication failed for user \"thalweg\"");
    }
    assert_eq!(
        refusal(login(&server, "thalweg", PASSWORD).await),
        "28000 too many failed logins from host \"127.0.0.1\""
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_limited_by_role_and_kept_for_superusers() {
    let folder = tempfile::tempdir().unwrap();
    let server = secured(folder.path(), &["--max-connections", "4", "--superuser-reserved-connections", "1"]);
    let admin = login(&server, "thalweg", PASSWORD).await.unwrap();
    admin.batch_execute("CREATE USER ann PASSWORD 'a' CONNECTION LIMIT 1; CREATE USER bob PASSWORD 'b'").await.unwrap();
    let _ann = login(&server, "ann", "a").await.unwrap();
    assert_eq!(refusal(login(&server, "ann", "a").await), "53300 too many connections for role \"ann\"");
    let _bob = login(&server, "bob", "b").await.unwrap();
    let reserved = "53300 remaining connection slots are reserved for roles with the SUPERUSER attribute";
    assert_eq!(refusal(login(&server, "bob", "b").await), reserved);
    let _other = login(&server, "thalweg", PASSWORD).await.unwrap();
    assert_eq!(refusal(login(&server, "thalweg", PASSWORD).await), "53300 sorry, too many clients already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_expire_change_and_are_seen_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let server = secured(folder.path(), &[]);
    let admin = login(&server, "thalweg", PASSWORD).await.unwrap();
    admin.batch_execute("CREATE USER ann PASSWORD 'first-secret' VALID UNTIL 'infinity'").await.unwrap();
    let ann = login(&server, "ann", "first-secret").await.unwrap();
    ann.batch_execute("ALTER ROLE ann PASSWORD 'second-secret'").await.unwrap();
    assert!(login(&server, "ann", "first-secret").await.is_err());
    assert!(login(&server, "ann", "second-secret").await.is_ok());
    assert_eq!(refusal(ann.batch_execute("ALTER ROLE ann SUPERUSER").await), "42501 permission denied to alter role");
    let verifier = value(&admin, "SELECT rolpassword FROM pg_authid WHERE rolname = 'ann'").await;
    assert!(verifier.starts_with("SCRAM-SHA-256$4096:"), "{verifier}");
    assert_eq!(
        refusal(ann.simple_query("SELECT * FROM pg_authid").await),
        "42501 permission denied for table pg_authid"
    );
    assert_eq!(
        refusal(ann.simple_query("SELECT * FROM pg_shadow").await),
        "42501 permission denied for table pg_shadow"
    );
    assert_eq!(value(&ann, "SELECT rolpassword FROM pg_roles WHERE rolname = 'ann'").await, "********");
    // A verifier is taken as it is.
    admin.batch_execute(&format!("CREATE USER bob PASSWORD '{verifier}'")).await.unwrap();
    assert!(login(&server, "bob", "second-secret").await.is_ok());
    admin.batch_execute("ALTER USER bob VALID UNTIL '2001-01-01'").await.unwrap();
    assert_eq!(
        refusal(login(&server, "bob", "second-secret").await),
        "28P01 password authentication failed for user \"bob\""
    );
    for broken in [
        "ALTER ROLE ann PASSWORD 'second-secret' 'x",
        "ALTER ROLE ann PASWORD 'second-secret'",
        "ALTER ROLE ann PASSWORD PASSWORD 'second-secret'",
        "ALTER ROLE ann VALID PASSWORD 'second-secret'",
        "ALTER ROLE ann PASSWORD $$second-secret$$ $$second-secret$$",
        "SELECT password 'second-secret",
    ] {
        let said = refusal(ann.batch_execute(broken).await);
        assert!(said.starts_with("42601 ") && !said.contains("second-secret"), "{broken}: {said}");
    }
    let shown = [
        format!("{:?}", rows(&admin, "SHOW ALL").await),
        format!("{:?}", rows(&admin, "SELECT * FROM thalweg.settings").await),
        server.log(),
        stored(&server.data_dir()),
    ];
    for secret in ["first-secret", "second-secret", PASSWORD] {
        assert!(shown.iter().all(|text| !text.contains(secret)), "{secret} shows");
    }
}

/// Every byte of every file below a folder, as text.
fn stored(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).expect("the folder can be read").flatten() {
        let path = entry.path();
        all.push_str(&if path.is_dir() { stored(&path) } else { text(&std::fs::read(&path).unwrap_or_default()) });
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_listed_and_ended_by_who_may() {
    const SLOW: &str = "SELECT count(*) FROM generate_series(1, 2000000000) g(n) WHERE n % 7 = 8";
    let server = Server::start(Options::default());
    let root = server.connect().await;
    for role in ["ann", "bob", "watcher", "warden"] {
        root.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x'")).await.unwrap();
    }
    root.batch_execute("GRANT pg_read_all_stats TO watcher; GRANT pg_signal_backend TO warden").await.unwrap();
    let (ann, bob) = (login(&server, "ann", "x").await.unwrap(), login(&server, "bob", "x").await.unwrap());
    let (watcher, warden) =
        (login(&server, "watcher", "x").await.unwrap(), login(&server, "warden", "x").await.unwrap());
    ann.batch_execute("SET application_name = 'reports'; BEGIN; SELECT 'of ann'").await.unwrap();
    let pid = value(&ann, "SELECT pg_backend_pid()").await;
    let look = format!(
        "SELECT usename, application_name, client_addr, client_port > 0, state, wait_event, query,
                backend_start <= xact_start, xact_start <= query_start, query_start <= state_change, backend_type
         FROM pg_stat_activity WHERE pid = {pid}"
    );
    let shown = |row: &[Option<String>]| {
        row.iter().map(|field| field.as_deref().unwrap_or("-").to_string()).collect::<Vec<_>>().join(" | ")
    };
    let whole = "ann | reports | 127.0.0.1 | t | idle in transaction | ClientRead | SELECT pg_backend_pid() | t | t | t | client backend";
    for client in [&root, &watcher] {
        assert_eq!(shown(&rows(client, &look).await[0]), whole);
    }
    let hidden = "ann | reports | - | - | - | - | <insufficient privilege> | - | - | - | -";
    for client in [&bob, &warden] {
        assert_eq!(shown(&rows(client, &look).await[0]), hidden);
    }
    let own = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    assert_eq!(value(&bob, own).await, own);
    // A password is shown to nobody.
    bob.batch_execute("ALTER ROLE bob PASSWORD 'secret'").await.unwrap();
    let queries = rows(&root, "SELECT query FROM pg_stat_activity").await;
    assert!(!queries.iter().any(|row| row[0].as_deref().is_some_and(|text| text.contains("secret"))), "{queries:?}");
    // Who may not, and how it is said.
    let cancel = format!("SELECT pg_cancel_backend({pid})");
    assert_eq!(refusal(bob.simple_query(&cancel).await), "42501 permission denied to cancel query");
    let own = value(&root, "SELECT pg_backend_pid()").await;
    let end = format!("SELECT pg_terminate_backend({own})");
    assert_eq!(refusal(warden.simple_query(&end).await), "42501 permission denied to terminate process");
    assert_eq!(value(&root, "SELECT pg_cancel_backend(2000000000)").await, "f");
    // A statement ends, then the session.
    ann.batch_execute("ROLLBACK").await.unwrap();
    let active =
        format!("SELECT state = 'active' AND query LIKE 'SELECT count%' FROM pg_stat_activity WHERE pid = {pid}");
    let stop = async {
        thalweg_tests::client::await_value(&root, &active, "t", Duration::from_secs(20)).await;
        value(&warden, &cancel).await
    };
    let (ran, sent) = tokio::join!(ann.simple_query(SLOW), stop);
    assert_eq!((refusal(ran), sent.as_str()), ("57014 canceling statement due to user request".into(), "t"));
    assert_eq!(value(&ann, "SELECT 1").await, "1");
    assert_eq!(value(&warden, &format!("SELECT pg_terminate_backend({pid})")).await, "t");
    let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    thalweg_tests::client::await_value(&root, &gone, "0", Duration::from_secs(20)).await;
    assert!(ann.simple_query("SELECT 1").await.is_err());
    assert_eq!(value(&root, "SELECT numbackends FROM pg_stat_database").await, "4");
    root.batch_execute("CREATE TABLE t (k int); INSERT INTO t SELECT generate_series(1, 5)").await.unwrap();
    assert_eq!(value(&root, "SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 't'").await, "5");
}
