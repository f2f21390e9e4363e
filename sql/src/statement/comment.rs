//! COMMENT ON: kept in the catalog, durable when the statement returns. REFRESH, LOCK: nothing
//! to do.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::{drop, show};
use crate::parser::comment::Comment;
use crate::parser::{Name, ObjectKind};
use crate::session::{Outcome, Session};

/// See the module.
pub(crate) async fn run(session: &mut Session, comment: &Comment) -> Result<Outcome> {
    const TAG: &str = "COMMENT";
    let path = session.settings.search_path();
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    let name = &comment.name;
    let Some(object) = current.catalog.find(name.schema.as_deref(), &name.name, &path) else {
        return Err(Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist")));
    };
    if comment.kind.is_some_and(|kind| kind != object.kind()) {
        let word = comment.kind.map_or("relation", ObjectKind::word);
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a {word}", object.name)));
    }
    session.asker(&current.catalog).need_to_own(object)?;
    let column = match &comment.column {
        None => 0,
        Some(column) => {
            let place = object.columns.iter().position(|known| known.name == *column);
            let missing = || {
                let message = format!("column \"{column}\" of relation \"{}\" does not exist", object.name);
                Error::new(SqlState::UndefinedColumn, message)
            };
            u32::try_from(place.ok_or_else(missing)? + 1).unwrap_or(u32::MAX)
        }
    };
    let oid = object.oid;
    session.changed_lastingly(TAG);
    let mut next = (*current).clone();
    next.catalog.comment(oid, column, comment.text.clone());
    database.publish(next).await?;
    Ok(Outcome::Done(TAG.into()))
}

/// REFRESH MATERIALIZED VIEW: there must be such a view, and it is fresh already.
pub(super) fn refresh(session: &Session, name: &Name) -> Result<Outcome> {
    let published = session.database.published();
    let view = drop::find(session, &published.catalog, ObjectKind::View, name);
    session.asker(&published.catalog).need_to_own(view.map_err(show::without_drop_hint)?)?;
    Ok(Outcome::Done("REFRESH MATERIALIZED VIEW".into()))
}

/// LOCK TABLE ... IN ACCESS SHARE MODE: the relations must be there, and a block, as in PostgreSQL.
pub(super) fn lock(session: &Session, names: &[Name]) -> Result<Outcome> {
    if session.block.is_none() {
        let message = "LOCK TABLE can only be used in transaction blocks";
        return Err(Error::new(SqlState::NoActiveTransaction, message));
    }
    let (published, path) = (session.database.published(), session.settings.search_path());
    for name in names {
        let Some(object) = published.catalog.find(name.schema.as_deref(), &name.name, &path) else {
            return Err(Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist")));
        };
        session.asker(&published.catalog).need_to_read(&[object.oid])?;
    }
    Ok(Outcome::Done("LOCK TABLE".into()))
}
