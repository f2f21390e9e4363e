//! Divisors, multiples, factorials, scales and buckets of numerics.

use std::cmp::Ordering;

use num_bigint::BigInt;

use super::{Int, Kind, Numeric, overflow};
use crate::error::{Error, Result, SqlState};

/// The greatest number whose factorial a numeric can be.
const MAX_FACTORIAL: i64 = 32_177;

impl Numeric {
    /// The greatest common divisor, with the greater scale.
    pub fn gcd(&self, other: &Numeric) -> Result<Numeric> {
        let (Kind::Finite(left, left_scale), Kind::Finite(right, right_scale)) = (&self.0, &other.0) else {
            return Ok(Numeric::NAN);
        };
        let (mut a, mut b, scale) = Numeric::aligned((left, *left_scale), (right, *right_scale));
        while !b.is_zero() {
            let rest = a.div_rem(&b).1;
            (a, b) = (b, rest);
        }
        Numeric::checked(a.abs(), scale)
    }

    /// The least common multiple, with the greater scale.
    pub fn lcm(&self, other: &Numeric) -> Result<Numeric> {
        let (Kind::Finite(left, left_scale), Kind::Finite(right, right_scale)) = (&self.0, &other.0) else {
            return Ok(Numeric::NAN);
        };
        let (a, b, scale) = Numeric::aligned((left, *left_scale), (right, *right_scale));
        if a.is_zero() || b.is_zero() {
            return Numeric::checked(Int::ZERO, scale);
        }
        let Kind::Finite(divisor, _) = self.gcd(other)?.0 else { return Ok(Numeric::NAN) };
        Numeric::checked(a.div_rem(&divisor).0.mul(&b).abs(), scale)
    }

    /// The factorial. Error 22003 of a negative number or one that is too great.
    pub fn factorial(number: i64) -> Result<Numeric> {
        if number < 0 {
            let message = "factorial of a negative number is undefined";
            return Err(Error::new(SqlState::NumericOutOfRange, message));
        }
        if number > MAX_FACTORIAL {
            return Err(overflow());
        }
        fn product(from: i64, to: i64) -> BigInt {
            match to - from {
                ..0 => BigInt::from(1),
                0..8 => (from..=to).fold(BigInt::from(1), |product, factor| product * factor),
                _ => product(from, i64::midpoint(from, to)) * product(i64::midpoint(from, to) + 1, to),
            }
        }
        Numeric::checked(Int::from_big(product(2, number)), 0)
    }

    /// The least scale that holds the value; `None` of what is not finite.
    pub fn min_scale(&self) -> Option<u32> {
        self.is_finite().then(|| self.canonical().scale())
    }

    /// Without the zeros at the end of the fraction.
    pub fn trim_scale(&self) -> Numeric {
        if self.is_finite() { self.canonical() } else { self.clone() }
    }

    /// The bucket of `count` equal ones between two bounds: 0 before them, `count + 1` behind.
    /// Errors 2201G and 22003.
    pub fn width_bucket(&self, low: &Numeric, high: &Numeric, count: i32) -> Result<i32> {
        let wrong = |message: &str| Error::new(SqlState::InvalidWidthBucketArgument, message);
        if count <= 0 {
            return Err(wrong("count must be greater than zero"));
        }
        if self.is_nan() || low.is_nan() || high.is_nan() {
            return Err(wrong("operand, lower bound, and upper bound cannot be NaN"));
        }
        if !low.is_finite() || !high.is_finite() {
            return Err(wrong("lower and upper bounds must be finite"));
        }
        let behind = || {
            let message = "integer out of range";
            count.checked_add(1).ok_or_else(|| Error::new(SqlState::NumericOutOfRange, message))
        };
        let (distance, width) = match low.cmp(high) {
            Ordering::Equal => return Err(wrong("lower bound cannot equal upper bound")),
            Ordering::Less if self < low => return Ok(0),
            Ordering::Less if self >= high => return behind(),
            Ordering::Less => (self.sub(low)?, high.sub(low)?),
            Ordering::Greater if self > low => return Ok(0),
            Ordering::Greater if self <= high => return behind(),
            Ordering::Greater => (low.sub(self)?, low.sub(high)?),
        };
        let bucket = distance.mul(&Numeric::from(i64::from(count)))?.div_trunc(&width)?.to_i64("integer")?;
        Ok(i32::try_from(bucket).unwrap_or(count - 1) + 1)
    }
}
