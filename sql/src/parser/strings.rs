//! String constants that go on: `'one'`, a new line, `'two'` is `'onetwo'`.
//!
//! On one line they are a syntax error, as in PostgreSQL (section 4.1.2.1 of its manual); sqlparser
//! would take the second for an alias.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::Result;

use super::empty_select::is_word;
use super::source_text::{Piece, SourceText};

/// Joins the parts of string constants. Errors 42601.
pub(crate) fn join(text: &SourceText<'_>, piece: &mut Piece) -> Result<()> {
    // The only place where one string follows another: names and values of OPTIONS.
    if piece.tokens.iter().take(4).any(|token| is_word(&token.token, "EXTERNAL")) {
        return Ok(());
    }
    let mut joined = Vec::with_capacity(piece.tokens.len());
    for token in piece.tokens.drain(..) {
        let Token::SingleQuotedString(more) = &token.token else {
            joined.push(token);
            continue;
        };
        let Some(before) = joined.last_mut() else {
            joined.push(token);
            continue;
        };
        match &mut before.token {
            Token::SingleQuotedString(first) if before.span.end.line < token.span.start.line => {
                first.push_str(more);
                before.span.end = token.span.end;
            }
            Token::SingleQuotedString(_) | Token::Number(..) => return Err(text.syntax_error(&token)),
            _ => joined.push(token),
        }
    }
    piece.tokens = joined;
    Ok(())
}
