//! A template of a number as its parts, and what they say together.

use crate::error::{Error, Result, SqlState};

/// A pattern of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    Comma,
    Point,
    Zero,
    Nine,
    Blank,
    Currency,
    LocalePoint,
    Exponent,
    Fill,
    Group,
    Minus,
    Plus,
    Brackets,
    /// Capitals or not.
    Roman(bool),
    Sign,
    LocaleSign,
    /// Capitals or not.
    Ordinal(bool),
    Shift,
    Ignored,
}

/// A part of a template.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Pattern(Pattern),
    Char(char),
}

/// Where the locale's sign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignPlace {
    None,
    Before,
    Behind,
}

/// What a template says of the number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Digits before the point, and behind it.
    pub(super) before: usize,
    pub(super) behind: usize,
    /// Digits that V shifts by.
    pub(super) shifted: usize,
    /// Where zeros begin, from 1, and end; 0: there are none.
    pub(super) zeros_from: usize,
    pub(super) zeros_until: usize,
    /// Digits before the locale's sign.
    pub(super) sign_at: usize,
    pub(super) sign: SignPlace,
    pub(super) point: bool,
    pub(super) fill: bool,
    pub(super) locale_sign: bool,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) brackets: bool,
    pub(super) roman: bool,
    pub(super) shift: bool,
    pub(super) exponent: bool,
    pub(super) blank: bool,
    pub(super) zero: bool,
}

/// A template of a number.
#[derive(Debug, Clone)]
pub struct NumberTemplate {
    pub(super) parts: Vec<Part>,
    pub(super) shape: Shape,
}

const PATTERNS: &[(&str, Pattern)] = &[
    (",", Pattern::Comma),
    (".", Pattern::Point),
    ("0", Pattern::Zero),
    ("9", Pattern::Nine),
    ("B", Pattern::Blank),
    ("C", Pattern::Ignored),
    ("D", Pattern::LocalePoint),
    ("EEEE", Pattern::Exponent),
    ("FM", Pattern::Fill),
    ("G", Pattern::Group),
    ("L", Pattern::Currency),
    ("MI", Pattern::Minus),
    ("PL", Pattern::Plus),
    ("PR", Pattern::Brackets),
    ("RN", Pattern::Roman(true)),
    ("SG", Pattern::Sign),
    ("SP", Pattern::Ignored),
    ("S", Pattern::LocaleSign),
    ("TH", Pattern::Ordinal(true)),
    ("V", Pattern::Shift),
    ("b", Pattern::Blank),
    ("c", Pattern::Ignored),
    ("d", Pattern::LocalePoint),
    ("eeee", Pattern::Exponent),
    ("fm", Pattern::Fill),
    ("g", Pattern::Group),
    ("l", Pattern::Currency),
    ("mi", Pattern::Minus),
    ("pl", Pattern::Plus),
    ("pr", Pattern::Brackets),
    ("rn", Pattern::Roman(false)),
    ("sg", Pattern::Sign),
    ("sp", Pattern::Ignored),
    ("s", Pattern::LocaleSign),
    ("th", Pattern::Ordinal(false)),
    ("v", Pattern::Shift),
];

impl NumberTemplate {
    /// Takes a template apart. Error 42601 if its patterns do not go together.
    pub fn parse(text: &str) -> Result<NumberTemplate> {
        let mut parts = Vec::new();
        let mut shape = Shape {
            before: 0,
            behind: 0,
            shifted: 0,
            zeros_from: 0,
            zeros_until: 0,
            sign_at: 0,
            sign: SignPlace::None,
            point: false,
            fill: false,
            locale_sign: false,
            minus: false,
            plus: false,
            brackets: false,
            roman: false,
            shift: false,
            exponent: false,
            blank: false,
            zero: false,
        };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some((word, pattern)) = PATTERNS.iter().find(|(word, _)| rest.starts_with(word)) {
                rest = &rest[word.len()..];
                shape.add(*pattern)?;
                parts.push(Part::Pattern(*pattern));
                continue;
            }
            rest = &rest[first.len_utf8()..];
            match first {
                '"' => {
                    while let Some(c) = rest.chars().next() {
                        rest = &rest[c.len_utf8()..];
                        let c = match c {
                            '"' => break,
                            '\\' => match rest.chars().next() {
                                Some(escaped) => {
                                    rest = &rest[escaped.len_utf8()..];
                                    escaped
                                }
                                None => c,
                            },
                            c => c,
                        };
                        parts.push(Part::Char(c));
                    }
                }
                '\\' if rest.starts_with('"') => {
                    rest = &rest[1..];
                    parts.push(Part::Char('"'));
                }
                c => parts.push(Part::Char(c)),
            }
        }
        Ok(NumberTemplate { parts, shape })
    }

    /// Digits that V shifts the number by.
    pub fn shift(&self) -> usize {
        self.shape.shifted
    }

    /// Digits behind the point.
    pub fn scale(&self) -> usize {
        self.shape.behind
    }

    /// Whether the number is written with an exponent, or as a Roman one.
    pub fn is_scientific(&self) -> bool {
        self.shape.exponent
    }

    /// Whether the number is written as a Roman one.
    pub fn is_roman(&self) -> bool {
        self.shape.roman
    }

    /// Whether the number gets the ending of an ordinal one.
    pub fn is_ordinal(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Pattern(Pattern::Ordinal(_))))
    }
}

