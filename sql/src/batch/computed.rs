//! Values and expressions of a query that is run without DataFusion's plans, made ready once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use thalweg_dataflow::Result;
use thalweg_dataflow::types::PgType;

use super::fill;
use crate::planner::{guard, parameter_place};

/// The values of `$1`, ... and their types.
pub(super) type Parameters<'a> = (&'a [ScalarValue], &'a [PgType]);

/// Rows whose columns have places and no names.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) count: usize,
}

impl Columns {
    /// Those of a batch.
    pub(super) fn of(rows: &RecordBatch) -> Columns {
        Columns { columns: rows.columns().to_vec(), count: rows.num_rows() }
    }

    /// The batch of these, numbered.
    pub(super) fn unnamed(&self) -> Result<RecordBatch> {
        let fields = self.columns.iter().enumerate();
        let fields = fields.map(|(place, column)| Field::new(place.to_string(), column.data_type().clone(), true));
        self.named(&Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    /// The batch of these under the names of a schema.
    pub(super) fn named(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        Ok(RecordBatch::try_new_with_options(schema.clone(), self.columns.clone(), &options)?)
    }
}

/// An expression over rows of a schema.
#[derive(Debug)]
pub(super) struct Computed {
    expr: Expr,
    over: DFSchemaRef,
    names: SchemaRef,
    /// Of an expression without parameters.
    physical: Option<Arc<dyn PhysicalExpr>>,
}

impl Computed {
    /// Makes it ready.
    pub(super) fn new(expr: &Expr, over: &DFSchemaRef) -> Computed {
        let fields = over.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let names = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let is_open = expr.exists(|inner| Ok(matches!(inner, Expr::Placeholder(_)))).unwrap_or(true);
        // What cannot be made ready says why when it is evaluated.
        let physical = if is_open { None } else { physical(expr, over).ok() };
        Computed { expr: expr.clone(), over: over.clone(), names, physical }
    }

    /// Its values for some rows.
    pub(super) fn over(&self, rows: &Columns, (parameters, types): Parameters<'_>) -> Result<ArrayRef> {
        let rows = rows.named(&self.names)?;
        let physical = match &self.physical {
            Some(known) => known.clone(),
            None => physical(&fill(self.expr.clone(), parameters, types)?.data, &self.over)?,
        };
        Ok(physical.evaluate(&rows)?.into_array(rows.num_rows())?)
    }
}

fn physical(expr: &Expr, over: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    let made = create_physical_expr(expr, over, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
    Ok(guard(made)?)
}

/// A value that is one for all rows.
#[derive(Debug)]
pub(super) enum Value {
    /// A parameter: its place, from 0.
    Parameter(usize),
    /// It stands in the text.
    Constant(ArrayRef),
    /// It has to be worked out.
    Computed(Box<Computed>),
}

impl Value {
    /// Of a constant expression.
    pub(super) fn of(expr: &Expr) -> Value {
        match expr {
            Expr::Placeholder(placeholder) => Value::Parameter(parameter_place(placeholder)),
            Expr::Literal(value, _) if let Ok(array) = value.to_array() => Value::Constant(array),
            other => Value::Computed(Box::new(Computed::new(other, &Arc::new(DFSchema::empty())))),
        }
    }

    /// The value, as an array of one.
    pub(super) fn array(&self, parameters: Parameters<'_>) -> Result<ArrayRef> {
        match self {
            Value::Constant(array) => Ok(array.clone()),
            Value::Computed(computed) => computed.over(&Columns { columns: Vec::new(), count: 1 }, parameters),
            Value::Parameter(place) => Ok(super::parameter(parameters, *place)?.to_array()?),
        }
    }
}
