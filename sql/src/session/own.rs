//! What the functions of a session keep of it from call to call: the generator behind `random()` and
//! the number of the transaction.
//!
//! Promises: after `setseed` the numbers are those of PostgreSQL 15; a transaction's number is greater
//! than all that were given before it, also before a restart while the clock does not go back.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::Session;

/// `random()` of one session. Cheap to clone; clones share one state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Random(Arc<Mutex<Option<Generator>>>);

impl Random {
    /// Begins again at a seed from -1 to 1. Error: 22023.
    pub(crate) fn seed(&self, seed: f64) -> Result<()> {
        if !(-1.0..=1.0).contains(&seed) {
            let message = format!("setseed parameter {seed} is out of allowed range [-1,1]");
            return Err(Error::new(SqlState::InvalidParameter, message));
        }
        *self.0.lock() = Some(Generator::from_seed(seed));
        Ok(())
    }

    /// So many numbers from 0 up to 1.
    pub(crate) fn numbers(&self, count: usize) -> Result<Vec<f64>> {
        let mut state = self.0.lock();
        let generator = match &mut *state {
            Some(generator) => generator,
            None => {
                let mut bytes = [0; 16];
                crate::roles::verifier::random(&mut bytes)?;
                let number = u128::from_le_bytes(bytes);
                // All zeros would stay zeros.
                state.insert(Generator { s0: (number >> 64) as u64 | 1, s1: number as u64 })
            }
        };
        Ok((0..count).map(|_| generator.number()).collect())
    }
}

/// xoroshiro128**, seeded by splitmix64 as PostgreSQL does.
#[derive(Debug)]
struct Generator {
    s0: u64,
    s1: u64,
}

/// Bits of a number's fraction.
const BITS: u32 = 52;

impl Generator {
    fn from_seed(seed: f64) -> Generator {
        let mut state = (((1u64 << BITS) - 1) as f64 * seed) as i64 as u64;
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        };
        Generator { s0: next(), s1: next() }
    }

    fn number(&mut self) -> f64 {
        let (s0, mixed) = (self.s0, self.s1 ^ self.s0);
        let value = s0.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        self.s0 = s0.rotate_left(24) ^ mixed ^ (mixed << 16);
        self.s1 = mixed.rotate_left(37);
        (value >> (u64::BITS - BITS)) as f64 / (1u64 << BITS) as f64
    }
}

/// The numbers of a server's transactions.
#[derive(Debug)]
pub(crate) struct Transactions {
    last: AtomicI64,
    /// When the server started, in microseconds since 1970 UTC.
    pub(crate) started: i64,
}

impl Transactions {
    /// Of a server that starts now. There are fewer than one a microsecond, so that the numbers of
    /// earlier runs are lower.
    pub(crate) fn new() -> Transactions {
        let started = super::now();
        Transactions { last: AtomicI64::new(started), started }
    }
}

/// The number of one transaction, given when it is first asked for. Cheap to clone; clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct TransactionNumber(Arc<OnceLock<i64>>);

impl TransactionNumber {
    /// The number.
    pub(crate) fn get(&self, all: &Transactions) -> i64 {
        *self.0.get_or_init(|| all.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The number, if somebody asked for it.
    pub(crate) fn given(&self) -> Option<i64> {
        self.0.get().copied()
    }
}

impl Session {
    /// The number of the transaction: the block's, if one is open.
    pub(crate) fn transaction_number(&self) -> TransactionNumber {
        self.shared().map(|shared| shared.number.clone()).unwrap_or_default()
    }
}
