//! The INCLUDE columns: key, partition, offset and time of the record that a row came from.
//!
//! Promises one value a row, also when a record holds several rows. Does not check keys.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use thalweg_dataflow::source::Meta;

/// Builds one INCLUDE column of one partition.
pub(super) enum IncludeBuilder {
    Key(StringBuilder),
    Partition(i32),
    Offset(Int64Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl IncludeBuilder {
    /// An empty column of this kind.
    pub(super) fn new(meta: Meta, partition: i32) -> IncludeBuilder {
        match meta {
            Meta::Key => IncludeBuilder::Key(StringBuilder::new()),
            Meta::Partition => IncludeBuilder::Partition(partition),
            Meta::Offset => IncludeBuilder::Offset(Int64Builder::new()),
            Meta::Timestamp => IncludeBuilder::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
        }
    }

    /// Adds the value of one record, once for each of its rows.
    pub(super) fn append(&mut self, rows: usize, key: Option<&str>, offset: i64, at: Option<i64>) {
        for _ in 0..rows {
            match self {
                IncludeBuilder::Key(builder) => builder.append_option(key),
                IncludeBuilder::Partition(_) => return,
                IncludeBuilder::Offset(builder) => builder.append_value(offset),
                IncludeBuilder::Timestamp(builder) => builder.append_option(at),
            }
        }
    }

    /// The column of `rows` values; the builder is empty afterwards.
    pub(super) fn finish(&mut self, rows: usize) -> ArrayRef {
        match self {
            IncludeBuilder::Key(builder) => Arc::new(builder.finish()),
            IncludeBuilder::Partition(partition) => Arc::new(Int32Array::from_value(*partition, rows)),
            IncludeBuilder::Offset(builder) => Arc::new(builder.finish()),
            IncludeBuilder::Timestamp(builder) => Arc::new(builder.finish().with_timezone("UTC")),
        }
    }
}
