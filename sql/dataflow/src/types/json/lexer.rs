//! The tokens of JSON, and PostgreSQL's words for what is none.

use crate::error::{Error, Result, SqlState};

/// A token's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    Comma,
    Colon,
    String,
    Number,
    True,
    False,
    Null,
    End,
}

/// Reads token after token; it stands on one.
pub(super) struct Lexer<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    /// The token it stands on.
    pub(super) token: Token,
}

/// 22P02 with what is wrong.
pub(super) fn invalid(detail: String) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json").detail(detail)
}

/// Whether a byte may stand in a word.
fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80
}

impl<'a> Lexer<'a> {
    /// On the first token.
    pub(super) fn new(text: &'a str) -> Result<Lexer<'a>> {
        let mut lexer = Lexer { text, start: 0, end: 0, token: Token::End };
        lexer.advance()?;
        Ok(lexer)
    }

    /// The text of the token.
    pub(super) fn text(&self) -> &'a str {
        &self.text[self.start..self.end]
    }

    /// To the next token. Errors 22P02.
    pub(super) fn advance(&mut self) -> Result<()> {
        let bytes = self.text.as_bytes();
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.start = self.end + bytes[self.end..].iter().take_while(blank).count();
        self.end = self.start + 1;
        self.token = match bytes.get(self.start) {
            None => {
                self.end = self.start;
                Token::End
            }
            Some(b'{') => Token::ObjectStart,
            Some(b'}') => Token::ObjectEnd,
            Some(b'[') => Token::ArrayStart,
            Some(b']') => Token::ArrayEnd,
            Some(b',') => Token::Comma,
            Some(b':') => Token::Colon,
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(_) => self.word()?,
        };
        Ok(())
    }

    fn invalid_token(&self) -> Error {
        invalid(format!("Token \"{}\" is invalid.", self.text()))
    }

    fn word(&mut self) -> Result<Token> {
        let length = self.text.as_bytes()[self.start..].iter().take_while(|byte| is_word(byte)).count();
        self.end = self.start + length.max(1);
        match self.text() {
            "true" => Ok(Token::True),
            "false" => Ok(Token::False),
            "null" => Ok(Token::Null),
            _ => Err(self.invalid_token()),
        }
    }

    fn number(&mut self) -> Result<Token> {
        let bytes = self.text.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut at = self.start + usize::from(bytes[self.start] == b'-');
        let whole = digits(at);
        let mut valid = whole > 0;
        // A zero stands alone.
        at += if bytes.get(at) == Some(&b'0') { 1 } else { whole };
        if bytes.get(at) == Some(&b'.') {
            let fraction = digits(at + 1);
            valid &= fraction > 0;
            at += 1 + fraction;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let exponent = digits(at);
            valid &= exponent > 0;
            at += exponent;
        }
        let tail = bytes[at..].iter().take_while(|byte| is_word(byte)).count();
        self.end = at + tail;
        if valid && tail == 0 { Ok(Token::Number) } else { Err(self.invalid_token()) }
    }

    fn string(&mut self) -> Result<Token> {
        let bytes = self.text.as_bytes();
        let mut at = self.start + 1;
        loop {
            match bytes.get(at) {
                None => {
                    self.end = at;
                    return Err(self.invalid_token());
                }
                Some(b'"') => break,
                Some(b'\\') => at = self.escape(at + 1)?,
                Some(byte) if *byte < 32 => {
                    return Err(invalid(format!("Character with value 0x{byte:02x} must be escaped.")));
                }
                Some(_) => at += 1,
            }
        }
        self.end = at + 1;
        Ok(Token::String)
    }

    /// Behind the escape whose letter stands at a place.
    fn escape(&mut self, at: usize) -> Result<usize> {
        let bytes = self.text.as_bytes();
        match bytes.get(at) {
            None => {
                self.end = at;
                Err(self.invalid_token())
            }
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 1),
            Some(b'u') => {
                for place in at + 1..at + 5 {
                    if !bytes.get(place).is_some_and(u8::is_ascii_hexdigit) {
                        if place >= bytes.len() {
                            self.end = bytes.len();
                            return Err(self.invalid_token());
                        }
                        return Err(invalid("\"\\u\" must be followed by four hexadecimal digits.".into()));
                    }
                }
                Ok(at + 5)
            }
            Some(_) => {
                let letter = self.text[at..].chars().next().unwrap_or_default();
                Err(invalid(format!("Escape sequence \"\\{letter}\" is invalid.")))
            }
        }
    }
}
