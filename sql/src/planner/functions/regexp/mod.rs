//! Regular expressions: the operators, SIMILAR TO and the functions named `regexp_...`.
//!
//! Patterns are PostgreSQL's advanced regular expressions with its rules of what is matched
//! ([`matcher`]); compiled ones are kept, a few a thread.

mod brackets;
mod like_regex;
mod matcher;
mod options;
mod places;
mod quantified;
mod replace;
mod similar;
mod split;
mod syntax;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, PrimitiveArray, StringArray};
use arrow::datatypes::Int32Type;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::arithmetic::{overloads, primitive};
use super::text::strings;
use super::udf::Input;
use matcher::Pattern;
use options::Options;

pub(super) use like_regex::LikeRegex;
pub(crate) use quantified::QUANTIFIED;
pub(super) use split::Matches;

const TEXT: PgType = PgType::Text;
const INT: PgType = PgType::Int4;
const TEXTS: PgType = PgType::Array(&PgType::Text);

/// How many compiled patterns a thread keeps.
const KEPT: usize = 32;

thread_local! {
    static COMPILED: RefCell<Vec<(String, Options, Rc<Pattern>)>> = const { RefCell::new(Vec::new()) };
}

/// Goes deeper into a pattern, with enough stack.
fn nested<T>(inner: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(64 << 10, 1 << 20, inner)
}

/// The compiled form of a pattern.
fn compiled(pattern: &str, options: Options) -> Result<Rc<Pattern>> {
    COMPILED.with_borrow_mut(|kept| {
        if let Some(place) = kept.iter().position(|(text, own, _)| *own == options && text == pattern) {
            kept[..=place].rotate_right(1);
            return Ok(kept[0].2.clone());
        }
        let made = Rc::new(Pattern::new(pattern, options)?);
        kept.truncate(KEPT - 1);
        kept.insert(0, (pattern.to_string(), options, made.clone()));
        Ok(made)
    })
}

/// The arguments of a call, row by row.
struct Call<'a> {
    input: &'a Input<'a>,
    texts: Vec<Option<StringArray>>,
    numbers: Vec<Option<PrimitiveArray<Int32Type>>>,
}

impl<'a> Call<'a> {
    fn new(input: &'a Input<'a>) -> Result<Call<'a>> {
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for (place, ty) in input.types.iter().enumerate() {
            let is_number = *ty == INT;
            texts.push(if is_number { None } else { Some(strings(input, place)?) });
            numbers.push(if is_number { Some(primitive::<Int32Type>(input, place)?) } else { None });
        }
        Ok(Call { input, texts, numbers })
    }

    /// Whether an argument is null at a row: all of these functions are strict.
    fn is_null(&self, row: usize) -> bool {
        self.texts.iter().flatten().any(|array| array.is_null(row))
            || self.numbers.iter().flatten().any(|array| array.is_null(row))
    }

    fn text(&self, place: usize, row: usize) -> &str {
        self.texts.get(place).and_then(Option::as_ref).map_or("", |array| array.value(row))
    }

    /// An integer that must not be less than `least`.
    fn number(&self, place: usize, row: usize, parameter: &str, least: i32) -> Result<Option<usize>> {
        let Some(array) = self.numbers.get(place).and_then(Option::as_ref) else { return Ok(None) };
        let value = array.value(row);
        if value < least {
            let message = format!("invalid value for parameter \"{parameter}\": {value}");
            return Err(Error::new(SqlState::InvalidParameter, message));
        }
        Ok(Some(value as usize))
    }

    /// Where the search begins, in bytes, from an argument that counts characters; behind the end:
    /// nothing is found.
    fn start(&self, place: usize, row: usize) -> Result<Option<usize>> {
        let start = self.number(place, row, "start", 1)?.unwrap_or(1);
        let text = self.text(0, row);
        let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        Ok(places.nth(start - 1))
    }

    /// The pattern at place 1 with the letters at `flags`, which may not say `g`.
    fn pattern(&self, flags: usize, row: usize) -> Result<Rc<Pattern>> {
        let (options, all) = Options::parse(self.text(flags, row))?;
        if all {
            let name = self.input.op();
            let message = format!("{name}() does not support the \"global\" option");
            let error = Error::new(SqlState::InvalidParameter, message);
            let matches = name == "regexp_match";
            return Err(if matches { error.hint("Use the regexp_matches function instead.") } else { error });
        }
        compiled(self.text(1, row), options)
    }
}

