//! Rows as values: `ROW(a, b)`, `(a, b)`, and a table's name where a column's could stand.
//!
//! Comparisons of rows that are written out are `row_value`'s; here is what is left: rows that are
//! shown, grouped by, aggregated, compared as columns or turned into documents.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Case, Expr, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, Visit};
use thalweg_dataflow::types::{PgType, Zone, record};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env, fold, name_parts};
use super::expr::Cast;
use super::from::From;
use super::functions::evaluated;
use super::functions::udf::{Input, Kernel, PgFunction};
use super::scope::Scope;
use super::typed::{Typed, metadata};
use crate::parser::change::{Assignment, AssignmentSource};
use crate::walk::{Node, ON, walk};

/// Between the names of a row's fields; no name has it.
const SEPARATOR: char = '\0';

/// The most fields of a row, PostgreSQL's.
const MAX_FIELDS: usize = 1664;

impl Binder<'_> {
    /// `ROW(...)` of bound items.
    pub(super) fn row_of(&self, env: &Env<'_>, items: &[&ast::Expr]) -> Result<Typed> {
        let items = items.iter().map(|item| self.expr(env, item)).collect::<Result<Vec<_>>>()?;
        self.record(items, &[])
    }

    /// The row of a table as one value; `None` if the scope has no table of this name.
    pub(super) fn whole_row(&self, scope: &Scope, table: &str) -> Result<Option<Typed>> {
        if !scope.tables.iter().any(|known| known == table) {
            return Ok(None);
        }
        let columns = scope.columns.iter().filter(|column| column.table.as_deref() == Some(table));
        let (names, items): (Vec<String>, Vec<Typed>) =
            columns.map(|column| (column.name.clone(), Typed::new(column.expr.clone(), column.ty.clone()))).unzip();
        let row = self.record(items, &names)?;
        let present = scope.present.iter().find(|(known, _)| known == table);
        Ok(Some(match present {
            Some((_, present)) => {
                let there = (Box::new(present.clone().is_not_null()), Box::new(row.expr));
                let row = Case { expr: None, when_then_expr: vec![there], else_expr: None };
                Typed::new(Expr::Case(row), PgType::Record)
            }
            None => row,
        }))
    }

    /// Notes which names a SELECT with outer joins has where a row may be meant.
    pub(super) fn note_rows(&self, select: &ast::Select, order: &[ast::OrderByExpr]) {
        if select.from.iter().any(has_outer_join) {
            self.note_names(select);
            order.iter().for_each(|item| self.note_names(item));
        }
    }

    /// The same for a part of a statement that changes rows.
    pub(super) fn note_names(&self, part: &impl Visit) {
        let mut names = self.row_names.borrow_mut();
        let _ = walk(part, &mut |node: Node<'_>| {
            match node {
                Node::Expr(ast::Expr::Identifier(name)) => names.extend([fold(name)]),
                Node::Expr(ast::Expr::Function(call)) => names.extend(rows_given(call)),
                _ => {}
            }
            ON
        });
    }

    /// The same for SET.
    pub(super) fn note_assigned(&self, assignments: &[Assignment]) {
        for assignment in assignments {
            match &assignment.source {
                AssignmentSource::Values(values) => self.note_names(values),
                AssignmentSource::Row(query) => self.note_names(query),
            }
        }
    }

    /// A side of an outer join whose rows may be missing, with what tells whether one is there if its
    /// rows are asked for.
    pub(super) fn missable(&self, mut side: From) -> Result<From> {
        let names = self.row_names.borrow();
        let known = |table: &String| side.scope.present.iter().any(|(known, _)| known == table);
        let wanted = |table: &&String| names.contains(*table) && !known(table);
        let tables: Vec<String> = side.scope.tables.iter().filter(wanted).cloned().collect();
        if tables.is_empty() {
            return Ok(side);
        }
        let name = self.unique("present");
        let mut exprs: Vec<Expr> = side.plan.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.push(datafusion::prelude::lit(true).alias_with_metadata(&name, Some(metadata(&PgType::Bool))));
        side.plan = LogicalPlanBuilder::from(side.plan).project(exprs)?.build()?;
        let present = Expr::Column(Column::new_unqualified(name));
        side.scope.present.extend(tables.into_iter().map(|table| (table, present.clone())));
        Ok(side)
    }

    /// `row IS NULL`: there is none or all its fields are; `row IS NOT NULL`: none is.
    pub(super) fn record_is_null(&self, row: Expr, null: bool) -> Expr {
        let kernel: Kernel = if null { ALL_NULL } else { NONE_NULL };
        let name = if null { "row_is_null" } else { "row_is_not_null" };
        evaluated(PgFunction::new(name, vec![PgType::Record], PgType::Bool, Zone::default(), kernel), vec![row])
    }

    /// `table.*` as an argument.
    pub(super) fn table_row(&self, env: &Env<'_>, table: &ast::ObjectName) -> Result<Typed> {
        let name = name_parts(table)?.pop().unwrap_or_default();
        let missing = || {
            let message = format!("missing FROM-clause entry for table \"{name}\"");
            Error::new(SqlState::UndefinedTable, message)
        };
        self.whole_row(env.scope, &name)?.ok_or_else(missing)
    }

    /// A row of these values; without names its fields are f1, f2, ...
    pub(super) fn record(&self, items: Vec<Typed>, names: &[String]) -> Result<Typed> {
        if items.len() > MAX_FIELDS {
            let message = format!("ROW expressions can have at most {MAX_FIELDS} entries");
            return Err(Error::new(SqlState::TooManyColumns, message));
        }
        let names = names.join(&SEPARATOR.to_string());
        let mut types = vec![PgType::Text];
        let mut args = vec![super::literal(ScalarValue::Utf8(Some(names)), &PgType::Text)];
        for item in items {
            let base = item.ty.as_ref().map_or(PgType::Text, PgType::base);
            args.push(self.coerce(item, &base, Cast::Explicit)?.expr);
            types.push(base);
        }
        let function = PgFunction::new("row", types, PgType::Record, Zone::default(), ROW);
        Ok(Typed::new(evaluated(function, args), PgType::Record))
    }
}

