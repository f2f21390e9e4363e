//! Dates, times and numbers by templates: what to_char, to_date, to_timestamp and to_number do.
//!
//! Names are English, signs and separators those of the locale C.

mod fields;
mod found;
mod moment;
mod number;
mod number_read;
mod number_template;
mod read;
mod template;

pub use moment::Moment;
pub use number::Digits;
pub use number_template::NumberTemplate;
pub use read::{read_date, read_timestamptz};
pub use template::Template;

/// The names of the months.
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The names of the days of the week.
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The numbers of the months, the last one first.
const ROMAN_MONTHS: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];

/// What follows an ordinal number in English, by its last digits.
fn ordinal(digits: &str, upper: bool) -> &'static str {
    let mut last = digits.bytes().rev();
    let (one, ten) = (last.next(), last.next());
    let suffix = match (one, ten) {
        (_, Some(b'1')) => 3,
        (Some(b'1'), _) => 0,
        (Some(b'2'), _) => 1,
        (Some(b'3'), _) => 2,
        _ => 3,
    };
    if upper { ["ST", "ND", "RD", "TH"][suffix] } else { ["st", "nd", "rd", "th"][suffix] }
}
