//! UPDATE and DELETE of a row that is named by a unique key: `WHERE id = 5 AND ...`.
//!
//! Such a statement need not read its table: the row is looked up, and the rest of the statement
//! are expressions over it.

use std::collections::BTreeMap;

use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::Result;
use thalweg_dataflow::types::PgType;

use super::binder::Binder;
use super::change::{Returning, RowScope, Target};
use super::comparison::Comparison;
use super::{Resolver, Settings};
use crate::parser::change::Assignment;

/// See the module. All expressions are over the table's columns.
pub(crate) struct ByKey {
    /// Which key.
    pub(crate) key: usize,
    /// The places of its columns and their values.
    pub(crate) values: Vec<(usize, Expr)>,
    /// The whole condition.
    pub(crate) condition: Expr,
    /// UPDATE: the new value of every column.
    pub(crate) set: Option<Vec<Expr>>,
    /// RETURNING: over the new row of an UPDATE, the old one of a DELETE.
    pub(crate) returning: Option<Returning>,
    /// What the expressions are over.
    pub(crate) scope: RowScope,
}

/// The statement by key, if its condition gives a value for every column of one.
pub(super) fn by_key(
    target: &Target<'_>,
    condition: Option<&ast::Expr>,
    set: Option<&[Assignment]>,
    returning: Option<&[ast::SelectItem]>,
    with: &[ast::With],
    (resolver, settings, parameters): (&dyn Resolver, &Settings, &[PgType]),
) -> Result<Option<ByKey>> {
    let (Some(condition), false) = (condition, target.keys.is_empty()) else { return Ok(None) };
    let types: Vec<Option<PgType>> = parameters.iter().cloned().map(Some).collect();
    let binder = Binder::new(resolver, settings, &types).behind(with)?;
    let scope = RowScope::new(&[(target.visible, target.columns)])?;
    let condition = binder.condition(&binder.env(scope.names(), "WHERE"), condition, "WHERE")?;
    let given: BTreeMap<usize, Expr> =
        split_conjunction(&condition).into_iter().filter_map(|part| equality(part, target)).collect();
    let is_given = |columns: &Vec<usize>| columns.iter().all(|column| given.contains_key(column));
    let Some(key) = target.keys.iter().position(is_given) else { return Ok(None) };
    let values = target.keys[key].iter().filter_map(|column| Some((*column, given.get(column)?.clone()))).collect();
    let set = match set {
        Some(assignments) => Some(binder.assigned(
            target,
            assignments,
            &binder.env(scope.names(), "UPDATE"),
            &|place| scope.column(place),
        )?),
        None => None,
    };
    let returning = returning.map(|items| binder.returning(items, scope.names())).transpose()?;
    Ok(Some(ByKey { key, values, condition, set, returning, scope }))
}

/// `column = constant`.
fn equality(part: &Expr, target: &Target<'_>) -> Option<(usize, Expr)> {
    let comparison = Comparison::of(part, |column| {
        let place: usize = column.name.parse().ok()?;
        Some((place, target.columns.get(place)?.data_type.arrow()))
    })?;
    (comparison.op == Operator::Eq).then(|| (comparison.column, comparison.value.clone()))
}
