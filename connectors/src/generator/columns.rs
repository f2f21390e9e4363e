//! Generated events as Arrow columns, only those that are asked for.
//!
//! Promises the same rows from any start, in batches cut where the caller says. Builds the types of
//! [`COLUMNS`]; other declared types are cast by the source.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBufferBuilder, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::error::ArrowError;
use thalweg_dataflow::types::PgType;

use super::clock::Clock;
use super::shop::{Shop, shop};
use super::traffic::{BLOCK, Block, Event, KINDS};

/// The columns of `dataset='ecommerce'`.
pub(super) const COLUMNS: [(&str, PgType); 9] = [
    ("event_time", PgType::Timestamptz),
    ("event_type", PgType::Text),
    ("product_id", PgType::Int8),
    ("category_id", PgType::Int8),
    ("category_code", PgType::Text),
    ("brand", PgType::Text),
    ("price", PgType::Numeric(Some((10, 2)))),
    ("user_id", PgType::Int8),
    ("user_session", PgType::Text),
];

/// The place of `event_time` in [`COLUMNS`].
pub(super) const EVENT_TIME: usize = 0;

/// Events `from..to` of one block with where they come from.
pub(super) struct Slice<'a> {
    /// The number of the first event.
    pub(super) from: u64,
    /// The block they lie in.
    pub(super) block: &'a Block,
    /// They.
    pub(super) events: &'a [Event],
}

/// Makes events, keeping the block it is in.
pub(super) struct Events {
    seed: u64,
    current: Option<(u64, Block)>,
}

impl Events {
    /// The events under a seed.
    pub(super) fn new(seed: u64) -> Events {
        Events { seed, current: None }
    }

    /// Events from `from`, at most up to `to`, fewer where a block ends.
    pub(super) fn slice(&mut self, from: u64, to: u64) -> Slice<'_> {
        let number = from / BLOCK as u64;
        if self.current.as_ref().is_none_or(|(current, _)| *current != number) {
            self.current = Some((number, Block::make(self.seed, number)));
        }
        let block = &self.current.as_ref().expect("made above").1;
        let first = (from % BLOCK as u64) as usize;
        let count = to.saturating_sub(from).min((BLOCK - first) as u64) as usize;
        Slice { from, block, events: &block.events[first..first + count] }
    }

    /// Columns (places in [`COLUMNS`]) of the events `from..to`, which start at `start`
    /// (microseconds since 1970 UTC).
    pub(super) fn columns(
        &mut self,
        start: i64,
        from: u64,
        to: u64,
        columns: &[usize],
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let rows = to.saturating_sub(from) as usize;
        let mut builders: Vec<Builder> = columns.iter().map(|column| Builder::new(*column, rows)).collect();
        let mut at = if columns.is_empty() { to } else { from };
        while at < to {
            let slice = self.slice(at, to);
            at += slice.events.len() as u64;
            for builder in &mut builders {
                builder.append(start, &slice);
            }
        }
        builders.into_iter().map(Builder::finish).collect()
    }
}

/// Texts of one column.
struct Texts {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    valid: BooleanBufferBuilder,
}

impl Texts {
    fn new(rows: usize, width: usize) -> Texts {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Texts { bytes: Vec::with_capacity(rows * width), offsets, valid: BooleanBufferBuilder::new(rows) }
    }

    /// Appends a text; null if it is empty.
    #[inline]
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.offsets.push(self.bytes.len() as i32);
        self.valid.append(!text.is_empty());
    }

    fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = NullBuffer::new(self.valid.finish());
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let offsets = OffsetBuffer::new(self.offsets.into());
        Ok(Arc::new(StringArray::try_new(offsets, self.bytes.into(), nulls)?))
    }
}

/// One column being built.
enum Builder {
    Time(Vec<i64>),
    Number(usize, Vec<i64>),
    Price(Vec<i128>),
    Text(usize, Texts),
}

impl Builder {
    fn new(column: usize, rows: usize) -> Builder {
        match column {
            0 => Builder::Time(Vec::with_capacity(rows)),
            2 | 3 | 7 => Builder::Number(column, Vec::with_capacity(rows)),
            6 => Builder::Price(Vec::with_capacity(rows)),
            8 => Builder::Text(column, Texts::new(rows, 36)),
            _ => Builder::Text(column, Texts::new(rows, 12)),
        }
    }

    fn append(&mut self, start: i64, slice: &Slice<'_>) {
        let shop = shop();
        let product = |event: &Event| &shop.products[event.product as usize];
        match self {
            Builder::Time(values) => {
                let mut clock = Clock::at(slice.from);
                values.extend(slice.events.iter().map(|_| micros(start, clock.tick())));
            }
            Builder::Number(2, values) => values.extend(slice.events.iter().map(|e| i64::from(product(e).id))),
            Builder::Number(3, values) => {
                values.extend(slice.events.iter().map(|e| shop.category_ids[usize::from(product(e).category_id)]));
            }
            Builder::Number(_, values) => {
                values.extend(slice.events.iter().map(|e| slice.block.sessions[usize::from(e.session)].user));
            }
            Builder::Price(values) => {
                values.extend((slice.from..).zip(slice.events).map(|(n, e)| i128::from(shop.price(e.product, n))))
            }
            Builder::Text(column, texts) => append_texts(texts, *column, slice, shop),
        }
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Builder::Time(values) => Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")),
            Builder::Number(_, values) => Arc::new(Int64Array::from(values)),
            Builder::Price(values) => Arc::new(Decimal128Array::from(values).with_precision_and_scale(10, 2)?),
            Builder::Text(_, texts) => texts.finish()?,
        })
    }
}

/// The time so many seconds after the start.
pub(super) fn micros(start: i64, seconds: u64) -> i64 {
    start.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000))
}

fn append_texts(texts: &mut Texts, column: usize, slice: &Slice<'_>, shop: &Shop) {
    for (n, event) in (slice.from..).zip(slice.events) {
        texts.push(text_of(column, n, event, slice.block, shop));
    }
}

/// A text column of one event; empty means null.
#[inline]
pub(super) fn text_of<'a>(column: usize, n: u64, event: &Event, block: &'a Block, shop: &Shop) -> &'a [u8] {
    let product = &shop.products[event.product as usize];
    match column {
        1 => KINDS[usize::from(event.kind)].as_bytes(),
        4 => shop.categories[usize::from(shop.pairs[usize::from(product.pair)].category)].as_bytes(),
        5 => shop.brands[usize::from(shop.brand(product, n))].as_bytes(),
        _ if event.sessionless => b"",
        _ => &block.sessions[usize::from(event.session)].id,
    }
}
