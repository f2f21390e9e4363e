//! Real numbers in binary fixed point: an integer and how many of its bits are behind the point.
//!
//! Errors are a few units of the last bit: callers ask for more bits than they need.

use num_bigint::BigInt;

/// A number, `value / 2^bits`.
#[derive(Debug, Clone)]
pub(super) struct Fixed {
    value: BigInt,
    bits: u64,
}

fn pow10(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

/// The inverse hyperbolic tangent of `1 / n`, with so many bits.
fn atanh_of_inverse(n: u32, bits: u64) -> BigInt {
    let square = BigInt::from(n) * n;
    let mut power = (BigInt::from(1) << bits) / n;
    let (mut sum, mut odd) = (BigInt::ZERO, 1u32);
    while power.bits() > 0 {
        sum += &power / odd;
        power /= &square;
        odd += 2;
    }
    sum
}

/// The natural logarithm of 2, with so many bits.
fn ln_2(bits: u64) -> BigInt {
    let own = bits + 16;
    let sum = atanh_of_inverse(26, own) * 18 - atanh_of_inverse(4801, own) * 2 + atanh_of_inverse(8749, own) * 8;
    sum >> 16u32
}

impl Fixed {
    /// The decimal number `unscaled / 10^scale`.
    pub(super) fn of(unscaled: &BigInt, scale: u32, bits: u64) -> Fixed {
        Fixed { value: (unscaled << bits) / pow10(scale), bits }
    }

    /// The same with another number of bits.
    pub(super) fn with_bits(self, bits: u64) -> Fixed {
        let value = match bits.checked_sub(self.bits) {
            Some(more) => self.value << more,
            None => self.value >> (self.bits - bits),
        };
        Fixed { value, bits }
    }

    /// The natural logarithm of the positive number `unscaled / 10^scale`.
    pub(super) fn ln(unscaled: &BigInt, scale: u32, bits: u64) -> Fixed {
        // Halvings of the square root make the series short.
        const ROOTS: u64 = 8;
        let power = pow10(scale);
        let exponent = unscaled.bits() as i64 - power.bits() as i64;
        let own = bits + ROOTS + 32;
        let one = BigInt::from(1) << own;
        let mantissa = match u64::try_from(exponent) {
            Ok(right) => (unscaled << own) / (power << right),
            Err(_) => (unscaled << (own + exponent.unsigned_abs())) / power,
        };
        let mut root = mantissa;
        for _ in 0..ROOTS {
            root = (root << own).sqrt();
        }
        // ln m = 2 atanh((m - 1) / (m + 1)).
        let ratio = ((&root - &one) << own) / (&root + &one);
        let square = (&ratio * &ratio) >> own;
        let (mut term, mut sum, mut odd) = (ratio, BigInt::ZERO, 1u32);
        while term.bits() > 1 {
            sum += &term / odd;
            term = (term * &square) >> own;
            odd += 2;
        }
        let value = (sum << (ROOTS + 1)) + ln_2(own + 32) * exponent / (BigInt::from(1) << 32u32);
        Fixed { value, bits: own }.with_bits(bits)
    }

    /// e to this power.
    pub(super) fn exp(&self) -> Fixed {
        const HALVINGS: u64 = 16;
        let whole = &self.value >> self.bits;
        let own = self.bits + HALVINGS + 32 + whole.bits();
        let ln_2 = ln_2(own);
        let value = &self.value << (own - self.bits);
        let twos = floor_div(&value, &ln_2);
        let one = BigInt::from(1) << own;
        let small = (value - &twos * &ln_2) >> HALVINGS;
        let (mut term, mut sum, mut n) = (one.clone(), one, 1u32);
        while term.bits() > 0 {
            term = ((term * &small) >> own) / n;
            sum += &term;
            n += 1;
        }
        for _ in 0..HALVINGS {
            sum = (&sum * &sum) >> own;
        }
        let twos = i64::try_from(&twos).unwrap_or(0);
        let value = match u64::try_from(twos) {
            Ok(left) => sum << left,
            Err(_) => sum >> twos.unsigned_abs(),
        };
        Fixed { value, bits: own }
    }

    /// The quotient; `None`: by zero.
    pub(super) fn div(&self, other: &Fixed) -> Option<Fixed> {
        if other.value.bits() == 0 {
            return None;
        }
        Some(Fixed { value: (&self.value << other.bits) / &other.value, bits: self.bits })
    }

    /// Times the decimal number `unscaled / 10^scale`.
    pub(super) fn times(&self, unscaled: &BigInt, scale: u32) -> Fixed {
        Fixed { value: &self.value * unscaled / pow10(scale), bits: self.bits }
    }

    /// As an integer of units of `10^-scale`, rounded half away from zero.
    pub(super) fn rounded(&self, scale: u32) -> BigInt {
        let scaled: BigInt = (&self.value * pow10(scale)) << 1u32;
        let half = BigInt::from(1) << self.bits;
        let magnitude: BigInt = (BigInt::from(scaled.magnitude().clone()) + half) >> (self.bits + 1);
        if self.value.sign() == num_bigint::Sign::Minus { -magnitude } else { magnitude }
    }

    /// Nearly the same as a float.
    pub(super) fn to_f64(&self) -> f64 {
        let excess = self.value.bits().saturating_sub(100);
        let top = i128::try_from(&self.value >> excess).unwrap_or(0);
        let exponent = excess as i64 - self.bits as i64;
        top as f64 * 2f64.powi(exponent.clamp(-2000, 2000) as i32)
    }
}

fn floor_div(left: &BigInt, right: &BigInt) -> BigInt {
    let quotient = left / right;
    if &quotient * right > *left { quotient - 1 } else { quotient }
}
