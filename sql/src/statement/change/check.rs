//! What a row must satisfy before it gets into a table, NOT NULL and CHECK, and what is computed of it.
//!
//! The error is that of the first row that fails, in PostgreSQL's order: nulls first, then checks by
//! name; its detail shows the row.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use thalweg_dataflow::error::{Error, Result, SqlState, Subject};
use thalweg_dataflow::types::{PgType, TextStyle, write_text};

use super::Target;
use super::evaluate::Evaluation;
use crate::catalog::Rule;
use crate::parser::parse_expression;
use crate::planner::Planner;
use crate::planner::change::RowScope;
use crate::session::{Session, View};
use crate::statement::query::planning;
use crate::statement::resolve::Names;

/// Bytes of a value that a failing row shows.
const SHOWN_BYTES: usize = 64;

/// Rows as they get into the table: those that satisfy its constraints, with the columns that are
/// computed from others.
pub(crate) async fn complete(
    session: &Session,
    view: &View,
    target: &Target,
    rows: RecordBatch,
) -> Result<RecordBatch> {
    let rows = computed(session, view, target, rows).await?;
    check(session, view, target, &rows).await?;
    Ok(rows)
}

/// Rows with the columns that are computed from others.
pub(super) async fn computed(
    session: &Session,
    view: &View,
    target: &Target,
    rows: RecordBatch,
) -> Result<RecordBatch> {
    let planned = target.planned()?;
    if planned.generated.is_empty() || rows.num_rows() == 0 {
        return Ok(rows);
    }
    let scope = RowScope::new(&[(&target.object.name, &target.object.columns)])?;
    let names = Names::of_catalog(&view.published, session.path_in(&view.published.catalog));
    let bound = Planner.bind_generated(&planned, &scope, &names, &planning(session, "", false))?;
    let (places, exprs): (Vec<usize>, Vec<_>) = bound.into_iter().unzip();
    let types: Vec<PgType> = places.iter().map(|place| target.object.columns[*place].data_type.clone()).collect();
    let evaluation = Evaluation { session, view, parameters: &[], types: &[] };
    let values = evaluation.over(&exprs, &types, &scope.schema, &rows).await?;
    let mut columns = rows.columns().to_vec();
    places.iter().zip(values).for_each(|(place, value)| columns[*place] = value);
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

/// See the module.
pub(crate) async fn check(session: &Session, view: &View, target: &Target, rows: &RecordBatch) -> Result<()> {
    if rows.num_rows() == 0 {
        return Ok(());
    }
    let columns = &target.object.columns;
    let mut first: Option<(usize, Error)> = None;
    for (place, column) in columns.iter().enumerate().filter(|(_, column)| column.not_null) {
        let array = rows.column(place);
        let row = (array.null_count() > 0).then(|| (0..rows.num_rows()).find(|row| array.is_null(*row))).flatten();
        if let Some(row) = row.filter(|row| first.as_ref().is_none_or(|(known, _)| row < known)) {
            let message = format!(
                "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                column.name, target.object.name
            );
            let subject = Subject { column: Some(column.name.clone()), ..target.object.subject() };
            first = Some((row, Error::new(SqlState::NotNullViolation, message).about(subject)));
        }
    }
    let mut checks: Vec<(&str, &str)> = Vec::new();
    for constraint in &target.table()?.constraints {
        if let Rule::Check(text) = &constraint.rule {
            checks.push((&constraint.name, text));
        }
    }
    checks.sort_unstable();
    for (name, text) in checks {
        let passed = passes(session, view, target, text, rows).await?;
        let passed = passed.as_boolean();
        let row = (0..rows.num_rows()).find(|row| passed.is_valid(*row) && !passed.value(*row));
        if let Some(row) = row.filter(|row| first.as_ref().is_none_or(|(known, _)| row < known)) {
            let message =
                format!("new row for relation \"{}\" violates check constraint \"{name}\"", target.object.name);
            let subject = Subject { constraint: Some(name.to_string()), ..target.object.subject() };
            first = Some((row, Error::new(SqlState::CheckViolation, message).about(subject)));
        }
    }
    match first {
        Some((row, error)) => {
            Err(error.detail(format!("Failing row contains {}.", row_text(rows.columns(), row, target, session))))
        }
        None => Ok(()),
    }
}

/// Which rows a CHECK does not refuse.
pub(super) async fn passes(
    session: &Session,
    view: &View,
    target: &Target,
    text: &str,
    rows: &RecordBatch,
) -> Result<ArrayRef> {
    let scope = RowScope::new(&[(&target.object.name, &target.object.columns)])?;
    let names = Names::of_catalog(&view.published, session.path_in(&view.published.catalog));
    let condition = Planner.bind_check(&parse_expression(text)?, &scope, &names, &planning(session, "", false))?;
    let evaluation = Evaluation { session, view, parameters: &[], types: &[] };
    let mut passed = evaluation.over(&[condition], &[PgType::Bool], &scope.schema, rows).await?;
    passed.pop().ok_or_else(|| Error::internal("a condition without a value"))
}

/// A row as messages show it: `(1, null, samsung)`.
fn row_text(columns: &[ArrayRef], row: usize, target: &Target, session: &Session) -> String {
    let style = TextStyle { zone: session.text_style().zone.clone(), ..TextStyle::default() };
    let mut parts = Vec::with_capacity(columns.len());
    for (column, declared) in columns.iter().zip(&target.object.columns) {
        let mut text = String::new();
        if column.is_null(row) {
            text.push_str("null");
        } else if write_text(&declared.data_type, column.as_ref(), row, &style, &mut text).is_err() {
            text.push('?');
        } else if text.len() > SHOWN_BYTES {
            let mut end = SHOWN_BYTES;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str("...");
        }
        parts.push(text);
    }
    format!("({})", parts.join(", "))
}
