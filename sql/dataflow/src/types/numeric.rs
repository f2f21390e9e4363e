//! PostgreSQL's numeric: exact decimals of any size, each with its own display scale.
//!
//! Promises the printed digits of PostgreSQL for every operation here, NaN and the infinities
//! included, and its limits (131072 digits before the point, 16383 after). Numbers of up to 38
//! digits take an `i128` path without allocation. Knows no Arrow arrays.

mod arithmetic;
mod encoding;
mod fixed;
mod int;
mod integers;
mod transcendental;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result, SqlState};
pub use encoding::canonical_bytes;
use int::Int;
pub(crate) use int::small_pow10;

/// The most digits after the point.
pub const MAX_SCALE: u32 = 16383;
/// The most digits before the point.
pub const MAX_INTEGER_DIGITS: u32 = 131_072;

/// A numeric value. `==` and `cmp` are PostgreSQL's: 1.0 = 1.00, NaN = NaN and above all others.
#[derive(Clone)]
pub struct Numeric(Kind);

#[derive(Clone)]
enum Kind {
    NegInfinity,
    /// value / 10^scale.
    Finite(Int, u32),
    Infinity,
    NaN,
}

impl Numeric {
    /// Zero with no digits after the point.
    pub const ZERO: Numeric = Numeric(Kind::Finite(Int::ZERO, 0));
    /// Not a number.
    pub const NAN: Numeric = Numeric(Kind::NaN);
    /// Above every number.
    pub const INFINITY: Numeric = Numeric(Kind::Infinity);
    /// Below every number.
    pub const NEG_INFINITY: Numeric = Numeric(Kind::NegInfinity);

    /// `unscaled / 10^scale`, as Decimal128 holds it; a negative scale multiplies.
    pub fn from_i128(unscaled: i128, scale: i32) -> Numeric {
        match u32::try_from(scale) {
            Ok(scale) => Numeric(Kind::Finite(Int::Small(unscaled), scale)),
            Err(_) => Numeric(Kind::Finite(Int::Small(unscaled).shift(scale.unsigned_abs()), 0)),
        }
    }

    fn finite(value: Int, scale: u32) -> Numeric {
        Numeric(Kind::Finite(value, scale))
    }

    /// A result, unless it is beyond what PostgreSQL's format holds (22003).
    fn checked(value: Int, scale: u32) -> Result<Numeric> {
        if let Int::Small(_) = value
            && scale <= MAX_SCALE
        {
            return Ok(Numeric::finite(value, scale));
        }
        if scale > MAX_SCALE || value.digits() > MAX_INTEGER_DIGITS + scale {
            return Err(overflow());
        }
        Ok(Numeric::finite(value, scale))
    }

    /// Whether this is NaN.
    pub fn is_nan(&self) -> bool {
        matches!(self.0, Kind::NaN)
    }

    /// Whether this is neither NaN nor an infinity.
    pub fn is_finite(&self) -> bool {
        matches!(self.0, Kind::Finite(..))
    }

    /// Whether this is zero.
    pub fn is_zero(&self) -> bool {
        matches!(&self.0, Kind::Finite(value, _) if value.is_zero())
    }

    /// -1, 0 or 1; NaN counts as 1.
    pub fn signum(&self) -> i32 {
        match &self.0 {
            Kind::NegInfinity => -1,
            Kind::Finite(value, _) if value.is_zero() => 0,
            Kind::Finite(value, _) if value.is_negative() => -1,
            _ => 1,
        }
    }

    /// The digits after the point that it prints; none for NaN and the infinities.
    pub fn scale(&self) -> u32 {
        match &self.0 {
            Kind::Finite(_, scale) => *scale,
            _ => 0,
        }
    }

    /// The unscaled value and scale if it fits in an `i128`.
    pub fn to_i128(&self) -> Option<(i128, u32)> {
        match &self.0 {
            Kind::Finite(Int::Small(value), scale) => Some((*value, *scale)),
            _ => None,
        }
    }

