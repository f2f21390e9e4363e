//! CREATE INDEX and DROP INDEX.
//!
//! Checks form only. What no index here can be (of another method, with storage parameters) is refused by name.

use datafusion::sql::sqlparser::ast;
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
    /// USING, in lower case.
    pub(crate) method: Option<String>,
    /// Its keys, each with what stands behind it as PostgreSQL prints it: ` DESC`.
    pub(crate) keys: Vec<(Key, String)>,
    /// INCLUDE.
    pub(crate) included: Vec<ColumnName>,
    /// WHERE: the condition, and how it was written.
    pub(crate) predicate: Option<(ast::Expr, String)>,
}

/// A key of an index.
#[derive(Debug)]
pub(crate) enum Key {
    /// A column.
    Column(ColumnName),
    /// An expression, and how it was written.
    Expression(Box<ast::Expr>, String),
}

/// DROP INDEX.
#[derive(Debug)]
pub(crate) struct DropIndex {
    /// IF EXISTS.
    pub(crate) if_exists: bool,
    /// Which.
    pub(crate) names: Vec<Name>,
}

/// Operator classes, each with the method whose own it is; they change no answer.
const CLASSES: [(&str, &str); 12] = [
    ("bpchar_ops", "btree"),
    ("bpchar_pattern_ops", ""),
    ("int2_ops", "btree"),
    ("int4_ops", "btree"),
    ("int8_ops", "btree"),
    ("jsonb_ops", "gin"),
    ("jsonb_path_ops", ""),
    ("numeric_ops", "btree"),
    ("text_ops", "btree"),
    ("text_pattern_ops", ""),
    ("varchar_ops", ""),
    ("varchar_pattern_ops", ""),
];

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
    let method = if cursor.takes("USING") { Some(cursor.identifier()?) } else { None };
    cursor.expect_token(&Token::LParen)?;
    let mut keys = vec![key(cursor, method.as_deref())?];
    while cursor.takes_token(&Token::Comma) {
        keys.push(key(cursor, method.as_deref())?);
    }
    cursor.expect_token(&Token::RParen)?;
    let included = if cursor.takes("INCLUDE") { included(cursor)? } else { Vec::new() };
    cursor.takes("NULLS DISTINCT");
    if let Some(word) = ["NULLS", "WITH", "TABLESPACE"].into_iter().find(|word| cursor.sees(word)) {
        return Err(cursor.error_here(Error::unsupported(format!("CREATE INDEX ... {word}"))));
    }
    let predicate = if cursor.takes("WHERE") { Some(cursor.written_expression()?) } else { None };
    let index = CreateIndex { unique, if_not_exists, name, table, method, keys, included, predicate };
    Ok(Kind::CreateIndex(Box::new(index)))
}

/// The columns of INCLUDE; the word is taken already.
fn included(cursor: &mut Cursor<'_>) -> Result<Vec<ColumnName>> {
    cursor.expect_token(&Token::LParen)?;
    let mut columns = Vec::new();
    loop {
        let at = cursor.position();
        columns.push(ColumnName { name: cursor.identifier()?, at, part: Vec::new() });
        if !cursor.takes_token(&Token::Comma) {
            cursor.expect_token(&Token::RParen)?;
            return Ok(columns);
        }
    }
}

fn key(cursor: &mut Cursor<'_>, method: Option<&str>) -> Result<(Key, String)> {
    let at = cursor.position();
    let called = matches!(cursor.token(1), Some(Token::LParen | Token::Period));
    let key = if cursor.takes_token(&Token::LParen) {
        let (expression, text) = cursor.written_expression()?;
        cursor.expect_token(&Token::RParen)?;
        Key::Expression(Box::new(expression), text)
    } else if called {
        // Only a call stands without parentheses.
        let (call, text) = cursor.written_call()?;
        Key::Expression(Box::new(call), text)
    } else {
        Key::Column(ColumnName { name: cursor.identifier()?, at, part: Vec::new() })
    };
    if cursor.sees("COLLATE") {
        return Err(cursor.error_here(Error::unsupported("COLLATE in CREATE INDEX")));
    }
    let class = class(cursor, method)?;
    Ok((key, class + order(cursor)))
}

/// An operator class as it is printed; nothing if it is the one that the method takes by itself.
fn class(cursor: &mut Cursor<'_>, method: Option<&str>) -> Result<String> {
    let Some(word) = cursor.word() else { return Ok(String::new()) };
    if ["ASC", "DESC", "NULLS"].contains(&word.as_str()) {
        return Ok(String::new());
    }
    let word = word.to_ascii_lowercase();
    let Some((_, of)) = CLASSES.iter().find(|(name, _)| *name == word) else {
        return Err(cursor.error_here(Error::unsupported(format!("the operator class {word}"))));
    };
    cursor.next();
    Ok(if *of == method.unwrap_or("btree") { String::new() } else { format!(" {word}") })
}

fn order(cursor: &mut Cursor<'_>) -> &'static str {
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
    match (descending, nulls_first) {
        (false, false) => "",
        (false, true) => " NULLS FIRST",
        (true, true) => " DESC",
        (true, false) => " DESC NULLS LAST",
    }
}

/// DROP INDEX; the words are taken already.
pub(crate) fn drop(cursor: &mut Cursor<'_>) -> Result<Kind> {
    cursor.takes("CONCURRENTLY");
    let if_exists = cursor.takes("IF EXISTS");
    let names = cursor.names()?;
    let _ = cursor.takes("CASCADE") || cursor.takes("RESTRICT");
    Ok(Kind::DropIndex(DropIndex { if_exists, names }))
}
