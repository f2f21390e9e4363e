//! What each role may do: owners, privileges, the right that every statement needs and no more; what
//! psql shows of them, against PostgreSQL.

use std::path::Path;
use std::process::Output;

use thalweg_tests::client::value;
use thalweg_tests::postgres::Postgres;
use tokio_postgres::Client;

use crate::{PASSWORD, login, refusal, secured, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_owners_and_rights_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = secured(folder.path(), &[]);
    let admin = login(&server, "thalweg", PASSWORD).await.unwrap();
    admin
        .batch_execute(
            "CREATE ROLE readers; CREATE USER ann PASSWORD 'a' IN ROLE readers; CREATE USER bob PASSWORD 'b';
             GRANT CREATE ON SCHEMA public TO ann; CREATE TABLE mine (a int); INSERT INTO mine VALUES (1);
             GRANT SELECT ON mine TO readers; ALTER DEFAULT PRIVILEGES FOR ROLE ann GRANT SELECT ON TABLES TO bob",
        )
        .await
        .unwrap();
    let ann = login(&server, "ann", "a").await.unwrap();
    ann.batch_execute("CREATE TABLE anns (a int); CREATE INDEX anns_index ON anns (a); CREATE MATERIALIZED VIEW v AS SELECT a FROM mine").await.unwrap();
    // A block that is open when the server ends never was.
    admin.batch_execute("GRANT SELECT (a) ON anns TO readers; ALTER ROLE bob SET lock_timeout = 7000").await.unwrap();
    admin
        .batch_execute(
            "BEGIN; GRANT SELECT ON mine TO bob; REVOKE SELECT ON mine FROM readers; CREATE ROLE passing LOGIN;
             REVOKE ALL ON anns FROM readers; ALTER ROLE bob RESET lock_timeout; ALTER TABLE mine OWNER TO bob",
        )
        .await
        .unwrap();
    server.restart();
    let (ann, bob) = (login(&server, "ann", "a").await.unwrap(), login(&server, "bob", "b").await.unwrap());
    assert_eq!(value(&ann, "SELECT a FROM mine").await, "1");
    assert_eq!(value(&bob, "SELECT a FROM v").await, "1");
    assert_eq!(value(&bob, "SHOW lock_timeout").await, "7s");
    assert_eq!(value(&ann, "SELECT count(*) FROM pg_roles WHERE rolname = 'passing'").await, "0");
    assert_eq!(value(&ann, "SELECT has_column_privilege('readers', 'anns', 'a', 'SELECT')").await, "t");
    assert_eq!(refusal(bob.simple_query("SELECT a FROM mine").await), "42501 permission denied for table mine");
    for (statement, what) in [
        ("DROP TABLE anns", "table anns"),
        ("ALTER TABLE anns ADD b int", "table anns"),
        ("ALTER TABLE anns OWNER TO bob", "table anns"),
        ("COMMENT ON TABLE anns IS 'mine'", "table anns"),
        ("CREATE INDEX ON anns (a)", "table anns"),
        ("DROP INDEX anns_index", "index anns_index"),
        ("ALTER MATERIALIZED VIEW v RENAME TO w", "materialized view v"),
        ("REFRESH MATERIALIZED VIEW v", "materialized view v"),
    ] {
        assert_eq!(
            refusal(bob.batch_execute(statement).await),
            format!("42501 must be owner of {what}"),
            "{statement}"
        );
    }
    ann.batch_execute("DROP TABLE anns").await.unwrap();
    assert_eq!(refusal(login(&server, "bob", "a").await), "28P01 password authentication failed for user \"bob\"");
}

