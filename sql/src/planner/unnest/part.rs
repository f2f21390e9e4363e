//! Parts: a dependent subquery, or a piece of one, that names the outer side no more.
//!
//! For every row of the outer side, the part's rows whose key columns equal the keys' outer
//! expressions over that row are what the piece gives for that row. A part may hold rows for keys
//! that the outer side does not have.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Case, Expr, ExprSchemable, JoinType, LogicalPlan, SortExpr};
use datafusion::prelude::lit;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::condition::{Pair, equality};
use super::domain::Domain;
use super::{Unnester, extend, filtered, named, project};
use crate::planner::typed::compares_natively;

/// What ties rows of a part to rows of the outer side.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// An expression over the outer side.
    pub(super) outer: Expr,
    /// The part's column that equals it.
    pub(super) column: Column,
    /// Whether a null equals a null; if not, the column is never null.
    pub(super) null_safe: bool,
    /// The outer column whose very value the column has.
    pub(super) copy_of: Option<Column>,
    /// The type of a domain's column.
    pub(super) ty: Option<PgType>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The rows; the piece's own columns have kept their names.
    pub(super) plan: LogicalPlan,
    /// Its ties.
    pub(super) keys: Vec<Key>,
    /// The order within one outer row, over columns: what a LIMIT above goes by.
    pub(super) order: Vec<SortExpr>,
    /// For an aggregate without groups: its columns for an outer row whose keys are missing. The
    /// expressions may name the outer side.
    pub(super) defaults: Option<Vec<(Column, Expr)>>,
}

impl Part {
    /// A piece that names nothing of the outer side.
    pub(super) fn independent(plan: LogicalPlan) -> Part {
        Part { plan, keys: Vec::new(), order: Vec::new(), defaults: None }
    }

    /// The key columns and those of the order.
    pub(super) fn carried(&self) -> Vec<Expr> {
        let keys = self.keys.iter().map(|key| Expr::Column(key.column.clone()));
        keys.chain(self.order.iter().map(|sort| sort.expr.clone())).collect()
    }

    /// The key columns.
    pub(super) fn key_columns(&self) -> Vec<Expr> {
        self.keys.iter().map(|key| Expr::Column(key.column.clone())).collect()
    }

    /// These columns, the keys and the order, and nothing else.
    pub(super) fn exact(mut self, columns: Vec<Column>) -> Result<Part> {
        let exprs = columns.into_iter().map(Expr::Column).chain(self.carried()).collect();
        self.plan = project(self.plan, exprs)?;
        Ok(self)
    }

    /// The ties as pairs for a join with the outer side on the left.
    pub(super) fn pairs(&self) -> Vec<Pair> {
        self.keys
            .iter()
            .map(|key| Pair {
                left: key.outer.clone(),
                right: Expr::Column(key.column.clone()),
                null_safe: key.null_safe,
            })
            .collect()
    }
}

/// An expression with key columns in the place of the outer columns whose values they have.
pub(super) fn localized(expr: Expr, keys: &[Key]) -> Result<Expr> {
    let local = expr.transform(|inner| match &inner {
        Expr::OuterReferenceColumn(_, column) => match keys.iter().find(|key| key.copy_of.as_ref() == Some(column)) {
            Some(key) => Ok(Transformed::yes(Expr::Column(key.column.clone()))),
            None => Ok(Transformed::no(inner)),
        },
        _ => Ok(Transformed::no(inner)),
    })?;
    Ok(local.data)
}

/// An expression over the outer side, over the columns of a domain's rows instead; `None` if these
/// do not tell its value.
pub(super) fn over_keys(expr: &Expr, keys: &[Key]) -> Result<Option<Expr>> {
    if let Some(key) = keys.iter().find(|key| key.outer == *expr) {
        return Ok(Some(Expr::Column(key.column.clone())));
    }
    let mut known = true;
    let over = expr.clone().transform(|inner| match &inner {
        Expr::Column(column) => match keys.iter().find(|key| key.copy_of.as_ref() == Some(column)) {
            Some(key) => Ok(Transformed::yes(Expr::Column(key.column.clone()))),
            None => {
                known = false;
                Ok(Transformed::no(inner))
            }
        },
        _ => Ok(Transformed::no(inner)),
    })?;
    Ok(known.then_some(over.data))
}

