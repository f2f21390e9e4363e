//! The tokens of jsonpath.

use thalweg_dataflow::types::json;
use thalweg_dataflow::{Error, Result, SqlState};

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Number(String),
    Variable(String),
    Sign(&'static str),
    End,
}

const SIGNS: &[&str] = &[
    "**", "==", "!=", "<>", "<=", ">=", "&&", "||", "$", "@", ".", "*", "[", "]", "(", ")", "{", "}", ",", "?", "!",
    "<", ">", "+", "-", "/", "%",
];

/// The text behind blanks and comments.
pub(super) fn skip_blanks(text: &str) -> Result<&str> {
    let blanks = [' ', '\t', '\n', '\r', '\u{c}'];
    let mut text = text.trim_start_matches(blanks);
    while let Some(comment) = text.strip_prefix("/*") {
        let unended = || Error::new(SqlState::SyntaxError, "unexpected end of comment at end of jsonpath input");
        text = comment.split_once("*/").ok_or_else(unended)?.1.trim_start_matches(blanks);
    }
    Ok(text)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || !c.is_ascii()
}

/// The token that a text begins with, and how long it is.
pub(super) fn token(text: &str) -> Result<(Token, usize)> {
    let wrong =
        |at: char| Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{at}\" of jsonpath input"));
    let word = |text: &str| text.chars().take_while(|c| is_word(*c)).collect::<String>();
    Ok(match text.chars().next() {
        None => (Token::End, 0),
        Some('"') => quoted(text)?,
        Some('$') if text[1..].starts_with('"') => match quoted(&text[1..])? {
            (Token::Text(name), length) => (Token::Variable(name), length + 1),
            _ => return Err(wrong('$')),
        },
        Some('$') if text[1..].starts_with(is_word) => {
            let name = word(&text[1..]);
            let length = name.len() + 1;
            (Token::Variable(name), length)
        }
        Some(c) if c.is_ascii_digit() || c == '.' && text[1..].starts_with(|c: char| c.is_ascii_digit()) => {
            number(text)?
        }
        Some(c) if is_word(c) => {
            let word = word(text);
            let length = word.len();
            (Token::Word(word), length)
        }
        Some(other) => match SIGNS.iter().find(|sign| text.starts_with(**sign)) {
            Some(sign) => (Token::Sign(sign), sign.len()),
            None => return Err(wrong(other)),
        },
    })
}

/// A string in quotes, and how long it is in the text.
fn quoted(text: &str) -> Result<(Token, usize)> {
    let mut escaped = false;
    let end = text[1..].char_indices().find(|(_, c)| {
        let found = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        found
    });
    let Some((end, _)) = end else {
        return Err(Error::new(SqlState::SyntaxError, "unexpected end of quoted string at end of jsonpath input"));
    };
    let length = end + 2;
    let inside = json::string_of(&text[..length])?.into_owned();
    Ok((Token::Text(inside), length))
}

fn number(text: &str) -> Result<(Token, usize)> {
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut at = digits(0);
    if text[at..].starts_with('.') && text[at + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        at += 1 + digits(at + 1);
    }
    if text[at..].starts_with(['e', 'E']) {
        let sign = usize::from(text[at + 1..].starts_with(['+', '-']));
        if digits(at + 1 + sign) > 0 {
            at += 1 + sign + digits(at + 1 + sign);
        }
    }
    let tail = text[at..].chars().next().filter(|c| c.is_alphanumeric() || *c == '_');
    if tail.is_some() {
        let shown: String = text.chars().take(at + 1).collect();
        let message = format!("trailing junk after numeric literal at or near \"{shown}\" of jsonpath input");
        return Err(Error::new(SqlState::SyntaxError, message));
    }
    let shown = &text[..at];
    let number = if shown.starts_with('.') { format!("0{shown}") } else { shown.to_string() };
    Ok((Token::Number(number), at))
}
