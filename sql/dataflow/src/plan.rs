//! What a view computes, as the engine runs it: a tree of few operators over vectorised
//! expressions.
//!
//! The planner lowers SQL to this; equal sub-plans become one node of the dataflow. Holds no SQL
//! text and no names but those of columns.

mod function;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::physical_expr::PhysicalExpr;
use serde::{Deserialize, Serialize};

use crate::types::PgType;

pub use function::Function;

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
    /// The rows of a table, all columns. What a view over a table reads is [`Op::View`].
    Table {
        /// The table.
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
    /// Pairs of rows whose keys are equal: the columns of the left input, then those of the right
    /// one (a semi- or anti-join gives the left one's alone).
    Join {
        /// The left input.
        left: Box<Plan>,
        /// The right input.
        right: Box<Plan>,
        /// Which rows come out.
        kind: JoinKind,
        /// The pairs of columns that are compared; none: every row meets every row.
        on: Vec<On>,
    },
    /// The first rows of every group in an order, ties broken by the rows themselves.
    TopK {
        /// The input; the output has its columns.
        input: Box<Plan>,
        /// The columns of a group; none: all rows are one.
        keys: Vec<usize>,
        /// The order.
        order: Vec<SortColumn>,
        /// Rows passed over.
        offset: u64,
        /// Rows shown; `None`: all the others.
        limit: Option<u64>,
    },
    /// A function of the rows of every group in an order: columns passed through, then its results.
    GroupApply {
        /// The input.
        input: Box<Plan>,
        /// The columns of a group; none: all rows are one.
        keys: Vec<usize>,
        /// The order.
        order: Vec<SortColumn>,
        /// The columns passed through (of an aggregate: keys, of which one row is left).
        passed: Vec<usize>,
        /// The columns the function looks at.
        arguments: Vec<usize>,
        /// The function.
        function: ByText<dyn GroupFunction>,
    },
    /// What a function makes of each row: columns passed through, then one of the function's rows.
    Expand {
        /// The input.
        input: Box<Plan>,
        /// The columns passed through.
        passed: Vec<usize>,
        /// The columns the function looks at.
        arguments: Vec<usize>,
        /// The function.
        function: ByText<dyn SetFunction>,
    },
    /// Rows that never change.
    Values {
        /// The rows.
        rows: Arc<Constants>,
    },
    /// A fixed point: the rows of `body`, which reads them back as [`Op::Variable`]. Every row's last
    /// column is the iteration it belongs to, a bigint from 0 on; what the body makes of rows of one
    /// iteration belongs to later ones.
    Iterate {
        /// What tells it from those within its body.
        name: String,
        /// The body; gives its columns.
        body: Box<Plan>,
        /// The first iteration whose rows are errors and go no further.
        limit: u64,
    },
    /// Within the body of an [`Op::Iterate`]: its rows.
    Variable {
        /// Its name.
        of: String,
    },
}

/// What is told from others by a text.
pub trait Text {
    /// What it computes, exactly: two with one text give the same for the same rows.
    fn text(&self) -> String;
}

/// A shared function, equal to those with its text.
#[derive(Debug)]
pub struct ByText<T: ?Sized>(pub Arc<T>);

impl<T: ?Sized> Clone for ByText<T> {
    fn clone(&self) -> ByText<T> {
        ByText(self.0.clone())
    }
}

impl<T: Text + ?Sized> PartialEq for ByText<T> {
    fn eq(&self, other: &ByText<T>) -> bool {
        self.0.text() == other.0.text()
    }
}

impl<T: Text + ?Sized> Eq for ByText<T> {}

impl<T: Text + ?Sized> Hash for ByText<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text().hash(state);
    }
}

/// What an [`Op::Expand`] computes: set-returning functions.
pub trait SetFunction: Text + fmt::Debug + Send + Sync {
    /// The types of its columns.
    fn columns(&self) -> Vec<PgType>;

    /// Its rows for every row of its arguments, in order, some thousand at a time.
    fn expand(&self, arguments: RecordBatch) -> Box<dyn Iterator<Item = crate::Result<Expanded>> + Send>;
}

