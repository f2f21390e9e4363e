//! Two views over one source never disagree inside one SELECT: asked 10,000 times while events
//! pour in.

use std::time::Instant;

use thalweg_tests::client::rows;
use thalweg_tests::server::{Options, Server};
use thalweg_tests::views;

const SELECTS: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_of_one_select_are_of_one_epoch() {
    let server = Server::start(Options::default());
    let client = server.connect().await;
    let source = "CREATE SOURCE events WITH (connector='generator', dataset='ecommerce', rate='200000/s', seed='3')";
    client.batch_execute(source).await.expect("a source");
    for view in ["event_type_counts", "events_per_minute"] {
        client.batch_execute(&views::create(view)).await.expect("a view");
    }
    // A view over a view is a step further from the source, and as far.
    let over = "CREATE MATERIALIZED VIEW totals AS SELECT sum(events) AS events FROM events_per_minute";
    client.batch_execute(over).await.expect("a view");

    let start = Instant::now();
    let mut last = 0;
    let mut moved = 0;
    for n in 0..SELECTS {
        // Three ways to read two views in one statement.
        let sql = match n % 3 {
            0 => "SELECT (SELECT sum(events) FROM event_type_counts), (SELECT events FROM totals)",
            1 => {
                "SELECT a.n, b.n FROM (SELECT sum(events) AS n FROM event_type_counts) a \
                 CROSS JOIN (SELECT sum(events) AS n FROM events_per_minute) b"
            }
            _ => {
                "SELECT min(n), max(n) FROM (SELECT sum(events) AS n FROM event_type_counts \
                 UNION ALL SELECT events FROM totals) u"
            }
        };
        let answer = rows(&client, sql).await;
        assert_eq!(answer[0][0], answer[0][1], "two views of one statement disagree: {sql}");
        let now: i64 = answer[0][0].as_deref().unwrap_or("0").parse().expect("a count");
        assert!(now >= last, "a later SELECT sees less: {now} after {last}");
        moved += usize::from(now > last);
        last = now;
    }
    assert!(moved > SELECTS / 100, "events poured in meanwhile: {moved} of {SELECTS} SELECTs saw new ones");
    println!("{SELECTS} SELECTs in {:.1?}, {moved} saw new events, {last} events", start.elapsed());
}
