//! ALTER TABLE, VIEW, MATERIALIZED VIEW, SOURCE and SEQUENCE, as far as it is not about owners.
//!
//! Checks form only: what is altered and whether it may be is looked at when it is done.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result};

use super::alter_column::{self, ColumnChange};
use super::ast::{Kind, Name, ObjectKind};
use super::cursor::Cursor;
use super::table::{CreateTable, column, item, refuse};

/// ALTER TABLE.
#[derive(Debug)]
pub(crate) struct AlterTable {
    /// What kind the statement names; `None`: ALTER TABLE, which takes any.
    pub(crate) view: Option<ObjectKind>,
    /// IF EXISTS.
    pub(crate) if_exists: bool,
    /// Which.
    pub(crate) name: Name,
    /// What happens to it: one action, or several that go together.
    pub(crate) actions: Vec<AlterAction>,
}

/// What ALTER TABLE does.
#[derive(Debug)]
pub(crate) enum AlterAction {
    /// RENAME TO.
    Rename(String),
    /// ALTER COLUMN.
    AlterColumn(String, ColumnChange),
    /// ADD CONSTRAINT: a table without columns that has them.
    AddConstraint(CreateTable),
    /// DROP CONSTRAINT.
    DropConstraint {
        /// IF EXISTS.
        if_exists: bool,
        /// Which.
        name: String,
    },
    /// RENAME CONSTRAINT a TO b.
    RenameConstraint(String, String),
    /// SET SCHEMA.
    SetSchema(String),
    /// RENAME COLUMN a TO b.
    RenameColumn(String, String),
    /// ADD COLUMN, once or more.
    AddColumns(Vec<NewColumn>),
    /// DROP COLUMN.
    DropColumn {
        /// IF EXISTS.
        if_exists: bool,
        /// Which.
        name: String,
        /// CASCADE.
        cascade: bool,
    },
}

/// ADD COLUMN.
#[derive(Debug)]
pub(crate) struct NewColumn {
    /// IF NOT EXISTS.
    pub(crate) if_not_exists: bool,
    /// A table of this one column with its constraints.
    pub(crate) column: CreateTable,
}

/// ALTER; the word is taken already.
pub(crate) fn alter(cursor: &mut Cursor<'_>) -> Result<Kind> {
    let kinds = [
        ("MATERIALIZED VIEW", ObjectKind::View),
        ("VIEW", ObjectKind::NamedQuery),
        ("SOURCE", ObjectKind::Source),
        ("EXTERNAL TABLE", ObjectKind::Table),
        ("SEQUENCE", ObjectKind::Sequence),
    ];
    let view = kinds.into_iter().find(|(words, _)| cursor.takes(words)).map(|(_, kind)| kind);
    if view.is_none() && !cursor.takes("TABLE") {
        return refuse(cursor, "ALTER _").map_err(|error: Error| {
            error.hint("Drop the object and create it again; CREATE OR REPLACE MATERIALIZED VIEW serves the old view until the new one is complete.")
        });
    }
    let if_exists = cursor.takes("IF EXISTS");
    cursor.takes("ONLY");
    let name = cursor.name()?;
    let mut actions = vec![action(cursor, view, &name)?];
    let alone = |action: &AlterAction| {
        matches!(
            action,
            AlterAction::Rename(_)
                | AlterAction::RenameConstraint(..)
                | AlterAction::RenameColumn(..)
                | AlterAction::SetSchema(_)
        )
    };
    while !alone(&actions[0]) && cursor.takes_token(&Token::Comma) {
        if !["ADD", "ALTER", "DROP"].iter().any(|word| cursor.sees(word)) {
            return match cursor.sees("RENAME") {
                true => cursor.unexpected(),
                false => refuse(cursor, "ALTER TABLE ... _"),
            };
        }
        match (action(cursor, view, &name)?, actions.last_mut()) {
            (AlterAction::AddColumns(more), Some(AlterAction::AddColumns(columns))) => columns.extend(more),
            (next, _) => actions.push(next),
        }
    }
    Ok(Kind::AlterTable(AlterTable { view, if_exists, name, actions }))
}

fn action(cursor: &mut Cursor<'_>, view: Option<ObjectKind>, name: &Name) -> Result<AlterAction> {
    Ok(if cursor.takes("SET SCHEMA") {
        AlterAction::SetSchema(cursor.identifier()?)
    } else if matches!(view, Some(ObjectKind::Source | ObjectKind::Table)) {
        return refuse(cursor, "ALTER SOURCE ... _");
    } else if view.is_some() && !cursor.sees("RENAME TO") {
        return refuse(cursor, "ALTER VIEW ... _");
    } else if cursor.takes("ADD") {
        add(cursor, name)?
    } else if cursor.takes("ALTER") {
        cursor.takes("COLUMN");
        let column = cursor.identifier()?;
        AlterAction::AlterColumn(column, alter_column::change(cursor)?)
    } else if cursor.takes("DROP") {
        drop_column(cursor)?
    } else if !cursor.takes("RENAME") {
        return refuse(cursor, "ALTER TABLE ... _");
    } else if cursor.takes("TO") {
        AlterAction::Rename(cursor.identifier()?)
    } else if cursor.takes("CONSTRAINT") {
        let old = cursor.identifier()?;
        cursor.expect("TO")?;
        AlterAction::RenameConstraint(old, cursor.identifier()?)
    } else {
        cursor.takes("COLUMN");
        let old = cursor.identifier()?;
        cursor.expect("TO")?;
        AlterAction::RenameColumn(old, cursor.identifier()?)
    })
}

/// The word ADD is taken already.
fn add(cursor: &mut Cursor<'_>, table: &Name) -> Result<AlterAction> {
    if cursor.sees("FOREIGN") {
        return refuse(cursor, "ALTER TABLE ... ADD _");
    }
    if adds_constraint(cursor) {
        let mut table = CreateTable::new(false, table.clone());
        item(cursor, &mut table)?;
        return Ok(AlterAction::AddConstraint(table));
    }
    cursor.takes("COLUMN");
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let mut one = CreateTable::new(if_not_exists, table.clone());
    column(cursor, &mut one)?;
    Ok(AlterAction::AddColumns(vec![NewColumn { if_not_exists, column: one }]))
}

/// Whether the word ADD has a constraint behind it.
fn adds_constraint(cursor: &Cursor<'_>) -> bool {
    ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"].iter().any(|word| cursor.sees(word))
}

/// The word DROP is taken already.
fn drop_column(cursor: &mut Cursor<'_>) -> Result<AlterAction> {
    if !cursor.takes("COLUMN") && cursor.takes("CONSTRAINT") {
        let if_exists = cursor.takes("IF EXISTS");
        let name = cursor.identifier()?;
        let _ = cursor.takes("CASCADE") || cursor.takes("RESTRICT");
        return Ok(AlterAction::DropConstraint { if_exists, name });
    }
    let if_exists = cursor.takes("IF EXISTS");
    let name = cursor.identifier()?;
    let cascade = cursor.takes("CASCADE");
    let _ = !cascade && cursor.takes("RESTRICT");
    Ok(AlterAction::DropColumn { if_exists, name, cascade })
}
