//! Tables that store what a connector reads: through `kill -9`, and after Kafka forgot it.

use std::time::Duration;

use thalweg_tests::client::{await_value, message, rows, sorted, value};
use thalweg_tests::kafka::Kafka;
use thalweg_tests::server::{Options, Server};

const PATIENCE: Duration = Duration::from_secs(60);

fn server() -> Server {
    let args = ["--checkpoint-interval", "100ms", "--workers", "2"].map(str::to_string).to_vec();
    Server::start(Options { args, ..Options::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generator_is_stored_and_read_as_a_table() {
    let mut server = server();
    let client = server.connect().await;
    let create = "CREATE TABLE shop WITH (connector = 'generator', rows = '3000')";
    client.batch_execute(create).await.expect("a table");
    await_value(&client, "SELECT count(*) FROM shop", "3000", PATIENCE).await;
    let again = client.batch_execute("CREATE TABLE IF NOT EXISTS shop WITH (connector = 'generator')").await;
    again.expect("it is there already");
    let brands = "SELECT brand, count(*) AS n, sum(price) AS total FROM shop GROUP BY brand";
    client.batch_execute(&format!("CREATE MATERIALIZED VIEW brands AS {brands}")).await.expect("a view");
    client.batch_execute("CREATE VIEW carts AS SELECT * FROM shop WHERE event_type = 'cart'").await.expect("a view");
    let plan = rows(&client, "EXPLAIN MATERIALIZED VIEW brands").await;
    assert!(plan.iter().flatten().flatten().any(|line| line.contains("shop")), "{plan:?}");
    for (sql, wanted) in [
        (
            "INSERT INTO shop (brand) VALUES ('x')",
            "0A000 changing table \"shop\", which stores what a connector reads, is not supported",
        ),
        ("DELETE FROM shop", "0A000 changing table \"shop\", which stores what a connector reads, is not supported"),
        ("DROP TABLE shop", "2BP01 cannot drop table shop because other objects depend on it"),
        ("DROP SOURCE shop", "42809 \"shop\" is not a source"),
        ("CREATE TABLE shop (a int)", "42P07 relation \"shop\" already exists"),
        (
            "ALTER TABLE shop RENAME TO store",
            "0A000 altering table \"shop\", which stores what a connector reads, is not supported",
        ),
        (
            "CREATE TABLE t (a int PRIMARY KEY) WITH (connector = 'generator')",
            "0A000 PRIMARY KEY for a column is not supported",
        ),
        ("CREATE TABLE t WITH (connector = 'generater')", "42704 connector \"generater\" does not exist"),
    ] {
        let error = client.batch_execute(sql).await.expect_err(sql);
        assert_eq!(message(&error), wanted, "{sql}");
    }
    let before = sorted(&client, brands).await;
    for _ in 0..2 {
        server.kill9();
        server.restart();
        let client = server.connect().await;
        await_value(&client, "SELECT count(*) FROM shop", "3000", PATIENCE).await;
        assert_eq!(sorted(&client, brands).await, before);
        await_value(&client, "SELECT sum(n) FROM brands", "3000", PATIENCE).await;
        assert_eq!(sorted(&client, "SELECT * FROM brands").await, before);
    }
    let client = server.connect().await;
    assert_eq!(value(&client, "SELECT rows FROM thalweg.sources WHERE name = 'shop'").await, "3000");
    let shown = rows(&client, "SHOW CREATE TABLE shop").await;
    let text = shown[0][1].clone().unwrap_or_default();
    assert!(
        text.starts_with("CREATE TABLE shop") && text.contains("WITH (connector = 'generator', rows = '3000')"),
        "{text}"
    );
    client.batch_execute("DROP TABLE shop CASCADE").await.expect("all of it goes");
    assert_eq!(value(&client, "SELECT count(*) FROM thalweg.sources").await, "0");
    client.batch_execute(&text).await.expect("what SHOW CREATE prints makes it again");
    await_value(&client, "SELECT count(*) FROM shop", "3000", PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_kafka_forgot_stay() {
    let kafka = Kafka::start();
    kafka.create_topic("clicks", 2);
    let lines = |range: std::ops::Range<i32>| range.map(|n| format!("{n},u{}", n % 7)).collect::<Vec<_>>();
    kafka.produce("clicks", 0, &lines(0..500));
    kafka.produce("clicks", 1, &lines(500..1000));
    kafka.produce("clicks", 1, &["bad,line,here"]);
    let mut server = server();
    let client = server.connect().await;
    let create = format!(
        "CREATE TABLE clicks (id int NOT NULL, name text) INCLUDE offset AS place WITH (connector = 'kafka', \
         topic = 'clicks', properties.bootstrap.server = '{}') FORMAT PLAIN ENCODE CSV",
        kafka.bootstrap()
    );
    client.batch_execute(&create).await.expect("a table");
    let all = "SELECT count(*), count(DISTINCT id), min(id), max(id) FROM clicks";
    let counts = |n: i64| vec![[n.to_string(), n.to_string(), "0".into(), (n - 1).to_string()].map(Some).to_vec()];
    assert_eq!(rows(&client, all).await, counts(1000), "all that was there is stored when it returns");
    assert_eq!(value(&client, "SELECT count(*) FROM thalweg.source_errors WHERE source_name = 'clicks'").await, "1");
    kafka.produce("clicks", 0, &lines(1000..1200));
    await_value(&client, "SELECT count(*) FROM clicks", "1200", PATIENCE).await;
    // A checkpoint later Kafka is not needed for it any more.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    kafka.delete_records("clicks", 0, 700);
    kafka.delete_records("clicks", 1, 501);
    server.kill9();
    server.restart();
    let client = server.connect().await;
    assert_eq!(rows(&client, all).await, counts(1200));
    kafka.produce("clicks", 1, &lines(1200..1300));
    await_value(&client, "SELECT count(*) FROM clicks", "1300", PATIENCE).await;
    let view = "SELECT name, count(*) AS n, sum(id) AS total FROM clicks GROUP BY name";
    client.batch_execute(&format!("CREATE MATERIALIZED VIEW later AS {view}")).await.expect("a view");
    assert_eq!(value(&client, "SELECT sum(n) FROM later").await, "1300", "it has what Kafka forgot");
    assert_eq!(sorted(&client, "SELECT * FROM later").await, sorted(&client, view).await);
    server.kill9();
    server.restart();
    let client = server.connect().await;
    kafka.produce("clicks", 0, &lines(1300..1400));
    await_value(&client, "SELECT sum(n) FROM later", "1400", PATIENCE).await;
    assert_eq!(rows(&client, all).await, counts(1400));
    assert_eq!(value(&client, "SELECT count(*) FROM thalweg.source_errors").await, "1");
    // Cancelled or refused, nothing stays.
    let other = create.replace("TABLE clicks", "TABLE other").replace("'clicks'", "'nosuch'");
    let error = client.batch_execute(&other).await.expect_err("no such topic");
    assert_eq!(message(&error), "42704 Kafka topic \"nosuch\" does not exist");
    assert_eq!(value(&client, "SELECT count(*) FROM thalweg.sources").await, "1");
}
