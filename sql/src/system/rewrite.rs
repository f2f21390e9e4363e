//! What clients' catalog queries are rewritten into, where DataFusion cannot run them as they are.
//!
//! Promises: every rewriting keeps the answer that the catalogs of this server give: a table that
//! is empty here stays empty, an array column that is null here stays null. Does not touch queries
//! about users' rows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, JoinOperator, Query, Select, SelectItem,
    SetExpr, Statement, TableFactor, TableWithJoins, Value, Visit, Visitor, visit_expressions, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::pg_catalog;
use crate::planner::output_name;
use crate::statement::resolve::folded;

/// Aggregates that clients' catalog queries use.
const AGGREGATES: &[&str] =
    &["array_agg", "avg", "bool_and", "bool_or", "count", "every", "json_agg", "max", "min", "string_agg", "sum"];

/// Before `datafusion-pg-catalog`'s rewriting, which takes subqueries from the select list: those that
/// read a DEFAULT become calls.
pub(crate) fn with_column_defaults(query: &mut Query) {
    let _ = visit_expressions_mut(query, |expr| {
        column_default(expr);
        ControlFlow::<()>::Continue(())
    });
}

/// Before `datafusion-pg-catalog`'s rewriting: SELECTs that can give no row, because a table they
/// join is always empty here, become SELECTs of nulls that give none.
pub(crate) fn without_empty_tables(query: &mut Query) {
    let parameters = visit_expressions(&*query, |expr| match expr {
        Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    // The client counts its parameters, so that none may go.
    if parameters.is_break() {
        return;
    }
    if empty_branches(&mut query.body) {
        query.order_by = None;
    }
}

/// Replaces the branches that give nothing; whether nothing is left.
fn empty_branches(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => match gives_nothing(select).then(|| nothing(select)).flatten() {
            Some(nothing) => {
                *body = nothing;
                true
            }
            None => false,
        },
        SetExpr::SetOperation { left, right, .. } => {
            let left = empty_branches(left);
            empty_branches(right) && left
        }
        _ => false,
    }
}

fn gives_nothing(select: &Select) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    !grouped
        && select.having.is_none()
        && !select.projection.iter().any(aggregates)
        && select.from.iter().any(joins_an_empty_table)
}

fn joins_an_empty_table(from: &TableWithJoins) -> bool {
    let inner = |operator: &JoinOperator| {
        matches!(operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_))
    };
    let left = |operator: &JoinOperator| matches!(operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_));
    from.joins.iter().all(|join| inner(&join.join_operator) || left(&join.join_operator))
        && (is_empty_table(&from.relation)
            || from.joins.iter().any(|join| inner(&join.join_operator) && is_empty_table(&join.relation)))
}

fn is_empty_table(relation: &TableFactor) -> bool {
    let TableFactor::Table { name, args: None, .. } = relation else { return false };
    match folded(name) {
        Some((schema, name)) => {
            schema.is_none_or(|schema| schema == "pg_catalog") && pg_catalog::EMPTY.contains(&name.as_str())
        }
        None => false,
    }
}

/// Whether an item is aggregated over the rows; subqueries have rows of their own.
fn aggregates(item: &SelectItem) -> bool {
    struct Finder(usize);
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function) if self.0 == 0 => match folded(&function.name) {
                    Some((_, name)) if AGGREGATES.contains(&name.as_str()) => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                },
                _ => ControlFlow::Continue(()),
            }
        }
    }
    item.visit(&mut Finder(0)).is_break()
}

/// As many columns of the same names, and no row. `None` if the columns are not known (`*`).
fn nothing(select: &Select) -> Option<SetExpr> {
    let mut names: Vec<String> = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        let name = match item {
            SelectItem::UnnamedExpr(expr) => output_name(expr),
            SelectItem::ExprWithAlias { alias, .. } if alias.quote_style.is_some() => alias.value.clone(),
            SelectItem::ExprWithAlias { alias, .. } => alias.value.to_lowercase(),
            _ => return None,
        };
        let distinct = if names.contains(&name) { format!("{name} {}", names.len()) } else { name };
        names.push(distinct);
    }
    let items: Vec<String> = names.iter().map(|name| format!("NULL AS {}", Ident::with_quote('"', name))).collect();
    let text = format!("SELECT {} WHERE false", items.join(", "));
    match Parser::parse_sql(&PostgreSqlDialect {}, &text).ok()?.into_iter().next()? {
        Statement::Query(query) => Some(*query.body),
        _ => None,
    }
}

/// After `datafusion-pg-catalog`'s rewriting.
pub(crate) fn for_datafusion(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        array_of_subquery(expr);
        table_oid(expr);
        at_most_one_row(expr);
        ControlFlow::<()>::Continue(())
    });
}

