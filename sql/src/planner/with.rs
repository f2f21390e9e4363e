//! WITH: named queries, and WITH RECURSIVE.
//!
//! A query that reads itself must be one UNION of a part that does not and a part that does, which
//! reads its own rows of the iteration before. What PostgreSQL refuses is refused in its words
//! (42P19).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, JoinOperator, SetExpr, SetOperator, SetQuantifier, TableFactor, Visit};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, BoundQuery, Ctes, Env, OutputColumn, fold, name_parts};
use super::form;
use super::from::surroundings;
use super::query::rename;
use super::recursive_query::{RecursiveQuery, WorkingTable};
use super::scope::Scope;
use super::search_cycle::carrying;
use super::typed::common;
use crate::parser::search_cycle::{self, Clause};
use crate::parser::with_changes::is_change;
use crate::walk::relations;

impl Binder<'_> {
    /// The queries in sight behind a WITH clause.
    pub(super) fn with(&self, with: Option<&ast::With>, outer: Option<&Env<'_>>, ctes: &Ctes) -> Result<Ctes> {
        let Some(with) = with else { return Ok(ctes.clone()) };
        let (items, clauses) = items_of(with);
        let names: Vec<String> = items.iter().map(|cte| fold(&cte.alias.name)).collect();
        if let Some((place, name)) = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)) {
            let error =
                Error::new(SqlState::DuplicateAlias, format!("WITH query name \"{name}\" specified more than once"));
            let place = self.position(items[place].alias.name.span);
            return Err(super::binder::at(error, place));
        }
        if let Some(cte) = items.iter().find(|cte| is_change(&cte.query)) {
            let message = match *cte.query.body {
                SetExpr::Merge(_) => "MERGE not supported in WITH query",
                _ => "WITH clause containing a data-modifying statement must be at the top level",
            };
            let error = Error::new(SqlState::FeatureNotSupported, message);
            return Err(super::binder::at(error, self.position(cte.alias.name.span)));
        }
        let order = if with.recursive { in_order(&items, &names)? } else { (0..names.len()).collect() };
        let mut ctes = ctes.clone();
        for place in order {
            let (cte, name, clauses) = (items[place], &names[place], &clauses[place]);
            let recursive = with.recursive && mentions(cte.query.as_ref(), name) > 0;
            if !recursive && !clauses.is_empty() {
                return Err(Error::new(SqlState::SyntaxError, "WITH query is not recursive"));
            }
            let mut bound = self.nested(|| match recursive {
                true => self.recursive((name, cte, clauses), outer, &ctes),
                false => self.query(&cte.query, outer, &ctes).map_err(|error| ahead(error, &names[place..])),
            })?;
            bound = self.settled_query(bound)?;
            renamed(&mut bound, name, cte)?;
            let mut longer = (*ctes).clone();
            longer.push((name.clone(), bound));
            ctes = longer.into();
        }
        Ok(ctes)
    }

    /// A query that reads itself.
    fn recursive(
        &self,
        (name, cte, clauses): (&str, &ast::Cte, &[Clause]),
        outer: Option<&Env<'_>>,
        ctes: &Ctes,
    ) -> Result<BoundQuery> {
        let query = cte.query.as_ref();
        let (first, step, all) = terms(name, query)?;
        let inner = self.with(query.with.as_ref(), outer, ctes)?;
        let mut first = self.settled_query(self.set_expr(first, outer, &inner)?)?;
        let shown = first.columns.iter().enumerate().map(|(place, column)| match cte.alias.columns.get(place) {
            Some(given) => fold(&given.name),
            None => column.name.clone(),
        });
        let shown: Vec<String> = shown.collect();
        let scope = Scope::default();
        let added = self.added_columns(&surroundings(&scope, outer, ctes), clauses, &shown)?;
        if !added.is_empty() {
            first = self.begun(first, &added)?;
        }
        let types: Vec<PgType> = first.columns.iter().map(|column| column.ty.clone().unwrap_or(PgType::Text)).collect();
        let names: Vec<String> = first.columns.iter().map(|column| column.name.clone()).collect();
        let (working, table) = self.working_table(name, &names, &types, (cte, all))?;
        let mut within = (*inner).clone();
        within.push((name.to_string(), working));
        let step = match added.is_empty() {
            true => self.set_expr(step, outer, &within.into())?,
            false => self.continued(self.set_expr(&carrying(step, name, &added)?, outer, &within.into())?, &added)?,
        };
        if aggregates_working_table(&step.plan, &table)? {
            return Err(invalid("aggregate functions are not allowed in a recursive query's recursive term"));
        }
        if step.columns.len() != types.len() {
            return Err(Error::new(SqlState::SyntaxError, "each UNION query must have the same number of columns"));
        }
        for (place, (column, ty)) in step.columns.iter().zip(&types).enumerate() {
            let overall = common([(Some(ty), None), (column.ty.as_ref(), None)], "UNION")?;
            if overall != *ty {
                let message = format!(
                    "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                    place + 1,
                    ty.name(),
                    overall.name()
                );
                return Err(Error::new(SqlState::DatatypeMismatch, message)
                    .hint("Cast the output of the non-recursive term to the correct type."));
            }
        }
        let (first, step) = (self.convert(first, &types, false)?, self.convert(step, &types, false)?);
        let plan = match all {
            true => RecursiveQuery::plan(table, first, step, None)?,
            false => {
                let (first, same) = self.told_apart(first, &types)?;
                RecursiveQuery::plan(table, first, self.told_apart(step, &types)?.0, Some(same))?
            }
        };
        self.rebuilt(plan, names, types)
    }

    /// What the recursive term sees of its query, and the name of its working table.
    fn working_table(
        &self,
        name: &str,
        names: &[String],
        types: &[PgType],
        (cte, all): (&ast::Cte, bool),
    ) -> Result<(BoundQuery, String)> {
        let table = self.unique(name);
        let mut columns = Vec::with_capacity(names.len());
        let mut fields = Vec::with_capacity(names.len());
        for (name, ty) in names.iter().zip(types) {
            let unique = self.unique(name);
            fields.push(ty.field(&unique, true));
            let column = Column::new(Some(table.as_str()), unique);
            columns.push(OutputColumn { name: name.clone(), column, ty: Some(ty.clone()), origin: None });
        }
        if !all {
            fields.extend(form::telling(types).iter().map(|ty| ty.field(self.unique(name), true)));
        }
        let source = WorkingTable { name: table.clone(), schema: Arc::new(Schema::new(fields)) };
        let plan = LogicalPlanBuilder::scan(table.as_str(), Arc::new(source), None)?.build()?;
        let mut bound = BoundQuery { plan, columns };
        renamed(&mut bound, name, cte)?;
        Ok((bound, table))
    }
}