/// The tables of `f(t.*)`.
fn rows_given(call: &ast::Function) -> Vec<String> {
    let ast::FunctionArguments::List(list) = &call.args else { return Vec::new() };
    let table = |arg: &ast::FunctionArg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::QualifiedWildcard(table)) => name_parts(table).ok()?.pop(),
        _ => None,
    };
    list.args.iter().filter_map(table).collect()
}

pub(super) fn has_outer_join(table: &ast::TableWithJoins) -> bool {
    use ast::JoinOperator as J;
    let within = |factor: &ast::TableFactor| match factor {
        ast::TableFactor::NestedJoin { table_with_joins, .. } => has_outer_join(table_with_joins),
        _ => false,
    };
    within(&table.relation)
        || table.joins.iter().any(|join| {
            let inner = matches!(join.join_operator, J::Join(_) | J::Inner(_) | J::CrossJoin(_));
            !inner || within(&join.relation)
        })
}

const ALL_NULL: Kernel = |input| nulls(input, |fields| fields.is_none_or(|fields| fields.iter().all(|null| *null)));

const NONE_NULL: Kernel = |input| nulls(input, |fields| fields.is_some_and(|fields| !fields.iter().any(|null| *null)));

/// What is true of the fields of each row, as whether they are null.
fn nulls(input: &Input<'_>, verdict: impl Fn(Option<Vec<bool>>) -> bool) -> Result<ArrayRef> {
    let rows = input.array(0)?;
    let rows = rows.as_binary_opt::<i32>().ok_or_else(|| Error::internal("a row is bytes"))?;
    let of = |row: Option<&[u8]>| Ok(verdict(row.map(record::nulls).transpose()?));
    Ok(Arc::new(rows.iter().map(|row| of(row).map(Some)).collect::<Result<BooleanArray>>()?))
}

const ROW: Kernel = |input| {
    let names = input.constant_text(0).unwrap_or_default();
    let names: Vec<&str> = if names.is_empty() { Vec::new() } else { names.split(SEPARATOR).collect() };
    let columns = (1..input.args.len()).map(|place| input.array(place)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(record::of_columns(&input.types[1..], &columns, input.rows, &names)?))
};
