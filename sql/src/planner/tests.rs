//! Tests of binding, lowering and batch execution, against PostgreSQL's own answers.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Decimal128Array, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use futures::StreamExt;
use thalweg_dataflow::Result;
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::types::{Numeric, PgType, TextStyle, TextWriter};

use crate::batch::{Batch, BatchOptions};
use crate::parser::parse_query;

use super::{Bound, Planner, Relation, Resolver, Settings, explain_query, explain_view};

struct Names;

pub(crate) fn events() -> SchemaRef {
    let fields = [
        ("event_time", PgType::Timestamptz),
        ("event_type", PgType::Text),
        ("product_id", PgType::Int8),
        ("category_id", PgType::Int8),
        ("category_code", PgType::Text),
        ("brand", PgType::Text),
        ("price", PgType::Numeric(Some((10, 2)))),
        ("user_id", PgType::Int8),
        ("user_session", PgType::Text),
    ];
    Arc::new(Schema::new(fields.map(|(name, ty)| ty.field(name, true)).to_vec()))
}

impl Resolver for Names {
    fn relation(&self, _schema: Option<&str>, name: &str) -> Result<Option<Relation>> {
        Ok(match name {
            "events" => Some(Relation::View { id: RelationId(1), name: name.into(), schema: events(), visible: None }),
            "brand_funnel" => {
                let fields = [
                    ("brand", PgType::Text),
                    ("viewers", PgType::Int8),
                    ("buyers", PgType::Int8),
                    ("revenue", PgType::Numeric(None)),
                ];
                let schema = Arc::new(Schema::new(fields.map(|(name, ty)| ty.field(name, true)).to_vec()));
                Some(Relation::View { id: RelationId(2), name: name.into(), schema, visible: None })
            }
            _ => None,
        })
    }
}

pub(crate) fn bind(sql: &str, view: bool) -> Result<Bound> {
    bind_with(sql, view, &Names)
}

fn bind_with(sql: &str, view: bool, resolver: &dyn Resolver) -> Result<Bound> {
    let query = parse_query(sql)?;
    let settings = Settings { text: sql.to_string(), view, ..Settings::default() };
    Planner.bind(&query, resolver, &settings, &[])
}

fn lowered(sql: &str) -> String {
    let bound = bind(sql, true).expect(sql);
    let plan = Planner.lower(&bound).expect(sql);
    let name = |id: RelationId| if id.0 == 1 { "events".to_string() } else { "brand_funnel".to_string() };
    explain_view(&plan, &name, &|_| false).join("\n")
}

fn header(sql: &str) -> String {
    let bound = bind(sql, false).expect(sql);
    bound
        .schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), PgType::of(field).name()))
        .collect::<Vec<_>>()
        .join(", ")
}

fn error(sql: &str, view: bool) -> String {
    let error = match bind(sql, view) {
        Ok(bound) => Planner.lower(&bound).expect_err(sql),
        Err(error) => error,
    };
    format!("{} {}", error.state().code(), error.message())
}

const FUNNEL: &str = "SELECT brand,
  count(DISTINCT user_id) FILTER (WHERE event_type='view') AS viewers,
  count(DISTINCT user_id) FILTER (WHERE event_type='cart') AS carters,
  count(DISTINCT user_id) FILTER (WHERE event_type='purchase') AS buyers,
  count(*) FILTER (WHERE event_type='purchase') AS purchases,
  sum(price) FILTER (WHERE event_type='purchase') AS revenue
FROM events GROUP BY brand";

const SHARES: &str = "SELECT brand, count(*) AS users,
  round(100.0 * count(*) FILTER (WHERE v AND NOT c AND NOT p) / count(*), 2) AS pct_only_viewed,
  round(100.0 * count(*) FILTER (WHERE c AND NOT p) / count(*), 2) AS pct_carted_not_bought,
  round(100.0 * count(*) FILTER (WHERE p) / count(*), 2) AS pct_bought
FROM (SELECT brand, user_id, bool_or(event_type='view') v, bool_or(event_type='cart') c, bool_or(event_type='purchase') p
      FROM events GROUP BY 1, 2) u GROUP BY brand";

#[test]
fn the_views_of_the_case_lower() {
    assert_eq!(
        lowered("SELECT event_type, count(*) AS events FROM events GROUP BY event_type"),
        "Reduce by event_type: count(*)\n  -> Map -> event_type\n      -> View events"
    );
    assert_eq!(
        lowered(FUNNEL),
        "Reduce by brand: count(DISTINCT user_id) FILTER (WHERE (event_type = 'view')), \
         count(DISTINCT user_id) FILTER (WHERE (event_type = 'cart')), \
         count(DISTINCT user_id) FILTER (WHERE (event_type = 'purchase')), \
         count(*) FILTER (WHERE (event_type = 'purchase')), \
         sum(price) FILTER (WHERE (event_type = 'purchase'))\n  \
         -> Map -> brand, user_id, (event_type = 'view'), (event_type = 'cart'), (event_type = 'purchase'), price\n      \
         -> View events"
    );
    let shares = lowered(SHARES);
    assert_eq!(shares.matches("Reduce by ").count(), 2, "{shares}");
    assert!(shares.starts_with("Map -> "), "{shares}");
}

