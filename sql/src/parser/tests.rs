//! Text in, what was read out: every statement of Thalweg's own, and every error's words.

use super::*;

/// The debug form of the one statement in the text, on one line.
fn read(sql: &str) -> String {
    match parse(sql) {
        Ok(statements) => {
            statements.iter().map(|statement| format!("{:?}", statement.kind())).collect::<Vec<_>>().join("; ")
        }
        Err(error) => {
            let place = error.position().map_or(String::new(), |position| format!(" @{position}"));
            format!("{} {}{place}", error.state().code(), error.message())
        }
    }
}

#[test]
fn the_issue_s_source_is_read_whole() {
    let text = read(
        "CREATE SOURCE events (event_time timestamptz, price numeric(10,2) NOT NULL, n double precision, \"Q\" varchar(20), INCLUDE key AS k)
         INCLUDE offset INCLUDE timestamp AS written
         WITH (connector='kafka', Topic='ecomm_test', properties.bootstrap.server='127.0.0.1:9092', scan.startup.mode = earliest, n=-3)
         FORMAT PLAIN ENCODE CSV (without_header='true', delimiter=',');",
    );
    assert_eq!(
        text,
        "CreateSource(CreateSource { if_not_exists: false, name: Name { schema: None, name: \"events\" }, columns: [\
         Column { name: \"event_time\", data_type: Timestamptz, not_null: false }, \
         Column { name: \"price\", data_type: Numeric(Some((10, 2))), not_null: true }, \
         Column { name: \"n\", data_type: Float8, not_null: false }, \
         Column { name: \"Q\", data_type: Varchar(Some(20)), not_null: false }], \
         includes: [(Key, \"k\"), (Offset, \"offset\"), (Timestamp, \"written\")], \
         options: {\"connector\": \"kafka\", \"n\": \"-3\", \"properties.bootstrap.server\": \"127.0.0.1:9092\", \
         \"scan.startup.mode\": \"earliest\", \"topic\": \"ecomm_test\"}, \
         format: Some(FormatDefinition { format: \"PLAIN\", encode: \"CSV\", options: {\"delimiter\": \",\", \"without_header\": \"true\"} }) })"
    );
}

#[test]
fn a_source_may_leave_its_columns_to_the_connector() {
    assert_eq!(
        read("create source IF NOT EXISTS public.g with (connector = 'generator', rate = 'max')"),
        "CreateSource(CreateSource { if_not_exists: true, name: Name { schema: Some(\"public\"), name: \"g\" }, columns: [], includes: [], \
         options: {\"connector\": \"generator\", \"rate\": \"max\"}, format: None })"
    );
}

