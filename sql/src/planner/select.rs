//! SELECT: the items, grouping, windows, DISTINCT and ORDER BY of one select.
//!
//! Items are bound over the FROM clause first; then whatever is grouped, aggregated or windowed is
//! computed below and the items refer to its columns.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::{find_aggregate_exprs, find_window_exprs};
use datafusion::logical_expr::{Aggregate, Expr, Filter, LogicalPlan, LogicalPlanBuilder, SortExpr};
use datafusion::sql::sqlparser::ast::{self, Distinct, GroupByExpr, SelectItem};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, BoundQuery, Ctes, Env, OutputColumn, at, fold, name_parts};
use super::names::output_name;
use super::query::{output_place, sort};
use super::scope::Scope;
use super::typed::{Typed, metadata};
use super::{binder, functions};

/// One expression of the select list.
struct Item {
    name: String,
    value: Typed,
}

/// One item of ORDER BY.
struct Order {
    value: Typed,
    options: ast::OrderByOptions,
    /// The select item it is, if it is one.
    place: Option<usize>,
}

impl Binder<'_> {
    /// Binds one SELECT with the ORDER BY that belongs to it.
    pub(crate) fn select(
        &self,
        select: &ast::Select,
        order: Vec<ast::OrderByExpr>,
        outer: Option<&Env<'_>>,
        ctes: &Ctes,
    ) -> Result<BoundQuery> {
        refuse_clauses(select)?;
        let from = self.from(&select.from, outer, ctes)?;
        let scope = from.scope;
        let env = Env {
            scope: &scope,
            outer,
            ctes: ctes.clone(),
            no_aggregates: None,
            no_windows: None,
            filters: false,
            windows: select.named_window.clone().into(),
        };
        let mut plan = from.plan;
        if let Some(condition) = &select.selection {
            let condition = self.condition(&Env { filters: true, ..env.plain("WHERE") }, condition, "WHERE")?;
            plan = LogicalPlan::Filter(Filter::try_new(condition, plan.into())?);
        }
        let mut items = self.items(&env, &select.projection)?;
        let groups = self.groups(&env, &select.group_by, &mut items)?;
        let mut having = match &select.having {
            Some(having) => {
                let env = Env { no_windows: Some("HAVING"), filters: true, ..env.clone() };
                Some(self.condition(&env, having, "HAVING")?)
            }
            None => None,
        };
        let mut orders = self.orders(&env, &order, &mut items)?;
        plan = self.aggregate(plan, &scope, &groups, &mut items, &mut having, &mut orders)?;
        if let Some(having) = having {
            plan = LogicalPlan::Filter(Filter::try_new(having, plan.into())?);
        }
        plan = self.windows(plan, &mut items, &mut orders)?;
        self.output(plan, items, orders, select.distinct.as_ref())
    }

    fn items(&self, env: &Env<'_>, projection: &[SelectItem]) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(projection.len());
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    items.push(Item { name: output_name(expr), value: self.expr(env, expr)? })
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(Item { name: fold(alias), value: self.expr(env, expr)? })
                }
                SelectItem::Wildcard(options) => {
                    refuse_options(options)?;
                    if env.scope.tables.is_empty() {
                        return Err(Error::new(
                            SqlState::SyntaxError,
                            "SELECT * with no tables specified is not valid",
                        ));
                    }
                    items.extend(star(env.scope, None));
                }
                SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    refuse_options(options)?;
                    let table = name_parts(name)?.pop().unwrap_or_default();
                    if !env.scope.tables.contains(&table) {
                        return Err(Error::new(
                            SqlState::UndefinedTable,
                            format!("missing FROM-clause entry for table \"{table}\""),
                        ));
                    }
                    items.extend(star(env.scope, Some(&table)));
                }
                other => return Err(Error::unsupported(format!("the select item {other}"))),
            }
        }
        Ok(items)
    }

    fn groups(&self, env: &Env<'_>, group_by: &GroupByExpr, items: &mut [Item]) -> Result<Vec<Typed>> {
        let exprs = match group_by {
            GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs,
            _ => return Err(Error::unsupported("this form of GROUP BY")),
        };
        let plain = env.plain("GROUP BY");
        let mut groups = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let value = match expr {
                ast::Expr::GroupingSets(_) | ast::Expr::Cube(_) | ast::Expr::Rollup(_) => {
                    return Err(Error::unsupported("GROUPING SETS, CUBE or ROLLUP"));
                }
                ast::Expr::Tuple(_) => return Err(Error::unsupported("GROUP BY of a row")),
                ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), .. })
                    if digits.bytes().all(|b| b.is_ascii_digit()) =>
                {
                    let place = digits.parse::<usize>().ok().filter(|number| (1..=items.len()).contains(number));
                    let place = place.ok_or_else(|| {
                        Error::new(
                            SqlState::InvalidColumnReference,
                            format!("GROUP BY position {digits} is not in select list"),
                        )
                    })?;
                    self.grouped_item(&mut items[place - 1])?
                }
                ast::Expr::Identifier(ident)
                    if env.scope.find(None, &fold(ident))?.is_none()
                        && items.iter().any(|item| item.name == fold(ident)) =>
                {
                    let name = fold(ident);
                    match items.iter_mut().find(|item| item.name == name) {
                        Some(item) => self.grouped_item(item)?,
                        None => return Err(Error::internal("an item that is gone")),
                    }
                }
                other => self.settled(self.expr(&plain, other)?)?,
            };
            if !groups.iter().any(|known: &Typed| known.expr == value.expr) {
                groups.push(value);
            }
        }
        Ok(groups)
    }

    fn grouped_item(&self, item: &mut Item) -> Result<Typed> {
        item.value = self.settled(item.value.clone())?;
        let expr = item.value.expr.clone();
        if !find_aggregate_exprs([&expr]).is_empty() {
            return Err(binder::at(
                Error::new(SqlState::GroupingError, "aggregate functions are not allowed in GROUP BY"),
                item.value.at,
            ));
        }
        if !find_window_exprs([&expr]).is_empty() {
            return Err(binder::at(
                Error::new(SqlState::GroupingError, "window functions are not allowed in GROUP BY"),
                item.value.at,
            ));
        }
        Ok(item.value.clone())
    }

    fn orders(&self, env: &Env<'_>, order: &[ast::OrderByExpr], items: &mut [Item]) -> Result<Vec<Order>> {
        let mut orders = Vec::with_capacity(order.len());
        for item in order {
            let columns: Vec<OutputColumn> = items
                .iter()
                .map(|item| OutputColumn {
                    name: item.name.clone(),
                    column: Column::new_unqualified(""),
                    ty: item.value.ty.clone(),
                })
                .collect();
            let place = output_place(&item.expr, &columns)?;
            if let (Some(place), ast::Expr::Identifier(ident)) = (place, &item.expr) {
                let name = fold(ident);
                let same = items.iter().filter(|item| item.name == name);
                if same.clone().any(|other| other.value.expr != items[place].value.expr) {
                    return Err(Error::new(SqlState::AmbiguousColumn, format!("ORDER BY \"{name}\" is ambiguous")));
                }
            }
            let (value, place) = match place {
                Some(place) => {
                    items[place].value = self.settled(items[place].value.clone())?;
                    (items[place].value.clone(), Some(place))
                }
                None => {
                    let value = self.settled(self.expr(env, &item.expr)?)?;
                    let place = items.iter().position(|item| item.value.expr == value.expr);
                    (value, place)
                }
            };
            orders.push(Order { value, options: item.options, place });
        }
        Ok(orders)
    }

    fn aggregate(
        &self,
        plan: LogicalPlan,
        scope: &Scope,
        groups: &[Typed],
        items: &mut [Item],
        having: &mut Option<Expr>,
        orders: &mut [Order],
    ) -> Result<LogicalPlan> {
        let all = items
            .iter()
            .map(|item| &item.value.expr)
            .chain(having.iter())
            .chain(orders.iter().map(|order| &order.value.expr));
        let mut calls = find_aggregate_exprs(all);
        if groups.is_empty() && calls.is_empty() && having.is_none() {
            return Ok(plan);
        }
        if groups.is_empty() && calls.is_empty() {
            calls.push(functions::count_star());
        }
        let mut replacements = Vec::with_capacity(groups.len() + calls.len());
        let mut keys = Vec::with_capacity(groups.len());
        for group in groups {
            let ty = group.ty.clone().unwrap_or(PgType::Text);
            let wanted = match &group.expr {
                Expr::Column(column) => column.name.clone(),
                _ => items
                    .iter()
                    .find(|item| item.value.expr == group.expr)
                    .map_or_else(|| "key".to_string(), |item| item.name.clone()),
            };
            let name = self.unique(&wanted);
            keys.push(functions::canonical(group.expr.clone(), &ty)?.alias_with_metadata(&name, Some(metadata(&ty))));
            replacements.push((group.expr.clone(), Column::new_unqualified(name)));
        }
        let mut aggregates = Vec::with_capacity(calls.len());
        for call in calls {
            let wanted = match &call {
                Expr::AggregateFunction(call) => call.func.name().to_string(),
                _ => "aggregate".to_string(),
            };
            let name = self.unique(&wanted);
            aggregates.push(call.clone().alias(&name));
            replacements.push((call, Column::new_unqualified(name)));
        }
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(plan.into(), keys, aggregates)?);
        for item in items.iter_mut() {
            let position = item.value.at;
            item.value.expr = regroup(&item.value.expr, &replacements, scope).map_err(|error| at(error, position))?;
        }
        if let Some(having) = having {
            *having = regroup(having, &replacements, scope)?;
        }
        for order in orders {
            let position = order.value.at;
            order.value.expr = regroup(&order.value.expr, &replacements, scope).map_err(|error| at(error, position))?;
        }
        Ok(plan)
    }

    fn windows(&self, plan: LogicalPlan, items: &mut [Item], orders: &mut [Order]) -> Result<LogicalPlan> {
        let windows = find_window_exprs(
            items.iter().map(|item| &item.value.expr).chain(orders.iter().map(|order| &order.value.expr)),
        );
        if windows.is_empty() {
            return Ok(plan);
        }
        let plan = LogicalPlanBuilder::window_plan(plan, windows.clone())?;
        let replacements: Vec<(Expr, Column)> = windows
            .into_iter()
            .map(|window| (window.clone(), Column::from_name(window.schema_name().to_string())))
            .collect();
        for expr in items
            .iter_mut()
            .map(|item| &mut item.value.expr)
            .chain(orders.iter_mut().map(|order| &mut order.value.expr))
        {
            *expr = replace(expr, &replacements)?;
        }
        Ok(plan)
    }

    fn output(
        &self,
        plan: LogicalPlan,
        items: Vec<Item>,
        orders: Vec<Order>,
        distinct: Option<&Distinct>,
    ) -> Result<BoundQuery> {
        let is_distinct = match distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => return Err(Error::unsupported("SELECT DISTINCT ON")),
        };
        let mut exprs = Vec::with_capacity(items.len() + orders.len());
        let mut columns = Vec::with_capacity(items.len());
        for item in items {
            let name = self.unique(&item.name);
            let mut expr = item.value.expr;
            // An open literal stays open for UNION and INSERT; as a column it is text.
            if expr == Expr::Literal(datafusion::common::ScalarValue::Null, None) {
                expr = Expr::Literal(datafusion::common::ScalarValue::Utf8(None), None);
            }
            if let Expr::Placeholder(_) = &expr
                && item.value.ty.is_none()
            {
                expr = self.settled(Typed { expr, ty: None, at: item.value.at })?.expr;
            }
            if let (true, Some(ty)) = (is_distinct, &item.value.ty) {
                expr = functions::canonical(expr, ty)?;
            }
            let marks = metadata(item.value.ty.as_ref().unwrap_or(&PgType::Text));
            exprs.push(expr.alias_with_metadata(&name, Some(marks)));
            columns.push(OutputColumn { name: item.name, column: Column::new_unqualified(name), ty: item.value.ty });
        }
        let mut sorts: Vec<SortExpr> = Vec::with_capacity(orders.len());
        let mut hidden = false;
        for order in orders {
            let ty = order.value.ty.clone().unwrap_or(PgType::Text);
            let column = match order.place {
                Some(place) => columns[place].column.clone(),
                None if is_distinct => {
                    let error = Error::new(
                        SqlState::InvalidColumnReference,
                        "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                    );
                    return Err(at(error, order.value.at));
                }
                None => {
                    hidden = true;
                    let name = self.unique("sort");
                    exprs.push(order.value.expr.alias_with_metadata(&name, Some(metadata(&ty))));
                    Column::new_unqualified(name)
                }
            };
            sorts.push(sort(Expr::Column(column), &ty, &order.options)?);
        }
        let mut plan = LogicalPlanBuilder::from(plan).project(exprs)?;
        if is_distinct {
            plan = plan.distinct()?;
        }
        if !sorts.is_empty() {
            plan = plan.sort(sorts)?;
        }
        if hidden {
            plan =
                plan.project(columns.iter().map(|column| Expr::Column(column.column.clone())).collect::<Vec<_>>())?;
        }
        Ok(BoundQuery { plan: plan.build()?, columns })
    }
}

