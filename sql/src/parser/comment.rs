//! COMMENT ON.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::{Kind, Name, ObjectKind};
use super::cursor::Cursor;

/// `COMMENT ON TABLE name IS 'text'`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comment {
    /// What kind of object is named; `None`: a column, whatever its relation is.
    pub(crate) kind: Option<ObjectKind>,
    /// The relation.
    pub(crate) name: Name,
    /// Its column.
    pub(crate) column: Option<String>,
    /// The comment; `None` takes it away.
    pub(crate) text: Option<String>,
}

/// After COMMENT.
pub(crate) fn comment(cursor: &mut Cursor<'_>) -> Result<Kind> {
    cursor.expect("ON")?;
    let kinds = [
        ("MATERIALIZED VIEW", ObjectKind::View),
        ("VIEW", ObjectKind::NamedQuery),
        ("EXTERNAL TABLE", ObjectKind::Table),
        ("TABLE", ObjectKind::Table),
        ("SOURCE", ObjectKind::Source),
    ];
    let kind = kinds.into_iter().find(|(words, _)| cursor.takes(words)).map(|(_, kind)| kind);
    let (name, column) = match kind {
        Some(_) => (cursor.name()?, None),
        None if cursor.takes("COLUMN") => column(cursor)?,
        None => {
            let Some(word) = cursor.word() else { return cursor.unexpected() };
            let error = Error::unsupported(format!("COMMENT ON {word}"));
            return Err(cursor.error_here(error.hint("Comments stand on tables, sources, views and their columns.")));
        }
    };
    cursor.expect("IS")?;
    let text = if cursor.takes("NULL") { None } else { Some(cursor.string()?).filter(|text| !text.is_empty()) };
    Ok(Kind::Comment(Comment { kind, name, column, text }))
}

/// `table.column`, `schema.table.column`.
fn column(cursor: &mut Cursor<'_>) -> Result<(Name, Option<String>)> {
    let mut parts = vec![cursor.identifier()?];
    while cursor.takes_token(&datafusion::sql::sqlparser::tokenizer::Token::Period) {
        parts.push(cursor.identifier()?);
    }
    let column = parts.pop();
    let (Some(name), true) = (parts.pop(), parts.len() <= 2) else {
        return Err(cursor.error_here(Error::new(SqlState::SyntaxError, "column name must be qualified")));
    };
    Ok((Name { schema: parts.pop(), name }, column))
}
