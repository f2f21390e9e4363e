//! Operators that run into a sign: `a>-1` is `a > -1`.
//!
//! PostgreSQL lets an operator of several characters end with a plus or minus only if there is a
//! character in it that no operator of the standard has; sqlparser lets any. Here the signs are
//! tokens of their own again. Places in the text stay right.

use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use super::source_text::Piece;

/// The characters with which an operator may end with a sign.
const FREE: &[char] = &['~', '!', '@', '#', '%', '^', '&', '|', '`', '?'];

/// Takes the signs off every operator that may not end with one.
pub(super) fn rewrite(piece: &mut Piece) {
    let mut place = 0;
    while place < piece.tokens.len() {
        if let Token::CustomBinaryOperator(written) = &piece.tokens[place].token
            && written.is_ascii()
            && let Some(length) = without_signs(written)
        {
            let parts = parts(written, length, piece.tokens[place].span.start);
            let count = parts.len();
            piece.tokens.splice(place..=place, parts);
            place += count;
        } else {
            place += 1;
        }
    }
}

/// How long the operator is without its signs, if these are none of it.
fn without_signs(written: &str) -> Option<usize> {
    let last = written.len().checked_sub(1)?;
    if !written.ends_with(['+', '-']) || written[..last].contains(FREE) {
        return None;
    }
    Some(written.trim_end_matches(['+', '-']).len().max(1)).filter(|length| *length <= last)
}

fn parts(written: &str, length: usize, start: Location) -> Vec<TokenWithSpan> {
    let at = |offset: usize| Location { line: start.line, column: start.column + offset as u64 };
    let part = |from: usize, to: usize| TokenWithSpan {
        token: operator(&written[from..to]),
        span: Span { start: at(from), end: at(to) },
    };
    std::iter::once(part(0, length)).chain((length..written.len()).map(|sign| part(sign, sign + 1))).collect()
}

fn operator(written: &str) -> Token {
    match written {
        "+" => Token::Plus,
        "-" => Token::Minus,
        "*" => Token::Mul,
        "/" => Token::Div,
        "=" => Token::Eq,
        "<" => Token::Lt,
        ">" => Token::Gt,
        "<=" => Token::LtEq,
        ">=" => Token::GtEq,
        "<>" => Token::Neq,
        "->" => Token::Arrow,
        "->>" => Token::LongArrow,
        "<<" => Token::ShiftLeft,
        ">>" => Token::ShiftRight,
        other => Token::CustomBinaryOperator(other.to_string()),
    }
}
