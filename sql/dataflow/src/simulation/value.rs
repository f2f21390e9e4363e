//! The values of the simulation: a type of its own, so that the reference shares nothing with the
//! engine but the columns that go in and come out.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{Int32Type, Int64Type, Schema, SchemaRef};

use crate::delta::of_columns;
use crate::types::{Numeric, PgType, numeric_at};

/// A type, as far as the simulation tells types apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    Bool,
    Int4,
    Int8,
    /// A numeric without digits after the point: sums.
    Whole,
    /// A numeric with such digits: averages. Only shown, by its text: equal ones may print differently.
    Average,
    Text,
}

/// A value; the order is that of SQL, nulls first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Text(Arc<str>),
}

/// A row.
pub(crate) type Row = Vec<Value>;

/// Rows and how often each is there; never 0.
pub(crate) type Bag = BTreeMap<Row, i64>;

/// Adds to a bag.
pub(crate) fn add(bag: &mut Bag, row: Row, count: i64) {
    use std::collections::btree_map::Entry;
    match bag.entry(row) {
        Entry::Vacant(entry) if count != 0 => drop(entry.insert(count)),
        Entry::Vacant(_) => {}
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += count;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Type {
    pub(crate) fn pg(self) -> PgType {
        match self {
            Type::Bool => PgType::Bool,
            Type::Int4 => PgType::Int4,
            Type::Int8 => PgType::Int8,
            Type::Whole | Type::Average => PgType::Numeric(None),
            Type::Text => PgType::Text,
        }
    }

    /// Whether equal values are the same value: only such columns may decide anything.
    pub(crate) fn exact(self) -> bool {
        self != Type::Average
    }
}

/// The columns `c0`, `c1`, ... of these types.
pub(crate) fn schema(types: &[Type]) -> SchemaRef {
    let fields = types.iter().enumerate().map(|(place, data_type)| data_type.pg().field(format!("c{place}"), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows as the engine takes them.
pub(crate) fn batch<'a>(types: &[Type], rows: impl Iterator<Item = &'a Row>) -> RecordBatch {
    let rows: Vec<&Row> = rows.collect();
    let columns =
        types.iter().enumerate().map(|(place, data_type)| column(*data_type, rows.iter().map(|row| &row[place])));
    of_columns(&schema(types), columns.collect(), rows.len()).unwrap()
}

/// Values as a column.
pub(crate) fn column<'a>(data_type: Type, values: impl Iterator<Item = &'a Value>) -> ArrayRef {
    let int = |value: &Value| match value {
        Value::Int(value) => Some(*value),
        _ => None,
    };
    match data_type {
        Type::Bool => Arc::new(
            values
                .map(|value| if let Value::Bool(value) = value { Some(*value) } else { None })
                .collect::<BooleanArray>(),
        ),
        Type::Int4 => Arc::new(values.map(|value| int(value).map(|value| value as i32)).collect::<Int32Array>()),
        Type::Int8 => Arc::new(values.map(|value| int(value).map(|value| value as i64)).collect::<Int64Array>()),
        Type::Whole | Type::Average => {
            let bytes = |value: &Value| {
                let mut bytes = Vec::new();
                Numeric::from_i128(int(value)?, 0).encode(&mut bytes);
                Some(bytes)
            };
            Arc::new(values.map(bytes).collect::<BinaryArray>())
        }
        Type::Text => Arc::new(
            values
                .map(|value| if let Value::Text(value) = value { Some(value.as_ref()) } else { None })
                .collect::<StringArray>(),
        ),
    }
}

/// A value of a column that the engine made.
pub(crate) fn value_at(data_type: Type, column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match data_type {
        Type::Bool => Value::Bool(column.as_boolean().value(row)),
        Type::Int4 => Value::Int(column.as_primitive::<Int32Type>().value(row).into()),
        Type::Int8 => Value::Int(column.as_primitive::<Int64Type>().value(row).into()),
        Type::Text => Value::Text(column.as_string::<i32>().value(row).into()),
        Type::Whole | Type::Average => {
            let number = numeric_at(column.as_binary::<i32>(), row).unwrap().unwrap();
            match number.to_i128() {
                Some((value, 0)) if data_type == Type::Whole => Value::Int(value),
                _ => Value::Text(number.to_string().into()),
            }
        }
    }
}

/// The rows of a batch.
pub(crate) fn rows_of<'a>(types: &'a [Type], rows: &'a RecordBatch) -> impl Iterator<Item = Row> + 'a {
    (0..rows.num_rows()).map(move |row| {
        types.iter().zip(rows.columns()).map(|(data_type, column)| value_at(*data_type, column, row)).collect()
    })
}
