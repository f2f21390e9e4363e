//! A place in the tokens of one statement, and the small phrases all statements share.
//!
//! Every failure is a syntax error at the token where it was noticed. Reads no statement itself.

use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;

use super::ast::{Name, Options};
use super::dialect::Bounded;
use super::refused_type::refused_type;
use super::reserved::{Fault, Judged, Misplaced, is_reserved, missing_operand};
use super::source_text::{Piece, SourceText, too_deep};
use super::{MAX_DEPTH, empty_select};

/// The longest name, in bytes; longer ones are cut as PostgreSQL cuts them.
pub(super) const MAX_NAME: usize = 63;

/// See the module.
pub(crate) struct Cursor<'a> {
    text: &'a SourceText<'a>,
    pub(super) tokens: Vec<TokenWithSpan>,
    pub(super) at: usize,
    end: TokenWithSpan,
}

impl<'a> Cursor<'a> {
    /// At the first token.
    pub(crate) fn new(text: &'a SourceText<'a>, piece: Piece) -> Cursor<'a> {
        Cursor { text, tokens: piece.tokens, at: 0, end: piece.terminator }
    }

    /// The next token; at the end the semicolon or EOF.
    pub(crate) fn peek(&self) -> TokenWithSpan {
        self.tokens.get(self.at).cloned().unwrap_or_else(|| self.end.clone())
    }

    /// Takes the next token.
    pub(crate) fn next(&mut self) -> TokenWithSpan {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// A syntax error at the next token.
    pub(crate) fn unexpected<T>(&self) -> Result<T> {
        Err(self.text.syntax_error(&self.peek()))
    }

    /// This error, at the next token.
    pub(crate) fn error_here(&self, error: Error) -> Error {
        self.text.at(error, &self.peek())
    }

    /// This error, at the token of this number.
    pub(super) fn error_at(&self, token: usize, error: Error) -> Error {
        self.text.at(error, self.tokens.get(token).unwrap_or(&self.end))
    }

    /// The place of the next token in the request, in characters from 1.
    pub(super) fn position(&self) -> Option<usize> {
        self.text.at(Error::internal(""), &self.peek()).position()
    }

    /// Whether the token `ahead` places on is this unquoted word.
    pub(super) fn is_word(&self, ahead: usize, word: &str) -> bool {
        matches!(self.tokens.get(self.at + ahead).map(|token| &token.token),
            Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    /// Whether these words come next.
    pub(crate) fn sees(&self, words: &str) -> bool {
        words.split(' ').enumerate().all(|(ahead, word)| self.is_word(ahead, word))
    }

    /// Takes these words if all of them come next.
    pub(crate) fn takes(&mut self, words: &str) -> bool {
        let seen = self.sees(words);
        if seen {
            self.at += words.split(' ').count();
        }
        seen
    }

    /// Takes these words or fails at the first that differs.
    pub(crate) fn expect(&mut self, words: &str) -> Result<()> {
        for word in words.split(' ') {
            if !self.takes(word) {
                return self.unexpected();
            }
        }
        Ok(())
    }

    /// Takes this punctuation if it comes next.
    pub(crate) fn takes_token(&mut self, token: &Token) -> bool {
        let seen = self.peek().token == *token;
        self.at += usize::from(seen);
        seen
    }

    /// Takes this punctuation or fails.
    pub(crate) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.takes_token(token) { Ok(()) } else { self.unexpected() }
    }

    /// Fails unless everything was taken.
    pub(crate) fn end(&self) -> Result<()> {
        if self.at >= self.tokens.len() { Ok(()) } else { self.unexpected() }
    }

    /// Whether everything was taken.
    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The next unquoted word in upper case, not taken.
    pub(crate) fn word(&self) -> Option<String> {
        match self.peek().token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
            _ => None,
        }
    }

    /// A name: unquoted ones in lower case, reserved words refused.
    pub(crate) fn identifier(&mut self) -> Result<String> {
        let Token::Word(word) = self.peek().token else { return self.unexpected() };
        let folded = if word.quote_style.is_some() {
            word.value
        } else {
            let lower = word.value.to_lowercase();
            if is_reserved(&lower) {
                return self.unexpected();
            }
            lower
        };
        self.at += 1;
        Ok(cut(folded))
    }

    /// `name` or `schema.name`; a leading `thalweg.public.` names the database.
    pub(crate) fn name(&mut self) -> Result<Name> {
        let first = self.identifier()?;
        if !self.takes_token(&Token::Period) {
            return Ok(Name { schema: None, name: first });
        }
        let second = self.identifier()?;
        if !self.takes_token(&Token::Period) {
            return Ok(Name { schema: Some(first), name: second });
        }
        let third = self.identifier()?;
        if first != "thalweg" {
            let whole = format!("cross-database references are not implemented: \"{first}.{second}.{third}\"");
            return Err(Error::new(SqlState::FeatureNotSupported, whole));
        }
        Ok(Name { schema: Some(second), name: third })
    }

    /// Identifiers separated by commas.
    pub(crate) fn identifiers(&mut self) -> Result<Vec<String>> {
        let mut names = vec![self.identifier()?];
        while self.takes_token(&Token::Comma) {
            names.push(self.identifier()?);
        }
        Ok(names)
    }

    /// Names separated by commas.
    pub(crate) fn names(&mut self) -> Result<Vec<Name>> {
        let mut names = vec![self.name()?];
        while self.takes_token(&Token::Comma) {
            names.push(self.name()?);
        }
        Ok(names)
    }

    /// A string constant.
    pub(crate) fn string(&mut self) -> Result<String> {
        let text = match self.peek().token {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::UnicodeStringLiteral(text) => {
                text
            }
            Token::DollarQuotedString(text) => text.value,
            _ => return self.unexpected(),
        };
        self.at += 1;
        Ok(text)
    }

    /// A value of SET or WITH: a string, number or word; `None` if there is none here.
    pub(crate) fn value(&mut self) -> Option<String> {
        if let Ok(text) = self.string() {
            return Some(text);
        }
        let sign = match self.peek().token {
            Token::Minus => "-",
            Token::Plus => "+",
            _ => "",
        };
        let start = self.at;
        self.at += usize::from(!sign.is_empty());
        let value = match self.peek().token {
            Token::Number(digits, _) => format!("{}{digits}", if sign == "-" { sign } else { "" }),
            Token::Word(word) if sign.is_empty() && word.quote_style.is_some() => word.value,
            Token::Word(word) if sign.is_empty() => word.value.to_lowercase(),
            _ => {
                self.at = start;
                return None;
            }
        };
        self.at += 1;
        Some(value)
    }

    /// A dotted option name, lower case; a string constant is taken as it is, in lower case.
    fn option_name(&mut self) -> Result<String> {
        if let Ok(text) = self.string() {
            return Ok(text.to_lowercase());
        }
        let mut name = String::new();
        loop {
            let Token::Word(word) = self.peek().token else { return self.unexpected() };
            name.push_str(&word.value.to_lowercase());
            self.at += 1;
            let separator = match self.peek().token {
                Token::Period => '.',
                Token::Minus => '-',
                _ => return Ok(name),
            };
            name.push(separator);
            self.at += 1;
        }
    }

    /// `( name = 'value', ... )`; `=` may be missing where `equals` is false.
    pub(crate) fn options(&mut self, equals: bool) -> Result<Options> {
        let mut options = Options::new();
        self.expect_token(&Token::LParen)?;
        if self.takes_token(&Token::RParen) {
            return Ok(options);
        }
        loop {
            let place = self.peek();
            let name = self.option_name()?;
            if !self.takes_token(&Token::Eq) && equals {
                return self.unexpected();
            }
            let Some(value) = self.value() else { return self.unexpected() };
            if options.contains_key(&name) {
                let error = Error::new(SqlState::SyntaxError, format!("option \"{name}\" provided more than once"));
                return Err(self.text.at(error, &place));
            }
            options.insert(name, value);
            if !self.takes_token(&Token::Comma) {
                break;
            }
        }
        self.expect_token(&Token::RParen)?;
        Ok(options)
    }

    /// Runs sqlparser over the rest; it stands where sqlparser stopped.
    pub(super) fn with_sqlparser<T>(
        &mut self,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T> {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        let dialect = Bounded::new(rest.len());
        let mut parser =
            Parser::new(&dialect).with_recursion_limit(MAX_DEPTH * 4).with_tokens_with_locations(rest.to_vec());
        let read = read(&mut parser).map_err(|error| {
            if matches!(error, ParserError::RecursionLimitExceeded) {
                return too_deep();
            }
            let error = self.text.parser_error(&error, rest, &self.end);
            // sqlparser takes a reserved word for an operand and stumbles later.
            match missing_operand(rest).map(|token| self.text.syntax_error(token)) {
                Some(earlier) if earlier.position() < error.position() => earlier,
                _ => error,
            }
        })?;
        self.at += parser.index();
        Ok(read)
    }

    /// A type of a parameter: also what only the catalog has.
    pub(crate) fn parameter_type(&mut self) -> Result<PgType> {
        if self.takes("PG_CATALOG") {
            self.expect_token(&Token::Period)?;
        }
        match self.takes("OID") {
            true => Ok(PgType::Oid),
            false => self.data_type(),
        }
    }

    /// A type of a column.
    pub(crate) fn data_type(&mut self) -> Result<PgType> {
        let place = self.peek();
        if !matches!(place.token, Token::Word(_)) {
            return self.unexpected();
        }
        let start = self.at;
        let parsed = self.with_sqlparser(|parser| parser.parse_data_type())?;
        let written = parsed.to_string();
        let known = PgType::parse(&written).filter(|known| !matches!(known, PgType::Oid | PgType::Record));
        if let Some(known) = known {
            return self.perhaps_array(known);
        }
        self.at = start;
        let error = refused_type(&written, UNSUPPORTED_TYPES);
        Err(self.text.at(error, &place))
    }

    /// The type, or an array of it if ARRAY follows.
    fn perhaps_array(&mut self, element: PgType) -> Result<PgType> {
        if element.element().is_some() || !self.takes("ARRAY") {
            return Ok(element);
        }
        if self.takes_token(&Token::LBracket) {
            self.with_sqlparser(|parser| parser.parse_literal_uint())?;
            self.expect_token(&Token::RBracket)?;
        }
        Ok(element.array())
    }

    /// Whether a query starts here.
    pub(crate) fn starts_query(&self) -> bool {
        match self.peek().token {
            Token::LParen => true,
            Token::Word(word) => {
                matches!(word.keyword, Keyword::SELECT | Keyword::VALUES | Keyword::TABLE | Keyword::WITH)
                    && word.quote_style.is_none()
            }
            _ => false,
        }
    }

    /// Whether the parenthesis here opens a query.
    pub(crate) fn starts_parenthesised_query(&self) -> bool {
        let inside = self.tokens[self.at.min(self.tokens.len())..].iter().find(|token| token.token != Token::LParen);
        matches!(inside.map(|token| &token.token), Some(Token::Word(word))
            if matches!(word.keyword, Keyword::SELECT | Keyword::VALUES | Keyword::TABLE | Keyword::WITH))
    }

    /// A query.
    pub(crate) fn query(&mut self) -> Result<Box<Query>> {
        if !self.starts_query() {
            return self.unexpected();
        }
        let start = self.at;
        let mut query = self.with_sqlparser(|parser| parser.parse_query())?;
        self.judge(start, query.as_ref())?;
        empty_select::unmark(&mut query);
        Ok(query)
    }

    /// Refuses a reserved word that stands for a name in what was read since `start`.
    pub(super) fn judge(&self, start: usize, read: &impl Judged) -> Result<()> {
        read.misplaced().map_or(Ok(()), |misplaced| Err(self.misplaced(start, &misplaced)))
    }

    /// How many tokens were taken.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// How many tokens are left.
    pub(super) fn place_from_end(&self) -> usize {
        self.tokens.len().saturating_sub(self.at)
    }

    /// The token so many places on.
    pub(super) fn token(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|token| &token.token)
    }

    /// The text of the tokens that were taken since.
    pub(super) fn written(&self, start: usize) -> String {
        match (self.tokens.get(start), self.tokens.get(self.at.wrapping_sub(1))) {
            (Some(first), Some(last)) if start < self.at => {
                self.text.sql()[self.text.byte(first.span.start)..self.text.byte(last.span.end)].to_string()
            }
            _ => String::new(),
        }
    }

    /// The text from one token to another, both in it.
    pub(super) fn written_between(&self, first: usize, last: usize) -> String {
        match (self.tokens.get(first), self.tokens.get(last)) {
            (Some(first), Some(last)) => {
                self.text.sql()[self.text.byte(first.span.start)..self.text.byte(last.span.end)].to_string()
            }
            _ => String::new(),
        }
    }

    /// Reads something that must end before the token at `end`.
    pub(super) fn until<T>(&mut self, end: usize, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let tail = self.tokens.split_off(end);
        let terminator = self.end.clone();
        if let Some(next) = tail.first() {
            self.end = next.clone();
        }
        let read = read(self);
        let read_all = self.at >= self.tokens.len();
        if read.is_ok() && !read_all {
            return self.unexpected();
        }
        self.end = terminator;
        self.tokens.extend(tail);
        read
    }

    /// The error of a reserved word among the tokens from `start` on.
    fn misplaced(&self, start: usize, misplaced: &Misplaced) -> Error {
        let mut rest = self.tokens[start..].iter().skip_while(|token| token.span.start != misplaced.at);
        let word = rest.next().unwrap_or(&self.end);
        match misplaced.fault {
            Fault::Here => self.text.syntax_error(word),
            Fault::After => self.text.syntax_error(rest.next().unwrap_or(&self.end)),
            Fault::Default => {
                self.text.at(Error::new(SqlState::SyntaxError, "DEFAULT is not allowed in this context"), word)
            }
        }
    }

    /// A query that ends before the token at `end`, with its text.
    pub(crate) fn query_until(&mut self, end: usize) -> Result<(Box<Query>, String)> {
        let start = self.at;
        let query = self.until(end, |cursor| cursor.query())?;
        Ok((query, self.written(start)))
    }
}

/// Types PostgreSQL has and Thalweg has not.
const UNSUPPORTED_TYPES: &[&str] = &[
    "time with time zone",
    "timetz",
    "xml",
    "inet",
    "cidr",
    "macaddr",
    "money",
    "bit",
    "bit varying",
    "varbit",
    "point",
    "line",
    "box",
    "path",
    "polygon",
    "circle",
    "tsvector",
    "tsquery",
    "name",
    "oid",
    "regclass",
    "serial",
    "bigserial",
    "smallserial",
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "\"char\"",
];

pub(super) fn cut(mut name: String) -> String {
    if name.len() > MAX_NAME {
        let mut end = MAX_NAME;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}
