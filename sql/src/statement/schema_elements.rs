//! CREATE SCHEMA with what is in it: tables, views, indexes, sequences and rights, all or nothing.
//!
//! As in PostgreSQL sequences come first, then tables, views, indexes and rights; names without a schema
//! are looked for in the new one first. Outside a block the statement is a block of its own.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::definition::quoted;
use super::schema;
use crate::guard::Guard;
use crate::parser::schema::SchemaStatement;
use crate::parser::{Kind, Modes, Name, Statement};
use crate::session::{Outcome, Prepared, Session};

/// Any statement about schemas.
pub(super) async fn run(
    session: &mut Session,
    statement: &SchemaStatement,
    whole: &Statement,
    guard: &Guard,
) -> Result<Outcome> {
    let SchemaStatement::Create { name, owner, elements, .. } = statement else {
        return schema::run(session, statement).await;
    };
    if elements.is_empty() {
        return schema::run(session, statement).await;
    }
    let published = session.database.published();
    let own = session.role_in(&published.catalog);
    let owner = owner.as_ref().map_or(Ok(own), |owner| session.one_role(&published.catalog, owner))?;
    if owner != own {
        return Err(Error::unsupported("CREATE SCHEMA of another role with schema elements"));
    }
    let name = name.clone().unwrap_or_else(|| published.catalog.roles.name(owner));
    let mut parts: Vec<&std::sync::Arc<Kind>> = elements.iter().collect();
    parts.iter().try_for_each(|part| belongs(part, &name))?;
    parts.sort_by_key(|part| rank(part));
    let alone = session.block.is_none();
    if alone {
        session.begin(Modes::default())?;
    }
    let made = make(session, statement, (&name, &parts), whole, guard).await;
    if alone {
        match made {
            Ok(_) => session.commit(false).await?,
            Err(_) => session.rollback(false).await?,
        };
    }
    made
}

/// The schema and what is in it, in an open block.
async fn make(
    session: &mut Session,
    statement: &SchemaStatement,
    (name, parts): (&str, &[&std::sync::Arc<Kind>]),
    whole: &Statement,
    guard: &Guard,
) -> Result<Outcome> {
    let made = schema::run(session, statement).await?;
    let before = session.settings.get("search_path")?.to_string();
    let first = quoted(name);
    let path = if before.trim_matches(['"', ' ']).is_empty() { first } else { format!("{first}, {before}") };
    session.settings.set("search_path", Some(&path), true)?;
    let mut done = Ok(());
    for part in parts {
        session.forget_view();
        let statement = whole.part((*part).clone());
        let prepared = Prepared::new(statement, Vec::new(), None);
        done = Box::pin(super::execute(session, &prepared, Vec::new(), guard)).await.map(drop);
        if done.is_err() {
            break;
        }
    }
    session.settings.set("search_path", Some(&before), true)?;
    done.map(|()| made)
}

/// Which come first.
fn rank(part: &Kind) -> u8 {
    match part {
        Kind::CreateSequence(_) => 0,
        Kind::CreateTable(_) | Kind::CreateTableAs(_) | Kind::CreateStoredSource(_) => 1,
        Kind::CreateNamedQuery(_) => 2,
        Kind::CreateIndex(_) => 3,
        _ => 4,
    }
}

/// Refuses what would be elsewhere. Errors: 42P15, 42P16.
fn belongs(part: &Kind, schema: &str) -> Result<()> {
    let (name, temporary): (&Name, bool) = match part {
        Kind::CreateTable(create) => (&create.name, create.temporary),
        Kind::CreateTableAs(create) => (&create.name, create.temporary),
        Kind::CreateNamedQuery(create) => (&create.name, create.temporary),
        Kind::CreateSequence(create) => (&create.name, create.temporary),
        Kind::CreateStoredSource(create) => (&create.name, false),
        Kind::CreateIndex(create) => (&create.table, false),
        _ => return Ok(()),
    };
    if temporary {
        let message = "cannot create temporary relation in non-temporary schema";
        return Err(Error::new(SqlState::InvalidTableDefinition, message));
    }
    match name.schema.as_ref().filter(|own| *own != schema) {
        None => Ok(()),
        Some(own) => {
            let message = format!("CREATE specifies a schema ({own}) different from the one being created ({schema})");
            Err(Error::new(SqlState::InvalidSchemaDefinition, message))
        }
    }
}
