//! The measurements behind docs/decisions/0002-sled.md and 0003-cut-log.md, to be run by hand:
//! `cargo test --release --workspace --lib -- --ignored --nocapture --test-threads=1 storage::measure`.
//! They assert the bound that matters and print the rest. Not part of a normal test run.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use super::database::Limits;
use super::*;

const CHUNK: usize = 60 << 10;

/// Resident memory of this process in MiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

/// Processor time of this process in seconds: what it costs whatever else the machine does.
fn busy() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

fn chunk(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; CHUNK];
    random.fill_bytes(&mut bytes);
    bytes
}

fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// Writes 4 GB in flushes of 68 chunks (4 MB); of the newest `keep` chunks, older ones are removed.
fn write_4_gb(path: &Path, reopen_after: u64, keep: u64) -> u64 {
    let store = SledStore::open_with(path, Limits { reopen_after }, None).unwrap();
    let mut random = StdRng::seed_from_u64(1);
    let (mut flushes, mut peak, start) = (Vec::new(), 0, Instant::now());
    let busy_before = busy();
    let count = (4_u64 << 30) / CHUNK as u64;
    for first in (0..count).step_by(68) {
        let mut changes = Vec::new();
        for n in first..first + 68 {
            changes.push((n.to_be_bytes().to_vec(), Some(chunk(&mut random))));
            if let Some(old) = n.checked_sub(keep) {
                changes.push((old.to_be_bytes().to_vec(), None));
            }
        }
        store.write(Tree::Log, changes).unwrap();
        let before = Instant::now();
        store.flush().unwrap();
        flushes.push(before.elapsed());
        peak = peak.max(resident());
    }
    let elapsed = start.elapsed();
    flushes.sort();
    println!(
        "reopened each {} MiB, {keep} chunks kept: {:.0} MB/s, flush p50 {:?} p99 {:?} max {:?}, peak {peak} MiB resident, \
         disk {} MiB, {:.1} s of processor time",
        reopen_after >> 20,
        (count * CHUNK as u64) as f64 / 1e6 / elapsed.as_secs_f64(),
        quantile(&flushes, 50),
        quantile(&flushes, 99),
        quantile(&flushes, 100),
        store.size() >> 20,
        busy() - busy_before,
    );
    drop(store);
    let (before, busy_before) = (Instant::now(), busy());
    let store = SledStore::open(path).unwrap();
    let opened = before.elapsed();
    let mut bytes = 0;
    store
        .scan(Tree::Log, b"", &mut |_, value| {
            bytes += value.len();
            Ok(())
        })
        .unwrap();
    println!(
        "  open {opened:?}, then a scan of {} MB: {:?} and {:.1} s of processor time in all, {} MiB resident",
        bytes / 1_000_000,
        before.elapsed(),
        busy() - busy_before,
        resident()
    );
    peak
}

#[test]
#[ignore = "writes 4 GB: a minute or more"]
fn memory_is_bounded_by_reopening() {
    let folder = tempfile::tempdir_in(std::env::var("THALWEG_MEASURE_DIR").unwrap_or("/tmp".to_owned())).unwrap();
    let with = write_4_gb(&folder.path().join("reopened"), Limits::default().reopen_after, 20_000);
    let removed = write_4_gb(&folder.path().join("removed"), Limits::default().reopen_after, 1000);
    assert!(with.max(removed) < 1024, "peaks of {with} and {removed} MiB");
}

#[test]
#[ignore = "writes 8 GB and takes 4 GB of memory: a minute or more"]
fn memory_without_reopening() {
    let folder = tempfile::tempdir_in(std::env::var("THALWEG_MEASURE_DIR").unwrap_or("/tmp".to_owned())).unwrap();
    write_4_gb(&folder.path().join("removed"), u64::MAX, 1000);
    write_4_gb(&folder.path().join("kept"), u64::MAX, 20_000);
}

#[test]
#[ignore = "writes 2 GB: a minute or more"]
fn cut_log_latency_and_throughput() {
    let folder = tempfile::tempdir_in(std::env::var("THALWEG_MEASURE_DIR").unwrap_or("/tmp".to_owned())).unwrap();
    let log = StoreCutLog::open(Arc::new(SledStore::open(&folder.path().join("cuts")).unwrap())).unwrap();
    let mut random = StdRng::seed_from_u64(2);
    let mut epoch = 0;
    for (size, count) in [(200, 4000), (4 << 10, 2000), (64 << 10, 1000)] {
        let (mut latencies, busy_before) = (Vec::new(), busy());
        for _ in 0..count {
            epoch += 1;
            let (done, answer) = channel();
            let mut record = vec![0; size];
            random.fill_bytes(&mut record);
            let before = Instant::now();
            log.append(epoch, record, Box::new(move |result| done.send(result).unwrap()));
            answer.recv().unwrap().unwrap();
            latencies.push(before.elapsed());
            if epoch % 500 == 0 {
                log.truncate_below(epoch - 300);
            }
        }
        latencies.sort();
        let [median, high, worst] = [50, 99, 100].map(|percent| quantile(&latencies, percent));
        let each = (busy() - busy_before) * 1e6 / count as f64;
        println!(
            "{size} bytes, one at a time: p50 {median:?} p99 {high:?} max {worst:?}, {each:.0} us of processor time"
        );
    }
    for (size, count) in [(200, 200_000_u64), (64 << 10, 32_768)] {
        let (done, answers) = channel();
        let before = Instant::now();
        for _ in 0..count {
            epoch += 1;
            let done = done.clone();
            let mut record = vec![0; size];
            random.fill_bytes(&mut record);
            log.append(epoch, record, Box::new(move |result| done.send(result).unwrap()));
            if epoch % 1000 == 0 {
                log.truncate_below(epoch - 1000);
            }
        }
        answers.iter().take(count as usize).for_each(|result| result.unwrap());
        let seconds = before.elapsed().as_secs_f64();
        let rate = count as f64 / seconds;
        println!(
            "{size} bytes, queued: {rate:.0} records/s, {:.0} MB/s, {} MiB resident",
            rate * size as f64 / 1e6,
            resident()
        );
    }
}
