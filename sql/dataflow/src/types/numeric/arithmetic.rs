//! Arithmetic on numerics, with PostgreSQL's rules for how many digits a result has.
//!
//! Every result that PostgreSQL's format cannot hold is 22003, a zero divisor 22012. Offers no
//! logarithms, fractional powers or roots but the square one.

use super::{Int, Kind, MAX_SCALE, Numeric, overflow};
use crate::error::{Error, Result, SqlState};

/// The least significant digits that a quotient has.
pub(super) const MIN_SIGNIFICANT: i64 = 16;
/// The largest scale that division chooses by itself, and `round` accepts twice of.
pub(super) const MAX_CHOSEN_SCALE: i64 = 1000;
/// PostgreSQL's digits are in base 10000.
const DIGITS_PER_PLACE: i64 = 4;

impl Numeric {
    /// Both values on the larger of the two scales.
    pub(super) fn aligned(left: (&Int, u32), right: (&Int, u32)) -> (Int, Int, u32) {
        let scale = left.1.max(right.1);
        (left.0.shift(scale - left.1), right.0.shift(scale - right.1), scale)
    }

    /// The sum; infinities of opposite sign give NaN.
    pub fn add(&self, other: &Numeric) -> Result<Numeric> {
        match (&self.0, &other.0) {
            (Kind::Finite(Int::Small(a), sa), Kind::Finite(Int::Small(b), sb)) if sa == sb => match a.checked_add(*b) {
                Some(sum) => Ok(Numeric::finite(Int::Small(sum), *sa)),
                None => Numeric::checked(Int::Small(*a).add(&Int::Small(*b)), *sa),
            },
            (Kind::Finite(a, sa), Kind::Finite(b, sb)) => {
                let (a, b, scale) = Numeric::aligned((a, *sa), (b, *sb));
                Numeric::checked(a.add(&b), scale)
            }
            (Kind::NaN, _) | (_, Kind::NaN) => Ok(Numeric::NAN),
            (Kind::Infinity, Kind::NegInfinity) | (Kind::NegInfinity, Kind::Infinity) => Ok(Numeric::NAN),
            (Kind::Infinity, _) | (_, Kind::Infinity) => Ok(Numeric::INFINITY),
            _ => Ok(Numeric::NEG_INFINITY),
        }
    }

    /// The difference.
    pub fn sub(&self, other: &Numeric) -> Result<Numeric> {
        self.add(&other.neg())
    }

    /// The product; an infinity times zero gives NaN.
    pub fn mul(&self, other: &Numeric) -> Result<Numeric> {
        match (&self.0, &other.0) {
            (Kind::Finite(a, sa), Kind::Finite(b, sb)) => {
                let (product, scale) = (a.mul(b), sa + sb);
                if scale <= MAX_SCALE {
                    return Numeric::checked(product, scale);
                }
                Numeric::checked(product.div_round(&Int::pow10(scale - MAX_SCALE)), MAX_SCALE)
            }
            (Kind::NaN, _) | (_, Kind::NaN) => Ok(Numeric::NAN),
            _ => Ok(match self.signum() * other.signum() {
                0 => Numeric::NAN,
                1 => Numeric::INFINITY,
                _ => Numeric::NEG_INFINITY,
            }),
        }
    }

    /// The quotient, rounded half away from zero to at least 16 significant digits: the scale
    /// follows PostgreSQL's choice, which looks at places of four digits.
    pub fn div(&self, other: &Numeric) -> Result<Numeric> {
        match (&self.0, &other.0) {
            (Kind::NaN, _) | (_, Kind::NaN) => Ok(Numeric::NAN),
            (_, Kind::Finite(divisor, _)) if divisor.is_zero() => Err(division_by_zero()),
            (Kind::Finite(a, sa), Kind::Finite(b, sb)) => {
                let scale = quotient_scale((a, *sa), (b, *sb));
                // a/10^sa / (b/10^sb) * 10^scale = a * 10^(scale - sa + sb) / b
                let shift = i64::from(scale) - i64::from(*sa) + i64::from(*sb);
                let value = match u32::try_from(shift) {
                    Ok(shift) => a.shift(shift).div_round(b),
                    Err(_) => a.div_round(&b.shift(shift.unsigned_abs() as u32)),
                };
                Numeric::checked(value, scale)
            }
            (Kind::Finite(..), _) => Ok(Numeric::ZERO),
            (_, Kind::Finite(..)) => {
                Ok(if self.signum() * other.signum() > 0 { Numeric::INFINITY } else { Numeric::NEG_INFINITY })
            }
            _ => Ok(Numeric::NAN),
        }
    }

