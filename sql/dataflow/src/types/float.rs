//! The text form of real and double precision, as PostgreSQL 12 and later print it.
//!
//! Promises the shortest digits that read back as the same value, or `%g` with fewer digits where
//! extra_float_digits is not positive. Does not know numeric.

use crate::error::{Error, Result, SqlState};

/// Prints a double; `extra_float_digits` as the setting of that name.
pub fn write_f64(value: f64, extra_float_digits: i32, out: &mut String) {
    if push_special(value, out) {
        return;
    }
    if extra_float_digits > 0 {
        let exact = |digits: usize| format!("{value:.digits$e}");
        let same = |text: &str| text.parse() == Ok(value);
        push_exponential(&shortest(format!("{value:e}"), f64::MANTISSA_DIGITS, exact, same), 15, out);
    } else {
        let digits = (15 + extra_float_digits).max(1) as usize;
        push_general(&format!("{value:.*e}", digits - 1), digits as i32, out);
    }
}

/// Prints a real; `extra_float_digits` as the setting of that name.
pub fn write_f32(value: f32, extra_float_digits: i32, out: &mut String) {
    if push_special(f64::from(value), out) {
        return;
    }
    if extra_float_digits > 0 {
        let exact = |digits: usize| format!("{value:.digits$e}");
        let same = |text: &str| text.parse() == Ok(value);
        push_exponential(&shortest(format!("{value:e}"), f32::MANTISSA_DIGITS, exact, same), 6, out);
    } else {
        let digits = (6 + extra_float_digits).max(1) as usize;
        push_general(&format!("{value:.*e}", digits - 1), digits as i32, out);
    }
}

/// PostgreSQL's choice among the shortest digits: none that lie between two floats, and the even
/// one of two that are equally near. `exact` rounds to some digits behind the first, `same` tells
/// whether a text reads back as the value.
fn shortest(text: String, bits: u32, exact: impl Fn(usize) -> String, same: impl Fn(&str) -> bool) -> String {
    let most = if bits == f32::MANTISSA_DIGITS { 8 } else { 16 };
    if lies_on_boundary(&text, bits) {
        let inside = (0..=most).map(&exact).find(|text| same(text) && !lies_on_boundary(text, bits));
        return inside.unwrap_or(text);
    }
    let digits = text.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    if digits < most {
        return text;
    }
    let even = exact(digits - 1);
    if same(&even) { even } else { text }
}

/// Whether a decimal lies exactly between two neighbouring floats of so many bits. Such digits read
/// back only thanks to the rule of ties to even, on which PostgreSQL does not rely.
fn lies_on_boundary(scientific: &str, mantissa_bits: u32) -> bool {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let (mut digits, mut places, mut point) = (0u128, 0i32, false);
    for byte in mantissa.bytes() {
        match byte {
            b'.' => point = true,
            b'0'..=b'9' => {
                digits = digits * 10 + u128::from(byte - b'0');
                places += i32::from(point);
            }
            _ => {}
        }
    }
    // The number is digits * 5^power * 2^power: only its odd part matters.
    let power = exponent.parse::<i32>().unwrap_or(0) - places;
    let odd = match power {
        _ if digits == 0 => return false,
        0..=24 => digits.checked_mul(5u128.pow(power as u32)),
        -24..0 => {
            let divisor = 5u128.pow(power.unsigned_abs());
            (digits % divisor == 0).then(|| digits / divisor)
        }
        _ => None,
    };
    odd.is_some_and(|odd| 128 - odd.leading_zeros() - odd.trailing_zeros() == mantissa_bits + 1)
}

fn push_special(value: f64, out: &mut String) -> bool {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        return false;
    }
    true
}

/// `%g`: as below, but trailing zeros go first.
fn push_general(scientific: &str, precision: i32, out: &mut String) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let short = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    push_exponential(&format!("{short}e{exponent}"), precision, out);
}

/// Prints `-d.ddde-x` in plain digits where the exponent lies in -4 .. `plain_below`.
fn push_exponential(scientific: &str, plain_below: i32, out: &mut String) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = match mantissa.strip_prefix('-') {
        Some(rest) => {
            out.push('-');
            rest
        }
        None => mantissa,
    };
    if !(-4..plain_below).contains(&exponent) {
        out.push_str(mantissa);
        out.push_str(if exponent < 0 { "e-" } else { "e+" });
        if exponent.abs() < 10 {
            out.push('0');
        }
        super::numeric::push_u64(out, u64::from(exponent.unsigned_abs()));
        return;
    }
    let digits = mantissa.bytes().filter(|byte| *byte != b'.').map(char::from);
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.extend(digits);
        return;
    }
    let whole = exponent as usize + 1;
    let mut count = 0;
    for digit in digits {
        if count == whole {
            out.push('.');
        }
        out.push(digit);
        count += 1;
    }
    out.extend(std::iter::repeat_n('0', whole.saturating_sub(count)));
}

/// Reads a double. Errors 22P02, and 22003 where it is too large or too small for one.
pub(super) fn parse_f64(text: &str) -> Result<f64> {
    let (number, mantissa_is_zero) = parse_float::<f64>(text, "double precision")?;
    if (number.is_infinite() && !names_infinity(text)) || (number == 0.0 && !mantissa_is_zero) {
        return Err(beyond(text, "double precision"));
    }
    Ok(number)
}

/// Reads a real. Errors 22P02, and 22003 where it is too large or too small for one.
pub(super) fn parse_f32(text: &str) -> Result<f32> {
    let (number, mantissa_is_zero) = parse_float::<f32>(text, "real")?;
    if (number.is_infinite() && !names_infinity(text)) || (number == 0.0 && !mantissa_is_zero) {
        return Err(beyond(text, "real"));
    }
    Ok(number)
}

fn beyond(text: &str, type_name: &str) -> Error {
    Error::new(SqlState::NumericOutOfRange, format!("\"{}\" is out of range for type {type_name}", text.trim()))
}

fn names_infinity(text: &str) -> bool {
    text.bytes().any(|byte| byte.eq_ignore_ascii_case(&b'i'))
}

/// The number, and whether its digits are all zero.
fn parse_float<T: std::str::FromStr>(text: &str, type_name: &str) -> Result<(T, bool)> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let mantissa = trimmed.split(['e', 'E']).next().unwrap_or_default();
    let zero = !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    trimmed.parse::<T>().map(|number| (number, zero)).map_err(|_| {
        Error::new(
            SqlState::InvalidTextRepresentation,
            format!("invalid input syntax for type {type_name}: \"{text}\""),
        )
    })
}
