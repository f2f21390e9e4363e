//! From a dependent subquery to a part: WITH RECURSIVE.
//!
//! All outer rows recur at once: the rows of both terms carry the outer values that they belong to,
//! so that a row of the working table makes rows of its own outer row alone. What the recursive term
//! says of outer rows it says of those whose recursion goes on.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan, LogicalPlanBuilder, TableScan};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::domain::Domain;
use super::part::{Key, Part, domain_pairs};
use super::{Unnester, extend, named, project};
use crate::planner::recursive_query::{RecursiveQuery, WorkingTable};

/// A working table whose rows carry outer values.
#[derive(Clone)]
pub(super) struct Working {
    /// Its name.
    pub(super) name: String,
    /// The values; their columns are the table's last.
    keys: Vec<Key>,
    /// All columns.
    schema: SchemaRef,
}

impl Unnester<'_> {
    pub(super) fn push_recursive(&self, query: &RecursiveQuery, domain: &Domain<'_>) -> Result<Part> {
        let columns = query.first.schema().columns();
        let first = self.completed(self.push(&query.first, domain)?, domain)?;
        let (rows, keys) = domain.rows(self)?;
        let pairs = domain_pairs(&first, &keys)?;
        let first = self.joined(rows, first.plan, JoinType::Inner, pairs, None)?;
        let own = |columns: Vec<Column>| columns.into_iter().map(Expr::Column);
        let first =
            project(first, own(columns).chain(keys.iter().map(|key| Expr::Column(key.column.clone()))).collect())?;
        let schema = Arc::new(first.schema().as_arrow().clone());
        let within = domain.within(Working { name: query.name.clone(), keys: keys.clone(), schema });
        let step = self.completed(self.push(&query.step, &within)?, &within)?;
        let mut exprs: Vec<Expr> = own(query.step.schema().columns()).collect();
        for key in &keys {
            let carried = step.keys.iter().find(|known| known.copy_of == key.copy_of).ok_or_else(unknown)?;
            exprs.push(named(Expr::Column(carried.column.clone()), &key.column));
        }
        let step = project(step.plan, exprs)?;
        let width = query.step.schema().fields().len();
        let distinct = query.distinct.clone().map(|mut same| {
            same.keys.extend(width..width + keys.len());
            same
        });
        let plan = RecursiveQuery::plan(query.name.clone(), first, step, distinct)?;
        Ok(Part { plan, keys, order: Vec::new(), defaults: None })
    }

    /// The outer values whose recursion has not ended, under names of their own: those that the
    /// working table carries.
    pub(super) fn going_on(&self, working: &Working) -> Result<(LogicalPlan, Vec<Key>)> {
        let source = WorkingTable { name: working.name.clone(), schema: working.schema.clone() };
        let alias = TableReference::bare(self.fresh("working").name);
        let plan = LogicalPlanBuilder::scan(alias.clone(), Arc::new(source), None)?.build()?;
        let mut keys = Vec::with_capacity(working.keys.len());
        let mut exprs = Vec::with_capacity(working.keys.len());
        for key in &working.keys {
            let name = self.fresh("outer");
            exprs.push(named(Expr::Column(Column::new(Some(alias.clone()), &key.column.name)), &name));
            keys.push(Key { column: name, ..key.clone() });
        }
        let values = project(plan, exprs)?;
        Ok((LogicalPlan::Distinct(Distinct::All(values.into())), keys))
    }

    /// The rows of a working table, with the outer values they carry.
    pub(super) fn push_working(&self, scan: &TableScan, working: &Working) -> Result<Part> {
        let table = WorkingTable::of(scan).ok_or_else(|| Error::internal("a working table that is none"))?;
        let mut fields: Vec<Field> = table.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let mut keys = Vec::with_capacity(working.keys.len());
        let mut exprs = Vec::with_capacity(working.keys.len());
        for key in &working.keys {
            let ty = key.ty.clone().unwrap_or(PgType::Text);
            fields.push(ty.field(&key.column.name, true));
            let name = self.fresh("outer");
            exprs.push(named(Expr::Column(Column::new(Some(scan.table_name.clone()), &key.column.name)), &name));
            keys.push(Key { column: name, ..key.clone() });
        }
        let columns = LogicalPlan::TableScan(scan.clone()).schema().columns();
        let source = WorkingTable { name: table.name.clone(), schema: Arc::new(Schema::new(fields)) };
        let plan = LogicalPlanBuilder::scan(scan.table_name.clone(), Arc::new(source), None)?.build()?;
        let part = Part { plan: extend(plan, exprs)?, keys, order: Vec::new(), defaults: None };
        part.exact(columns)
    }
}

fn unknown() -> Error {
    Error::internal("a recursive term that does not tell its outer rows")
}