    /// The unscaled value of numeric(precision, scale): rounded half away from zero; 22003
    /// `numeric field overflow` where it does not fit (an infinity and NaN never do).
    pub fn to_decimal128(&self, precision: u8, scale: i8) -> Result<i128> {
        let fault = |what: String| {
            Err(Error::new(SqlState::NumericOutOfRange, "numeric field overflow")
                .detail(format!("A field with precision {precision}, scale {scale} {what}")))
        };
        let rounded = match &self.0 {
            Kind::Finite(..) => self.round(i32::from(scale))?,
            Kind::NaN => return fault("cannot hold NaN.".into()),
            _ => return fault("cannot hold an infinite value.".into()),
        };
        let limit = int::small_pow10(u32::from(precision)).unwrap_or(i128::MAX);
        let unscaled = match &rounded.0 {
            Kind::Finite(Int::Small(value), own) if scale >= 0 && *own == scale as u32 => Some(*value),
            Kind::Finite(value, _) if scale < 0 => {
                match value.div_rem(&Int::pow10(u32::from(scale.unsigned_abs()))).0 {
                    Int::Small(value) => Some(value),
                    Int::Big(_) => None,
                }
            }
            _ => None,
        };
        match unscaled {
            Some(value) if value.unsigned_abs() < limit.unsigned_abs() => Ok(value),
            _ => {
                let digits = i32::from(precision) - i32::from(scale);
                let bound = if digits == 0 { "1".to_string() } else { format!("10^{digits}") };
                fault(format!("must round to an absolute value less than {bound}."))
            }
        }
    }

    /// The nearest bigint, halves away from zero; `type_name` is for the messages.
    pub fn to_i64(&self, type_name: &str) -> Result<i64> {
        let rounded = match &self.0 {
            Kind::NaN => {
                return Err(Error::new(SqlState::FeatureNotSupported, format!("cannot convert NaN to {type_name}")));
            }
            Kind::Finite(..) => self.round(0)?,
            _ => {
                return Err(Error::new(
                    SqlState::FeatureNotSupported,
                    format!("cannot convert infinity to {type_name}"),
                ));
            }
        };
        rounded
            .to_i128()
            .and_then(|(value, _)| i64::try_from(value).ok())
            .ok_or_else(|| Error::new(SqlState::NumericOutOfRange, format!("{type_name} out of range")))
    }

    /// The nearest double; infinite where it is too large for one.
    pub fn to_f64(&self) -> f64 {
        match &self.0 {
            Kind::NaN => f64::NAN,
            Kind::Infinity => f64::INFINITY,
            Kind::NegInfinity => f64::NEG_INFINITY,
            // Both sides are exact doubles, so that one division rounds once.
            Kind::Finite(Int::Small(value), scale) if value.unsigned_abs() < 1 << 53 && *scale <= 22 => {
                *value as f64 / 10f64.powi(*scale as i32)
            }
            Kind::Finite(value, scale) => {
                let mut text = String::new();
                if value.is_negative() {
                    text.push('-');
                }
                value.push_digits(&mut text);
                text.push_str(&format!("e-{scale}"));
                text.parse().unwrap_or(f64::NAN)
            }
        }
    }

    /// A double as PostgreSQL casts it: 15 significant digits.
    pub fn from_f64(value: f64) -> Numeric {
        Numeric::from_float(value, 15)
    }

    /// A real as PostgreSQL casts it: 6 significant digits.
    pub fn from_f32(value: f32) -> Numeric {
        Numeric::from_float(f64::from(value), 6)
    }

    fn from_float(value: f64, digits: usize) -> Numeric {
        if value.is_nan() {
            return Numeric::NAN;
        }
        if value.is_infinite() {
            return if value > 0.0 { Numeric::INFINITY } else { Numeric::NEG_INFINITY };
        }
        let text = format!("{value:.*e}", digits - 1);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let short = mantissa.trim_end_matches('0').trim_end_matches('.');
        parse_finite(format!("{short}e{exponent}").as_bytes()).ok().flatten().unwrap_or(Numeric::ZERO)
    }

