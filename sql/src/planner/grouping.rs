//! GROUP BY, GROUPING SETS, ROLLUP and CUBE, and the aggregation that they make.
//!
//! A select's items are bound over its FROM clause; here the groups and calls in them are computed
//! below and the items refer to their columns. Several grouping sets are a union of aggregations,
//! in which the columns that a set leaves out are null.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::utils::{find_aggregate_exprs, find_window_exprs};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Union};
use datafusion::sql::sqlparser::ast::{self, GroupByExpr};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env, at, fold};
use super::form;
use super::functions::{self, ordered_set};
use super::query::numbered_place;
use super::scope::Scope;
use super::select::{Item, Order, replace};
use super::subquery::map_subquery;
use super::typed::{Typed, literal, metadata, null};
use crate::parser::equal_forms::DISTINCT_SETS;

/// How many grouping sets one GROUP BY may stand for.
const MAX_SETS: usize = 4096;

/// A GROUP BY clause, bound.
pub(super) struct Grouping {
    /// All it groups by, each once.
    pub(super) keys: Vec<Typed>,
    /// The grouping sets, as places in `keys`; one of all keys unless the clause says otherwise.
    pub(super) sets: Vec<Vec<usize>>,
    /// Whether there is a clause.
    pub(super) present: bool,
}

