//! All 22 queries of TPC-H as views over tables, made before and after the data, through refreshes
//! that insert and delete orders: each equals the same query run as a batch, and PostgreSQL's.
//!
//! Scale factor 0.01; `THALWEG_TPCH_SCALE` sets another one, and then the times are printed too.

use std::fmt::Display;
use std::path::Path;
use std::time::Instant;

use thalweg_tests::postgres::{Postgres, psql};
use thalweg_tests::server::{Options, Server};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

/// The tables, each with its columns.
const TABLES: &[(&str, &str)] = &[
    ("region", "r_regionkey int, r_name text, r_comment text"),
    ("nation", "n_nationkey int, n_name text, n_regionkey int, n_comment text"),
    (
        "supplier",
        "s_suppkey bigint, s_name text, s_address text, s_nationkey int, s_phone text, s_acctbal numeric(15,2), \
         s_comment text",
    ),
    (
        "part",
        "p_partkey bigint, p_name text, p_mfgr text, p_brand text, p_type text, p_size int, p_container text, \
         p_retailprice numeric(15,2), p_comment text",
    ),
    ("partsupp", "ps_partkey bigint, ps_suppkey bigint, ps_availqty int, ps_supplycost numeric(15,2), ps_comment text"),
    (
        "customer",
        "c_custkey bigint, c_name text, c_address text, c_nationkey int, c_phone text, c_acctbal numeric(15,2), \
         c_mktsegment text, c_comment text",
    ),
    (
        "orders",
        "o_orderkey bigint, o_custkey bigint, o_orderstatus text, o_totalprice numeric(15,2), o_orderdate date, \
         o_orderpriority text, o_clerk text, o_shippriority int, o_comment text",
    ),
    (
        "lineitem",
        "l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber int, l_quantity numeric(15,2), \
         l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag text, \
         l_linestatus text, l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct text, \
         l_shipmode text, l_comment text",
    ),
];

/// Rows of one COPY: at scale 1 a table is more than one transaction may have.
const COPY_ROWS: usize = 500_000;

/// COPY of some rows in TPC-H's own form, which ends every line with its delimiter.
fn copy<T: Display>(table: &str, rows: impl Iterator<Item = T>) -> String {
    let mut text = String::new();
    for (place, row) in rows.enumerate() {
        if place % COPY_ROWS == 0 {
            let end = if place == 0 { "" } else { "\\.\n" };
            text.push_str(&format!("{end}COPY {table} FROM STDIN (DELIMITER '|', NULL '');\n"));
        }
        let line = row.to_string();
        text.push_str(line.strip_suffix('|').unwrap_or(&line));
        text.push('\n');
    }
    text.push_str("\\.\n");
    text
}

/// One in a hundred orders is held back and inserted by the first refresh.
fn is_late(order: i64) -> bool {
    order % 100 == 1
}

/// The orders that the second refresh deletes, as a condition.
const LEAVING: &str = "orderkey % 100 = 2";

fn load(scale: f64) -> String {
    let orders = OrderGenerator::new(scale, 1, 1);
    let lines = LineItemGenerator::new(scale, 1, 1);
    [
        copy("region", RegionGenerator::new(scale, 1, 1).iter()),
        copy("nation", NationGenerator::new(scale, 1, 1).iter()),
        copy("supplier", SupplierGenerator::new(scale, 1, 1).iter()),
        copy("part", PartGenerator::new(scale, 1, 1).iter()),
        copy("partsupp", PartSuppGenerator::new(scale, 1, 1).iter()),
        copy("customer", CustomerGenerator::new(scale, 1, 1).iter()),
        copy("orders", orders.iter().filter(|order| !is_late(order.o_orderkey))),
        copy("lineitem", lines.iter().filter(|line| !is_late(line.l_orderkey))),
    ]
    .concat()
}

fn first_refresh(scale: f64) -> String {
    let orders = OrderGenerator::new(scale, 1, 1);
    let lines = LineItemGenerator::new(scale, 1, 1);
    [
        "BEGIN;\n".to_string(),
        copy("orders", orders.iter().filter(|order| is_late(order.o_orderkey))),
        copy("lineitem", lines.iter().filter(|line| is_late(line.l_orderkey))),
        "COMMIT;\n".to_string(),
    ]
    .concat()
}

