//! MERGE, bound: a query that joins the source with the table's numbered rows and says which WHEN
//! each pair meets, and what these make of the pairs.
//!
//! Pairs for which nothing is to be done are left out by the query. What an action computes are
//! expressions over the pairs at hand, so that only those of the WHEN that a pair met are evaluated.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::logical_expr::{Case, Expr, JoinType, LogicalPlan, LogicalPlanBuilder};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Spanned;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::assign::same_width;
use super::binder::{Binder, Env};
use super::change::{Target, places, settled};
use super::from::{From, surroundings, unseen};
use super::record::has_outer_join;
use super::scope::Scope;
use super::typed::{literal, metadata, null};
use super::unnest::unnest;
use super::{Planner, Resolver, Settings};
use crate::parser::merge::{Action, Merge, When};

/// MERGE, bound.
pub(crate) struct BoundMerge {
    /// The query: the number of the table's row (null: there is none), the number of the WHEN, the
    /// columns of the row, and then the source's.
    pub(crate) plan: LogicalPlan,
    /// Its columns.
    pub(crate) schema: SchemaRef,
    /// What the WHENs do, in order.
    pub(crate) actions: Vec<BoundAction>,
    /// What the actions are over: the query's columns from the third on, as they name them.
    pub(crate) at_hand: DFSchemaRef,
    /// The types of `$1`, ...
    pub(crate) parameters: Vec<PgType>,
}

/// What a WHEN does to the pairs that meet it.
pub(crate) enum BoundAction {
    /// None does.
    Nothing,
    /// UPDATE: the new value of every column.
    Update(Vec<Expr>),
    /// DELETE.
    Delete,
    /// INSERT: the value of every column.
    Insert(Vec<Expr>),
}

impl Planner {
    /// Binds a MERGE.
    pub(crate) fn bind_merge(
        &self,
        merge: &Merge,
        target: &Target<'_>,
        resolver: &dyn Resolver,
        settings: &Settings,
        parameters: &[Option<PgType>],
    ) -> Result<BoundMerge> {
        let binder = Binder::new(resolver, settings, parameters).behind(&merge.with)?;
        if has_outer_join(&merge.source) {
            binder.note_merged(merge);
        }
        let (rows, own) = binder.numbered_rows(target)?;
        let source = binder.from(std::slice::from_ref(&merge.source), None, &binder.before)?;
        if matches!(source.scope.tables.as_slice(), [only] if only == target.visible) {
            let message = format!("name \"{}\" specified more than once", target.visible);
            let detail = "The name is used both as MERGE target table and data source.";
            return Err(Error::new(SqlState::DuplicateAlias, message).detail(detail));
        }
        let number = own.columns.last().map(|column| column.expr.clone()).unwrap_or_default();
        let pairs = Pairs { own: &own, source: source.scope.clone(), both: joined(&own, &source.scope)? };
        let plan = binder.pairs(merge, rows, source, &pairs)?;
        let which = Expr::Case(Case {
            expr: None,
            when_then_expr: vec![(
                Box::new(number.clone().is_not_null()),
                Box::new(binder.which(&merge.whens, true, &pairs)?),
            )],
            else_expr: Some(Box::new(binder.which(&merge.whens, false, &pairs)?)),
        });
        let (plan, fields, at_hand) = numbered(plan, number, which, &pairs.both)?;
        let columns = at_hand.columns[target.columns.len()..].to_vec();
        let Scope { tables, renamed, .. } = pairs.source.clone();
        let source = Scope { columns, tables, renamed, ..at_hand.clone() };
        let near = Pairs { own: &own, source, both: at_hand };
        let actions = merge.whens.iter().map(|when| binder.action(when, target, &near)).collect::<Result<Vec<_>>>()?;
        let plan = unnest(plan, &|wanted| binder.unique(wanted), false)?;
        let unnamed = fields[2..].iter().enumerate().map(|(place, field)| field.clone().with_name(place.to_string()));
        let schema = DFSchema::try_from(Schema::new(unnamed.collect::<Vec<Field>>()))?;
        let (at_hand, schema) = (Arc::new(schema), Arc::new(Schema::new(fields)));
        Ok(BoundMerge { plan, schema, actions, at_hand, parameters: settled(binder)? })
    }
}

/// What the parts of a MERGE see.
struct Pairs<'a> {
    /// The table's columns.
    own: &'a Scope,
    /// The source's.
    source: Scope,
    /// Both.
    both: Scope,
}

/// The table's columns and behind them the source's.
fn joined(own: &Scope, source: &Scope) -> Result<Scope> {
    let mut both = own.clone();
    // Its number.
    both.columns.pop();
    both.extend(source.clone())?;
    Ok(both)
}

