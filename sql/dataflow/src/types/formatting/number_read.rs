//! Numbers read as a template says.

use super::number_template::{NumberTemplate, Part, Pattern, SignPlace};
use crate::error::{Error, Result, SqlState};
use crate::types::Numeric;

impl NumberTemplate {
    /// Reads a number. Errors 0A000, 22003, 22P02.
    pub fn read(&self, text: &str) -> Result<Numeric> {
        if self.shape.exponent || self.shape.roman {
            let word = if self.shape.exponent { "EEEE" } else { "RN" };
            let message = format!("\"{word}\" not supported for input");
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        let mut reader =
            Reader { template: self, rest: text.as_bytes(), text: vec![b' '], before: 0, behind: 0, point: false };
        for part in &self.parts {
            if reader.rest.is_empty() {
                break;
            }
            reader.part(*part);
        }
        let mut read = reader.text;
        if read.last() == Some(&b'.') {
            read.pop();
        }
        let number = Numeric::parse(&String::from_utf8_lossy(&read))?;
        let (scale, precision) = (reader.behind, self.shape.before + self.shape.shifted + reader.behind);
        let number = fitted(number, precision, scale)?;
        if self.shape.shifted == 0 {
            return Ok(number);
        }
        number.mul(&Numeric::from(10).power(-i32::try_from(self.shape.shifted).unwrap_or(i32::MAX))?)
    }
}

/// The number with so many digits at most.
fn fitted(number: Numeric, precision: usize, scale: usize) -> Result<Numeric> {
    let (precision, scale) = (precision as i32, scale as i32);
    let rounded = number.round(scale)?;
    let whole = precision - scale;
    let bound = Numeric::parse(&format!("1e{whole}"))?;
    if rounded.is_finite() && rounded.abs() >= bound {
        let limit = if whole == 0 { "1".to_string() } else { format!("10^{whole}") };
        return Err(Error::new(SqlState::NumericOutOfRange, "numeric field overflow").detail(format!(
            "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
        )));
    }
    Ok(rounded)
}

struct Reader<'t> {
    template: &'t NumberTemplate,
    rest: &'t [u8],
    /// A place for the sign, and the digits.
    text: Vec<u8>,
    before: usize,
    behind: usize,
    point: bool,
}

impl Reader<'_> {
    /// Passes over one character.
    fn skip(&mut self) {
        let length = match self.rest.first() {
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..) => 4,
            _ => 1,
        };
        self.rest = &self.rest[length.min(self.rest.len())..];
    }

    /// Passes over characters that are no part of a number.
    fn skip_others(&mut self, count: usize) {
        for _ in 0..count {
            match self.rest.first() {
                None | Some(b'0'..=b'9' | b'.' | b',' | b'+' | b'-') => return,
                Some(_) => self.skip(),
            }
        }
    }

    fn part(&mut self, part: Part) {
        let shape = &self.template.shape;
        let Part::Pattern(pattern) = part else {
            self.skip();
            return;
        };
        match pattern {
            Pattern::Nine | Pattern::Zero | Pattern::Point | Pattern::LocalePoint => {
                self.digit(pattern);
                self.skip();
            }
            Pattern::Comma | Pattern::Group if self.rest.first() == Some(&b',') => self.skip(),
            Pattern::Currency => self.skip_others(1),
            Pattern::Ordinal(_) if self.text[0] != b'-' && !shape.point => self.skip_others(2),
            Pattern::Minus | Pattern::Plus | Pattern::Sign => match self.rest.first() {
                Some(b'-') if pattern != Pattern::Plus => {
                    self.text[0] = b'-';
                    self.skip();
                }
                Some(b'+') if pattern != Pattern::Minus => {
                    self.text[0] = b'+';
                    self.skip();
                }
                _ => self.skip_others(1),
            },
            _ => {}
        }
    }

    /// A digit or the point, and a sign beside it. The character that was read is still to be passed
    /// over.
    fn digit(&mut self, pattern: Pattern) {
        let shape = self.template.shape;
        if self.rest.first() == Some(&b' ') {
            self.skip();
        }
        let read = self.before + self.behind;
        if self.text[0] == b' ' && matches!(pattern, Pattern::Nine | Pattern::Zero) && read == 0 {
            let brackets = shape.brackets && !shape.locale_sign;
            match self.rest.first() {
                _ if shape.locale_sign && shape.sign != SignPlace::Before => {}
                Some(b'-') => self.sign(b'-'),
                Some(b'<') if brackets => self.sign(b'-'),
                Some(b'+') => self.sign(b'+'),
                _ => {}
            }
        }
        let mut is_read = false;
        match self.rest.first() {
            None => return,
            Some(digit @ b'0'..=b'9') => {
                if self.point && self.behind == shape.behind {
                    return;
                }
                self.text.push(*digit);
                match self.point {
                    true => self.behind += 1,
                    false => self.before += 1,
                }
                is_read = true;
            }
            Some(b'.') if shape.point && !self.point => {
                self.text.push(b'.');
                self.point = true;
                is_read = true;
            }
            Some(_) => {}
        }
        if self.text[0] == b' ' && self.before + self.behind > 0 {
            self.sign_behind(is_read);
        }
    }

    fn sign(&mut self, sign: u8) {
        self.text[0] = sign;
        self.skip();
    }

    /// A sign behind the last digit.
    fn sign_behind(&mut self, is_read: bool) {
        let shape = self.template.shape;
        let next = self.rest.get(1).copied();
        if shape.locale_sign && is_read {
            if let Some(sign @ (b'-' | b'+')) = next {
                self.text[0] = sign;
                self.skip();
            }
        } else if !is_read
            && !shape.locale_sign
            && !shape.plus
            && let Some(sign @ (b'-' | b'+')) = self.rest.first().copied()
        {
            self.sign(sign);
        }
    }
}
