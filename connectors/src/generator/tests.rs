//! The generator against the facts of the real data set, and against itself.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use thalweg_dataflow::source::{
    Closed, Column, Meta, Offsets, ReadRequest, SourceDefinition, SourceItem, SourceOutput,
};
use thalweg_dataflow::types::PgType;

use super::*;

const ALL: [usize; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 8];

fn lines(seed: u64, rows: u64) -> String {
    let mut out = Vec::new();
    write_csv(seed, rows, DEFAULT_START, &mut out, |_, _| {}).unwrap();
    String::from_utf8(out).unwrap()
}

/// A change of the function changes what every stored offset means: it must be noticed.
#[test]
fn the_first_lines_are_what_they_were() {
    let text = lines(DEFAULT_SEED, 10_000);
    assert_eq!(text.lines().count(), 10_001);
    let mut crc = flate2::Crc::new();
    crc.update(text.as_bytes());
    let head: Vec<&str> = text.lines().take(3).collect();
    assert_eq!((crc.sum(), text.len()), (FIRST_LINES.0, FIRST_LINES.1), "{head:#?}");
}

/// CRC-32 and length of the header and the first 10,000 lines.
const FIRST_LINES: (u32, usize) = (2_773_186_596, 1_329_973);

#[test]
fn seeds_differ_and_lines_equal_columns() {
    assert_ne!(lines(1, 100), lines(2, 100));
    let text = lines(7, 70_000);
    let rows = Generator::new(7, DEFAULT_START).rows(0, 70_000, &ALL).unwrap();
    for (row, line) in text.lines().skip(1).enumerate().step_by(97) {
        assert_eq!(line, line_of(&rows, row));
    }
}

fn line_of(rows: &RecordBatch, row: usize) -> String {
    let text = |column: usize| {
        let array = rows.column(column).as_string::<i32>();
        if array.is_null(row) { "" } else { array.value(row) }
    };
    let number = |column: usize| rows.column(column).as_primitive::<Int64Type>().value(row);
    let time = rows.column(0).as_primitive::<TimestampMicrosecondType>().value(row);
    let time = chrono::DateTime::from_timestamp_micros(time).unwrap().format("%Y-%m-%d %H:%M:%S UTC");
    let cents = rows.column(6).as_primitive::<Decimal128Type>().value(row);
    let price = format!("{}.{:02}", cents / 100, cents % 100);
    let (kind, code, brand, session) = (text(1), text(4), text(5), text(8));
    format!("{time},{kind},{},{},{code},{brand},{price},{},{session}", number(2), number(3), number(7))
}

#[test]
fn any_offset_reads_the_same() {
    let whole = Generator::new(3, DEFAULT_START).rows(0, 200_000, &ALL).unwrap();
    for (from, to) in [(0, 1), (65_535, 65_537), (131_000, 199_999), (77, 78), (5, 5)] {
        let part = Generator::new(3, DEFAULT_START).rows(from, to, &ALL).unwrap();
        assert_eq!(part, whole.slice(from as usize, (to - from) as usize), "{from}..{to}");
    }
    let few = Generator::new(3, DEFAULT_START).rows(60_000, 70_000, &[8, 2]).unwrap();
    assert_eq!(few, whole.project(&[8, 2]).unwrap().slice(60_000, 10_000));
}

#[test]
fn the_first_rows_repeat_brand_and_user_like_the_real_ones() {
    for seed in 1..=5 {
        let rows = Generator::new(seed, DEFAULT_START).rows(0, 17_434, &[5, 7]).unwrap();
        let brands = rows.column(0).as_string::<i32>();
        let users = rows.column(1).as_primitive::<Int64Type>();
        let pairs: HashSet<_> = brands.iter().zip(users.values()).collect();
        let share = pairs.len() as f64 / 17_434.0;
        assert!((0.40..=0.50).contains(&share), "seed {seed}: {share} of the events bring a new pair, really 0.4515");
    }
}

