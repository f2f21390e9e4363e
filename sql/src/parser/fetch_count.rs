//! `FETCH FIRST (a + b) ROWS ONLY`: a count that is more than a number.
//!
//! sqlparser takes one token there. The count becomes a LIMIT, and FETCH gets a mark that nobody can
//! write instead of it: the count is LIMIT's.

use datafusion::sql::sqlparser::ast::{Expr, Value, ValueWithSpan};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::empty_select::is_word;
use super::source_text::Piece;

/// The count of a FETCH whose count is LIMIT's.
const MARK: &str = "\u{1}limit";

/// Moves every count of more than one token.
pub(crate) fn rewrite(piece: &mut Piece) {
    let mut place = 0;
    while place < piece.tokens.len() {
        if let Some(end) = count_at(&piece.tokens, place) {
            moved(&mut piece.tokens, place, end);
            place += 1;
        }
        place += 1;
    }
}

/// Whether the count is LIMIT's.
pub(crate) fn is_mark(count: &Expr) -> bool {
    matches!(count, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) if text == MARK)
}

/// Behind the count of a FETCH that stands here, if the count is more than one token.
fn count_at(tokens: &[TokenWithSpan], place: usize) -> Option<usize> {
    let is = |place: usize, words: &[&str]| {
        tokens.get(place).is_some_and(|token| words.iter().any(|word| is_word(&token.token, word)))
    };
    if !is(place, &["FETCH"]) || !is(place + 1, &["FIRST", "NEXT"]) {
        return None;
    }
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(place + 2) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            _ if depth == 0 && is(at, &["ROW", "ROWS"]) && is(at + 1, &["ONLY", "WITH"]) => {
                return (at > place + 3).then_some(at);
            }
            _ => {}
        }
    }
    None
}

/// `FETCH FIRST count` as `LIMIT count FETCH FIRST mark`.
fn moved(tokens: &mut Vec<TokenWithSpan>, place: usize, end: usize) {
    let mut fetch: Vec<TokenWithSpan> = tokens.drain(place..place + 2).collect();
    let span = fetch[0].span;
    fetch.push(TokenWithSpan { token: Token::SingleQuotedString(MARK.into()), span });
    let limit = TokenWithSpan { token: Token::make_keyword("LIMIT"), span };
    tokens.splice(end - 2..end - 2, fetch);
    tokens.insert(place, limit);
}
