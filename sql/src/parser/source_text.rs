//! The text of a request, split into statements of tokens, and places in it.
//!
//! Promises: positions are characters from 1 over the whole text, as PostgreSQL counts them;
//! errors of the tokenizer and of sqlparser become PostgreSQL's wording. Does not know any
//! statement.

use std::cell::Cell;

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, TokenizerError};
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::elsewhere;

/// A request's text with the start of each line.
#[derive(Debug)]
pub(crate) struct SourceText<'a> {
    sql: &'a str,
    /// Of each line: its first byte, and the number of characters before it.
    lines: Vec<(usize, usize)>,
    /// The place that was last asked for and its byte: the next is mostly one behind it.
    last: Cell<(Location, usize)>,
}

/// The tokens of one statement, white space kept away, and the bytes they cover.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The tokens, without the semicolon.
    pub(crate) tokens: Vec<TokenWithSpan>,
    /// First byte of the first token.
    pub(crate) start: usize,
    /// The byte after the last token.
    pub(crate) end: usize,
    /// The semicolon after it, if there is one: the text's end otherwise.
    pub(crate) terminator: TokenWithSpan,
}

impl<'a> SourceText<'a> {
    /// Indexes a text.
    pub(crate) fn new(sql: &'a str) -> SourceText<'a> {
        let mut lines = vec![(0, 0)];
        let mut characters = 0;
        for (byte, character) in sql.char_indices() {
            characters += 1;
            if character == '\n' {
                lines.push((byte + 1, characters));
            }
        }
        SourceText { sql, lines, last: Cell::new((Location { line: 0, column: 0 }, 0)) }
    }

    /// The text.
    pub(crate) fn sql(&self) -> &'a str {
        self.sql
    }

    /// The byte of a place.
    pub(crate) fn byte(&self, at: Location) -> usize {
        let Some(&(start, _)) = self.lines.get((at.line as usize).wrapping_sub(1)) else { return self.sql.len() };
        let (known, near) = self.last.get();
        let (from, column) =
            if known.line == at.line && known.column <= at.column { (near, known.column) } else { (start, 1) };
        let wanted = at.column.saturating_sub(column) as usize;
        let byte = self.sql[from..].char_indices().nth(wanted).map_or(self.sql.len(), |(byte, _)| from + byte);
        self.last.set((Location { column: at.column.max(1), ..at }, byte));
        byte
    }

    /// The character of a place, from 1.
    fn position(&self, at: Location) -> usize {
        match self.lines.get((at.line as usize).wrapping_sub(1)) {
            Some(&(_, before)) => before + (at.column as usize).max(1),
            None => self.sql.chars().count() + 1,
        }
    }

    /// Splits into statements at semicolons; empty statements are left out.
    pub(crate) fn pieces(&self) -> Result<Vec<Piece>> {
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, self.sql)
            .tokenize_with_location()
            .map_err(|error| self.tokenizer_error(&error))?;
        let mut pieces = Vec::new();
        let mut current = Vec::new();
        for token in tokens {
            match token.token {
                Token::SemiColon => self.close(&mut current, token, &mut pieces),
                Token::Whitespace(_) | Token::EOF => {}
                _ => current.push(token),
            }
        }
        self.close(&mut current, TokenWithSpan { token: Token::EOF, span: Span::empty() }, &mut pieces);
        Ok(pieces)
    }

    fn close(&self, current: &mut Vec<TokenWithSpan>, terminator: TokenWithSpan, pieces: &mut Vec<Piece>) {
        let tokens = std::mem::take(current);
        if let (Some(first), Some(last)) = (tokens.first(), tokens.last()) {
            let (start, end) = (self.byte(first.span.start), self.byte(last.span.end));
            pieces.push(Piece { tokens, start, end, terminator });
        }
    }

    /// `syntax error at or near "..."`, the token as it stands in the text.
    pub(crate) fn syntax_error(&self, token: &TokenWithSpan) -> Error {
        if token.token == Token::EOF || token.span.start.line == 0 {
            return self.end_of_input();
        }
        let written = &self.sql[self.byte(token.span.start)..self.byte(token.span.end)];
        let written = if written.is_empty() { token.token.to_string() } else { written.to_string() };
        let error = Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{written}\""));
        elsewhere::clause(error, &written).at(self.position(token.span.start))
    }

    /// `syntax error at end of input`.
    pub(crate) fn end_of_input(&self) -> Error {
        Error::new(SqlState::SyntaxError, "syntax error at end of input").at(self.sql.chars().count() + 1)
    }

    /// An error at a token.
    pub(crate) fn at(&self, error: Error, token: &TokenWithSpan) -> Error {
        if token.span.start.line == 0 { error } else { error.at(self.position(token.span.start)) }
    }

    fn tokenizer_error(&self, error: &TokenizerError) -> Error {
        let byte = self.byte(error.location);
        let rest = &self.sql[byte..];
        let what = match error.message.as_str() {
            message if message.contains("comment") => "unterminated /* comment".to_string(),
            message if message.contains("identifier") || rest.starts_with('"') => {
                "unterminated quoted identifier".into()
            }
            message if message.contains("dollar") => "unterminated dollar-quoted string".into(),
            message if message.contains("string") => "unterminated quoted string".into(),
            message => message.to_lowercase(),
        };
        Error::new(SqlState::SyntaxError, format!("{what} at or near \"{rest}\"")).at(self.position(error.location))
    }

    /// What sqlparser says, in PostgreSQL's words. `tokens` are those it was given, `end` what
    /// comes after them.
    pub(crate) fn parser_error(&self, error: &ParserError, tokens: &[TokenWithSpan], end: &TokenWithSpan) -> Error {
        let message = match error {
            ParserError::RecursionLimitExceeded => return too_deep(),
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        };
        match location_in(message) {
            Some(at) => match tokens.iter().find(|token| token.span.start == at) {
                Some(token) => self.syntax_error(token),
                None => self.syntax_error(end),
            },
            None if message.ends_with("found: EOF") => self.syntax_error(end),
            None => Error::new(SqlState::SyntaxError, format!("syntax error: {}", lower_first(message))),
        }
    }
}

/// The statement nests deeper than we follow.
pub(crate) fn too_deep() -> Error {
    Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
        .hint("The statement is nested too deeply; write it with fewer levels.")
}

/// The place that sqlparser puts at the end of its messages.
fn location_in(message: &str) -> Option<Location> {
    let (_, place) = message.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

fn lower_first(message: &str) -> String {
    let mut characters = message.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}
