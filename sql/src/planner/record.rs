//! Rows as values: `ROW(a, b)`, `(a, b)`, and a table's name where a column's could stand.
//!
//! Comparisons of rows that are written out are `row_value`'s; here is what is left: rows that are
//! shown, grouped by, aggregated, compared as columns or turned into documents.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::types::{PgType, Zone, record};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env, name_parts};
use super::expr::Cast;
use super::functions::evaluated;
use super::functions::udf::{Kernel, PgFunction};
use super::scope::Scope;
use super::typed::Typed;

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
        self.record(items, &names).map(Some)
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

const ROW: Kernel = |input| {
    let names = input.constant_text(0).unwrap_or_default();
    let names: Vec<&str> = if names.is_empty() { Vec::new() } else { names.split(SEPARATOR).collect() };
    let columns = (1..input.args.len()).map(|place| input.array(place)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(record::of_columns(&input.types[1..], &columns, input.rows, &names)?))
};