/// The queries of WITH, each with the clauses behind it.
fn items_of(with: &ast::With) -> (Vec<&ast::Cte>, Vec<Vec<Clause>>) {
    let (mut items, mut clauses): (Vec<&ast::Cte>, Vec<Vec<Clause>>) = (Vec::new(), Vec::new());
    for cte in &with.cte_tables {
        match (search_cycle::clause(cte), clauses.last_mut()) {
            (Some(clause), Some(of)) => of.push(clause),
            _ => {
                items.push(cte);
                clauses.push(Vec::new());
            }
        }
    }
    (items, clauses)
}

/// The error for a name that a WITH item of this or a later place has.
fn ahead(error: Error, names: &[String]) -> Error {
    let named = |name: &&String| error.message() == format!("relation \"{name}\" does not exist");
    match names.iter().find(named) {
        Some(name) if error.detail_text().is_none() => {
            let detail = format!(
                "There is a WITH item named \"{name}\", but it cannot be referenced from this part of the query."
            );
            let hint = "Use WITH RECURSIVE, or re-order the WITH items to remove forward references.";
            error.detail(detail).hint(hint)
        }
        _ => error,
    }
}

/// Gives the columns of a WITH query the names behind its own.
fn renamed(bound: &mut BoundQuery, name: &str, cte: &ast::Cte) -> Result<()> {
    let (there, named) = (bound.columns.len(), cte.alias.columns.len());
    if named > there {
        let message = format!("WITH query \"{name}\" has {there} columns available but {named} columns specified");
        return Err(Error::new(SqlState::InvalidColumnReference, message));
    }
    rename(bound, name, &cte.alias.columns)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidRecursion, message)
}

/// The parts of a query that reads itself, and whether equal rows are kept.
fn terms<'q>(name: &str, query: &'q ast::Query) -> Result<(&'q SetExpr, &'q SetExpr, bool)> {
    let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right } = query.body.as_ref() else {
        return Err(invalid(format!(
            "recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"
        )));
    };
    let all = match set_quantifier {
        SetQuantifier::All => true,
        SetQuantifier::Distinct | SetQuantifier::None => false,
        other => return Err(Error::unsupported(format!("UNION {other}"))),
    };
    let refused = |clause: &str| {
        let message = format!("{clause} in a recursive query is not implemented");
        Err(Error::new(SqlState::FeatureNotSupported, message))
    };
    if query.order_by.is_some() {
        return refused("ORDER BY");
    }
    if let Some(ast::LimitClause::LimitOffset { limit: None, .. }) = &query.limit_clause {
        return refused("OFFSET");
    }
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return refused("LIMIT");
    }
    let within =
        |place: &str| Err(invalid(format!("recursive reference to query \"{name}\" must not appear within {place}")));
    if mentions(left.as_ref(), name) > 0 {
        return within("its non-recursive term");
    }
    let mut places = Vec::new();
    in_set(right, name, None, &mut places);
    if let Some(place) = places.iter().flatten().next() {
        return within(place);
    }
    if mentions(right.as_ref(), name) > places.len() {
        return within("a subquery");
    }
    if places.len() > 1 {
        return Err(invalid(format!("recursive reference to query \"{name}\" must not appear more than once")));
    }
    Ok((left, right, all))
}