/// Some rows of a [`SetFunction`].
#[derive(Debug)]
pub struct Expanded {
    /// The row of the arguments that each belongs to.
    pub origins: UInt32Array,
    /// The function's columns.
    pub columns: Vec<ArrayRef>,
}

/// What a [`Op::GroupApply`] computes: windows, aggregates that are no sums.
pub trait GroupFunction: Text + fmt::Debug + Send + Sync {
    /// Whether it gives one row a group instead of one for each row.
    fn aggregates(&self) -> bool;

    /// The result that is a row's number in its group, if no result of a row depends on rows behind
    /// it: then the first rows alone give the same for them.
    fn row_number(&self) -> Option<usize>;

    /// Its results over one group, whose rows are all of these, in order: its argument columns.
    fn evaluate(&self, arguments: &RecordBatch) -> crate::Result<Vec<ArrayRef>>;
}

/// Which rows a join gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JoinKind {
    /// The pairs.
    Inner,
    /// The pairs, and the left rows without one, nulls beside them.
    Left,
    /// The pairs, and the rows of either side without one, nulls beside them.
    Full,
    /// The left rows that have a pair, each once.
    Semi,
    /// The left rows that have none.
    Anti,
}

/// Two columns of equal type that a join compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct On {
    /// The left input's column.
    pub left: usize,
    /// The right input's column.
    pub right: usize,
    /// IS NOT DISTINCT FROM instead of =: a null equals a null.
    pub nulls_equal: bool,
}

/// A column by which rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its place.
    pub column: usize,
    /// Whether a null equals a null; else rows with a null have no key.
    pub nulls_equal: bool,
}

/// A column by which rows are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SortColumn {
    /// Its place.
    pub column: usize,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}

/// The rows of VALUES, compared by their text.
#[derive(Debug)]
pub struct Constants {
    rows: RecordBatch,
    text: String,
}

impl Constants {
    /// These rows.
    pub fn new(rows: RecordBatch) -> Constants {
        let line = |row| crate::operator::row_text(rows.columns(), row, &rows.schema());
        let text = (0..rows.num_rows()).map(line).collect::<Vec<_>>().join(", ");
        Constants { rows, text }
    }

    /// The rows.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }
}

impl PartialEq for Constants {
    fn eq(&self, other: &Constants) -> bool {
        self.text == other.text && types_of(self.rows.schema_ref()).eq(types_of(other.rows.schema_ref()))
    }
}

impl Eq for Constants {}

impl Hash for Constants {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Constants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
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

fn types_of(schema: &arrow::datatypes::Schema) -> impl Iterator<Item = (PgType, &arrow::datatypes::DataType)> {
    schema.fields().iter().map(|field| (PgType::of(field), field.data_type()))
}

impl Plan {
    /// The same operator over other inputs: each input goes through `each`.
    pub fn map_inputs(self, each: &mut dyn FnMut(Plan) -> crate::Result<Plan>) -> crate::Result<Plan> {
        let mut boxed = |input: Box<Plan>| Ok::<_, crate::Error>(Box::new(each(*input)?));
        let op = match self.op {
            op @ (Op::Source { .. } | Op::View { .. } | Op::Table { .. } | Op::Values { .. } | Op::Variable { .. }) => {
                op
            }
            Op::Iterate { name, body, limit } => Op::Iterate { name, body: boxed(body)?, limit },
            Op::Map { input, filters, project } => Op::Map { input: boxed(input)?, filters, project },
            Op::Reduce { input, keys, calls } => Op::Reduce { input: boxed(input)?, keys, calls },
            Op::TopK { input, keys, order, offset, limit } => {
                Op::TopK { input: boxed(input)?, keys, order, offset, limit }
            }
            Op::GroupApply { input, keys, order, passed, arguments, function } => {
                Op::GroupApply { input: boxed(input)?, keys, order, passed, arguments, function }
            }
            Op::Expand { input, passed, arguments, function } => {
                Op::Expand { input: boxed(input)?, passed, arguments, function }
            }
            Op::Join { left, right, kind, on } => Op::Join { left: boxed(left)?, right: boxed(right)?, kind, on },
            Op::Union { inputs } => Op::Union { inputs: inputs.into_iter().map(each).collect::<crate::Result<_>>()? },
        };
        Ok(Plan { op, schema: self.schema })
    }

