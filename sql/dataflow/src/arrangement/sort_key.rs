//! Sort keys: rows as bytes whose order under memcmp is that of ORDER BY.
//!
//! Made anew whenever an index is built, so no part of any format. A value of variable length ends
//! with two zero bytes, its own zeros doubled with 0xff, so that no value is a prefix of another.

use arrow::array::ArrayRef;
use arrow::datatypes::Schema;

use crate::error::Result;
use crate::plan::SortColumn;
use crate::types::PgType;
use crate::types::codec::{Column, ValueCodec};

/// How rows become sort keys.
#[derive(Debug, Clone)]
pub(crate) struct SortCodec {
    columns: Vec<(SortColumn, ValueCodec)>,
}

impl SortCodec {
    /// The order by these columns of a schema.
    pub(crate) fn new(schema: &Schema, columns: &[SortColumn]) -> SortCodec {
        let codec = |column: &SortColumn| (*column, ValueCodec::new(PgType::of(schema.field(column.column)), true));
        SortCodec { columns: columns.iter().map(codec).collect() }
    }

    /// Looks at the columns of some rows.
    pub(crate) fn over<'a>(&'a self, columns: &'a [ArrayRef]) -> Result<SortKeys<'a>> {
        let columns = self.columns.iter().map(|(order, codec)| {
            Ok(SortedColumn { order: *order, codec, values: codec.column(&columns[order.column])? })
        });
        Ok(SortKeys { columns: columns.collect::<Result<_>>()? })
    }
}

/// Some rows, ready to be written as sort keys.
pub(crate) struct SortKeys<'a> {
    columns: Vec<SortedColumn<'a>>,
}

struct SortedColumn<'a> {
    order: SortColumn,
    codec: &'a ValueCodec,
    values: Column<'a>,
}

impl SortKeys<'_> {
    /// Appends the sort key of a row.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        for SortedColumn { order, codec, values } in &self.columns {
            if values.is_null(row) {
                out.push(if order.nulls_first { 0 } else { 2 });
                continue;
            }
            out.push(1);
            let start = out.len();
            value.clear();
            codec.write(values, row, &mut value);
            if codec.width().is_some() {
                out.extend_from_slice(&value);
            } else {
                for byte in &value {
                    out.push(*byte);
                    if *byte == 0 {
                        out.push(0xff);
                    }
                }
                out.extend_from_slice(&[0, 0]);
            }
            if order.descending {
                out[start..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
    }
}
