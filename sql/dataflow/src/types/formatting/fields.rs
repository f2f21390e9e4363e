//! The fields of templates of dates and times.

/// Capitals: all of them, the first, none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// `MONTH`.
    Upper,
    /// `Month`.
    Title,
    /// `month`.
    Lower,
}

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// Before or after Christ; with points or without.
    Era(Case, bool),
    /// Before or after noon; with points or without.
    Noon(Case, bool),
    Century,
    Day(Case),
    ShortDay(Case),
    DayOfYear,
    IsoDayOfYear,
    DayOfMonth,
    DayOfWeek,
    IsoDayOfWeek,
    /// So many digits of the fraction of a second.
    Fraction(u32),
    Milliseconds,
    Microseconds,
    /// The rest of the template is of fixed width.
    Fixed,
    Hour24,
    Hour12,
    Minute,
    Second,
    SecondOfDay,
    Julian,
    Month(Case),
    ShortMonth(Case),
    MonthNumber,
    RomanMonth(Case),
    Offset,
    ZoneName(Case),
    ZoneHour,
    ZoneMinute,
    Quarter,
    Week,
    IsoWeek,
    WeekOfMonth,
    /// A year with a comma.
    YearWithComma,
    /// So many last digits of the year.
    Year(u32),
    /// So many last digits of the year that the week belongs to.
    IsoYear(u32),
}

/// The calendars that fields may belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calendar {
    Gregorian,
    IsoWeeks,
}

impl Field {
    /// The calendar that the field belongs to, if it is not both.
    pub(super) fn calendar(self) -> Option<Calendar> {
        Some(match self {
            Field::Century
            | Field::DayOfYear
            | Field::DayOfMonth
            | Field::DayOfWeek
            | Field::Week
            | Field::WeekOfMonth
            | Field::Month(_)
            | Field::ShortMonth(_)
            | Field::MonthNumber
            | Field::RomanMonth(_)
            | Field::YearWithComma
            | Field::Year(_) => Calendar::Gregorian,
            Field::IsoDayOfYear | Field::IsoDayOfWeek | Field::IsoWeek | Field::IsoYear(_) => Calendar::IsoWeeks,
            _ => return None,
        })
    }

    /// Whether its text begins with a digit.
    pub(super) fn is_number(self) -> bool {
        !matches!(
            self,
            Field::Era(..)
                | Field::Noon(..)
                | Field::Day(_)
                | Field::ShortDay(_)
                | Field::Fraction(_)
                | Field::Fixed
                | Field::Month(_)
                | Field::ShortMonth(_)
                | Field::RomanMonth(_)
                | Field::Offset
                | Field::ZoneName(_)
                | Field::ZoneHour
        )
    }
}

/// The words of the fields; a word stands before those that it begins with.
pub(super) const KEYWORDS: &[(&str, Field)] = &[
    ("A.D.", Field::Era(Case::Upper, true)),
    ("A.M.", Field::Noon(Case::Upper, true)),
    ("AD", Field::Era(Case::Upper, false)),
    ("AM", Field::Noon(Case::Upper, false)),
    ("B.C.", Field::Era(Case::Upper, true)),
    ("BC", Field::Era(Case::Upper, false)),
    ("CC", Field::Century),
    ("DAY", Field::Day(Case::Upper)),
    ("DDD", Field::DayOfYear),
    ("DD", Field::DayOfMonth),
    ("DY", Field::ShortDay(Case::Upper)),
    ("Day", Field::Day(Case::Title)),
    ("Dy", Field::ShortDay(Case::Title)),
    ("D", Field::DayOfWeek),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("FX", Field::Fixed),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("IDDD", Field::IsoDayOfYear),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("J", Field::Julian),
    ("MI", Field::Minute),
    ("MM", Field::MonthNumber),
    ("MONTH", Field::Month(Case::Upper)),
    ("MON", Field::ShortMonth(Case::Upper)),
    ("MS", Field::Milliseconds),
    ("Month", Field::Month(Case::Title)),
    ("Mon", Field::ShortMonth(Case::Title)),
    ("OF", Field::Offset),
    ("P.M.", Field::Noon(Case::Upper, true)),
    ("PM", Field::Noon(Case::Upper, false)),
    ("Q", Field::Quarter),
    ("RM", Field::RomanMonth(Case::Upper)),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("TZH", Field::ZoneHour),
    ("TZM", Field::ZoneMinute),
    ("TZ", Field::ZoneName(Case::Upper)),
    ("US", Field::Microseconds),
    ("WW", Field::Week),
    ("W", Field::WeekOfMonth),
    ("Y,YYY", Field::YearWithComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
    ("a.d.", Field::Era(Case::Lower, true)),
    ("a.m.", Field::Noon(Case::Lower, true)),
    ("ad", Field::Era(Case::Lower, false)),
    ("am", Field::Noon(Case::Lower, false)),
    ("b.c.", Field::Era(Case::Lower, true)),
    ("bc", Field::Era(Case::Lower, false)),
    ("cc", Field::Century),
    ("day", Field::Day(Case::Lower)),
    ("ddd", Field::DayOfYear),
    ("dd", Field::DayOfMonth),
    ("dy", Field::ShortDay(Case::Lower)),
    ("d", Field::DayOfWeek),
    ("ff1", Field::Fraction(1)),
    ("ff2", Field::Fraction(2)),
    ("ff3", Field::Fraction(3)),
    ("ff4", Field::Fraction(4)),
    ("ff5", Field::Fraction(5)),
    ("ff6", Field::Fraction(6)),
    ("fx", Field::Fixed),
    ("hh24", Field::Hour24),
    ("hh12", Field::Hour12),
    ("hh", Field::Hour12),
    ("iddd", Field::IsoDayOfYear),
    ("id", Field::IsoDayOfWeek),
    ("iw", Field::IsoWeek),
    ("iyyy", Field::IsoYear(4)),
    ("iyy", Field::IsoYear(3)),
    ("iy", Field::IsoYear(2)),
    ("i", Field::IsoYear(1)),
    ("j", Field::Julian),
    ("mi", Field::Minute),
    ("mm", Field::MonthNumber),
    ("month", Field::Month(Case::Lower)),
    ("mon", Field::ShortMonth(Case::Lower)),
    ("ms", Field::Milliseconds),
    ("of", Field::Offset),
    ("p.m.", Field::Noon(Case::Lower, true)),
    ("pm", Field::Noon(Case::Lower, false)),
    ("q", Field::Quarter),
    ("rm", Field::RomanMonth(Case::Lower)),
    ("sssss", Field::SecondOfDay),
    ("ssss", Field::SecondOfDay),
    ("ss", Field::Second),
    ("tzh", Field::ZoneHour),
    ("tzm", Field::ZoneMinute),
    ("tz", Field::ZoneName(Case::Lower)),
    ("us", Field::Microseconds),
    ("ww", Field::Week),
    ("w", Field::WeekOfMonth),
    ("y,yyy", Field::YearWithComma),
    ("yyyy", Field::Year(4)),
    ("yyy", Field::Year(3)),
    ("yy", Field::Year(2)),
    ("y", Field::Year(1)),
];