    /// Whether it reads the rows of the [`Op::Iterate`] of this name.
    pub fn reads(&self, name: &str) -> bool {
        match &self.op {
            Op::Variable { of } => of == name,
            _ => self.inputs().into_iter().any(|input| input.reads(name)),
        }
    }

    /// Whether it reads rows of no [`Op::Iterate`] around it.
    pub fn is_closed(&self) -> bool {
        self.is_closed_within(&mut Vec::new())
    }

    fn is_closed_within<'a>(&'a self, around: &mut Vec<&'a str>) -> bool {
        match &self.op {
            Op::Variable { of } => around.contains(&of.as_str()),
            Op::Iterate { name, body, .. } => {
                around.push(name);
                let closed = body.is_closed_within(around);
                around.pop();
                closed
            }
            _ => self.inputs().into_iter().all(|input| input.is_closed_within(around)),
        }
    }

    /// Everything that it computes, as one text.
    pub fn text(&self) -> String {
        let inputs: Vec<String> = self.inputs().into_iter().map(Plan::text).collect();
        let types: Vec<String> = types_of(&self.schema).map(|(ty, _)| ty.name()).collect();
        format!("{self} -> {} ({})", types.join(", "), inputs.join("; "))
    }

    /// The inputs.
    pub fn inputs(&self) -> Vec<&Plan> {
        match &self.op {
            Op::Source { .. } | Op::View { .. } | Op::Table { .. } | Op::Values { .. } | Op::Variable { .. } => {
                Vec::new()
            }
            Op::Map { input, .. }
            | Op::Reduce { input, .. }
            | Op::TopK { input, .. }
            | Op::GroupApply { input, .. }
            | Op::Expand { input, .. }
            | Op::Iterate { body: input, .. } => {
                vec![input]
            }
            Op::Union { inputs } => inputs.iter().collect(),
            Op::Join { left, right, .. } => vec![left, right],
        }
    }
}

impl fmt::Display for Plan {
    /// The operator alone, without its inputs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.op {
            Op::Source { relation, columns } => write!(f, "Source {} columns={columns:?}", relation.0),
            Op::View { relation } => write!(f, "View {}", relation.0),
            Op::Table { relation } => write!(f, "Table {}", relation.0),
            Op::Map { filters, project, .. } => {
                f.write_str("Map")?;
                for filter in filters {
                    write!(f, " where {filter}")?;
                }
                let list: Vec<String> = project.iter().map(|expr| expr.to_string()).collect();
                write!(f, " [{}]", list.join(", "))
            }
            Op::Union { inputs } => write!(f, "Union of {}", inputs.len()),
            Op::Join { kind, on, .. } => {
                write!(f, "{kind:?} join")?;
                on.iter().try_for_each(|on| write!(f, " {on}"))
            }
            Op::TopK { keys, order, offset, limit, .. } => {
                write!(f, "Top {limit:?} after {offset} by {keys:?} in order {order:?}")
            }
            Op::GroupApply { keys, order, function, .. } => {
                write!(f, "Apply by {keys:?} in order {order:?}: {}", function.0.text())
            }
            Op::Expand { function, arguments, .. } => write!(f, "Expand {} of {arguments:?}", function.0.text()),
            Op::Values { rows } => write!(f, "Values {rows}"),
            Op::Iterate { name, limit, .. } => write!(f, "Iterate {name} up to {limit}"),
            Op::Variable { of } => write!(f, "Variable of {of}"),
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

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equal = if self.nulls_equal { "is" } else { "=" };
        write!(f, "#{} {equal} #{}", self.left, self.right)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.function.name())?;
        if self.distinct {
            f.write_str("distinct ")?;
        }
        match self.argument {
            Some(column) => write!(f, "#{column}")?,
            None => f.write_str("*")?,
        }
        if let Function::ApproxPercentile(fraction) = self.function {
            write!(f, ", {}", f64::from_bits(fraction))?;
        }
        f.write_str(")")?;
        match self.filter {
            Some(column) => write!(f, " filter #{column}"),
            None => Ok(()),
        }
    }
}
