//! The spellings of booleans, time zones and date styles.

use thalweg_dataflow::types::Zone;

/// `on` or `off`, if the text means one of them.
pub(super) fn boolean(value: &str) -> Option<&'static str> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "t" | "tr" | "tru" | "yes" | "y" | "ye" | "1" => Some("on"),
        "off" | "of" | "false" | "f" | "fa" | "fal" | "fals" | "no" | "n" | "0" => Some("off"),
        _ => None,
    }
}

/// An IANA name in any case, or hours east of UTC.
pub(super) fn zone(value: &str) -> Option<String> {
    if let Ok(hours) = value.parse::<i32>() {
        // Etc/GMT-2 is two hours EAST: the sign is POSIX's.
        return match hours {
            0 => Some("UTC".into()),
            -12..=14 => Some(format!("Etc/GMT{}{}", if hours > 0 { "-" } else { "+" }, hours.abs())),
            _ => None,
        };
    }
    let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let mut found = known.filter(|name| name.eq_ignore_ascii_case(value));
    // Else a POSIX one, as drivers send for a zone of hours: `GMT+08:00`.
    found.next().or_else(|| Zone::parse(value).ok().map(|_| value)).map(str::to_string)
}

/// `None`: not a style. `Some(None)`: a style we cannot print or read.
pub(super) fn date_style(value: &str) -> Option<Option<String>> {
    let mut supported = true;
    for part in value.split(',') {
        match part.trim().to_ascii_lowercase().as_str() {
            "iso" | "mdy" | "us" | "noneuro" | "noneuropean" | "default" => {}
            "sql" | "postgres" | "german" | "dmy" | "euro" | "european" | "ymd" => supported = false,
            _ => return None,
        }
    }
    Some(supported.then(|| "ISO, MDY".to_string()))
}
