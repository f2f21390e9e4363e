//! The source against librdkafka's mock cluster: start, end, ranges, boundaries, what is no row.
//! What the mock cannot (transactions, partitions added, refused connections) is tested against
//! Apache Kafka in `tests/tests/kafka_connector.rs`.

use std::sync::Arc;

use arrow::array::{Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use thalweg_dataflow::error::SqlState;
use thalweg_dataflow::source::{Offsets, Source, SourceItem};

use super::KafkaSource;
use super::testing::{Collected, batches, definition, finished, numbers, produce, request};

struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    bootstrap: String,
}

fn cluster(topic: &str, partitions: i32) -> Cluster {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(topic, partitions, 1).unwrap();
    let bootstrap = mock.bootstrap_servers();
    Cluster { mock, bootstrap }
}

fn source(cluster: &Cluster, topic: &str) -> KafkaSource {
    KafkaSource::create(&definition(&cluster.bootstrap, topic), numbers()).unwrap()
}

fn column(items: &[SourceItem], schema: &arrow::datatypes::SchemaRef, at: usize) -> Arc<dyn Array> {
    let rows: Vec<_> = batches(items).iter().map(|batch| batch.rows.clone()).collect();
    concat_batches(schema, &rows).unwrap().column(at).clone()
}

fn integers(items: &[SourceItem], source: &KafkaSource) -> Vec<i64> {
    let found = column(items, &source.schema(), 0);
    found.as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
}

fn read(source: &KafkaSource, request: thalweg_dataflow::source::ReadRequest) -> Vec<SourceItem> {
    let output = Arc::new(Collected::default());
    let reader = source.read(request, output.clone()).unwrap();
    let items = output.wait("the end", finished);
    drop(reader);
    items
}

#[test]
fn ranges_and_ends() {
    let cluster = cluster("t", 2);
    let source = source(&cluster, "t");
    assert_eq!(source.start().unwrap(), Offsets::from([(0, 0), (1, 0)]));
    assert_eq!(source.end().unwrap(), Offsets::from([(0, 0), (1, 0)]));
    assert!(batches(&read(&source, request(source.start().unwrap(), Some(source.end().unwrap())))).is_empty());

    for partition in 0..2 {
        let lines: Vec<String> = (0..100).map(|n| format!("{}\n", n + 1000 * partition)).collect();
        let records: Vec<_> = lines.iter().map(|line| (None, Some(line.as_str()))).collect();
        produce(&cluster.bootstrap, "t", partition, &records);
    }
    let end = source.end().unwrap();
    assert_eq!(end, Offsets::from([(0, 100), (1, 100)]));
    let mut all = integers(&read(&source, request(Offsets::new(), Some(end))), &source);
    all.sort_unstable();
    assert_eq!(all, (0..100).chain(1000..1100).collect::<Vec<i64>>());

    let part = read(&source, request(Offsets::from([(0, 10), (1, 50)]), Some(Offsets::from([(0, 20), (1, 50)]))));
    assert_eq!(integers(&part, &source), (10..20).collect::<Vec<i64>>());
    assert_eq!(batches(&part).last().unwrap().end, 20);
}

#[test]
fn batches_end_at_boundaries_and_when_full() {
    let cluster = cluster("t", 1);
    let source = source(&cluster, "t");
    let lines: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let records: Vec<_> = lines.iter().map(|line| (None, Some(line.as_str()))).collect();
    produce(&cluster.bootstrap, "t", 0, &records);
    let mut request = request(Offsets::new(), Some(source.end().unwrap()));
    request.boundaries.insert(0, vec![7, 8, 30]);
    request.batch_rows = 10;
    let items = read(&source, request);
    let ends: Vec<i64> = batches(&items).iter().map(|batch| batch.end).collect();
    for boundary in [7, 8, 30, 50] {
        assert!(ends.contains(&boundary), "{ends:?}");
    }
    assert!(batches(&items).iter().all(|batch| batch.rows.num_rows() <= 10));
    assert_eq!(integers(&items, &source), (0..50).collect::<Vec<i64>>());
}

