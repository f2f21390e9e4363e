//! Words of PostgreSQL's grammar that sqlparser does not know, as something that it does.
//!
//! `name := x` becomes `name => x`, `f(VARIADIC x)` an argument of a name that nobody can write, `BETWEEN SYMMETRIC a AND b` a
//! call of such a function around `a`; `BETWEEN ASYMMETRIC` says nothing, nor does the FROM of `trim(both FROM x)` and `trim(FROM x)`. Names are
//! cut to the length that PostgreSQL keeps. `LIKE ALL (...)` becomes `~~ ALL (...)`,
//! `ANY (VALUES ...)` a query of these.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::{MAX_NAME, cut};
use super::empty_select::is_word;
use super::source_text::Piece;

/// The name of an argument that was written VARIADIC.
pub(crate) const VARIADIC: &str = "\u{1}variadic";
/// The name of the function around the first bound of BETWEEN SYMMETRIC.
pub(crate) const SYMMETRIC: &str = "\u{1}symmetric";

/// The name of VALUES behind ANY or ALL.
const LIST: &str = "\u{1}values";

/// Marks every one of them.
pub(crate) fn rewrite(piece: &mut Piece) {
    let tokens = &mut piece.tokens;
    for token in tokens.iter_mut() {
        if let Token::Word(word) = &mut token.token
            && word.value.len() > MAX_NAME
        {
            word.value = cut(std::mem::take(&mut word.value));
        }
    }
    let mut place = 1;
    while place < tokens.len() {
        let (span, before) = (tokens[place].span, &tokens[place - 1].token);
        let spanned = |token: Token| TokenWithSpan { token, span };
        let name = |name: &str| spanned(Token::make_word(name, Some('"')));
        if tokens[place].token == Token::Assignment {
            tokens[place] = spanned(Token::RArrow);
        } else if is_word(&tokens[place].token, "VARIADIC") && matches!(before, Token::LParen | Token::Comma) {
            tokens[place] = name(VARIADIC);
            tokens.insert(place + 1, spanned(Token::RArrow));
        } else if is_word(&tokens[place].token, "ALL")
            && tokens.get(place + 1).is_some_and(|next| next.token == Token::LParen)
            && let Some((words, operator)) = like(tokens, place)
        {
            tokens.splice(place - words..place, [spanned(operator)]);
            place -= words - 1;
        } else if is_word(&tokens[place].token, "VALUES")
            && is_quantified(&tokens[..place])
            && let Some(end) = its_end(tokens, place)
        {
            let word = |word: &str| spanned(Token::make_keyword(word));
            tokens.splice(end..end, [spanned(Token::RParen), word("AS"), name(LIST)]);
            let select = [word("SELECT"), spanned(Token::Mul), word("FROM"), spanned(Token::LParen)];
            tokens.splice(place..place, select);
            place += 4;
        } else if is_word(before, "BETWEEN") && is_word(&tokens[place].token, "ASYMMETRIC")
            || is_word(&tokens[place].token, "FROM") && opens_trim(&tokens[..place])
        {
            tokens.remove(place);
        } else if is_word(before, "BETWEEN")
            && is_word(&tokens[place].token, "SYMMETRIC")
            && let Some(and) = its_and(tokens, place)
        {
            tokens.insert(and, spanned(Token::RParen));
            tokens[place] = name(SYMMETRIC);
            tokens.insert(place + 1, spanned(Token::LParen));
        }
        place += 1;
    }
}

/// Whether `trim(`, or that and the side to trim, is the last of these.
fn opens_trim(tokens: &[TokenWithSpan]) -> bool {
    let sides = ["BOTH", "LEADING", "TRAILING"];
    let sided = tokens.last().is_some_and(|last| sides.iter().any(|side| is_word(&last.token, side)));
    let rest = &tokens[..tokens.len() - usize::from(sided)];
    matches!(rest, [.., name, open] if is_word(&name.token, "TRIM") && open.token == Token::LParen)
}

/// Whether the last of these is the parenthesis of `ANY (`, `SOME (` or `ALL (`.
fn is_quantified(tokens: &[TokenWithSpan]) -> bool {
    let [.., before, word, open] = tokens else { return false };
    let quantifier = ["ANY", "SOME", "ALL"].iter().any(|quantifier| is_word(&word.token, quantifier));
    let united = ["UNION", "INTERSECT", "EXCEPT"].iter().any(|set| is_word(&before.token, set));
    open.token == Token::LParen && quantifier && !united
}

/// Where the parenthesis around this place is closed.
fn its_end(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(from) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return Some(place),
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The words of a LIKE before this place, and the operator that they are.
fn like(tokens: &[TokenWithSpan], place: usize) -> Option<(usize, Token)> {
    let word = &tokens[place - 1].token;
    let folded = is_word(word, "ILIKE");
    if !folded && !is_word(word, "LIKE") {
        return None;
    }
    let negated = place > 1 && is_word(&tokens[place - 2].token, "NOT");
    let operator = match (negated, folded) {
        (false, false) => Token::DoubleTilde,
        (false, true) => Token::DoubleTildeAsterisk,
        (true, false) => Token::ExclamationMarkDoubleTilde,
        (true, true) => Token::ExclamationMarkDoubleTildeAsterisk,
    };
    Some((1 + usize::from(negated), operator))
}

/// The AND of a BETWEEN: the next that is in no parentheses and no CASE.
fn its_and(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(from) {
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            token if is_word(token, "CASE") => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.checked_sub(1)?,
            token if is_word(token, "END") => depth = depth.checked_sub(1)?,
            token if depth == 0 && is_word(token, "AND") => return Some(place),
            _ => {}
        }
    }
    None
}
