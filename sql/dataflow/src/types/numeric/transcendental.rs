//! Roots, exponentials, logarithms and powers of numerics, with as many digits as PostgreSQL gives.
//!
//! Computed in binary fixed point with guard bits and rounded once; the number of digits comes from an
//! estimate of the result's magnitude, as PostgreSQL's does.

use num_bigint::BigInt;

use super::arithmetic::{MAX_CHOSEN_SCALE, MIN_SIGNIFICANT, leading_place};
use super::fixed::Fixed;
use super::{Int, Kind, Numeric, overflow};
use crate::error::{Error, Result, SqlState};

/// The decimal logarithm of e.
const LOG10_E: f64 = std::f64::consts::LOG10_E;
/// The greatest magnitude of an argument of exp.
const MAX_EXPONENT: f64 = 6000.0;
/// What exact integer powers may have of digits; beyond, they are computed by logarithms.
const MAX_EXACT_DIGITS: u64 = 4000;
/// The powers that no number can be.
const MAX_RESULT_DIGITS: f64 = 131_072.0;

fn scale_for(weight: i64, scales: impl IntoIterator<Item = u32>) -> u32 {
    let wanted = scales.into_iter().map(i64::from).fold(MIN_SIGNIFICANT - weight, i64::max);
    wanted.clamp(0, MAX_CHOSEN_SCALE) as u32
}

/// Bits that hold so many decimal digits, and some to spare.
fn bits_for(digits: u64) -> u64 {
    digits * 3322 / 1000 + 64
}

fn no_logarithm(what: &str) -> Error {
    Error::new(SqlState::InvalidLogarithmArgument, format!("cannot take logarithm of {what}"))
}

fn no_power(message: &str) -> Error {
    Error::new(SqlState::InvalidPowerArgument, message)
}

/// The decimal weight of a logarithm, estimated from a positive number's first digits.
fn logarithm_weight(value: &Int, scale: u32) -> i64 {
    let number = Numeric::finite(value.clone(), scale);
    let (low, high) = (Numeric::from_i128(9, 1), Numeric::from_i128(11, 1));
    if (low..=high).contains(&number) {
        return match number.sub(&Numeric::from(1)).map(|rest| rest.0) {
            Ok(Kind::Finite(rest, _)) if !rest.is_zero() => {
                let (weight, first) = leading_place(&rest, scale);
                weight * 4 + first.abs().max(1).ilog10() as i64
            }
            _ => 0,
        };
    }
    let digits = i64::from(value.digits());
    let kept = digits.min(17);
    let first = value.div_rem(&Int::pow10((digits - kept) as u32)).0;
    let first = match first {
        Int::Small(first) => first as f64,
        Int::Big(_) => return 0,
    };
    let natural = first.ln() + (digits - kept - i64::from(scale)) as f64 * std::f64::consts::LN_10;
    natural.abs().log10() as i64
}

impl Numeric {
    /// The square root. Error 2201F of a negative number.
    pub fn sqrt(&self) -> Result<Numeric> {
        let Kind::Finite(value, scale) = &self.0 else {
            return match self.0 {
                Kind::NegInfinity => Err(no_power("cannot take square root of a negative number")),
                _ => Ok(self.clone()),
            };
        };
        let (weight, _) = leading_place(value, *scale);
        self.sqrt_to(scale_for((weight + 1) * 4 / 2 - 1, [*scale]))
    }

    /// e to this power. Error 22003 if that is too great.
    pub fn exp(&self) -> Result<Numeric> {
        let Kind::Finite(value, scale) = &self.0 else {
            return Ok(if matches!(self.0, Kind::NegInfinity) { Numeric::ZERO } else { self.clone() });
        };
        let estimate = self.to_f64();
        let weight = (estimate * LOG10_E).clamp(-2000.0, 2000.0) as i64;
        let wanted = scale_for(weight, [*scale]);
        if estimate.abs() >= MAX_EXPONENT {
            return if estimate > 0.0 { Err(overflow()) } else { Numeric::checked(Int::ZERO, wanted) };
        }
        let bits = bits_for(u64::from(wanted) + weight.max(0) as u64 + 4);
        Fixed::of(&value.big(), *scale, bits).exp().to_numeric(wanted)
    }

    /// The natural logarithm. Error 2201E of what is not positive.
    pub fn ln(&self) -> Result<Numeric> {
        self.check_logarithm()?;
        let Kind::Finite(value, scale) = &self.0 else { return Ok(self.clone()) };
        let wanted = scale_for(logarithm_weight(value, *scale), [*scale]);
        Fixed::ln(&value.big(), *scale, bits_for(u64::from(wanted) + 4)).to_numeric(wanted)
    }

    fn check_logarithm(&self) -> Result<()> {
        match &self.0 {
            Kind::NaN => Ok(()),
            _ if self.signum() < 0 => Err(no_logarithm("a negative number")),
            _ if self.signum() == 0 => Err(no_logarithm("zero")),
            _ => Ok(()),
        }
    }

