//! Sizes as text.

/// PostgreSQL's `pg_size_pretty`.
pub(super) fn pretty(bytes: i64) -> String {
    let mut size = bytes;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        let last = unit == "TB";
        if size.abs() < 10 * 1024 || last {
            return format!("{size} {unit}");
        }
        // Each step rounds half away from zero, as PostgreSQL's does.
        size = (size + size.signum() * 512) / 1024;
    }
    format!("{size} PB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_as_postgresql_prints_them() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (1_048_576, "1024 kB"),
            (1_073_741_824, "1024 MB"),
        ] {
            assert_eq!(pretty(bytes), text);
        }
    }
}
