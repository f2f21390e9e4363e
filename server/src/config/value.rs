//! The values that settings take: sizes, durations, counts, rates.
//!
//! Promises: an error says what was wanted and gives an example. Knows no setting by name.

use std::time::Duration;

use thalweg_connectors::options::Rate;

/// Bytes from `4GiB`, `512MB`, `1.5 GiB` or a plain number of bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const WANTED: &str = "a size such as 4GiB, 512MiB or 2000000000";
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (digits, unit) = trimmed.split_at(split);
    let number: f64 = digits.parse().map_err(|_| format!("expected {WANTED}"))?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "kb" => 1_000,
        "m" | "mib" => 1 << 20,
        "mb" => 1_000_000,
        "g" | "gib" => 1 << 30,
        "gb" => 1_000_000_000,
        "t" | "tib" => 1 << 40,
        "tb" => 1_000_000_000_000,
        other => return Err(format!("unknown unit \"{other}\": expected {WANTED}")),
    };
    let bytes = number * factor as f64;
    if !(1.0..1e18).contains(&bytes) {
        return Err(format!("out of range: expected {WANTED}"));
    }
    Ok(bytes as u64)
}

/// A duration from `1s`, `250ms`, `2min`, `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|_| "expected a duration such as 1s, 250ms or 2min".to_string())
}

/// A whole number from 1 to `most`; underscores may group its digits.
pub(crate) fn count(text: &str, most: usize) -> Result<usize, String> {
    let digits: String = text.trim().chars().filter(|c| *c != '_').collect();
    match digits.parse::<usize>() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from 1 to {most}")),
    }
}

/// Rows over time, from `10000/min`, `100000/s`, `5/h` or `max`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    const WANTED: &str = "a rate such as 10000/min, 100000/s or max";
    let trimmed = text.trim();
    if trimmed.eq_ignore_ascii_case("max") {
        return Ok(Rate::Max);
    }
    let (number, unit) = trimmed.split_once('/').ok_or_else(|| format!("expected {WANTED}"))?;
    let count = count(number, 1_000_000_000).map_err(|_| format!("expected {WANTED}"))?;
    let seconds = match unit.trim().to_ascii_lowercase().as_str() {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hour" => 3600,
        other => return Err(format!("unknown unit \"{other}\": expected {WANTED}")),
    };
    Ok(Rate::Events { count: count as u64, every: Duration::from_secs(seconds) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes("4GiB"), Ok(4 << 30));
        assert_eq!(bytes(" 1.5 gib "), Ok(3 << 29));
        assert_eq!(bytes("512MB"), Ok(512_000_000));
        assert_eq!(bytes("1024"), Ok(1024));
        for bad in ["", "GiB", "4 gigs", "-1", "1e99GiB", "0", "4GiB4"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_and_counts() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("fast").is_err());
        assert_eq!(count("1_000_000", 1 << 40), Ok(1_000_000));
        assert!(count("0", 10).is_err());
        assert!(count("11", 10).is_err());
        assert!(count("-3", 10).is_err());
    }

    #[test]
    fn rates() {
        let per = |count, seconds| Ok(Rate::Events { count, every: Duration::from_secs(seconds) });
        assert_eq!(rate("max"), Ok(Rate::Max));
        assert_eq!(rate("60/min"), per(60, 60));
        assert_eq!(rate("100_000/s"), per(100_000, 1));
        for bad in ["", "100", "0/s", "-1/s", "1/fortnight", "nan/s", "inf/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
