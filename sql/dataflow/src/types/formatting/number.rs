//! Numbers written as a template says.

use super::number_template::{NumberTemplate, Part, Pattern, Shape, SignPlace};
use super::ordinal;

/// The digits of a number, its sign aside.
#[derive(Debug)]
pub struct Digits {
    /// Digits and a point; `NaN` and `Infinity` too.
    pub text: String,
    /// Whether the number is negative.
    pub negative: bool,
    /// Digits behind the point that the template asks for and the number has room for.
    pub behind: usize,
}

/// The Roman numeral of a number from 1 to 3999.
fn roman(number: i64) -> Option<String> {
    const NUMERALS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..=3999).contains(&number) {
        return None;
    }
    let (mut rest, mut text) = (number, String::new());
    for (value, numeral) in NUMERALS {
        while rest >= value {
            text.push_str(numeral);
            rest -= value;
        }
    }
    Some(text)
}

impl NumberTemplate {
    /// Appends a number that the template writes as a Roman one.
    pub fn write_roman(&self, number: i64, out: &mut String) {
        let text = roman(number).unwrap_or_else(|| "#".repeat(15));
        let shape = Shape {
            before: 0,
            behind: 0,
            sign: SignPlace::None,
            sign_at: 0,
            point: false,
            locale_sign: false,
            minus: false,
            plus: false,
            brackets: false,
            zero: false,
            ..self.shape
        };
        Writer::new(shape, &text, None, 0).write(&self.parts, out);
    }

    /// What stands for a number that an exponent cannot write.
    pub fn no_exponent(&self) -> String {
        let (before, behind) = (self.shape.before, self.shape.behind);
        let mut text: Vec<char> = std::iter::repeat_n('#', before + behind + 6).collect();
        text[0] = ' ';
        if let Some(point) = text.get_mut(before + 1) {
            *point = '.';
        }
        text.into_iter().collect()
    }

    /// Appends a number.
    pub fn write(&self, digits: &Digits, out: &mut String) {
        let mut shape = self.shape;
        shape.before += shape.shifted;
        shape.behind = digits.behind;
        let whole = digits.text.find('.').unwrap_or(digits.text.len());
        let overflow: String;
        let text = if whole > shape.before {
            let hashes = |count: usize| "#".repeat(count);
            overflow = format!("{}.{}", hashes(shape.before), hashes(shape.behind));
            &overflow
        } else {
            &digits.text
        };
        Writer::new(shape, text, Some(digits.negative), shape.before.saturating_sub(whole)).write(&self.parts, out);
    }
}

/// The state of writing one number.
struct Writer<'d> {
    shape: Shape,
    text: &'d [u8],
    /// The next character of the text.
    at: usize,
    /// `None`: a number without a sign.
    negative: Option<bool>,
    /// Places before the number's first digit.
    blanks: usize,
    /// Which place comes next.
    place: usize,
    /// How many places there are.
    places: usize,
    sign_written: bool,
    in_number: bool,
    /// The last digit that is not a zero to leave out, or the point.
    last: Option<usize>,
    zeros_from: usize,
}

