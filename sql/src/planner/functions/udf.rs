//! A function of ours as DataFusion calls it.
//!
//! The binder has chosen the overload: argument types, result type and zone are part of the
//! function's value, so that it needs no types at run time and equal calls are equal.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use thalweg_dataflow::Result;
use thalweg_dataflow::types::{PgType, Zone};

/// What computes a function over a batch.
pub(crate) type Kernel = fn(&Input<'_>) -> Result<ArrayRef>;

/// A call's arguments and types.
pub(crate) struct Input<'a> {
    /// The function's name.
    pub(crate) name: &'a str,
    /// The arguments; a scalar stands for as many equal rows.
    pub(crate) args: &'a [ColumnarValue],
    /// Their types.
    pub(crate) types: &'a [PgType],
    /// The result's type.
    pub(crate) result: &'a PgType,
    /// How many rows the result has.
    pub(crate) rows: usize,
    /// The session's zone.
    pub(crate) zone: &'a Zone,
}

impl Input<'_> {
    /// The function's name: an operator's symbol, for kernels that serve several.
    pub(crate) fn op(&self) -> &str {
        self.name
    }

    /// An argument as an array with one element a row.
    pub(crate) fn array(&self, place: usize) -> Result<ArrayRef> {
        Ok(self.args[place].to_array(self.rows)?)
    }

    /// An argument that is the same text for all rows.
    pub(crate) fn constant_text(&self, place: usize) -> Option<&str> {
        match &self.args[place] {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => Some(text),
            _ => None,
        }
    }
}

/// A resolved function.
pub(crate) struct PgFunction {
    pub(crate) name: String,
    pub(crate) args: Vec<PgType>,
    pub(crate) result: PgType,
    pub(crate) zone: Zone,
    pub(crate) kernel: Kernel,
    pub(crate) signature: Signature,
}

impl PgFunction {
    /// A function with its types.
    pub(crate) fn new(
        name: impl Into<String>,
        args: Vec<PgType>,
        result: PgType,
        zone: Zone,
        kernel: Kernel,
    ) -> PgFunction {
        PgFunction {
            name: name.into(),
            args,
            result,
            zone,
            kernel,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// Runs it over a batch.
    pub(crate) fn run(&self, args: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
        // What is volatile has a value of its own in every row.
        let volatile = self.signature.volatility == Volatility::Volatile;
        let constant = !volatile && args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { rows };
        let array = (self.kernel)(&Input {
            name: &self.name,
            args,
            types: &self.args,
            result: &self.result,
            rows,
            zone: &self.zone,
        })?;
        if constant && array.len() == 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

impl std::fmt::Debug for PgFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({:?}) {:?}", self.name, self.args, self.result)
    }
}

impl PartialEq for PgFunction {
    fn eq(&self, other: &PgFunction) -> bool {
        self.name == other.name
            && self.args == other.args
            && self.result == other.result
            && self.zone.name() == other.zone.name()
    }
}

impl Eq for PgFunction {}

impl Hash for PgFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.args.hash(state);
        self.result.hash(state);
        self.zone.name().hash(state);
    }
}

impl ScalarUDFImpl for PgFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result.arrow())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.result.field(&self.name, true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        self.run(&args.args, args.number_rows).map_err(|error| error.into_datafusion())
    }
}
