//! Where a pattern matches, and which group has which part of it.
//!
//! The match is the first there is, from there the longest (or the shortest, if the pattern prefers
//! that); its parts are told apart from left to right, each getting the longest (shortest) piece that
//! lets the rest match. Automata decide, so that no pattern takes exponential time.

use std::cell::RefCell;
use std::collections::HashSet;

use regex_automata::hybrid::dfa::{Builder, Cache, DFA};
use regex_automata::meta;
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::start;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::Hir;
use thalweg_dataflow::{Error, Result};

use super::options::Options;
use super::syntax::{self, Kind, Part, Prefer, invalid};

/// The most memory that one automaton may take, in bytes.
const MAX_BYTES: usize = 16 << 20;
/// The longest pattern, in characters.
const MAX_PATTERN: usize = 32_768;

/// A piece of a text, in bytes: where it begins and where it ends.
pub(super) type Span = (usize, usize);

/// A compiled pattern.
pub(super) struct Pattern {
    first: meta::Regex,
    root: Node,
    /// How many groups it has.
    pub(super) groups: usize,
}

struct Node {
    inside: Inside,
    short: bool,
    machine: Machine,
}

enum Inside {
    Plain,
    Both(Box<Node>, Box<Node>),
    Either(Vec<Node>),
    Group(usize, Box<Node>),
    Times(Box<Node>, usize, Option<usize>),
}

/// An automaton, with the states that it has met.
struct Machine {
    dfa: DFA,
    cache: RefCell<Cache>,
}

fn too_complex() -> Error {
    invalid("regular expression is too complex")
}

impl Machine {
    fn new(hir: &Hir) -> Result<Machine> {
        let config = thompson::Config::new().which_captures(WhichCaptures::None).nfa_size_limit(Some(MAX_BYTES));
        let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).map_err(|_| too_complex())?;
        let config = DFA::config().match_kind(MatchKind::All).skip_cache_capacity_check(true).cache_capacity(1 << 18);
        let dfa = Builder::new().configure(config).build_from_nfa(nfa).map_err(|_| too_complex())?;
        let cache = RefCell::new(dfa.create_cache());
        Ok(Machine { dfa, cache })
    }

    /// Where matches end that begin here, at most up to `limit`; the longest or the shortest.
    fn end(&self, text: &str, from: usize, limit: usize, short: bool) -> Result<Option<usize>> {
        let input = Input::new(text).span(from..limit).anchored(Anchored::Yes).earliest(short);
        let found = self.dfa.try_search_fwd(&mut self.cache.borrow_mut(), &input);
        found.map(|found| found.map(|half| half.offset())).map_err(|error| Error::internal(error.to_string()))
    }

    fn is_exact(&self, text: &str, (from, until): Span) -> Result<bool> {
        Ok(self.end(text, from, until, false)? == Some(until))
    }

    /// All ends of matches that begin here, in order.
    fn ends(&self, text: &str, (from, until): Span) -> Result<Vec<usize>> {
        let wrong = |error: regex_automata::hybrid::CacheError| Error::internal(error.to_string());
        let bytes = text.as_bytes();
        let mut cache = self.cache.borrow_mut();
        let cache = &mut *cache;
        let behind = from.checked_sub(1).map(|before| bytes[before]);
        let config = start::Config::new().anchored(Anchored::Yes).look_behind(behind);
        let mut state = self.dfa.start_state(cache, &config).map_err(|error| Error::internal(error.to_string()))?;
        let mut ends = Vec::new();
        // A state tells of a match one byte late.
        for (at, byte) in bytes.iter().enumerate().take(until + 1).skip(from) {
            state = self.dfa.next_state(cache, state, *byte).map_err(wrong)?;
            if state.is_match() && text.is_char_boundary(at) {
                ends.push(at);
            }
            if state.is_dead() {
                return Ok(ends);
            }
        }
        if until == bytes.len() {
            state = self.dfa.next_eoi_state(cache, state).map_err(wrong)?;
            if state.is_match() {
                ends.push(until);
            }
        }
        Ok(ends)
    }
}

impl Node {
    fn new(part: Part) -> Result<Node> {
        let machine = Machine::new(&part.hir)?;
        let boxed = |part: Box<Part>| super::nested(|| Node::new(*part)).map(Box::new);
        let inside = match part.kind {
            Kind::Plain => Inside::Plain,
            Kind::Both(left, right) => Inside::Both(boxed(left)?, boxed(right)?),
            Kind::Either(parts) => Inside::Either(parts.into_iter().map(Node::new).collect::<Result<_>>()?),
            Kind::Group(number, part) => Inside::Group(number, boxed(part)?),
            Kind::Times(part, min, max) => Inside::Times(boxed(part)?, min as usize, max.map(|max| max as usize)),
        };
        Ok(Node { inside, short: part.flags.prefer == Some(Prefer::Short), machine })
    }

    /// Where pieces end that begin here, the preferred ones first.
    fn preferred(&self, text: &str, span: Span) -> Result<Vec<usize>> {
        let mut ends = self.machine.ends(text, span)?;
        if !self.short {
            ends.reverse();
        }
        Ok(ends)
    }

