//! MERGE, as PostgreSQL 15's grammar has it: no RETURNING, no BY SOURCE.
//!
//! Resolves no name.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::Kind;
use super::change::{Assignment, ColumnName, Overriding, Target, assignments, overriding, target, target_list};
use super::cursor::Cursor;

/// MERGE.
#[derive(Debug)]
pub(crate) struct Merge {
    /// WITH before the statement; behind it what sees its queries.
    pub(crate) with: Vec<ast::With>,
    /// The table.
    pub(crate) target: Target,
    /// USING.
    pub(crate) source: ast::TableWithJoins,
    /// ON.
    pub(crate) on: ast::Expr,
    /// WHEN, in order; one at least.
    pub(crate) whens: Vec<When>,
}

/// WHEN.
#[derive(Debug)]
pub(crate) struct When {
    /// MATCHED, or NOT MATCHED.
    pub(crate) matched: bool,
    /// AND.
    pub(crate) condition: Option<ast::Expr>,
    /// THEN.
    pub(crate) action: Action,
}

/// What a WHEN does.
#[derive(Debug)]
pub(crate) enum Action {
    /// DO NOTHING.
    Nothing,
    /// UPDATE SET.
    Update(Vec<Assignment>),
    /// DELETE.
    Delete,
    /// INSERT.
    Insert {
        /// The columns, if named.
        columns: Option<Vec<ColumnName>>,
        /// OVERRIDING.
        overriding: Option<Overriding>,
        /// VALUES; `None`: DEFAULT VALUES.
        values: Option<Vec<ast::Expr>>,
    },
}

impl Merge {
    /// Refuses what PostgreSQL refuses before it looks at any name.
    pub(crate) fn check(&self) -> Result<()> {
        if self.with.iter().any(|with| with.recursive) {
            return Err(Error::new(SqlState::SyntaxError, "WITH RECURSIVE is not supported for MERGE statement"));
        }
        for matched in [true, false] {
            let mut alike = self.whens.iter().filter(|when| when.matched == matched);
            if alike.any(|when| when.condition.is_none()) && alike.next().is_some() {
                let message = "unreachable WHEN clause specified after unconditional WHEN clause";
                return Err(Error::new(SqlState::SyntaxError, message));
            }
        }
        Ok(())
    }
}

/// MERGE; the word is taken already.
pub(crate) fn merge(cursor: &mut Cursor<'_>, with: Vec<ast::With>) -> Result<Kind> {
    cursor.expect("INTO")?;
    cursor.takes("ONLY");
    let target = target(cursor, false)?;
    cursor.expect("USING")?;
    cursor.takes("ONLY");
    let source = cursor.table()?;
    cursor.expect("ON")?;
    let on = cursor.expression()?;
    let mut whens = vec![when(cursor)?];
    while cursor.sees("WHEN") {
        whens.push(when(cursor)?);
    }
    Ok(Kind::Merge(Box::new(Merge { with, target, source, on, whens })))
}

fn when(cursor: &mut Cursor<'_>) -> Result<When> {
    cursor.expect("WHEN")?;
    let matched = !cursor.takes("NOT");
    cursor.expect("MATCHED")?;
    let condition = if cursor.takes("AND") { Some(cursor.expression()?) } else { None };
    cursor.expect("THEN")?;
    let action = if cursor.takes("DO") {
        cursor.expect("NOTHING")?;
        Action::Nothing
    } else if matched && cursor.takes("UPDATE") {
        cursor.expect("SET")?;
        Action::Update(assignments(cursor)?)
    } else if matched && cursor.takes("DELETE") {
        Action::Delete
    } else if !matched && cursor.takes("INSERT") {
        insert(cursor)?
    } else {
        return cursor.unexpected();
    };
    Ok(When { matched, condition, action })
}

/// The word INSERT is taken already.
fn insert(cursor: &mut Cursor<'_>) -> Result<Action> {
    if cursor.takes("DEFAULT") {
        cursor.expect("VALUES")?;
        return Ok(Action::Insert { columns: None, overriding: None, values: None });
    }
    let columns = match cursor.peek().token {
        Token::LParen => Some(target_list(cursor)?),
        _ => None,
    };
    let overriding = overriding(cursor);
    cursor.expect("VALUES")?;
    cursor.expect_token(&Token::LParen)?;
    let mut values = vec![cursor.value_or_default()?];
    while cursor.takes_token(&Token::Comma) {
        values.push(cursor.value_or_default()?);
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(Action::Insert { columns, overriding, values: Some(values) })
}
