//! Generated events as lines of CSV, in the format of the public data set.
//!
//! Promises the same bytes for the same seed, rows and start on every machine: the header, then
//! lines without quotes, `2019-10-01 00:00:00 UTC`, two decimals, LF. Line n holds event n.

use std::io::{self, Write};

use super::clock::Clock;
use super::columns::{COLUMNS, Events, Slice, micros, text_of};
use super::shop::shop;

/// Lines between two calls of the progress callback: about 20 a second.
const REPORT: u64 = 100_000;

/// Writes the header and events `0..rows`; `progress` gets the rows and bytes written so far.
///
/// `start` is the first event's time, in microseconds since 1970 UTC.
pub fn write_csv(
    seed: u64,
    rows: u64,
    start: i64,
    out: &mut impl Write,
    mut progress: impl FnMut(u64, u64),
) -> io::Result<()> {
    let mut line = Vec::with_capacity(1 << 20);
    line.extend_from_slice(COLUMNS.map(|(name, _)| name).join(",").as_bytes());
    line.push(b'\n');
    let (mut at, mut bytes) = (0, 0);
    let mut events = Events::new(seed);
    let mut lines = Lines::new(start);
    while at < rows {
        let slice = events.slice(at, rows.min(at - at % REPORT + REPORT));
        at += slice.events.len() as u64;
        lines.append(&mut line, &slice);
        out.write_all(&line)?;
        bytes += line.len() as u64;
        line.clear();
        if at % REPORT == 0 || at == rows {
            progress(at, bytes);
        }
    }
    out.write_all(&line)?;
    out.flush()
}

/// Formats lines; keeps the text of the last second, which many events share.
pub(super) struct Lines {
    start: i64,
    second: i64,
    time: String,
}

impl Lines {
    /// A formatter for events that start then.
    pub(super) fn new(start: i64) -> Lines {
        Lines { start, second: i64::MIN, time: String::new() }
    }

    /// Appends the lines of some events.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, slice: &Slice<'_>) {
        let shop = shop();
        let mut clock = Clock::at(slice.from);
        for (n, event) in (slice.from..).zip(slice.events) {
            let text = |column| text_of(column, n, event, slice.block, shop);
            let product = &shop.products[event.product as usize];
            self.set_time(micros(self.start, clock.tick()).div_euclid(1_000_000));
            out.extend_from_slice(self.time.as_bytes());
            out.extend_from_slice(text(1));
            out.push(b',');
            push_number(out, u64::from(product.id));
            out.push(b',');
            push_number(out, shop.category_ids[usize::from(product.category_id)].unsigned_abs());
            out.push(b',');
            out.extend_from_slice(text(4));
            out.push(b',');
            out.extend_from_slice(text(5));
            out.push(b',');
            push_cents(out, shop.price(event.product, n));
            out.push(b',');
            push_number(out, slice.block.sessions[usize::from(event.session)].user.unsigned_abs());
            out.push(b',');
            out.extend_from_slice(text(8));
            out.push(b'\n');
        }
    }

    fn set_time(&mut self, second: i64) {
        if second != self.second {
            self.second = second;
            let time = chrono::DateTime::from_timestamp(second, 0).unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC);
            self.time = time.format("%Y-%m-%d %H:%M:%S UTC,").to_string();
        }
    }
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

fn push_cents(out: &mut Vec<u8>, cents: u32) {
    push_number(out, u64::from(cents / 100));
    out.extend_from_slice(&[b'.', b'0' + (cents / 10 % 10) as u8, b'0' + (cents % 10) as u8]);
}
