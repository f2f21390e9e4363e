//! Views that compute the same share it: EXPLAIN says so, and dropping one leaves the other whole.
//! (How many nodes and arrangements there are: `sql/dataflow/src/simulation/sharing.rs`.)

use thalweg_tests::client::{rows, sorted};
use thalweg_tests::server::{Options, Server};
use tokio_postgres::Client;

/// The lines of an EXPLAIN.
async fn explain(client: &Client, what: &str) -> Vec<String> {
    let lines = rows(client, &format!("EXPLAIN {what}")).await;
    lines.into_iter().flatten().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_parts_are_shared_and_stay_for_the_other() {
    let server = Server::start(Options::default());
    let client = server.connect().await;
    let run = async |sql: &str| client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    run("CREATE TABLE sale (shop int, item text, n int)").await;
    run("INSERT INTO sale VALUES (1, 'a', 2), (1, 'b', 3), (2, 'a', 5), (2, NULL, 1)").await;
    let part = "SELECT shop, sum(n) AS total FROM sale WHERE item IS NOT NULL GROUP BY shop";
    let one = format!("SELECT shop FROM ({part}) p WHERE total > 4");
    let other = format!("SELECT max(total) AS most FROM ({part}) p");
    run(&format!("CREATE MATERIALIZED VIEW one AS {one}")).await;
    let shared =
        |lines: &[String]| lines.iter().filter(|line| line.ends_with(" [shared]")).cloned().collect::<Vec<_>>();
    assert_eq!(shared(&explain(&client, "MATERIALIZED VIEW one").await), Vec::<String>::new(), "nobody else is there");
    let before = explain(&client, &format!("CREATE MATERIALIZED VIEW other AS {other}")).await;
    assert!(shared(&before).iter().any(|line| line.contains("Reduce")), "{before:#?}");
    run(&format!("CREATE MATERIALIZED VIEW other AS {other}")).await;
    for view in ["one", "other"] {
        let lines = explain(&client, &format!("MATERIALIZED VIEW {view}")).await;
        assert!(shared(&lines).iter().any(|line| line.contains("Reduce")), "{view}: {lines:#?}");
    }
    run("INSERT INTO sale VALUES (1, 'c', 7)").await;
    run("DROP MATERIALIZED VIEW one").await;
    assert_eq!(shared(&explain(&client, "MATERIALIZED VIEW other").await), Vec::<String>::new(), "it is alone again");
    run("UPDATE sale SET n = n + 10 WHERE shop = 2").await;
    assert_eq!(sorted(&client, "SELECT most FROM other").await, sorted(&client, &other).await);
    assert_eq!(rows(&client, "SELECT most FROM other").await, [[Some("15".to_string())]]);
}