/// `~`, `~*`, `!~`, `!~*`, `regexp_like`.
fn is_match(input: &Input<'_>) -> Result<ArrayRef> {
    let call = Call::new(input)?;
    let op = input.op();
    let (any_case, negated) = (op.ends_with('*'), op.starts_with('!'));
    let verdict = |row: usize| {
        if call.is_null(row) {
            return Ok(None);
        }
        let pattern = match op {
            "regexp_like" => call.pattern(2, row)?,
            _ => compiled(call.text(1, row), Options { any_case, ..Options::default() })?,
        };
        Ok(Some(pattern.is_match(call.text(0, row)) != negated))
    };
    Ok(Arc::new((0..input.rows).map(verdict).collect::<Result<BooleanArray>>()?))
}

fn integers(input: &Input<'_>, value: impl Fn(&Call<'_>, usize) -> Result<usize>) -> Result<ArrayRef> {
    let call = Call::new(input)?;
    let each = |row: usize| match call.is_null(row) {
        true => Ok(None),
        false => value(&call, row).map(|value| i32::try_from(value).ok()),
    };
    Ok(Arc::new((0..input.rows).map(each).collect::<Result<Int32Array>>()?))
}

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "~" (TEXT, TEXT) -> PgType::Bool => is_match;
    "~*" (TEXT, TEXT) -> PgType::Bool => is_match;
    "!~" (TEXT, TEXT) -> PgType::Bool => is_match;
    "!~*" (TEXT, TEXT) -> PgType::Bool => is_match;
    "regexp_like" (TEXT, TEXT) -> PgType::Bool => is_match;
    "regexp_like" (TEXT, TEXT, TEXT) -> PgType::Bool => is_match;
    "similar_to_escape" (TEXT) -> TEXT => similar::to_regular;
    "similar_to_escape" (TEXT, TEXT) -> TEXT => similar::to_regular;
    "substring" (TEXT, TEXT) -> TEXT => places::substring;
    "regexp_match" (TEXT, TEXT) -> TEXTS => split::first_match;
    "regexp_match" (TEXT, TEXT, TEXT) -> TEXTS => split::first_match;
    "regexp_split_to_array" (TEXT, TEXT) -> TEXTS => split::to_array;
    "regexp_split_to_array" (TEXT, TEXT, TEXT) -> TEXTS => split::to_array;
    "regexp_replace" (TEXT, TEXT, TEXT) -> TEXT => replace::replace;
    "regexp_replace" (TEXT, TEXT, TEXT, TEXT) -> TEXT => replace::replace;
    "regexp_replace" (TEXT, TEXT, TEXT, INT) -> TEXT => replace::replace;
    "regexp_replace" (TEXT, TEXT, TEXT, INT, INT) -> TEXT => replace::replace;
    "regexp_replace" (TEXT, TEXT, TEXT, INT, INT, TEXT) -> TEXT => replace::replace;
    "regexp_count" (TEXT, TEXT) -> INT => places::count;
    "regexp_count" (TEXT, TEXT, INT) -> INT => places::count;
    "regexp_count" (TEXT, TEXT, INT, TEXT) -> INT => places::count;
    "regexp_instr" (TEXT, TEXT) -> INT => places::instr;
    "regexp_instr" (TEXT, TEXT, INT) -> INT => places::instr;
    "regexp_instr" (TEXT, TEXT, INT, INT) -> INT => places::instr;
    "regexp_instr" (TEXT, TEXT, INT, INT, INT) -> INT => places::instr;
    "regexp_instr" (TEXT, TEXT, INT, INT, INT, TEXT) -> INT => places::instr;
    "regexp_instr" (TEXT, TEXT, INT, INT, INT, TEXT, INT) -> INT => places::instr;
    "regexp_substr" (TEXT, TEXT) -> TEXT => places::substr;
    "regexp_substr" (TEXT, TEXT, INT) -> TEXT => places::substr;
    "regexp_substr" (TEXT, TEXT, INT, INT) -> TEXT => places::substr;
    "regexp_substr" (TEXT, TEXT, INT, INT, TEXT) -> TEXT => places::substr;
    "regexp_substr" (TEXT, TEXT, INT, INT, TEXT, INT) -> TEXT => places::substr;
};
