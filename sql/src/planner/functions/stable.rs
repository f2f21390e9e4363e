//! Which calls give the same for ever: what columns are computed from and indexes are about may call no
//! others.
//!
//! As PostgreSQL marks its functions: what depends on TimeZone, DateStyle or other settings is only
//! stable, whatever it is of here.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use thalweg_dataflow::Result;
use thalweg_dataflow::types::PgType;

use super::udf::PgFunction;

/// Functions that settings have a say in, whatever they are of.
const STABLE: [&str; 16] = [
    "array_to_string",
    "concat",
    "concat_ws",
    "format",
    "json_agg",
    "json_build_array",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "make_timestamptz",
    "row_to_json",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "array_to_json",
];

/// Functions and operators that the time zone has a say in if they are of a timestamptz.
const ZONED: [&str; 5] = ["date_part", "date_trunc", "extract", "+", "-"];

/// Whether an expression is the same for the same columns, for ever.
pub(crate) fn is_immutable(expr: &Expr) -> Result<bool> {
    let mut immutable = !expr.is_volatile();
    expr.apply(|inner| {
        if let Expr::ScalarFunction(call) = inner
            && let Some(function) = call.func.inner().downcast_ref::<PgFunction>()
        {
            immutable &= !depends_on_settings(function);
        }
        Ok(if immutable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(immutable)
}

fn depends_on_settings(function: &PgFunction) -> bool {
    let name = function.name.as_str();
    let zoned = function.args.contains(&PgType::Timestamptz);
    match (name, function.args.as_slice()) {
        ("cast" | "assign", [from, ..]) => cast_depends(from, &function.result),
        ("to_timestamp", [_, _]) => true,
        // The difference of two of them is no matter of zones.
        ("-", [PgType::Timestamptz, PgType::Timestamptz]) => false,
        _ => STABLE.contains(&name) || (zoned && ZONED.contains(&name)),
    }
}

fn cast_depends(from: &PgType, to: &PgType) -> bool {
    let is_time = |ty: &PgType| {
        matches!(ty, PgType::Timestamptz | PgType::Timestamp | PgType::Date | PgType::Time(_) | PgType::Interval)
    };
    let is_zoned = |ty: &PgType| *ty == PgType::Timestamptz;
    match (is_time(from), is_time(to)) {
        (true, true) => is_zoned(from) != is_zoned(to),
        // As text it is written as DateStyle says.
        (true, false) | (false, true) => true,
        (false, false) => false,
    }
}
