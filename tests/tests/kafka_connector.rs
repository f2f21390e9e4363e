//! The Kafka connector against a real Apache Kafka broker: transactions, partitions added, brokers
//! that go and come, what CREATE SOURCE says of each failure, the writer of topics.
//!
//! One broker serves the tests that leave it alone; the one that stops its broker has its own.

#![expect(clippy::unwrap_used, reason = "a test and its helpers stop where they cannot go on")]

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use arrow::array::Int64Array;
use thalweg_connectors::Registry;
use thalweg_connectors::kafka::produce::TopicWriter;
use thalweg_connectors::kafka::replay::{Outcome, Replay};
use thalweg_connectors::options::Rate;
use thalweg_dataflow::source::{
    Closed, Column, Connectors, FormatDefinition, Meta, Offsets, ReadRequest, Source, SourceBatch, SourceDefinition,
    SourceItem, SourceOutput,
};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, SqlState};
use thalweg_tests::kafka::Kafka;

/// The broker of all tests that do not stop it. Ends with the process.
fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(Kafka::start)
}

#[derive(Default)]
struct Collected {
    items: Mutex<(Vec<SourceItem>, bool)>,
    changed: Condvar,
}

impl SourceOutput for Collected {
    fn push(&self, item: SourceItem) -> Result<(), Closed> {
        let mut items = self.items.lock().unwrap();
        if items.1 {
            return Err(Closed);
        }
        items.0.push(item);
        self.changed.notify_all();
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.items.lock().unwrap().1
    }
}

