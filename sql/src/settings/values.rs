//! The spellings of booleans, time zones, date styles and lists of names.

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

/// The names of a list, unquoted ones in lower case; `None`: it is none.
pub(super) fn names(list: &str) -> Option<Vec<String>> {
    let mut rest = list.trim();
    let mut names = Vec::new();
    while !rest.is_empty() || !names.is_empty() {
        let (name, after) = match rest.strip_prefix('"') {
            Some(inside) => {
                let (mut name, mut at) = (String::new(), inside);
                loop {
                    let (part, after) = at.split_once('"')?;
                    name.push_str(part);
                    match after.strip_prefix('"') {
                        Some(more) => {
                            name.push('"');
                            at = more;
                        }
                        None => break (name, after),
                    }
                }
            }
            None => {
                let end = rest.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                if name.is_empty() || name.contains('"') {
                    return None;
                }
                (name.to_lowercase(), after)
            }
        };
        names.push(name);
        let after = after.trim_start();
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix(',')?.trim_start();
    }
    // PostgreSQL passes over empty ones.
    names.retain(|name| !name.is_empty());
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn lists_of_names_are_read_as_postgresql_reads_them() {
        for (list, wanted) in [
            ("", Some(vec![])),
            ("\"$user\", Public", Some(vec!["$user", "public"])),
            ("\"A \"\"b\"\"\", c ,d", Some(vec!["A \"b\"", "c", "d"])),
            ("\"\"", Some(vec![])),
            ("a b", None),
            ("a,", None),
            (",a", None),
            ("\"a", None),
        ] {
            let wanted = wanted.map(|names| names.into_iter().map(str::to_string).collect::<Vec<_>>());
            assert_eq!(names(list), wanted, "{list}");
        }
    }
}