/// What a statement needs, beside what everybody has; each is tried without and with it.
const MATRIX: [(&str, &str, &str); 32] = [
    ("SELECT * FROM t", "SELECT ON t", "permission denied for table t"),
    ("SELECT 1 FROM t", "SELECT ON t", "permission denied for table t"),
    ("SELECT * FROM (SELECT a FROM t) x WHERE a IN (SELECT a FROM u)", "SELECT ON t, u", "permission denied for table"),
    ("TABLE s", "SELECT ON s", "permission denied for source s"),
    ("SELECT * FROM files", "SELECT ON files", "permission denied for table files"),
    ("SELECT * FROM m", "SELECT ON m", "permission denied for materialized view m"),
    ("SELECT * FROM q", "SELECT ON q", "permission denied for view q"),
    ("EXPLAIN SELECT * FROM t", "SELECT ON t", "permission denied for table t"),
    ("INSERT INTO t VALUES (7)", "INSERT ON t", "permission denied for table t"),
    ("INSERT INTO t VALUES (8) RETURNING a", "INSERT, SELECT ON t", "permission denied for table t"),
    ("INSERT INTO t SELECT a + 100 FROM u", "INSERT ON t; SELECT ON u", "permission denied for table"),
    ("INSERT INTO t VALUES (9) ON CONFLICT (a) DO NOTHING", "INSERT, SELECT ON t", "permission denied for table t"),
    (
        "INSERT INTO t VALUES (9) ON CONFLICT (a) DO UPDATE SET a = 9",
        "INSERT, SELECT, UPDATE ON t",
        "permission denied for table t",
    ),
    ("UPDATE u SET a = 1", "UPDATE ON u", "permission denied for table u"),
    ("UPDATE u SET a = a", "UPDATE, SELECT ON u", "permission denied for table u"),
    ("UPDATE u SET a = 1 WHERE a = 3", "UPDATE, SELECT ON u", "permission denied for table u"),
    ("DELETE FROM u WHERE a = 1000", "DELETE, SELECT ON u", "permission denied for table u"),
    ("DELETE FROM u USING t WHERE t.a = 1000", "DELETE ON u; SELECT ON t", "permission denied for table"),
    ("DELETE FROM u USING t WHERE t.a = u.a", "DELETE, SELECT ON u; SELECT ON t", "permission denied for table"),
    (
        "MERGE INTO u USING t ON u.a = t.a + 1000 WHEN MATCHED THEN DELETE",
        "DELETE, SELECT ON u; SELECT ON t",
        "permission denied for table",
    ),
    (
        "MERGE INTO u USING t ON t.a > 1000 WHEN NOT MATCHED THEN INSERT VALUES (t.a) WHEN MATCHED THEN UPDATE SET a = 1",
        "INSERT, UPDATE ON u; SELECT ON t",
        "permission denied for table",
    ),
    ("DELETE FROM u", "DELETE ON u", "permission denied for table u"),
    ("TRUNCATE u", "TRUNCATE ON u", "permission denied for table u"),
    (
        "CREATE MATERIALIZED VIEW made AS SELECT a FROM u",
        "SELECT ON u; CREATE ON SCHEMA public",
        "permission denied for",
    ),
    ("CREATE VIEW made AS SELECT a FROM u", "SELECT ON u; CREATE ON SCHEMA public", "permission denied for"),
    ("CREATE TABLE made (a int)", "CREATE ON SCHEMA public", "permission denied for schema public"),
    (
        "CREATE SOURCE made WITH (connector = 'generator', rows = '3')",
        "CREATE ON SCHEMA public",
        "permission denied for schema public",
    ),
    (
        "CREATE EXTERNAL TABLE made STORED AS CSV LOCATION 'x.csv' OPTIONS ('format.has_header' 'true')",
        "CREATE ON SCHEMA public; pg_read_server_files",
        "permission denied",
    ),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t", "SELECT ON t", "permission denied for table t"),
    ("PREPARE p AS SELECT a FROM t; EXECUTE p; DEALLOCATE p", "SELECT ON t", "permission denied for table t"),
    ("SELECT c.relname, t.a FROM pg_class c, t", "SELECT ON t", "permission denied for table t"),
    ("GRANT SELECT ON t TO PUBLIC", "SELECT ON t WITH GRANT OPTION", "permission denied for table t"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_needs_its_rights_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = secured(folder.path(), &[]);
    std::fs::write(server.dir().join("x.csv"), "a\n1\n").unwrap();
    let admin = login(&server, "thalweg", PASSWORD).await.unwrap();
    admin
        .batch_execute(
            "CREATE USER ann PASSWORD 'a'; CREATE USER bob; CREATE TABLE t (a int PRIMARY KEY); CREATE TABLE u (a int);
             CREATE SOURCE s WITH (connector = 'generator', rows = '3');
             CREATE MATERIALIZED VIEW m AS SELECT a FROM t; CREATE VIEW q AS SELECT a FROM t;
             CREATE EXTERNAL TABLE files STORED AS CSV LOCATION 'x.csv' OPTIONS ('format.has_header' 'true')",
        )
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    let ann = login(&server, "ann", "a").await.unwrap();
    for (statement, needed, refused) in MATRIX {
        let grants: Vec<String> = needed.split("; ").map(|right| format!("GRANT {right}")).collect();
        let grant = |text: &str| match text.split_once(" WITH GRANT OPTION") {
            Some((right, _)) => format!("{right} TO ann WITH GRANT OPTION"),
            None => format!("{text} TO ann"),
        };
        // Each right by itself is missed.
        for left_out in 0..grants.len() {
            for (_, text) in grants.iter().enumerate().filter(|(place, _)| *place != left_out) {
                admin.batch_execute(&grant(text)).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
            }
            let said = refusal(ann.batch_execute(statement).await);
            assert!(
                said.starts_with("42501 ") && said.contains(refused),
                "{statement} without {}: {said}",
                grants[left_out]
            );
            forget(&admin).await;
        }
        for text in &grants {
            admin.batch_execute(&grant(text)).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        }
        let said = refusal(ann.batch_execute(statement).await);
        assert_eq!(said, "allowed", "{statement}");
        forget(&admin).await;
    }
    assert_eq!(refusal(ann.batch_execute("ALTER ROLE ann SET jit = on").await), "allowed");
    for statement in ["ALTER ROLE bob SET jit = on", "ALTER ROLE thalweg SET jit = on"] {
        assert_eq!(refusal(ann.batch_execute(statement).await), "42501 permission denied to alter role");
    }
    let all = refusal(ann.batch_execute("ALTER ROLE ALL SET jit = on").await);
    assert_eq!(all, "42501 permission denied to alter setting");
    // What has the server read its files or run something needs more than to create.
    admin.batch_execute("GRANT CREATE ON SCHEMA public TO ann").await.unwrap();
    let source = |option: &str| format!("CREATE SOURCE made WITH (connector = 'kafka', {option} = '/etc/passwd')");
    let read = refusal(ann.batch_execute(&source("properties.ssl.ca.location")).await);
    assert_eq!(read, "42501 permission denied to read files of the server");
    admin.batch_execute("GRANT pg_read_server_files TO ann").await.unwrap();
    assert!(!refusal(ann.batch_execute(&source("properties.ssl.ca.location")).await).starts_with("42501"));
    let run = refusal(ann.batch_execute(&source("properties.plugin.library.paths")).await);
    assert_eq!(run, "42501 permission denied to set option \"properties.plugin.library.paths\"");
}

/// Takes all from ann that she has, and what she made.
async fn forget(admin: &Client) {
    admin
        .batch_execute("DROP OWNED BY ann CASCADE; REVOKE pg_read_server_files FROM ann")
        .await
        .expect("the rights go");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_reads_with_its_owner_s_rights_and_set_role_changes_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let server = secured(folder.path(), &[]);
    let admin = login(&server, "thalweg", PASSWORD).await.unwrap();
    admin
        .batch_execute(
            "CREATE ROLE owners; CREATE USER ann PASSWORD 'a' IN ROLE owners; CREATE USER bob PASSWORD 'b';
             CREATE TABLE t (a int); INSERT INTO t VALUES (5); GRANT SELECT ON t TO owners; GRANT CREATE ON SCHEMA public TO owners",
        )
        .await
        .unwrap();
    let (ann, bob) = (login(&server, "ann", "a").await.unwrap(), login(&server, "bob", "b").await.unwrap());
    ann.batch_execute("SET ROLE owners; CREATE VIEW q AS SELECT a FROM t; CREATE VIEW qq AS SELECT a + 1 AS b FROM q")
        .await
        .unwrap();
    assert_eq!(value(&ann, "SELECT current_user || ' ' || session_user").await, "owners ann");
    ann.batch_execute("GRANT SELECT ON qq TO bob; RESET ROLE").await.unwrap();
    assert_eq!(value(&ann, "SELECT current_user").await, "ann");
    assert_eq!(value(&bob, "SELECT b FROM qq").await, "6");
    assert_eq!(refusal(bob.simple_query("SELECT a FROM q").await), "42501 permission denied for view q");
    for copy in ["COPY t TO STDOUT", "COPY (SELECT a FROM t) TO STDOUT", "COPY t FROM STDIN"] {
        assert_eq!(refusal(bob.batch_execute(copy).await), "42501 permission denied for table t", "{copy}");
    }
    admin.batch_execute("REVOKE SELECT ON t FROM owners").await.unwrap();
    assert_eq!(refusal(bob.simple_query("SELECT b FROM qq").await), "42501 permission denied for table t");
    assert_eq!(refusal(bob.batch_execute("SET ROLE owners").await), "42501 permission denied to set role \"owners\"");
    assert_eq!(refusal(bob.batch_execute("SET ROLE nobody").await), "22023 role \"nobody\" does not exist");
    assert_eq!(
        refusal(admin.batch_execute("DROP ROLE owners").await),
        "2BP01 role \"owners\" cannot be dropped because some objects depend on it"
    );
    // A block that is rolled back takes SET ROLE with it.
    ann.batch_execute("BEGIN; SET ROLE owners; ROLLBACK").await.unwrap();
    assert_eq!(value(&ann, "SELECT current_user").await, "ann");
    ann.batch_execute("BEGIN; SET LOCAL ROLE owners").await.unwrap();
    assert_eq!(value(&ann, "SELECT current_user").await, "owners");
    ann.batch_execute("COMMIT").await.unwrap();
    assert_eq!(value(&ann, "SELECT current_user").await, "ann");
    admin.batch_execute("REASSIGN OWNED BY owners TO bob; DROP OWNED BY owners; DROP ROLE owners").await.unwrap();
    assert_eq!(value(&admin, "SELECT viewowner FROM pg_views WHERE viewname = 'q'").await, "bob");
}

/// Statements and questions about roles and rights that psql asks of both.
const SHOWN: &str = r"
CREATE ROLE readers;
CREATE USER ann PASSWORD 'a' CONNECTION LIMIT 3 VALID UNTIL '2030-01-01 00:00:00+00';
CREATE ROLE boss CREATEROLE CREATEDB NOINHERIT;
GRANT readers TO ann;
GRANT readers, ann TO boss WITH ADMIN OPTION;
\du
CREATE TABLE t (a int);
CREATE VIEW v AS SELECT a FROM t;
\dp
GRANT SELECT, INSERT ON t TO readers;
GRANT ALL ON v TO ann WITH GRANT OPTION;
GRANT UPDATE ON t TO PUBLIC;
\dp
SET ROLE ann;
GRANT SELECT ON v TO boss;
GRANT SELECT ON t TO boss;
GRANT SELECT, DELETE ON v TO readers;
RESET ROLE;
\dp v
REVOKE ALL ON v FROM ann;
REVOKE GRANT OPTION FOR SELECT ON v FROM ann CASCADE;
\dp v
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO readers;
ALTER DEFAULT PRIVILEGES FOR ROLE ann GRANT INSERT ON TABLES TO PUBLIC;
\ddp
CREATE TABLE later (a int);
\dp later
GRANT CONNECT ON DATABASE postgres TO readers;
GRANT EAT ON t TO readers;
GRANT USAGE ON t TO readers;
GRANT SELECT ON nothing TO readers;
GRANT SELECT ON t TO nobody;
CREATE ROLE ann;
CREATE ROLE pg_x;
CREATE ROLE x LOGIN NOLOGIN;
DROP ROLE nobody;
DROP ROLE IF EXISTS nobody;
DROP ROLE readers;
DROP ROLE tester;
ALTER ROLE nobody LOGIN;
ALTER TABLE t OWNER TO ann;
SELECT tableowner FROM pg_tables WHERE tablename = 't';
\dp t
SET ROLE ann;
DROP VIEW v;
RESET ROLE;
SELECT has_table_privilege('readers', 't', 'SELECT'), has_table_privilege('readers', 't', 'DELETE'),
  has_table_privilege('boss', 't', 'insert, delete'), has_table_privilege('t', 'SELECT WITH GRANT OPTION'),
  has_schema_privilege('readers', 'public', 'USAGE'), has_schema_privilege('readers', 'public', 'CREATE'),
  pg_has_role('ann', 'readers', 'MEMBER'), pg_has_role('readers', 'ann', 'USAGE');
SELECT grantee, privilege_type, is_grantable FROM information_schema.table_privileges WHERE table_name = 'later' ORDER BY 1, 2;
";

#[test]
fn psql_shows_roles_and_rights_as_over_postgresql() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("hba.conf");
    std::fs::write(&rules, "host all all 127.0.0.1/32 trust\n").unwrap();
    let server = secured(folder.path(), &["--superuser", "tester", "--hba-file", &rules.to_string_lossy()]);
    let postgres = Postgres::start();
    let whole = |output: &Output| format!("{}\n--- stderr\n{}", text(&output.stdout), text(&output.stderr));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/rights.sql");
    let script = format!("\\set ECHO queries\n{}", std::fs::read_to_string(script).unwrap());
    for sql in [SHOWN, &script] {
        // The databases have their names.
        let own = sql.replace("DATABASE postgres", "DATABASE thalweg");
        let ours = whole(&thalweg_tests::postgres::psql("127.0.0.1", server.port(), "thalweg", &own));
        let ours =
            ours.replace("DATABASE thalweg", "DATABASE postgres").replace("database thalweg", "database postgres");
        let ours = ours.replace("\"thalweg\"", "\"postgres\"").replace("thalweg ", "postgres");
        let theirs = whole(&postgres.psql(sql));
        assert_eq!(ours, theirs);
    }
}
