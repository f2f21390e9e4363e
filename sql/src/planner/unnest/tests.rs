//! Tests of unnesting: what is left in a plan, and that cheap forms stay cheap.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};

use super::is_nested;
use crate::planner::tests::bind;

/// The plan of a query, in which nothing may be left to unnest.
fn unnested(sql: &str) -> LogicalPlan {
    let plan = bind(sql, false).expect(sql).plan;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            assert!(!is_nested(expr)?, "{sql}: {expr}");
            expr.apply(|inner| {
                assert!(!matches!(inner, Expr::OuterReferenceColumn(..)), "{sql}: {inner}");
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .expect(sql);
    plan
}

fn count(plan: &LogicalPlan, wanted: &dyn Fn(&LogicalPlan) -> bool) -> usize {
    let mut found = 0;
    plan.apply(|node| {
        found += usize::from(wanted(node));
        Ok(TreeNodeRecursion::Continue)
    })
    .expect("a walk");
    found
}

fn joins(plan: &LogicalPlan, kind: JoinType) -> usize {
    count(plan, &|node| matches!(node, LogicalPlan::Join(join) if join.join_type == kind))
}

fn domains(plan: &LogicalPlan) -> usize {
    count(plan, &|node| matches!(node, LogicalPlan::Distinct(Distinct::All(_))))
}

/// Joins of a kind, and domains, in a query's plan.
#[track_caller]
fn assert_plan(sql: &str, kinds: &[(JoinType, usize)], expected_domains: usize) {
    let plan = unnested(sql);
    let text = plan.display_indent().to_string();
    for (kind, expected) in kinds {
        assert_eq!(joins(&plan, *kind), *expected, "{kind}: {sql}\n{text}");
    }
    assert_eq!(domains(&plan), expected_domains, "domains: {sql}\n{text}");
}

#[test]
fn equalities_need_no_domain() {
    use JoinType::{Inner, Left, LeftAnti, LeftSemi};
    let value = "(SELECT max(o.price) FROM events o WHERE o.brand = e.brand)";
    assert_plan(&format!("SELECT {value} FROM events e"), &[(Left, 1), (Inner, 0)], 0);
    assert_plan(&format!("SELECT 1 FROM events e WHERE e.price < {value}"), &[(Left, 1)], 0);
    let count = "(SELECT count(*) + 1 FROM events o WHERE o.user_id = e.user_id AND e.brand = o.brand)";
    assert_plan(&format!("SELECT {count} FROM events e"), &[(Left, 1)], 0);
    let first = "(SELECT o.price FROM events o WHERE o.brand = e.brand ORDER BY o.event_time DESC LIMIT 1)";
    assert_plan(&format!("SELECT {first} FROM events e"), &[(Left, 1)], 0);
    let exists = "EXISTS (SELECT 1 FROM events o WHERE o.user_id = e.user_id AND o.brand <> e.brand)";
    assert_plan(&format!("SELECT 1 FROM events e WHERE {exists}"), &[(LeftSemi, 1), (Left, 0)], 0);
    assert_plan(&format!("SELECT 1 FROM events e WHERE NOT {exists}"), &[(LeftAnti, 1), (Left, 0)], 0);
    let member = "e.brand IN (SELECT o.brand FROM events o WHERE o.price > 2 * e.price)";
    assert_plan(&format!("SELECT 1 FROM events e WHERE {member}"), &[(LeftSemi, 1), (Left, 0)], 0);
    let lateral = "LATERAL (SELECT o.price FROM events o WHERE o.brand = e.brand ORDER BY 1 LIMIT 3) x";
    assert_plan(&format!("SELECT 1 FROM events e, {lateral}"), &[(Inner, 1)], 0);
}

#[test]
fn what_is_not_told_by_equalities_needs_the_domain() {
    use JoinType::{Inner, Left};
    let count = "(SELECT count(*) FROM events o WHERE o.price < e.price)";
    assert_plan(&format!("SELECT {count} FROM events e"), &[(Left, 1), (Inner, 1)], 1);
    let sum = "(SELECT max(o.price + e.price) FROM events o WHERE o.brand = e.brand)";
    assert_plan(&format!("SELECT {sum} FROM events e"), &[(Left, 1), (Inner, 1)], 1);
    let having = "(SELECT count(*) FROM events o WHERE o.brand = e.brand HAVING count(*) < 3)";
    assert_plan(&format!("SELECT {having} FROM events e"), &[(Left, 2)], 1);
}

#[test]
fn queries_without_outer_columns_are_computed_once() {
    use JoinType::{Inner, Left, LeftAnti, LeftSemi};
    assert_plan("SELECT 1 FROM events WHERE price > (SELECT avg(price) FROM events)", &[(Inner, 1), (Left, 0)], 0);
    assert_plan("SELECT (SELECT max(price) FROM events)", &[(Inner, 0)], 0);
    assert_plan("SELECT 1 FROM events WHERE brand IN (SELECT brand FROM brand_funnel)", &[(LeftSemi, 1)], 0);
    let excluded = "SELECT 1 FROM events WHERE brand NOT IN (SELECT brand FROM brand_funnel)";
    assert_plan(excluded, &[(LeftAnti, 1), (Inner, 1)], 0);
    assert_plan("SELECT 1 FROM events WHERE EXISTS (SELECT 1 FROM brand_funnel)", &[(Inner, 1)], 0);
    // The same query twice is one column.
    let value = "(SELECT max(viewers) FROM brand_funnel)";
    assert_plan(&format!("SELECT {value}, {value} + 1 FROM brand_funnel"), &[(Inner, 2)], 0);
    assert_plan(&format!("SELECT {value} BETWEEN 1 AND 2 FROM brand_funnel"), &[(Inner, 1)], 0);
}

#[test]
fn deep_nesting_is_an_error_at_most() {
    let deep = |levels: usize, innermost: &str, level: &dyn Fn(usize, &str) -> String| {
        let sql = (1..=levels).rev().fold(innermost.to_string(), |inner, number| level(number, &inner));
        bind(&sql, false).map_err(|error| error.state().code().to_string())
    };
    let value = |_: usize, inner: &str| format!("SELECT ({inner})");
    assert!(deep(12, "SELECT 1", &value).is_ok());
    let member = |number: usize, inner: &str| format!("SELECT v FROM (SELECT 1 AS v) t{number} WHERE v IN ({inner})");
    assert!(deep(30, "SELECT 1", &member).is_ok());
    // Each level needs the values of the one above, and those of all above that.
    let count = |number: usize, inner: &str| {
        let above =
            if number == 1 { String::new() } else { format!("t{number}.viewers < t{}.viewers AND ", number - 1) };
        format!("SELECT count(*) FROM brand_funnel t{number} WHERE {above}({inner}) < 5")
    };
    let innermost = |levels: usize| format!("SELECT count(*) FROM brand_funnel i WHERE i.viewers < t{levels}.viewers");
    assert!(deep(5, &innermost(5), &count).is_ok());
    let far = deep(40, &innermost(40), &count).map(|_| ());
    assert!(far.is_ok() || far == Err("54001".to_string()), "{far:?}");
}
