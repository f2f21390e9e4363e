//! Real answers: rows through a Kafka topic of 4 partitions, and what another engine says of them.
//!
//! `tests/data/sample.csv` is made by `thalweg generate` and its answers by DuckDB
//! (`tests/data/answers.py`); `../shared/data/oct17k.csv` is real data, used when it is there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thalweg_tests::client::{Row, difference, number, rows, sorted};
use thalweg_tests::kafka::Kafka;
use thalweg_tests::server::{Options, Server};
use thalweg_tests::views;

/// The views whose answers lie in files; the file's name follows the data's.
const BY_BRAND: &str = "SELECT brand, count(*) AS n, count(*) FILTER (WHERE event_type='view') AS views,
  count(*) FILTER (WHERE event_type='cart') AS carts, count(*) FILTER (WHERE event_type='purchase') AS purchases,
  coalesce(sum(price) FILTER (WHERE event_type='purchase') * 100, 0)::bigint AS revenue_cents,
  count(DISTINCT user_id) AS users FROM events GROUP BY brand";
const BY_TYPE: &str = "SELECT event_type, count(*) AS n, (sum(price) * 100)::bigint AS cents,
  count(DISTINCT user_id) AS users, count(DISTINCT user_session) AS sessions FROM events GROUP BY event_type";
const SHARES: &str = "SELECT brand, users, only_viewed, carted_not_bought, bought,
  round(100.0 * only_viewed / users, 2) AS pct_only_viewed,
  round(100.0 * carted_not_bought / users, 2) AS pct_carted_not_bought,
  round(100.0 * bought / users, 2) AS pct_bought
  FROM (SELECT brand, count(*) AS users, count(*) FILTER (WHERE v AND NOT c AND NOT p) AS only_viewed,
          count(*) FILTER (WHERE c AND NOT p) AS carted_not_bought, count(*) FILTER (WHERE p) AS bought
        FROM (SELECT brand, user_id, bool_or(event_type='view') v, bool_or(event_type='cart') c,
                bool_or(event_type='purchase') p FROM events GROUP BY 1, 2) u GROUP BY brand) s";

/// The users whose every purchase was a Xiaomi smartphone, with all they did.
fn xiaomi(from: &str) -> String {
    format!(
        "WITH buyers AS (SELECT user_id FROM {from} WHERE event_type = 'purchase' GROUP BY user_id
           HAVING bool_and(coalesce(brand = 'xiaomi' AND category_code = 'electronics.smartphone', false)))
         SELECT user_id, count(*) AS events, count(*) FILTER (WHERE event_type = 'view') AS views,
           count(*) FILTER (WHERE event_type = 'purchase') AS purchases, count(DISTINCT brand) AS brands_seen
         FROM buyers LEFT JOIN {from} USING (user_id) GROUP BY user_id"
    )
}

/// A data set with its answers.
struct Data {
    csv: PathBuf,
    answers: PathBuf,
    prefix: &'static str,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the project")
}

fn data_sets() -> Vec<Data> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let mut sets = vec![Data { csv: here.join("sample.csv"), answers: here, prefix: "sample" }];
    let shared = root().join("../shared/data");
    if shared.join("oct17k.csv").is_file() {
        sets.push(Data { csv: shared.join("oct17k.csv"), answers: shared.join("answers"), prefix: "oct17k" });
    } else {
        println!("{} is not there: only the sample is tested", shared.join("oct17k.csv").display());
    }
    sets
}

/// A field of an answer: an empty one is null, percentages lose trailing zeros.
fn field(text: &str) -> Option<String> {
    let trimmed = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    (!text.is_empty()).then(|| trimmed.to_string())
}

fn answer(data: &Data, name: &str) -> Vec<Row> {
    let path = data.answers.join(format!("{}_{name}.csv", data.prefix));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut rows: Vec<Row> = text.lines().skip(1).map(|line| line.split(',').map(field).collect()).collect();
    rows.sort();
    rows
}

fn comparable(rows: Vec<Row>) -> Vec<Row> {
    let mut rows: Vec<Row> =
        rows.into_iter().map(|row| row.into_iter().map(|text| text.and_then(|text| field(&text))).collect()).collect();
    rows.sort();
    rows
}

fn create_source(kafka: &Kafka, topic: &str) -> String {
    format!(
        "CREATE SOURCE events ({}) WITH (connector='kafka', topic='{topic}', \
         properties.bootstrap.server='{}', scan.startup.mode='earliest') \
         FORMAT PLAIN ENCODE CSV (without_header='true', delimiter=',')",
        views::COLUMNS,
        kafka.bootstrap()
    )
}

/// Writes lines to 4 partitions in turn, those of one user to one.
fn produce(kafka: &Kafka, topic: &str, lines: &[&str]) {
    let mut parts: [Vec<&str>; 4] = Default::default();
    for line in lines {
        let user = line.rsplit(',').nth(1).and_then(|user| user.parse::<usize>().ok()).unwrap_or(0);
        parts[user % 4].push(line);
    }
    for (partition, lines) in parts.iter().enumerate() {
        kafka.produce(topic, partition as i32, lines);
    }
}