fn queries() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tpch.sql");
    let text = std::fs::read_to_string(path).expect("the queries");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    lines.join("\n").split(';').map(|sql| sql.trim().to_string()).filter(|sql| !sql.is_empty()).collect()
}

/// Both databases, fed the same.
struct Pair {
    server: Server,
    postgres: Postgres,
}

impl Pair {
    fn ours(&self, sql: &str) -> String {
        printed(&psql("127.0.0.1", self.server.port(), "thalweg", sql))
    }

    fn theirs(&self, sql: &str) -> String {
        printed(&self.postgres.psql(sql))
    }

    /// Runs the same in both; nothing of it may fail.
    fn both(&self, sql: &str) {
        for said in [self.ours(sql), self.theirs(sql)] {
            assert!(!said.contains("ERROR"), "{said}");
        }
    }

    /// Every view against its query here and there.
    fn compare(&self, queries: &[String], when: &str) {
        let start = Instant::now();
        for (place, sql) in queries.iter().enumerate() {
            let number = place + 1;
            let query = rows(&self.ours(&format!("\\pset format unaligned\n\\pset tuples_only on\n{sql};\n")));
            let view = rows(
                &self.ours(&format!("\\pset format unaligned\n\\pset tuples_only on\nSELECT * FROM q{number};\n")),
            );
            let theirs = rows(&self.theirs(&format!("\\pset format unaligned\n\\pset tuples_only on\n{sql};\n")));
            assert_eq!(query, theirs, "{when}: the query q{number} and PostgreSQL's");
            assert_eq!(view, theirs, "{when}: the view q{number} and PostgreSQL's");
        }
        println!("compared {when} in {:.1?}", start.elapsed());
    }
}

fn printed(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn rows(text: &str) -> Vec<String> {
    let said = |line: &&str| !line.starts_with("Output format") && !line.starts_with("Tuples only");
    let mut rows: Vec<String> = text.lines().filter(said).map(str::to_string).collect();
    rows.sort_unstable();
    rows
}

#[test]
fn all_queries_of_tpch_are_kept_up_to_date() {
    let scale: f64 = std::env::var("THALWEG_TPCH_SCALE").map_or(0.01, |text| text.parse().expect("a number"));
    let pair = Pair { server: Server::start(Options::default()), postgres: Postgres::start() };
    for (name, columns) in TABLES {
        pair.both(&format!("CREATE TABLE {name} ({columns});\n"));
    }
    let queries = queries();
    assert_eq!(queries.len(), 22);
    let create = |odd: usize| {
        for (place, sql) in queries.iter().enumerate().filter(|(place, _)| place % 2 == odd) {
            let start = Instant::now();
            let said = pair.ours(&format!("CREATE MATERIALIZED VIEW q{} AS {sql};\n", place + 1));
            assert!(!said.contains("ERROR"), "q{}: {said}", place + 1);
            println!("q{} made in {:.1?}", place + 1, start.elapsed());
        }
    };
    create(1);
    let start = Instant::now();
    pair.both(&load(scale));
    println!("loaded in {:.1?}", start.elapsed());
    for column in ["lineitem (l_orderkey)", "lineitem (l_partkey)", "partsupp (ps_partkey)", "orders (o_custkey)"] {
        pair.theirs(&format!("CREATE INDEX ON {column};\n"));
    }
    pair.theirs("ANALYZE;\n");
    create(0);
    pair.compare(&queries, "after the load");
    let start = Instant::now();
    pair.both(&first_refresh(scale));
    println!("first refresh in {:.1?}", start.elapsed());
    pair.compare(&queries, "after the first refresh");
    let start = Instant::now();
    pair.both(&format!(
        "BEGIN; DELETE FROM orders WHERE o_{LEAVING}; DELETE FROM lineitem WHERE l_{LEAVING}; COMMIT;\n"
    ));
    println!("second refresh in {:.1?}", start.elapsed());
    pair.compare(&queries, "after the second refresh");
}