    /// The logarithm to a base. Errors 2201E, and 22012 for the base 1.
    pub fn log(&self, base: &Numeric) -> Result<Numeric> {
        let (Kind::Finite(value, scale), Kind::Finite(base_value, base_scale)) = (&self.0, &base.0) else {
            if self.is_nan() || base.is_nan() {
                return Ok(Numeric::NAN);
            }
            for sign in [-1, 0] {
                if let Some(wrong) = [base, self].into_iter().find(|number| number.signum() == sign) {
                    wrong.check_logarithm()?;
                }
            }
            return Ok(match (base.is_finite(), self.is_finite()) {
                (false, false) => Numeric::NAN,
                (false, true) => Numeric::ZERO,
                _ => Numeric::INFINITY,
            });
        };
        base.check_logarithm()?;
        self.check_logarithm()?;
        let weights = (logarithm_weight(value, *scale), logarithm_weight(base_value, *base_scale));
        let weight = weights.0 - weights.1;
        let wanted = scale_for(weight, [*scale, *base_scale]);
        // Both logarithms with as many significant digits as the quotient and more.
        let digits = i64::from(wanted) + weight.abs() + weights.0.abs() + 2 * weights.1.abs() + 10;
        let bits = bits_for(digits as u64);
        let (above, below) = (Fixed::ln(&value.big(), *scale, bits), Fixed::ln(&base_value.big(), *base_scale, bits));
        above.div(&below).ok_or_else(super::arithmetic::division_by_zero)?.to_numeric(wanted)
    }

    /// The value to a power. Errors 2201F where there is none, 22003 if it is too great.
    pub fn pow(&self, exponent: &Numeric) -> Result<Numeric> {
        let (Kind::Finite(base, scale), Kind::Finite(value, exponent_scale)) = (&self.0, &exponent.0) else {
            return self.special_power(exponent);
        };
        let whole = exponent.is_whole();
        check_power(self, exponent, whole)?;
        if whole && let Some(times) = exponent.trunc(0)?.to_i128().and_then(|(times, _)| i32::try_from(times).ok()) {
            let digits = u64::from(base.digits().max(1)) * u64::from(times.unsigned_abs());
            if digits <= MAX_EXACT_DIGITS || base.is_zero() {
                return self.power(times);
            }
            let wanted = scale_for(0, [*scale]);
            return power_by_logarithm(
                (&base.abs(), *scale),
                (value, *exponent_scale),
                Some(wanted),
                self.odd(exponent)?,
            );
        }
        if base.is_zero() {
            return Numeric::checked(Int::ZERO, MIN_SIGNIFICANT as u32);
        }
        power_by_logarithm((&base.abs(), *scale), (value, *exponent_scale), None, self.odd(exponent)?)
    }

    /// Whether a power of this number is negative.
    fn odd(&self, exponent: &Numeric) -> Result<bool> {
        Ok(self.signum() < 0 && exponent.is_finite() && !exponent.rem(&Numeric::from(2))?.is_zero())
    }

    /// Whether it has no fraction, as infinities have none.
    fn is_whole(&self) -> bool {
        !self.is_nan() && (!self.is_finite() || self.trunc(0).is_ok_and(|whole| whole == *self))
    }

    /// Powers where one of both is infinite or not a number, as IEEE 754 has them.
    fn special_power(&self, exponent: &Numeric) -> Result<Numeric> {
        let one = Numeric::from(1);
        if exponent.is_zero() || *self == one {
            return Ok(one);
        }
        if self.is_nan() || exponent.is_nan() {
            return Ok(Numeric::NAN);
        }
        check_power(self, exponent, exponent.is_whole())?;
        if self.is_zero() {
            return Ok(Numeric::ZERO);
        }
        if !exponent.is_finite() {
            if *self == one.neg() {
                return Ok(one);
            }
            let grows = (self.abs() > one) == (exponent.signum() > 0);
            return Ok(if grows { Numeric::INFINITY } else { Numeric::ZERO });
        }
        Ok(match exponent.signum() {
            -1 => Numeric::ZERO,
            _ if self.odd(exponent)? => Numeric::NEG_INFINITY,
            _ => Numeric::INFINITY,
        })
    }
}

fn check_power(base: &Numeric, exponent: &Numeric, whole: bool) -> Result<()> {
    if base.is_zero() && exponent.signum() < 0 {
        return Err(no_power("zero raised to a negative power is undefined"));
    }
    if base.signum() < 0 && !whole {
        return Err(no_power("a negative number raised to a non-integer power yields a complex result"));
    }
    Ok(())
}

/// A positive base to a power; `wanted`: the scale of the result, if the result does not choose it.
fn power_by_logarithm(
    base: (&Int, u32),
    exponent: (&Int, u32),
    wanted: Option<u32>,
    negative: bool,
) -> Result<Numeric> {
    let (big_base, big_exponent) = (base.0.big(), exponent.0.big());
    // The logarithm's error is multiplied by the exponent.
    let more = big_exponent.bits();
    let product = |bits: u64| -> Fixed {
        let logarithm = Fixed::ln(&big_base, base.1, bits + more);
        logarithm.times(&big_exponent, exponent.1).with_bits(bits)
    };
    let near_zero = u64::try_from(-logarithm_weight(base.0, base.1)).unwrap_or(0);
    let estimate = product(bits_for(near_zero + 20)).to_f64();
    let limit = if wanted.is_some() { MAX_RESULT_DIGITS / LOG10_E } else { MAX_EXPONENT * 1.003 };
    if estimate > limit {
        return Err(overflow());
    }
    let weight = (estimate * LOG10_E) as i64;
    let scale = wanted.unwrap_or_else(|| scale_for(weight, [base.1, exponent.1]));
    if estimate < -limit {
        return Numeric::checked(Int::ZERO, wanted.unwrap_or(MAX_CHOSEN_SCALE as u32));
    }
    let bits = bits_for(u64::from(scale) + weight.max(0) as u64 + near_zero + 10);
    let result = product(bits).exp().to_numeric(scale)?;
    Ok(if negative { result.neg() } else { result })
}

impl Fixed {
    fn to_numeric(&self, scale: u32) -> Result<Numeric> {
        let rounded: BigInt = self.rounded(scale);
        Numeric::checked(Int::from_big(rounded), scale)
    }
}