impl Binder<'_> {
    /// Binds GROUP BY.
    pub(super) fn groups(&self, env: &Env<'_>, group_by: &GroupByExpr, items: &mut [Item]) -> Result<Grouping> {
        let exprs = match group_by {
            GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs,
            _ => return Err(Error::unsupported("this form of GROUP BY")),
        };
        let mut grouping = Grouping { keys: Vec::new(), sets: vec![Vec::new()], present: !exprs.is_empty() };
        let (distinct, exprs) = match exprs.as_slice() {
            [ast::Expr::Identifier(first), rest @ ..] if first.value == DISTINCT_SETS => (true, rest),
            exprs => (false, exprs),
        };
        for expr in exprs {
            let alternatives = self.grouping_sets(env, expr, items, &mut grouping.keys)?;
            let mut sets = Vec::with_capacity(grouping.sets.len() * alternatives.len());
            if grouping.sets.len() * alternatives.len() > MAX_SETS {
                return Err(Error::new(
                    SqlState::StatementTooComplex,
                    format!("too many grouping sets present (maximum {MAX_SETS})"),
                ));
            }
            for set in &grouping.sets {
                for more in &alternatives {
                    let mut set = set.clone();
                    set.extend(more.iter().filter(|place| !set.contains(place)).copied().collect::<Vec<_>>());
                    sets.push(set);
                }
            }
            grouping.sets = sets;
        }
        if distinct {
            let mut seen: Vec<BTreeSet<usize>> = Vec::new();
            grouping.sets.retain(|set| {
                let set = set.iter().copied().collect();
                let is_new = !seen.contains(&set);
                seen.push(set);
                is_new
            });
        }
        Ok(grouping)
    }

    /// The grouping sets that one item of GROUP BY stands for.
    fn grouping_sets(
        &self,
        env: &Env<'_>,
        expr: &ast::Expr,
        items: &mut [Item],
        keys: &mut Vec<Typed>,
    ) -> Result<Vec<Vec<usize>>> {
        let mut rows = |rows: &[Vec<ast::Expr>]| -> Result<Vec<Vec<usize>>> {
            rows.iter().map(|row| self.group_keys(env, row, items, keys)).collect()
        };
        Ok(match expr {
            ast::Expr::Rollup(parts) => {
                let parts = rows(parts)?;
                (0..=parts.len()).rev().map(|count| parts[..count].concat()).collect()
            }
            ast::Expr::Cube(parts) => {
                let parts = rows(parts)?;
                if parts.len() > 12 {
                    return Err(Error::new(SqlState::StatementTooComplex, "CUBE is limited to 12 elements"));
                }
                let chosen = |mask: usize| -> Vec<usize> {
                    let kept = parts.iter().enumerate().filter(|(place, _)| mask & (1 << place) == 0);
                    kept.flat_map(|(_, part)| part.iter().copied()).collect()
                };
                (0..1_usize << parts.len()).map(chosen).collect()
            }
            ast::Expr::GroupingSets(sets) => {
                let mut all = Vec::with_capacity(sets.len());
                for set in sets {
                    match set.as_slice() {
                        [inner] if let Some(inner) = super_group(inner) => {
                            all.extend(self.nested(|| self.grouping_sets(env, &inner, items, keys))?);
                        }
                        set => all.push(self.group_keys(env, set, items, keys)?),
                    }
                }
                all
            }
            ast::Expr::Tuple(row) => vec![self.group_keys(env, row, items, keys)?],
            other => vec![self.group_keys(env, std::slice::from_ref(other), items, keys)?],
        })
    }

    /// The places of these expressions among the keys.
    fn group_keys(
        &self,
        env: &Env<'_>,
        exprs: &[ast::Expr],
        items: &mut [Item],
        keys: &mut Vec<Typed>,
    ) -> Result<Vec<usize>> {
        let mut places = Vec::with_capacity(exprs.len());
        for expr in exprs {
            if let ast::Expr::Tuple(row) = expr {
                places.extend(self.nested(|| self.group_keys(env, row, items, keys))?);
                continue;
            }
            let value = self.group_key(env, expr, items)?;
            let known = keys.iter().position(|known| known.expr == value.expr);
            places.push(known.unwrap_or_else(|| {
                keys.push(value);
                keys.len() - 1
            }));
        }
        Ok(places)
    }

    fn group_key(&self, env: &Env<'_>, expr: &ast::Expr, items: &mut [Item]) -> Result<Typed> {
        if let Some(place) = numbered_place(expr, items.len(), "GROUP BY")? {
            return self.grouped_item(&mut items[place]);
        }
        match expr {
            ast::Expr::Identifier(ident)
                if env.scope.find(None, &fold(ident))?.is_none()
                    && items.iter().any(|item| item.name == fold(ident)) =>
            {
                let name = fold(ident);
                match items.iter_mut().find(|item| item.name == name) {
                    Some(item) => self.grouped_item(item),
                    None => Err(Error::internal("an item that is gone")),
                }
            }
            other => self.settled(self.expr(&env.plain("GROUP BY"), other)?),
        }
    }

    fn grouped_item(&self, item: &mut Item) -> Result<Typed> {
        item.value = self.settled(item.value.clone())?;
        let expr = item.value.expr.clone();
        let refused = if !find_aggregate_exprs([&expr]).is_empty() {
            "aggregate"
        } else if !find_window_exprs([&expr]).is_empty() {
            "window"
        } else {
            return Ok(item.value.clone());
        };
        let message = format!("{refused} functions are not allowed in GROUP BY");
        Err(at(Error::new(SqlState::GroupingError, message), item.value.at))
    }

    /// The aggregation, if there is one; what stands above it then refers to its columns.
    pub(super) fn aggregate(
        &self,
        plan: LogicalPlan,
        scope: &Scope,
        grouping: &Grouping,
        items: &mut [Item],
        having: &mut Option<Expr>,
        orders: &mut [Order],
    ) -> Result<LogicalPlan> {
        let all: Vec<&Expr> = items
            .iter()
            .map(|item| &item.value.expr)
            .chain(having.iter())
            .chain(orders.iter().map(|order| &order.value.expr))
            .collect();
        let mut calls = find_aggregate_exprs(all.iter().copied());
        for call in self.calls_in_subqueries(&all, scope)? {
            if !calls.contains(&call) {
                calls.push(call);
            }
        }
        let groupings = functions::grouping_calls(&all)?;
        if !grouping.present && calls.is_empty() && groupings.is_empty() && having.is_none() {
            return Ok(plan);
        }
        for call in &calls {
            self.check_direct_arguments(call, grouping, scope)?;
        }
        if calls.is_empty() && grouping.sets.iter().any(Vec::is_empty) {
            calls.push(functions::count_star());
        }
        let mut replacements = Vec::with_capacity(grouping.keys.len() + calls.len());
        for call in groupings {
            replacements.push((call, Column::new_unqualified(self.unique("grouping"))));
        }
        let levels = replacements.len();
        for key in &grouping.keys {
            let wanted = match &key.expr {
                Expr::Column(column) => column.name.clone(),
                _ => items
                    .iter()
                    .find(|item| item.value.expr == key.expr)
                    .map_or_else(|| "key".to_string(), |item| item.name.clone()),
            };
            replacements.push((key.expr.clone(), Column::new_unqualified(self.unique(&wanted))));
        }
        for call in calls {
            let wanted = match &call {
                Expr::AggregateFunction(call) => call.func.name().to_string(),
                _ => "aggregate".to_string(),
            };
            replacements.push((call, Column::new_unqualified(self.unique(&wanted))));
        }
        let (plan, groups) = self.expanded(plan, grouping.keys.iter().map(|key| key.expr.clone()).collect())?;
        let plan = self.aggregation(plan, grouping, &groups, &replacements, levels)?;
        let schema = plan.schema().clone();
        for value in items.iter_mut().map(|item| &mut item.value).chain(orders.iter_mut().map(|order| &mut order.value))
        {
            let position = value.at;
            value.expr =
                regroup(self, &value.expr, &replacements, scope, &schema).map_err(|error| at(error, position))?;
        }
        if let Some(having) = having {
            *having = regroup(self, having, &replacements, scope, &schema)?;
        }
        Ok(plan)
    }

    /// The direct arguments of an ordered-set aggregate are the same for all rows of a group.
    fn check_direct_arguments(&self, call: &Expr, grouping: &Grouping, scope: &Scope) -> Result<()> {
        for argument in ordered_set::direct_arguments(call) {
            let mut stray = None;
            argument.apply(|inner| {
                if grouping.keys.iter().any(|key| key.expr == *inner) {
                    return Ok(TreeNodeRecursion::Jump);
                }
                if let Expr::Column(_) = inner {
                    stray = Some(inner.clone());
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
            if let Some(column) = stray {
                return Err(ungrouped(scope, &column)
                    .detail("Direct arguments of an ordered-set aggregate must use only grouped columns."));
            }
        }
        Ok(())
    }

    /// The plan of an aggregation whose columns are the replacements': first `levels` calls of
    /// grouping(), then the keys, then the calls. `groups`: the keys over the plan.
    fn aggregation(
        &self,
        plan: LogicalPlan,
        grouping: &Grouping,
        groups: &[Expr],
        replacements: &[(Expr, Column)],
        levels: usize,
    ) -> Result<LogicalPlan> {
        let (groupings, rest) = replacements.split_at(levels);
        let (keys, calls) = rest.split_at(grouping.keys.len());
        let types: Vec<PgType> = grouping.keys.iter().map(|key| key.ty.clone().unwrap_or(PgType::Text)).collect();
        let mut inputs = Vec::with_capacity(grouping.sets.len());
        for set in &grouping.sets {
            let mut own = Vec::with_capacity(set.len());
            let mut forms = vec![None; keys.len()];
            for place in set {
                let ((_, column), ty) = (&keys[*place], &types[*place]);
                let canonical = functions::canonical(groups[*place].clone(), ty)?;
                own.push(canonical.alias_with_metadata(&column.name, Some(metadata(ty))));
                forms[*place] = form::has_forms(ty).then(|| Column::new_unqualified(self.unique("form")));
            }
            let left_out: Vec<(Expr, Expr)> = (0..keys.len())
                .filter(|place| !set.contains(place))
                .map(|place| (keys[place].0.clone(), literal(null(&types[place]), &types[place])))
                .collect();
            let mut computed = calls
                .iter()
                .map(|(call, column)| Ok(ordered_set::where_null(call, &left_out)?.alias(&column.name)))
                .collect::<Result<Vec<Expr>>>()?;
            for ((group, ty), form) in groups.iter().zip(&types).zip(&forms) {
                computed.extend(form.iter().map(|form| form::greatest_call(group.clone(), ty).alias(&form.name)));
            }
            let aggregate = Aggregate::try_new(plan.clone().into(), own, computed)?;
            let input = LogicalPlan::Aggregate(aggregate);
            let plain = groupings.is_empty() && forms.iter().all(Option::is_none);
            if grouping.sets.len() == 1 && plain && set.len() == keys.len() {
                return Ok(input);
            }
            let mut exprs = Vec::with_capacity(replacements.len());
            for (call, column) in groupings {
                let level = grouping_level(call, keys, set)?;
                let level = literal(ScalarValue::Int32(Some(level)), &PgType::Int4);
                exprs.push(level.alias_with_metadata(&column.name, Some(metadata(&PgType::Int4))));
            }
            for (place, ((_, column), ty)) in keys.iter().zip(&types).enumerate() {
                let shown = match (&forms[place], set.contains(&place)) {
                    (Some(form), _) => form::greatest(form.clone(), ty),
                    (None, true) => Expr::Column(column.clone()),
                    (None, false) => literal(null(ty), ty),
                };
                exprs.push(match shown {
                    Expr::Column(_) if forms[place].is_none() => shown,
                    _ => shown.alias_with_metadata(&column.name, Some(metadata(ty))),
                });
            }
            exprs.extend(calls.iter().map(|(_, column)| Expr::Column(column.clone())));
            inputs.push(Arc::new(LogicalPlanBuilder::from(input).project(exprs)?.build()?));
        }
        match inputs.as_slice() {
            [only] => Ok((**only).clone()),
            _ => Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)),
        }
    }
}

