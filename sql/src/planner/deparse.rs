//! Expressions as SQL writes them: for EXPLAIN.
//!
//! Prints what the engine evaluates, every operator in parentheses as PostgreSQL's EXPLAIN does.
//! What the binder added for comparison's sake (sort keys, canonical forms) is left out. Nothing
//! reads these texts again.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{self, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use thalweg_dataflow::types::{Numeric, PgType, TextStyle, write_text};

use super::functions::udf::PgFunction;
use super::guard::Guarded;

/// An expression over columns of these names.
pub(super) fn expression(expr: &Arc<dyn PhysicalExpr>, input: &SchemaRef) -> String {
    let text = |expr: &Arc<dyn PhysicalExpr>| expression(expr, input);
    if let Some(column) = expr.downcast_ref::<Column>() {
        return input.fields().get(column.index()).map_or(column.name(), |field| field.name()).to_string();
    }
    if let Some(known) = expr.downcast_ref::<Literal>() {
        let ty = known.return_field(&Schema::empty()).map_or(PgType::Text, |field| PgType::of(&field));
        return literal(known.value(), &ty);
    }
    if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        let args: Vec<String> = call.args().iter().map(text).collect();
        return match call.fun().inner().downcast_ref::<PgFunction>() {
            Some(function) => written(function, &args),
            None => format!("{}({})", call.name(), args.join(", ")),
        };
    }
    if let Some((symbol, left, right)) = binary(expr) {
        if matches!(symbol, "AND" | "OR") {
            let mut operands = Vec::new();
            chain(expr, symbol, &mut |operand| operands.push(text(operand)));
            return format!("({})", operands.join(&format!(" {symbol} ")));
        }
        return format!("({} {symbol} {})", beside(left, right, input), beside(right, left, input));
    }
    predicate(expr, &text).unwrap_or_else(|| expr.to_string())
}

/// The tests that are no binary operators, CASE and casts.
fn predicate(expr: &Arc<dyn PhysicalExpr>, text: &dyn Fn(&Arc<dyn PhysicalExpr>) -> String) -> Option<String> {
    if let Some(not) = expr.downcast_ref::<NotExpr>() {
        return Some(format!("(NOT {})", text(not.arg())));
    }
    if let Some(test) = expr.downcast_ref::<IsNullExpr>() {
        return Some(format!("({} IS NULL)", text(test.arg())));
    }
    if let Some(test) = expr.downcast_ref::<IsNotNullExpr>() {
        return Some(format!("({} IS NOT NULL)", text(test.arg())));
    }
    if let Some(like) = expr.downcast_ref::<LikeExpr>() {
        let not = if like.negated() { "!" } else { "" };
        let any_case = if like.case_insensitive() { "*" } else { "" };
        return Some(format!("({} {not}~~{any_case} {})", text(like.expr()), text(like.pattern())));
    }
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        let not = if list.negated() { "NOT " } else { "" };
        let items: Vec<String> = list.list().iter().map(text).collect();
        return Some(format!("({} {not}IN ({}))", text(list.expr()), items.join(", ")));
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return Some(format!("({})::{}", text(cast.expr()), PgType::of_arrow(cast.cast_type()).name()));
    }
    let case = expr.downcast_ref::<CaseExpr>()?;
    let mut whole = "CASE".to_string();
    if let Some(operand) = case.expr() {
        whole.push_str(&format!(" {}", text(operand)));
    }
    for (when, then) in case.when_then_expr() {
        whole.push_str(&format!(" WHEN {} THEN {}", text(when), text(then)));
    }
    if let Some(otherwise) = case.else_expr() {
        whole.push_str(&format!(" ELSE {}", text(otherwise)));
    }
    Some(format!("{whole} END"))
}

type Operands<'a> = (&'static str, &'a Arc<dyn PhysicalExpr>, &'a Arc<dyn PhysicalExpr>);

fn binary(expr: &Arc<dyn PhysicalExpr>) -> Option<Operands<'_>> {
    if let Some(guarded) = expr.downcast_ref::<Guarded>() {
        return Some((guarded.word(), guarded.left(), guarded.right()));
    }
    let binary = expr.downcast_ref::<BinaryExpr>()?;
    let symbol = match binary.op() {
        Operator::And => "AND",
        Operator::Or => "OR",
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        Operator::IsDistinctFrom => "IS DISTINCT FROM",
        Operator::IsNotDistinctFrom => "IS NOT DISTINCT FROM",
        _ => return None,
    };
    Some((symbol, binary.left(), binary.right()))
}

