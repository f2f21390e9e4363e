//! PostgreSQL's advanced regular expressions: from text to a tree of what must be told apart.
//!
//! Every part of a pattern becomes an automaton's expression ([`Hir`]); a part that captures, or whose
//! preference for long or short matches differs from its surroundings, stays a node of its own, cut
//! along the same lines as PostgreSQL cuts it, because the cuts decide who gets which characters.
//! Classes and case are Unicode's, the borders of words ASCII's. Look-around and back references are
//! refused by name, so are basic and extended (pre-1997) syntax.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition};
use thalweg_dataflow::{Error, Result, SqlState};

use super::brackets;
use super::options::Options;

/// The most that a bound may say.
const MAX_COUNT: u32 = 255;

/// Long or short matches first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefer {
    /// The longest.
    Long,
    /// The shortest.
    Short,
}

/// What is known of a part: its preference, and whether its inside must be told apart.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    /// The preference of the part as a whole.
    pub(super) prefer: Option<Prefer>,
    /// A part of it prefers long matches.
    long: bool,
    /// A part of it prefers short matches.
    short: bool,
    /// It captures.
    captures: bool,
}

impl Flags {
    fn of(prefer: Option<Prefer>) -> Flags {
        Flags { prefer, long: prefer == Some(Prefer::Long), short: prefer == Some(Prefer::Short), captures: false }
    }

    /// Both together; the first one's preference comes first.
    fn with(self, other: Flags) -> Flags {
        Flags {
            prefer: self.prefer.or(other.prefer),
            long: self.long || other.long,
            short: self.short || other.short,
            captures: self.captures || other.captures,
        }
    }

    /// Whether it matters what inside it matched.
    pub(super) fn is_messy(self) -> bool {
        self.captures || (self.long && self.short)
    }
}

/// A part of a pattern.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) kind: Kind,
    pub(super) flags: Flags,
    /// What it matches.
    pub(super) hir: Hir,
}

/// What is inside a part.
#[derive(Debug)]
pub(super) enum Kind {
    /// Nothing that matters.
    Plain,
    /// One after the other.
    Both(Box<Part>, Box<Part>),
    /// One of them, the first that fits.
    Either(Vec<Part>),
    /// A group with its number, from 1.
    Group(usize, Box<Part>),
    /// The same, so many times.
    Times(Box<Part>, u32, Option<u32>),
}

impl Part {
    fn plain(hir: Hir, flags: Flags) -> Part {
        Part { kind: Kind::Plain, flags, hir }
    }

    fn both(left: Part, right: Part) -> Part {
        let flags = left.flags.with(right.flags);
        let hir = Hir::concat(vec![left.hir.clone(), right.hir.clone()]);
        Part { kind: Kind::Both(Box::new(left), Box::new(right)), flags, hir }
    }
}

/// A pattern that does not follow the rules.
pub(super) fn invalid(what: &str) -> Error {
    Error::new(SqlState::InvalidRegularExpression, format!("invalid regular expression: {what}"))
}

/// A pattern as a tree, and how many groups it has.
pub(super) fn parse(pattern: &str, options: Options) -> Result<(Part, usize)> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut parser = Parser { rest: &chars, options, groups: 0 };
    parser.prefixes()?;
    if parser.options.literal {
        let hirs = parser.rest.iter().map(|c| brackets::one(*c, parser.options)).collect();
        return Ok((Part::plain(Hir::concat(hirs), Flags::default()), 0));
    }
    let part = super::nested(|| parser.alternatives(false))?;
    match parser.rest.is_empty() {
        true => Ok((part, parser.groups)),
        false => Err(invalid("parentheses () not balanced")),
    }
}

pub(super) struct Parser<'p> {
    pub(super) rest: &'p [char],
    pub(super) options: Options,
    groups: usize,
}

