//! `FOR NO KEY UPDATE` and `FOR KEY SHARE` as sqlparser knows them: `FOR UPDATE` and `FOR SHARE`.
//!
//! No row is held less than another here, so that nothing is lost with the words.

use super::empty_select::is_word;
use super::source_text::Piece;

/// Takes the words away.
pub(crate) fn rewrite(piece: &mut Piece) {
    let at = |place: usize, word: &str| piece.tokens.get(place).is_some_and(|token| is_word(&token.token, word));
    let mut gone = Vec::new();
    for place in (0..piece.tokens.len()).filter(|place| at(*place, "FOR")) {
        if at(place + 1, "NO") && at(place + 2, "KEY") && at(place + 3, "UPDATE") {
            gone.extend([place + 1, place + 2]);
        } else if at(place + 1, "KEY") && at(place + 2, "SHARE") {
            gone.push(place + 1);
        }
    }
    gone.into_iter().rev().for_each(|place| _ = piece.tokens.remove(place));
}
