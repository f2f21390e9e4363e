//! Deterministic simulation: the engine on one thread, in a world that crashes, against a reference
//! that computes every view from nothing. (What it proves and what not: docs/testing.md.)
//!
//! `THALWEG_SIMULATION_SEED` sets the first seed, `THALWEG_SIMULATION_ROUNDS` the number of rounds.

mod actions;
mod check;
mod evaluate;
mod expr;
pub(crate) mod fault;
mod function;
mod generate;
mod query;
mod sharing;
mod source;
mod storage;
mod value;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use self::check::Log;
use self::fault::{Fault, plant};
use self::world::{Failure, World};
use crate::storage::{Store, Tree};

/// Rounds when nothing else is said.
const ROUNDS: u64 = 800;

/// Things that happen in a round.
const ACTIONS: usize = 300;

/// Rounds in which a planted fault must be found.
const FAULT_ROUNDS: u64 = 300;

thread_local! {
    static SIMULATING: Cell<bool> = const { Cell::new(false) };
}

/// In simulation, one checkpoint writes few first bases: many are partial.
pub(crate) fn narrow(budget: &mut usize) {
    if SIMULATING.get() {
        *budget = 4 << 10;
    }
}

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a whole number"))
}

/// One round: its log and the disk's digest, or what went wrong.
fn round(seed: u64, workers: Option<usize>) -> Result<(Log, u64), (Log, Failure)> {
    let mut world = World::new(seed, workers);
    let threads = world.setup.workers;
    let pool = (threads > 1).then(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    let mut live = || catch_unwind(AssertUnwindSafe(|| world.live())).unwrap_or_else(|_| Err("a panic".into()));
    let outcome = match pool {
        Some(pool) => pool.install(live),
        None => live(),
    };
    match outcome {
        Ok(()) => Ok((world.log.clone(), digest(&world))),
        Err(failure) => Err((world.log.clone(), failure)),
    }
}

impl World {
    fn live(&mut self) -> Result<(), Failure> {
        SIMULATING.set(true);
        self.open()?;
        let actions = if self.setup.large { ACTIONS / 3 } else { ACTIONS };
        for _ in 0..actions {
            self.act()?;
            if let Some(id) = self.seen.too_large.take().filter(|id| self.catalog.contains(id)) {
                self.drop_above(id)?;
            }
        }
        Ok(())
    }

    /// Drops a view and those that read it.
    fn drop_above(&mut self, id: u32) -> Result<(), Failure> {
        let mut reads = Vec::new();
        for other in self.catalog.clone().into_iter().filter(|other| *other > id) {
            self.queries[&other].reads(&mut reads);
            if std::mem::take(&mut reads).contains(&id) {
                self.drop_above(other)?;
            }
        }
        self.log.note(format!("drop view {id}: it is too large"));
        self.drop_this(id);
        self.turn()
    }
}

/// What the disk holds, to the byte.
fn digest(world: &World) -> u64 {
    let mut bytes = Vec::new();
    for store in [&world.disk.state, &world.disk.cuts] {
        for tree in Tree::ALL {
            store
                .scan(tree, &[], &mut |key, value| {
                    bytes.extend_from_slice(key);
                    bytes.extend_from_slice(&value);
                    Ok(())
                })
                .unwrap();
        }
    }
    crate::arrangement::hash::hash_bytes(&bytes)
}

fn told(seed: u64, log: &Log, failure: &str) -> String {
    let lines: Vec<&str> = log.lines.iter().map(String::as_str).collect();
    format!("{}\nseed {seed}: {failure}", lines.join("\n"))
}

#[test]
fn views_equal_the_reference_after_every_epoch() {
    let first = variable("THALWEG_SIMULATION_SEED", 1);
    let rounds = variable("THALWEG_SIMULATION_ROUNDS", ROUNDS);
    let (next, total, failures) = (AtomicU64::new(first), Mutex::new(Log::default()), Mutex::new(Vec::new()));
    let start = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failures.lock().is_empty() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + rounds {
                        return;
                    }
                    match round(seed, None) {
                        Ok((log, _)) => total.lock().add(&log),
                        Err((log, failure)) => failures.lock().push(told(seed, &log, &failure)),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let Log { epochs, large, comparisons, crashes, restarts, checkpoints, views, .. } = total.into_inner();
    println!(
        "seeds {first}..{}: {epochs} epochs ({large} of them with 1,000 changes or more), {comparisons} comparisons, {views} views built, {crashes} crashes, \
         {restarts} restarts, {checkpoints} checkpoints in {:.1?}",
        first + rounds,
        start.elapsed()
    );
}

impl Log {
    fn add(&mut self, other: &Log) {
        self.epochs += other.epochs;
        self.large += other.large;
        self.comparisons += other.comparisons;
        self.crashes += other.crashes;
        self.restarts += other.restarts;
        self.checkpoints += other.checkpoints;
        self.views += other.views;
    }
}

#[test]
fn a_seed_replays_to_the_byte_whatever_the_number_of_workers() {
    for seed in 1..=variable("THALWEG_SIMULATION_ROUNDS", 12).min(200) {
        let of = |workers| match round(seed, Some(workers)) {
            Ok((log, disk)) => (log.digest, log.epochs, disk),
            Err((log, failure)) => panic!("{}", told(seed, &log, &failure)),
        };
        let one = of(1);
        assert_eq!(one, of(1), "seed {seed} twice");
        assert_eq!(one, of(2), "seed {seed} with 2 workers");
        assert_eq!(one, of(8), "seed {seed} with 8 workers");
    }
}

#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        let start = Instant::now();
        let found = (1..=FAULT_ROUNDS).find_map(|seed| {
            plant(Some(*fault));
            let outcome = round(seed, Some(1));
            plant(None);
            let (_, failure) = outcome.err()?;
            // It is the fault that was found.
            assert!(round(seed, Some(1)).is_ok(), "round {seed} fails without a fault");
            Some((seed, failure))
        });
        match found {
            Some((seed, failure)) => {
                let line = failure.lines().next().unwrap_or_default();
                let line: String = line.chars().take(90).collect();
                println!("{fault:?}: found in round {seed}, {:.1?}: {line}", start.elapsed());
            }
            None => missed.push(format!("{fault:?}")),
        }
    }
    assert!(missed.is_empty(), "not found: {}", missed.join(", "));
}
