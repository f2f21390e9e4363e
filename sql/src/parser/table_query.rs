//! `TABLE name` as a query: the tokens become `SELECT * FROM name`.
//!
//! sqlparser knows the form, but not quotes, places and `ONLY` in it. Every token that is put in has
//! the place of the word TABLE, so that errors point where PostgreSQL's do. Statements about tables
//! (CREATE TABLE, DROP TABLE, ...) stay as they are.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::empty_select::is_word;
use super::reserved::is_reserved;
use super::source_text::Piece;

/// Words before TABLE in statements about tables.
const STATEMENTS: &[&str] = &[
    "ALTER",
    "ANALYZE",
    "CREATE",
    "DROP",
    "EXTERNAL",
    "FOREIGN",
    "INTO",
    "LOCK",
    "ON",
    "REPLACE",
    "TEMP",
    "TEMPORARY",
    "TRUNCATE",
    "UNLOGGED",
];

/// Rewrites every `TABLE name` of the statement that is a query.
pub(crate) fn rewrite(piece: &mut Piece) {
    let reindexes = piece.tokens.first().is_some_and(|first| is_word(&first.token, "REINDEX"));
    if reindexes || !piece.tokens.iter().any(|token| is_word(&token.token, "TABLE")) {
        return;
    }
    let mut rewritten: Vec<TokenWithSpan> = Vec::with_capacity(piece.tokens.len() + 3);
    for (place, token) in piece.tokens.iter().enumerate() {
        let next = piece.tokens.get(place + 1).map(|next| &next.token);
        let before = place.checked_sub(1).map(|before| &piece.tokens[before].token);
        if is_word(&token.token, "TABLE") && next.is_some_and(is_name) && may_be_a_query(before) {
            let put = |token_text: Token| TokenWithSpan { token: token_text, span: token.span };
            rewritten.extend([put(Token::make_keyword("SELECT")), put(Token::Mul), put(Token::make_keyword("FROM"))]);
        } else if is_word(&token.token, "ONLY") && before.is_some_and(|before| is_word(before, "TABLE")) {
            // Nothing inherits.
        } else {
            rewritten.push(token.clone());
        }
    }
    piece.tokens = rewritten;
}

fn is_name(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            word.quote_style.is_some() || !is_reserved(&word.value.to_lowercase()) || is_word(token, "ONLY")
        }
        _ => false,
    }
}

fn may_be_a_query(before: Option<&Token>) -> bool {
    match before {
        None => true,
        Some(Token::Period | Token::Comma | Token::Eq) => false,
        Some(word) => !STATEMENTS.iter().chain(&["SHOW"]).any(|known| is_word(word, known)),
    }
}
