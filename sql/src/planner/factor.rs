//! What all branches of an OR have in common, taken out of it: `(a AND b) OR (a AND c)` is
//! `a AND (b OR c)`. An equality that hides in every branch then becomes the key of a join.

use datafusion::logical_expr::utils::{conjunction, disjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// The conjuncts of a condition, those common to all branches of an OR among them.
pub(super) fn conjuncts(condition: &Expr) -> Vec<Expr> {
    split_conjunction(condition).into_iter().flat_map(factored).collect()
}

fn factored(condition: &Expr) -> Vec<Expr> {
    let mut branches = Vec::new();
    split_or(condition, &mut branches);
    if branches.len() < 2 {
        return vec![condition.clone()];
    }
    let parts: Vec<Vec<&Expr>> = branches.into_iter().map(split_conjunction).collect();
    let (first, others) = (&parts[0], &parts[1..]);
    let common: Vec<&Expr> =
        first.iter().copied().filter(|part| others.iter().all(|other| other.contains(part))).collect();
    if common.is_empty() {
        return vec![condition.clone()];
    }
    let rest: Option<Vec<Expr>> = parts
        .iter()
        .map(|parts| conjunction(parts.iter().filter(|part| !common.contains(part)).map(|part| (*part).clone())))
        .collect();
    let mut out: Vec<Expr> = common.into_iter().cloned().collect();
    // A branch that is nothing else makes the OR true wherever the common part is.
    out.extend(rest.and_then(disjunction));
    out
}

fn split_or<'a>(condition: &'a Expr, out: &mut Vec<&'a Expr>) {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            split_or(left, out);
            split_or(right, out);
        }
        other => out.push(other),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn what_every_branch_has_comes_out() {
        let (key, b, c) = (col("x").eq(col("y")), col("b").gt(lit(1)), col("c").gt(lit(2)));
        let condition = key.clone().and(b.clone()).or(c.clone().and(key.clone()));
        assert_eq!(conjuncts(&condition), [key.clone(), b.clone().or(c.clone())]);
        assert_eq!(conjuncts(&key.clone().and(b.clone()).or(key.clone())), std::slice::from_ref(&key));
        assert_eq!(conjuncts(&b.clone().or(c.clone())), [b.clone().or(c.clone())]);
        assert_eq!(conjuncts(&key.clone().and(b.clone())), [key, b]);
    }
}
