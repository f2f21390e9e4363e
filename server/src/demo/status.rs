//! The demo's live status line: events a second, total, lag, freshness.
//!
//! Redrawn in place on a terminal; elsewhere one line every ten seconds.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::HumanCount;
use thalweg_dataflow::engine::Status;
use thalweg_sql::database::Database;

use crate::shutdown::Shutdown;

/// Between two lines on a terminal.
const REDRAW: Duration = Duration::from_millis(500);

/// Between two lines elsewhere.
const LOG: Duration = Duration::from_secs(10);

/// The rate is taken over this long.
const WINDOW: Duration = Duration::from_secs(5);

/// Shows the line until the server is asked to stop.
pub(crate) async fn show(database: &Database, shutdown: &Shutdown) {
    let terminal = std::io::stdout().is_terminal();
    let mut ticks = tokio::time::interval(if terminal { REDRAW } else { LOG });
    let mut rate = Rate::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.wait() => break,
        }
        let status = database.status();
        rate.add(Instant::now(), rows(&status));
        let line = line(&status, rate.per_second(), micros_now());
        if terminal {
            print!("\r\x1b[2K{line}");
        } else {
            println!("{line}");
        }
        // Without anybody reading there is nothing to show.
        let _ = std::io::stdout().flush();
    }
    if terminal {
        println!();
    }
}

/// Events read so far.
pub(crate) fn events(database: &Database) -> u64 {
    rows(&database.status())
}

fn rows(status: &Status) -> u64 {
    status.sources.values().map(|source| source.rows).sum()
}

fn lag(status: &Status) -> u64 {
    let behind = status.sources.values().flat_map(|source| {
        source.end.iter().map(|(partition, end)| end - source.offsets.get(partition).copied().unwrap_or(0))
    });
    behind.map(|records| u64::try_from(records).unwrap_or(0)).sum()
}

fn line(status: &Status, per_second: f64, now: i64) -> String {
    let lag = lag(status);
    let age = Duration::from_micros(u64::try_from(now - status.now).unwrap_or(0));
    let freshness = match lag {
        0 => "up to date".to_string(),
        _ if age < Duration::from_secs(1) => format!("{} ms", age.as_millis()),
        _ => format!("{:.1} s", age.as_secs_f64()),
    };
    let stalled = status.sources.values().find_map(|source| source.stalled.as_ref());
    let stalled = stalled.map(|error| format!("  stalled: {}", error.message())).unwrap_or_default();
    format!(
        "{} events/s  total {}  lag {}  freshness {freshness}{stalled}",
        HumanCount(per_second.round() as u64),
        HumanCount(rows(status)),
        HumanCount(lag),
    )
}

fn micros_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// A rate over the last few readings of a counter.
#[derive(Debug, Default)]
struct Rate {
    readings: VecDeque<(Instant, u64)>,
}

impl Rate {
    fn add(&mut self, at: Instant, count: u64) {
        self.readings.push_back((at, count));
        while self.readings.len() > 2 && at.duration_since(self.readings[0].0) > WINDOW {
            self.readings.pop_front();
        }
    }

    fn per_second(&self) -> f64 {
        match (self.readings.front(), self.readings.back()) {
            (Some((start, first)), Some((end, last))) if end > start => {
                last.saturating_sub(*first) as f64 / end.duration_since(*start).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_dataflow::engine::SourceStatus;
    use thalweg_dataflow::plan::RelationId;

    #[test]
    fn the_rate_is_that_of_the_window() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(), 0.0);
        for second in 0..20 {
            rate.add(start + Duration::from_secs(second), second * 100);
        }
        assert!((rate.per_second() - 100.0).abs() < 1e-9);
        assert!(rate.readings.len() <= 8);
    }

    #[test]
    fn the_line_says_all_four() {
        let source = SourceStatus {
            rows: 1_234_567,
            offsets: [(0, 90)].into(),
            end: [(0, 100)].into(),
            ..SourceStatus::default()
        };
        let status = Status { now: 1_000_000, sources: [(RelationId(1), source)].into(), ..Status::default() };
        assert_eq!(line(&status, 166.7, 1_012_000), "167 events/s  total 1,234,567  lag 10  freshness 12 ms");
    }
}
