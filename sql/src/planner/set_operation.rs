//! UNION, INTERSECT and EXCEPT, with ALL and without.
//!
//! Rows are compared column by column with nulls alike, in the types that both sides have in
//! common. INTERSECT and EXCEPT show the left side's rows.

use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
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
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::Distinct | SetQuantifier::None => false,
            _ => return Err(Error::unsupported(format!("{op} {quantifier}"))),
        };
        let construct = op.to_string();
        if left.columns.len() != right.columns.len() {
            return Err(Error::new(
                SqlState::SyntaxError,
                format!("each {construct} query must have the same number of columns"),
            ));
        }
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
            SetOperator::Union => {
                let union = union(left, right)?;
                match (all, names.is_empty()) {
                    (true, _) => union,
                    // Rows of no columns are all alike.
                    (false, true) => LogicalPlanBuilder::from(union).limit(0, Some(1))?.build()?,
                    (false, false) => self.distinct_rows(union)?,
                }
            }
            _ if names.is_empty() => return Err(Error::unsupported(format!("{op} of queries without columns"))),
            SetOperator::Intersect => self.met(left, JoinType::LeftSemi, right, &types, all)?,
            _ => self.met(left, JoinType::LeftAnti, right, &types, all)?,
        };
        self.rebuilt(plan, names, types)
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

fn union(left: LogicalPlan, right: LogicalPlan) -> Result<LogicalPlan> {
    // An optimiser that drops all branches but one leaves that one's names behind.
    let first = left.schema().fields().iter().map(|field| field.name().clone());
    let columns = right.schema().columns().into_iter().zip(first);
    let named: Vec<Expr> = columns.map(|(column, name)| Expr::Column(column).alias(name)).collect();
    let right = LogicalPlanBuilder::from(right).project(named)?.build()?;
    Ok(LogicalPlanBuilder::from(left).union(right)?.build()?)
}