#[test]
fn neighbouring_maps_become_one_and_unread_columns_go() {
    let text = lowered("SELECT b FROM (SELECT brand b, price p FROM events WHERE user_id > 1) x WHERE p > 2");
    assert_eq!(text.lines().count(), 2, "{text}");
    let text = lowered("SELECT DISTINCT brand FROM events UNION SELECT brand FROM brand_funnel ORDER BY 1");
    assert!(text.starts_with("Distinct brand\n  -> Union all\n      -> Distinct "), "{text}");
}

#[test]
fn explain_writes_expressions_as_sql() {
    let cases = [
        (
            "SELECT brand || '''s', -user_id, price * 2 FROM events WHERE brand LIKE 'a%' AND price > 1.5 AND NOT brand IN ('b', 'c')",
            "Map where (brand ~~ 'a%') AND (price > 1.50) AND (NOT (brand IN ('b', 'c'))) -> (brand || '''s'), (- user_id), ((price)::numeric * 2)",
        ),
        (
            "SELECT CASE WHEN user_id = 0 OR 10 / user_id > 2 THEN 'a' ELSE brand END, extract(epoch from event_time) FROM events",
            "Map -> CASE WHEN ((user_id = 0) OR ((10 / user_id) > 2)) THEN 'a' ELSE brand END, EXTRACT(epoch FROM event_time)",
        ),
        (
            "SELECT greatest(user_id, 5), lower(brand) FROM events WHERE event_time >= '2019-11-01' AND brand IS NOT NULL",
            "Map where (event_time >= '2019-11-01 00:00:00+00'::timestamp with time zone) AND (brand IS NOT NULL) -> GREATEST(user_id, 5), lower(brand)",
        ),
        ("SELECT brand FROM brand_funnel WHERE revenue > 2.5", "Map where (revenue > 2.5) -> brand"),
    ];
    for (sql, expected) in cases {
        assert_eq!(lowered(sql).lines().next(), Some(expected), "{sql}");
    }
    let query = "SELECT brand || 'x', count(*) FROM events WHERE brand = 'it''s' AND price > 2 GROUP BY 1 LIMIT 3";
    let text = explain_query(&bind(query, false).expect(query)).join("\n");
    assert!(text.contains("brand = 'it''s' AND events.price > 2.00"), "{text}");
    assert!(text.contains("(events.brand || 'x')"), "{text}");
    assert!(text.contains("Limit: skip=0, fetch=3"), "{text}");
}

#[test]
fn output_columns_are_named_and_typed_as_in_postgresql() {
    assert_eq!(
        header(
            "SELECT brand, viewers, round(100.0*buyers/nullif(viewers,0),2) AS conversion FROM brand_funnel ORDER BY revenue DESC NULLS LAST LIMIT 10"
        ),
        "brand text, viewers bigint, conversion numeric"
    );
    assert_eq!(
        header(
            "SELECT count(*), count(*), sum(user_id), avg(price), 1+1, price::text, min(price) FROM events GROUP BY price"
        ),
        "count bigint, count bigint, sum numeric, avg numeric, ?column? integer, price text, min numeric"
    );
    assert_eq!(
        header(
            "SELECT floor(extract(epoch from event_time)/60)*60 AS \"time\", count(*) FROM events WHERE event_time BETWEEN '2019-11-01T00:00:00Z' AND '2019-11-01T06:00:00.123Z' GROUP BY 1 ORDER BY 1"
        ),
        "time numeric, count bigint"
    );
}