/// `(SELECT pg_get_expr(d.adbin, ...) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND ...)` becomes
/// a function of `a.attrelid, a.attnum`: DataFusion gives such a subquery no value.
fn column_default(expr: &mut Expr) {
    let Expr::Subquery(query) = &*expr else { return };
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let ([TableWithJoins { relation: TableFactor::Table { name, .. }, joins }], Some(condition)) =
        (select.from.as_slice(), &select.selection)
    else {
        return;
    };
    if !joins.is_empty() || folded(name).is_none_or(|(_, name)| name != "pg_attrdef") {
        return;
    }
    // The other side of the comparison with `adrelid` names the surrounding table.
    let last = |side: &Expr| match side {
        Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.to_lowercase()),
        _ => None,
    };
    let outer = visit_expressions(condition, |inner| match inner {
        Expr::BinaryOp { left, right, .. } => match (last(left).as_deref(), last(right).as_deref()) {
            (Some("adrelid"), Some("attrelid")) => ControlFlow::Break(right.clone()),
            (Some("attrelid"), Some("adrelid")) => ControlFlow::Break(left.clone()),
            _ => ControlFlow::Continue(()),
        },
        _ => ControlFlow::Continue(()),
    });
    if let ControlFlow::Break(outer) = outer
        && let Expr::CompoundIdentifier(mut parts) = *outer
    {
        let relation = Expr::CompoundIdentifier(parts.clone());
        parts.pop();
        parts.push(Ident::new("attnum"));
        let number = Expr::CompoundIdentifier(parts);
        if let Some(call) = expression(&format!("{}({relation}, {number})", super::functions::COLUMN_DEFAULT)) {
            *expr = call;
        }
    }
}

/// The system column `tableoid` is 0: it is compared with `pg_description.classoid`, and there are
/// no comments.
fn table_oid(expr: &mut Expr) {
    let named = match &*expr {
        Expr::CompoundIdentifier(parts) => parts.last(),
        Expr::Identifier(name) => Some(name),
        _ => None,
    };
    if named.is_some_and(|name| name.value.eq_ignore_ascii_case("tableoid")) {
        *expr = Expr::Value(Value::Number("0".into(), false).with_empty_span());
    }
}

/// `(SELECT x FROM t WHERE ...)` becomes `(SELECT max(x) ...)`: DataFusion takes a correlated
/// subquery only if it is aggregated, and of one row the maximum is the row.
fn at_most_one_row(expr: &mut Expr) {
    let Expr::Subquery(query) = expr else { return };
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    if select.from.is_empty() || gives_groups(select) {
        return;
    }
    let [SelectItem::UnnamedExpr(item)] = select.projection.as_mut_slice() else { return };
    if let Some(maximum) = expression(&format!("max({item})")) {
        *item = maximum;
    }
}

fn gives_groups(select: &Select) -> bool {
    !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty())
        || select.projection.iter().any(aggregates)
}

fn expression(text: &str) -> Option<Expr> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(text).ok()?.parse_expr().ok()
}

/// `ARRAY(SELECT x ...)` becomes `COALESCE((SELECT array_agg(x) ...), make_array())`; the order of
/// its elements is not kept. Over a table that is always empty it becomes `make_array()`.
/// `ARRAY(SELECT ... FROM unnest(column))` becomes the column: all array columns of the catalogs are
/// null.
fn array_of_subquery(expr: &mut Expr) {
    let Expr::Function(function) = &*expr else { return };
    let FunctionArguments::Subquery(subquery) = &function.args else { return };
    if !function.name.to_string().eq_ignore_ascii_case("array") {
        return;
    }
    let mut inner = subquery.clone();
    inner.order_by = None;
    let SetExpr::Select(select) = inner.body.as_mut() else { return };
    if let Some(column) = unnested_column(select) {
        *expr = column;
        return;
    }
    if gives_nothing(select)
        && let Some(nothing) = expression("make_array()")
    {
        *expr = nothing;
        return;
    }
    let [SelectItem::UnnamedExpr(element) | SelectItem::ExprWithAlias { expr: element, .. }] =
        select.projection.as_slice()
    else {
        return;
    };
    let Some(aggregated) = expression(&format!("array_agg({element})")) else { return };
    let Some(Expr::Function(mut coalesce)) = expression("COALESCE((SELECT 1), make_array())") else { return };
    if let FunctionArguments::List(list) = &mut coalesce.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(place)))) = list.args.first_mut()
    {
        select.projection = vec![SelectItem::UnnamedExpr(aggregated)];
        **place = *inner;
        *expr = Expr::Function(coalesce);
    }
}

/// The column that is unnested in `FROM unnest(column)`.
fn unnested_column(select: &Select) -> Option<Expr> {
    let [TableWithJoins { relation, .. }] = select.from.as_slice() else { return None };
    let argument = match relation {
        TableFactor::UNNEST { array_exprs, .. } => array_exprs.first().cloned(),
        TableFactor::Table { name, args: Some(arguments), .. } if folded(name)?.1 == "unnest" => {
            match arguments.args.first() {
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) => Some(argument.clone()),
                _ => None,
            }
        }
        _ => None,
    };
    argument.filter(|argument| matches!(argument, Expr::Identifier(_) | Expr::CompoundIdentifier(_)))
}
