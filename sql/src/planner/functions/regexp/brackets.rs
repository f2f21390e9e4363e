//! Bracket expressions and escapes of regular expressions.

use std::collections::HashMap;
use std::sync::OnceLock;

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};
use thalweg_dataflow::{Error, Result};

use super::options::Options;
use super::syntax::{Atom, Parser, class, invalid};

/// Whether a character is white space, in ASCII.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Any character.
pub(super) fn any(options: Options) -> Hir {
    class(options.line_stops.then_some(('\n', '\n')), true)
}

/// This character.
pub(super) fn one(c: char, options: Options) -> Hir {
    if options.any_case && c.is_alphabetic() {
        let mut cases = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
        cases.case_fold_simple();
        return Hir::class(Class::Unicode(cases));
    }
    Hir::literal(c.to_string().into_bytes())
}

/// A class by its name, of all of Unicode.
fn named(name: &str, any_case: bool) -> Option<&'static ClassUnicode> {
    const CLASSES: [(&str, &str); 15] = [
        ("alpha", r"[[\p{Alphabetic}\p{Nd}]--[0-9]]"),
        ("lower", r"\p{Lowercase}"),
        ("upper", r"\p{Uppercase}"),
        ("cased", r"[\p{Lowercase}\p{Uppercase}]"),
        ("digit", r"[0-9]"),
        ("alnum", r"[\p{Alphabetic}\p{Nd}]"),
        ("word", r"[\p{Alphabetic}\p{Nd}_]"),
        ("xdigit", r"[0-9A-Fa-f]"),
        ("space", r"[\p{White_Space}--[\x{85}\x{A0}\x{2007}\x{202F}]]"),
        ("blank", r"[[\p{Zs}\t]--[\x{A0}\x{2007}\x{202F}]]"),
        ("punct", r"[[\p{P}\p{S}]--\p{Alphabetic}]"),
        ("graph", r"[^\p{White_Space}\p{Cc}\p{Cn}]"),
        ("print", r"[^\t-\r\p{Cc}\p{Cn}\x{2028}\x{2029}]"),
        ("cntrl", r"[\p{Cc}\x{2028}\x{2029}]"),
        ("ascii", r"[\x{0}-\x{7F}]"),
    ];
    static KNOWN: OnceLock<HashMap<&'static str, ClassUnicode>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let class = |(name, pattern): (&'static str, &str)| match regex_syntax::parse(pattern).ok()?.into_kind() {
            HirKind::Class(Class::Unicode(class)) => Some((name, class)),
            _ => None,
        };
        CLASSES.into_iter().filter_map(class).collect()
    });
    known.get(if any_case && matches!(name, "lower" | "upper") { "cased" } else { name })
}

/// The names of collating elements.
const NAMES: &[(&str, char)] = &[
    ("NUL", '\0'),
    ("SOH", '\u{1}'),
    ("STX", '\u{2}'),
    ("ETX", '\u{3}'),
    ("EOT", '\u{4}'),
    ("ENQ", '\u{5}'),
    ("ACK", '\u{6}'),
    ("BEL", '\u{7}'),
    ("alert", '\u{7}'),
    ("BS", '\u{8}'),
    ("backspace", '\u{8}'),
    ("HT", '\t'),
    ("tab", '\t'),
    ("LF", '\n'),
    ("newline", '\n'),
    ("VT", '\u{b}'),
    ("vertical-tab", '\u{b}'),
    ("FF", '\u{c}'),
    ("form-feed", '\u{c}'),
    ("CR", '\r'),
    ("carriage-return", '\r'),
    ("space", ' '),
    ("exclamation-mark", '!'),
    ("quotation-mark", '"'),
    ("number-sign", '#'),
    ("dollar-sign", '$'),
    ("percent-sign", '%'),
    ("ampersand", '&'),
    ("apostrophe", '\''),
    ("left-parenthesis", '('),
    ("right-parenthesis", ')'),
    ("asterisk", '*'),
    ("plus-sign", '+'),
    ("comma", ','),
    ("hyphen", '-'),
    ("hyphen-minus", '-'),
    ("period", '.'),
    ("full-stop", '.'),
    ("slash", '/'),
    ("solidus", '/'),
    ("zero", '0'),
    ("one", '1'),
    ("two", '2'),
    ("three", '3'),
    ("four", '4'),
    ("five", '5'),
    ("six", '6'),
    ("seven", '7'),
    ("eight", '8'),
    ("nine", '9'),
    ("colon", ':'),
    ("semicolon", ';'),
    ("less-than-sign", '<'),
    ("equals-sign", '='),
    ("greater-than-sign", '>'),
    ("question-mark", '?'),
    ("commercial-at", '@'),
    ("left-square-bracket", '['),
    ("backslash", '\\'),
    ("reverse-solidus", '\\'),
    ("right-square-bracket", ']'),
    ("circumflex", '^'),
    ("circumflex-accent", '^'),
    ("underscore", '_'),
    ("low-line", '_'),
    ("grave-accent", '`'),
    ("left-brace", '{'),
    ("left-curly-bracket", '{'),
    ("vertical-line", '|'),
    ("right-brace", '}'),
    ("right-curly-bracket", '}'),
    ("tilde", '~'),
    ("DEL", '\u{7f}'),
];

