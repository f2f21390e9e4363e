//! PREPARE, EXECUTE, DEALLOCATE.

use std::sync::Arc;

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::Result;

use super::ast::{Execute, Kind, Prepare, Statement};
use super::change;
use super::cursor::Cursor;
use super::merge;
use super::with_changes;

/// PREPARE name [(types)] AS statement; the word is taken already.
pub(super) fn prepare(cursor: &mut Cursor<'_>, request: &Arc<str>) -> Result<Kind> {
    let name = cursor.identifier()?;
    let mut types = Vec::new();
    if cursor.takes_token(&Token::LParen) {
        loop {
            types.push(if cursor.takes("UNKNOWN") { None } else { Some(cursor.parameter_type()?) });
            if !cursor.takes_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    }
    cursor.expect("AS")?;
    let start = cursor.place();
    let cuts = with_changes::cut(cursor)?;
    let kind = match cursor.with_before_change() {
        Some(end) => change::with(cursor, end)?,
        None if cursor.starts_query() => Kind::Query(cursor.query()?),
        None if cursor.takes("INSERT") => change::insert(cursor, Vec::new())?,
        None if cursor.takes("UPDATE") => change::update(cursor, Vec::new())?,
        None if cursor.takes("DELETE") => change::delete(cursor, Vec::new())?,
        None if cursor.takes("MERGE") => merge::merge(cursor, Vec::new())?,
        None => return cursor.unexpected(),
    };
    let text = cursor.written(start);
    let statement = Statement::new(&text, request, with_changes::whole(cuts, kind, request, &text)?);
    Ok(Kind::Prepare(Prepare { name, types, statement }))
}

/// EXECUTE name [(values)]; the word is taken already.
pub(super) fn execute(cursor: &mut Cursor<'_>) -> Result<Kind> {
    let name = cursor.identifier()?;
    let mut values = Vec::new();
    if cursor.takes_token(&Token::LParen) {
        loop {
            let (start, at) = (cursor.place(), cursor.position());
            cursor.expression()?;
            values.push((cursor.written(start), at));
            if !cursor.takes_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    }
    Ok(Kind::Execute(Execute { name, values }))
}

/// `DEALLOCATE [PREPARE] name | ALL`; the word is taken already.
pub(super) fn deallocate(cursor: &mut Cursor<'_>) -> Result<Kind> {
    cursor.takes("PREPARE");
    if cursor.takes("ALL") {
        return Ok(Kind::Deallocate(None));
    }
    cursor.identifier().map(Some).map(Kind::Deallocate)
}
