//! The commands that are not `serve`, as a user runs them: `demo` over the generator and over a
//! real broker, stopped by Ctrl-C and gone on with; `produce` likewise; `generate` against the
//! generator connector.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use thalweg_tests::client::{await_view, number, value};
use thalweg_tests::kafka::Kafka;
use thalweg_tests::server::{Options, Server, binary};
use thalweg_tests::views;
use tokio_postgres::Client;

/// How long something that is awaited may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A demo that runs; gone when dropped.
struct Demo {
    child: Child,
    output: BufReader<ChildStdout>,
    /// What it printed up to the line with its port.
    banner: String,
    port: u16,
}

fn thalweg(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

impl Demo {
    fn start(arguments: &[&str], folder: &Path) -> Demo {
        let mut child =
            thalweg(arguments, folder).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the demo");
        let mut output = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut banner = String::new();
        let port = loop {
            let mut line = String::new();
            let read = output.read_line(&mut line).expect("lines of text");
            assert!(read > 0, "the demo ended before it named its port: {banner}");
            banner.push_str(&line);
            if let Some((_, port)) = line.split_once("psql -h 127.0.0.1 -p ") {
                break port.trim().parse().expect("a port");
            }
        };
        Demo { child, output, banner, port }
    }

    async fn connect(&self) -> Client {
        let url = format!("host=127.0.0.1 port={} user=tester dbname=thalweg", self.port);
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a session");
        tokio::spawn(connection);
        client
    }

    /// Ctrl-C; what it printed from then on.
    fn stop(&mut self) -> String {
        interrupt(&self.child);
        let rest = std::io::read_to_string(&mut self.output).expect("text");
        let status = self.child.wait().expect("it can be waited for");
        assert!(status.success(), "the demo ends with {status}: {rest}");
        rest
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -s INT works");
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits until the views have seen so many events; their number in all three is the same.
async fn events(client: &Client, at_least: i64) -> i64 {
    let start = Instant::now();
    loop {
        let sql = "SELECT (SELECT sum(events) FROM event_type_counts) = (SELECT sum(events) FROM events_per_minute)";
        assert!(["t", ""].contains(&value(client, sql).await.as_str()), "two views disagree");
        let events = number(client, "SELECT coalesce(sum(events), 0) FROM event_type_counts").await;
        if events >= at_least {
            return events;
        }
        assert!(start.elapsed() < PATIENCE, "{events} of {at_least} events");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = taken.local_addr().expect("an address").to_string();
    let arguments = ["demo", "--rate", "5000/s", "--listen", &listen];
    let mut demo = Demo::start(&arguments, folder.path());
    assert!(demo.banner.contains(&format!("{listen} is taken; using port {}.", demo.port)), "{}", demo.banner);
    let client = demo.connect().await;
    for view in ["event_type_counts", "brand_funnel", "events_per_minute"] {
        await_view(&client, view, PATIENCE).await;
    }
    let before = events(&client, 1000).await;
    drop(client);
    assert!(demo.stop().contains("all in a checkpoint"));

    let other = thalweg(&["demo", "--rate", "1/s"], folder.path()).output().expect("it runs");
    assert_eq!(other.status.code(), Some(2), "{}", text(&other));

    let mut demo = Demo::start(&arguments, folder.path());
    let client = demo.connect().await;
    assert!(number(&client, "SELECT sum(events) FROM event_type_counts").await >= before, "nothing is forgotten");
    let now = events(&client, before + 1).await;
    let sql = "SELECT sum(price) FILTER (WHERE event_type = 'purchase') FROM (SELECT * FROM events LIMIT 1000) e";
    assert!(!value(&client, sql).await.is_empty(), "the source can be read from its start, {now} events later");
    drop(client);
    demo.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_goes_through_kafka_and_leaves_other_topics_alone() {
    let kafka = Kafka::start();
    let broker = kafka.bootstrap();
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["demo", "--kafka", &broker, "--rate", "5000/s", "--listen", "127.0.0.1:0"];
    let mut demo = Demo::start(&arguments, folder.path());
    let client = demo.connect().await;
    await_view(&client, "brand_funnel", PATIENCE).await;
    events(&client, 2000).await;
    assert_eq!(number(&client, "SELECT errors FROM thalweg.sources").await, 0);
    drop(client);
    demo.stop();

    let foreign = Kafka::start();
    foreign.create_topic("ecomm_test", 1);
    let other = tempfile::tempdir().expect("a folder");
    let refused = thalweg(&["demo", "--kafka", &foreign.bootstrap()], other.path()).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("the demo did not make it"), "{}", text(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn produce_goes_on_at_the_row_it_names_and_generate_is_the_generator() {
    const ROWS: i64 = 20_000;
    let folder = tempfile::tempdir().expect("a folder");
    let rows = ROWS.to_string();
    let made = thalweg(&["generate", "--rows", &rows, "--seed", "7", "--out", "events.csv"], folder.path()).output();
    assert!(made.is_ok_and(|output| output.status.success()), "generate works");

    let kafka = Kafka::start();
    let broker = kafka.bootstrap();
    let produce = ["produce", "--brokers", &broker, "--topic", "replayed", "--file", "events.csv"];
    let slowly = [&produce[..], &["--rate", "5000/s", "--key", "user_id"]].concat();
    let mut child = thalweg(&slowly, folder.path()).stderr(Stdio::piped()).spawn().expect("produce runs");
    let mut lines = BufReader::new(child.stderr.take().expect("it was asked for")).lines();
    let first = lines.next().expect("a line").expect("text");
    assert_eq!(first, "Made topic replayed with 4 partitions.");
    interrupt(&child);
    let rest: Vec<String> = lines.map(|line| line.expect("text")).collect();
    child.wait().expect("it can be waited for");
    let from = rest.iter().find_map(|line| line.split_once("--from-row ")).expect("the row to go on with").1;
    let on = thalweg(&[&produce[..], &["--from-row", from.trim()]].concat(), folder.path()).output().expect("it runs");
    assert!(on.status.success(), "{}", text(&on));

    let server = Server::start(Options { start_dir: Some(folder.path().into()), ..Options::default() });
    let client = server.connect().await;
    for sql in [
        format!(
            "CREATE SOURCE events ({}) WITH (connector='kafka', topic='replayed', \
             properties.bootstrap.server='{broker}', scan.startup.mode='earliest') FORMAT PLAIN ENCODE CSV",
            views::COLUMNS
        ),
        format!(
            "CREATE SOURCE made WITH (connector='generator', dataset='ecommerce', seed='7', rows='{ROWS}', rate='max')"
        ),
        "CREATE EXTERNAL TABLE history STORED AS CSV LOCATION 'events.csv'".to_string(),
    ] {
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    // A stop may leave records unacknowledged that arrived all the same: those come twice.
    for (one, other) in [("events", "made"), ("made", "events"), ("history", "made"), ("made", "history")] {
        let columns =
            "event_time, event_type, product_id, category_id, category_code, brand, price, user_id, user_session";
        let sql = format!("SELECT count(*) FROM (SELECT {columns} FROM {one} EXCEPT SELECT {columns} FROM {other}) d");
        assert_eq!(number(&client, &sql).await, 0, "{one} without {other}");
    }
    assert!(number(&client, "SELECT count(*) FROM events").await >= ROWS);
}