impl Parser<'_> {
    fn eat(&mut self, text: &str) -> bool {
        let mut rest = self.rest.iter();
        let found = text.chars().all(|c| rest.next() == Some(&c));
        if found {
            self.rest = rest.as_slice();
        }
        found
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// `***=`, `***:` and `(?letters)`.
    fn prefixes(&mut self) -> Result<()> {
        if self.options.literal {
            return Ok(());
        }
        if self.eat("***") {
            match self.next() {
                Some('=') => {
                    self.options.literal = true;
                    return Ok(());
                }
                Some(':') => {}
                _ => return Err(invalid("quantifier operand invalid")),
            }
        }
        if self.rest.starts_with(&['(', '?']) && self.rest.get(2).is_some_and(char::is_ascii_alphabetic) {
            self.rest = &self.rest[2..];
            loop {
                match self.next() {
                    Some(')') => break,
                    Some(letter) if letter.is_ascii_alphabetic() => {
                        if !self.options.set(letter)? {
                            return Err(invalid("invalid embedded option"));
                        }
                    }
                    _ => return Err(invalid("invalid embedded option")),
                }
            }
        }
        Ok(())
    }

    /// White space and comments that mean nothing here.
    fn skip(&mut self) -> Result<()> {
        loop {
            if self.options.expanded {
                while let Some(c) = self.rest.first() {
                    match c {
                        c if brackets::is_space(*c) => self.rest = &self.rest[1..],
                        '#' => {
                            let line = self.rest.iter().position(|c| *c == '\n').unwrap_or(self.rest.len());
                            self.rest = &self.rest[line..];
                        }
                        _ => break,
                    }
                }
            }
            if !self.rest.starts_with(&['(', '?', '#']) {
                return Ok(());
            }
            let end = self.rest.iter().position(|c| *c == ')');
            self.rest = end.map_or(&[], |end| &self.rest[end + 1..]);
        }
    }

    /// Branches between `|`, up to the end or, `inside` a group, its parenthesis.
    fn alternatives(&mut self, inside: bool) -> Result<Part> {
        let mut branches = vec![self.branch(inside)?];
        self.skip()?;
        while self.eat("|") {
            branches.push(self.branch(inside)?);
            self.skip()?;
        }
        if branches.len() == 1
            && let Some(only) = branches.pop()
        {
            return Ok(only);
        }
        let all = Flags::of(Some(Prefer::Long));
        let flags = branches.iter().fold(all, |flags, branch| flags.with(branch.flags));
        let hir = Hir::alternation(branches.iter().map(|branch| branch.hir.clone()).collect());
        // The alternatives as a whole do not decide what is inside.
        let kind = if flags.is_messy() { Kind::Either(branches) } else { Kind::Plain };
        Ok(Part { kind, flags, hir })
    }

    /// One after the other, up to `|`, the end or the parenthesis.
    fn branch(&mut self, inside: bool) -> Result<Part> {
        let mut prefix = Part::plain(Hir::empty(), Flags::default());
        let mut pieces = Vec::new();
        let mut empty = true;
        loop {
            self.skip()?;
            match self.rest.first() {
                None | Some('|') => break,
                Some(')') if inside => break,
                _ => {}
            }
            let (atom, quantifier) = self.piece()?;
            let whole = prefix.flags.with(Flags::of(quantifier.prefer)).with(atom.flags);
            if !atom.flags.captures && !whole.is_messy() {
                pieces.push(repeated(&atom.hir, quantifier));
                prefix.flags = whole;
                empty = false;
                continue;
            }
            prefix.hir = Hir::concat(pieces);
            let atom = quantified(atom, quantifier);
            let rest = super::nested(|| self.branch(inside))?;
            let tail = match rest.hir.properties().maximum_len() {
                Some(0) if matches!(rest.kind, Kind::Plain) && rest.hir == Hir::empty() => atom,
                _ => Part::both(atom, rest),
            };
            return Ok(if empty { tail } else { Part::both(prefix, tail) });
        }
        prefix.hir = Hir::concat(pieces);
        Ok(prefix)
    }

    /// An atom and what stands behind it.
    fn piece(&mut self) -> Result<(Part, Quantifier)> {
        let plain = |hir| Part::plain(hir, Flags::default());
        let lines = self.options.line_anchors;
        let constraint = |look| (plain(Hir::look(look)), Quantifier::ONCE);
        let Some(c) = self.next() else { return Err(Error::internal("an atom behind the end")) };
        let atom = match c {
            '^' => return Ok(constraint(if lines { Look::StartLF } else { Look::Start })),
            '$' => return Ok(constraint(if lines { Look::EndLF } else { Look::End })),
            '*' | '+' | '?' => return Err(invalid("quantifier operand invalid")),
            '{' if self.rest.first().is_some_and(char::is_ascii_digit) => {
                return Err(invalid("quantifier operand invalid"));
            }
            ')' => return Err(invalid("parentheses () not balanced")),
            '(' => self.group()?,
            '[' => match self.bracket()? {
                Atom::Look(look) => return Ok(constraint(look)),
                Atom::Chars(hir) => plain(hir),
            },
            '.' => plain(brackets::any(self.options)),
            '\\' => match self.escape()? {
                Atom::Look(look) => return Ok(constraint(look)),
                Atom::Chars(hir) => plain(hir),
            },
            c => plain(brackets::one(c, self.options)),
        };
        self.skip()?;
        let quantifier = self.quantifier()?;
        Ok((atom, quantifier))
    }

    fn group(&mut self) -> Result<Part> {
        if self.eat("?") {
            let refused = match (self.next(), self.rest.first()) {
                (Some(':'), _) => None,
                (Some('='), _) => Some("look-ahead (?=...)"),
                (Some('!'), _) => Some("look-ahead (?!...)"),
                (Some('<'), Some('=')) => Some("look-behind (?<=...)"),
                (Some('<'), Some('!')) => Some("look-behind (?<!...)"),
                _ => return Err(invalid("quantifier operand invalid")),
            };
            if let Some(refused) = refused {
                return Err(Error::unsupported(format!("{refused} in a regular expression")));
            }
            return self.until_parenthesis();
        }
        self.groups += 1;
        let number = self.groups;
        let inner = self.until_parenthesis()?;
        let flags = Flags { captures: true, ..inner.flags };
        let hir = inner.hir.clone();
        Ok(Part { kind: Kind::Group(number, Box::new(inner)), flags, hir })
    }

    fn until_parenthesis(&mut self) -> Result<Part> {
        let inner = super::nested(|| self.alternatives(true))?;
        match self.next() {
            Some(')') => Ok(inner),
            _ => Err(invalid("parentheses () not balanced")),
        }
    }

    fn quantifier(&mut self) -> Result<Quantifier> {
        let (min, max) = match self.rest.first() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') if self.rest.get(1).is_some_and(char::is_ascii_digit) => return self.bound(),
            _ => return Ok(Quantifier::ONCE),
        };
        self.rest = &self.rest[1..];
        Ok(Quantifier { min, max, prefer: Some(self.preference()) })
    }

    fn preference(&mut self) -> Prefer {
        if self.eat("?") { Prefer::Short } else { Prefer::Long }
    }

    fn number(&mut self) -> Result<u32> {
        let mut number = 0;
        while let Some(digit) = self.rest.first().and_then(|c| c.to_digit(10)) {
            number = number * 10 + digit;
            if number > MAX_COUNT {
                return Err(invalid("invalid repetition count(s)"));
            }
            self.rest = &self.rest[1..];
        }
        Ok(number)
    }

    fn bound(&mut self) -> Result<Quantifier> {
        self.rest = &self.rest[1..];
        let min = self.number()?;
        let comma = self.eat(",");
        let max = match comma {
            false => Some(min),
            true if self.rest.first().is_some_and(char::is_ascii_digit) => Some(self.number()?),
            true => None,
        };
        if self.rest.is_empty() {
            return Err(invalid("braces {} not balanced"));
        }
        if max.is_some_and(|max| max < min) || !self.eat("}") {
            return Err(invalid("invalid repetition count(s)"));
        }
        let prefer = self.preference();
        Ok(Quantifier { min, max, prefer: comma.then_some(prefer) })
    }
}