impl Collected {
    fn wait(&self, what: &str, limit: Duration, enough: impl Fn(&[SourceItem]) -> bool) -> Vec<SourceItem> {
        let deadline = Instant::now() + limit;
        let mut items = self.items.lock().unwrap();
        while !enough(&items.0) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not come within {limit:?}: {:?}", items.0);
            items = self.changed.wait_timeout(items, left).unwrap().0;
        }
        items.0.clone()
    }

    fn close(&self) {
        self.items.lock().unwrap().1 = true;
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

fn definition(bootstrap: &str, topic: &str, more: &[(&str, &str)]) -> SourceDefinition {
    let fixed = [("connector", "kafka"), ("topic", topic), ("properties.bootstrap.server", bootstrap)];
    let options = fixed.iter().chain(more).map(|(name, value)| (name.to_string(), value.to_string())).collect();
    SourceDefinition {
        name: "numbers".into(),
        columns: vec![Column { name: "n".into(), data_type: PgType::Int8, not_null: false }],
        includes: vec![(Meta::Offset, "o".into())],
        options,
        format: Some(FormatDefinition { format: "PLAIN".into(), encode: "CSV".into(), options: BTreeMap::new() }),
        start: Offsets::new(),
    }
}

fn create(bootstrap: &str, topic: &str, more: &[(&str, &str)]) -> Result<Arc<dyn Source>, Error> {
    let begun = Instant::now();
    let result = Registry::new().create_source(&definition(bootstrap, topic, more));
    assert!(begun.elapsed() < Duration::from_secs(5), "CREATE SOURCE took {:?}", begun.elapsed());
    result
}

fn request(from: Offsets, until: Option<Offsets>) -> ReadRequest {
    ReadRequest { from, until, boundaries: BTreeMap::new(), columns: vec![0], batch_rows: 1000, background: false }
}

fn finished(items: &[SourceItem]) -> bool {
    matches!(items.last(), Some(SourceItem::Finished))
}

fn batches(items: &[SourceItem]) -> impl Iterator<Item = &SourceBatch> {
    items.iter().filter_map(|item| if let SourceItem::Batch(batch) = item { Some(batch) } else { None })
}

fn numbers(items: &[SourceItem]) -> Vec<i64> {
    batches(items)
        .flat_map(|batch| batch.rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec())
        .collect()
}

fn ends(items: &[SourceItem]) -> Offsets {
    batches(items).map(|batch| (batch.partition, batch.end)).collect()
}

fn read_all(source: &Arc<dyn Source>) -> Vec<SourceItem> {
    let output = Arc::new(Collected::default());
    let request = request(source.start().unwrap(), Some(source.end().unwrap()));
    let _reader = source.read(request, output.clone()).unwrap();
    output.wait("the end", PATIENCE, finished)
}

/// Waits for the end of partition 0: Kafka writes a transaction's marker after it has answered.
fn await_end(source: &Arc<dyn Source>, end: i64) {
    let deadline = Instant::now() + PATIENCE;
    while source.end().unwrap() != Offsets::from([(0, end)]) {
        assert!(Instant::now() < deadline, "the end is {:?}, not {end}", source.end());
    }
}

fn lines(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn aborted_transactions_and_markers_are_passed() {
    let kafka = kafka();
    kafka.create_topic("transactions", 1);
    kafka.produce("transactions", 0, &lines(0..10));
    kafka.transaction("transactions", 0, &lines(100..110), false);
    kafka.transaction("transactions", 0, &lines(10..20), true);
    let source = create(&kafka.bootstrap(), "transactions", &[]).unwrap();
    // 10 rows, 10 aborted and their marker, 10 rows and their marker: the last record is a marker.
    await_end(&source, 32);
    let items = read_all(&source);
    assert_eq!(numbers(&items), (0..20).collect::<Vec<i64>>());
    assert_eq!(ends(&items), Offsets::from([(0, 32)]));

    // A topic that ends with an aborted transaction, read on from inside of it and without end.
    kafka.transaction("transactions", 0, &lines(200..205), false);
    await_end(&source, 38);
    let output = Arc::new(Collected::default());
    let mut live = request(Offsets::from([(0, 25)]), None);
    live.boundaries.insert(0, vec![32, 35]);
    let reader = source.read(live, output.clone()).unwrap();
    let at_end = |items: &[SourceItem]| ends(items).get(&0) == Some(&38);
    let items = output.wait("the position behind the marker", PATIENCE, at_end);
    assert_eq!(numbers(&items), (14..20).collect::<Vec<i64>>());
    let cuts: Vec<i64> = batches(&items).map(|batch| batch.end).collect();
    assert!(cuts.contains(&32) && cuts.contains(&35), "{cuts:?}");
    output.close();
    drop(reader);
}

#[test]
fn compacted_gaps_are_passed() {
    let kafka = kafka();
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("segment.ms", "100"),
    ];
    let cluster = kafka.cluster();
    cluster.create_topic("compacted", 1, &settings).unwrap();
    let source = create(&kafka.bootstrap(), "compacted", &[]).unwrap();
    // Written under the same key again and again, until the cleaner has left a gap.
    let mut writer = TopicWriter::new(&cluster, "compacted").unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut written = 0;
    loop {
        for _ in 0..20 {
            writer.send(Some(0), Some(b"key"), written.to_string().as_bytes(), 1, &mut || true).unwrap();
            written += 1;
        }
        assert!(writer.flush(PATIENCE).unwrap());
        let items = read_all(&source);
        let found = numbers(&items);
        assert_eq!(found.last(), Some(&(written - 1)));
        assert_eq!(ends(&items), source.end().unwrap());
        if (found.len() as i64) < written {
            return;
        }
        assert!(Instant::now() < deadline, "the log cleaner left no gap in {PATIENCE:?}");
        writer.wait(Duration::from_millis(150)).unwrap();
    }
}

#[test]
fn partitions_added_later_are_read_from_their_start() {
    let kafka = kafka();
    kafka.create_topic("growing", 1);
    let source = create(&kafka.bootstrap(), "growing", &[("scan.startup.mode", "latest")]).unwrap();
    let output = Arc::new(Collected::default());
    let reader = source.read(request(source.start().unwrap(), None), output.clone()).unwrap();
    kafka.produce("growing", 0, &["1"]);
    output.wait("the first row", PATIENCE, |items| numbers(items) == [1]);
    kafka.cluster().add_partitions("growing", 3).unwrap();
    kafka.produce("growing", 2, &["2"]);
    output.wait("the row of the new partition", PATIENCE, |items| numbers(items) == [1, 2]);
    output.close();
    drop(reader);
}

#[test]
fn start_at_a_time_or_at_the_end() {
    let kafka = kafka();
    kafka.create_topic("starts", 2);
    kafka.produce("starts", 0, &lines(0..5));
    let latest = create(&kafka.bootstrap(), "starts", &[("scan.startup.mode", "latest")]).unwrap();
    assert_eq!(latest.start().unwrap(), Offsets::from([(0, 5), (1, 0)]));
    let past = create(&kafka.bootstrap(), "starts", &[("scan.startup.timestamp.millis", "1000")]).unwrap();
    assert_eq!(past.start().unwrap(), Offsets::from([(0, 0), (1, 0)]));
    let future = create(&kafka.bootstrap(), "starts", &[("scan.startup.timestamp.millis", "9999999999999")]).unwrap();
    assert_eq!(future.start().unwrap(), Offsets::from([(0, 5), (1, 0)]));
    // Once resolved, the start stays, whatever is written.
    kafka.produce("starts", 0, &lines(5..6));
    assert_eq!(latest.start().unwrap(), Offsets::from([(0, 5), (1, 0)]));
    assert_eq!(numbers(&read_all(&latest)), [5]);
}

#[test]
fn create_says_what_failed() {
    let kafka = kafka();
    kafka.create_topic("ecomm_test", 1);
    let refused = |bootstrap: &str, topic: &str, more: &[(&str, &str)]| {
        let error = create(bootstrap, topic, more).unwrap_err();
        println!("{} {error}\n  {:?}\n  {:?}", error.state().code(), error.detail_text(), error.hint_text());
        error
    };

    let error = refused("127.0.0.1:1", "ecomm_test", &[]);
    assert_eq!(
        (error.state(), error.message()),
        (SqlState::ConnectionRefused, "cannot reach Kafka at \"127.0.0.1:1\"")
    );

    let error = refused(&kafka.lost_listener(), "ecomm_test", &[]);
    assert_eq!(error.state(), SqlState::ConnectionFailure);
    assert_eq!(error.message(), "Kafka answers, but its advertised listener \"127.0.0.1:1\" cannot be reached");
    assert!(error.hint_text().unwrap().contains("advertised.listeners"), "{:?}", error.hint_text());

    let error = refused(&kafka.bootstrap(), "ecom_test", &[]);
    assert_eq!(
        (error.state(), error.message()),
        (SqlState::UndefinedObject, "Kafka topic \"ecom_test\" does not exist")
    );
    assert!(error.hint_text().unwrap().contains("\"ecomm_test\""), "{:?}", error.hint_text());
    assert_eq!(kafka.cluster().partitions("ecom_test").unwrap(), None, "a topic was made by asking for it");

    let login = |password| {
        [
            ("properties.security.protocol", "SASL_PLAINTEXT"),
            ("properties.sasl.mechanism", "PLAIN"),
            ("properties.sasl.username", "alice"),
            ("properties.sasl.password", password),
        ]
    };
    let error = refused(&kafka.password_listener(), "ecomm_test", &login("hush-hush"));
    let message = format!("Kafka at \"{}\" refused the authentication", kafka.password_listener());
    assert_eq!((error.state(), error.message()), (SqlState::InvalidAuthorization, message.as_str()));
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    create(&kafka.password_listener(), "ecomm_test", &login("right")).unwrap();

    // Without the protocol that the listener speaks.
    let error = refused(&kafka.password_listener(), "ecomm_test", &[]);
    assert!(error.hint_text().unwrap().contains("security.protocol"), "{error:?}");
    let error = refused(&kafka.bootstrap(), "ecomm_test", &[("properties.security.protocol", "SSL")]);
    assert!(error.hint_text().unwrap().contains("security.protocol"), "{error:?}");

    let error = refused(&kafka.bootstrap(), "ecomm_test", &[("properties.fetch.wait.max", "1")]);
    assert_eq!(error.message(), "unknown Kafka property \"fetch.wait.max\"");
    assert_eq!(error.hint_text(), Some("Perhaps you meant \"properties.fetch.wait.max.ms\"."));
}

/// How long the broker stays away: 60 s with `THALWEG_LONG_TESTS=1`.
fn outage() -> Duration {
    let long = std::env::var_os("THALWEG_LONG_TESTS").is_some();
    Duration::from_secs(if long { 60 } else { 5 })
}

#[test]
fn a_broker_that_comes_back_is_read_again() {
    let mut kafka = Kafka::start();
    kafka.create_topic("outage", 2);
    kafka.produce("outage", 0, &["1"]);
    let source = create(&kafka.bootstrap(), "outage", &[]).unwrap();
    let output = Arc::new(Collected::default());
    let reader = source.read(request(source.start().unwrap(), None), output.clone()).unwrap();
    output.wait("the first row", PATIENCE, |items| numbers(items) == [1]);

    kafka.stop();
    let stalled = |items: &[SourceItem]| items.iter().filter(|item| matches!(item, SourceItem::Stalled(_))).count();
    let items = output.wait("the stall", PATIENCE, |items| stalled(items) == 1);
    let Some(SourceItem::Stalled(error)) = items.last() else { panic!("{items:?}") };
    assert_eq!(error.state(), SqlState::ConnectionRefused, "{error:?}");
    // The outage itself: nothing can be waited for, nothing may happen.
    std::thread::sleep(outage());
    assert_eq!(stalled(&output.wait("nothing", PATIENCE, |_| true)), 1, "told once only");

    kafka.start_again();
    let back = Instant::now();
    kafka.produce("outage", 1, &["2"]);
    let items = output.wait("the row after the outage", Duration::from_secs(10), |items| numbers(items) == [1, 2]);
    println!("read {:?} after the broker was back", back.elapsed());
    let resumed = |items: &[SourceItem]| items.iter().filter(|item| matches!(item, SourceItem::Resumed)).count();
    output.wait("the resumption", Duration::from_secs(10), |items| resumed(items) == 1);
    assert_eq!(ends(&items), Offsets::from([(0, 1), (1, 1)]));

    // A reader that starts while the broker is away (a server that is started first).
    output.close();
    drop(reader);
    kafka.kill();
    let opened = Registry::new().open_source(&definition(&kafka.bootstrap(), "outage", &[])).unwrap();
    let output = Arc::new(Collected::default());
    let begun = Instant::now();
    let reader = opened.read(request(Offsets::from([(0, 0), (1, 0)]), None), output.clone()).unwrap();
    output.wait("the stall", PATIENCE, |items| stalled(items) == 1);
    println!("an absent broker is told after {:?}", begun.elapsed());
    kafka.start_again();
    output.wait("both rows", Duration::from_secs(10), |items| numbers(items).len() == 2);
    output.close();
    let begun = Instant::now();
    drop(reader);
    assert!(begun.elapsed() < Duration::from_secs(3), "closing took {:?}", begun.elapsed());
}

#[test]
fn a_topic_that_is_deleted_ends_the_reader() {
    let kafka = kafka();
    kafka.create_topic("short_lived", 1);
    let source = create(&kafka.bootstrap(), "short_lived", &[]).unwrap();
    let output = Arc::new(Collected::default());
    let _reader = source.read(request(source.start().unwrap(), None), output.clone()).unwrap();
    kafka.cluster().delete_topic("short_lived").unwrap();
    let failed = |items: &[SourceItem]| matches!(items.last(), Some(SourceItem::Failed(_)));
    let items = output.wait("the failure", PATIENCE, failed);
    let Some(SourceItem::Failed(error)) = items.last() else { unreachable!() };
    assert_eq!(error.message(), "Kafka topic \"short_lived\" does not exist any more");
}

#[test]
fn the_groups_offsets_show_the_progress() {
    let kafka = kafka();
    kafka.create_topic("lag", 1);
    kafka.produce("lag", 0, &lines(0..5));
    let source = create(&kafka.bootstrap(), "lag", &[("group.id.prefix", "shop")]).unwrap();
    source.progress(&Offsets::from([(0, 3)]));
    let deadline = Instant::now() + PATIENCE;
    while kafka.committed("shop-numbers", "lag", 0) != Some(3) {
        assert!(Instant::now() < deadline, "nothing was committed");
    }
    source.progress(&Offsets::from([(0, 5)]));
    drop(source);
    while kafka.committed("shop-numbers", "lag", 0) != Some(5) {
        assert!(Instant::now() < deadline, "the last offsets were not committed when the source was closed");
    }
}

fn replay(file: &std::path::Path) -> Replay {
    Replay { file: file.into(), rate: Rate::Max, key: None, lines_per_message: 1, shift_time_to: None, from_row: 0 }
}

#[test]
fn a_file_is_replayed_and_goes_on_where_it_stopped() {
    let kafka = kafka();
    let cluster = kafka.cluster();
    kafka.create_topic("replayed", 4);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("numbers.csv");
    std::fs::write(&file, format!("n\n{}\n", lines(0..1000).join("\n"))).unwrap();

    // Stopped early, at a rate at which the whole would take half a minute.
    let mut slow = replay(&file);
    slow.rate = "40/s".parse().unwrap();
    let first = slow.run(&cluster, "replayed", &mut |progress| progress.row < 20).unwrap();
    assert!(!first.complete && first.row >= 20 && first.row < 1000, "{first:?}");
    let mut rest = replay(&file);
    rest.from_row = first.row;
    let second = rest.run(&cluster, "replayed", &mut |_| true).unwrap();
    assert_eq!(second, Outcome { row: 1000, rows: 1000 - first.row, bytes: second.bytes, complete: true });
    let source = create(&kafka.bootstrap(), "replayed", &[]).unwrap();
    let mut found = numbers(&read_all(&source));
    found.sort_unstable();
    assert_eq!(found, (0..1000).collect::<Vec<i64>>());

    let mut keyed = replay(&file);
    keyed.key = Some("m".into());
    let error = keyed.run(&cluster, "replayed", &mut |_| true).unwrap_err().error;
    assert_eq!(error.state(), SqlState::UndefinedColumn);
    let error = replay(&folder.path().join("no.csv")).run(&cluster, "replayed", &mut |_| true).unwrap_err().error;
    assert_eq!(error.state(), SqlState::UndefinedFile);
}

#[test]
fn packed_files_several_lines_and_keys() {
    let kafka = kafka();
    let cluster = kafka.cluster();
    let folder = tempfile::tempdir().unwrap();
    let text = format!("n\r\n{}\r\n\r\n", lines(0..100).join("\r\n"));
    let zst = folder.path().join("numbers.csv.zst");
    std::fs::write(&zst, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
    kafka.create_topic("packed", 1);
    let mut packed = replay(&zst);
    packed.lines_per_message = 7;
    let outcome = packed.run(&cluster, "packed", &mut |_| true).unwrap();
    assert_eq!((outcome.rows, outcome.complete), (100, true));
    let source = create(&kafka.bootstrap(), "packed", &[]).unwrap();
    assert_eq!(source.end().unwrap(), Offsets::from([(0, 15)]));
    assert_eq!(numbers(&read_all(&source)), (0..100).collect::<Vec<i64>>());

    kafka.create_topic("keyed", 4);
    let mut keyed = replay(&zst);
    keyed.key = Some("n".into());
    keyed.run(&cluster, "keyed", &mut |_| true).unwrap();
    let ends = cluster.end("keyed").unwrap();
    assert!(ends.values().all(|end| *end > 5), "keys spread over the partitions: {ends:?}");
}

#[test]
fn a_marked_topic_is_known_again() {
    let kafka = kafka();
    let cluster = kafka.cluster();
    cluster.create_topic("mine", 4, &[("retention.ms", "-1")]).unwrap();
    assert_eq!(cluster.mark_of("mine").unwrap(), None);
    cluster.mark("mine", "id-1").unwrap();
    assert_eq!(cluster.mark_of("mine").unwrap(), Some("id-1".into()));
    let again = cluster.create_topic("mine", 4, &[]).unwrap_err();
    assert_eq!((again.state(), again.message()), (SqlState::DuplicateObject, "Kafka topic \"mine\" exists already"));
    kafka.create_topic("foreign", 1);
    kafka.produce("foreign", 0, &["1"]);
    assert_eq!(cluster.mark_of("foreign").unwrap(), None);
    let source = create(&kafka.bootstrap(), "mine", &[]).unwrap();
    let items = read_all(&source);
    assert_eq!(batches(&items).map(|batch| batch.tombstones).sum::<u64>(), 1);
}
