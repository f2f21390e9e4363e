//! `SET a[2] = 5`, `SET a[1:2] = ...`: an array with a part of it replaced.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{self, Subscript};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env, at};
use super::expr::Cast;
use super::functions::array_part;
use super::typed::{Typed, base_name};
use crate::parser::change::ColumnName;

impl Binder<'_> {
    /// What a column's array becomes when a part of it is given a value.
    pub(super) fn assign_part(&self, env: &Env<'_>, whole: Typed, part: &ColumnName, value: Typed) -> Result<Expr> {
        let subscript = |access: &ast::AccessExpr| match access {
            ast::AccessExpr::Subscript(subscript) => Ok(subscript.clone()),
            ast::AccessExpr::Dot(field) => {
                let (name, ty) = (&part.name, whole.type_name());
                let message = format!(
                    "cannot assign to field \"{field}\" of column \"{name}\" because its type {ty} is not a composite type"
                );
                Err(at(Error::new(SqlState::DatatypeMismatch, message), part.at))
            }
        };
        let subscripts = part.part.iter().map(subscript).collect::<Result<Vec<_>>>()?;
        let Some(element) = whole.ty.as_ref().and_then(PgType::element).cloned() else {
            if matches!(whole.ty, Some(PgType::Jsonb)) {
                return Err(at(Error::unsupported("a part of a jsonb column as a target"), part.at));
            }
            let message =
                format!("cannot subscript type {} because it does not support subscripting", whole.type_name());
            return Err(at(Error::new(SqlState::DatatypeMismatch, message), part.at));
        };
        let slice = subscripts.iter().any(|subscript| matches!(subscript, Subscript::Slice { .. }));
        let wanted = if slice { element.array() } else { element };
        let place = value.at;
        let value = self.store(value, &wanted, &|from| {
            let (name, wanted) = (&part.name, base_name(&wanted));
            format!("subscripted assignment to \"{name}\" requires type {wanted} but expression is of type {from}")
        });
        let value = value.map_err(|error| at(error, place))?;
        let array = whole.ty.clone().unwrap_or(PgType::Text);
        let mut args = vec![whole, Typed::new(value, wanted)];
        for subscript in &subscripts {
            match subscript {
                // Beside a slice it is one from 1 on.
                Subscript::Index { index } if slice => {
                    args.extend([number(1), number(PROVIDED), self.array_bound(env, index)?, number(PROVIDED)]);
                }
                Subscript::Index { index } => args.push(self.array_bound(env, index)?),
                Subscript::Slice { lower_bound, upper_bound, stride: None } => {
                    for bound in [lower_bound, upper_bound] {
                        match bound {
                            Some(bound) => args.extend([self.array_bound(env, bound)?, number(PROVIDED)]),
                            None => args.extend([number(0), number(1 - PROVIDED)]),
                        }
                    }
                }
                Subscript::Slice { .. } => return Err(Error::unsupported("a slice with a stride")),
            }
        }
        let kernel = if slice { array_part::SLICE } else { array_part::ELEMENT };
        Ok(self.array_call("assigned", args, array, kernel)?.expr)
    }

    fn array_bound(&self, env: &Env<'_>, expr: &ast::Expr) -> Result<Typed> {
        self.coerce(self.expr(env, expr)?, &PgType::Int4, Cast::Explicit)
    }
}

/// Behind a bound of a slice: that it was written.
const PROVIDED: i32 = 1;

fn number(value: i32) -> Typed {
    Typed::constant(ScalarValue::Int32(Some(value)), PgType::Int4)
}