    /// The same number without trailing zeros after the point.
    pub fn canonical(&self) -> Numeric {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        Numeric::decode(&canonical_bytes(&bytes)).unwrap_or_else(|_| self.clone())
    }

    /// Reads PostgreSQL's text form; leading and trailing white space is allowed. Errors 22P02,
    /// 22003.
    pub fn parse(text: &str) -> Result<Numeric> {
        let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
        if let Some(number) = parse_finite(trimmed.as_bytes())? {
            return Ok(number);
        }
        let (sign, word) = match trimmed.as_bytes().first() {
            Some(b'+') => (1, &trimmed[1..]),
            Some(b'-') => (-1, &trimmed[1..]),
            _ => (0, trimmed),
        };
        match word.to_ascii_lowercase().as_str() {
            "nan" if sign == 0 => Ok(Numeric::NAN),
            "infinity" | "inf" if sign >= 0 => Ok(Numeric::INFINITY),
            "infinity" | "inf" => Ok(Numeric::NEG_INFINITY),
            _ => Err(Error::new(
                SqlState::InvalidTextRepresentation,
                format!("invalid input syntax for type numeric: \"{text}\""),
            )),
        }
    }

    /// Prints it at the end of `out`.
    pub fn write_to(&self, out: &mut String) {
        match &self.0 {
            Kind::NaN => out.push_str("NaN"),
            Kind::Infinity => out.push_str("Infinity"),
            Kind::NegInfinity => out.push_str("-Infinity"),
            Kind::Finite(Int::Small(value), scale) => push_decimal(out, *value, *scale),
            Kind::Finite(value, scale) => {
                let mut digits = String::new();
                value.push_digits(&mut digits);
                push_pointed(out, value.is_negative(), &digits, *scale as usize);
            }
        }
    }
}

/// 22003 as PostgreSQL words it for numeric.
fn overflow() -> Error {
    Error::new(SqlState::NumericOutOfRange, "value overflows numeric format")
}

/// The number in `text` if it is one in digits; `None` if it has another form.
fn parse_finite(text: &[u8]) -> Result<Option<Numeric>> {
    let (negative, mut rest) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let mut digits = Vec::new();
    let mut small: i128 = 0;
    let mut count = 0usize;
    let (mut fraction, mut point) = (0i64, false);
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'0'..=b'9' => {
                if count < 38 {
                    small = small * 10 + i128::from(byte - b'0');
                } else {
                    if digits.is_empty() {
                        digits.extend(format!("{small:038}").bytes());
                    }
                    digits.push(byte);
                }
                count += 1;
                fraction += i64::from(point);
            }
            b'.' if !point => point = true,
            _ => break,
        }
        rest = after;
    }
    if count == 0 {
        return Ok(None);
    }
    let Some(exponent) = parse_exponent(rest) else { return Ok(None) };
    let value = if digits.is_empty() {
        Int::Small(if negative { -small } else { small })
    } else {
        Int::from_digits(&digits, negative)
    };
    let scale = fraction - exponent;
    if value.is_zero() {
        return Numeric::checked(Int::ZERO, scale.clamp(0, i64::from(MAX_SCALE) + 1) as u32).map(Some);
    }
    if scale > i64::from(MAX_SCALE) || -scale > i64::from(MAX_INTEGER_DIGITS) {
        return Err(overflow());
    }
    match scale {
        0.. => Numeric::checked(value, scale as u32).map(Some),
        _ => Numeric::checked(value.shift((-scale) as u32), 0).map(Some),
    }
}

/// The exponent that `rest` is: nothing (0) or `e` and an integer. A huge one is cut to what
/// overflows anyway.
fn parse_exponent(rest: &[u8]) -> Option<i64> {
    match rest {
        [] => Some(0),
        [b'e' | b'E', after @ ..] => {
            let (sign, digits) = match after {
                [b'-', digits @ ..] => (-1, digits),
                [b'+', digits @ ..] => (1, digits),
                digits => (1, digits),
            };
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let value = digits.iter().fold(0i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1_000_000_000));
            Some(sign * value)
        }
        _ => None,
    }
}

