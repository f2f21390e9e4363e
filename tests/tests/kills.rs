//! `kill -9`, fifty times: at random moments of builds, ingestion and checkpoints, over the
//! generator and over Kafka.
//!
//! After the last restart every view equals the same query over the same rows, to the row; every
//! bad record is in `thalweg.source_errors` once and the totals are exact. `THALWEG_KILLS_SEED`
//! sets the moments; the seed is printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use thalweg_tests::client::{self, await_view, difference, number, rows, sorted, value};
use thalweg_tests::kafka::Kafka;
use thalweg_tests::server::{Options, Server};
use thalweg_tests::views;
use tokio_postgres::error::SqlState;

/// How long the work between two kills, or what is left at the end, may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The views that are compared, in the order they are created in.
const VIEWS: [&str; 3] = ["event_type_counts", "brand_funnel", "brand_shares"];

fn random() -> StdRng {
    let seed = std::env::var("THALWEG_KILLS_SEED").map_or(20_191_101, |seed| seed.parse().expect("a whole number"));
    println!("THALWEG_KILLS_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn server() -> Server {
    let args = ["--checkpoint-interval", "100ms", "--workers", "2"].map(str::to_string).to_vec();
    Server::start(Options { args, ..Options::default() })
}

/// Asks for everything that is not there yet and does not wait for an answer past a kill.
fn create_in_background(server: &Server, source: String) -> tokio::task::JoinHandle<()> {
    let url = server.url();
    tokio::spawn(async move {
        let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await else { return };
        tokio::spawn(connection);
        let mut statements = vec![source];
        statements.extend(VIEWS.map(views::create));
        statements.push(views::TOP_BRANDS.to_string());
        for statement in statements {
            loop {
                match client.simple_query(&statement).await {
                    Ok(_) => break,
                    // The server was killed meanwhile.
                    Err(error) if error.as_db_error().is_none() => return,
                    // A view below is in the making again after a kill: ask again.
                    Err(error) if error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => panic!("{statement}: {}", client::message(&error)),
                }
            }
        }
    })
}

/// Kills and starts again, so often, each time after a random time.
async fn kill(server: &mut Server, source: &str, kills: usize, longest: u64, random: &mut StdRng) {
    for _ in 0..kills {
        let creating = create_in_background(server, source.to_string());
        tokio::time::sleep(Duration::from_millis(random.random_range(0..longest))).await;
        server.kill9();
        creating.await.expect("what was created is right");
        server.restart();
    }
}

/// Every view against its query over `from`; both are asked in one transaction.
async fn compare(client: &tokio_postgres::Client, from: &str) {
    for view in VIEWS {
        let maintained = sorted(client, &format!("SELECT * FROM {view}")).await;
        let batch = sorted(client, &views::select(view, from)).await;
        assert!(!batch.is_empty(), "there is something to compare");
        if let Some(difference) = difference(&maintained, &batch) {
            panic!("{view} is not what its query gives: {difference}");
        }
    }
    let over = sorted(client, "SELECT * FROM funnel_sizes").await;
    let batch = "SELECT viewers, count(*) AS brands, sum(revenue) AS revenue FROM brand_funnel GROUP BY viewers";
    if let Some(difference) = difference(&over, &sorted(client, batch).await) {
        panic!("funnel_sizes is not what its query gives: {difference}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn builds_over_the_generator_survive_kills() {
    let mut random = random();
    let mut server = server();
    let source = "CREATE SOURCE IF NOT EXISTS events WITH (connector='generator', dataset='ecommerce', rate='max', \
                  rows='1000000', seed='11')";
    kill(&mut server, source, 15, 700, &mut random).await;
    create_in_background(&server, source.into()).await.expect("created");
    let client = server.connect().await;
    for view in VIEWS.into_iter().chain(["funnel_sizes"]) {
        await_view(&client, view, PATIENCE).await;
    }
    compare(&client, "events").await;
    assert_eq!(number(&client, "SELECT sum(events)::bigint FROM event_type_counts").await, 1_000_000);
    assert_eq!(value(&client, "SELECT rows FROM thalweg.sources WHERE name = 'events'").await, "1000000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingestion_from_the_generator_survives_kills() {
    let mut random = random();
    let mut server = server();
    let source = "CREATE SOURCE IF NOT EXISTS events WITH (connector='generator', dataset='ecommerce', \
                  rate='100000/s', seed='12')";
    create_in_background(&server, source.into()).await.expect("created");
    let mut before = 0;
    for _ in 0..3 {
        kill(&mut server, source, 5, 900, &mut random).await;
        let client = server.connect().await;
        for view in VIEWS {
            await_view(&client, view, PATIENCE).await;
        }
        let now = number(&client, "SELECT sum(events)::bigint FROM event_type_counts").await;
        assert!(now >= before, "what was seen is still there: {now} events after {before}");
        before = now;
    }
    let client = server.connect().await;
    client.batch_execute("BEGIN").await.expect("a block");
    // The block's snapshot holds the first so many events of this seed.
    let events = number(&client, "SELECT sum(events)::bigint FROM event_type_counts").await;
    let other = server.connect().await;
    let same = format!(
        "CREATE SOURCE first_events WITH (connector='generator', dataset='ecommerce', rate='max', seed='12', \
         rows='{events}')"
    );
    other.batch_execute(&same).await.expect("a source");
    for view in VIEWS {
        let maintained = sorted(&client, &format!("SELECT * FROM {view}")).await;
        let batch = sorted(&other, &views::select(view, "first_events")).await;
        if let Some(difference) = difference(&maintained, &batch) {
            panic!("{view} is not what its query gives over the first {events} events: {difference}");
        }
    }
    println!("{events} events");
}

/// Line `n` of partition `p`; every 50th is cut and every 97th has no number for its user.
fn line(partition: i32, n: usize) -> String {
    let kind = ["view", "view", "view", "cart", "purchase"][(n * 7 + partition as usize) % 5];
    let (brand, user) = (["xiaomi", "apple", "", "samsung"][n * 13 % 4], n * 31 % 500);
    let user = if n % 97 == 96 { "5x".to_string() } else { user.to_string() };
    let whole = format!(
        "2019-11-{:02} 0{}:{:02}:{:02} UTC,{kind},{},2053013555631882655,electronics.smartphone,{brand},{}.{:02},{user},s{partition}",
        1 + n % 28,
        n % 10,
        n % 60,
        n % 59,
        n % 40,
        n % 900,
        n % 100
    );
    if n % 50 == 49 {
        whole[..whole.len() - 4].rsplit_once(',').map_or(whole.clone(), |(cut, _)| cut.to_string())
    } else {
        whole
    }
}

fn is_bad(n: usize) -> bool {
    n % 50 == 49 || n % 97 == 96
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_records_count_once_whatever_is_killed() {
    let mut random = random();
    let kafka = Arc::new(Kafka::start());
    kafka.create_topic("ecomm_test", 4);
    let mut server = server();
    let source = format!(
        "CREATE SOURCE IF NOT EXISTS events ({}) WITH (connector='kafka', topic='ecomm_test', \
         properties.bootstrap.server='{}', scan.startup.mode='earliest') \
         FORMAT PLAIN ENCODE CSV (without_header='true', delimiter=',')",
        views::COLUMNS,
        kafka.bootstrap()
    );
    let enough = Arc::new(AtomicBool::new(false));
    let producing = produce(kafka.clone(), enough.clone());
    kill(&mut server, &source, 20, 900, &mut random).await;
    enough.store(true, Ordering::Release);
    let written = producing.await.expect("the records are written");
    let (rows_written, bad_written) = totals(&written);
    create_in_background(&server, source).await.expect("created");

    let client = server.connect().await;
    for view in VIEWS.into_iter().chain(["funnel_sizes"]) {
        await_view(&client, view, PATIENCE).await;
    }
    let total = "SELECT coalesce(sum(events), 0)::bigint FROM event_type_counts";
    let start = Instant::now();
    while number(&client, total).await < rows_written {
        assert!(
            start.elapsed() < PATIENCE,
            "{rows_written} rows were written, {} are there",
            number(&client, total).await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    compare(&client, "events").await;
    assert_eq!(number(&client, total).await, rows_written);
    let counted = rows(&client, "SELECT rows, errors FROM thalweg.sources WHERE name = 'events'").await;
    assert_eq!(counted, [[Some(rows_written.to_string()), Some(bad_written.to_string())]]);
    let mut kept = sorted(&client, "SELECT partition, record_offset, line FROM thalweg.source_errors").await;
    let mut wanted: Vec<_> = (0..4)
        .flat_map(|partition| (0..written[partition]).filter(|n| is_bad(*n)).map(move |n| (partition, n)))
        .map(|(partition, n)| vec![Some(partition.to_string()), Some(n.to_string()), Some("1".to_string())])
        .collect();
    wanted.sort();
    kept.sort();
    assert_eq!(difference(&kept, &wanted), None, "each bad record once");
    println!("{rows_written} rows, {bad_written} bad records");
}

/// Writes to all partitions until there is enough; how many lines each partition has.
fn produce(kafka: Arc<Kafka>, enough: Arc<AtomicBool>) -> tokio::task::JoinHandle<[usize; 4]> {
    tokio::task::spawn_blocking(move || {
        let mut written = [0; 4];
        while !enough.load(Ordering::Acquire) {
            for (partition, written) in (0..).zip(&mut written) {
                let lines: Vec<String> = (*written..*written + 250).map(|n| line(partition, n)).collect();
                kafka.produce("ecomm_test", partition, &lines);
                *written += lines.len();
            }
        }
        written
    })
}

/// Rows and bad records among so many lines a partition.
fn totals(written: &[usize; 4]) -> (i64, i64) {
    let all: usize = written.iter().sum();
    let bad = written.iter().map(|lines| (0..*lines).filter(|n| is_bad(*n)).count()).sum::<usize>();
    ((all - bad) as i64, bad as i64)
}
