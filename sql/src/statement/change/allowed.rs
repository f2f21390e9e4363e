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
use crate::parser::change::{Assignment, AssignmentSource, ColumnName, ConflictAction, Insert};
use crate::parser::merge::{Action, Merge};
use crate::planner::fold;
use crate::roles::acl::{DELETE, INSERT, Rights, SELECT, UPDATE};
use crate::roles::rights::Asker;
use crate::session::{Session, View};
use crate::walk::any_expr;

/// Refuses a statement without the rights it needs on its target.
pub(super) fn check(session: &Session, view: &View, kind: &Kind, target: &Target) -> Result<()> {
    let asker = session.asker(&view.published.catalog);
    if let Kind::Merge(merge) = kind {
        return merging(&asker, merge, target);
    }
    let rights = needed(kind, target);
    let refused = match asker.need(&target.object, rights) {
        Ok(()) => return Ok(()),
        Err(refused) => refused,
    };
    // Rights on the columns that are given values are enough for these.
    let (right, given) = match kind {
        Kind::Insert(insert) => (INSERT, inserted(insert.columns.as_deref(), values(insert), target)),
        Kind::Update(update) => (UPDATE, assigned(&update.assignments, target)),
        _ => return Err(refused),
    };
    asker.need(&target.object, rights & !right)?;
    asker.need_on_columns(&target.object, right, &given)
}

/// The places of the columns that an INSERT names; if it names none, of as many as it has values for.
fn inserted(columns: Option<&[ColumnName]>, values: Option<usize>, target: &Target) -> BTreeSet<usize> {
    let all = target.object.columns.len();
    match columns {
        None => (0..values.map_or(all, |values| values.min(all))).collect(),
        Some(columns) => places(columns.iter().map(|column| &column.name), target),
    }
}

/// How many values an INSERT gives, if it is by VALUES.
fn values(insert: &Insert) -> Option<usize> {
    match insert.source.as_ref()?.body.as_ref() {
        SetExpr::Values(values) => values.rows.first().map(|row| row.len()),
        _ => None,
    }
}

/// What MERGE needs: the right of each of its actions, and SELECT if it looks at the table's rows.
fn merging(asker: &Asker<'_>, merge: &Merge, target: &Target) -> Result<()> {
    let on_columns = |right: Rights, given: &BTreeSet<usize>| {
        let whole = asker.need(&target.object, right);
        if whole.is_ok() { whole } else { asker.need_on_columns(&target.object, right, given) }
    };
    let mut looks = names_columns(&merge.on, target);
    for when in &merge.whens {
        looks |= when.matched && names_columns(&when.condition, target);
        match &when.action {
            Action::Nothing => looks = true,
            Action::Delete => asker.need(&target.object, DELETE)?,
            Action::Update(assignments) => {
                looks |= assigns_columns(assignments, target);
                on_columns(UPDATE, &assigned(assignments, target))?;
            }
            Action::Insert { columns, values, .. } => {
                let values = values.as_ref().map(Vec::len);
                on_columns(INSERT, &inserted(columns.as_deref(), values, target))?;
            }
        }
    }
    asker.need(&target.object, if looks { SELECT } else { 0 })
}

/// The places of the columns that an UPDATE gives values.
fn assigned(assignments: &[Assignment], target: &Target) -> BTreeSet<usize> {
    places(assignments.iter().flat_map(|one| &one.columns).map(|column| &column.name), target)
}

fn places<'n>(names: impl Iterator<Item = &'n String>, target: &Target) -> BTreeSet<usize> {
    let columns = &target.object.columns;
    names.filter_map(|name| columns.iter().position(|column| column.name == *name)).collect()
}

fn needed(kind: &Kind, target: &Target) -> Rights {
    let reading = |reads: bool| if reads { SELECT } else { 0 };
    match kind {
        Kind::Insert(insert) => INSERT | conflicting(insert) | reading(insert.returning.is_some()),
        Kind::Update(update) => {
            let looks = names_columns(&update.condition, target) || assigns_columns(&update.assignments, target);
            UPDATE | reading(looks || update.returning.is_some())
        }
        Kind::Delete(delete) => {
            DELETE | reading(names_columns(&delete.condition, target) || delete.returning.is_some())
        }
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

fn assigns_columns(assignments: &[Assignment], target: &Target) -> bool {
    assignments.iter().any(|assignment| match &assignment.source {
        AssignmentSource::Values(values) => names_columns(values, target),
        AssignmentSource::Row(query) => names_columns(query, target),
    })
}

/// Whether an expression names what may be a column of the table, or its rows.
fn names_columns(expr: &impl Visit, target: &Target) -> bool {
    any_expr(expr, &mut |expr| match expr {
        Expr::Identifier(name) => {
            let name = fold(name);
            name == target.visible || target.object.columns.iter().any(|column| column.name == name)
        }
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., table, _] => fold(table) == target.visible,
            _ => true,
        },
        _ => false,
    })
}