/// Prints `value / 10^scale`, as a Decimal128 of that scale is printed.
pub fn push_decimal(out: &mut String, value: i128, scale: u32) {
    if let (Ok(scale @ 1..=18), Ok(magnitude)) = (usize::try_from(scale), u64::try_from(value.unsigned_abs())) {
        if value < 0 {
            out.push('-');
        }
        let power = small_pow10(scale as u32).unwrap_or(1) as u64;
        push_u128(out, u128::from(magnitude / power));
        out.push('.');
        let start = out.len();
        push_u128(out, u128::from(magnitude % power));
        for _ in out.len() - start..scale {
            out.insert(start, '0');
        }
        return;
    }
    let mut digits = String::with_capacity(40);
    push_u128(&mut digits, value.unsigned_abs());
    push_pointed(out, value < 0, &digits, scale as usize);
}

fn push_pointed(out: &mut String, negative: bool, digits: &str, scale: usize) {
    if negative {
        out.push('-');
    }
    let whole = digits.len().saturating_sub(scale);
    out.push_str(if whole == 0 { "0" } else { &digits[..whole] });
    if scale > 0 {
        out.push('.');
        out.extend(std::iter::repeat_n('0', scale.saturating_sub(digits.len())));
        out.push_str(&digits[whole..]);
    }
}

/// Prints an unsigned integer.
pub(crate) fn push_u128(out: &mut String, value: u128) {
    const CHUNK: u128 = 10_000_000_000_000_000_000;
    match u64::try_from(value) {
        Ok(small) => push_u64(out, small),
        Err(_) => {
            push_u128(out, value / CHUNK);
            let mut buffer = [b'0'; 20];
            let mut low = (value % CHUNK) as u64;
            for byte in buffer[1..].iter_mut().rev() {
                *byte = b'0' + (low % 10) as u8;
                low /= 10;
            }
            out.push_str(std::str::from_utf8(&buffer[1..]).unwrap_or_default());
        }
    }
}

/// Prints an unsigned integer of at most 64 bits.
pub(crate) fn push_u64(out: &mut String, mut value: u64) {
    let mut buffer = [0u8; 20];
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&buffer[at..]).unwrap_or_default());
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Numeric {
        Numeric::from_i128(i128::from(value), 0)
    }
}

impl FromStr for Numeric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Numeric> {
        Numeric::parse(text)
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write_to(&mut text);
        f.pad(&text)
    }
}

impl fmt::Debug for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Numeric) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Numeric) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Numeric) -> Ordering {
        let rank = |kind: &Kind| match kind {
            Kind::NegInfinity => 0,
            Kind::Finite(..) => 1,
            Kind::Infinity => 2,
            Kind::NaN => 3,
        };
        match (&self.0, &other.0) {
            (Kind::Finite(left, left_scale), Kind::Finite(right, right_scale)) => match left_scale.cmp(right_scale) {
                Ordering::Equal => left.cmp(right),
                Ordering::Less => left.shift(right_scale - left_scale).cmp(right),
                Ordering::Greater => left.cmp(&right.shift(left_scale - right_scale)),
            },
            (left, right) => rank(left).cmp(&rank(right)),
        }
    }
}

impl std::hash::Hash for Numeric {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let mut bytes = Vec::with_capacity(24);
        self.encode(&mut bytes);
        canonical_bytes(&bytes).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// Any kind of number: small, long, huge, tiny, with zeros at either end.
    fn any(random: &mut StdRng) -> Numeric {
        match random.random_range(0..40) {
            0 => return Numeric::NAN,
            1 => return Numeric::INFINITY,
            2 => return Numeric::NEG_INFINITY,
            3 => return Numeric::from_i128(0, random.random_range(0..5)),
            _ => {}
        }
        let digits = match random.random_range(0..10) {
            0 => random.random_range(30..200),
            1..4 => random.random_range(10..40),
            _ => random.random_range(1..10),
        };
        let mut text = String::from(if random.random() { "-" } else { "" });
        let dense = random.random();
        for _ in 0..digits {
            let digit = if dense || random.random_ratio(1, 3) { random.random_range(0..10) } else { 0 };
            text.push((b'0' + digit) as char);
        }
        let exponent =
            if random.random_ratio(1, 10) { random.random_range(-300..300) } else { random.random_range(-6..4) };
        text.push_str(&format!("e{exponent}"));
        Numeric::parse(&text).expect("a number")
    }