/// The columns of `*` or `table.*`.
fn star(scope: &Scope, table: Option<&str>) -> Vec<Item> {
    scope
        .columns
        .iter()
        .filter(|column| match table {
            Some(table) => column.table.as_deref() == Some(table),
            None => !column.hidden,
        })
        .map(|column| Item { name: column.name.clone(), value: Typed::new(column.expr.clone(), column.ty.clone()) })
        .collect()
}

/// An expression over the output of the aggregation; what is neither grouped nor aggregated is an
/// error.
fn regroup(expr: &Expr, replacements: &[(Expr, Column)], scope: &Scope) -> Result<Expr> {
    let replaced = replace(expr, replacements)?;
    let mut stray = None;
    replaced.apply(|inner| {
        if let Expr::Column(column) = inner
            && !replacements.iter().any(|(_, known)| known == column)
        {
            stray = Some(inner.clone());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match stray {
        None => Ok(replaced),
        Some(column) => {
            let name = scope.describe(&column).unwrap_or_else(|| column.to_string());
            Err(Error::new(
                SqlState::GroupingError,
                format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"),
            ))
        }
    }
}

/// Puts columns in the place of the expressions that are computed below.
fn replace(expr: &Expr, replacements: &[(Expr, Column)]) -> Result<Expr> {
    let replaced =
        expr.clone().transform_down(|inner| match replacements.iter().find(|(known, _)| *known == inner) {
            Some((_, column)) => Ok(Transformed::new(Expr::Column(column.clone()), true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(inner)),
        })?;
    Ok(replaced.data)
}

fn refuse_options(options: &ast::WildcardAdditionalOptions) -> Result<()> {
    if options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some()
    {
        return Err(Error::unsupported("* with EXCLUDE, EXCEPT, REPLACE or RENAME"));
    }
    Ok(())
}

fn refuse_clauses(select: &ast::Select) -> Result<()> {
    let refused = [
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.exclude.is_some(), "EXCLUDE"),
        (select.value_table_mode.is_some(), "SELECT AS VALUE"),
    ];
    match refused.iter().find(|(present, _)| *present) {
        Some((_, clause)) => Err(Error::unsupported(clause)),
        None => Ok(()),
    }
}
