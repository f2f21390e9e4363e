//! Signed integers of any size: an `i128` as long as it fits, a big integer beyond.
//!
//! Promises that equal numbers have equal representations. Knows no decimal point.

use std::borrow::Cow;
use std::cmp::Ordering;

use num_bigint::BigInt;

/// The powers of ten that fit in an `i128`.
const POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut at = 1;
    while at < 39 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// 10^exponent, if it fits.
pub(crate) fn small_pow10(exponent: u32) -> Option<i128> {
    POWERS.get(exponent as usize).copied()
}

/// An integer; `Big` only where `Small` cannot hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Int {
    Small(i128),
    Big(Box<BigInt>),
}

impl Int {
    pub(super) const ZERO: Int = Int::Small(0);

    /// The representation that the value must have.
    pub(super) fn from_big(value: BigInt) -> Int {
        match i128::try_from(&value) {
            Ok(small) => Int::Small(small),
            Err(_) => Int::Big(Box::new(value)),
        }
    }

    /// An integer from ASCII digits; `digits` holds nothing else.
    pub(super) fn from_digits(digits: &[u8], negative: bool) -> Int {
        if digits.len() <= 38 {
            let value = digits.iter().fold(0i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
            return Int::Small(if negative { -value } else { value });
        }
        let value = BigInt::parse_bytes(digits, 10).unwrap_or_default();
        Int::from_big(if negative { -value } else { value })
    }

    pub(super) fn pow10(exponent: u32) -> Int {
        match small_pow10(exponent) {
            Some(power) => Int::Small(power),
            None => Int::from_big(BigInt::from(10).pow(exponent)),
        }
    }

    pub(super) fn big(&self) -> Cow<'_, BigInt> {
        match self {
            Int::Small(value) => Cow::Owned(BigInt::from(*value)),
            Int::Big(value) => Cow::Borrowed(value),
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        matches!(self, Int::Small(0))
    }

    pub(super) fn is_negative(&self) -> bool {
        match self {
            Int::Small(value) => *value < 0,
            Int::Big(value) => value.sign() == num_bigint::Sign::Minus,
        }
    }

    pub(super) fn neg(&self) -> Int {
        match self {
            Int::Small(value) if *value != i128::MIN => Int::Small(-value),
            other => Int::from_big(-other.big().into_owned()),
        }
    }

    pub(super) fn abs(&self) -> Int {
        if self.is_negative() { self.neg() } else { self.clone() }
    }

    pub(super) fn add(&self, other: &Int) -> Int {
        if let (Int::Small(left), Int::Small(right)) = (self, other)
            && let Some(sum) = left.checked_add(*right)
        {
            return Int::Small(sum);
        }
        Int::from_big(self.big().as_ref() + other.big().as_ref())
    }

    pub(super) fn sub(&self, other: &Int) -> Int {
        if let (Int::Small(left), Int::Small(right)) = (self, other)
            && let Some(difference) = left.checked_sub(*right)
        {
            return Int::Small(difference);
        }
        Int::from_big(self.big().as_ref() - other.big().as_ref())
    }

    pub(super) fn mul(&self, other: &Int) -> Int {
        if let (Int::Small(left), Int::Small(right)) = (self, other)
            && let Some(product) = left.checked_mul(*right)
        {
            return Int::Small(product);
        }
        Int::from_big(self.big().as_ref() * other.big().as_ref())
    }

    /// Times 10^exponent.
    pub(super) fn shift(&self, exponent: u32) -> Int {
        if exponent == 0 || self.is_zero() {
            return self.clone();
        }
        self.mul(&Int::pow10(exponent))
    }

    /// Quotient towards zero, and the remainder with the sign of `self`. `other` is not zero.
    pub(super) fn div_rem(&self, other: &Int) -> (Int, Int) {
        if let (Int::Small(left), Int::Small(right)) = (self, other)
            && let (Some(quotient), Some(remainder)) = (left.checked_div(*right), left.checked_rem(*right))
        {
            return (Int::Small(quotient), Int::Small(remainder));
        }
        let (left, right) = (self.big(), other.big());
        let quotient = left.as_ref() / right.as_ref();
        let remainder = left.as_ref() - &quotient * right.as_ref();
        (Int::from_big(quotient), Int::from_big(remainder))
    }

    /// The quotient rounded half away from zero. `other` is not zero.
    pub(super) fn div_round(&self, other: &Int) -> Int {
        let (quotient, remainder) = self.div_rem(other);
        let twice = remainder.abs().mul(&Int::Small(2));
        if twice.cmp(&other.abs()) == Ordering::Less {
            return quotient;
        }
        let away = if self.is_negative() == other.is_negative() { 1 } else { -1 };
        quotient.add(&Int::Small(away))
    }

    pub(super) fn cmp(&self, other: &Int) -> Ordering {
        match (self, other) {
            (Int::Small(left), Int::Small(right)) => left.cmp(right),
            _ => self.big().as_ref().cmp(other.big().as_ref()),
        }
    }

    /// How many decimal digits it has; zero has none.
    pub(super) fn digits(&self) -> u32 {
        match self {
            Int::Small(0) => 0,
            Int::Small(value) => value.unsigned_abs().ilog10() + 1,
            Int::Big(value) => {
                // log10(2) from below: the estimate is the count or one less.
                let bits = value.bits();
                let low = ((bits - 1) as u128 * 30_102_999_566 / 100_000_000_000) as u32 + 1;
                let power = BigInt::from(10).pow(low);
                if value.magnitude() >= power.magnitude() { low + 1 } else { low }
            }
        }
    }

    /// The digits of the absolute value in ASCII; zero is `0`.
    pub(super) fn push_digits(&self, out: &mut String) {
        match self {
            Int::Small(value) => super::push_u128(out, value.unsigned_abs()),
            Int::Big(value) => out.push_str(&value.magnitude().to_str_radix(10)),
        }
    }
}
