//! SELECT of no columns: `SELECT`, `SELECT WHERE ...`, `EXISTS (SELECT FROM t)`.
//!
//! sqlparser knows an empty select list before FROM only. Anywhere else a marker that no user can
//! write, a name of no characters, is put in its place before parsing and taken away after it.

use datafusion::sql::sqlparser::ast::{Expr, Query, SelectItem};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::source_text::{Piece, SourceText};
use crate::walk::{NodeMut, walk_mut};

/// What may follow an empty select list, besides FROM, a closing parenthesis and the end.
const FOLLOWERS: &[&str] = &[
    "EXCEPT",
    "FETCH",
    "FOR",
    "GROUP",
    "HAVING",
    "INTERSECT",
    "INTO",
    "LIMIT",
    "OFFSET",
    "ORDER",
    "UNION",
    "WHERE",
    "WINDOW",
];

/// Puts the marker into every empty select list. `SELECT DISTINCT` needs columns.
pub(crate) fn mark(text: &SourceText<'_>, piece: &mut Piece) -> Result<()> {
    if let Some(nameless) = piece.tokens.iter().find(|token| is_nameless(&token.token)) {
        let error = Error::new(SqlState::SyntaxError, "zero-length delimited identifier at or near \"\"\"\"");
        return Err(text.at(error, nameless));
    }
    let mut marked = Vec::with_capacity(piece.tokens.len() + 1);
    let mut in_query = false;
    for (place, token) in piece.tokens.iter().enumerate() {
        marked.push(token.clone());
        let before = place.checked_sub(1).map(|before| &piece.tokens[before].token);
        if !is_word(&token.token, "SELECT") || (in_query && !before.is_some_and(may_stand_before_a_query)) {
            // `SELECT ALL` is SELECT; any other ALL has no SELECT before it.
            let all = is_word(&token.token, "ALL") && before.is_some_and(|before| is_word(before, "SELECT"));
            if !all {
                continue;
            }
        }
        in_query = true;
        let next = piece.tokens.get(place + 1).unwrap_or(&piece.terminator);
        if is_word(&next.token, "DISTINCT") {
            let after = piece.tokens.get(place + 2).unwrap_or(&piece.terminator);
            if is_word(&after.token, "FROM") || ends_list(&after.token) {
                return Err(text.syntax_error(after));
            }
        }
        if ends_list(&next.token) {
            marked.push(TokenWithSpan { token: marker(), span: token.span });
        }
    }
    piece.tokens = marked;
    Ok(())
}

/// Takes the markers away again.
pub(crate) fn unmark(query: &mut Query) {
    walk_mut(query, &mut |node| {
        if let NodeMut::Select(select) = node
            && let [SelectItem::UnnamedExpr(Expr::Identifier(name))] = select.projection.as_slice()
            && name.value.is_empty()
        {
            select.projection.clear();
        }
    });
}

fn marker() -> Token {
    Token::make_word("", Some('"'))
}

fn is_nameless(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.value.is_empty())
}

pub(super) fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

fn may_stand_before_a_query(token: &Token) -> bool {
    matches!(token, Token::LParen | Token::RParen)
        || ["UNION", "EXCEPT", "INTERSECT", "ALL", "DISTINCT"].iter().any(|word| is_word(token, word))
}

fn ends_list(token: &Token) -> bool {
    matches!(token, Token::RParen | Token::SemiColon | Token::EOF) || FOLLOWERS.iter().any(|word| is_word(token, word))
}
