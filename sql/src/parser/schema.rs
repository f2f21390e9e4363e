//! CREATE, ALTER and DROP SCHEMA.

use thalweg_dataflow::error::{Error, Result};

use super::ast::Kind;
use super::cursor::Cursor;
use super::role::{self, RoleName};

/// A statement about schemas.
#[derive(Debug)]
pub(crate) enum SchemaStatement {
    /// CREATE SCHEMA.
    Create {
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// Its name; `None`: its owner's.
        name: Option<String>,
        /// AUTHORIZATION.
        owner: Option<RoleName>,
    },
    /// DROP SCHEMA.
    Drop {
        /// IF EXISTS.
        if_exists: bool,
        /// Which.
        names: Vec<String>,
        /// CASCADE.
        cascade: bool,
    },
    /// ALTER SCHEMA ... RENAME TO.
    Rename {
        /// Which.
        name: String,
        /// The new name.
        to: String,
    },
    /// ALTER SCHEMA ... OWNER TO.
    Owner {
        /// Which.
        name: String,
        /// The new owner.
        to: RoleName,
    },
}

impl SchemaStatement {
    /// The command tag.
    pub(crate) fn tag(&self) -> &'static str {
        match self {
            SchemaStatement::Create { .. } => "CREATE SCHEMA",
            SchemaStatement::Drop { .. } => "DROP SCHEMA",
            SchemaStatement::Rename { .. } | SchemaStatement::Owner { .. } => "ALTER SCHEMA",
        }
    }
}

/// CREATE SCHEMA; the words are taken already.
pub(crate) fn create(cursor: &mut Cursor<'_>) -> Result<Kind> {
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let name = if cursor.sees("AUTHORIZATION") { None } else { Some(cursor.identifier()?) };
    let owner = if cursor.takes("AUTHORIZATION") { Some(role::role(cursor)?) } else { None };
    if ["CREATE", "GRANT"].iter().any(|word| cursor.sees(word)) {
        let error = match if_not_exists {
            true => Error::unsupported("CREATE SCHEMA IF NOT EXISTS with schema elements"),
            false => Error::unsupported("CREATE SCHEMA with schema elements"),
        };
        return Err(cursor.error_here(error.hint("Create what is in it by statements of their own.")));
    }
    Ok(Kind::Schema(SchemaStatement::Create { if_not_exists, name, owner }))
}

/// DROP SCHEMA; the words are taken already.
pub(crate) fn drop(cursor: &mut Cursor<'_>) -> Result<Kind> {
    let if_exists = cursor.takes("IF EXISTS");
    let names = cursor.identifiers()?;
    let cascade = cursor.takes("CASCADE");
    let _ = !cascade && cursor.takes("RESTRICT");
    Ok(Kind::Schema(SchemaStatement::Drop { if_exists, names, cascade }))
}

/// ALTER SCHEMA; `None`: something else is altered, and nothing more was taken.
pub(crate) fn alter(cursor: &mut Cursor<'_>) -> Option<Result<Kind>> {
    cursor.takes("SCHEMA").then(|| {
        let name = cursor.identifier()?;
        let statement = if cursor.takes("RENAME TO") {
            SchemaStatement::Rename { name, to: cursor.identifier()? }
        } else {
            cursor.expect("OWNER TO")?;
            SchemaStatement::Owner { name, to: role::role(cursor)? }
        };
        Ok(Kind::Schema(statement))
    })
}
