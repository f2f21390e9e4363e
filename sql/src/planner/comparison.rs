//! Conditions of the form `column op constant`, both of one type: what names rows by a key.
//!
//! A constant is any expression that has one value for all rows: `5`, `$1`, `$1 + 99`.

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use super::contents::is_over_one_row;

/// A condition of this form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparison<'a> {
    /// The column's place in the relation.
    pub(crate) column: usize,
    /// One of `=`, `<`, `<=`, `>`, `>=`.
    pub(crate) op: Operator,
    /// Without columns, subqueries and volatile functions.
    pub(crate) value: &'a Expr,
    /// The condition that it is.
    pub(crate) condition: &'a Expr,
}

impl<'a> Comparison<'a> {
    /// The comparison that a condition is, if it is one; `find` knows a column's place and layout.
    pub(crate) fn of(
        condition: &'a Expr,
        find: impl Fn(&Column) -> Option<(usize, DataType)>,
    ) -> Option<Comparison<'a>> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
        let (column, op, value) = match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), value) => (column, *op, value),
            (value, Expr::Column(column)) => (column, op.swap()?, value),
            _ => return None,
        };
        if !matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq) {
            return None;
        }
        let (column, layout) = find(column)?;
        let fits = match value {
            Expr::Literal(value, _) => value.data_type() == layout,
            Expr::Placeholder(parameter) => parameter.field.as_ref().is_some_and(|field| *field.data_type() == layout),
            value => is_constant(value) && value.get_type(&DFSchema::empty()).is_ok_and(|ty| ty == layout),
        };
        fits.then_some(Comparison { column, op, value, condition })
    }
}

/// Whether an expression needs no row and has one value.
fn is_constant(expr: &Expr) -> bool {
    is_over_one_row(expr) && !expr.is_volatile() && !expr.any_column_refs()
}
