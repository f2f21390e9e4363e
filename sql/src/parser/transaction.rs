//! BEGIN, COMMIT, ROLLBACK, savepoints, and the modes of transactions.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result};

use super::ast::{Kind, Modes};
use super::cursor::Cursor;

/// The first words of the statements that are read here.
pub(super) const WORDS: [&str; 8] = ["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"];

/// One of them.
pub(super) fn transaction(cursor: &mut Cursor<'_>) -> Result<Kind> {
    if cursor.takes("START TRANSACTION") {
        return Ok(Kind::Begin("START TRANSACTION", modes(cursor)?));
    }
    if cursor.takes("SAVEPOINT") {
        return cursor.identifier().map(Kind::Savepoint);
    }
    if cursor.takes("RELEASE") {
        cursor.takes("SAVEPOINT");
        return cursor.identifier().map(Kind::Release);
    }
    let begins = cursor.takes("BEGIN");
    let commits = !begins && (cursor.takes("COMMIT") || cursor.takes("END"));
    if !begins && !commits && !cursor.takes("ROLLBACK") && !cursor.takes("ABORT") {
        cursor.next();
        return cursor.unexpected();
    }
    let _ = cursor.takes("WORK") || cursor.takes("TRANSACTION");
    if begins {
        return Ok(Kind::Begin("BEGIN", modes(cursor)?));
    }
    if !commits && cursor.takes("TO") {
        cursor.takes("SAVEPOINT");
        return cursor.identifier().map(Kind::RollbackTo);
    }
    if cursor.sees("PREPARED") {
        return Err(Error::unsupported("a prepared transaction"));
    }
    let chain = cursor.takes("AND CHAIN");
    if !chain {
        cursor.takes("AND NO CHAIN");
    }
    Ok(if commits { Kind::Commit { chain } } else { Kind::Rollback { chain } })
}

/// Isolation levels and access modes, as far as the statement goes.
pub(super) fn modes(cursor: &mut Cursor<'_>) -> Result<Modes> {
    const LEVELS: [(&str, &str); 4] = [
        ("ISOLATION LEVEL SERIALIZABLE", "serializable"),
        ("ISOLATION LEVEL REPEATABLE READ", "repeatable read"),
        ("ISOLATION LEVEL READ COMMITTED", "read committed"),
        ("ISOLATION LEVEL READ UNCOMMITTED", "read uncommitted"),
    ];
    let mut modes = Modes::default();
    while !cursor.at_end() {
        if let Some((_, level)) = LEVELS.iter().find(|(words, _)| cursor.takes(words)) {
            modes.isolation = Some(level);
        } else if cursor.takes("READ WRITE") {
            modes.read_only = Some(false);
        } else if cursor.takes("READ ONLY") {
            modes.read_only = Some(true);
        } else if !cursor.takes("NOT DEFERRABLE") && !cursor.takes("DEFERRABLE") {
            return cursor.unexpected();
        }
        cursor.takes_token(&Token::Comma);
    }
    Ok(modes)
}
