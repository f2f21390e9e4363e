//! `EXCLUDE ...` behind the frame of a window.
//!
//! sqlparser does not know it. It is taken out and becomes a part of the name of the window that this
//! one builds on, behind a character that no name begins with.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::empty_select::is_word;
use super::source_text::Piece;

/// Before what is excluded.
pub(crate) const MARK: char = '\u{1}';

/// What may be excluded.
const KINDS: [(&[&str], &str); 4] = [
    (&["CURRENT", "ROW"], "current row"),
    (&["NO", "OTHERS"], "no others"),
    (&["GROUP"], "group"),
    (&["TIES"], "ties"),
];

/// What stands in a window besides the name of another.
const CLAUSES: [&str; 5] = ["PARTITION", "ORDER", "ROWS", "RANGE", "GROUPS"];

/// Moves every EXCLUDE of the statement.
pub(crate) fn rewrite(piece: &mut Piece) {
    let mut place = 0;
    while place < piece.tokens.len() {
        match excluded(&piece.tokens, place) {
            Some((words, kind)) => moved(&mut piece.tokens, place, words, kind),
            None => place += 1,
        }
    }
}

/// Whether an EXCLUDE stands here: how many words belong to it, and what it says.
fn excluded(tokens: &[TokenWithSpan], place: usize) -> Option<(usize, &'static str)> {
    let before = &tokens[place.checked_sub(1)?].token;
    let follows_frame = ["ROW", "PRECEDING", "FOLLOWING"].iter().any(|word| is_word(before, word));
    if !follows_frame || !is_word(&tokens[place].token, "EXCLUDE") {
        return None;
    }
    let (words, kind) = KINDS.iter().find(|(words, _)| {
        let mut behind = tokens[place + 1..].iter();
        words.iter().all(|word| behind.next().is_some_and(|token| is_word(&token.token, word)))
            && behind.next().is_some_and(|token| token.token == Token::RParen)
    })?;
    Some((1 + words.len(), kind))
}

fn moved(tokens: &mut Vec<TokenWithSpan>, place: usize, words: usize, kind: &str) {
    let span = tokens[place].span;
    tokens.drain(place..place + words);
    let mut depth = 0_usize;
    let open = tokens[..place].iter().rposition(|token| match token.token {
        Token::RParen => {
            depth += 1;
            false
        }
        Token::LParen if depth > 0 => {
            depth -= 1;
            false
        }
        Token::LParen => true,
        _ => false,
    });
    let Some(open) = open else { return };
    let base = match tokens.get(open + 1).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_some() => Some(word.value.clone()),
        Some(Token::Word(word)) if !CLAUSES.iter().any(|clause| word.value.eq_ignore_ascii_case(clause)) => {
            Some(word.value.to_ascii_lowercase())
        }
        _ => None,
    };
    if base.is_some() {
        tokens.remove(open + 1);
    }
    let name = format!("{MARK}{kind}{MARK}{}", base.unwrap_or_default());
    tokens.insert(open + 1, TokenWithSpan { token: Token::make_word(&name, Some('"')), span });
}

/// What the name of a window says: what is excluded, and the name of the window it builds on.
pub(crate) fn unmark(name: &str) -> (Option<&str>, Option<&str>) {
    match name.strip_prefix(MARK).and_then(|rest| rest.split_once(MARK)) {
        Some((kind, base)) => (Some(kind), Some(base).filter(|base| !base.is_empty())),
        None => (None, Some(name)),
    }
}