/// An item of GROUPING SETS that stands for several; ROLLUP and CUBE are calls to the parser there.
fn super_group(expr: &ast::Expr) -> Option<ast::Expr> {
    let call = match expr {
        ast::Expr::Rollup(_) | ast::Expr::Cube(_) | ast::Expr::GroupingSets(_) => return Some(expr.clone()),
        ast::Expr::Function(call) => call,
        _ => return None,
    };
    let name = call.name.to_string().to_ascii_lowercase();
    let ast::FunctionArguments::List(list) = &call.args else { return None };
    let part = |arg: &ast::FunctionArg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Tuple(row))) => Some(row.clone()),
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Nested(expr))) => Some(vec![(**expr).clone()]),
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(vec![expr.clone()]),
        _ => None,
    };
    let parts = list.args.iter().map(part).collect::<Option<Vec<_>>>();
    match name.as_str() {
        "rollup" => Some(ast::Expr::Rollup(parts?)),
        "cube" => Some(ast::Expr::Cube(parts?)),
        _ => None,
    }
}

/// What grouping(...) is in a set: a bit for each argument, set where the set leaves it out.
fn grouping_level(call: &Expr, keys: &[(Expr, Column)], set: &[usize]) -> Result<i32> {
    let Expr::ScalarFunction(call) = call else { return Err(Error::internal("grouping() that is no call")) };
    let mut level = 0;
    for argument in &call.args {
        let place = keys.iter().position(|(key, _)| key == argument).ok_or_else(|| {
            Error::new(
                SqlState::GroupingError,
                "arguments to GROUPING must be grouping expressions of the associated query level",
            )
        })?;
        level = level << 1 | i32::from(!set.contains(&place));
    }
    Ok(level)
}

