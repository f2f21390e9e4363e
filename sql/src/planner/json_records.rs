//! Documents as rows with declared columns: `json_to_record(d) AS x(a int, b text)` and its kin in FROM.
//!
//! Such an item is the query over the documents' fields that it stands for. Elements that are no objects
//! give nulls, where PostgreSQL has an error.

use datafusion::sql::sqlparser::ast::{self, DataType, FunctionArg, FunctionArgExpr, TableAlias, TableFactor};
use thalweg_dataflow::{Error, Result, SqlState};

use super::expand::{Argument, TableFunction};
use crate::parser::parse_query;
use crate::statement::definition::literal;
use crate::walk::{NodeMut, walk_mut};

/// What stands for the argument in the query's text: no user can write such a name.
const ARGUMENT: &str = "the document\u{1}";

/// The item that a call stands for; `None`: it is a call of something else.
pub(super) fn derived(function: &TableFunction<'_>, alias: Option<&TableAlias>) -> Result<Option<TableFactor>> {
    let name = function.name.as_str();
    let Some((kind, set)) = (match name {
        "json_to_record" => Some(("json", false)),
        "jsonb_to_record" => Some(("jsonb", false)),
        "json_to_recordset" => Some(("json", true)),
        "jsonb_to_recordset" => Some(("jsonb", true)),
        _ => None,
    }) else {
        return Ok(None);
    };
    let [Argument::Written(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))] = function.args.as_slice() else {
        return Ok(None);
    };
    let columns = alias.map_or(&[][..], |alias| &alias.columns);
    let typed: Option<Vec<String>> =
        columns.iter().map(|column| Some(item(kind, &column.name, column.data_type.as_ref()?))).collect();
    let (Some(alias), Some(items), false) = (alias, typed, columns.is_empty()) else {
        let message = "a column definition list is required for functions returning \"record\"";
        return Err(Error::new(SqlState::SyntaxError, message));
    };
    if function.ordinality {
        let message = "WITH ORDINALITY cannot be used with a column definition list";
        return Err(Error::new(SqlState::SyntaxError, message));
    }
    let documents = match set {
        true => format!("{kind}_array_elements(\"{ARGUMENT}\") AS e(d)"),
        false => format!("(SELECT CAST(\"{ARGUMENT}\" AS {kind})) AS e(d)"),
    };
    let mut subquery = parse_query(&format!("SELECT {} FROM {documents}", items.join(", ")))?;
    walk_mut(subquery.as_mut(), &mut |node| {
        if let NodeMut::Expr(expr) = node
            && matches!(expr, ast::Expr::Identifier(ident) if ident.value == ARGUMENT)
        {
            *expr = argument.clone();
        }
    });
    let mut alias = alias.clone();
    alias.columns.iter_mut().for_each(|column| column.data_type = None);
    Ok(Some(TableFactor::Derived { lateral: true, subquery, alias: Some(alias), sample: None }))
}

/// A column: the field of its name in its type.
fn item(kind: &str, name: &ast::Ident, data_type: &DataType) -> String {
    let key = literal(&super::binder::fold(name));
    let text = format!("d ->> {key}");
    let value = match data_type {
        DataType::JSON | DataType::JSONB => format!("d -> {key}"),
        DataType::Array(_) => format!("ARRAY(SELECT {kind}_array_elements_text(d -> {key}))"),
        _ => return format!("CAST({text} AS {data_type})"),
    };
    format!("CASE WHEN {text} IS NOT NULL THEN CAST({value} AS {data_type}) END")
}
