//! A function of its name, its arguments and what a statement knows of catalog and session, as DataFusion
//! wants it. Two of one name are equal only over the same statement's tables.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use thalweg_dataflow::error::{Error, Result};
use thalweg_dataflow::types::PgType;

use super::queries::CatalogTables;
use crate::planner::SystemFunction;

/// What is called, and over what.
#[derive(Debug, Clone)]
pub(super) struct Called {
    pub(super) name: &'static str,
    pub(super) tables: Arc<CatalogTables>,
}

/// Gives a call's values for so many rows. Error 42883 for a number of arguments that it does not take.
type Values = fn(&Called, &[ColumnarValue], usize) -> Result<ColumnarValue>;

#[derive(Debug)]
struct Function {
    called: Called,
    result: PgType,
    signature: Signature,
    values: Values,
}

/// The function.
pub(super) fn function(called: Called, result: PgType, volatility: Volatility, values: Values) -> SystemFunction {
    let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], volatility);
    let function = Function { called, result: result.clone(), signature, values };
    SystemFunction { function: Arc::new(ScalarUDF::new_from_impl(function)), result }
}

impl PartialEq for Function {
    fn eq(&self, other: &Function) -> bool {
        self.called.name == other.called.name && Arc::ptr_eq(&self.called.tables, &other.called.tables)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.called.name, Arc::as_ptr(&self.called.tables) as usize).hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.called.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result.arrow())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.result.field(self.called.name, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        (self.values)(&self.called, &arguments.args, arguments.number_rows).map_err(Error::into_datafusion)
    }
}
