//! Which columns of what it reads a query names: those it cannot be without.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::TableReference;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::Query;
use thalweg_dataflow::Result;
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::types::PgType;

use super::binder::Binder;
use super::from::RelationSource;
use super::{Planner, Relation, Resolver, Settings};

impl Planner {
    /// The places of the columns that a query names, `*` and merged columns included.
    pub(crate) fn columns_read(
        &self,
        query: &Query,
        resolver: &dyn Resolver,
        settings: &Settings,
        types: &[Option<PgType>],
    ) -> Result<BTreeMap<RelationId, BTreeSet<usize>>> {
        let binder = Binder::new(resolver, settings, types);
        let plan = binder.query(query, None, &Vec::new().into())?.plan;
        let mut scans: BTreeMap<TableReference, (RelationId, Vec<String>)> = BTreeMap::new();
        let mut named: BTreeSet<(TableReference, String)> = BTreeSet::new();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(source) = (scan.source.as_ref() as &dyn std::any::Any).downcast_ref::<RelationSource>()
                && let Relation::View { id, schema, .. } = &source.relation
            {
                let names = schema.fields().iter().map(|field| field.name().clone()).collect();
                scans.insert(scan.table_name.clone(), (*id, names));
            }
            node.apply_expressions(|expr| {
                expr.apply(|inner| {
                    if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = inner
                        && let Some(relation) = &column.relation
                    {
                        named.insert((relation.clone(), column.name.clone()));
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        let mut read: BTreeMap<RelationId, BTreeSet<usize>> = BTreeMap::new();
        for (table, name) in named {
            let Some((id, names)) = scans.get(&table) else { continue };
            read.entry(*id).or_default().extend(names.iter().position(|known| *known == name));
        }
        Ok(read)
    }
}
