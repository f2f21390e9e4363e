//! From text to statements.
//!
//! Queries are read by sqlparser in PostgreSQL's dialect; what is Thalweg's own (sources,
//! materialized views, external tables, SHOW, SET, ...) is read here over the same tokens.
//! Promises: a syntax error is PostgreSQL's 42601 with its place; what PostgreSQL knows and
//! Thalweg does not is refused by its name (0A000); no depth of nesting crashes. Asks no catalog.

mod ahead;
pub(crate) mod alter_column;
pub(crate) mod alter_table;
mod ast;
pub(crate) mod change;
pub(crate) mod comment;
pub(crate) mod copy;
pub(crate) mod create_table_as;
mod cursor;
mod ddl;
mod dialect;
pub(crate) mod elsewhere;
mod empty_select;
pub(crate) mod equal_forms;
pub(crate) mod exclude;
pub(crate) mod fetch_count;
pub(crate) mod grammar_marks;
pub(crate) mod grant;
mod height;
pub(crate) mod index;
pub(crate) mod like;
pub(crate) mod lock_table;
mod locks;
pub(crate) mod maintenance;
pub(crate) mod merge;
mod object_kind;
pub(crate) mod pasted;
pub(crate) mod phrases;
mod prepared;
mod refused_type;
mod reserved;
pub(crate) mod role;
pub(crate) mod schema;
pub(crate) mod search_cycle;
pub(crate) mod sequence;
pub(crate) mod setting;
mod signs;
mod source_text;
mod sql_cursor;
mod strings;
pub(crate) mod table;
mod table_query;
mod transaction;
mod utility;
pub(crate) mod with_changes;

#[cfg(test)]
mod tests;

pub use ast::Statement;
pub(crate) use ast::{
    CopyOut, CreateExternalTable, CreateNamedQuery, CreateSource, CreateView, Drop, Execute, Explain, Kind, Modes,
    Name, ObjectKind, Options, Prepare, Set, Show,
};

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Query;
use thalweg_dataflow::error::{Error, Result};

use cursor::Cursor;
use height::MAX_DEPTH;
pub(crate) use refused_type::refused_type;
pub(crate) use reserved::{is_reserved, reserved_words};
use source_text::{Piece, SourceText};
pub(crate) use sql_cursor::{Declare, Direction, Fetch};

/// The longest text of a request, in bytes.
const MAX_TEXT: usize = 16 << 20;

/// Reads all statements of a text; of an empty text, one that is [`Statement::is_empty`].
pub fn parse(sql: &str) -> Result<Vec<Statement>> {
    if sql.len() > MAX_TEXT {
        return Err(Error::new(thalweg_dataflow::error::SqlState::ProgramLimitExceeded, "the statement is too long")
            .detail(format!("It has {} bytes, the limit is {MAX_TEXT}.", sql.len())));
    }
    statements(sql).map_err(|error| role::discreet(sql, error))
}

fn statements(sql: &str) -> Result<Vec<Statement>> {
    let text = SourceText::new(sql);
    let request: Arc<str> = sql.into();
    let pieces = text.pieces()?;
    if pieces.is_empty() {
        return Ok(vec![Statement::new("", &request, Kind::Empty)]);
    }
    pieces.into_iter().map(|piece| statement(&text, &request, piece)).collect()
}

/// Reads the query of a view again, from the text that the catalog holds.
pub(crate) fn parse_query(sql: &str) -> Result<Box<Query>> {
    let statements = parse(sql)?;
    let [only] = statements.as_slice() else {
        return Err(Error::internal("a stored query is not one statement"));
    };
    match only.kind() {
        Kind::Query(query) => Ok(query.clone()),
        _ => Err(Error::internal("a stored query is no query")),
    }
}

/// Reads an expression again, from the text that the catalog holds.
pub(crate) fn parse_expression(sql: &str) -> Result<datafusion::sql::sqlparser::ast::Expr> {
    let text = SourceText::new(sql);
    let mut pieces = text.pieces()?;
    let (Some(mut piece), true) = (pieces.pop(), pieces.is_empty()) else {
        return Err(Error::internal("a stored expression is not one expression"));
    };
    height::check(&piece.tokens)?;
    strings::join(&text, &mut piece)?;
    table_query::rewrite(&mut piece);
    exclude::rewrite(&mut piece);
    fetch_count::rewrite(&mut piece);
    search_cycle::rewrite(&mut piece);
    grammar_marks::rewrite(&mut piece);
    equal_forms::rewrite(&mut piece);
    signs::rewrite(&mut piece);
    empty_select::mark(&text, &mut piece)?;
    let mut cursor = Cursor::new(&text, piece);
    let expr = cursor.expression()?;
    cursor.end()?;
    Ok(expr)
}

fn statement(text: &SourceText<'_>, request: &Arc<str>, mut piece: Piece) -> Result<Statement> {
    height::check(&piece.tokens)?;
    strings::join(text, &mut piece)?;
    table_query::rewrite(&mut piece);
    exclude::rewrite(&mut piece);
    fetch_count::rewrite(&mut piece);
    search_cycle::rewrite(&mut piece);
    grammar_marks::rewrite(&mut piece);
    equal_forms::rewrite(&mut piece);
    signs::rewrite(&mut piece);
    locks::rewrite(&mut piece);
    empty_select::mark(text, &mut piece)?;
    let written = &text.sql()[piece.start..piece.end];
    let mut cursor = Cursor::new(text, piece);
    let cuts = with_changes::cut(&mut cursor)?;
    let kind = match cursor.with_before_change() {
        Some(end) => change::with(&mut cursor, end)?,
        None if cursor.starts_query() => create_table_as::into(cursor.query()?)?,
        None => utility::statement(&mut cursor, request)?,
    };
    cursor.end()?;
    let kind = with_changes::whole(cuts, kind, request, written)?;
    Ok(Statement::new(written, request, kind))
}