    /// The square root of a number that is not negative, with this scale, rounded half away from zero.
    /// Errors 2201F for a negative one.
    pub fn sqrt_to(&self, scale: u32) -> Result<Numeric> {
        let Kind::Finite(value, own) = &self.0 else { return Ok(self.clone()) };
        if value.is_negative() {
            let message = "cannot take square root of a negative number";
            return Err(Error::new(SqlState::InvalidPowerArgument, message));
        }
        // sqrt(v / 10^own) * 10^scale = sqrt(v * 10^(2 scale - own))
        let shift = i64::from(scale) * 2 - i64::from(*own);
        let radicand = match u32::try_from(shift) {
            Ok(shift) => value.shift(shift),
            Err(_) => value.div_round(&Int::pow10(shift.unsigned_abs() as u32)),
        };
        let root = radicand.big().sqrt();
        // Past root + 1/2 if the rest is more than the root.
        let past = radicand.big().as_ref() - &root * &root > root;
        Numeric::checked(Int::from_big(root + i32::from(past)), scale)
    }

    /// The remainder of the division towards zero: it has the sign of `self`.
    pub fn rem(&self, other: &Numeric) -> Result<Numeric> {
        match (&self.0, &other.0) {
            (Kind::NaN, _) | (_, Kind::NaN) => Ok(Numeric::NAN),
            (_, Kind::Finite(divisor, _)) if divisor.is_zero() => Err(division_by_zero()),
            (Kind::Finite(a, sa), Kind::Finite(b, sb)) => {
                let (a, b, scale) = Numeric::aligned((a, *sa), (b, *sb));
                Numeric::checked(a.div_rem(&b).1, scale)
            }
            (Kind::Finite(..), _) => Ok(self.clone()),
            _ => Ok(Numeric::NAN),
        }
    }

    /// The quotient cut to an integer: PostgreSQL's `div`.
    pub fn div_trunc(&self, other: &Numeric) -> Result<Numeric> {
        match (&self.0, &other.0) {
            (Kind::Finite(a, sa), Kind::Finite(b, sb)) if !b.is_zero() => {
                let (a, b, _) = Numeric::aligned((a, *sa), (b, *sb));
                Numeric::checked(a.div_rem(&b).0, 0)
            }
            _ => self.div(other),
        }
    }

    /// The value with the other sign.
    pub fn neg(&self) -> Numeric {
        Numeric(match &self.0 {
            Kind::NegInfinity => Kind::Infinity,
            Kind::Infinity => Kind::NegInfinity,
            Kind::NaN => Kind::NaN,
            Kind::Finite(value, scale) => Kind::Finite(value.neg(), *scale),
        })
    }

    /// The absolute value.
    pub fn abs(&self) -> Numeric {
        if self.signum() < 0 { self.neg() } else { self.clone() }
    }

    /// Rounded half away from zero to `places` digits after the point; negative places round
    /// before it.
    pub fn round(&self, places: i32) -> Result<Numeric> {
        self.rescale(places, |value, power| value.div_round(power))
    }

    /// Cut to `places` digits after the point.
    pub fn trunc(&self, places: i32) -> Result<Numeric> {
        self.rescale(places, |value, power| value.div_rem(power).0)
    }

    /// Cut, or filled up, to exactly this display scale.
    pub(crate) fn trunc_to(&self, scale: u32) -> Result<Numeric> {
        match &self.0 {
            Kind::Finite(value, own) if *own <= scale => Numeric::checked(value.shift(scale - own), scale),
            Kind::Finite(value, own) => Numeric::checked(value.div_rem(&Int::pow10(own - scale)).0, scale),
            _ => Ok(self.clone()),
        }
    }

    /// The smallest integer not below.
    pub fn ceil(&self) -> Result<Numeric> {
        self.neg().floor().map(|floor| floor.neg())
    }

