//! What a view computes, as the engine runs it: a tree of few operators over vectorised
//! expressions.
//!
//! The planner lowers SQL to this; equal sub-plans become one node of the dataflow. Holds no SQL
//! text and no names but those of columns.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use serde::{Deserialize, Serialize};

use crate::types::PgType;

/// Names a relation for ever: its oid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RelationId(pub u32);

/// One operator over its inputs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it does.
    pub op: Op,
    /// The columns of its output, each field made by [`crate::types::PgType::field`].
    pub schema: SchemaRef,
}

/// The operators.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// The rows of a source: these columns of its schema, in this order.
    Source {
        /// The source.
        relation: RelationId,
        /// Places in the source's schema.
        columns: Vec<usize>,
    },
    /// The rows of another materialized view, all columns.
    View {
        /// The view.
        relation: RelationId,
    },
    /// Rows that pass all of `filters`, then `project` over them. An expression that fails on a
    /// row sends this row to the view's errors. Filters run in order, each only over the rows that
    /// passed those before it.
    Map {
        /// The input.
        input: Box<Plan>,
        /// Predicates over the input's columns.
        filters: Vec<Arc<dyn PhysicalExpr>>,
        /// Expressions over the input's columns, one for each output column.
        project: Vec<Arc<dyn PhysicalExpr>>,
    },
    /// UNION ALL.
    Union {
        /// At least one input; types equal column for column.
        inputs: Vec<Plan>,
    },
    /// GROUP BY: one row a group, the keys first, then the calls. Without keys: always one row.
    /// Without calls: DISTINCT.
    Reduce {
        /// The input.
        input: Box<Plan>,
        /// Columns of the input.
        keys: Vec<usize>,
        /// The aggregates.
        calls: Vec<Call>,
    },
}

/// One aggregate call, its argument and condition computed below by a `Map`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// The function.
    pub function: Function,
    /// The column of its argument; `None` only for `count(*)`.
    pub argument: Option<usize>,
    /// DISTINCT.
    pub distinct: bool,
    /// FILTER (WHERE ...): a boolean column; null counts as false.
    pub filter: Option<usize>,
}

/// The aggregate functions. Result types are PostgreSQL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `count(*)` or `count(x)`: bigint.
    Count,
    /// `sum(x)`: smallint, integer -> bigint; bigint, numeric -> numeric; real -> real;
    /// double precision -> double precision.
    Sum,
    /// `avg(x)`: integers, numeric -> numeric; floats -> double precision.
    Avg,
    /// `min(x)`: the type of x.
    Min,
    /// `max(x)`: the type of x.
    Max,
    /// `bool_and(x)`, `every(x)`.
    BoolAnd,
    /// `bool_or(x)`.
    BoolOr,
}

impl Function {
    /// The type of the result for an argument of this type; `None`: there is no such function.
    pub fn result(self, argument: Option<&PgType>) -> Option<PgType> {
        match (self, argument) {
            (Function::Count, _) => Some(PgType::Int8),
            (_, None) => None,
            (Function::Sum, Some(PgType::Int2 | PgType::Int4)) => Some(PgType::Int8),
            (Function::Sum, Some(PgType::Int8 | PgType::Numeric(_))) => Some(PgType::Numeric(None)),
            (Function::Sum, Some(PgType::Float4)) => Some(PgType::Float4),
            (Function::Sum, Some(PgType::Float8)) => Some(PgType::Float8),
            (Function::Avg, Some(PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Numeric(_))) => {
                Some(PgType::Numeric(None))
            }
            (Function::Avg, Some(PgType::Float4 | PgType::Float8)) => Some(PgType::Float8),
            (Function::Sum | Function::Avg, _) => None,
            (Function::Min | Function::Max, Some(PgType::Bool | PgType::Bytea)) => None,
            (Function::Min | Function::Max, Some(PgType::Varchar(_))) => Some(PgType::Text),
            (Function::Min | Function::Max, Some(PgType::Numeric(_))) => Some(PgType::Numeric(None)),
            (Function::Min | Function::Max, Some(other)) => Some(other.clone()),
            (Function::BoolAnd | Function::BoolOr, Some(PgType::Bool)) => Some(PgType::Bool),
            (Function::BoolAnd | Function::BoolOr, _) => None,
        }
    }

    /// PostgreSQL's name.
    pub fn name(self) -> &'static str {
        match self {
            Function::Count => "count",
            Function::Sum => "sum",
            Function::Avg => "avg",
            Function::Min => "min",
            Function::Max => "max",
            Function::BoolAnd => "bool_and",
            Function::BoolOr => "bool_or",
        }
    }
}

impl PartialEq for Plan {
    fn eq(&self, other: &Plan) -> bool {
        // Names of columns do not matter to the engine, types do; expressions carry theirs.
        self.op == other.op && types_of(&self.schema).eq(types_of(&other.schema))
    }
}

impl Eq for Plan {}

impl Hash for Plan {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.op.hash(state);
    }
}

fn types_of(schema: &SchemaRef) -> impl Iterator<Item = (PgType, &arrow::datatypes::DataType)> {
    schema.fields().iter().map(|field| (PgType::of(field), field.data_type()))
}

impl Plan {
    /// The inputs.
    pub fn inputs(&self) -> Vec<&Plan> {
        match &self.op {
            Op::Source { .. } | Op::View { .. } => Vec::new(),
            Op::Map { input, .. } | Op::Reduce { input, .. } => vec![input],
            Op::Union { inputs } => inputs.iter().collect(),
        }
    }
}

impl fmt::Display for Plan {
    /// The operator alone, without its inputs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.op {
            Op::Source { relation, columns } => write!(f, "Source {} columns={columns:?}", relation.0),
            Op::View { relation } => write!(f, "View {}", relation.0),
            Op::Map { filters, project, .. } => {
                f.write_str("Map")?;
                for filter in filters {
                    write!(f, " where {filter}")?;
                }
                let list: Vec<String> = project.iter().map(|expr| expr.to_string()).collect();
                write!(f, " [{}]", list.join(", "))
            }
            Op::Union { inputs } => write!(f, "Union of {}", inputs.len()),
            Op::Reduce { keys, calls, .. } => {
                write!(f, "Reduce by {keys:?}")?;
                for call in calls {
                    write!(f, " {call}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.function.name())?;
        if self.distinct {
            f.write_str("distinct ")?;
        }
        match self.argument {
            Some(column) => write!(f, "#{column})")?,
            None => f.write_str("*)")?,
        }
        match self.filter {
            Some(column) => write!(f, " filter #{column}"),
            None => Ok(()),
        }
    }
}