    /// Tells the parts of an exact match apart.
    fn dissect(&self, text: &str, (from, until): Span, groups: &mut [Option<Span>]) -> Result<()> {
        let lost = || Error::internal("a match of a regular expression that has no parts");
        match &self.inside {
            Inside::Plain => Ok(()),
            Inside::Group(number, inner) => {
                groups[*number] = Some((from, until));
                super::nested(|| inner.dissect(text, (from, until), groups))
            }
            Inside::Either(nodes) => {
                for node in nodes {
                    if node.machine.is_exact(text, (from, until))? {
                        return super::nested(|| node.dissect(text, (from, until), groups));
                    }
                }
                Err(lost())
            }
            Inside::Both(left, right) => {
                for middle in left.preferred(text, (from, until))? {
                    if right.machine.is_exact(text, (middle, until))? {
                        super::nested(|| left.dissect(text, (from, middle), groups))?;
                        return super::nested(|| right.dissect(text, (middle, until), groups));
                    }
                }
                Err(lost())
            }
            Inside::Times(_, 0, _) if from == until => Ok(()),
            Inside::Times(node, min, max) => {
                // Only what the last one captured counts.
                let last = Rounds { node, text, until, min: (*min).max(1), max: *max }.last(from)?.ok_or_else(lost)?;
                super::nested(|| node.dissect(text, last, groups))
            }
        }
    }
}

/// A piece that is to be cut into matches of one node.
struct Rounds<'a> {
    node: &'a Node,
    text: &'a str,
    until: usize,
    min: usize,
    max: Option<usize>,
}

impl Rounds<'_> {
    /// The last of the matches, each as long (short) as the preference wants it.
    fn last(&self, from: usize) -> Result<Option<Span>> {
        // What is left to try at each round, the best at the end.
        let mut open: Vec<(usize, Vec<usize>)> = vec![(from, self.candidates(from, 1)?)];
        let mut failed = HashSet::new();
        while let Some((begin, candidates)) = open.last_mut() {
            let begin = *begin;
            let Some(end) = candidates.pop() else {
                let rounds = open.len();
                failed.insert((begin, self.level(rounds)));
                open.pop();
                continue;
            };
            let rounds = open.len();
            if end == self.until && rounds >= self.min {
                return Ok(Some((begin, end)));
            }
            let more = self.max.is_none_or(|max| rounds < max) && (end != self.until || rounds < self.min);
            if more && !failed.contains(&(end, self.level(rounds + 1))) {
                open.push((end, self.candidates(end, rounds + 1)?));
            }
        }
        Ok(None)
    }

    /// Rounds between which no bound makes a difference count as one.
    fn level(&self, round: usize) -> usize {
        if self.max.is_some() { round } else { round.min(self.min) }
    }

    /// Where a round may end that begins here, the best at the end; of no length only if so many
    /// rounds are needed.
    fn candidates(&self, begin: usize, round: usize) -> Result<Vec<usize>> {
        let mut ends = self.node.preferred(self.text, (begin, self.until))?;
        let empty = round < self.min && self.min - round >= self.until - begin;
        ends.retain(|end| *end > begin || empty || (begin == self.until && round <= self.min));
        ends.reverse();
        Ok(ends)
    }
}

impl Pattern {
    /// Compiles a pattern.
    pub(super) fn new(pattern: &str, options: Options) -> Result<Pattern> {
        if pattern.chars().count() > MAX_PATTERN {
            return Err(too_complex());
        }
        let (part, groups) = syntax::parse(pattern, options)?;
        let config =
            meta::Config::new().which_captures(WhichCaptures::Implicit).nfa_size_limit(Some(MAX_BYTES)).onepass(false);
        let first = meta::Builder::new().configure(config).build_from_hir(&part.hir).map_err(|_| too_complex())?;
        Ok(Pattern { first, root: Node::new(part)?, groups })
    }

    /// Whether it matches anywhere.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.first.is_match(text)
    }

    /// The first match from this byte on.
    pub(super) fn find(&self, text: &str, from: usize) -> Result<Option<Span>> {
        let Some(first) = self.first.find(Input::new(text).span(from..text.len())) else { return Ok(None) };
        let end = self.root.machine.end(text, first.start(), text.len(), self.root.short)?;
        Ok(end.map(|end| (first.start(), end)))
    }

    /// The first match from this byte on and its groups, the whole match before them.
    pub(super) fn captures(&self, text: &str, from: usize) -> Result<Option<Vec<Option<Span>>>> {
        let Some(span) = self.find(text, from)? else { return Ok(None) };
        let mut groups = vec![None; self.groups + 1];
        groups[0] = Some(span);
        if self.groups > 0 {
            self.root.dissect(text, span, &mut groups)?;
        }
        Ok(Some(groups))
    }

    /// Where the search goes on behind a match; `None`: the text is over.
    pub(super) fn behind(text: &str, (from, until): Span) -> Option<usize> {
        if from < until {
            return Some(until);
        }
        text[until..].chars().next().map(|c| until + c.len_utf8())
    }
}
