//! ALTER TABLE ... ALTER COLUMN, and constraints that come, go and get other names.

use thalweg_dataflow::error::Result;
use thalweg_dataflow::types::PgType;

use super::cursor::Cursor;

/// What ALTER COLUMN does.
#[derive(Debug)]
pub(crate) enum ColumnChange {
    /// SET DEFAULT: the expression as it was written.
    SetDefault(String),
    /// DROP DEFAULT.
    DropDefault,
    /// DROP EXPRESSION, perhaps with IF EXISTS.
    DropExpression(bool),
    /// SET NOT NULL.
    SetNotNull,
    /// DROP NOT NULL.
    DropNotNull,
    /// TYPE, and USING as it was written.
    Type(PgType, Option<String>),
}

/// The rest of ALTER COLUMN, behind the column.
pub(super) fn change(cursor: &mut Cursor<'_>) -> Result<ColumnChange> {
    if cursor.takes("SET DEFAULT") {
        return cursor.written_expression().map(|(_, text)| ColumnChange::SetDefault(text));
    }
    if cursor.takes("DROP DEFAULT") {
        return Ok(ColumnChange::DropDefault);
    }
    if cursor.takes("DROP EXPRESSION") {
        return Ok(ColumnChange::DropExpression(cursor.takes("IF EXISTS")));
    }
    if cursor.takes("SET NOT NULL") {
        return Ok(ColumnChange::SetNotNull);
    }
    if cursor.takes("DROP NOT NULL") {
        return Ok(ColumnChange::DropNotNull);
    }
    cursor.takes("SET DATA");
    cursor.expect("TYPE")?;
    let data_type = cursor.data_type()?;
    let using = if cursor.takes("USING") { Some(cursor.written_expression()?.1) } else { None };
    Ok(ColumnChange::Type(data_type, using))
}
