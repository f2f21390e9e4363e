//! The rights that INSERT, UPDATE, DELETE and their kin need on the table that they change.
//!
//! As in PostgreSQL: SELECT too where a statement looks at the table's rows, in its condition, its
//! values or RETURNING; then a right on columns is not enough. What else a statement reads is checked
//! where its names are resolved ([`super::target::with_names`]).

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{Expr, SetExpr, Visit};
use thalweg_dataflow::error::Result;

use super::Target;
use crate::parser::Kind;
use crate::parser::change::{Assignment, AssignmentSource, ConflictAction, Insert};
use crate::roles::acl::{DELETE, INSERT, Rights, SELECT, UPDATE};
use crate::session::{Session, View};
use crate::walk::any_expr;

/// Refuses a statement without the rights it needs on its target.
pub(super) fn check(session: &Session, view: &View, kind: &Kind, target: &Target) -> Result<()> {
    let asker = session.asker(&view.published.catalog);
    let rights = needed(kind);
    let refused = match asker.need(&target.object, rights) {
        Ok(()) => return Ok(()),
        Err(refused) => refused,
    };
    // Rights on the columns that are given values are enough for these.
    let (right, given) = match kind {
        Kind::Insert(insert) => (INSERT, inserted(insert, target)),
        Kind::Update(update) => (UPDATE, assigned(&update.assignments, target)),
        _ => return Err(refused),
    };
    asker.need(&target.object, rights & !right)?;
    asker.need_on_columns(&target.object, right, &given)
}

/// The places of the columns that an INSERT names; if it names none, of as many as it has values for.
fn inserted(insert: &Insert, target: &Target) -> BTreeSet<usize> {
    let all = target.object.columns.len();
    let values = match insert.source.as_ref().map(|source| source.body.as_ref()) {
        Some(SetExpr::Values(values)) => values.rows.first().map_or(all, |row| row.len()),
        _ => all,
    };
    match &insert.columns {
        None => (0..values.min(all)).collect(),
        Some(columns) => places(columns.iter().map(|column| &column.name), target),
    }
}

/// The places of the columns that an UPDATE gives values.
fn assigned(assignments: &[Assignment], target: &Target) -> BTreeSet<usize> {
    places(assignments.iter().flat_map(|one| &one.columns).map(|column| &column.name), target)
}

fn places<'n>(names: impl Iterator<Item = &'n String>, target: &Target) -> BTreeSet<usize> {
    let columns = &target.object.columns;
    names.filter_map(|name| columns.iter().position(|column| column.name == *name)).collect()
}

fn needed(kind: &Kind) -> Rights {
    let reading = |reads: bool| if reads { SELECT } else { 0 };
    match kind {
        Kind::Insert(insert) => INSERT | conflicting(insert) | reading(insert.returning.is_some()),
        Kind::Update(update) => {
            let looks = names_columns(&update.condition) || assigns_columns(&update.assignments);
            UPDATE | reading(looks || update.returning.is_some())
        }
        Kind::Delete(delete) => DELETE | reading(names_columns(&delete.condition) || delete.returning.is_some()),
        _ => 0,
    }
}

/// What ON CONFLICT needs.
fn conflicting(insert: &Insert) -> Rights {
    let Some(conflict) = &insert.conflict else { return 0 };
    let arbiter = if conflict.arbiter.is_some() { SELECT } else { 0 };
    match conflict.action {
        ConflictAction::Nothing => arbiter,
        ConflictAction::Update(..) => arbiter | UPDATE,
    }
}

fn assigns_columns(assignments: &[Assignment]) -> bool {
    assignments.iter().any(|assignment| match &assignment.source {
        AssignmentSource::Values(values) => names_columns(values),
        AssignmentSource::Row(query) => names_columns(query),
    })
}

/// Whether an expression names a column.
fn names_columns(expr: &impl Visit) -> bool {
    any_expr(expr, &mut |expr| match expr {
        Expr::Identifier(name) => !crate::parser::phrases::is_default(expr) && !name.value.is_empty(),
        Expr::CompoundIdentifier(_) => true,
        _ => false,
    })
}
