//! UNION, INTERSECT and EXCEPT, with ALL and without.
//!
//! Rows are compared column by column with nulls alike, in the types that both sides have in
//! common. INTERSECT and EXCEPT show the left side's rows.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Union};
use datafusion::sql::sqlparser::ast::{SetOperator, SetQuantifier};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, BoundQuery};
use super::form::{self, Compared};
use super::unnest;

impl Binder<'_> {
    /// Binds a set operation over two bound queries.
    pub(super) fn set_operation(
        &self,
        left: BoundQuery,
        op: SetOperator,
        quantifier: SetQuantifier,
        right: BoundQuery,
    ) -> Result<BoundQuery> {
        let all = keeps_equal_rows(op, quantifier)?;
        let construct = op.to_string();
        same_width(&left, &right, &construct)?;
        let (left, right) = (self.numbers_beside(left, &right)?, right);
        let right = self.numbers_beside(right, &left)?;
        let mut types = Vec::with_capacity(left.columns.len());
        for (one, other) in left.columns.iter().zip(&right.columns) {
            types.push(super::typed::common([(one.ty.as_ref(), None), (other.ty.as_ref(), None)], &construct)?);
        }
        let names: Vec<String> = left.columns.iter().map(|column| column.name.clone()).collect();
        let left = self.convert(left, &types, false)?;
        let right = self.convert(right, &types, false)?;
        let plan = match op {
            SetOperator::Union => self.union(vec![left, right], all)?,
            _ if names.is_empty() => return Err(Error::unsupported(format!("{op} of queries without columns"))),
            SetOperator::Intersect => self.met(left, JoinType::LeftSemi, right, &types, all)?,
            _ => self.met(left, JoinType::LeftAnti, right, &types, all)?,
        };
        self.rebuilt(plan, names, types)
    }

    /// Binds UNION, or UNION ALL, of several queries in a row: one union, however many they are.
    pub(super) fn union_of(&self, branches: Vec<BoundQuery>, quantifier: SetQuantifier) -> Result<BoundQuery> {
        let all = keeps_equal_rows(SetOperator::Union, quantifier)?;
        let mut bound: Vec<BoundQuery> = Vec::with_capacity(branches.len());
        let mut types: Vec<Option<PgType>> = Vec::new();
        for branch in branches {
            let Some(first) = bound.first_mut() else {
                types = branch.columns.iter().map(|column| column.ty.clone()).collect();
                bound.push(branch);
                continue;
            };
            same_width(first, &branch, "UNION")?;
            *first = self.numbers_beside(first.clone(), &branch)?;
            let branch = self.numbers_beside(branch, first)?;
            // Two by two from the left, as PostgreSQL does: two open columns are text.
            for (so_far, column) in types.iter_mut().zip(&branch.columns) {
                let pair = [(so_far.as_ref(), None), (column.ty.as_ref(), None)];
                *so_far = Some(super::typed::common(pair, "UNION")?);
            }
            bound.push(branch);
        }
        let types: Vec<PgType> = types.into_iter().map(|ty| ty.unwrap_or(PgType::Text)).collect();
        let names = bound.first().into_iter().flat_map(|first| &first.columns).map(|column| column.name.clone());
        let names: Vec<String> = names.collect();
        let plans = bound.into_iter().map(|branch| self.convert(branch, &types, false)).collect::<Result<Vec<_>>>()?;
        let plan = self.union(plans, all)?;
        self.rebuilt(plan, names, types)
    }

    /// The rows of all of these; without `all`, of equal ones one.
    fn union(&self, plans: Vec<LogicalPlan>, all: bool) -> Result<LogicalPlan> {
        let union = united(plans)?;
        match (all, union.schema().fields().is_empty()) {
            (true, _) => Ok(union),
            // Rows of no columns are all alike.
            (false, true) => Ok(LogicalPlanBuilder::from(union).limit(0, Some(1))?.build()?),
            (false, false) => self.distinct_rows(union),
        }
    }

    /// The rows of the left side that meet an equal one of the right side, or that do not. With ALL
    /// each row meets at most one other.
    fn met(
        &self,
        left: LogicalPlan,
        join: JoinType,
        right: LogicalPlan,
        types: &[PgType],
        all: bool,
    ) -> Result<LogicalPlan> {
        let (left, right) = match all {
            true => (self.numbered(self.keyed(left)?, types)?, self.numbered(self.keyed(right)?, types)?),
            false => (self.distinct_groups(left)?, self.keyed(right)?),
        };
        let plan = LogicalPlanBuilder::from(left.plan)
            .join_detailed(right.plan, join, (left.keys, right.keys), None, NullEquality::NullEqualsNull)?
            .project(left.shown)?;
        Ok(plan.build()?)
    }

    /// The same with equal rows numbered from 1, the number being a key like the others.
    fn numbered(&self, rows: Compared, types: &[PgType]) -> Result<Compared> {
        let partition = rows.keys.iter().cloned().map(Expr::Column).collect();
        let forms = rows.shown.iter().zip(types).filter(|(_, ty)| form::has_forms(ty));
        let order = forms.map(|(form, ty)| form::greatest_first(form.clone(), ty)).collect();
        let name = self.unique("number");
        let number = unnest::row_number(partition, order).alias(&name);
        let plan = LogicalPlanBuilder::from(rows.plan).window([number])?.build()?;
        let keys = rows.keys.into_iter().chain([Column::new_unqualified(name)]).collect();
        Ok(Compared { plan, keys, shown: rows.shown })
    }
}

fn united(plans: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    let mut inputs: Vec<Arc<LogicalPlan>> = Vec::with_capacity(plans.len());
    for plan in plans {
        let Some(first) = inputs.first() else {
            inputs.push(Arc::new(plan));
            continue;
        };
        // An optimiser that drops all branches but one leaves that one's names behind.
        let names = first.schema().fields().iter().map(|field| field.name().clone());
        let columns = plan.schema().columns().into_iter().zip(names);
        let named: Vec<Expr> = columns.map(|(column, name)| Expr::Column(column).alias(name)).collect();
        inputs.push(Arc::new(LogicalPlanBuilder::from(plan).project(named)?.build()?));
    }
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}

/// Whether the operation is one with ALL.
fn keeps_equal_rows(op: SetOperator, quantifier: SetQuantifier) -> Result<bool> {
    match quantifier {
        SetQuantifier::All => Ok(true),
        SetQuantifier::Distinct | SetQuantifier::None => Ok(false),
        _ => Err(Error::unsupported(format!("{op} {quantifier}"))),
    }
}

fn same_width(left: &BoundQuery, right: &BoundQuery, construct: &str) -> Result<()> {
    if left.columns.len() == right.columns.len() {
        return Ok(());
    }
    let message = format!("each {construct} query must have the same number of columns");
    Err(Error::new(SqlState::SyntaxError, message))
}
