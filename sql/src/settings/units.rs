//! Amounts of time and memory, as settings have them: `90s`, `4MB`.
//!
//! A setting has a base unit; a bare number counts in it. Printed is the largest unit that divides
//! the amount, as PostgreSQL prints it.

/// The units of one kind, largest first, each in the smallest.
type Scale = &'static [(&'static str, f64)];

const TIME: Scale = &[("d", 86_400e6), ("h", 3_600e6), ("min", 60e6), ("s", 1e6), ("ms", 1e3), ("us", 1.0)];
const MEMORY: Scale =
    &[("TB", 1_099_511_627_776.0), ("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("kB", 1_024.0), ("B", 1.0)];

/// The unit in which a setting counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    scale: Scale,
    /// In the scale's smallest unit.
    size: f64,
}

impl Unit {
    /// The unit of this name: `ms`, `kB`, `8kB`, ...
    pub(super) fn named(name: &str) -> Option<Unit> {
        let digits = name.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(0);
        let times: f64 = name[..digits].parse().unwrap_or(1.0);
        [TIME, MEMORY].into_iter().find_map(|scale| {
            let (_, size) = scale.iter().find(|(unit, _)| *unit == &name[digits..])?;
            Some(Unit { scale, size: size * times })
        })
    }

    /// An amount in this unit; `None` if the text is none.
    pub(super) fn read(self, text: &str) -> Option<f64> {
        let (number, unit) = split(text)?;
        match unit {
            "" => Some(number),
            unit => {
                let (_, size) = self.scale.iter().find(|(name, _)| *name == unit)?;
                Some(number * size / self.size)
            }
        }
    }

    /// Prints an amount in this unit.
    pub(super) fn print(self, amount: f64) -> String {
        let smallest = amount * self.size;
        let whole = |size: f64| smallest >= size && smallest % size == 0.0;
        match self.scale.iter().find(|(_, size)| whole(*size)) {
            Some((name, size)) => format!("{}{name}", smallest / size),
            None => amount.to_string(),
        }
    }

    /// The hint where a unit is not known.
    pub(super) fn hint(self) -> String {
        let mut names: Vec<String> = self.scale.iter().rev().map(|(name, _)| format!("\"{name}\"")).collect();
        let last = names.pop().unwrap_or_default();
        format!("Valid units for this parameter are {}, and {last}.", names.join(", "))
    }
}

/// A number and what stands behind it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|(at, letter)| !(letter.is_ascii_digit() || *letter == '.' || (*at == 0 && matches!(letter, '-' | '+'))))
        .map_or(text.len(), |(at, _)| at);
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_printed_as_postgresql_does() {
        let ms = Unit::named("ms").unwrap();
        assert_eq!(ms.read("90s"), Some(90_000.0));
        assert_eq!(ms.print(90_000.0), "90s");
        assert_eq!(ms.print(120_000.0), "2min");
        assert_eq!(ms.print(0.0), "0");
        assert_eq!(ms.read("5 parsecs"), None);
        let pages = Unit::named("8kB").unwrap();
        assert_eq!(pages.read("128MB"), Some(16_384.0));
        assert_eq!(pages.print(16_384.0), "128MB");
        assert_eq!(Unit::named("kB").unwrap().print(-1.0), "-1");
    }
}