#[test]
fn what_is_no_row() {
    let cluster = cluster("t", 1);
    let source = source(&cluster, "t");
    let records = [
        (Some("a"), Some("1\n2")),
        (Some("b"), None),
        (None, Some("h\nx\n3")),
        (Some("d"), Some("4\ny")),
        (None, Some("h")),
    ];
    produce(&cluster.bootstrap, "t", 0, &records);
    let items = read(&source, request(Offsets::new(), Some(source.end().unwrap())));
    let found = batches(&items);
    assert_eq!(found.iter().map(|batch| batch.tombstones).sum::<u64>(), 1);
    assert_eq!(found.iter().map(|batch| batch.headers).sum::<u64>(), 2);
    assert_eq!(found.iter().map(|batch| batch.bytes).sum::<u64>(), 3 + 5 + 3 + 1);
    let bad: Vec<_> = found.iter().flat_map(|batch| &batch.bad).map(|bad| (bad.offset, bad.line, bad.at)).collect();
    assert_eq!(bad, [(2, 2, Some(1_002_000)), (3, 2, Some(1_003_000))]);
    assert_eq!(integers(&items, &source), [1, 2, 3, 4]);

    let schema = source.schema();
    let keys = column(&items, &schema, 1);
    let keys: Vec<_> =
        keys.as_any().downcast_ref::<StringArray>().unwrap().iter().map(|key| key.map(String::from)).collect();
    assert_eq!(keys, [Some("a".into()), Some("a".into()), None, Some("d".into())]);
    let partitions = column(&items, &schema, 2);
    assert_eq!(partitions.as_any().downcast_ref::<Int32Array>().unwrap().values(), &[0; 4]);
    let offsets = column(&items, &schema, 3);
    assert_eq!(offsets.as_any().downcast_ref::<Int64Array>().unwrap().values(), &[0, 0, 2, 3]);
    let times = column(&items, &schema, 4);
    let times = times.as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap().values().to_vec();
    assert_eq!(times, [1_000_000, 1_000_000, 1_002_000, 1_003_000]);
}

#[test]
fn follows_and_commits() {
    let cluster = cluster("t", 1);
    let source = source(&cluster, "t");
    let output = Arc::new(Collected::default());
    let mut columns = request(Offsets::from([(0, 0)]), None);
    columns.columns = vec![2, 0];
    let reader = source.read(columns, output.clone()).unwrap();
    for round in 1..=3 {
        produce(&cluster.bootstrap, "t", 0, &[(None, Some("5"))]);
        let items = output.wait("the record", |items| batches(items).last().is_some_and(|batch| batch.end == round));
        assert_eq!(batches(&items)[0].rows.schema().field(0).name(), "p");
    }
    output.close();
    drop(reader);
    source.progress(&Offsets::from([(0, 3)]));
}

#[test]
fn offsets_that_are_gone_end_the_reader() {
    let cluster = cluster("t", 1);
    produce(&cluster.bootstrap, "t", 0, &[(None, Some("5"))]);
    let source = source(&cluster, "t");
    let output = Arc::new(Collected::default());
    let _reader = source.read(request(Offsets::from([(0, 77)]), None), output.clone()).unwrap();
    let items = output.wait("the failure", |items| matches!(items.last(), Some(SourceItem::Failed(_))));
    let Some(SourceItem::Failed(error)) = items.last() else { unreachable!() };
    assert_eq!(error.state(), SqlState::ObjectNotInPrerequisiteState);
    assert_eq!(error.message(), "Kafka no longer holds offset 77 of partition 0 of topic \"t\"");
}

#[test]
fn missing_topics_are_named_not_made() {
    let cluster = cluster("events_2019", 1);
    let error = KafkaSource::create(&definition(&cluster.bootstrap, "event_2019"), numbers()).unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedObject);
    assert_eq!(error.message(), "Kafka topic \"event_2019\" does not exist");
    assert_eq!(error.hint_text(), Some("Perhaps you meant \"events_2019\"."));
    let again = KafkaSource::create(&definition(&cluster.bootstrap, "event_2019"), numbers()).unwrap_err();
    assert_eq!(again.state(), SqlState::UndefinedObject);
    drop(cluster.mock);
}

#[test]
fn nobody_there() {
    let before = std::time::Instant::now();
    let error = KafkaSource::create(&definition("127.0.0.1:1", "t"), numbers()).unwrap_err();
    assert_eq!(error.state(), SqlState::ConnectionRefused);
    assert_eq!(error.message(), "cannot reach Kafka at \"127.0.0.1:1\"");
    assert!(error.detail_text().unwrap().contains("Connection refused"), "{:?}", error.detail_text());
    assert!(before.elapsed().as_secs_f64() < 5.0);
}