/// The operands of a chain of one connective, from left to right.
fn chain(expr: &Arc<dyn PhysicalExpr>, word: &str, each: &mut dyn FnMut(&Arc<dyn PhysicalExpr>)) {
    match binary(expr) {
        Some((symbol, left, right)) if symbol == word => {
            chain(left, word, each);
            chain(right, word, each);
        }
        _ => each(expr),
    }
}

/// An operand of a comparison: a constant that was made a sort key is printed as the number it is.
fn beside(operand: &Arc<dyn PhysicalExpr>, other: &Arc<dyn PhysicalExpr>, input: &SchemaRef) -> String {
    let compares_numerics = other
        .downcast_ref::<ScalarFunctionExpr>()
        .and_then(|call| call.fun().inner().downcast_ref::<PgFunction>())
        .is_some_and(|function| function.name == "sort_key" && function.args == [PgType::Numeric(None)]);
    if compares_numerics
        && let Some(constant) = operand.downcast_ref::<Literal>()
        && let ScalarValue::Binary(Some(bytes)) = constant.value()
        && let Ok(number) = Numeric::decode(bytes)
    {
        return number.to_string();
    }
    expression(operand, input)
}

/// A constant.
fn literal(value: &ScalarValue, ty: &PgType) -> String {
    if value.is_null() {
        return "NULL".to_string();
    }
    let mut text = String::new();
    let printed = value
        .to_array()
        .map_err(thalweg_dataflow::Error::from)
        .and_then(|array| write_text(ty, array.as_ref(), 0, &TextStyle::default(), &mut text));
    if printed.is_err() {
        return value.to_string();
    }
    match ty {
        PgType::Bool => if text == "t" { "true" } else { "false" }.to_string(),
        PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Numeric(_) | PgType::Float4 | PgType::Float8 => text,
        PgType::Text | PgType::Varchar(_) => quoted(&text),
        _ => format!("{}::{}", quoted(&text), ty.name()),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A call of one of our functions, operators among them.
fn written(function: &PgFunction, args: &[String]) -> String {
    let operator = match function.name.as_str() {
        "textcat" => "||",
        "bit_and_op" => "&",
        "bit_or_op" => "|",
        "bit_xor_op" => "#",
        "bit_shift_left" => "<<",
        "bit_shift_right" => ">>",
        other => other,
    };
    match (operator, args) {
        ("sort_key" | "canonical", [inner]) => inner.clone(),
        ("cast", [inner]) => format!("({inner})::{}", function.result.name()),
        ("uminus", [inner]) => format!("(- {inner})"),
        ("extract", [field, from]) => format!("EXTRACT({} FROM {from})", field.trim_matches('\'')),
        ("timezone", [zone, moment]) => format!("({moment} AT TIME ZONE {zone})"),
        // Their keys follow the values.
        ("greatest" | "least", _) => {
            format!("{}({})", operator.to_uppercase(), args[..args.len() / 2].join(", "))
        }
        (symbol, [left, right]) if !symbol.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            format!("({left} {symbol} {right})")
        }
        (name, _) => format!("{name}({})", args.join(", ")),
    }
}

/// The same plan, its constants and calls in the words of SQL. For printing alone: what is put in
/// their place are columns that nothing computes.
pub(super) fn readable(plan: LogicalPlan) -> LogicalPlan {
    let named = |text: String| Transformed::yes(Expr::Column(common::Column::new_unqualified(text)));
    let spoken = |expr: Expr| {
        expr.transform_up(|inner| {
            Ok(match &inner {
                Expr::Literal(value, marks) => {
                    let bare = Field::new("", value.data_type(), true);
                    let field = match marks {
                        Some(marks) => marks.add_to_field(bare),
                        None => bare,
                    };
                    named(literal(value, &PgType::of(&field)))
                }
                Expr::ScalarFunction(call) => match call.func.inner().downcast_ref::<PgFunction>() {
                    Some(function) => {
                        let args: Vec<String> = call.args.iter().map(ToString::to_string).collect();
                        named(written(function, &args))
                    }
                    None => Transformed::no(inner),
                },
                _ => Transformed::no(inner),
            })
        })
    };
    let printed = plan.clone().transform_up_with_subqueries(|node| node.map_expressions(spoken));
    printed.map_or(plan, |printed| printed.data)
}
