//! The rights that INSERT, UPDATE, DELETE and their kin need on the table that they change.
//!
//! As in PostgreSQL: SELECT too where a statement looks at the table's rows, in its condition, its
//! values or RETURNING. Rights are a table's, not a column's. What else a statement reads is checked
//! where its names are resolved ([`super::target::with_names`]).

use datafusion::sql::sqlparser::ast::{Expr, Visit};
use thalweg_dataflow::error::Result;

use super::Target;
use crate::parser::Kind;
use crate::parser::change::{Assignment, AssignmentSource, ConflictAction, Insert};
use crate::roles::acl::{DELETE, INSERT, Rights, SELECT, UPDATE};
use crate::session::{Session, View};
use crate::walk::any_expr;

/// Refuses a statement without the rights it needs on its target.
pub(super) fn check(session: &Session, view: &View, kind: &Kind, target: &Target) -> Result<()> {
    session.asker(&view.published.catalog).need(&target.object, needed(kind))
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
