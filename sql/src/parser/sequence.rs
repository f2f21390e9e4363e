//! CREATE and ALTER SEQUENCE, and the options of both.
//!
//! Checks form only: what the numbers may be is looked at when the sequence is made.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;

use super::ast::{Kind, Name};
use super::cursor::Cursor;

/// The options that were written.
#[derive(Debug, Clone, Default)]
pub(crate) struct SequenceOptions {
    /// AS.
    pub(crate) data_type: Option<PgType>,
    /// INCREMENT.
    pub(crate) increment: Option<i64>,
    /// MINVALUE; `None` inside: NO MINVALUE.
    pub(crate) min: Option<Option<i64>>,
    /// MAXVALUE.
    pub(crate) max: Option<Option<i64>>,
    /// START.
    pub(crate) start: Option<i64>,
    /// RESTART; `None` inside: with the start.
    pub(crate) restart: Option<Option<i64>>,
    /// CACHE.
    pub(crate) cache: Option<i64>,
    /// CYCLE, NO CYCLE.
    pub(crate) cycle: Option<bool>,
    /// OWNED BY a column; `None` inside: NONE.
    pub(crate) owned_by: Option<Option<(Name, String)>>,
}

/// CREATE SEQUENCE.
#[derive(Debug)]
pub(crate) struct CreateSequence {
    /// TEMPORARY.
    pub(crate) temporary: bool,
    /// IF NOT EXISTS.
    pub(crate) if_not_exists: bool,
    /// Its name.
    pub(crate) name: Name,
    /// The options.
    pub(crate) options: SequenceOptions,
}

/// ALTER SEQUENCE.
#[derive(Debug)]
pub(crate) struct AlterSequence {
    /// IF EXISTS.
    pub(crate) if_exists: bool,
    /// Which.
    pub(crate) name: Name,
    /// The options.
    pub(crate) options: SequenceOptions,
}

/// CREATE SEQUENCE; the words are taken already.
pub(crate) fn create(cursor: &mut Cursor<'_>, temporary: bool) -> Result<Kind> {
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let name = cursor.name()?;
    let options = options(cursor)?;
    if let Some(word) = cursor.sees("RESTART").then_some("RESTART") {
        return Err(cursor.error_here(Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{word}\""))));
    }
    Ok(Kind::CreateSequence(CreateSequence { temporary, if_not_exists, name, options }))
}

/// ALTER SEQUENCE with options; `None`: something else is altered, and nothing was taken.
pub(crate) fn alter(cursor: &mut Cursor<'_>) -> Option<Result<Kind>> {
    let start = cursor.at;
    if !cursor.takes("SEQUENCE") {
        return None;
    }
    let if_exists = cursor.takes("IF EXISTS");
    let name = cursor.name();
    // What concerns every kind of relation is read with the others.
    if name.is_ok() && ["OWNER TO", "RENAME TO", "SET SCHEMA"].iter().any(|words| cursor.sees(words)) {
        cursor.at = start;
        return None;
    }
    Some(name.and_then(|name| {
        if cursor.at_end() {
            return cursor.unexpected();
        }
        let options = options(cursor)?;
        Ok(Kind::AlterSequence(AlterSequence { if_exists, name, options }))
    }))
}

/// Options as long as there are any.
pub(crate) fn options(cursor: &mut Cursor<'_>) -> Result<SequenceOptions> {
    let mut options = SequenceOptions::default();
    loop {
        let place = cursor.at;
        let twice = if cursor.takes("AS") {
            options.data_type.replace(cursor.data_type()?).is_some()
        } else if cursor.takes("INCREMENT") {
            cursor.takes("BY");
            options.increment.replace(number(cursor)?).is_some()
        } else if cursor.takes("MINVALUE") {
            options.min.replace(Some(number(cursor)?)).is_some()
        } else if cursor.takes("NO MINVALUE") {
            options.min.replace(None).is_some()
        } else if cursor.takes("MAXVALUE") {
            options.max.replace(Some(number(cursor)?)).is_some()
        } else if cursor.takes("NO MAXVALUE") {
            options.max.replace(None).is_some()
        } else if cursor.takes("START") {
            cursor.takes("WITH");
            options.start.replace(number(cursor)?).is_some()
        } else if cursor.takes("RESTART") {
            let with = cursor.takes("WITH");
            let given = with || matches!(cursor.peek().token, Token::Number(..) | Token::Minus | Token::Plus);
            let value = if given { Some(number(cursor)?) } else { None };
            options.restart.replace(value).is_some()
        } else if cursor.takes("CACHE") {
            options.cache.replace(number(cursor)?).is_some()
        } else if cursor.takes("CYCLE") {
            options.cycle.replace(true).is_some()
        } else if cursor.takes("NO CYCLE") {
            options.cycle.replace(false).is_some()
        } else if cursor.takes("OWNED BY") {
            options.owned_by.replace(owner(cursor)?).is_some()
        } else {
            return Ok(options);
        };
        if twice {
            cursor.at = place;
            let error = Error::new(SqlState::SyntaxError, "conflicting or redundant options");
            return Err(cursor.error_here(error));
        }
    }
}

fn number(cursor: &mut Cursor<'_>) -> Result<i64> {
    let negative = cursor.takes_token(&Token::Minus);
    let _ = !negative && cursor.takes_token(&Token::Plus);
    let Token::Number(digits, _) = cursor.peek().token else { return cursor.unexpected() };
    let signed = if negative { format!("-{digits}") } else { digits };
    let value = signed.parse().map_err(|_| {
        let message = format!("value \"{signed}\" is out of range for type bigint");
        cursor.error_here(Error::new(SqlState::NumericOutOfRange, message))
    })?;
    cursor.next();
    Ok(value)
}

/// `table.column`, `schema.table.column` or NONE.
fn owner(cursor: &mut Cursor<'_>) -> Result<Option<(Name, String)>> {
    if cursor.takes("NONE") {
        return Ok(None);
    }
    let mut parts = vec![cursor.identifier()?];
    while cursor.takes_token(&Token::Period) {
        parts.push(cursor.identifier()?);
    }
    let column = parts.pop().unwrap_or_default();
    let (Some(name), true) = (parts.pop(), parts.len() <= 2) else {
        return Err(Error::new(SqlState::SyntaxError, "invalid OWNED BY option")
            .hint("Specify OWNED BY table.column or OWNED BY NONE."));
    };
    Ok(Some((Name { schema: parts.pop(), name }, column)))
}
