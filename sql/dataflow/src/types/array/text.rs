//! The text form of arrays: `{1,NULL,"a b"}`, `{{1,2},{3,4}}`, `[0:1]={1,2}`.

use std::str::Chars;

use arrow::array::Array;

use super::{Dimension, borders, check_count, dimensions, element_values, items, null_of, of_values, shaped};
use crate::error::{Error, Result, SqlState};
use crate::types::datetime::Zone;
use crate::types::text::{TextStyle, TextWriter};
use crate::types::{PgType, parse_text};

/// An array from its text form. Errors 22P02, 2202E, 54000, and those of the elements.
pub(in crate::types) fn parse(element: &PgType, text: &str, zone: &Zone) -> Result<Vec<u8>> {
    let malformed = |detail: &str| {
        Error::new(SqlState::InvalidTextRepresentation, format!("malformed array literal: \"{text}\"")).detail(detail)
    };
    let (bounds, rest) = bounds(text.trim(), &malformed)?;
    let Some(inside) = rest.strip_prefix('{') else {
        return Err(malformed(match bounds.is_empty() {
            true => "Array value must start with \"{\" or dimension information.",
            false => "Array contents must start with \"{\".",
        }));
    };
    let mut reader = Reader { chars: inside.chars(), fields: Vec::new(), lengths: Vec::new(), malformed: &malformed };
    reader.level(0)?;
    if !reader.chars.as_str().trim().is_empty() {
        return Err(malformed("Junk after closing right brace."));
    }
    let mut values = Vec::with_capacity(reader.fields.len());
    for field in &reader.fields {
        values.push(match field {
            None => null_of(element)?,
            Some(field) => parse_text(element, field, zone)?,
        });
    }
    let lengths = reader.lengths.iter().map(|length| length.unwrap_or(0));
    let mut dimensions: Vec<Dimension> = lengths.map(Dimension::of).collect();
    if !bounds.is_empty() {
        let alike = |(one, other): (&Dimension, &Dimension)| one.length == other.length;
        if values.is_empty() || bounds.len() != dimensions.len() || !bounds.iter().zip(&dimensions).all(alike) {
            return Err(malformed("Specified array dimensions do not match array contents."));
        }
        dimensions = bounds;
    }
    Ok(shaped(of_values(element, values)?, &dimensions))
}

/// The dimensions that stand before `=`, if any do, and what is behind it.
fn bounds<'t>(text: &'t str, malformed: &dyn Fn(&str) -> Error) -> Result<(Vec<Dimension>, &'t str)> {
    let (mut bounds, mut rest) = (Vec::new(), text);
    while let Some(inside) = rest.strip_prefix('[') {
        check_count(bounds.len() + 1)?;
        let missing = || malformed("Missing \"]\" after array dimensions.");
        let (written, behind) = inside.split_once(']').ok_or_else(missing)?;
        let number = |text: &str| {
            let wrong = || malformed("\"[\" must introduce explicitly-specified array dimensions.");
            text.trim().parse::<i32>().map_err(|_| wrong())
        };
        let (lower, upper) = match written.split_once(':') {
            Some((lower, upper)) => (number(lower)?, number(upper)?),
            None => (1, number(written)?),
        };
        let length = i64::from(upper) - i64::from(lower) + 1;
        let Ok(length) = usize::try_from(length) else {
            let message = "upper bound cannot be less than lower bound";
            return Err(Error::new(SqlState::ArraySubscript, message));
        };
        bounds.push(Dimension { length, lower });
        rest = behind.trim_start();
    }
    if bounds.is_empty() {
        return Ok((bounds, rest));
    }
    let behind = rest.strip_prefix('=').ok_or_else(|| malformed("Missing \"=\" after array dimensions."))?;
    Ok((bounds, behind.trim_start()))
}

/// What stands between braces.
struct Reader<'t> {
    chars: Chars<'t>,
    /// `None`: null.
    fields: Vec<Option<String>>,
    /// How many of each level stand side by side, as far as one is closed.
    lengths: Vec<Option<usize>>,
    malformed: &'t dyn Fn(&str) -> Error,
}

/// What may stand next in a pair of braces.
#[derive(PartialEq)]
enum Next {
    /// Anything: nothing was there so far.
    First,
    /// An element or braces, behind a comma.
    Item,
    /// A comma or the end.
    Delimiter,
}

