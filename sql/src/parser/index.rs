//! CREATE INDEX and DROP INDEX.
//!
//! What no index here can be (of an expression, of some rows, of another method) is refused by name.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result};

use super::ast::{Kind, Name};
use super::change::ColumnName;
use super::cursor::Cursor;

/// CREATE INDEX.
#[derive(Debug)]
pub(crate) struct CreateIndex {
    /// UNIQUE.
    pub(crate) unique: bool,
    /// IF NOT EXISTS.
    pub(crate) if_not_exists: bool,
    /// Its name, if it is given one.
    pub(crate) name: Option<String>,
    /// The table.
    pub(crate) table: Name,
    /// The columns, each with what stands behind it as PostgreSQL prints it: ` DESC`.
    pub(crate) columns: Vec<(ColumnName, String)>,
}

/// DROP INDEX.
#[derive(Debug)]
pub(crate) struct DropIndex {
    /// IF EXISTS.
    pub(crate) if_exists: bool,
    /// Which.
    pub(crate) names: Vec<Name>,
}

/// CREATE INDEX; CREATE is taken already.
pub(crate) fn create(cursor: &mut Cursor<'_>) -> Result<Kind> {
    let unique = cursor.takes("UNIQUE");
    cursor.expect("INDEX")?;
    cursor.takes("CONCURRENTLY");
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let name = if !if_not_exists && cursor.sees("ON") { None } else { Some(cursor.identifier()?) };
    cursor.expect("ON")?;
    cursor.takes("ONLY");
    let table = cursor.name()?;
    if cursor.takes("USING") && !cursor.takes("BTREE") {
        let method = cursor.word().unwrap_or_default();
        return Err(cursor.error_here(Error::unsupported(format!("CREATE INDEX ... USING {method}"))));
    }
    cursor.expect_token(&Token::LParen)?;
    let mut columns = vec![column(cursor)?];
    while cursor.takes_token(&Token::Comma) {
        columns.push(column(cursor)?);
    }
    cursor.expect_token(&Token::RParen)?;
    cursor.takes("NULLS DISTINCT");
    if cursor.sees("WHERE") {
        return Err(cursor.error_here(Error::unsupported("an index of some rows (CREATE INDEX ... WHERE)")));
    }
    if let Some(word) = ["INCLUDE", "NULLS", "WITH", "TABLESPACE"].into_iter().find(|word| cursor.sees(word)) {
        return Err(cursor.error_here(Error::unsupported(format!("CREATE INDEX ... {word}"))));
    }
    Ok(Kind::CreateIndex(CreateIndex { unique, if_not_exists, name, table, columns }))
}

fn column(cursor: &mut Cursor<'_>) -> Result<(ColumnName, String)> {
    let expression = |cursor: &Cursor<'_>| Err(cursor.error_here(Error::unsupported("an index on an expression")));
    if cursor.peek().token == Token::LParen {
        return expression(cursor);
    }
    let at = cursor.position();
    let name = cursor.identifier()?;
    match cursor.peek().token {
        Token::LParen | Token::Period => return expression(cursor),
        Token::Word(_) if cursor.sees("COLLATE") => {
            return Err(cursor.error_here(Error::unsupported("COLLATE in CREATE INDEX")));
        }
        Token::Word(_) if !["ASC", "DESC", "NULLS"].iter().any(|word| cursor.sees(word)) => {
            return Err(cursor.error_here(Error::unsupported("an operator class")));
        }
        _ => {}
    }
    let descending = cursor.takes("DESC");
    if !descending {
        cursor.takes("ASC");
    }
    let nulls_first = if cursor.takes("NULLS FIRST") {
        true
    } else if cursor.takes("NULLS LAST") {
        false
    } else {
        descending
    };
    let order = match (descending, nulls_first) {
        (false, false) => "",
        (false, true) => " NULLS FIRST",
        (true, true) => " DESC",
        (true, false) => " DESC NULLS LAST",
    };
    Ok((ColumnName { name, at }, order.to_string()))
}

/// DROP INDEX; the words are taken already.
pub(crate) fn drop(cursor: &mut Cursor<'_>) -> Result<Kind> {
    cursor.takes("CONCURRENTLY");
    let if_exists = cursor.takes("IF EXISTS");
    let names = cursor.names()?;
    let _ = cursor.takes("CASCADE") || cursor.takes("RESTRICT");
    Ok(Kind::DropIndex(DropIndex { if_exists, names }))
}
