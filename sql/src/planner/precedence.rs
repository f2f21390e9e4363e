//! Mends the one place where sqlparser binds otherwise than PostgreSQL: to the right of
//! `IS [NOT] DISTINCT FROM` it takes everything, AND and OR too, which hold less tightly.
//!
//! `a IS DISTINCT FROM b AND c` comes as `a IS DISTINCT FROM (b AND c)`; what was written with
//! parentheses comes as `Nested` and is left alone.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

/// The expression as PostgreSQL reads it, if that is another one.
pub(super) fn settled(expr: &Expr) -> Option<Expr> {
    is_misread(expr).then(|| settle(expr.clone()))
}

fn is_misread(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, right, .. } => is_misread(right),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => is_misread(expr),
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => is_logic(right) || is_misread(right),
        _ => false,
    }
}

fn is_logic(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
}

fn settle(expr: Expr) -> Expr {
    match expr {
        Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
            let outer = op.clone();
            let holds = move |inner: &BinaryOperator| outer == BinaryOperator::And && *inner == BinaryOperator::Or;
            rotate(settle(*right), &holds, &|right| Expr::BinaryOp {
                left: left.clone(),
                op: op.clone(),
                right: Box::new(right),
            })
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
            rotate(settle(*expr), &|_| true, &|expr| Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) })
        }
        Expr::IsDistinctFrom(left, right) => {
            rotate(settle(*right), &|_| true, &|right| Expr::IsDistinctFrom(left.clone(), Box::new(right)))
        }
        Expr::IsNotDistinctFrom(left, right) => {
            rotate(settle(*right), &|_| true, &|right| Expr::IsNotDistinctFrom(left.clone(), Box::new(right)))
        }
        other => other,
    }
}

/// Puts `whole` around the first operand of ANDs and ORs that hold less tightly than it.
fn rotate(right: Expr, holds: &dyn Fn(&BinaryOperator) -> bool, whole: &dyn Fn(Expr) -> Expr) -> Expr {
    match right {
        Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } if holds(&op) => {
            Expr::BinaryOp { left: Box::new(rotate(*left, holds, whole)), op, right }
        }
        other => whole(other),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    /// The expression with parentheses where its tree says so.
    fn shape(expr: &Expr) -> String {
        match expr {
            Expr::BinaryOp { left, op, right } => format!("({} {op} {})", shape(left), shape(right)),
            Expr::UnaryOp { expr, .. } => format!("(NOT {})", shape(expr)),
            Expr::IsDistinctFrom(left, right) => format!("({} D {})", shape(left), shape(right)),
            Expr::IsNotDistinctFrom(left, right) => format!("({} N {})", shape(left), shape(right)),
            Expr::Nested(inner) => format!("[{}]", shape(inner)),
            other => other.to_string(),
        }
    }

    #[test]
    fn and_and_or_hold_less_tightly_than_is_distinct_from() {
        let cases = [
            ("a is distinct from b and c", "((a D b) AND c)"),
            ("a is not distinct from b and c or d", "(((a N b) AND c) OR d)"),
            ("x and a is distinct from b or c", "((x AND (a D b)) OR c)"),
            ("x or a is distinct from b and c", "(x OR ((a D b) AND c))"),
            ("not a is distinct from b and c", "((NOT (a D b)) AND c)"),
            ("a is distinct from (b and c)", "(a D [(b AND c)])"),
            ("a is distinct from b and c is not distinct from d and e", "((a D b) AND ((c N d) AND e))"),
            ("a is distinct from b = c", "(a D (b = c))"),
        ];
        for (sql, expected) in cases {
            let expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
            assert_eq!(shape(&settled(&expr).unwrap_or(expr)), expected, "{sql}");
        }
    }
}