/// How often a name stands for a relation.
fn mentions(part: &impl Visit, name: &str) -> usize {
    let mut count = 0;
    relations(part, &mut |relation| {
        count += usize::from(name_parts(relation).is_ok_and(|parts| parts == [name]));
    });
    count
}

/// The queries of WITH RECURSIVE, each behind those it reads.
fn in_order(items: &[&ast::Cte], names: &[String]) -> Result<Vec<usize>> {
    let reads: Vec<BTreeSet<usize>> = items
        .iter()
        .enumerate()
        .map(|(own, cte)| {
            let read = |place: &usize| *place != own && mentions(cte.query.as_ref(), &names[*place]) > 0;
            (0..names.len()).filter(read).collect()
        })
        .collect();
    let mut order: Vec<usize> = Vec::with_capacity(names.len());
    while order.len() < names.len() {
        let ready = |place: &usize| !order.contains(place) && reads[*place].iter().all(|read| order.contains(read));
        match (0..names.len()).find(ready) {
            Some(next) => order.push(next),
            None => {
                let message = "mutual recursion between WITH items is not implemented";
                return Err(Error::new(SqlState::FeatureNotSupported, message));
            }
        }
    }
    Ok(order)
}

type Places = Vec<Option<&'static str>>;

/// Notes each reference of a FROM clause to a name: `None` where it is allowed, else where it is.
fn in_set(body: &SetExpr, name: &str, place: Option<&'static str>, found: &mut Places) {
    match body {
        SetExpr::Select(select) => {
            select.from.iter().for_each(|table| in_joins(table, name, place, found));
        }
        SetExpr::Query(query) => in_query(query, name, place, found),
        SetExpr::SetOperation { op, set_quantifier, left, right } => {
            let all = *set_quantifier == SetQuantifier::All;
            let (one, other) = match op {
                SetOperator::Intersect if all => (Some("INTERSECT"), Some("INTERSECT")),
                SetOperator::Except | SetOperator::Minus if all => (Some("EXCEPT"), Some("EXCEPT")),
                SetOperator::Except | SetOperator::Minus => (None, Some("EXCEPT")),
                _ => (None, None),
            };
            in_set(left, name, place.or(one), found);
            in_set(right, name, place.or(other), found);
        }
        _ => {}
    }
}

fn in_query(query: &ast::Query, name: &str, place: Option<&'static str>, found: &mut Places) {
    for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
        in_query(&cte.query, name, place, found);
    }
    in_set(&query.body, name, place, found);
}

fn in_joins(table: &ast::TableWithJoins, name: &str, place: Option<&'static str>, found: &mut Places) {
    const OUTER: Option<&str> = Some("an outer join");
    let mut left = Places::new();
    in_factor(&table.relation, name, place, &mut left);
    for join in &table.joins {
        let (outer_left, outer_right) = match &join.join_operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (None, OUTER),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (OUTER, None),
            JoinOperator::FullOuter(_) => (OUTER, OUTER),
            _ => (None, None),
        };
        left.iter_mut().for_each(|known| *known = known.or(outer_left));
        in_factor(&join.relation, name, place.or(outer_right), &mut left);
    }
    found.extend(left);
}

fn in_factor(factor: &TableFactor, name: &str, place: Option<&'static str>, found: &mut Places) {
    match factor {
        TableFactor::Table { name: relation, .. } if name_parts(relation).is_ok_and(|parts| parts == [name]) => {
            found.push(place);
        }
        TableFactor::Derived { subquery, .. } => in_query(subquery, name, place, found),
        TableFactor::NestedJoin { table_with_joins, .. } => in_joins(table_with_joins, name, place, found),
        _ => {}
    }
}

/// Whether a query aggregates the rows of the working table itself.
fn aggregates_working_table(plan: &LogicalPlan, table: &str) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            found |= !aggregate.aggr_expr.is_empty() && reads_directly(&aggregate.input, table);
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether the working table is in the FROM clause of this very query.
fn reads_directly(plan: &LogicalPlan, table: &str) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => WorkingTable::of(scan).is_some_and(|working| working.name == table),
        LogicalPlan::SubqueryAlias(alias) => {
            matches!(alias.input.as_ref(), LogicalPlan::TableScan(_)) && reads_directly(&alias.input, table)
        }
        LogicalPlan::Filter(_) | LogicalPlan::Join(_) => {
            plan.inputs().into_iter().any(|input| reads_directly(input, table))
        }
        _ => false,
    }
}