/// A free name for a topic of a data set.
fn topic(prefix: &str) -> String {
    format!("events_{prefix}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_over_kafka_and_files_are_those_of_another_engine() {
    let kafka = Kafka::start();
    for data in data_sets() {
        let text = std::fs::read_to_string(&data.csv).expect("the data");
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let topic = topic(data.prefix);
        let server = Server::start(Options::default());
        let client = server.connect().await;
        // Half of the rows are there before the views, half come after.
        let (before, after) = lines.split_at(lines.len() / 2);
        kafka.create_topic(&topic, 4);
        produce(&kafka, &topic, before);
        client.batch_execute(&create_source(&kafka, &topic)).await.expect("a source");
        for (view, sql) in [("by_brand", BY_BRAND), ("by_type", BY_TYPE), ("brand_shares", SHARES)] {
            client.batch_execute(&format!("CREATE MATERIALIZED VIEW {view} AS {sql}")).await.expect("a view");
        }
        produce(&kafka, &topic, after);
        await_rows(&client, lines.len() as i64).await;
        for view in ["by_brand", "by_type", "brand_shares"] {
            let ours = comparable(rows(&client, &format!("SELECT * FROM {view}")).await);
            assert_eq!(difference(&ours, &answer(&data, view)), None, "{view} over {}", data.prefix);
        }
        let table = format!(
            "CREATE EXTERNAL TABLE history STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true')",
            data.csv.display()
        );
        client.batch_execute(&table).await.expect("an external table");
        for from in ["events", "history"] {
            let ours = comparable(rows(&client, &xiaomi(from)).await);
            assert_eq!(difference(&ours, &answer(&data, "xiaomi_only")), None, "Xiaomi over {from} of {}", data.prefix);
            // The queries of the views as batch queries over source and file.
            for (view, sql) in [("by_brand", BY_BRAND), ("by_type", BY_TYPE), ("brand_shares", SHARES)] {
                let ours = comparable(rows(&client, &sql.replace("FROM events", &format!("FROM {from}"))).await);
                assert_eq!(difference(&ours, &answer(&data, view)), None, "{view} as a query over {from}");
            }
        }
        println!("{}: {} rows", data.prefix, lines.len());
    }
}

async fn await_rows(client: &tokio_postgres::Client, wanted: i64) {
    let start = Instant::now();
    loop {
        let now = number(client, "SELECT coalesce(sum(n), 0)::bigint FROM by_type").await;
        if now == wanted {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60) && now < wanted, "{now} rows of {wanted} are there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_cut_invents_no_user() {
    // The real one when it is there; else the same made of the sample: CRLF, the last line cut
    // inside its user.
    let shared = root().join("../shared/data/oct_crlf_cut_tail.csv");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample.csv");
    let text = std::fs::read_to_string(&shared).unwrap_or_else(|_| {
        println!("{} is not there: made of the sample", shared.display());
        let text = std::fs::read_to_string(sample).expect("the sample");
        let whole = text.lines().take(201).collect::<Vec<_>>().join("\r\n");
        let (user_and_before, _) = whole.rsplit_once(',').expect("fields");
        user_and_before[..user_and_before.len() - 1].to_string()
    });
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let header = lines.first().is_some_and(|line| line.starts_with("event_time"));
    let cut = lines.pop().expect("a last line");
    let invented = cut.rsplit(',').next().expect("a user").to_string();
    let good = lines.len() - usize::from(header);

    let kafka = Kafka::start();
    kafka.create_topic("cut", 1);
    kafka.produce("cut", 0, &lines);
    kafka.produce("cut", 0, &[cut]);
    let server = Server::start(Options::default());
    let client = server.connect().await;
    client.batch_execute(&create_source(&kafka, "cut")).await.expect("a source");
    let users = "CREATE MATERIALIZED VIEW users AS SELECT user_id, count(*) AS events FROM events GROUP BY user_id";
    client.batch_execute(users).await.expect("a view");
    let counted = "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS events FROM events";
    client.batch_execute(counted).await.expect("a view");

    assert_eq!(number(&client, "SELECT events FROM counted").await, good as i64);
    assert_eq!(number(&client, &format!("SELECT count(*) FROM users WHERE user_id = {invented}")).await, 0);
    let errors = "SELECT source_name, topic, partition, record_offset, line, raw \
                  FROM thalweg.source_errors";
    let place = lines.len().to_string();
    let raw = cut.trim_end().bytes().fold(String::from("\\x"), |hex, byte| format!("{hex}{byte:02x}"));
    let wanted = ["events", "cut", "0", place.as_str(), "1", raw.as_str()].map(|text| Some(text.to_string()));
    assert_eq!(sorted(&client, errors).await, [wanted]);
    let totals = rows(&client, "SELECT rows, errors, headers_skipped FROM thalweg.sources").await;
    let wanted = [good, 1, usize::from(header)].map(|count| Some(count.to_string()));
    assert_eq!(totals, [wanted]);
}
