//! CREATE, ALTER and DROP SCHEMA.

use std::sync::Arc;

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::Kind;
use super::cursor::Cursor;
use super::role::{self, RoleName};
use super::{ddl, grant};

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
        /// What is made in it.
        elements: Vec<Arc<Kind>>,
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
    if if_not_exists && !cursor.at_end() {
        let message = "CREATE SCHEMA IF NOT EXISTS cannot include schema elements";
        return Err(cursor.error_here(Error::new(SqlState::FeatureNotSupported, message)));
    }
    let mut elements = Vec::new();
    while !cursor.at_end() {
        let end = end_of_element(cursor);
        elements.push(Arc::new(cursor.until(end, element)?));
    }
    Ok(Kind::Schema(SchemaStatement::Create { if_not_exists, name, owner, elements }))
}

/// What may stand behind CREATE in an element.
const ELEMENTS: [&str; 9] = ["TABLE", "VIEW", "OR", "INDEX", "UNIQUE", "SEQUENCE", "TEMP", "TEMPORARY", "LOCAL"];

fn element(cursor: &mut Cursor<'_>) -> Result<Kind> {
    if cursor.takes("GRANT") {
        return grant::grant(cursor);
    }
    cursor.expect("CREATE")?;
    if !ELEMENTS.iter().any(|word| cursor.sees(word)) {
        return cursor.unexpected();
    }
    ddl::create(cursor)
}

/// The place of the token behind the element that begins here.
fn end_of_element(cursor: &Cursor<'_>) -> usize {
    let (mut ahead, mut depth) = (1, 0i32);
    while let Some(token) = cursor.token(ahead) {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        let creates = cursor.is_word(ahead, "CREATE") && ELEMENTS.iter().any(|word| cursor.is_word(ahead + 1, word));
        let grants = cursor.is_word(ahead, "GRANT") && !cursor.is_word(ahead - 1, "WITH");
        if depth == 0 && (creates || grants) {
            break;
        }
        ahead += 1;
    }
    cursor.place() + ahead
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