fn view(sql: &str) -> (String, String, Vec<String>, Vec<(String, String)>) {
    let statements = parse(sql).unwrap();
    match statements[0].kind() {
        Kind::CreateView(view) => (
            view.query.to_string(),
            view.text.clone(),
            view.columns.clone(),
            view.options.clone().into_iter().collect(),
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_view_keeps_its_query_as_written() {
    let (query, text, columns, options) = view(
        "CREATE MATERIALIZED VIEW v (a, b) AS select  x,\n y from t -- why\n where x > 1 WITH (on_error = 'fail');",
    );
    assert_eq!(query, "SELECT x, y FROM t WHERE x > 1");
    assert_eq!(text, "select  x,\n y from t -- why\n where x > 1");
    assert_eq!(columns, ["a", "b"]);
    assert_eq!(options, [("on_error".to_string(), "fail".to_string())]);
}

#[test]
fn a_view_may_end_in_with_data_or_in_a_parenthesis() {
    assert_eq!(view("create or replace materialized view v as select 1 with data").0, "SELECT 1");
    assert_eq!(
        view("create materialized view v as select * from t where x in (1, 2)").0,
        "SELECT * FROM t WHERE x IN (1, 2)"
    );
    assert_eq!(
        view("create materialized view v with (on_error='fail') as with w as (select 1) select * from w").3.len(),
        1
    );
    assert_eq!(read("create materialized view v as select 1 with no data"), "0A000 WITH NO DATA is not supported");
}

#[test]
fn external_tables_take_their_clauses_in_any_order() {
    let expected = "CreateExternalTable(CreateExternalTable { if_not_exists: false, name: Name { schema: None, name: \"history\" }, columns: [], \
                    stored_as: \"CSV\", location: \"2019-Nov.csv\", options: {\"format.has_header\": \"true\"} })";
    assert_eq!(
        read(
            "CREATE EXTERNAL TABLE history STORED AS CSV LOCATION '2019-Nov.csv' OPTIONS ('format.has_header' 'true')"
        ),
        expected
    );
    assert_eq!(
        read("CREATE EXTERNAL TABLE history OPTIONS (format.has_header = true) LOCATION '2019-Nov.csv' STORED AS csv"),
        expected
    );
    assert_eq!(read("CREATE EXTERNAL TABLE t STORED AS CSV"), "42601 syntax error at end of input @38");
}

#[test]
fn drop_show_explain_and_set() {
    for (sql, expected) in [
        (
            "drop materialized view if exists a, public.b cascade",
            "Drop(Drop { kind: View, if_exists: true, names: [Name { schema: None, name: \"a\" }, Name { schema: Some(\"public\"), name: \"b\" }], cascade: true })",
        ),
        (
            "drop external table t restrict",
            "Drop(Drop { kind: Table, if_exists: false, names: [Name { schema: None, name: \"t\" }], cascade: false })",
        ),
        ("show materialized views", "Show(Objects(View))"),
        ("SHOW CREATE SOURCE s", "Show(Create(Source, Name { schema: None, name: \"s\" }))"),
        ("show TimeZone", "Show(Setting(\"timezone\"))"),
        ("show transaction isolation level", "Show(Setting(\"transaction_isolation\"))"),
        ("explain materialized view v", "Explain(View(Name { schema: None, name: \"v\" }))"),
        (
            "set session application_name to 'psql'",
            "Set(Set { name: \"application_name\", local: false, value: Some(\"psql\") })",
        ),
        (
            "SET LOCAL TIME ZONE 'Europe/Berlin'",
            "Set(Set { name: \"timezone\", local: true, value: Some(\"Europe/Berlin\") })",
        ),
        ("set time zone -3", "Set(Set { name: \"timezone\", local: false, value: Some(\"-3\") })"),
        (
            "set search_path = public, thalweg",
            "Set(Set { name: \"search_path\", local: false, value: Some(\"public, thalweg\") })",
        ),
        ("set names 'utf8'", "Set(Set { name: \"client_encoding\", local: false, value: Some(\"utf8\") })"),
        ("set x.y = default", "Set(Set { name: \"x.y\", local: false, value: None })"),
        ("reset all; reset timezone", "Reset(None); Reset(Some(\"timezone\"))"),
        (
            "begin isolation level repeatable read, read only; start transaction; commit and no chain; abort work",
            "Begin(\"BEGIN\", Modes { isolation: Some(\"repeatable read\"), read_only: Some(true) }); \
             Begin(\"START TRANSACTION\", Modes { isolation: None, read_only: None }); Commit { chain: false }; \
             Rollback { chain: false }",
        ),
        (
            "set session characteristics as transaction read only; set transaction read write",
            "SetTransactions(Modes { isolation: None, read_only: Some(true) }); \
             SetTransaction(Modes { isolation: None, read_only: Some(false) })",
        ),
        (
            "savepoint a; release a; rollback to savepoint a; rollback to b; commit and chain",
            "Savepoint(\"a\"); Release(\"a\"); RollbackTo(\"a\"); RollbackTo(\"b\"); Commit { chain: true }",
        ),
        (
            "fetch c; fetch next; fetch all from c; move backward 3 in c; fetch absolute -1 c; fetch -2 from c; close all",
            "Fetch(Fetch { name: \"c\", direction: Forward(1), moves: false }); \
             Fetch(Fetch { name: \"next\", direction: Forward(1), moves: false }); \
             Fetch(Fetch { name: \"c\", direction: Forward(9223372036854775807), moves: false }); \
             Fetch(Fetch { name: \"c\", direction: Backward(3), moves: true }); \
             Fetch(Fetch { name: \"c\", direction: Absolute(-1), moves: false }); \
             Fetch(Fetch { name: \"c\", direction: Backward(2), moves: false }); Close(None)",
        ),
        (
            "discard all; deallocate prepare all; deallocate s",
            "Discard(\"DISCARD ALL\"); Deallocate(None); Deallocate(Some(\"s\"))",
        ),
        (" -- nothing\n ;; /* at all */", "Empty"),
    ] {
        assert_eq!(read(sql), expected, "{sql}");
    }
}

#[test]
fn statements_are_split_with_their_texts() {
    let statements = parse("select ';' ; ; select /* ; */ 2 -- ;\n").unwrap();
    let texts: Vec<&str> = statements.iter().map(Statement::text).collect();
    assert_eq!(texts, ["select ';'", "select /* ; */ 2"]);
}

#[test]
fn syntax_errors_are_postgresql_s() {
    for (sql, expected) in [
        ("selct 1", "42601 syntax error at or near \"selct\" @1"),
        ("select 1 from where", "42601 syntax error at or near \"where\" @15"),
        ("select (1", "42601 syntax error at end of input @10"),
        ("select 1;\nselect é, 2 + from t", "42601 syntax error at or near \"from\" @25"),
        ("select 2 + from t join u on a = b", "42601 syntax error at or near \"from\" @12"),
        ("select a, from t", "42601 syntax error at or near \"from\" @11"),
        ("select 1 where x = order by 1", "42601 syntax error at or near \"order\" @20"),
        ("select select.x from t", "42601 syntax error at or near \"select\" @8"),
        ("select on(1)", "42601 syntax error at or near \"on\" @8"),
        ("select 2 + left from t", "42601 syntax error at or near \"from\" @17"),
        ("select user.x from t", "42601 syntax error at or near \".\" @12"),
        ("select default", "42601 DEFAULT is not allowed in this context @8"),
        ("select distinct from t", "42601 syntax error at or near \"from\" @17"),
        ("select distinct", "42601 syntax error at end of input @16"),
        ("select \"\"", "42601 zero-length delimited identifier at or near \"\"\"\" @8"),
        ("create source s (a text,) with (x='y')", "42601 syntax error at or near \")\" @25"),
        ("create source select (a text)", "42601 syntax error at or near \"select\" @15"),
        ("drop source a b", "42601 syntax error at or near \"b\" @15"),
        ("create source s (a nosuch)", "42704 type \"nosuch\" does not exist @20"),
        ("create source s (a xml)", "0A000 type xml is not supported @20"),
        ("create source s (a text, A int)", "42701 column \"a\" specified more than once"),
        ("create source s (a text primary key)", "0A000 PRIMARY KEY for a column is not supported @25"),
        ("create source s (a text) with (x='1', X='2')", "42601 option \"x\" provided more than once @39"),
        ("select 'abc", "42601 unterminated quoted string at or near \"'abc\" @8"),
        ("merge into t using s on true", "42601 syntax error at end of input @29"),
        (
            "create table t (a int default 1 default 2)",
            "42601 multiple default values specified for column \"a\" of table \"t\"",
        ),
        ("alter table t add foreign key (a)", "0A000 ALTER TABLE ... ADD FOREIGN is not supported @19"),
        ("insert into t", "42601 syntax error at end of input @14"),
        (
            "insert into t values (1) on conflict do update set a = 1",
            "42601 ON CONFLICT DO UPDATE requires inference specification or constraint name @26",
        ),
        ("insert into t values (1, default) returning default", "42601 DEFAULT is not allowed in this context @45"),
        ("update t set a = ", "42601 syntax error at end of input @18"),
        ("update t set (a, b) = row(1)", "42601 number of columns does not match number of values @23"),
        ("delete t", "42601 syntax error at or near \"t\" @8"),
        ("copy t to 'file'", "0A000 COPY to a file or program is not supported @11"),
        ("prepare p as begin", "42601 syntax error at or near \"begin\" @14"),
        ("fetch absolute x from c", "42601 syntax error at or near \"x\" @16"),
        ("copy t from stdin (format csv, format text)", "42601 conflicting or redundant options @32"),
        ("merge into t", "42601 syntax error at end of input @13"),
        ("vacuum (nice) t", "42601 unrecognized VACUUM option \"nice\" @9"),
        ("set jit", "42601 syntax error at end of input @8"),
        ("explain analyze select 1", "0A000 EXPLAIN ANALYZE is not supported @9"),
    ] {
        assert_eq!(read(sql), expected, "{sql}");
    }
}

#[test]
fn what_views_and_indexes_cannot_be_is_refused_in_its_place() {
    for (sql, expected) in [
        ("create index i on t (a + 1)", "42601 syntax error at or near \"+\" @24"),
        ("create index i on t (a nice_ops)", "0A000 the operator class nice_ops is not supported @24"),
        ("create index i on t (a) with (fillfactor = 7)", "0A000 CREATE INDEX ... WITH is not supported @25"),
        ("create view v with (security_barrier) as select 1", "0A000 CREATE VIEW ... WITH is not supported @15"),
        ("create view v as select 1 with local check option", "0A000 CHECK OPTION is not supported @27"),
        ("create view if not exists v as select 1", "42601 syntax error at or near \"not\" @16"),
        (
            "create table t (a int primary key) with (connector = 'kafka')",
            "0A000 PRIMARY KEY for a column is not supported @23",
        ),
        ("update t set (a, b) = (1, 2, 3)", "42601 number of columns does not match number of values @23"),
        ("with x as (select 1) insert into t", "42601 syntax error at end of input @35"),
        ("table", "42601 syntax error at end of input @6"),
    ] {
        assert_eq!(read(sql), expected, "{sql}");
    }
}

#[test]
fn reserved_words_are_no_names_and_values_among_them_are() {
    // pg_get_keywords() of PostgreSQL 15 with catcode R or T, and its answers; `-`: it goes on. For
    // `group.x` and `order.x` PostgreSQL blames the point, because the list before them may be empty.
    let mut wrong = Vec::new();
    for line in include_str!("testdata/reserved.tsv").lines() {
        let [word, operand, qualifier] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        for (sql, wanted) in
            [(format!("select 2 + {word} from t"), operand), (format!("select {word}.x from t"), qualifier)]
        {
            let ours = read(&sql);
            let ours = if ours.starts_with("Query") { "-" } else { ours.as_str() };
            if ours != wanted {
                wrong.push(format!("{sql}: {ours}, but {wanted}"));
            }
        }
        let label = read(&format!("select t.{word} as {word}, \"{word}\" from t"));
        if !label.starts_with("Query") {
            wrong.push(format!("{word}: {label}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_select_list_may_be_empty() {
    for (sql, written) in [
        ("select", "SELECT"),
        ("select from t", "SELECT FROM t"),
        ("select all where true", "SELECT ALL WHERE true"),
        ("select union all select", "SELECT UNION ALL SELECT"),
        ("select exists (select), exists (select from t)", "SELECT EXISTS (SELECT), EXISTS (SELECT FROM t)"),
        ("with w as (select) select", "WITH w AS (SELECT) SELECT"),
        ("select 1 as select", "SELECT 1 AS select"),
        ("select t.select from t", "SELECT t.select FROM t"),
    ] {
        let text = parse_query(sql).map(|query| query.to_string()).unwrap_or_else(|error| error.to_string());
        assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), written, "{sql}");
    }
    assert_eq!(view("create materialized view v as select").1, "select");
}

#[test]
fn every_table_of_words_is_sorted() {
    assert!(!is_reserved("events") && is_reserved("select") && is_reserved("all") && is_reserved("with"));
    assert_eq!(read("alter system reset all"), "0A000 ALTER SYSTEM is not supported @7");
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let nested =
        |open: &str, close: &str, count: usize| format!("select {}1{}", open.repeat(count), close.repeat(count));
    assert_eq!(read(&nested("(", ")", 100_000)), "54001 stack depth limit exceeded");
    assert_eq!(read(&nested("case when true then ", " end", 5_000)), "54001 stack depth limit exceeded");
    assert_eq!(read(&nested("- ", "", 100_000)), "54001 stack depth limit exceeded");
    assert_eq!(read(&format!("select 1{}", " + 1".repeat(100_000))), "54001 stack depth limit exceeded");
    assert_eq!(read(&format!("select 1{}", " union select 1".repeat(50_000))), "54001 stack depth limit exceeded");
    assert!(read(&nested("(", ")", 50)).starts_with("Query"));
    let long_list = format!("select 1 in ({}1)", "1, ".repeat(50_000));
    assert!(read(&long_list).starts_with("Query"));
}