impl Reader<'_> {
    fn wrong(&self, detail: &str) -> Error {
        (self.malformed)(detail)
    }

    fn unexpected(&self, character: char) -> Error {
        self.wrong(&format!("Unexpected \"{character}\" character."))
    }

    /// The rest of a pair of braces, up to the closing one.
    fn level(&mut self, depth: usize) -> Result<()> {
        check_count(depth + 1)?;
        if self.lengths.len() == depth {
            // Elements stand at one level alone.
            if !self.fields.is_empty() {
                return Err(self.unexpected('{'));
            }
            self.lengths.push(None);
        }
        let (mut count, mut next) = (0, Next::First);
        loop {
            match self.peek().ok_or_else(|| self.wrong("Unexpected end of input."))? {
                space if space.is_ascii_whitespace() || space == '\x0b' => _ = self.chars.next(),
                '{' if next != Next::Delimiter => {
                    self.chars.next();
                    self.level(depth + 1)?;
                    (count, next) = (count + 1, Next::Delimiter);
                }
                '}' if next == Next::Delimiter || next == Next::First && depth == 0 => {
                    self.chars.next();
                    break;
                }
                ',' if next == Next::Delimiter => {
                    self.chars.next();
                    next = Next::Item;
                }
                special @ ('{' | '}' | ',') => return Err(self.unexpected(special)),
                _ if next == Next::Delimiter => return Err(self.wrong("Unexpected array element.")),
                _ if self.lengths.len() != depth + 1 => return Err(self.wrong("Unexpected array element.")),
                _ => {
                    let field = self.field()?;
                    self.fields.push(field);
                    (count, next) = (count + 1, Next::Delimiter);
                }
            }
        }
        match self.lengths[depth].replace(count) {
            Some(known) if known != count => {
                Err(self.wrong("Multidimensional arrays must have sub-arrays with matching dimensions."))
            }
            _ => Ok(()),
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.clone().next()
    }

    /// An element, up to what ends it.
    fn field(&mut self) -> Result<Option<String>> {
        // `kept`: spaces behind this are no part of the field.
        let (mut field, mut quoted, mut kept) = (String::new(), false, 0);
        loop {
            match self.peek().ok_or_else(|| self.wrong("Unexpected end of input."))? {
                ',' | '}' => break,
                '{' => return Err(self.unexpected('{')),
                '"' if quoted || !field.is_empty() => return Err(self.wrong("Unexpected array element.")),
                '"' => {
                    self.chars.next();
                    quoted = true;
                    let ended = quoted_part(&mut self.chars, &mut field);
                    ended.ok_or_else(|| self.wrong("Unexpected end of input."))?;
                    kept = field.len();
                }
                '\\' if quoted => return Err(self.wrong("Unexpected array element.")),
                '\\' => {
                    self.chars.next();
                    field.extend(self.chars.next());
                    kept = field.len();
                }
                other => {
                    self.chars.next();
                    field.push(other);
                    if !other.is_ascii_whitespace() {
                        if quoted {
                            return Err(self.wrong("Unexpected array element."));
                        }
                        kept = field.len();
                    }
                }
            }
        }
        field.truncate(kept);
        let null = !quoted && field.eq_ignore_ascii_case("null");
        Ok((!null).then_some(field))
    }
}

/// The rest of a part in quotes; `None` if it does not end.
fn quoted_part(chars: &mut Chars<'_>, field: &mut String) -> Option<()> {
    loop {
        match chars.next()? {
            '"' => return Some(()),
            '\\' => field.push(chars.next()?),
            other => field.push(other),
        }
    }
}

/// Appends an array's text.
pub(in crate::types) fn write(element: &PgType, bytes: &[u8], style: &TextStyle, out: &mut String) {
    let written = element_values(element, items(element, bytes))
        .and_then(|values| Ok((TextWriter::new(element, &values)?, values)));
    // Damaged bytes print as an empty array; state is checked where it is read.
    let Ok((writer, values)) = written else { return out.push_str("{}") };
    let dimensions = dimensions(element, bytes);
    if dimensions.is_empty() {
        return out.push_str("{}");
    }
    if dimensions.iter().any(|dimension| dimension.lower != 1) {
        for dimension in &dimensions {
            out.push_str(&format!("[{}:{}]", dimension.lower, dimension.upper()));
        }
        out.push('=');
    }
    let mut field = String::new();
    for row in 0..values.len() {
        let borders = borders(&dimensions, row);
        if row > 0 {
            out.extend(std::iter::repeat_n('}', borders));
            out.push(',');
        }
        out.extend(std::iter::repeat_n('{', if row == 0 { dimensions.len() } else { borders }));
        if values.is_null(row) {
            out.push_str("NULL");
            continue;
        }
        field.clear();
        writer.write(row, style, &mut field);
        write_field(&field, out);
    }
    out.extend(std::iter::repeat_n('}', dimensions.len()));
}

fn write_field(field: &str, out: &mut String) {
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace() || c == '\x0b';
    if !field.is_empty() && !field.eq_ignore_ascii_case("null") && !field.contains(special) {
        return out.push_str(field);
    }
    out.push('"');
    for c in field.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}
