//! ALTER TABLE: RENAME here, ADD and DROP COLUMN by [`super::change::alter`].
//!
//! Views keep their queries as they were written, so what a view reads is not altered. A CHECK follows
//! a column that is renamed; rows are untouched then.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, visit_expressions_mut};
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::already_exists;
use super::change::alter;
use super::definition::quoted;
use crate::catalog::{Object, ObjectData, Rule};
use crate::parser::parse_expression;
use crate::parser::table::{AlterAction, AlterTable};
use crate::session::{Outcome, Session};

const TAG: &str = "ALTER TABLE";

/// See the module.
pub(crate) async fn run(session: &mut Session, alter: &AlterTable) -> Result<Outcome> {
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    let name = &alter.name;
    let path = session.settings.search_path();
    let Some(object) = current.catalog.find(name.schema.as_deref(), &name.name, &path) else {
        if alter.if_exists {
            let text = format!("relation \"{name}\" does not exist, skipping");
            session.notice(Error::new(SqlState::SuccessfulCompletion, text));
            return Ok(Outcome::Done(TAG.into()));
        }
        return Err(Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist")));
    };
    if matches!(object.data, ObjectData::StoredSource(_)) {
        return Err(Error::unsupported(format!(
            "altering table \"{}\", which stores what a connector reads,",
            object.name
        )));
    }
    if object.table().is_none() {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a table", object.name)));
    }
    let dependants = current.catalog.dependants(object.oid);
    if let Some(dependant) = dependants.first() {
        return Err(Error::unsupported(format!("altering table \"{}\", which views read,", object.name))
            .detail(format!("{} {} depends on table {}.", dependant.kind().word(), dependant.name, object.name))
            .hint("Drop the views first and create them again."));
    }
    session.refuse_changed(object.relation(), "alter table", &object.name)?;
    session.changed_lastingly(TAG);
    let mut changed = object.clone();
    match &alter.action {
        AlterAction::Rename(to) => {
            if current.catalog.find(Some(&object.schema), to, &[]).is_some() {
                return Err(already_exists(to));
            }
            changed.name.clone_from(to);
        }
        AlterAction::RenameColumn(from, to) => rename_column(&mut changed, from, to)?,
        AlterAction::AddColumn { .. } | AlterAction::DropColumn { .. } => {
            alter_columns(session, object, &alter.action).await?;
            return Ok(Outcome::Done(TAG.into()));
        }
    }
    let mut next = (*current).clone();
    next.catalog.put(changed);
    database.publish(next).await?;
    Ok(Outcome::Done(TAG.into()))
}

/// ADD and DROP COLUMN; what IF makes a no is told.
async fn alter_columns(session: &mut Session, object: &Object, action: &AlterAction) -> Result<()> {
    let place_of = |name: &str| object.columns.iter().position(|column| column.name == name);
    match action {
        AlterAction::AddColumn { if_not_exists, column } => {
            let twice = column.columns.iter().find(|new| place_of(&new.name).is_some());
            let Some(twice) = twice else { return alter::add_column(session, object, column).await };
            let message = format!("column \"{}\" of relation \"{}\" already exists", twice.name, object.name);
            if !if_not_exists {
                return Err(Error::new(SqlState::DuplicateColumn, message));
            }
            session.notice(Error::new(SqlState::DuplicateColumn, format!("{message}, skipping")));
        }
        AlterAction::DropColumn { if_exists, name } => {
            if let Some(place) = place_of(name) {
                return alter::drop_column(session, object, place).await;
            }
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", object.name);
            if !if_exists {
                return Err(Error::new(SqlState::UndefinedColumn, message));
            }
            session.notice(Error::new(SqlState::SuccessfulCompletion, format!("{message}, skipping")));
        }
        AlterAction::Rename(_) | AlterAction::RenameColumn(..) => {}
    }
    Ok(())
}

fn rename_column(object: &mut Object, from: &str, to: &str) -> Result<()> {
    if object.columns.iter().any(|column| column.name == to) {
        return Err(Error::new(
            SqlState::DuplicateColumn,
            format!("column \"{to}\" of relation \"{}\" already exists", object.name),
        ));
    }
    let Some(column) = object.columns.iter_mut().find(|column| column.name == from) else {
        return Err(Error::new(SqlState::UndefinedColumn, format!("column \"{from}\" does not exist")));
    };
    column.name = to.to_string();
    let ObjectData::Table(table) = &mut object.data else { return Ok(()) };
    for constraint in &mut table.constraints {
        if let Rule::Check(text) = &mut constraint.rule {
            *text = renamed(text, from, to)?;
        }
    }
    Ok(())
}

/// An expression with another name for a column.
fn renamed(text: &str, from: &str, to: &str) -> Result<String> {
    let mut expr = parse_expression(text)?;
    let mut changed = false;
    let mut rename = |ident: &mut ast::Ident| {
        let folded = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
        if folded == from {
            let written = quoted(to);
            *ident = match written.starts_with('"') {
                true => ast::Ident::with_quote('"', to),
                false => ast::Ident::new(to),
            };
            changed = true;
        }
    };
    let _ = visit_expressions_mut(&mut expr, |inner| {
        match inner {
            ast::Expr::Identifier(ident) => rename(ident),
            ast::Expr::CompoundIdentifier(parts) => parts.last_mut().into_iter().for_each(&mut rename),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    Ok(if changed { expr.to_string() } else { text.to_string() })
}