/// An expression over the output of the aggregation; what is neither grouped nor aggregated is an
/// error.
fn regroup(
    binder: &Binder<'_>,
    expr: &Expr,
    replacements: &[(Expr, Column)],
    scope: &Scope,
    schema: &DFSchema,
) -> Result<Expr> {
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
    if let Some(column) = stray {
        return Err(ungrouped(scope, &column));
    }
    regroup_subqueries(binder, replaced, replacements, scope, schema)
}

/// The error for a column that is neither grouped nor aggregated.
fn ungrouped(scope: &Scope, column: &Expr) -> Error {
    let name = scope.describe(column).unwrap_or_else(|| column.to_string());
    let message = format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function");
    Error::new(SqlState::GroupingError, message)
}

/// The same for what subqueries in the expression name of this query.
fn regroup_subqueries(
    binder: &Binder<'_>,
    expr: Expr,
    replacements: &[(Expr, Column)],
    scope: &Scope,
    schema: &DFSchema,
) -> Result<Expr> {
    let mut stray = None;
    let mut replace = |outer: Expr| {
        // As this query itself would write it.
        let own = outer.clone().transform_down(|inner| match inner {
            Expr::OuterReferenceColumn(_, ref column) => match binder.outer_call(column) {
                Some(call) if scope.reads_all(&call) => Ok(Transformed::new(call, true, TreeNodeRecursion::Jump)),
                None if scope.reads(column) => Ok(Transformed::yes(Expr::Column(column.clone()))),
                _ => Ok(Transformed::no(inner)),
            },
            other => Ok(Transformed::no(other)),
        })?;
        if !own.transformed {
            return Ok(Transformed::new(outer, false, TreeNodeRecursion::Jump));
        }
        // PostgreSQL knows columns again in a subquery, merged ones too, and no other expressions.
        let is_column = scope.columns.iter().any(|column| column.expr == own.data);
        if (is_column || matches!(own.data, Expr::AggregateFunction(_)))
            && let Some((_, column)) = replacements.iter().find(|(known, _)| *known == own.data)
        {
            let field = schema.field_with_unqualified_name(&column.name)?.clone();
            let grouped = Expr::OuterReferenceColumn(field, column.clone());
            return Ok(Transformed::new(grouped, true, TreeNodeRecursion::Jump));
        }
        if let Expr::Column(column) = own.data {
            stray.get_or_insert(column);
        }
        Ok(Transformed::no(outer))
    };
    let regrouped = expr.transform(|inner| {
        map_subquery(inner, &mut |plan| {
            let plan = plan.transform_down_with_subqueries(|node| {
                node.map_expressions(|expr| expr.transform_down(&mut replace))
            })?;
            Ok(plan.data)
        })
    })?;
    match stray {
        None => Ok(regrouped.data),
        Some(column) => {
            let name = scope.describe(&Expr::Column(column.clone())).unwrap_or_else(|| column.to_string());
            Err(Error::new(
                SqlState::GroupingError,
                format!("subquery uses ungrouped column \"{name}\" from outer query"),
            ))
        }
    }
}
