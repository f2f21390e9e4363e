//! LIKE, ILIKE and the functions behind them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, StringArray};
use arrow::compute::kernels::comparison::{ilike, like};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Like};
use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::types::{PgType, Zone};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env};
use super::expr::Cast;
use super::functions::udf::{Kernel, PgFunction};
use super::functions::{self, strings};
use super::operator::no_operator;
use super::typed::{Category, Typed, category};

impl Binder<'_> {
    /// `inner [NOT] [I]LIKE pattern [ESCAPE c]`.
    pub(crate) fn like(
        &self,
        env: &Env<'_>,
        inner: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
        negated: bool,
        any_case: bool,
    ) -> Result<Typed> {
        let (left, mut right) = (self.expr(env, inner)?, self.expr(env, pattern)?);
        if let Some(escape) = escape.and_then(|escape| escape.value.clone().into_string())
            && escape != "\\"
        {
            right = self.call_by_name("like_escape", vec![right, Typed::unknown(Some(escape))])?;
        }
        self.like_typed(left, right, negated, any_case)
    }

    /// `like(value, pattern)` and `notlike`; their kin are found by their operators.
    pub(super) fn like_call(&self, name: &str, args: Vec<Typed>) -> Result<Typed> {
        match <[Typed; 2]>::try_from(args) {
            Ok([value, pattern]) if is_text(&value) && is_text(&pattern) => {
                self.like_typed(value, pattern, name == "notlike", false)
            }
            Ok(other) => Err(functions::no_function(name, &other)),
            Err(other) => Err(functions::no_function(name, &other)),
        }
    }

    pub(super) fn like_typed(&self, left: Typed, right: Typed, negated: bool, any_case: bool) -> Result<Typed> {
        if !is_text(&left) || !is_text(&right) {
            let symbol = match (negated, any_case) {
                (false, false) => "~~",
                (true, false) => "!~~",
                (false, true) => "~~*",
                (true, true) => "!~~*",
            };
            return Err(no_operator(symbol, &left, &right));
        }
        let left = self.with_spaces(left)?;
        let right = self.coerce(right, &PgType::Text, Cast::Implicit)?;
        let sound = match &right.expr {
            Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) => !ends_in_escape(pattern),
            Expr::Literal(..) => true,
            _ => false,
        };
        if sound {
            let like = Like::new(negated, Box::new(left.expr), Box::new(right.expr), None, any_case);
            return Ok(Typed::new(Expr::Like(like), PgType::Bool));
        }
        let matches = self.failing_like(left, right, any_case)?;
        Ok(Typed::new(if negated { Expr::Not(Box::new(matches)) } else { matches }, PgType::Bool))
    }

    /// The match of a pattern that may end in its escape character: it fails where it comes to that.
    fn failing_like(&self, left: Typed, right: Typed, any_case: bool) -> Result<Expr> {
        let name = if any_case { "ilike" } else { "like" };
        let types = vec![PgType::Text, PgType::Text];
        let function = PgFunction::new(name, types, PgType::Bool, Zone::parse(&self.settings.zone)?, LIKE);
        Ok(functions::evaluated(function, vec![left.expr, right.expr]))
    }
}

pub(super) fn is_text(typed: &Typed) -> bool {
    typed.ty.as_ref().is_none_or(|ty| category(ty) == Category::Text)
}

/// Whether a pattern's last character is an escape that has nothing to escape.
fn ends_in_escape(pattern: &str) -> bool {
    pattern.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

const LIKE: Kernel = |input| {
    let (values, patterns) = (strings(input, 0)?, strings(input, 1)?);
    if let Some(pattern) = input.constant_text(1).filter(|pattern| !ends_in_escape(pattern)) {
        let pattern = StringArray::new_scalar(pattern);
        let like = if input.op() == "ilike" { ilike } else { like };
        return Ok(Arc::new(like(&values, &pattern)?) as ArrayRef);
    }
    let folded = |text: &str| -> Vec<char> {
        if input.op() == "ilike" { text.to_lowercase().chars().collect() } else { text.chars().collect() }
    };
    let found = (0..input.rows).map(|row| match values.is_null(row) || patterns.is_null(row) {
        true => Ok(None),
        false => matches(&folded(values.value(row)), &folded(patterns.value(row))).map(Some),
    });
    Ok(Arc::new(found.collect::<Result<BooleanArray>>()?) as ArrayRef)
};

/// Whether a text is what a pattern says. Error 22025 where the match comes to an escape at the end.
fn matches(text: &[char], pattern: &[char]) -> Result<bool> {
    let (mut at, mut place) = (0, 0);
    // Where the last % stands, and how much of the text it has taken.
    let mut wild: Option<(usize, usize)> = None;
    loop {
        let fits = match pattern.get(place) {
            Some('%') => {
                wild = Some((place, at));
                place += 1;
                continue;
            }
            None if at == text.len() => return Ok(true),
            None => false,
            Some(_) if at == text.len() => return Ok(false),
            Some('_') => true,
            Some('\\') => match pattern.get(place + 1) {
                Some(wanted) => {
                    place += 1;
                    text[at] == *wanted
                }
                None => {
                    let message = "LIKE pattern must not end with escape character";
                    return Err(Error::new(SqlState::InvalidEscapeSequence, message));
                }
            },
            Some(wanted) => text[at] == *wanted,
        };
        if fits {
            (at, place) = (at + 1, place + 1);
            continue;
        }
        match &mut wild {
            Some((star, taken)) => {
                *taken += 1;
                (at, place) = (*taken, *star + 1);
            }
            None => return Ok(false),
        }
    }
}