/// The pairs that meet a WHEN which does something, as [`BoundMerge`] has them, and their columns
/// by number.
fn numbered(plan: LogicalPlan, number: Expr, which: Expr, both: &Scope) -> Result<(LogicalPlan, Vec<Field>, Scope)> {
    let mut exprs = Vec::new();
    let mut fields = Vec::new();
    let mut push = |expr: Expr, ty: &PgType| {
        let place = fields.len();
        let name = if place < 2 { ["row", "when"][place].to_string() } else { format!("pair{}", place - 2) };
        exprs.push(expr.alias_with_metadata(&name, Some(metadata(ty))));
        fields.push(ty.field(name, true));
        Expr::Column(Column::new_unqualified(place.saturating_sub(2).to_string()))
    };
    push(number, &PgType::Int8);
    push(which, &PgType::Int8);
    let mut at_hand = both.clone();
    for column in &mut at_hand.columns {
        column.expr = push(column.expr.clone(), &column.ty);
    }
    for (_, column) in &mut at_hand.rows {
        column.expr = push(column.expr.clone(), &column.ty);
    }
    for (_, present) in &mut at_hand.present {
        *present = push(present.clone(), &PgType::Bool);
    }
    let met = Expr::Column(Column::new_unqualified("when")).is_not_null();
    let plan = LogicalPlanBuilder::from(plan).project(exprs)?.filter(met)?.build()?;
    Ok((plan, fields, at_hand))
}

impl Binder<'_> {
    /// Notes which names may mean whole rows.
    fn note_merged(&self, merge: &Merge) {
        self.note_names(&merge.on);
        for when in &merge.whens {
            self.note_names(&when.condition);
            match &when.action {
                Action::Update(assignments) => self.note_assigned(assignments),
                Action::Insert { values, .. } => self.note_names(values),
                Action::Nothing | Action::Delete => {}
            }
        }
    }

    /// The source's rows with those of the table that they match; without one where a WHEN asks for that.
    fn pairs(&self, merge: &Merge, rows: LogicalPlan, source: From, pairs: &Pairs<'_>) -> Result<LogicalPlan> {
        let env = surroundings(&pairs.both, None, &self.before);
        let condition = self.condition(&env, &merge.on, "JOIN/ON")?;
        let inserts = |when: &When| !when.matched && matches!(when.action, Action::Insert { .. });
        let kind = if merge.whens.iter().any(inserts) { JoinType::Left } else { JoinType::Inner };
        Ok(LogicalPlanBuilder::from(source.plan).join_on(rows, kind, [condition])?.build()?)
    }

    /// The number of the first WHEN of a kind that a pair meets; null if there is none, or nothing to do.
    fn which(&self, whens: &[When], matched: bool, pairs: &Pairs<'_>) -> Result<Expr> {
        let mut when_then_expr = Vec::new();
        let mut otherwise = literal(null(&PgType::Int8), &PgType::Int8);
        for (place, when) in whens.iter().enumerate().filter(|(_, when)| when.matched == matched) {
            let then = match when.action {
                Action::Nothing => literal(null(&PgType::Int8), &PgType::Int8),
                _ => literal(ScalarValue::Int64(Some(place as i64)), &PgType::Int8),
            };
            match &when.condition {
                Some(condition) => {
                    let condition = self
                        .seen(matched, pairs, "MERGE WHEN conditions", |env| self.condition(env, condition, "WHEN"))?;
                    when_then_expr.push((Box::new(condition), Box::new(then)));
                }
                None => otherwise = then,
            }
        }
        if when_then_expr.is_empty() {
            return Ok(otherwise);
        }
        Ok(Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(Box::new(otherwise)) }))
    }

    /// Binds over what a WHEN sees: both rows, or the source's alone.
    fn seen<T>(
        &self,
        matched: bool,
        pairs: &Pairs<'_>,
        clause: &'static str,
        bind: impl FnOnce(&Env<'_>) -> Result<T>,
    ) -> Result<T> {
        if matched {
            return bind(&self.env(&pairs.both, clause));
        }
        let unseen_here = self.env(pairs.own, clause);
        bind(&self.env(&pairs.source, clause)).map_err(|error| unseen(error, Some(&unseen_here)))
    }

    fn action(&self, when: &When, target: &Target<'_>, pairs: &Pairs<'_>) -> Result<BoundAction> {
        Ok(match &when.action {
            Action::Nothing => BoundAction::Nothing,
            Action::Delete => BoundAction::Delete,
            Action::Update(assignments) => {
                let own = |place: usize| pairs.both.columns[place].expr.clone();
                BoundAction::Update(
                    self.seen(true, pairs, "UPDATE", |env| self.assigned(target, assignments, env, &own))?,
                )
            }
            Action::Insert { columns, overriding, values } => {
                let places = places(target, columns.as_deref())?;
                let given = values.as_deref().unwrap_or_default();
                if values.is_some() {
                    let extra = given.get(places.len()).and_then(|expr| self.position(expr.span()));
                    same_width(given.len(), (&places, columns.as_deref()), extra)?;
                }
                BoundAction::Insert(self.seen(false, pairs, "VALUES", |env| {
                    self.row(target, (&places, columns.as_deref()), given, *overriding, env)
                })?)
            }
        })
    }
}
