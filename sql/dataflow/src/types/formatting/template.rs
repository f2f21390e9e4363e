//! A template of a date or time as its parts.

use super::fields::{Field, KEYWORDS};

/// How a field is written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Style {
    /// Without blanks and zeros before it.
    pub(super) fill: bool,
    /// In the locale's language: names get no blanks behind them.
    pub(super) translated: bool,
    /// With the ending of an ordinal number, in capitals or not.
    pub(super) ordinal: Option<bool>,
}

/// A part of a template.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// A field, by the word it was written as.
    Field(Field, &'static str, Style),
    /// Punctuation.
    Separator(char),
    /// White space.
    Space(char),
    /// Any other character.
    Char(char),
}

/// A template of a date or time.
#[derive(Debug, Clone)]
pub struct Template {
    pub(super) parts: Vec<Part>,
}

/// Whether a character is punctuation, in ASCII.
pub(super) fn is_separator(c: char) -> bool {
    c.is_ascii_punctuation()
}

/// White space, in ASCII.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

impl Template {
    /// Takes a template apart. Any text is one.
    pub fn parse(text: &str) -> Template {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let mut style = Style::default();
            for prefix in ["FM", "fm", "TM", "tm"] {
                if let Some(behind) = rest.strip_prefix(prefix) {
                    style.fill |= prefix.eq_ignore_ascii_case("fm");
                    style.translated |= prefix.eq_ignore_ascii_case("tm");
                    rest = behind;
                    break;
                }
            }
            if let Some((word, field)) = KEYWORDS.iter().find(|(word, _)| rest.starts_with(word)) {
                rest = &rest[word.len()..];
                if let Some(behind) = rest.strip_prefix("TH").or_else(|| rest.strip_prefix("th")) {
                    style.ordinal = Some(rest.starts_with('T'));
                    rest = behind;
                } else if let Some(behind) = rest.strip_prefix("SP") {
                    rest = behind;
                }
                parts.push(Part::Field(*field, word, style));
                continue;
            }
            rest = literal(rest, &mut parts);
        }
        Template { parts }
    }
}

/// Takes what is no field: a quoted text or a character.
fn literal<'t>(rest: &'t str, parts: &mut Vec<Part>) -> &'t str {
    let mut chars = rest.chars();
    let Some(first) = chars.next() else { return "" };
    if first != '"' {
        // A backslash means something before a quote alone.
        let c = if rest.starts_with("\\\"") { chars.next().unwrap_or(first) } else { first };
        parts.push(match c {
            c if is_separator(c) => Part::Separator(c),
            c if is_space(c) => Part::Space(c),
            c => Part::Char(c),
        });
        return chars.as_str();
    }
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => parts.push(Part::Char(chars.next().unwrap_or(c))),
            c => parts.push(Part::Char(c)),
        }
    }
    chars.as_str()
}
