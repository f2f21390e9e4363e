//! approx_count_distinct and approx_percentile: near the exact answers, the same in views and queries,
//! also through `kill -9`, and refused where rows can go.

use std::time::Duration;

use thalweg_tests::client::{await_value, message, rows, sorted, value};
use thalweg_tests::server::{Options, Server};

const PATIENCE: Duration = Duration::from_secs(60);

const SKETCHES: &str = "SELECT event_type, approx_count_distinct(user_id) AS users, \
     approx_count_distinct(price) FILTER (WHERE brand IS NOT NULL) AS prices, \
     approx_percentile(price, 0.5) AS middle, \
     approx_percentile(user_id, 0.99) FILTER (WHERE price > 100) AS high, count(*) AS n FROM shop GROUP BY event_type";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_equal_queries_and_both_are_near_the_truth() {
    let args = ["--checkpoint-interval", "100ms", "--workers", "2"].map(str::to_string).to_vec();
    let mut server = Server::start(Options { args, ..Options::default() });
    let client = server.connect().await;
    client
        .batch_execute("CREATE SOURCE shop WITH (connector = 'generator', rows = '60000', rate = '20000/s')")
        .await
        .expect("a source");
    client.batch_execute(&format!("CREATE MATERIALIZED VIEW kept AS {SKETCHES}")).await.expect("a view");
    let whole =
        "SELECT approx_count_distinct(DISTINCT user_session) AS n, approx_percentile(price, 0.9) AS p FROM shop";
    client.batch_execute(&format!("CREATE MATERIALIZED VIEW whole AS {whole}")).await.expect("a view");
    server.kill9();
    server.restart();
    let client = server.connect().await;
    await_value(&client, "SELECT sum(n) FROM kept", "60000", PATIENCE).await;
    assert_eq!(sorted(&client, "SELECT * FROM kept").await, sorted(&client, SKETCHES).await);
    assert_eq!(rows(&client, "SELECT * FROM whole").await, rows(&client, whole).await);
    let near = "SELECT count(*) FROM kept k JOIN (SELECT event_type, count(DISTINCT user_id) AS users, \
                count(DISTINCT price) FILTER (WHERE brand IS NOT NULL) AS prices FROM shop GROUP BY event_type) e \
                ON e.event_type = k.event_type \
                WHERE abs(k.users - e.users) <= 0.03 * e.users + 1 AND abs(k.prices - e.prices) <= 0.03 * e.prices + 1";
    assert_eq!(value(&client, near).await, value(&client, "SELECT count(*) FROM kept").await);
    // At most so many values are below, and so many are not above.
    let ranks = "SELECT count(*) FILTER (WHERE price < 0.98 * p) <= 0.9 * count(price) \
                 AND count(*) FILTER (WHERE price <= 1.02 * p) >= 0.9 * count(price) FROM shop, whole";
    assert_eq!(value(&client, ranks).await, "t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_inputs_are_exact_and_what_cannot_be_kept_is_refused() {
    let server = Server::start(Options::default());
    let client = server.connect().await;
    let setup = "CREATE TABLE t (g int, x numeric(8,2), s text, f double precision); \
                 INSERT INTO t VALUES (1, 1.0, 'a', 0), (1, 1.00, 'a', '-0'), (1, 2, 'b', 'NaN'), (2, NULL, NULL, NULL)";
    client.batch_execute(setup).await.expect("rows");
    for (sql, wanted) in [
        ("SELECT approx_count_distinct(x) FROM t", "2"),
        ("SELECT approx_count_distinct(s) FROM t WHERE g = 1", "2"),
        ("SELECT approx_count_distinct(f) FROM t", "2"),
        ("SELECT approx_count_distinct(x) FROM t WHERE g = 2", "0"),
        ("SELECT approx_count_distinct(x) FROM t WHERE false", "0"),
        ("SELECT (SELECT approx_count_distinct(x) FROM t u WHERE u.g = t.g + 5) FROM t WHERE g = 2", "0"),
        ("SELECT approx_count_distinct(NULL)", "0"),
        ("SELECT approx_percentile(f, 0.1) FROM t", "0"),
        ("SELECT approx_percentile(f, 1) FROM t", "NaN"),
        ("SELECT approx_percentile(x, 0.25 + 0.25) IS NULL FROM t WHERE g = 2", "t"),
        ("SELECT abs(approx_percentile(x, '0.9') - 2) <= 0.02 FROM t", "t"),
    ] {
        assert_eq!(value(&client, sql).await, wanted, "{sql}");
    }
    for (sql, wanted) in [
        (
            "CREATE MATERIALIZED VIEW v AS SELECT approx_count_distinct(x) FROM t",
            "0A000 approx_count_distinct over rows that can change or go is not supported",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT approx_percentile(x, 0.5) FROM t",
            "0A000 approx_percentile over rows that can change or go is not supported",
        ),
        (
            "SELECT approx_percentile(x, x) FROM t",
            "0A000 approx_percentile with a fraction that is not a constant is not supported",
        ),
        ("SELECT approx_percentile(x, 1.5) FROM t", "22003 percentile value 1.5 is not between 0 and 1"),
        ("SELECT approx_percentile(x) FROM t", "42883 function approx_percentile(numeric) does not exist"),
        ("SELECT approx_percentile(s, 0.5) FROM t", "42883 function approx_percentile(text, numeric) does not exist"),
        ("SELECT approx_percentile(DISTINCT x, 0.5) FROM t", "0A000 DISTINCT in approx_percentile is not supported"),
        (
            "SELECT approx_count_distinct(x) OVER () FROM t",
            "0A000 approx_count_distinct as a window function is not supported",
        ),
    ] {
        let error = client.batch_execute(sql).await.expect_err(sql);
        assert_eq!(message(&error), wanted, "{sql}");
    }
    assert_eq!(value(&client, "SELECT count(*) FROM thalweg.materialized_views").await, "0", "nothing stays");
}
