//! What CREATE INDEX says, as the catalog keeps it: keys, method, INCLUDE and WHERE.
//!
//! Promises: what it names is there, and what its method cannot have is refused in PostgreSQL's words.

use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;

use super::create_table::{check_order, has_subquery};
use super::query::planning;
use super::resolve::Names;
use crate::catalog::index::{Extras, IndexExpression, Part, method_oid};
use crate::catalog::{Index, Object};
use crate::parser::change::ColumnName;
use crate::parser::index::{CreateIndex, Key};
use crate::planner::change::RowScope;
use crate::planner::index_term::IndexTerm;
use crate::planner::{Planner, output_name};
use crate::session::Session;

/// The index that a statement asks for, without oid and name.
pub(super) fn index(session: &Session, create: &CreateIndex, object: &Object, request: &str) -> Result<Index> {
    let method = create.method.as_deref().unwrap_or("btree");
    check_method(create, method)?;
    let mut columns = Vec::with_capacity(create.keys.len());
    let mut expressions: Vec<IndexExpression> = Vec::new();
    for (at, (key, order)) in create.keys.iter().enumerate() {
        let data_type = match key {
            Key::Column(column) => {
                let place = place_of(object, column)?;
                columns.push((place, order.clone()));
                object.columns[place].data_type.clone()
            }
            Key::Expression(expr, text) => {
                let data_type = bound(session, object, &IndexTerm { expr, is_predicate: false }, request)?;
                let name = column_name(expr, &expressions);
                let text = if is_bare(expr) { text.clone() } else { format!("(({text}))") };
                let column = Column { name, data_type: data_type.clone(), not_null: false };
                expressions.push(IndexExpression { at, column, text, order: order.clone() });
                data_type
            }
        };
        check_type(&data_type, method)?;
    }
    let predicate = match &create.predicate {
        None => None,
        Some((expr, text)) => {
            bound(session, object, &IndexTerm { expr, is_predicate: true }, request)?;
            Some(if is_bare(expr) { text.clone() } else { format!("({text})") })
        }
    };
    if create.unique && predicate.is_some() {
        return Err(Error::unsupported("a unique index of some rows (CREATE UNIQUE INDEX ... WHERE)"));
    }
    if create.unique && !expressions.is_empty() {
        return Err(Error::unsupported("a unique index on an expression"));
    }
    let included = create.included.iter().map(|column| place_of(object, column)).collect::<Result<_>>()?;
    let method = (method != "btree").then(|| method.to_string());
    let extras = Extras { method, expressions, included, predicate };
    Ok(Index { oid: 0, name: String::new(), unique: create.unique, columns, extras })
}

/// The names of its columns, from which it gets its own.
pub(super) fn names(index: &Index, columns: &[Column]) -> Vec<String> {
    let name = |part: Part<'_>| match part {
        Part::Column(place) => columns.get(place).map(|column| column.name.clone()),
        Part::Expression(expression) => Some(expression.column.name.clone()),
    };
    let included = index.extras.included.iter().map(|place| Part::Column(*place));
    index.parts().into_iter().map(|(part, _)| part).chain(included).filter_map(name).collect()
}

fn place_of(object: &Object, column: &ColumnName) -> Result<usize> {
    let missing = || Error::new(SqlState::UndefinedColumn, format!("column \"{}\" does not exist", column.name));
    object.columns.iter().position(|known| known.name == column.name).ok_or_else(missing)
}

/// Whether an expression stands without parentheses of its own.
fn is_bare(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Function(_) | ast::Expr::Identifier(_))
}

/// What an expression is called as a column of its index.
fn column_name(expr: &ast::Expr, before: &[IndexExpression]) -> String {
    let name = match output_name(expr) {
        unnamed if unnamed == "?column?" => "expr".to_string(),
        named => named,
    };
    let taken = |name: &str| before.iter().any(|one| one.column.name == name);
    let numbered = (1..=before.len()).map(|number| format!("{name}{number}"));
    std::iter::once(name.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(name)
}

fn bound(session: &Session, object: &Object, term: &IndexTerm<'_>, request: &str) -> Result<PgType> {
    if has_subquery(term.expr) {
        let part = if term.is_predicate { "predicate" } else { "expression" };
        return Err(Error::new(SqlState::FeatureNotSupported, format!("cannot use subquery in index {part}")));
    }
    let view = session.peek_view();
    let names = Names::of_defaults(session, &view);
    let scope = RowScope::new(&[(&object.name, &object.columns)])?;
    Planner.index_type(term, &scope, &names, &planning(session, request, false))
}

/// Refuses what a method cannot have.
fn check_method(create: &CreateIndex, method: &str) -> Result<()> {
    if ["gist", "spgist"].contains(&method) {
        return Err(Error::unsupported(format!("CREATE INDEX ... USING {method}")));
    }
    if method_oid(method).is_none() {
        return Err(Error::new(SqlState::UndefinedObject, format!("access method \"{method}\" does not exist")));
    }
    if method == "btree" {
        return Ok(());
    }
    let has = |words: &[&str]| create.keys.iter().any(|(_, order)| words.iter().any(|word| order.contains(word)));
    let lacks = [
        (create.unique, "unique indexes"),
        (!create.included.is_empty(), "included columns"),
        (method == "hash" && create.keys.len() > 1, "multicolumn indexes"),
        (has(&[" DESC"]), "ASC/DESC options"),
        (has(&[" NULLS"]), "NULLS FIRST/LAST options"),
    ];
    match lacks.into_iter().find(|(asked, _)| *asked) {
        Some((_, what)) => {
            let message = format!("access method \"{method}\" does not support {what}");
            Err(Error::new(SqlState::FeatureNotSupported, message))
        }
        None => Ok(()),
    }
}

/// Refuses types that a method has no operator class for. Error: 42704.
fn check_type(ty: &PgType, method: &str) -> Result<()> {
    let is_document = matches!(ty, PgType::Jsonb) || ty.element().is_some();
    let fits = match method {
        "btree" => return check_order(ty),
        "gin" => is_document,
        "brin" => !is_document && !matches!(ty, PgType::Json | PgType::Bool),
        _ => !matches!(ty.element().unwrap_or(ty), PgType::Json),
    };
    if fits {
        return Ok(());
    }
    let message = format!("data type {} has no default operator class for access method \"{method}\"", ty.name());
    Err(Error::new(SqlState::UndefinedObject, message)
        .hint("You must specify an operator class for the index or define a default operator class for the data type."))
}
