//! The logical node of WITH RECURSIVE, and the working table that its recursive term reads.
//!
//! DataFusion's own node allows one scan of the working table, while unnesting may copy it. Says
//! what is computed, not how: `recursion` lowers it for views, `crate::batch::recursion` runs it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, TableScan, TableSource, UserDefinedLogicalNodeCore};

/// The rows of the iteration before, by the name of its query.
#[derive(Debug)]
pub(crate) struct WorkingTable {
    /// A name that no other query of the statement has.
    pub(crate) name: String,
    /// Its columns.
    pub(crate) schema: SchemaRef,
}

impl TableSource for WorkingTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl WorkingTable {
    /// The working table that a scan reads, if it reads one.
    pub(crate) fn of(scan: &TableScan) -> Option<&WorkingTable> {
        (scan.source.as_ref() as &dyn std::any::Any).downcast_ref()
    }
}

/// What UNION compares: which rows are the same, and which of them is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) struct Same {
    /// The columns whose bytes are the same.
    pub(crate) keys: Vec<usize>,
    /// Of the rows of an iteration the one that is greatest in these.
    pub(crate) forms: Vec<usize>,
}

/// The rows of the first term, and those that the step makes of them again and again.
#[derive(Debug, Clone)]
pub(crate) struct RecursiveQuery {
    /// The name of its working table.
    pub(crate) name: String,
    /// The term that does not read the working table.
    pub(crate) first: LogicalPlan,
    /// The one that does.
    pub(crate) step: LogicalPlan,
    /// UNION instead of UNION ALL: rows that were there before are dropped.
    pub(crate) distinct: Option<Same>,
    /// The columns of the first term; each may be null, as the step's may.
    schema: DFSchemaRef,
}

impl RecursiveQuery {
    /// The node over two terms of equal types.
    pub(crate) fn plan(
        name: String,
        first: LogicalPlan,
        step: LogicalPlan,
        distinct: Option<Same>,
    ) -> Result<LogicalPlan> {
        let node = Arc::new(RecursiveQuery::new(name, first, step, distinct)?);
        Ok(LogicalPlan::Extension(Extension { node }))
    }

    fn new(name: String, first: LogicalPlan, step: LogicalPlan, distinct: Option<Same>) -> Result<RecursiveQuery> {
        let nullable = |field: &arrow::datatypes::FieldRef| Arc::new(field.as_ref().clone().with_nullable(true));
        let fields = first.schema().iter().map(|(table, field)| (table.cloned(), nullable(field))).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, first.schema().metadata().clone())?);
        Ok(RecursiveQuery { name, first, step, distinct, schema })
    }

    /// The recursive query that a node is, if it is one.
    pub(crate) fn of(plan: &LogicalPlan) -> Option<&RecursiveQuery> {
        match plan {
            LogicalPlan::Extension(Extension { node }) => node.as_any().downcast_ref::<RecursiveQuery>(),
            _ => None,
        }
    }

    fn parts(&self) -> (&str, &LogicalPlan, &LogicalPlan, &Option<Same>) {
        (&self.name, &self.first, &self.step, &self.distinct)
    }
}

impl PartialEq for RecursiveQuery {
    fn eq(&self, other: &RecursiveQuery) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for RecursiveQuery {}

impl PartialOrd for RecursiveQuery {
    fn partial_cmp(&self, other: &RecursiveQuery) -> Option<Ordering> {
        self.parts().partial_cmp(&other.parts())
    }
}

impl Hash for RecursiveQuery {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl UserDefinedLogicalNodeCore for RecursiveQuery {
    fn name(&self) -> &str {
        "RecursiveQuery"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.first, &self.step]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecursiveQuery: {}{}", self.name, if self.distinct.is_some() { ", distinct" } else { "" })
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<RecursiveQuery> {
        let [first, step] = <[LogicalPlan; 2]>::try_from(inputs)
            .map_err(|_| datafusion::error::DataFusionError::Internal("a recursive query has two inputs".into()))?;
        RecursiveQuery::new(self.name.clone(), first, step, self.distinct.clone())
    }
}
