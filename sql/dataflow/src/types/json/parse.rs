//! Reading JSON: whether a text is any, and its normal form.

use super::lexer::{Lexer, Token, invalid};
use super::text::{push_quoted, unescaped};
use crate::error::{Error, Result, SqlState};
use crate::types::numeric::Numeric;

/// The most arrays and objects within each other.
pub(super) const MAX_DEPTH: usize = 1000;

/// Whether a text is JSON. Errors 22P02, 54001.
pub fn check(text: &str) -> Result<()> {
    document(text, &mut Nothing)
}

/// The text in jsonb's normal form. Errors 22P02, 22P05, 22003, 54001.
pub fn normalize(text: &str) -> Result<String> {
    let mut out = Normal { out: String::with_capacity(text.len() + text.len() / 8) };
    document(text, &mut out)?;
    Ok(out.out)
}

/// What is made of the values that are read.
trait Output {
    /// A number, a string with its quotes, `true`, `false` or `null`.
    fn scalar(&mut self, token: Token, text: &str) -> Result<()>;
    fn array<'a>(&mut self, reader: &mut Reader<'a>) -> Result<()>;
    fn object<'a>(&mut self, reader: &mut Reader<'a>) -> Result<()>;
}

/// Only the syntax.
struct Nothing;

impl Output for Nothing {
    fn scalar(&mut self, _token: Token, _text: &str) -> Result<()> {
        Ok(())
    }

    fn array<'a>(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        while reader.element()? {
            reader.value(self)?;
        }
        Ok(())
    }

    fn object<'a>(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        while reader.field()?.is_some() {
            reader.value(self)?;
        }
        Ok(())
    }
}

/// The normal form.
struct Normal {
    out: String,
}

impl Output for Normal {
    fn scalar(&mut self, token: Token, text: &str) -> Result<()> {
        match token {
            Token::String => push_quoted(&unescaped(text)?, &mut self.out),
            Token::Number => self.out.push_str(&Numeric::parse(text)?.to_string()),
            _ => self.out.push_str(text),
        }
        Ok(())
    }

    fn array<'a>(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        self.out.push('[');
        let mut first = true;
        while reader.element()? {
            if !std::mem::take(&mut first) {
                self.out.push_str(", ");
            }
            reader.value(self)?;
        }
        self.out.push(']');
        Ok(())
    }

    fn object<'a>(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        // Each value is read to the end of the text and taken off it.
        let start = self.out.len();
        let mut fields: Vec<(String, String)> = Vec::new();
        while let Some(key) = reader.field()? {
            let key = unescaped(key)?.into_owned();
            reader.value(self)?;
            fields.push((key, self.out.split_off(start)));
        }
        // Stable: of equal keys the last one was given last.
        fields.sort_by(|(one, _), (other, _)| one.len().cmp(&other.len()).then_with(|| one.cmp(other)));
        self.out.push('{');
        let mut first = true;
        for (place, (key, value)) in fields.iter().enumerate() {
            if fields.get(place + 1).is_some_and(|(next, _)| next == key) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push_str(", ");
            }
            push_quoted(key, &mut self.out);
            self.out.push_str(": ");
            self.out.push_str(value);
        }
        self.out.push('}');
        Ok(())
    }
}

/// The grammar, over tokens.
struct Reader<'a> {
    lexer: Lexer<'a>,
    depth: usize,
    /// Whether a comma is due, in the innermost container.
    inside: bool,
}

fn document(text: &str, out: &mut impl Output) -> Result<()> {
    let mut reader = Reader { lexer: Lexer::new(text)?, depth: 0, inside: false };
    reader.value(out)?;
    match reader.lexer.token {
        Token::End => Ok(()),
        _ => Err(reader.expected("end of input")),
    }
}

impl<'a> Reader<'a> {
    fn expected(&self, what: &str) -> Error {
        invalid(match self.lexer.token {
            Token::End => "The input string ended unexpectedly.".into(),
            _ => format!("Expected {what}, but found \"{}\".", self.lexer.text()),
        })
    }

    fn value(&mut self, out: &mut impl Output) -> Result<()> {
        let token = self.lexer.token;
        match token {
            Token::ObjectStart | Token::ArrayStart => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded"));
                }
                let before = std::mem::replace(&mut self.inside, false);
                self.lexer.advance()?;
                if token == Token::ObjectStart {
                    out.object(self)?
                } else {
                    out.array(self)?
                }
                self.inside = before;
                self.depth -= 1;
                Ok(())
            }
            Token::String | Token::Number | Token::True | Token::False | Token::Null => {
                out.scalar(token, self.lexer.text())?;
                self.lexer.advance()
            }
            _ => Err(self.expected("JSON value")),
        }
    }

    /// Whether an array has one more element, which then comes.
    fn element(&mut self) -> Result<bool> {
        match (self.lexer.token, std::mem::replace(&mut self.inside, true)) {
            (Token::ArrayEnd, _) => self.lexer.advance().map(|()| false),
            (_, false) => Ok(true),
            (Token::Comma, true) => {
                self.lexer.advance()?;
                match self.lexer.token {
                    Token::ArrayEnd => Err(self.expected("JSON value")),
                    _ => Ok(true),
                }
            }
            _ => Err(self.expected("\",\" or \"]\"")),
        }
    }

    /// The key of an object's next field, in its quotes, the value of which then comes.
    fn field(&mut self) -> Result<Option<&'a str>> {
        match (self.lexer.token, std::mem::replace(&mut self.inside, true)) {
            (Token::ObjectEnd, _) => return self.lexer.advance().map(|()| None),
            (Token::String, false) => {}
            (_, false) => return Err(self.expected("string or \"}\"")),
            (Token::Comma, true) => {
                self.lexer.advance()?;
                if self.lexer.token != Token::String {
                    return Err(self.expected("string"));
                }
            }
            _ => return Err(self.expected("\",\" or \"}\"")),
        }
        let key = self.lexer.text();
        self.lexer.advance()?;
        if self.lexer.token != Token::Colon {
            return Err(self.expected("\":\""));
        }
        self.lexer.advance()?;
        Ok(Some(key))
    }
}
