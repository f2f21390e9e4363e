//! SELECT: the items, windows, DISTINCT and ORDER BY of one select.
//!
//! Items are bound over the FROM clause first; then whatever is grouped, aggregated or windowed is
//! computed below and the items refer to its columns.

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::find_window_exprs;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, SortExpr};
use datafusion::prelude::{cast, lit};
use datafusion::sql::sqlparser::ast::{self, Distinct, SelectItem};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, BoundQuery, Ctes, Env, OutputColumn, at, fold, name_parts};
use super::names::output_name;
use super::query::{output_place, sort};
use super::scope::{Origin, Scope};
use super::typed::{Typed, marked, metadata};
use super::{functions, unnest};

/// One expression of the select list.
pub(super) struct Item {
    pub(super) name: String,
    pub(super) value: Typed,
    /// The column of a relation that it is.
    origin: Option<Origin>,
}

impl Item {
    fn new(name: String, value: Typed, scope: &Scope) -> Item {
        let origin = scope.origin(&value.expr);
        Item { name, value, origin }
    }
}

/// One item of ORDER BY.
pub(super) struct Order {
    pub(super) value: Typed,
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
        self.note_rows(select, &order);
        let from = self.from(&select.from, outer, ctes)?;
        let scope = from.scope;
        let env = Env {
            scope: &scope,
            outer,
            ctes: ctes.clone(),
            no_aggregates: None,
            no_windows: None,
            windows: select.named_window.clone().into(),
        };
        let mut plan = from.plan;
        if let Some(condition) = &select.selection {
            let condition = self.condition(&env.plain("WHERE"), condition, "WHERE")?;
            plan = LogicalPlan::Filter(Filter::try_new(condition, plan.into())?);
        }
        let mut items = self.items(&env, &select.projection)?;
        let mut groups = self.groups(&env, &select.group_by, &mut items)?;
        let mut having = match &select.having {
            Some(having) => {
                let env = Env { no_windows: Some("HAVING"), ..env.clone() };
                Some(self.condition(&env, having, "HAVING")?)
            }
            None => None,
        };
        let on: Vec<ast::OrderByExpr> = match &select.distinct {
            Some(Distinct::On(exprs)) => exprs.iter().map(ascending).collect(),
            _ => Vec::new(),
        };
        let mut orders = self.orders(&env, &on, &mut items, "DISTINCT ON")?;
        orders.extend(self.orders(&env, &order, &mut items, "ORDER BY")?);
        groups.add_decided(&scope, &items, having.as_ref(), &orders)?;
        plan = self.aggregate(plan, &scope, &groups, &mut items, &mut having, &mut orders)?;
        if let Some(having) = having {
            plan = LogicalPlan::Filter(Filter::try_new(having, plan.into())?);
        }
        plan = self.windows(plan, &mut items, &mut orders)?;
        plan = self.sets(plan, &mut items, &mut orders)?;
        self.output(plan, items, orders, select.distinct.as_ref())
    }

    fn items(&self, env: &Env<'_>, projection: &[SelectItem]) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(projection.len());
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    items.push(Item::new(output_name(expr), self.expr(env, expr)?, env.scope));
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(Item::new(fold(alias), self.expr(env, expr)?, env.scope));
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

    fn orders(
        &self,
        env: &Env<'_>,
        order: &[ast::OrderByExpr],
        items: &mut [Item],
        clause: &str,
    ) -> Result<Vec<Order>> {
        let mut orders = Vec::with_capacity(order.len());
        for item in order {
            let columns: Vec<OutputColumn> = items
                .iter()
                .map(|item| OutputColumn {
                    name: item.name.clone(),
                    column: Column::new_unqualified(""),
                    ty: item.value.ty.clone(),
                    origin: None,
                })
                .collect();
            let place = output_place(&item.expr, &columns, clause)?;
            if let (Some(place), ast::Expr::Identifier(ident)) = (place, &item.expr) {
                let name = fold(ident);
                let same = items.iter().filter(|item| item.name == name);
                if same.clone().any(|other| other.value.expr != items[place].value.expr) {
                    return Err(Error::new(SqlState::AmbiguousColumn, format!("{clause} \"{name}\" is ambiguous")));
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

    fn windows(&self, plan: LogicalPlan, items: &mut [Item], orders: &mut [Order]) -> Result<LogicalPlan> {
        let windows = find_window_exprs(
            items.iter().map(|item| &item.value.expr).chain(orders.iter().map(|order| &order.value.expr)),
        );
        if windows.is_empty() {
            return Ok(plan);
        }
        // Sets that windows are partitioned or ordered by come before them.
        let (plan, computed) = self.expanded(plan, windows.clone())?;
        let columns: Vec<Column> =
            computed.iter().map(|window| Column::from_name(window.schema_name().to_string())).collect();
        let plan = LogicalPlanBuilder::window_plan(plan, computed)?;
        let replacements: Vec<(Expr, Column)> = windows.into_iter().zip(columns).collect();
        for expr in items
            .iter_mut()
            .map(|item| &mut item.value.expr)
            .chain(orders.iter_mut().map(|order| &mut order.value.expr))
        {
            *expr = replace(expr, &replacements)?;
        }
        Ok(plan)
    }

    fn sets(&self, plan: LogicalPlan, items: &mut [Item], orders: &mut [Order]) -> Result<LogicalPlan> {
        let values = |items: &[Item], orders: &[Order]| -> Vec<Expr> {
            let items = items.iter().map(|item| &item.value.expr);
            items.chain(orders.iter().map(|order| &order.value.expr)).cloned().collect()
        };
        let (plan, exprs) = self.expanded(plan, values(items, orders))?;
        let places = items.iter_mut().map(|item| &mut item.value.expr);
        places.chain(orders.iter_mut().map(|order| &mut order.value.expr)).zip(exprs).for_each(|(at, expr)| *at = expr);
        Ok(plan)
    }

    fn output(
        &self,
        plan: LogicalPlan,
        items: Vec<Item>,
        orders: Vec<Order>,
        distinct: Option<&Distinct>,
    ) -> Result<BoundQuery> {
        let is_distinct = matches!(distinct, Some(Distinct::Distinct));
        // The expressions of DISTINCT ON come before those of ORDER BY.
        let on = match distinct {
            Some(Distinct::On(exprs)) => exprs.len(),
            _ => 0,
        };
        check_distinct_on(&orders, on)?;
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
            exprs.push(marked(expr, &name, item.value.ty.as_ref().unwrap_or(&PgType::Text), plan.schema()));
            let (column, ty) = (Column::new_unqualified(name), item.value.ty);
            columns.push(OutputColumn { name: item.name, column, ty, origin: item.origin });
        }
        let mut sorts: Vec<SortExpr> = Vec::with_capacity(orders.len());
        let mut hidden = on > 0;
        let mut partition = Vec::with_capacity(on);
        for (number, order) in orders.into_iter().enumerate() {
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
            match number < on {
                true => partition.push(functions::canonical(Expr::Column(column), &ty)?),
                false => sorts.push(sort(Expr::Column(column), &ty, &order.options)?),
            }
        }
        let mut plan = LogicalPlanBuilder::from(plan).project(exprs)?;
        if on > 0 {
            let name = self.unique("number");
            plan = plan.window([unnest::row_number(partition, sorts.clone()).alias(&name)])?;
            let number = Expr::Column(Column::new_unqualified(name));
            plan = plan.filter(cast(number, DataType::Int64).eq(lit(1_i64)))?;
        }
        if is_distinct {
            plan = LogicalPlanBuilder::from(self.distinct_rows(plan.build()?)?);
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

/// An expression of DISTINCT ON as one of ORDER BY.
fn ascending(expr: &ast::Expr) -> ast::OrderByExpr {
    let options = ast::OrderByOptions { asc: None, nulls_first: None };
    ast::OrderByExpr { expr: expr.clone(), options, with_fill: None }
}

/// The first `on` expressions are those of DISTINCT ON: ORDER BY must begin with them.
fn check_distinct_on(orders: &[Order], on: usize) -> Result<()> {
    let (on, orders) = orders.split_at(on);
    let among = |orders: &[Order], wanted: &Order| orders.iter().any(|known| known.value.expr == wanted.value.expr);
    let begin = orders.iter().take_while(|order| among(on, order)).count();
    let wrong = orders[begin..].iter().find(|order| among(on, order) && !among(&orders[..begin], order));
    let missing = on.iter().find(|known| orders.len() > begin && !among(&orders[..begin], known));
    match (on.is_empty(), wrong.or(missing)) {
        (false, Some(order)) => {
            let message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
            Err(at(Error::new(SqlState::InvalidColumnReference, message), order.value.at))
        }
        _ => Ok(()),
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
        .map(|column| Item::new(column.name.clone(), Typed::new(column.expr.clone(), column.ty.clone()), scope))
        .collect()
}

/// Puts columns in the place of the expressions that are computed below.
pub(super) fn replace(expr: &Expr, replacements: &[(Expr, Column)]) -> Result<Expr> {
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
