//! COMMENT ON: kept in the catalog, durable when the statement returns. REFRESH: nothing to
//! do.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::{drop, show};
use crate::catalog::Object;
use crate::parser::comment::{Comment, On};
use crate::parser::{Name, ObjectKind};
use crate::session::{Outcome, Session};

/// See the module.
pub(crate) async fn run(session: &mut Session, comment: &Comment) -> Result<Outcome> {
    const TAG: &str = "COMMENT";
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    let catalog = &current.catalog;
    let asker = session.asker(catalog);
    let (oid, column) = match &comment.on {
        On::Schema(name) => {
            session.known_schema(catalog, name)?;
            let Some(oid) = catalog.user_schema(name) else {
                return Err(Error::unsupported(format!("a comment on schema \"{name}\"")));
            };
            asker.need_to_own_schema(oid, name)?;
            (oid, 0)
        }
        On::Relation(kind, name) => {
            let object = session.relation(catalog, name)?;
            if *kind != object.kind() {
                let message = format!("\"{}\" is not a {}", object.name, kind.word());
                return Err(Error::new(SqlState::WrongObjectType, message));
            }
            asker.need_to_own(object)?;
            (object.oid, 0)
        }
        On::Column(name, column) => {
            let object = session.relation(catalog, name)?;
            asker.need_to_own(object)?;
            (object.oid, number(object, column)?)
        }
    };
    session.changed_lastingly(TAG);
    let mut next = (*current).clone();
    next.catalog.comment(oid, column, comment.text.clone());
    database.publish(next).await?;
    Ok(Outcome::Done(TAG.into()))
}

/// The number of a column, from 1.
fn number(object: &Object, column: &str) -> Result<u32> {
    let place = object.columns.iter().position(|known| known.name == column);
    let missing = || {
        let message = format!("column \"{column}\" of relation \"{}\" does not exist", object.name);
        Error::new(SqlState::UndefinedColumn, message)
    };
    Ok(u32::try_from(place.ok_or_else(missing)? + 1).unwrap_or(u32::MAX))
}

/// REFRESH MATERIALIZED VIEW: there must be such a view, and it is fresh already.
pub(super) fn refresh(session: &Session, name: &Name) -> Result<Outcome> {
    let published = session.database.published();
    let view = drop::find(session, &published.catalog, ObjectKind::View, name);
    session.asker(&published.catalog).need_to_own(view.map_err(show::without_drop_hint)?)?;
    Ok(Outcome::Done("REFRESH MATERIALIZED VIEW".into()))
}