/// Shares over events from many hours of the day, as the tests of one hour would be off.
#[test]
fn shares_are_those_of_the_real_data() {
    let mut generator = Generator::new(1, DEFAULT_START);
    let (mut kinds, mut nulls, mut events) = (HashMap::<String, u32>::new(), [0; 9], 0);
    let (mut prices, mut sessions) = (Vec::new(), HashMap::<String, u32>::new());
    for part in 0..40u64 {
        let from = part * 33 * 65_536;
        let rows = generator.rows(from, from + 65_536, &ALL).unwrap();
        for kind in rows.column(1).as_string::<i32>().iter().flatten() {
            *kinds.entry(kind.to_string()).or_default() += 1;
        }
        for column in ALL {
            nulls[column] += rows.column(column).null_count();
        }
        prices.extend_from_slice(rows.column(6).as_primitive::<Decimal128Type>().values());
        for session in rows.column(8).as_string::<i32>().iter().flatten() {
            *sessions.entry(session.to_string()).or_default() += 1;
        }
        events += rows.num_rows();
    }
    let percent = |count: usize| 100.0 * count as f64 / events as f64;
    let near =
        |what: &str, is: f64, real: f64, off: f64| assert!((is - real).abs() <= off, "{what}: {is}, really {real}");
    for (kind, real, off) in [("view", 94.9, 0.4), ("cart", 3.6, 0.3), ("purchase", 1.5, 0.15)] {
        near(kind, percent(kinds[kind] as usize), real, off);
    }
    near("null brand", percent(nulls[5]), 13.9, 1.0);
    near("null category_code", percent(nulls[4]), 32.2, 1.0);
    assert_eq!([0, 1, 2, 3, 6, 7].map(|column: usize| nulls[column]), [0; 6]);
    prices.sort_unstable();
    let quantile = |q: usize| prices[events * q / 100] as f64 / 100.0;
    near("price p10", quantile(10), 30.0, 12.0);
    near("price p50", quantile(50), 155.0, 30.0);
    near("price p90", quantile(90), 745.0, 120.0);
    near("price 0", percent(prices.iter().filter(|price| **price == 0).count()), 0.23, 0.15);
    near("events a session", events as f64 / sessions.len() as f64, 4.6, 0.3);
    let single = sessions.values().filter(|events| **events == 1).count();
    near("sessions of one event", 100.0 * single as f64 / sessions.len() as f64, 39.0, 2.0);
}

#[test]
fn a_product_fixes_its_category_and_nearly_always_its_brand() {
    let mut generator = Generator::new(1, DEFAULT_START);
    let mut seen: HashMap<i64, (i64, String, HashSet<String>)> = HashMap::new();
    for from in [0, 20_000_000, 70_000_000, 109_000_000] {
        let rows = generator.rows(from, from + 300_000, &[2, 3, 4, 5]).unwrap();
        let text = |column: usize, row| {
            let array = rows.column(column).as_string::<i32>();
            if array.is_null(row) { String::new() } else { array.value(row).to_string() }
        };
        for row in 0..rows.num_rows() {
            let product = rows.column(0).as_primitive::<Int64Type>().value(row);
            let category = rows.column(1).as_primitive::<Int64Type>().value(row);
            let entry = seen.entry(product).or_insert_with(|| (category, text(2, row), HashSet::new()));
            assert_eq!((entry.0, &entry.1), (category, &text(2, row)), "product {product}");
            entry.2.insert(text(3, row));
        }
    }
    let changed = seen.values().filter(|entry| entry.2.len() > 1).count();
    assert!(seen.len() > 30_000 && changed * 300 < seen.len(), "{changed} of {} products changed brand", seen.len());
}

#[test]
fn time_never_decreases_and_covers_two_months() {
    let mut generator = Generator::new(1, DEFAULT_START);
    let mut last = DEFAULT_START;
    for from in (0..110_000_000).step_by(5_000_000) {
        let rows = generator.rows(from, from + 3_000, &[0]).unwrap();
        for time in rows.column(0).as_primitive::<TimestampMicrosecondType>().values() {
            assert!(*time >= last);
            last = *time;
        }
    }
    assert!((57..=61).contains(&((last - DEFAULT_START) / 86_400_000_000)));
}

