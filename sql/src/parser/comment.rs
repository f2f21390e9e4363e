//! COMMENT ON.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::{Kind, Name, ObjectKind};
use super::cursor::Cursor;

/// `COMMENT ON TABLE name IS 'text'`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comment {
    /// On what.
    pub(crate) on: On,
    /// The comment; `None` takes it away.
    pub(crate) text: Option<String>,
}

/// What a comment stands on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum On {
    /// A relation of this kind.
    Relation(ObjectKind, Name),
    /// A column of a relation of any kind.
    Column(Name, String),
    /// A schema.
    Schema(String),
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
        ("SEQUENCE", ObjectKind::Sequence),
    ];
    let kind = kinds.into_iter().find(|(words, _)| cursor.takes(words)).map(|(_, kind)| kind);
    let on = match kind {
        Some(kind) => On::Relation(kind, cursor.name()?),
        None if cursor.takes("COLUMN") => column(cursor)?,
        None if cursor.takes("SCHEMA") => On::Schema(cursor.identifier()?),
        None => {
            let Some(word) = cursor.word() else { return cursor.unexpected() };
            let error = Error::unsupported(format!("COMMENT ON {word}"));
            let hint = "Comments stand on tables, sources, sequences, views, their columns and on schemas.";
            return Err(cursor.error_here(error.hint(hint)));
        }
    };
    cursor.expect("IS")?;
    let text = if cursor.takes("NULL") { None } else { Some(cursor.string()?).filter(|text| !text.is_empty()) };
    Ok(Kind::Comment(Comment { on, text }))
}

/// `table.column`, `schema.table.column`.
fn column(cursor: &mut Cursor<'_>) -> Result<On> {
    let mut parts = vec![cursor.identifier()?];
    while cursor.takes_token(&datafusion::sql::sqlparser::tokenizer::Token::Period) {
        parts.push(cursor.identifier()?);
    }
    let column = parts.pop().unwrap_or_default();
    let (Some(name), true) = (parts.pop(), parts.len() <= 2) else {
        return Err(cursor.error_here(Error::new(SqlState::SyntaxError, "column name must be qualified")));
    };
    Ok(On::Column(Name { schema: parts.pop(), name }, column))
}
