//! Forms of PostgreSQL's grammar that sqlparser does not know, as others that say the same.
//!
//! `FROM ONLY t` is `FROM t`, as no table inherits; `ORDER BY x USING <` is `ASC` and `USING >` is
//! `DESC`; `(t).*` is `t.*`; `GROUP BY ALL a` is `GROUP BY a`. `GROUP BY DISTINCT a` keeps its word as
//! a first item of a name that nobody can write.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::empty_select::is_word;
use super::reserved::is_reserved;
use super::source_text::Piece;

/// The first item of a GROUP BY that was written with DISTINCT.
pub(crate) const DISTINCT_SETS: &str = "\u{1}distinct";

/// What may come behind GROUP BY ALL that has no items.
const AFTER_GROUPS: [&str; 10] =
    ["HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", "UNION", "INTERSECT", "EXCEPT"];

/// Rewrites every one of them.
pub(crate) fn rewrite(piece: &mut Piece) {
    let tokens = &mut piece.tokens;
    let mut place = 1;
    while place < tokens.len() {
        let (before, rest) = tokens.split_at(place);
        let span = rest[0].span;
        let spanned = |token: Token| TokenWithSpan { token, span };
        if is_word(&rest[0].token, "ONLY") && names_a_table(before, rest) {
            tokens.remove(place);
        } else if let Some(order) = order(rest) {
            tokens.splice(place..place + 2, [spanned(Token::make_keyword(order))]);
        } else if is_whole_row(rest) {
            tokens.remove(place + 2);
            tokens.remove(place);
        } else if groups(before) && is_word(&rest[0].token, "ALL") && has_items(rest) {
            tokens.remove(place);
        } else if groups(before) && is_word(&rest[0].token, "DISTINCT") {
            let mark = Token::make_word(DISTINCT_SETS, Some('"'));
            tokens.splice(place..=place, [spanned(mark), spanned(Token::Comma)]);
        }
        place += 1;
    }
}

/// Whether the first of the rest is the ONLY before a table. A column cannot be called so.
fn names_a_table(before: &[TokenWithSpan], rest: &[TokenWithSpan]) -> bool {
    let last = before.last().map(|last| &last.token);
    let opens = last.is_some_and(|last| *last == Token::Comma || is_word(last, "FROM") || is_word(last, "JOIN"));
    let is_name = |word: &Word| word.quote_style.is_some() || !is_reserved(&word.value.to_lowercase());
    opens && matches!(rest.get(1).map(|next| &next.token), Some(Token::Word(word)) if is_name(word))
}

/// The word for `USING <` and `USING >`.
fn order(rest: &[TokenWithSpan]) -> Option<&'static str> {
    match rest {
        [using, operator, ..] if is_word(&using.token, "USING") => match operator.token {
            Token::Lt => Some("ASC"),
            Token::Gt => Some("DESC"),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the rest begins with `(t).*`.
fn is_whole_row(rest: &[TokenWithSpan]) -> bool {
    match rest {
        [open, name, close, period, star, ..] => {
            open.token == Token::LParen
                && matches!(name.token, Token::Word(_))
                && close.token == Token::RParen
                && period.token == Token::Period
                && star.token == Token::Mul
        }
        _ => false,
    }
}

fn groups(before: &[TokenWithSpan]) -> bool {
    matches!(before, [.., group, by] if is_word(&group.token, "GROUP") && is_word(&by.token, "BY"))
}

/// Whether items come behind the first of the rest.
fn has_items(rest: &[TokenWithSpan]) -> bool {
    match rest.get(1).map(|next| &next.token) {
        None | Some(Token::RParen) => false,
        Some(next) => !AFTER_GROUPS.iter().any(|word| is_word(next, word)),
    }
}