impl<'d> Writer<'d> {
    fn new(mut shape: Shape, text: &'d str, negative: Option<bool>, blanks: usize) -> Writer<'d> {
        let text = text.as_bytes();
        let positive = negative == Some(false);
        let sign_written = if shape.plus || shape.minus {
            !shape.plus || shape.minus
        } else {
            if negative != Some(true) && shape.fill {
                shape.brackets = false;
            }
            if shape.sign == SignPlace::Before && shape.before == shape.sign_at {
                shape.sign = SignPlace::Behind;
            }
            positive && shape.fill && !shape.locale_sign
        };
        let mut last = None;
        if shape.fill && shape.point {
            last = text
                .iter()
                .position(|byte| *byte == b'.')
                .map(|point| text.iter().rposition(|byte| *byte != b'0').map_or(point, |digit| digit.max(point)));
            if let Some(last) = &mut last
                && shape.zeros_until > blanks
            {
                *last = (*last).max((text.len() - 1).min(shape.zeros_until - blanks));
            }
        }
        let mut places = (shape.behind + shape.before).wrapping_sub(1);
        if !sign_written && blanks == 0 {
            places = places.wrapping_add(1);
        }
        let zeros_from = shape.zeros_from.saturating_sub(1);
        Writer {
            shape,
            text,
            at: 0,
            negative,
            blanks,
            place: 0,
            places,
            sign_written,
            in_number: false,
            last,
            zeros_from,
        }
    }

    fn write(&mut self, parts: &[Part], out: &mut String) {
        for part in parts {
            match part {
                Part::Char(c) => out.push(*c),
                Part::Pattern(pattern) => self.pattern(*pattern, out),
            }
        }
    }

    fn pattern(&mut self, pattern: Pattern, out: &mut String) {
        let blank = !self.shape.fill;
        match pattern {
            Pattern::Nine | Pattern::Zero | Pattern::Point | Pattern::LocalePoint => self.digit(pattern, out),
            Pattern::Comma | Pattern::Group if self.in_number => out.push(','),
            Pattern::Comma | Pattern::Group => out.extend(blank.then_some(' ')),
            Pattern::Currency => out.push(' '),
            Pattern::Roman(upper) => {
                let text = String::from_utf8_lossy(self.text);
                let text = if upper { text.to_string() } else { text.to_ascii_lowercase() };
                out.push_str(&if blank { format!("{text:>15}") } else { text });
            }
            Pattern::Ordinal(upper) => {
                let none = self.shape.roman || self.text.first() == Some(&b'#') || self.shape.point;
                if !none && self.negative != Some(true) {
                    out.push_str(ordinal(&String::from_utf8_lossy(self.text), upper));
                }
            }
            Pattern::Minus if self.negative == Some(true) => out.push('-'),
            Pattern::Plus if self.negative == Some(false) => out.push('+'),
            Pattern::Minus | Pattern::Plus => out.extend(blank.then_some(' ')),
            Pattern::Sign => out.push(self.sign()),
            Pattern::Blank
            | Pattern::Exponent
            | Pattern::Fill
            | Pattern::Brackets
            | Pattern::LocaleSign
            | Pattern::Shift
            | Pattern::Ignored => {}
        }
    }

    fn sign(&self) -> char {
        if self.negative == Some(true) { '-' } else { '+' }
    }

    /// Whether the next digit is the zero of `0.1`, which is left out.
    fn is_bare_zero(&self) -> bool {
        !self.shape.zero && self.at == 0 && self.text.first() == Some(&b'0') && self.shape.behind != 0
    }

    /// Whether nothing but the point is left behind the digits.
    fn ends_with_point(&self) -> bool {
        self.last.is_some_and(|last| self.text.get(last) == Some(&b'.'))
    }

    fn digit(&mut self, pattern: Pattern, out: &mut String) {
        if self.shape.roman {
            return;
        }
        self.in_number = false;
        self.sign_before(out);
        let before_number = self.place < self.blanks;
        if before_number && (!self.shape.zero || self.zeros_from > self.place) {
            out.extend((!self.shape.fill).then_some(' '));
        } else if before_number {
            out.push('0');
            self.in_number = true;
        } else {
            self.own_digit(pattern, out);
            self.at += usize::from(self.at < self.text.len());
        }
        let mut end = self.places.wrapping_add(usize::from(self.blanks > 0) + usize::from(self.shape.point));
        if self.last == Some(self.at) {
            end = self.place;
        }
        if self.place.wrapping_add(1) == end {
            if self.sign_written && self.shape.brackets {
                out.push(if self.negative == Some(false) { ' ' } else { '>' });
            } else if self.shape.locale_sign && self.shape.sign == SignPlace::Behind {
                out.push(self.sign());
            }
        }
        self.place += 1;
    }

    /// The sign, where the number begins.
    fn sign_before(&mut self, out: &mut String) {
        let begins = self.place >= self.blanks || (self.shape.zero && self.zeros_from == self.place);
        if self.sign_written || !begins || (self.is_bare_zero() && !self.ends_with_point()) {
            return;
        }
        let positive = self.negative == Some(false);
        if self.shape.locale_sign {
            if self.shape.sign != SignPlace::Before {
                return;
            }
            out.push(self.sign());
        } else if self.shape.brackets {
            out.push(if positive { ' ' } else { '<' });
        } else if positive {
            out.extend((!self.shape.fill).then_some(' '));
        } else if self.negative == Some(true) {
            out.push('-');
        } else {
            return;
        }
        self.sign_written = true;
    }

    /// A digit of the number itself, or its point.
    fn own_digit(&mut self, pattern: Pattern, out: &mut String) {
        let Some(next) = self.text.get(self.at) else { return };
        if *next == b'.' {
            if !self.ends_with_point() || self.shape.fill {
                out.push('.');
            }
            return;
        }
        if self.last.is_some_and(|last| self.at > last) && pattern != Pattern::Zero {
            return;
        }
        if self.is_bare_zero() {
            if !self.shape.fill {
                out.push(' ');
            } else if self.ends_with_point() {
                out.push('0');
            }
            return;
        }
        out.push(char::from(*next));
        self.in_number = true;
    }
}
