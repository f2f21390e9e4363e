//! Looking ahead in a statement for what decides how it is read, and where a part of it ends.
//!
//! Takes no token.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::Cursor;

/// Where the word INSERT, UPDATE, DELETE or MERGE is in these tokens, if they begin with it or with a WITH before it.
pub(super) fn change_in(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 && word.quote_style.is_none() => {
                // Only at the start or behind a WITH query: some are called so.
                let behind = at == 0 || tokens[at - 1].token == Token::RParen;
                match word.keyword {
                    Keyword::INSERT | Keyword::UPDATE | Keyword::DELETE | Keyword::MERGE if behind => return Some(at),
                    Keyword::SELECT | Keyword::VALUES => return None,
                    Keyword::WITH => {}
                    _ if at == 0 => return None,
                    _ => {}
                }
            }
            _ if at == 0 => return None,
            _ => {}
        }
    }
    None
}

impl Cursor<'_> {
    /// Where the word INSERT, UPDATE, DELETE or MERGE is, if the statement is one with WITH before it.
    pub(crate) fn with_before_change(&self) -> Option<usize> {
        if self.sees("WITH") { change_in(&self.tokens[self.at..]).map(|ahead| self.at + ahead) } else { None }
    }

    /// Whether the statement has an option `connector`.
    pub(crate) fn names_connector(&self) -> bool {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        (0..rest.len()).any(|ahead| self.is_word(ahead, "WITH"))
            && (0..rest.len()).any(|ahead| {
                self.is_word(ahead, "CONNECTOR") && rest.get(ahead + 1).is_some_and(|next| next.token == Token::Eq)
            })
    }

    /// Where `WITH [CASCADED | LOCAL] CHECK OPTION` at the end of the statement starts; the
    /// statement's end if there is none.
    pub(crate) fn check_option(&self) -> usize {
        let count = self.tokens.len();
        let word_at = |at: usize, word: &str| at > self.at && self.is_word(at - self.at, word);
        if count < self.at + 4 || !word_at(count - 1, "OPTION") || !word_at(count - 2, "CHECK") {
            return count;
        }
        let with = if word_at(count - 3, "WITH") { count - 3 } else { count - 4 };
        if word_at(with, "WITH") { with } else { count }
    }

    /// Where `WITH (...)`, `WITH DATA` or `WITH NO DATA` at the end of the statement starts; the
    /// statement's end if there is none.
    pub(crate) fn trailing_with(&self) -> usize {
        let count = self.tokens.len();
        let word_at = |at: usize, word: &str| at > self.at && self.is_word(at - self.at, word);
        if count > self.at + 3 && word_at(count - 1, "DATA") {
            let with = if word_at(count - 2, "NO") { count - 3 } else { count - 2 };
            return if word_at(with, "WITH") { with } else { count };
        }
        if self.tokens.last().is_none_or(|last| last.token != Token::RParen) {
            return count;
        }
        let mut depth = 0_usize;
        for at in (self.at..count).rev() {
            match self.tokens[at].token {
                Token::RParen => depth += 1,
                Token::LParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return if at > self.at && word_at(at - 1, "WITH") { at - 1 } else { count };
            }
        }
        count
    }
}