    fn bytes(number: &Numeric) -> Vec<u8> {
        let mut bytes = Vec::new();
        number.encode(&mut bytes);
        bytes
    }

    #[test]
    fn bytes_sort_as_numbers() {
        let mut random = StdRng::seed_from_u64(11);
        for _ in 0..50_000 {
            let left = any(&mut random);
            let right = match random.random_range(0..4) {
                0 if left.is_finite() => left.trunc_to(left.scale() + random.random_range(0..200)).expect("in range"),
                1 => left.add(&Numeric::from_i128(1, random.random_range(0..40))).expect("in range"),
                _ => any(&mut random),
            };
            let (left_bytes, right_bytes) = (bytes(&left), bytes(&right));
            let (left_key, right_key) = (canonical_bytes(&left_bytes), canonical_bytes(&right_bytes));
            assert_eq!(left_key.cmp(&right_key), left.cmp(&right), "{left} and {right}");
            if left != right {
                assert_eq!(left_bytes.cmp(&right_bytes), left.cmp(&right), "{left} and {right}");
            }
        }
    }

    #[test]
    fn bytes_and_text_keep_the_number() {
        let mut random = StdRng::seed_from_u64(12);
        for _ in 0..50_000 {
            let number = any(&mut random);
            let text = number.to_string();
            assert_eq!(Numeric::parse(&text).expect("its own text").to_string(), text);
            let encoded = bytes(&number);
            assert_eq!(Numeric::decode(&encoded).expect("its own bytes").to_string(), text);
            let canonical = Numeric::decode(&canonical_bytes(&encoded)).expect("its own key");
            assert_eq!(canonical, number);
            assert_eq!(bytes(&canonical), canonical_bytes(&encoded).as_ref());
        }
    }

    #[test]
    fn damaged_bytes_are_errors_not_panics() {
        let mut random = StdRng::seed_from_u64(13);
        for _ in 0..50_000 {
            let mut encoded = bytes(&any(&mut random));
            let at = random.random_range(0..encoded.len());
            match random.random_range(0..3) {
                0 => encoded[at] = random.random(),
                1 => encoded.truncate(at),
                _ => encoded.push(random.random()),
            }
            let _ = canonical_bytes(&encoded);
            if let Ok(number) = Numeric::decode(&encoded) {
                let _ = number.to_string();
            }
        }
    }

    #[test]
    fn small_and_big_arithmetic_agree() {
        let mut random = StdRng::seed_from_u64(14);
        for _ in 0..20_000 {
            let (left, right) = (any(&mut random), any(&mut random));
            if !left.is_finite() || !right.is_finite() || right.is_zero() {
                continue;
            }
            let sum = left.add(&right).expect("in range");
            assert_eq!(sum.sub(&right).expect("in range"), left);
            let whole = left.div_trunc(&right).expect("in range");
            let rest = left.rem(&right).expect("in range");
            assert_eq!(whole.mul(&right).and_then(|product| product.add(&rest)).expect("in range"), left);
            assert!(rest.is_zero() || rest.signum() == left.signum());
            assert!(rest.abs() < right.abs());
        }
    }

    #[test]
    fn limits_are_errors() {
        let huge = Numeric::parse("9e131071").expect("the largest exponent");
        assert_eq!(huge.add(&huge).expect_err("too many digits").state(), SqlState::NumericOutOfRange);
        assert_eq!(huge.mul(&huge).expect_err("too many digits").state(), SqlState::NumericOutOfRange);
        let thousand = Numeric::parse(&"9".repeat(1000)).expect("a thousand digits");
        assert_eq!(thousand.mul(&thousand).expect("two thousand digits").to_string().len(), 2000);
    }
}