/// Collects what a reader pushes.
#[derive(Default)]
struct Collected {
    items: Mutex<Vec<(Instant, SourceItem)>>,
    closed: std::sync::atomic::AtomicBool,
}

impl SourceOutput for Collected {
    fn push(&self, item: SourceItem) -> Result<(), Closed> {
        self.items.lock().push((Instant::now(), item));
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.closed.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Collected {
    fn ends(&self) -> Vec<i64> {
        let end = |item: &(Instant, SourceItem)| match &item.1 {
            SourceItem::Batch(batch) => Some(batch.end),
            _ => None,
        };
        self.items.lock().iter().filter_map(end).collect()
    }

    fn finished(&self) -> bool {
        self.items.lock().iter().any(|item| matches!(item.1, SourceItem::Finished))
    }
}

fn definition(options: &[(&str, &str)]) -> SourceDefinition {
    let mut map: BTreeMap<String, String> = BTreeMap::from([("connector".into(), "generator".into())]);
    map.extend(options.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    SourceDefinition {
        name: "events".into(),
        columns: Vec::new(),
        includes: Vec::new(),
        options: map,
        format: None,
        start: Offsets::new(),
    }
}

fn request(from: i64, until: Option<i64>, boundaries: &[i64], columns: &[usize]) -> ReadRequest {
    ReadRequest {
        from: Offsets::from([(0, from)]),
        until: until.map(|until| Offsets::from([(0, until)])),
        boundaries: BTreeMap::from([(0, boundaries.to_vec())]),
        columns: columns.to_vec(),
        batch_rows: 1000,
        background: false,
    }
}

fn wait(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing happens");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_reader_stops_at_its_end_and_cuts_at_boundaries() {
    let mut definition = definition(&[("rate", "1/min")]);
    definition.includes =
        vec![(Meta::Offset, "o".into()), (Meta::Partition, "p".into()), (Meta::Timestamp, "t".into())];
    let source = open(&definition).unwrap();
    assert_eq!(source.schema().fields().len(), 12);
    let out = Arc::new(Collected::default());
    let reader =
        source.read(request(500, Some(3_300), &[100, 700, 2_000, 3_000], &[9, 7, 10, 11, 0]), out.clone()).unwrap();
    wait(|| out.finished());
    drop(reader);
    assert_eq!(out.ends(), [700, 1_700, 2_000, 3_000, 3_300]);
    let expected = Generator::new(DEFAULT_SEED, DEFAULT_START).rows(500, 3_300, &[7, 0]).unwrap();
    let mut at = 0;
    for (_, item) in out.items.lock().iter() {
        let SourceItem::Batch(batch) = item else { continue };
        let rows = batch.rows.num_rows();
        assert_eq!(batch.rows.column(0).as_primitive::<Int64Type>().value(0), 500 + at as i64);
        assert_eq!(batch.rows.column(1), &expected.column(0).slice(at, rows));
        assert_eq!(batch.rows.column(3), &expected.column(1).slice(at, rows));
        assert_eq!(batch.rows.column(4), &expected.column(1).slice(at, rows));
        at += rows;
    }
    assert_eq!(at, 2_800);
}

#[test]
fn bounded_sources_end_and_no_columns_still_count() {
    let source = open(&definition(&[("rows", "2500")])).unwrap();
    assert_eq!(source.end().unwrap()[&0], 2500);
    let out = Arc::new(Collected::default());
    let live = source.read(request(0, None, &[], &[]), out.clone()).unwrap();
    wait(|| out.ends().last() == Some(&2500));
    drop(live);
    assert!(!out.finished(), "a live reader waits, it does not finish");
    let SourceItem::Batch(batch) = &out.items.lock()[0].1 else { panic!("a batch comes first") };
    assert_eq!((batch.rows.num_rows(), batch.rows.num_columns()), (1000, 0));
}

#[test]
fn the_pace_is_kept_and_a_restart_does_not_burst() {
    let source = open(&definition(&[("rate", "6000/min")])).unwrap();
    let out = Arc::new(Collected::default());
    let start = Instant::now();
    // Recovery plays [1000, 5000) again at full speed, then 100 events a second follow.
    let reader = source.read(request(1_000, None, &[3_000, 5_000], &[2]), out.clone()).unwrap();
    wait(|| start.elapsed() > Duration::from_millis(600));
    drop(reader);
    let made = out.ends().last().copied().unwrap() - 5_000;
    let due = (start.elapsed().as_secs_f64() * 100.0) as i64;
    assert!((20..=due).contains(&made), "{made} events, {due} due");
    assert_eq!(source.end().unwrap()[&0], 5_000 + made);
    let replayed = out.items.lock().iter().find_map(|(at, item)| match item {
        SourceItem::Batch(batch) if batch.end == 5_000 => Some(*at),
        _ => None,
    });
    assert!(replayed.unwrap() - start < Duration::from_millis(500), "replay is not slowed down");
}

#[test]
fn without_a_reader_the_end_follows_the_clock() {
    let source = open(&definition(&[("rate", "10000/s")])).unwrap();
    let first = source.end().unwrap()[&0];
    std::thread::sleep(Duration::from_millis(50));
    assert!(source.end().unwrap()[&0] >= first + 500);
    assert_eq!(open(&definition(&[])).unwrap().end().unwrap()[&0], 0);
}

#[test]
fn definitions_are_checked() {
    let fails = |definition: &SourceDefinition| open(definition).unwrap_err();
    assert_eq!(fails(&definition(&[("rte", "max")])).hint_text(), Some("Perhaps you meant the option \"rate\"."));
    assert_eq!(fails(&definition(&[("rate", "fast")])).state().code(), "22023");
    assert_eq!(fails(&definition(&[("start.time", "soon")])).state().code(), "22023");
    assert!(open(&definition(&[("start.time", "2020-02-29 12:00:00 UTC"), ("seed", "0")])).is_ok());
    let mut typed = definition(&[]);
    let column = |name: &str, data_type| Column { name: name.into(), data_type, not_null: false };
    typed.columns = vec![column("brand", PgType::Text), column("price", PgType::Numeric(Some((10, 2))))];
    assert_eq!(open(&typed).unwrap().schema().fields().len(), 2);
    typed.columns.push(column("brnd", PgType::Text));
    assert_eq!(fails(&typed).hint_text(), Some("Perhaps you meant the column \"brand\"."));
    typed.columns[2] = column("user_id", PgType::Bool);
    assert_eq!(fails(&typed).state().code(), "42804");
}

/// Not a test of correctness: prints the figures of docs/connectors.md.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let mut generator = Generator::new(1, DEFAULT_START);
    generator.rows(0, 1, &ALL).unwrap();
    for columns in [&ALL[..], &[5, 7, 1, 6], &[1], &[]] {
        let start = Instant::now();
        for batch in 0..610u64 {
            std::hint::black_box(generator.rows(batch * 8192, (batch + 1) * 8192, columns).unwrap());
        }
        println!("columns {columns:?}: {:.2} M events/s", 610.0 * 8192.0 / start.elapsed().as_secs_f64() / 1e6);
    }
    let start = Instant::now();
    write_csv(1, 5_000_000, DEFAULT_START, &mut std::io::sink(), |_, _| {}).unwrap();
    println!("lines: {:.2} M/s", 5.0 / start.elapsed().as_secs_f64());
}

#[test]
fn what_was_read_before_a_restart_is_there_at_once() {
    let source = open(&definition(&[("rate", "1/h")])).unwrap();
    let out = Arc::new(Collected::default());
    let reader = source.read(request(1077, None, &[], &[0]), out).unwrap();
    assert_eq!(source.end().unwrap(), Offsets::from([(0, 1077)]));
    drop(reader);
}