/// A collating element by its name.
fn element(name: &str) -> Option<char> {
    let mut chars = name.chars();
    if let (Some(only), None) = (chars.next(), chars.next()) {
        return Some(only);
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, c)| *c)
}

/// What an item of a bracket expression is.
enum Item {
    /// One character, which may begin or end a range.
    One(char),
    /// A class, negated or not.
    Class(&'static ClassUnicode, bool),
}

impl Parser<'_> {
    /// A bracket expression, its `[` behind us.
    pub(super) fn bracket(&mut self) -> Result<Atom> {
        for (word, look) in [("[:<:]]", Look::WordStartAscii), ("[:>:]]", Look::WordEndAscii)] {
            let word: Vec<char> = word.chars().collect();
            if self.rest.starts_with(&word) {
                self.rest = &self.rest[word.len()..];
                return Ok(Atom::Look(look));
            }
        }
        let negated = self.rest.first() == Some(&'^');
        if negated {
            self.rest = &self.rest[1..];
        }
        let mut ranges = ClassUnicode::empty();
        let mut first = true;
        loop {
            match self.rest {
                [] => return Err(invalid("brackets [] not balanced")),
                [']', ..] if !first => break,
                ['-', next, ..] if !first && *next != ']' => return Err(invalid("invalid character range")),
                _ => self.bracket_item(&mut ranges)?,
            }
            first = false;
        }
        self.rest = &self.rest[1..];
        if self.options.any_case {
            ranges.case_fold_simple();
        }
        if negated {
            ranges.negate();
            if self.options.line_stops {
                ranges.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            }
        }
        Ok(Atom::Chars(Hir::class(Class::Unicode(ranges))))
    }

    fn bracket_item(&mut self, ranges: &mut ClassUnicode) -> Result<()> {
        let from = match self.item()? {
            Item::Class(class, negated) => {
                let mut own = class.clone();
                if negated {
                    own.negate();
                }
                ranges.union(&own);
                return Ok(());
            }
            Item::One(c) => c,
        };
        let mut until = from;
        if let ['-', next, ..] = self.rest
            && *next != ']'
        {
            self.rest = &self.rest[1..];
            until = match self.item()? {
                Item::One(c) => c,
                Item::Class(..) => return Err(invalid("invalid character range")),
            };
        }
        if until < from {
            return Err(invalid("invalid character range"));
        }
        ranges.push(ClassUnicodeRange::new(from, until));
        Ok(())
    }

    fn item(&mut self) -> Result<Item> {
        let Some(c) = self.next() else { return Err(invalid("brackets [] not balanced")) };
        let kind = match (c, self.rest.first()) {
            ('\\', _) => return self.bracket_escape(),
            ('[', Some(kind @ ('.' | '=' | ':'))) => *kind,
            _ => return Ok(Item::One(c)),
        };
        self.rest = &self.rest[1..];
        let end = self.rest.windows(2).position(|two| two == [kind, ']']);
        let end = end.ok_or_else(|| invalid("brackets [] not balanced"))?;
        let name: String = self.rest[..end].iter().collect();
        self.rest = &self.rest[end + 2..];
        match kind {
            ':' => named(&name, self.options.any_case)
                .filter(|_| name != "cased")
                .map(|chars| Item::Class(chars, false))
                .ok_or_else(|| invalid("invalid character class")),
            _ => element(&name).map(Item::One).ok_or_else(|| invalid("invalid collating element")),
        }
    }

