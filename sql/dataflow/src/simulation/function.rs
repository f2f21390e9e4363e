//! Functions of whole groups: simple ones of every kind the operator knows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use super::value::{Type, Value, column, value_at};
use crate::plan::{GroupFunction, Text};

/// What is computed over a group in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    /// Each row's number.
    Number,
    /// How many rows there are, beside each.
    Count,
    /// The value of the row before.
    Before,
    /// All values as one text; one row a group.
    Listed,
}

impl Function {
    pub(crate) fn aggregates(self) -> bool {
        self == Function::Listed
    }

    pub(crate) fn result(self, argument: Type) -> Type {
        match self {
            Function::Number | Function::Count => Type::Int8,
            Function::Before => argument,
            Function::Listed => Type::Text,
        }
    }

    /// The results over the values of a group, in order.
    pub(crate) fn over(self, values: &[Value]) -> Vec<Value> {
        match self {
            Function::Number => (1..=values.len()).map(|number| Value::Int(number as i128)).collect(),
            Function::Count => vec![Value::Int(values.len() as i128); values.len()],
            Function::Before => {
                let before = std::iter::once(&Value::Null).chain(values);
                before.take(values.len()).cloned().collect()
            }
            Function::Listed => {
                let text: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
                vec![Value::Text(text.join(" ").into())]
            }
        }
    }
}

/// A function as the engine takes it.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub(crate) function: Function,
    pub(crate) argument: Type,
}

impl Text for Lowered {
    fn text(&self) -> String {
        format!("{self:?}")
    }
}

impl GroupFunction for Lowered {
    fn aggregates(&self) -> bool {
        self.function.aggregates()
    }

    fn row_number(&self) -> Option<usize> {
        None
    }

    fn evaluate(&self, arguments: &RecordBatch) -> crate::Result<Vec<ArrayRef>> {
        let values: Vec<Value> =
            (0..arguments.num_rows()).map(|row| value_at(self.argument, arguments.column(0), row)).collect();
        let results = self.function.over(&values);
        let column: Arc<_> = column(self.function.result(self.argument), results.iter());
        Ok(vec![column])
    }
}
