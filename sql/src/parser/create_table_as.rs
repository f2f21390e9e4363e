//! CREATE TABLE ... AS and SELECT INTO, and ON COMMIT of temporary tables.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::{Kind, Name};
use super::cursor::Cursor;
use super::table::{column_names, refuse};
use super::with_changes::refuse_changes;
use crate::session::temporary::OnCommit;

/// CREATE TABLE ... AS, SELECT INTO.
#[derive(Debug)]
pub(crate) struct CreateTableAs {
    /// TEMPORARY.
    pub(crate) temporary: bool,
    /// ON COMMIT; `None`: PRESERVE ROWS.
    pub(crate) on_commit: Option<OnCommit>,
    /// IF NOT EXISTS.
    pub(crate) if_not_exists: bool,
    /// Its name.
    pub(crate) name: Name,
    /// Names for its columns, from the left.
    pub(crate) columns: Vec<String>,
    /// The query.
    pub(crate) query: Box<ast::Query>,
    /// WITH DATA.
    pub(crate) with_data: bool,
}

/// Whether AS and a query come behind the table's name, its columns and ON COMMIT.
pub(super) fn names_query(cursor: &Cursor<'_>) -> bool {
    let mut depth = 0_usize;
    for ahead in 0.. {
        match cursor.token(ahead) {
            None => return false,
            Some(Token::LParen) => depth += 1,
            Some(Token::RParen) => depth = depth.saturating_sub(1),
            Some(_) if depth == 0 && cursor.is_word(ahead, "AS") => return true,
            Some(_) => {}
        }
    }
    false
}

/// ON COMMIT, if it comes next.
pub(super) fn on_commit(cursor: &mut Cursor<'_>, temporary: bool) -> Result<Option<OnCommit>> {
    if !cursor.sees("ON COMMIT") {
        return Ok(None);
    }
    if !temporary {
        let message = "ON COMMIT can only be used on temporary tables";
        return Err(Error::new(SqlState::InvalidTableDefinition, message));
    }
    cursor.expect("ON COMMIT")?;
    if cursor.takes("DROP") {
        Ok(Some(OnCommit::Drop))
    } else if cursor.takes("DELETE ROWS") {
        Ok(Some(OnCommit::DeleteRows))
    } else {
        cursor.expect("PRESERVE ROWS").map(|()| None)
    }
}

/// The rest of CREATE TABLE ... AS, from the columns on.
pub(super) fn create_table_as(
    cursor: &mut Cursor<'_>,
    temporary: bool,
    if_not_exists: bool,
    name: Name,
) -> Result<CreateTableAs> {
    let columns = if cursor.peek().token == Token::LParen { column_names(cursor)? } else { Vec::new() };
    let on_commit = on_commit(cursor, temporary)?;
    if cursor.sees("WITH") || cursor.sees("USING") || cursor.sees("TABLESPACE") {
        return refuse(cursor, "CREATE TABLE ... _");
    }
    cursor.expect("AS")?;
    if cursor.sees("EXECUTE") {
        return refuse(cursor, "CREATE TABLE ... AS _");
    }
    let (query, _) = cursor.query_until(cursor.trailing_with())?;
    refuse_changes(&query, "a data-modifying statement in WITH is not supported in CREATE TABLE AS")?;
    let with_data = !cursor.takes("WITH NO DATA");
    let _ = with_data && cursor.takes("WITH DATA");
    Ok(CreateTableAs { temporary, on_commit, if_not_exists, name, columns, query, with_data })
}

/// A query, or the table that its INTO asks for.
pub(crate) fn into(mut query: Box<ast::Query>) -> Result<Kind> {
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return Ok(Kind::Query(query)) };
    let Some(into) = select.into.take() else { return Ok(Kind::Query(query)) };
    if into.unlogged {
        return Err(Error::unsupported("SELECT INTO UNLOGGED"));
    }
    let Some((schema, name)) = crate::statement::resolve::folded(&into.name) else {
        return Err(Error::unsupported("this name behind INTO"));
    };
    Ok(Kind::CreateTableAs(CreateTableAs {
        temporary: into.temporary,
        on_commit: None,
        if_not_exists: false,
        name: Name { schema, name },
        columns: Vec::new(),
        query,
        with_data: true,
    }))
}
