//! What ingest costs beside the least it could cost: the bare consumer, the plain loop, the view.
//!
//! Measurements, printed and never asserted: `tests/run --long`, or this binary with
//! `--ignored --nocapture` on an idle machine. `THALWEG_SPEED_ROWS` sets the rows.

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message};
use thalweg_tests::client::value;
use thalweg_tests::kafka::Kafka;
use thalweg_tests::server::{Options, Server, binary};
use thalweg_tests::views;

const TOPIC: &str = "ecomm_test";

fn say(what: &str, rows: u64, took: Duration) {
    println!("{what}: {:.1?}, {:.2} M rows/s", took, rows as f64 / took.as_secs_f64() / 1e6);
}

/// Every record of the topic, by librdkafka alone, its lines kept.
fn consume(broker: &str, rows: u64) -> Vec<u8> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("group.id", "bare").set("queued.min.messages", "1000000");
    let consumer: BaseConsumer = config.create().expect("the configuration is valid");
    let mut list = TopicPartitionList::new();
    for partition in 0..4 {
        list.add_partition_offset(TOPIC, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("the partitions are assigned");
    let (mut lines, mut met, mut last) = (Vec::new(), 0, Instant::now());
    while met < rows {
        // Not every answer is a record: the consumer also passes its own events on.
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            assert!(last.elapsed() < Duration::from_secs(30), "{met} of {rows} records came");
            continue;
        };
        lines.extend_from_slice(message.expect("no error").payload().unwrap_or_default());
        lines.push(b'\n');
        (met, last) = (met + 1, Instant::now());
    }
    lines
}

/// Users by event type, purchases, revenue in hundredths.
type Funnel = ([HashSet<u64>; 3], u64, i64);

/// The funnel by hand: split at commas, parse what is needed, one set a brand and event type.
fn plain_loop(lines: &[u8]) -> u64 {
    let mut brands: HashMap<&[u8], Funnel> = HashMap::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut fields = line.split(|byte| *byte == b',');
        let kind = match fields.nth(1) {
            Some(b"view") => 0,
            Some(b"cart") => 1,
            _ => 2,
        };
        let brand = fields.nth(3).unwrap_or_default();
        let digits = |text: &[u8]| {
            text.iter().filter(|byte| byte.is_ascii_digit()).fold(0u64, |sum, byte| sum * 10 + u64::from(byte - b'0'))
        };
        let (price, user) = (digits(fields.next().unwrap_or_default()), digits(fields.next().unwrap_or_default()));
        let funnel = brands.entry(brand).or_default();
        funnel.0[kind].insert(user);
        if kind == 2 {
            funnel.1 += 1;
            funnel.2 += price as i64;
        }
    }
    brands.values().map(|funnel| funnel.0.iter().map(|set| set.len() as u64).sum::<u64>()).sum()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn kafka_into_brand_funnel_beside_a_bare_consumer_and_a_plain_loop() {
    let rows: u64 = std::env::var("THALWEG_SPEED_ROWS").map_or(5_000_000, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| {
        let ended = Command::new(binary()).args(arguments).current_dir(folder.path()).output().expect("it runs");
        assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    };
    run(&["generate", "--rows", &rows.to_string(), "--out", "events.csv"]);
    let kafka = Kafka::start();
    let broker = kafka.bootstrap();
    let start = Instant::now();
    run(&["produce", "--brokers", &broker, "--topic", TOPIC, "--file", "events.csv"]);
    say("thalweg produce, acknowledged", rows, start.elapsed());

    let start = Instant::now();
    let lines = consume(&broker, rows);
    say("bare consumer, one thread", rows, start.elapsed());
    let start = Instant::now();
    let distinct = plain_loop(&lines);
    say("plain loop over the lines in memory, one thread", rows, start.elapsed());

    let server = Server::start(Options::default());
    let client = server.connect().await;
    let source = format!(
        "CREATE SOURCE events ({}) WITH (connector='kafka', topic='{TOPIC}', properties.bootstrap.server='{broker}', \
         scan.startup.mode='earliest') FORMAT PLAIN ENCODE CSV",
        views::COLUMNS
    );
    client.batch_execute(&source).await.expect("a source");
    for view in ["brand_funnel", "event_type_counts"] {
        let start = Instant::now();
        client.batch_execute(&views::create(view)).await.expect("a view");
        say(&format!("Kafka into {view}, to the first checkpoint"), rows, start.elapsed());
    }
    let start = Instant::now();
    client.simple_query("SELECT count(price), count(user_id) FROM events").await.expect("a query");
    say("SELECT over the source", rows, start.elapsed());
    let sql = "SELECT sum(viewers) + sum(carters) + sum(buyers) FROM brand_funnel";
    assert_eq!(value(&client, sql).await, distinct.to_string());
}