    /// The largest integer not above.
    pub fn floor(&self) -> Result<Numeric> {
        self.rescale(0, |value, power| {
            let (quotient, remainder) = value.div_rem(power);
            if remainder.is_negative() { quotient.sub(&Int::Small(1)) } else { quotient }
        })
    }

    fn rescale(&self, places: i32, cut: impl Fn(&Int, &Int) -> Int) -> Result<Numeric> {
        let Kind::Finite(value, scale) = &self.0 else { return Ok(self.clone()) };
        let places = i64::from(places).clamp(-2 * MAX_CHOSEN_SCALE, 2 * MAX_CHOSEN_SCALE);
        let own = i64::from(*scale);
        if places >= own {
            return Numeric::checked(value.shift((places - own) as u32), places as u32);
        }
        let dropped = (own - places) as u32;
        // Cutting more digits than there are leaves at most one unit: no huge power is needed.
        if dropped > value.digits() + 1 && places < 0 {
            return Ok(Numeric::ZERO);
        }
        let short = cut(value, &Int::pow10(dropped));
        match u32::try_from(places) {
            Ok(places) => Numeric::checked(short, places),
            Err(_) => Numeric::checked(short.shift(places.unsigned_abs() as u32), 0),
        }
    }

    /// The value to an integer power, for exponents that give a representable result; the number
    /// of digits is PostgreSQL's.
    pub fn power(&self, exponent: i32) -> Result<Numeric> {
        let Kind::Finite(base, scale) = &self.0 else {
            return Err(Error::unsupported("power of NaN or an infinity"));
        };
        if base.is_zero() && exponent < 0 {
            return Err(Error::new(SqlState::InvalidPowerArgument, "zero raised to a negative power is undefined"));
        }
        let digits = u64::from(base.digits().max(1)) * u64::from(exponent.unsigned_abs());
        if digits > 200_000 {
            return Err(overflow());
        }
        let (mut result, mut square, mut left) = (Int::Small(1), base.clone(), exponent.unsigned_abs());
        while left > 0 {
            if left & 1 == 1 {
                result = result.mul(&square);
            }
            left >>= 1;
            if left > 0 {
                square = square.mul(&square.clone());
            }
        }
        let result_scale = scale.saturating_mul(exponent.unsigned_abs());
        let chosen = MIN_SIGNIFICANT.max(i64::from(*scale)).min(MAX_CHOSEN_SCALE) as u32;
        let value = if exponent >= 0 {
            match result_scale.checked_sub(chosen) {
                Some(dropped) => result.div_round(&Int::pow10(dropped)),
                None => result.shift(chosen - result_scale),
            }
        } else {
            Int::pow10(result_scale + chosen).div_round(&result)
        };
        Numeric::checked(value, chosen)
    }
}

pub(super) fn division_by_zero() -> Error {
    Error::new(SqlState::DivisionByZero, "division by zero")
}

/// The scale that PostgreSQL gives a quotient.
fn quotient_scale(left: (&Int, u32), right: (&Int, u32)) -> u32 {
    let (left_weight, left_first) = leading_place(left.0, left.1);
    let (right_weight, right_first) = leading_place(right.0, right.1);
    let mut weight = left_weight - right_weight;
    if left_first <= right_first {
        weight -= 1;
    }
    let wanted = MIN_SIGNIFICANT - weight * DIGITS_PER_PLACE;
    wanted.max(i64::from(left.1)).max(i64::from(right.1)).clamp(0, MAX_CHOSEN_SCALE) as u32
}

/// The first non-zero place in base 10000, and its weight as a power of 10000.
pub(super) fn leading_place(value: &Int, scale: u32) -> (i64, i64) {
    if value.is_zero() {
        return (0, 0);
    }
    let digits = i64::from(value.digits());
    let leading = digits - 1 - i64::from(scale);
    let weight = leading.div_euclid(DIGITS_PER_PLACE);
    let wanted = leading.rem_euclid(DIGITS_PER_PLACE) + 1;
    let magnitude = value.abs();
    let first = if digits >= wanted {
        magnitude.div_rem(&Int::pow10((digits - wanted) as u32)).0
    } else {
        magnitude.shift((wanted - digits) as u32)
    };
    match first {
        Int::Small(first) => (weight, first as i64),
        Int::Big(_) => (weight, 0),
    }
}