    fn bracket_escape(&mut self) -> Result<Item> {
        if let Some(class) = self.rest.first().and_then(|c| shorthand(*c)) {
            self.rest = &self.rest[1..];
            return Ok(Item::Class(class.0, class.1));
        }
        self.character(true)?.map(Item::One).ok_or_else(|| invalid("invalid escape \\ sequence"))
    }

    /// An escape outside of brackets, its backslash behind us.
    pub(super) fn escape(&mut self) -> Result<Atom> {
        let Some(c) = self.rest.first().copied() else { return Err(invalid("invalid escape \\ sequence")) };
        let look = match c {
            'A' => Some(Look::Start),
            'Z' => Some(Look::End),
            'm' => Some(Look::WordStartAscii),
            'M' => Some(Look::WordEndAscii),
            'y' => Some(Look::WordAscii),
            'Y' => Some(Look::WordAsciiNegate),
            _ => None,
        };
        if let Some(look) = look {
            self.rest = &self.rest[1..];
            return Ok(Atom::Look(look));
        }
        if let Some((chars, negated)) = shorthand(c) {
            self.rest = &self.rest[1..];
            let mut class = chars.clone();
            if negated {
                class.negate();
            }
            return Ok(Atom::Chars(Hir::class(Class::Unicode(class))));
        }
        match self.character(false)? {
            Some(c) => Ok(Atom::Chars(one(c, self.options))),
            None => Err(Error::unsupported("a back reference in a regular expression")),
        }
    }

    /// The character that an escape stands for; `None`: it is a back reference.
    fn character(&mut self, in_brackets: bool) -> Result<Option<char>> {
        let wrong = || invalid("invalid escape \\ sequence");
        let c = self.next().ok_or_else(wrong)?;
        Ok(Some(match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'B' => '\\',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'c' => {
                let control = self.next().ok_or_else(wrong)?;
                char::from_u32(u32::from(control) & 0x1f).ok_or_else(wrong)?
            }
            'u' => self.hexadecimal(4, 4)?,
            'U' => self.hexadecimal(8, 8)?,
            'x' => self.hexadecimal(1, 255)?,
            '1'..='9' if !in_brackets => {
                // Two digits and more are an octal number unless there are so many groups.
                if self.rest.first().is_some_and(char::is_ascii_digit) && c < '8' {
                    return self.octal(c).map(Some);
                }
                return Ok(None);
            }
            '0'..='7' => return self.octal(c).map(Some),
            c if c.is_ascii_alphanumeric() => return Err(wrong()),
            c => c,
        }))
    }

    fn octal(&mut self, first: char) -> Result<char> {
        let mut value = first.to_digit(8).unwrap_or(0);
        for _ in 0..2 {
            let Some(digit) = self.rest.first().and_then(|c| c.to_digit(8)) else { break };
            value = value * 8 + digit;
            self.rest = &self.rest[1..];
        }
        char::from_u32(value).ok_or_else(|| invalid("invalid escape \\ sequence"))
    }

    fn hexadecimal(&mut self, least: usize, most: usize) -> Result<char> {
        let (mut value, mut digits) = (0u32, 0);
        while digits < most
            && let Some(digit) = self.rest.first().and_then(|c| c.to_digit(16))
        {
            value = value.saturating_mul(16).saturating_add(digit);
            digits += 1;
            self.rest = &self.rest[1..];
        }
        let value = (digits >= least).then_some(value).and_then(char::from_u32);
        value.ok_or_else(|| invalid("invalid escape \\ sequence"))
    }
}

/// `\d` and its kin: the class, and whether it is negated.
fn shorthand(c: char) -> Option<(&'static ClassUnicode, bool)> {
    let name = match c.to_ascii_lowercase() {
        'd' => "digit",
        's' => "space",
        'w' => "word",
        _ => return None,
    };
    named(name, false).map(|chars| (chars, c.is_ascii_uppercase()))
}
