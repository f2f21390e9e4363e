//! The generator's random numbers: splitmix64, seeded by what they are for.
//!
//! Promises the same numbers on every machine and in every version: it uses integers only, and
//! whoever needs other distributions derives them with additions, multiplications and square roots,
//! which IEEE 754 defines exactly. Not for secrets.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Scrambles a number: each bit of the result depends on all bits of the input.
#[inline]
pub(super) fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(GOLDEN);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Scales 32 random bits to `0..bound`.
#[inline]
pub(super) fn scale(bits: u64, bound: u32) -> u32 {
    (((bits & 0xffff_ffff) * u64::from(bound)) >> 32) as u32
}

/// Turns 32 random bits into a fraction, `0 <= x < 1`.
#[inline]
pub(super) fn fraction(bits: u64) -> f64 {
    (bits & 0xffff_ffff) as f64 / 4_294_967_296.0
}

/// A stream of random numbers.
pub(super) struct Random(u64);

impl Random {
    /// The stream for one purpose under one seed.
    pub(super) fn new(seed: u64, purpose: u64) -> Random {
        Random(mix(seed ^ mix(purpose)))
    }

    /// The next 64 bits.
    #[inline]
    pub(super) fn next(&mut self) -> u64 {
        let bits = mix(self.0);
        self.0 = self.0.wrapping_add(GOLDEN);
        bits
    }
}