#[test]
fn errors_are_postgresqls() {
    let cases = [
        ("SELECT brnd FROM events", false, "42703 column \"brnd\" does not exist"),
        ("SELECT * FROM nothing", false, "42P01 relation \"nothing\" does not exist"),
        (
            "SELECT brand, count(*) FROM events",
            false,
            "42803 column \"events.brand\" must appear in the GROUP BY clause or be used in an aggregate function",
        ),
        ("SELECT brand + user_id FROM events", false, "42883 operator does not exist: text + bigint"),
        ("SELECT lower(user_id) FROM events", false, "42883 function lower(bigint) does not exist"),
        (
            "SELECT e.brand FROM events e JOIN events f ON brand = 'x'",
            false,
            "42702 column reference \"brand\" is ambiguous",
        ),
        ("SELECT sum(count(*)) FROM events", false, "42803 aggregate function calls cannot be nested"),
        ("SELECT 1 FROM events WHERE count(*) > 1", false, "42803 aggregate functions are not allowed in WHERE"),
        (
            "SELECT user_id FROM events WHERE event_time > 'x'",
            false,
            "22007 invalid input syntax for type timestamp with time zone: \"x\"",
        ),
        ("SELECT 1 IN (SELECT)", false, "42601 subquery has too few columns"),
        ("SELECT 1 IN (SELECT 1, 2)", false, "42601 subquery has too many columns"),
        ("SELECT FROM events", true, "0A000 a materialized view without columns is not supported"),
        ("SELECT now() FROM events", true, "0A000 now in a materialized view is not supported"),
    ];
    for (sql, view, expected) in cases {
        assert_eq!(error(sql, view), expected, "{sql}");
    }
}

/// Runs a query; rows of text, columns separated by `|`, null as NULL.
async fn rows(sql: &str, resolver: &dyn Resolver) -> Result<Vec<String>> {
    rows_within(1 << 28, sql, resolver).await
}

/// The same in so many bytes of memory.
async fn rows_within(memory: usize, sql: &str, resolver: &dyn Resolver) -> Result<Vec<String>> {
    let spill = std::env::temp_dir();
    let batch = Batch::new(BatchOptions { workers: 2, memory, spill })?;
    let bound = bind_with(sql, false, resolver)?;
    let mut stream = batch.run(&bound, &[], None).await?;
    let style = TextStyle::default();
    let mut rows = Vec::new();
    while let Some(next) = stream.next().await {
        let next = next?;
        let writers = next
            .columns()
            .iter()
            .zip(bound.schema.fields())
            .map(|(column, field)| TextWriter::new(&PgType::of(field), column))
            .collect::<Result<Vec<_>>>()?;
        for row in 0..next.num_rows() {
            let mut line = String::new();
            for (place, writer) in writers.iter().enumerate() {
                if place > 0 {
                    line.push('|');
                }
                if writer.is_null(row) { line.push_str("NULL") } else { writer.write(row, &style, &mut line) }
            }
            rows.push(line);
        }
    }
    Ok(rows)
}

/// Every line of the table is an expression with PostgreSQL 15's answer: value, column name, type;
/// or ERROR and its SQLSTATE.
#[tokio::test]
async fn expressions_give_what_postgresql_gives() {
    let mut wrong = Vec::new();
    for line in include_str!("testdata/expressions.tsv").lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let [expression, value, name, ty] = parts.as_slice() else { panic!("{line}") };
        let sql = format!("SELECT {expression}");
        let ours = match rows(&sql, &Names).await {
            Ok(rows) => {
                let bound = bind(&sql, false).expect(expression);
                let field = bound.schema.field(0);
                format!("{}\t{}\t{}", rows.join("\\n").replace('\n', "\\n"), field.name(), PgType::of(field).name())
            }
            Err(error) => format!("ERROR\t{}\t", error.state().code()),
        };
        let expected = format!("{value}\t{name}\t{ty}");
        if ours != expected {
            wrong.push(format!("{expression}: {expected:?}, but {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// One table `t (k text, x bigint, p numeric(10,2), n numeric, f double precision)`.
struct OneTable;

impl Resolver for OneTable {
    fn relation(&self, _schema: Option<&str>, name: &str) -> Result<Option<Relation>> {
        if name != "t" {
            return Ok(None);
        }
        let numeric = |text: &str| {
            let mut bytes = Vec::new();
            text.parse::<Numeric>().expect("a number").encode(&mut bytes);
            bytes
        };
        let numerics = [numeric("1.0"), numeric("1.00"), numeric("2.5"), numeric("-3")];
        let prices = Decimal128Array::from(vec![Some(1050), Some(250), None, Some(100)])
            .with_precision_and_scale(10, 2)
            .expect("a precision");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("a"), None])),
            Arc::new(Int64Array::from(vec![Some(0), Some(2), Some(5), None])),
            Arc::new(prices),
            Arc::new(BinaryArray::from_iter_values(numerics)),
            Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, 1.5])),
        ];
        let types = [
            ("k", PgType::Text),
            ("x", PgType::Int8),
            ("p", PgType::Numeric(Some((10, 2)))),
            ("n", PgType::Numeric(None)),
            ("f", PgType::Float8),
        ];
        let schema = Arc::new(Schema::new(types.map(|(name, ty)| ty.field(name, true)).to_vec()));
        let batch = RecordBatch::try_new(schema.clone(), columns)?;
        Ok(Some(Relation::Virtual(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))))
    }
}

