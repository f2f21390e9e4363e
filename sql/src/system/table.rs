//! Small tables made of values: what the system tables are built from.
//!
//! Every column is nullable. Not for many rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array, new_null_array};
use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, Result};
use thalweg_dataflow::types::PgType;

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    schema: SchemaRef,
    columns: Vec<Vec<ScalarValue>>,
    /// Columns of type text[] that follow: null, or one value a row.
    text_arrays: Vec<(&'static str, Vec<ScalarValue>)>,
}

impl Table {
    /// Without rows.
    pub(crate) fn new(columns: &[(&str, PgType)]) -> Table {
        let fields: Fields = columns.iter().map(|(name, data_type)| data_type.field(*name, true)).collect();
        Table {
            schema: Arc::new(Schema::new(fields)),
            columns: vec![Vec::new(); columns.len()],
            text_arrays: Vec::new(),
        }
    }

    /// With columns of type text[] at the end, null in every row but where [`Table::text_array`] says
    /// more: access lists, options.
    pub(crate) fn with_text_arrays(mut self, names: &[&'static str]) -> Table {
        self.text_arrays = names.iter().map(|name| (*name, Vec::new())).collect();
        self
    }

    /// The value of such a column in the row that was added last; for each row, or for none.
    pub(crate) fn text_array(&mut self, name: &str, value: Option<Vec<String>>) {
        let of = |texts: Vec<String>| array(&PgType::Text, texts.into_iter().map(text).collect());
        if let Some((_, values)) = self.text_arrays.iter_mut().find(|(known, _)| *known == name) {
            values.push(value.map_or(ScalarValue::Binary(None), of));
        }
    }

    /// Adds a row; its values have the columns' layouts.
    pub(crate) fn row<const N: usize>(&mut self, values: [ScalarValue; N]) {
        debug_assert_eq!(N, self.columns.len());
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(value);
        }
    }

    /// Adds a row of many columns.
    pub(crate) fn values(&mut self, values: Vec<ScalarValue>) {
        debug_assert_eq!(values.len(), self.columns.len());
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(value);
        }
    }

    /// The finished table.
    pub(crate) fn finish(self) -> Result<Arc<dyn TableProvider>> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (field, column) in self.schema.fields().iter().zip(self.columns) {
            let array = if column.is_empty() {
                new_empty_array(field.data_type())
            } else {
                ScalarValue::iter_to_array(column)?
            };
            // Oids are written as integers.
            let array = match (array.data_type(), field.data_type()) {
                (DataType::Int32, DataType::UInt32) => arrow::compute::cast(&array, field.data_type())?,
                _ => array,
            };
            if array.data_type() != field.data_type() {
                return Err(Error::internal(format!("system column {} holds {}", field.name(), array.data_type())));
            }
            arrays.push(array);
        }
        let rows = arrays.first().map_or(0, |array| array.len());
        let texts = PgType::Array(&PgType::Text);
        let mut fields = self.schema.fields().to_vec();
        for (name, values) in self.text_arrays {
            fields.push(Arc::new(texts.field(name, true)));
            arrays.push(match values.is_empty() {
                true => new_null_array(&texts.arrow(), rows),
                false => ScalarValue::iter_to_array(values)?,
            });
        }
        let batch = RecordBatch::try_new_with_options(
            Arc::new(Schema::new(fields)),
            arrays,
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        )?;
        provider(batch)
    }
}

/// A table of one batch.
pub(crate) fn provider(batch: RecordBatch) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

/// Text.
pub(crate) fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

/// An array of these elements.
pub(crate) fn array(element: &'static PgType, elements: Vec<ScalarValue>) -> ScalarValue {
    let made = || {
        let items = match elements.is_empty() {
            true => Vec::new(),
            false => thalweg_dataflow::types::array::element_bytes(
                element,
                &ScalarValue::iter_to_array(elements).ok()?,
                false,
            )
            .ok()?,
        };
        Some(thalweg_dataflow::types::array::of_items(items.iter().map(Vec::as_slice)))
    };
    ScalarValue::Binary(made())
}

/// Text, or null.
pub(crate) fn maybe(value: Option<impl Into<String>>) -> ScalarValue {
    ScalarValue::Utf8(value.map(Into::into))
}

/// bigint.
pub(crate) fn int8(value: i64) -> ScalarValue {
    ScalarValue::Int64(Some(value))
}

/// A count as bigint.
pub(crate) fn count(value: u64) -> ScalarValue {
    ScalarValue::Int64(Some(i64::try_from(value).unwrap_or(i64::MAX)))
}

/// integer.
pub(crate) fn int4(value: i32) -> ScalarValue {
    ScalarValue::Int32(Some(value))
}

/// smallint.
pub(crate) fn int2(value: i16) -> ScalarValue {
    ScalarValue::Int16(Some(value))
}

/// boolean.
pub(crate) fn bool(value: bool) -> ScalarValue {
    ScalarValue::Boolean(Some(value))
}

/// timestamptz, microseconds since 1970.
pub(crate) fn time(value: Option<i64>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(value, Some("UTC".into()))
}

/// bytea.
pub(crate) fn bytes(value: Vec<u8>) -> ScalarValue {
    ScalarValue::Binary(Some(value))
}
