//! From a dependent subquery to a part: joins and unions.
//!
//! A side that names the outer side brings its keys along; where both do, rows of one outer row
//! meet rows of the same. Where a side keeps rows that meet none, it must know the outer row.

use datafusion::common::{Column, NullEquality};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Case, Expr, Join, JoinType, LogicalPlan, Union};
use thalweg_dataflow::Result;

use super::condition::{Pair, equal};
use super::domain::Domain;
use super::part::{Key, Part, over_keys};
use super::{Unnester, named, project};

impl Unnester<'_> {
    /// A join inside a dependent subquery.
    pub(super) fn push_join(&self, node: &Join, domain: &Domain<'_>) -> Result<Part> {
        let side = |plan: &LogicalPlan| -> Result<Part> {
            let part = self.completed(self.push(plan, domain)?, domain)?;
            Ok(Part { order: Vec::new(), ..part })
        };
        let (left, right) = (side(&node.left)?, side(&node.right)?);
        let null_safe = node.null_equality == NullEquality::NullEqualsNull;
        // A key of a subquery further in may name this outer side.
        let mut filter = node.filter.clone();
        let mut on = Vec::with_capacity(node.on.len());
        for (left, right) in &node.on {
            if domain.concerns(left)? || domain.concerns(right)? {
                let equal = equal(left.clone(), right.clone(), null_safe);
                filter = Some(match filter {
                    Some(filter) => equal.and(filter),
                    None => equal,
                });
            } else {
                on.push((left.clone(), right.clone()));
            }
        }
        let pairs = |swapped: bool| -> Vec<Pair> {
            let pair = |(left, right): &(Expr, Expr)| match swapped {
                false => Pair { left: left.clone(), right: right.clone(), null_safe },
                true => Pair { left: right.clone(), right: left.clone(), null_safe },
            };
            on.iter().map(pair).collect()
        };
        match node.join_type {
            JoinType::Inner => self.push_inner(left, right, pairs(false), filter, domain),
            JoinType::Full => self.push_full(left, right, pairs(false), filter, node.schema.columns(), domain),
            JoinType::Right => self.push_outer(right, left, JoinType::Left, pairs(true), filter, domain),
            JoinType::RightSemi => self.push_outer(right, left, JoinType::LeftSemi, pairs(true), filter, domain),
            JoinType::RightAnti => self.push_outer(right, left, JoinType::LeftAnti, pairs(true), filter, domain),
            kind => self.push_outer(left, right, kind, pairs(false), filter, domain),
        }
    }

    fn push_inner(
        &self,
        left: Part,
        right: Part,
        mut pairs: Vec<Pair>,
        filter: Option<Expr>,
        domain: &Domain<'_>,
    ) -> Result<Part> {
        let mut keys = left.keys;
        let mut own = Vec::new();
        for key in right.keys {
            match over_keys(&key.outer, &keys)? {
                Some(value) => {
                    pairs.push(Pair { left: value, right: Expr::Column(key.column), null_safe: key.null_safe })
                }
                None => own.push(key),
            }
        }
        for key in &keys {
            if let Some(value) = over_keys(&key.outer, &own)? {
                pairs.push(Pair { left: Expr::Column(key.column.clone()), right: value, null_safe: key.null_safe });
            }
        }
        keys.extend(own);
        let (mut plain, mut open) = (Vec::new(), Vec::new());
        for condition in filter.map(split_conjunction_owned).unwrap_or_default() {
            if domain.concerns(&condition)? { open.push(condition) } else { plain.push(condition) }
        }
        let plan = self.joined(left.plan, right.plan, JoinType::Inner, pairs, plain.into_iter().reduce(Expr::and))?;
        let part = Part { keys, ..Part::independent(plan) };
        match open.into_iter().reduce(Expr::and) {
            Some(condition) => self.restricted(part, condition, domain),
            None => Ok(part),
        }
    }

    /// A join that keeps the left side's rows or some of them.
    fn push_outer(
        &self,
        mut left: Part,
        right: Part,
        kind: JoinType,
        mut pairs: Vec<Pair>,
        filter: Option<Expr>,
        domain: &Domain<'_>,
    ) -> Result<Part> {
        for key in &right.keys {
            if over_keys(&key.outer, &left.keys)?.is_none() {
                left = self.bound(left, domain)?;
            }
        }
        let (left, filter) = self.local(left, filter.into_iter().collect(), domain)?;
        pairs.extend(ties(&right, &left.keys)?);
        let plan = self.joined(left.plan, right.plan, kind, pairs, filter.into_iter().next())?;
        Ok(Part { keys: left.keys, ..Part::independent(plan) })
    }

    fn push_full(
        &self,
        left: Part,
        right: Part,
        mut pairs: Vec<Pair>,
        filter: Option<Expr>,
        columns: Vec<Column>,
        domain: &Domain<'_>,
    ) -> Result<Part> {
        let left = self.bound(left, domain)?;
        let right = self.bound(right, domain)?;
        let (left, filter) = self.local(left, filter.into_iter().collect(), domain)?;
        pairs.extend(ties(&right, &left.keys)?);
        let plan = self.joined(left.plan, right.plan, JoinType::Full, pairs, filter.into_iter().next())?;
        let mut exprs: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
        let mut keys = Vec::with_capacity(left.keys.len());
        for key in left.keys {
            let Some(other) = over_keys(&key.outer, &right.keys)? else { continue };
            let here = Expr::Column(key.column.clone());
            let either = Case {
                expr: None,
                when_then_expr: vec![(Box::new(here.clone().is_not_null()), Box::new(here))],
                else_expr: Some(Box::new(other)),
            };
            let name = self.fresh("outer");
            exprs.push(named(Expr::Case(either), &name));
            keys.push(Key { column: name, null_safe: true, ..key });
        }
        Ok(Part { keys, ..Part::independent(project(plan, exprs)?) })
    }

    /// A union inside a dependent subquery.
    pub(super) fn push_union(&self, union: &Union, domain: &Domain<'_>) -> Result<Part> {
        let mut parts = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            parts.push(self.completed(self.push(input, domain)?, domain)?);
        }
        let alike = match parts.split_first() {
            Some((first, rest)) => rest.iter().all(|part| same_keys(&first.keys, &part.keys)),
            None => true,
        };
        if !alike {
            parts = parts.into_iter().map(|part| self.bound(part, domain)).collect::<Result<_>>()?;
        }
        let mut keys: Vec<Key> = parts.first().map(|part| part.keys.clone()).unwrap_or_default();
        for key in &mut keys {
            key.column = Column::new_unqualified(self.fresh("key").name);
            for part in &parts {
                if let Some(other) = part.keys.iter().find(|other| other.outer == key.outer) {
                    key.null_safe |= other.null_safe;
                    if other.copy_of != key.copy_of {
                        key.copy_of = None;
                    }
                }
            }
        }
        let mut inputs = Vec::with_capacity(parts.len());
        for (part, input) in parts.into_iter().zip(&union.inputs) {
            let mut exprs: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
            for key in &keys {
                let column = part.keys.iter().find(|other| other.outer == key.outer).map(|other| &other.column);
                exprs.extend(column.map(|column| Expr::Column(column.clone()).alias(&key.column.name)));
            }
            inputs.push(project(part.plan, exprs)?.into());
        }
        let plan = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
        Ok(Part { keys, ..Part::independent(plan) })
    }
}

/// What ties a part to one on its left that tells all its keys.
fn ties(right: &Part, left: &[Key]) -> Result<Vec<Pair>> {
    let mut pairs = Vec::with_capacity(right.keys.len());
    for key in &right.keys {
        if let Some(value) = over_keys(&key.outer, left)? {
            pairs.push(Pair { left: value, right: Expr::Column(key.column.clone()), null_safe: key.null_safe });
        }
    }
    Ok(pairs)
}

/// Whether two parts are tied to the same outer values.
fn same_keys(one: &[Key], other: &[Key]) -> bool {
    one.len() == other.len() && one.iter().all(|key| other.iter().any(|known| known.outer == key.outer))
}
