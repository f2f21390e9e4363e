//! Times of the form `2019-11-01 00:00:00`, as the replay moves them: read and written in place.
//!
//! Promises: what is written has the length of what is read (19 bytes), whatever follows it (a
//! fraction, ` UTC`) stays. Knows no other form.

/// The microseconds since 1970 of the first 19 bytes of a field; `None` if they are no time.
pub(super) fn parse_time(field: &[u8]) -> Option<i64> {
    let text = field.get(..19)?;
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        text[range].iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) || !matches!(text[10], b' ' | b'T') {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let date = chrono::NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32)?;
    let time = date.and_hms_opt(hour as u32, minute as u32, second as u32)?;
    Some(time.and_utc().timestamp_micros())
}

/// A time, whole seconds, as 19 bytes; `None` if its year has not four digits.
pub(super) fn format_time(micros: i64) -> Option<[u8; 19]> {
    use chrono::{Datelike, Timelike};
    let time = chrono::DateTime::from_timestamp_micros(micros)?.naive_utc();
    let year = u32::try_from(time.year()).ok().filter(|year| *year <= 9999)?;
    let mut text = *b"0000-00-00 00:00:00";
    let mut put = |at: usize, length: usize, mut value: u32| {
        for place in (at..at + length).rev() {
            text[place] = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, year);
    put(5, 2, time.month());
    put(8, 2, time.day());
    put(11, 2, time.hour());
    put(14, 2, time.minute());
    put(17, 2, time.second());
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for text in ["2019-11-01 00:00:00", "1970-01-01 00:00:00", "2024-02-29 23:59:59"] {
            let micros = parse_time(format!("{text} UTC").as_bytes()).unwrap();
            assert_eq!(format_time(micros).unwrap(), text.as_bytes());
        }
        assert_eq!(parse_time(b"2019-11-01 00:00:00"), Some(1_572_566_400_000_000));
        for text in
            ["2019-13-01 00:00:00", "2019-02-29 00:00:00", "2019-11-01", "x019-11-01 00:00:00", "2019/11/01 00:00:00"]
        {
            assert_eq!(parse_time(text.as_bytes()), None, "{text}");
        }
        assert_eq!(format_time(i64::MAX), None);
    }
}