#[tokio::test]
async fn queries_over_a_table_give_what_postgresql_gives() {
    let cases: [(&str, &[&str]); 26] = [
        (
            "SELECT k, count(*), sum(x), sum(p), avg(p) FROM t GROUP BY k ORDER BY k",
            &[
                "a|2|5|10.50|10.5000000000000000",
                "b|1|2|2.50|2.5000000000000000",
                "NULL|1|NULL|1.00|1.00000000000000000000",
            ],
        ),
        ("SELECT x FROM t WHERE x <> 0 AND 10 / x > 2 ORDER BY x", &["2"]),
        ("SELECT count(*) FROM t WHERE x = 0 OR 10 / x > 2", &["2"]),
        ("SELECT count(DISTINCT n), sum(DISTINCT n), count(DISTINCT f) FROM t", &["3|0.50|3"]),
        ("SELECT count(*) FROM t a JOIN t b ON a.n = b.n", &["6"]),
        ("SELECT f FROM t ORDER BY f DESC LIMIT 2", &["NaN", "1.5"]),
        ("SELECT k FROM t ORDER BY k DESC LIMIT 1", &["NULL"]),
        (
            "SELECT count(*) FILTER (WHERE x > 1), bool_or(x > 4), min(n), max(p), avg(x) FROM t",
            &["2|t|-3|10.50|2.3333333333333333"],
        ),
        ("SELECT sum(x) FROM t HAVING count(*) > 10", &[]),
        ("SELECT x FROM t WHERE p > 2.5 ORDER BY 1", &["0"]),
        ("SELECT DISTINCT k FROM t ORDER BY k NULLS FIRST", &["NULL", "a", "b"]),
        ("SELECT 1 UNION ALL SELECT 2.5 ORDER BY 1", &["1", "2.5"]),
        ("WITH w AS (SELECT x FROM t WHERE x > 0) SELECT a.x FROM w a, w b WHERE a.x < b.x", &["2"]),
        ("SELECT x FROM t WHERE x IN (SELECT x FROM t WHERE x > 1) ORDER BY x", &["2", "5"]),
        ("SELECT x, row_number() OVER (ORDER BY x) FROM t WHERE x IS NOT NULL ORDER BY x DESC", &["5|3", "2|2", "0|1"]),
        ("SELECT (SELECT max(x) FROM t), x FROM t WHERE k = 'b'", &["5|2"]),
        ("VALUES (1, 'a'), (2, NULL) ORDER BY 1", &["1|a", "2|NULL"]),
        ("SELECT", &[""]),
        ("SELECT FROM t", &["", "", "", ""]),
        ("SELECT UNION SELECT FROM t", &[""]),
        ("SELECT count(*) FROM (SELECT FROM t WHERE x > 0) s", &["2"]),
        ("SELECT x, x IN (SELECT x FROM t WHERE x > 1) FROM t ORDER BY x", &["0|f", "2|t", "5|t", "NULL|NULL"]),
        ("SELECT x NOT IN (SELECT x FROM t) FROM t WHERE x > 2 OR x IS NULL ORDER BY 1", &["f", "NULL"]),
        (
            "SELECT n, n IN (SELECT 1.000), f IN (SELECT 0.0::float8) FROM t ORDER BY n, n::text",
            &["-3|f|f", "1.0|t|t", "1.00|t|t", "2.5|f|f"],
        ),
        (
            "SELECT x, EXISTS (SELECT 1 FROM t u WHERE u.x > 4 AND u.k = t.k), NOT EXISTS (SELECT FROM t u WHERE false) FROM t ORDER BY x",
            &["0|t|t", "2|f|t", "5|t|t", "NULL|f|t"],
        ),
        ("SELECT k, count(*) FILTER (WHERE x IN (SELECT 5)) FROM t GROUP BY k HAVING k IN (SELECT 'a')", &["a|1"]),
    ];
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        match rows(sql, &OneTable).await {
            Ok(ours) if ours == expected => {}
            Ok(ours) => wrong.push(format!("{sql}: {ours:?}")),
            Err(error) => wrong.push(format!("{sql}: {} {error}", error.state().code())),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_needs_more_memory_than_there_is_fails_alone() {
    let sql = "WITH d AS (SELECT column1 AS x FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) v) \
               SELECT count(DISTINCT a.x + 10 * b.x + 100 * c.x + 1000 * d.x + 10000 * e.x) \
               FROM d a, d b, d c, d d, d e";
    assert_eq!(rows(sql, &Names).await.unwrap(), ["100000"]);
    let error = rows_within(1 << 14, sql, &Names).await.unwrap_err();
    assert_eq!((error.state().code(), error.message()), ("53200", "out of memory"));
}