impl Unnester<'_> {
    /// The part's rows for the outer side's values alone, each named by a key.
    pub(super) fn bound(&self, part: Part, domain: &Domain<'_>) -> Result<Part> {
        if domain.is_bound(&part.keys) {
            return Ok(part);
        }
        let (rows, keys) = domain.rows(self)?;
        let pairs = domain_pairs(&part, &keys)?;
        let plan = self.joined(rows, part.plan, JoinType::Inner, pairs, None)?;
        Ok(Part { plan, keys, order: part.order, defaults: None })
    }

    /// The part with its defaults as rows.
    pub(super) fn completed(&self, part: Part, domain: &Domain<'_>) -> Result<Part> {
        let Some(defaults) = &part.defaults else { return Ok(part) };
        let (rows, keys) = domain.rows(self)?;
        let pairs = domain_pairs(&part, &keys)?;
        let found = self.fresh("found");
        let columns = part.plan.schema().columns();
        let right = extend(part.plan.clone(), [named(lit(true), &found)])?;
        let plan = self.joined(rows, right, JoinType::Left, pairs, None)?;
        let mut exprs: Vec<Expr> = keys.iter().map(|key| Expr::Column(key.column.clone())).collect();
        for column in columns {
            let value = Expr::Column(column.clone());
            exprs.push(match defaults.iter().find(|(known, _)| *known == column) {
                Some((_, default)) if !is_null(default) => {
                    named(or_default(&found, value, localized(default.clone(), &keys)?), &column)
                }
                _ => value,
            });
        }
        Ok(Part { plan: project(plan, exprs)?, keys, order: part.order, defaults: None })
    }

    /// The part's rows that meet all conditions.
    pub(super) fn restricted(&self, mut part: Part, condition: Expr, domain: &Domain<'_>) -> Result<Part> {
        let (mut plain, mut ties, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for condition in split_conjunction_owned(condition) {
            if !domain.concerns(&condition)? {
                plain.push(condition);
            } else if let Some(tie) = tie(&condition, domain)? {
                ties.push(tie);
            } else {
                open.push(condition);
            }
        }
        part.plan = filtered(part.plan, plain)?;
        part = self.tied(part, ties)?;
        let (part, open) = self.local(part, open, domain)?;
        Ok(Part { plan: filtered(part.plan.clone(), open)?, ..part })
    }

    /// Expressions over a part: the outer columns in them become the part's, which is bound to the
    /// domain if it does not know them.
    pub(super) fn local(&self, part: Part, exprs: Vec<Expr>, domain: &Domain<'_>) -> Result<(Part, Vec<Expr>)> {
        let over = |exprs: Vec<Expr>, keys: &[Key]| -> Result<(Vec<Expr>, bool)> {
            let local = exprs.into_iter().map(|expr| localized(expr, keys)).collect::<Result<Vec<_>>>()?;
            let mut open = false;
            for expr in &local {
                open |= domain.concerns(expr)?;
            }
            Ok((local, open))
        };
        let (local, open) = over(exprs, &part.keys)?;
        if !open {
            return Ok((part, local));
        }
        // The columns that stood for outer ones stay where they are.
        let part = self.bound(part, domain)?;
        let (local, open) = over(local, &part.keys)?;
        if open {
            return Err(Error::internal("a column of an outer query that is unknown"));
        }
        Ok((part, local))
    }

    fn tied(&self, mut part: Part, ties: Vec<Tie>) -> Result<Part> {
        let mut columns = Vec::new();
        let mut conditions = Vec::new();
        for Tie { outer, inner, null_safe, column } in ties {
            if let Some(known) = part.keys.iter().find(|key| key.outer == outer && !key.null_safe && !null_safe) {
                conditions.push(Expr::Column(known.column.clone()).eq(inner));
                continue;
            }
            let name = self.fresh("key");
            let ty = PgType::of(&inner.to_field(part.plan.schema())?.1);
            let copy_of = column.filter(|(_, of)| *of == ty && compares_natively(&ty)).map(|(column, _)| column);
            columns.push(named(inner, &name));
            if !null_safe {
                conditions.push(Expr::Column(name.clone()).is_not_null());
            }
            part.keys.push(Key { outer, column: name, null_safe, copy_of, ty: None });
        }
        part.plan = filtered(extend(part.plan, columns)?, conditions)?;
        Ok(part)
    }
}

/// An equality between something outer and something inner.
struct Tie {
    outer: Expr,
    inner: Expr,
    null_safe: bool,
    /// The outer side, if it is a column and nothing else.
    column: Option<(Column, PgType)>,
}

fn tie(condition: &Expr, domain: &Domain<'_>) -> Result<Option<Tie>> {
    let Some((left, right, null_safe)) = equality(condition) else { return Ok(None) };
    for (outer, inner) in [(left, right), (right, left)] {
        if domain.concerns(outer)? && outer.column_refs().is_empty() && !domain.concerns(inner)? {
            let column = match outer {
                Expr::OuterReferenceColumn(field, column) => Some((column.clone(), PgType::of(field))),
                _ => None,
            };
            return Ok(Some(Tie { outer: domain.own(outer.clone())?, inner: inner.clone(), null_safe, column }));
        }
    }
    Ok(None)
}

/// The ties of a part with the rows of the domain on the left.
pub(super) fn domain_pairs(part: &Part, keys: &[Key]) -> Result<Vec<Pair>> {
    part.keys
        .iter()
        .map(|key| {
            let left = over_keys(&key.outer, keys)?.ok_or_else(|| Error::internal("a key outside its domain"))?;
            Ok(Pair { left, right: Expr::Column(key.column.clone()), null_safe: key.null_safe })
        })
        .collect()
}

/// The value where the row was found, else the default.
pub(super) fn or_default(found: &Column, value: Expr, default: Expr) -> Expr {
    let found = Box::new(Expr::Column(found.clone()).is_not_null());
    Expr::Case(Case { expr: None, when_then_expr: vec![(found, Box::new(value))], else_expr: Some(Box::new(default)) })
}

/// Whether an expression is the constant null.
pub(super) fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null())
}
