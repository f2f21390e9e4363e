//! The oracle: random views over random rows, each compared after every step with the same query
//! run once over the raw rows, by our batch engine and by PostgreSQL.
//!
//! Every round draws a script (sources, views over views, rows, restarts, crashes) from its seed
//! and runs it on a database of its own, over the memory store or sled. The reference inlines the
//! views down to the sources, so that it is computed by the batch engine alone. A difference is
//! made small before it is shown.
//!
//! `THALWEG_ORACLE_SEED` sets the first seed, `THALWEG_ORACLE_ROUNDS` the number of rounds.

#![expect(clippy::unwrap_used, reason = "a test and its helpers stop where they cannot go on")]

mod coverage;
mod iterate;
mod postgres;
mod run;
mod script;
mod source;
mod sql;
mod subquery;
mod value;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postgres::Tables;
use run::{Failure, Tally, run};
use script::{Script, Step};
use source::Record;

/// Rounds when nothing else is said: about two minutes on two cores.
const ROUNDS: u64 = 30;

/// Views of one round.
const VIEWS: usize = 12;

/// How long a failing script is made smaller.
const SHRINKING: Duration = Duration::from_secs(60);

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a whole number"))
}

#[test]
fn views_equal_their_queries() {
    let first = variable("THALWEG_ORACLE_SEED", 1);
    let rounds = variable("THALWEG_ORACLE_ROUNDS", ROUNDS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let tables = runtime.block_on(Tables::start());
    let mut used = BTreeMap::new();
    let mut total = Tally::default();
    let start = Instant::now();
    for seed in first..first + rounds {
        let script = Script::draw(seed, VIEWS, &mut used);
        match runtime.block_on(run(&script, &tables)) {
            Ok(tally) => add(&mut total, &tally),
            Err(failure) => {
                let (script, failure) = runtime.block_on(shrink(script, failure, &tables));
                panic!("seed {seed} ({:?}):\n{}\n{}", script.setup, failure.text, steps(&script));
            }
        }
    }
    let used: Vec<String> = used.iter().map(|(construct, count)| format!("{construct} {count}")).collect();
    let coverage = std::mem::take(&mut total.coverage).table();
    println!("seeds {first}..{}: {total:?} in {:.1?}", first + rounds, start.elapsed());
    println!("{coverage}");
    println!("used: {}", used.join(", "));
}

fn add(total: &mut Tally, tally: &Tally) {
    total.views += tally.views;
    total.epochs += tally.epochs;
    total.comparisons += tally.comparisons;
    total.postgres += tally.postgres;
    total.rows += tally.rows;
    total.changes += tally.changes;
    total.failing += tally.failing;
    total.restarts += tally.restarts;
    total.crashes += tally.crashes;
    total.coverage.add(&tally.coverage);
}

/// Leaves out views, steps and rows as long as the same view still fails.
async fn shrink(mut script: Script, mut failure: Failure, tables: &Tables) -> (Script, Failure) {
    let start = Instant::now();
    eprintln!("making it smaller: {}", failure.text);
    if let Some(view) = failure.view.clone() {
        let fewer = script.only(&script.ancestors(&view));
        if let Err(other) = run(&fewer, tables).await {
            (script, failure) = (fewer, other);
        }
    }
    let mut place = script.steps.len();
    while place > 0 && start.elapsed() < SHRINKING {
        place -= 1;
        for candidate in smaller(&script, place) {
            if start.elapsed() > SHRINKING {
                break;
            }
            if let Err(other) = run(&candidate, tables).await
                && other.view == failure.view
            {
                (script, failure) = (candidate, other);
                break;
            }
        }
        place = place.min(script.steps.len());
    }
    (script, failure)
}

/// The script without a step, or with half of its rows.
fn smaller(script: &Script, place: usize) -> Vec<Script> {
    let mut without = script.clone();
    let step = without.steps.remove(place);
    let mut candidates = match &step {
        Step::Create(_) => Vec::new(),
        _ => vec![without],
    };
    if let Step::Append(source, partition, records) = step {
        let half = records.len() / 2;
        for part in [&records[..half], &records[half..]] {
            if !part.is_empty() && part.len() < records.len() {
                let mut fewer = script.clone();
                fewer.steps[place] = Step::Append(source.clone(), partition, part.to_vec());
                candidates.push(fewer);
            }
        }
    }
    candidates
}

fn steps(script: &Script) -> String {
    let mut text = String::new();
    for source in &script.sources {
        let columns: Vec<String> =
            source.columns.iter().map(|column| format!("{} {}", column.name, column.declared)).collect();
        text.push_str(&format!("source {} ({})\n", source.name, columns.join(", ")));
    }
    for step in &script.steps {
        match step {
            Step::Append(source, partition, records) => {
                text.push_str(&format!("append to {source}, partition {partition}:\n"));
                records.iter().take(10).for_each(|record| text.push_str(&format!("  {}\n", line(record))));
                if records.len() > 10 {
                    text.push_str(&format!("  and {} more\n", records.len() - 10));
                }
            }
            other => text.push_str(&format!("{other:?}\n")),
        }
    }
    text
}

/// A record as one line, null as `\N`.
fn line(record: &Record) -> String {
    match record {
        Record::Row(row) => row.iter().map(|value| value.as_deref().unwrap_or("\\N")).collect::<Vec<_>>().join(" | "),
        other => format!("{other:?}"),
    }
}
