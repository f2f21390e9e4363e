//! LOCK TABLE.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::Result;

use super::ast::{Kind, Name};
use super::cursor::Cursor;
use crate::locks::Mode;

/// LOCK TABLE.
#[derive(Debug)]
pub(crate) struct LockTable {
    /// The relations.
    pub(crate) names: Vec<Name>,
    /// How.
    pub(crate) mode: Mode,
    /// NOWAIT.
    pub(crate) nowait: bool,
}

/// The modes' words; one that begins another stands behind it.
const MODES: [(&str, Mode); 8] = [
    ("ACCESS SHARE", Mode::AccessShare),
    ("ROW SHARE", Mode::RowShare),
    ("ROW EXCLUSIVE", Mode::RowExclusive),
    ("SHARE UPDATE EXCLUSIVE", Mode::ShareUpdateExclusive),
    ("SHARE ROW EXCLUSIVE", Mode::ShareRowExclusive),
    ("SHARE", Mode::Share),
    ("EXCLUSIVE", Mode::Exclusive),
    ("ACCESS EXCLUSIVE", Mode::AccessExclusive),
];

/// After LOCK.
pub(crate) fn lock(cursor: &mut Cursor<'_>) -> Result<Kind> {
    cursor.takes("TABLE");
    let mut names = Vec::new();
    loop {
        let only = cursor.takes("ONLY");
        names.push(cursor.name()?);
        let _ = !only && cursor.takes_token(&Token::Mul);
        if !cursor.takes_token(&Token::Comma) {
            break;
        }
    }
    let mut mode = Mode::AccessExclusive;
    if cursor.takes("IN") {
        let Some((_, found)) = MODES.into_iter().find(|(words, _)| cursor.takes(words)) else {
            return cursor.unexpected();
        };
        mode = found;
        cursor.expect("MODE")?;
    }
    let nowait = cursor.takes("NOWAIT");
    Ok(Kind::Lock(LockTable { names, mode, nowait }))
}