/// What an atom is.
pub(super) enum Atom {
    /// A place between characters.
    Look(Look),
    /// Characters.
    Chars(Hir),
}

#[derive(Debug, Clone, Copy)]
struct Quantifier {
    min: u32,
    max: Option<u32>,
    prefer: Option<Prefer>,
}

impl Quantifier {
    const ONCE: Quantifier = Quantifier { min: 1, max: Some(1), prefer: None };
}

fn repeated(hir: &Hir, quantifier: Quantifier) -> Hir {
    match (quantifier.min, quantifier.max) {
        (1, Some(1)) => hir.clone(),
        (min, max) => Hir::repetition(Repetition { min, max, greedy: true, sub: Box::new(hir.clone()) }),
    }
}

/// An atom whose inside matters, so many times.
fn quantified(atom: Part, quantifier: Quantifier) -> Part {
    let Quantifier { min, max, prefer } = quantifier;
    let own = atom.flags.prefer;
    let hir = repeated(&atom.hir, quantifier);
    let flags = Flags { captures: false, ..Flags::of(prefer) }.with(atom.flags);
    if max == Some(0) {
        return Part::plain(Hir::empty(), Flags::default());
    }
    if (min, max) == (1, Some(1)) && (prefer.is_none() || own.is_none() || prefer == own) {
        return atom;
    }
    if !atom.flags.captures {
        return Part::plain(hir, flags);
    }
    if min > 0 {
        // Only what the last of them captured counts.
        let before = Quantifier { min: min - 1, max: max.map(|max| max - 1), prefer };
        let first = Part::plain(repeated(&atom.hir, before), Flags::of(prefer.or(own)));
        let mut both = Part::both(first, atom);
        both.flags = flags;
        return both;
    }
    Part { kind: Kind::Times(Box::new(atom), min, max), flags, hir }
}

/// A class of characters as an expression.
pub(super) fn class(ranges: impl IntoIterator<Item = (char, char)>, negated: bool) -> Hir {
    let ranges = ranges.into_iter().map(|(first, last)| ClassUnicodeRange::new(first, last));
    let mut class = ClassUnicode::new(ranges);
    if negated {
        class.negate();
    }
    Hir::class(Class::Unicode(class))
}