impl Shape {
    fn add(&mut self, pattern: Pattern) -> Result<()> {
        let wrong = |message: &str| Err(Error::new(SqlState::SyntaxError, message));
        if self.exponent && pattern != Pattern::Exponent {
            return wrong("\"EEEE\" must be the last pattern used");
        }
        let signs = self.plus || self.minus || self.brackets;
        match pattern {
            Pattern::Nine if self.brackets => return wrong("\"9\" must be ahead of \"PR\""),
            Pattern::Zero if self.brackets => return wrong("\"0\" must be ahead of \"PR\""),
            Pattern::Nine if self.shift => self.shifted += 1,
            Pattern::Nine if self.point => self.behind += 1,
            Pattern::Nine => self.before += 1,
            Pattern::Zero => {
                if !self.zero && !self.point {
                    self.zero = true;
                    self.zeros_from = self.before + 1;
                }
                match self.point {
                    true => self.behind += 1,
                    false => self.before += 1,
                }
                self.zeros_until = self.before + self.behind;
            }
            Pattern::Blank => self.blank |= self.before == 0 && self.behind == 0 && !self.zero,
            Pattern::Point | Pattern::LocalePoint if self.point => return wrong("multiple decimal points"),
            Pattern::Point | Pattern::LocalePoint | Pattern::Shift if self.point || self.shift => {
                if pattern == Pattern::Shift && !self.point {
                    return Ok(());
                }
                return wrong("cannot use \"V\" and decimal point together");
            }
            Pattern::Point | Pattern::LocalePoint => self.point = true,
            Pattern::Shift => self.shift = true,
            Pattern::Fill => self.fill = true,
            Pattern::LocaleSign if self.locale_sign => return wrong("cannot use \"S\" twice"),
            Pattern::LocaleSign if signs => {
                return wrong("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together");
            }
            Pattern::LocaleSign => {
                self.locale_sign = true;
                self.sign = if self.point { SignPlace::Behind } else { SignPlace::Before };
                self.sign_at = self.before;
            }
            Pattern::Minus if self.locale_sign => return wrong("cannot use \"S\" and \"MI\" together"),
            Pattern::Plus if self.locale_sign => return wrong("cannot use \"S\" and \"PL\" together"),
            Pattern::Sign if self.locale_sign => return wrong("cannot use \"S\" and \"SG\" together"),
            Pattern::Minus => self.minus = true,
            Pattern::Plus => self.plus = true,
            Pattern::Sign => (self.minus, self.plus) = (true, true),
            Pattern::Brackets if self.locale_sign || self.plus || self.minus => {
                return wrong("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together");
            }
            Pattern::Brackets => self.brackets = true,
            Pattern::Roman(_) => self.roman = true,
            Pattern::Exponent if self.exponent => return wrong("cannot use \"EEEE\" twice"),
            Pattern::Exponent => {
                if self.blank || self.fill || self.locale_sign || signs || self.roman || self.shift {
                    return Err(Error::new(SqlState::SyntaxError, "\"EEEE\" is incompatible with other formats")
                        .detail("\"EEEE\" may only be used together with digit and decimal point patterns."));
                }
                self.exponent = true;
            }
            Pattern::Comma | Pattern::Group | Pattern::Currency | Pattern::Ordinal(_) | Pattern::Ignored => {}
        }
        Ok(())
    }
}
