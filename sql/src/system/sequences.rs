//! Sequences as SQL sees them: nextval and its kin, the row that a sequence is read as, the catalog's
//! tables of them.
//!
//! `nextval` and `setval` take effect when they are called, whatever becomes of their statement.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, UInt32Type};
use datafusion::catalog::TableProvider;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, Volatility};
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::PgType::{Bool, Int4, Int8, Oid, Text};

use super::function::{self, Called};
use super::names::Named;
use super::queries::CatalogTables;
use super::roles::number;
use super::table::{Table, bool, int4, int8, text};
use crate::catalog::{Object, Sequence};
use crate::database::DATABASE;
use crate::planner::SystemFunction;
use crate::roles::acl::{SELECT, UPDATE, USAGE};
use crate::roles::rights::{Asker, denied};
use crate::sequence::Place;
use crate::statement::definition::quoted;

/// The functions, each with the type of its result.
const FUNCTIONS: [(&str, PgType); 6] = [
    ("currval", Int8),
    ("lastval", Int8),
    ("nextval", Int8),
    ("pg_get_serial_sequence", Text),
    ("pg_sequence_last_value", Int8),
    ("setval", Int8),
];

/// The function of this name, if it is one of these.
pub(super) fn function(tables: &CatalogTables, name: &str) -> Option<SystemFunction> {
    let (name, result) = FUNCTIONS.iter().find(|(known, _)| *known == name)?;
    let volatility = if *name == "pg_get_serial_sequence" { Volatility::Stable } else { Volatility::Volatile };
    let called = Called { name, tables: Arc::new(tables.clone()) };
    Some(function::function(called, result.clone(), volatility, values))
}

/// Even over constants each row has a value of its own.
fn values(called: &Called, arguments: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    let arrays = arguments.iter().map(|argument| argument.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
    SequenceCall(called).values(&arrays, rows).map(ColumnarValue::Array)
}

/// A call of one of them.
struct SequenceCall<'a>(&'a Called);

impl SequenceCall<'_> {
    fn values(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        match (self.0.name, arguments.len()) {
            ("nextval", 1) => self.next(&arguments[0], rows),
            ("currval", 1) => self.each(rows, |row| self.current(&arguments[0], row)),
            ("lastval", 0) => self.each(rows, |_| self.last().map(Some)),
            ("setval", 2 | 3) => self.each(rows, |row| self.set(arguments, row)),
            ("pg_sequence_last_value", 1) => self.each(rows, |row| {
                let Some(object) = self.sequence(&arguments[0], row)? else { return Ok(None) };
                let (place, _) = self.0.tables.sequences.place(object)?;
                Ok(place.called.then_some(place.last))
            }),
            ("pg_get_serial_sequence", 2) => {
                let texts = (0..rows).map(|row| self.serial(arguments, row)).collect::<Result<StringArray>>()?;
                Ok(Arc::new(texts))
            }
            (name, _) => {
                let message = format!("function {name} with {} arguments does not exist", arguments.len());
                Err(Error::new(SqlState::UndefinedFunction, message))
            }
        }
    }

    fn each(&self, rows: usize, value: impl Fn(usize) -> Result<Option<i64>>) -> Result<ArrayRef> {
        Ok(Arc::new((0..rows).map(value).collect::<Result<Int64Array>>()?))
    }

    /// The sequence that an argument names in a row, by its name or oid; `None`: null.
    fn sequence(&self, argument: &ArrayRef, row: usize) -> Result<Option<&Object>> {
        if argument.is_null(row) {
            return Ok(None);
        }
        let oid = match argument.as_primitive_opt::<UInt32Type>() {
            Some(oids) => oids.value(row),
            None => {
                let names = cast(argument, &DataType::Utf8)?;
                let found = Named::Relation.number(&self.0.tables, names.as_string::<i32>().value(row))?;
                u32::try_from(found).unwrap_or(0)
            }
        };
        let catalog = &self.0.tables.published.catalog;
        match catalog.get(oid) {
            Some(object) if object.sequence().is_some() => Ok(Some(object)),
            Some(object) => {
                let message = format!("\"{}\" is not a sequence", object.name);
                Err(Error::new(SqlState::WrongObjectType, message))
            }
            None => {
                let name = Named::Relation.name(&self.0.tables, number(oid));
                Err(match name == oid.to_string() {
                    true => Error::new(SqlState::UndefinedTable, format!("could not open relation with OID {oid}")),
                    false => Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not a sequence")),
                })
            }
        }
    }

    /// Refuses who has none of these rights on a sequence.
    fn need(&self, object: &Object, rights: &[u16]) -> Result<()> {
        let asker = Asker { catalog: &self.0.tables.published.catalog, role: self.0.tables.role };
        match rights.iter().any(|right| asker.has(object.oid, *right)) {
            true => Ok(()),
            false => Err(denied("sequence", &object.name)),
        }
    }

    fn need_to_write(&self) -> Result<()> {
        if !self.0.tables.current.is_read_only() {
            return Ok(());
        }
        let message = format!("cannot execute {}() in a read-only transaction", self.0.name);
        Err(Error::new(SqlState::ReadOnlyTransaction, message))
    }

    /// Runs of rows that name one sequence take their values together.
    fn next(&self, argument: &ArrayRef, rows: usize) -> Result<ArrayRef> {
        let mut values: Vec<Option<i64>> = Vec::with_capacity(rows);
        let mut row = 0;
        while row < rows {
            let Some(object) = self.sequence(argument, row)? else {
                values.push(None);
                row += 1;
                continue;
            };
            self.need(object, &[USAGE, UPDATE])?;
            self.need_to_write()?;
            let named = argument.slice(row, 1).to_data();
            let same = (row + 1..rows).take_while(|other| argument.slice(*other, 1).to_data() == named).count();
            let end = row + 1 + same;
            let next = self.0.tables.sequences.next(object, end - row)?;
            if let Some(last) = next.last() {
                self.0.tables.used.had(object.oid, *last, true);
            }
            values.extend(next.into_iter().map(Some));
            row = end;
        }
        Ok(Arc::new(Int64Array::from(values)))
    }

    fn current(&self, argument: &ArrayRef, row: usize) -> Result<Option<i64>> {
        let Some(object) = self.sequence(argument, row)? else { return Ok(None) };
        self.need(object, &[USAGE, SELECT])?;
        self.0.tables.used.current(object.oid).map(Some).ok_or_else(|| {
            let message = format!("currval of sequence \"{}\" is not yet defined in this session", object.name);
            Error::new(SqlState::ObjectNotInPrerequisiteState, message)
        })
    }

    fn last(&self) -> Result<i64> {
        let last = self.0.tables.used.last();
        let last = last.and_then(|(oid, value)| Some((self.0.tables.published.catalog.get(oid)?, value)));
        let Some((object, value)) = last else {
            let message = "lastval is not yet defined in this session";
            return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message));
        };
        self.need(object, &[USAGE, SELECT])?;
        Ok(value)
    }

    fn set(&self, arguments: &[ArrayRef], row: usize) -> Result<Option<i64>> {
        let Some(object) = self.sequence(&arguments[0], row)? else { return Ok(None) };
        let values = cast(&arguments[1], &DataType::Int64)?;
        let called = match arguments.get(2) {
            Some(called) if called.is_null(row) => return Ok(None),
            Some(called) => cast(called, &DataType::Boolean)?.as_boolean().value(row),
            None => true,
        };
        if values.is_null(row) {
            return Ok(None);
        }
        let value = values.as_primitive::<Int64Type>().value(row);
        self.need(object, &[UPDATE])?;
        self.need_to_write()?;
        let Some(Sequence { min, max, .. }) = object.sequence() else { return Ok(None) };
        if !(*min..=*max).contains(&value) {
            let name = &object.name;
            let message = format!("setval: value {value} is out of bounds for sequence \"{name}\" ({min}..{max})");
            return Err(Error::new(SqlState::NumericOutOfRange, message));
        }
        self.0.tables.sequences.set(object, Place { last: value, called })?;
        if called {
            self.0.tables.used.had(object.oid, value, false);
        }
        Ok(Some(value))
    }

    /// The sequence of a column, as text that names it.
    fn serial(&self, arguments: &[ArrayRef], row: usize) -> Result<Option<String>> {
        let texts = [cast(&arguments[0], &DataType::Utf8)?, cast(&arguments[1], &DataType::Utf8)?];
        if texts.iter().any(|array| array.is_null(row)) {
            return Ok(None);
        }
        let [table, column] = texts.each_ref().map(|array| array.as_string::<i32>().value(row));
        let oid = Named::Relation.number(&self.0.tables, table)?;
        let catalog = &self.0.tables.published.catalog;
        let Some(object) = u32::try_from(oid).ok().and_then(|oid| catalog.get(oid)) else { return Ok(None) };
        let Some(place) = object.columns.iter().position(|known| known.name == column) else {
            let message = format!("column \"{column}\" of relation \"{}\" does not exist", object.name);
            return Err(Error::new(SqlState::UndefinedColumn, message));
        };
        let number = object.numbers().get(place).copied().unwrap_or_default();
        let owned = catalog.owned_by(object.oid, number).next();
        Ok(owned.map(|sequence| format!("{}.{}", quoted(&sequence.schema), quoted(&sequence.name))))
    }
}

/// The one row that a sequence is read as.
pub(super) fn row(sequences: &crate::sequence::Sequences, object: &Object) -> Result<Arc<dyn TableProvider>> {
    let (place, ahead) = sequences.place(object)?;
    let mut table = Table::new(&[("last_value", Int8), ("log_cnt", Int8), ("is_called", Bool)]);
    table.row([int8(place.last), int8(ahead), bool(place.called)]);
    table.finish()
}

/// All sequences.
fn all(tables: &CatalogTables) -> impl Iterator<Item = (&Object, &Sequence)> {
    tables.published.catalog.objects().filter_map(|object| Some((object, object.sequence()?)))
}

/// `pg_sequence`.
pub(super) fn pg_sequence(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("seqrelid", Oid),
        ("seqtypid", Oid),
        ("seqstart", Int8),
        ("seqincrement", Int8),
        ("seqmax", Int8),
        ("seqmin", Int8),
        ("seqcache", Int8),
        ("seqcycle", Bool),
    ]);
    for (object, sequence) in all(tables) {
        table.row([
            int4(number(object.oid)),
            int4(number(sequence.data_type.oid())),
            int8(sequence.start),
            int8(sequence.increment),
            int8(sequence.max),
            int8(sequence.min),
            int8(sequence.cache),
            bool(sequence.cycle),
        ]);
    }
    table.finish()
}

/// `pg_sequences`.
pub(super) fn pg_sequences(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("schemaname", Text),
        ("sequencename", Text),
        ("sequenceowner", Text),
        ("data_type", Text),
        ("start_value", Int8),
        ("min_value", Int8),
        ("max_value", Int8),
        ("increment_by", Int8),
        ("cycle", Bool),
        ("cache_size", Int8),
        ("last_value", Int8),
    ]);
    let asker = Asker { catalog: &tables.published.catalog, role: tables.role };
    for (object, sequence) in all(tables) {
        let seen = asker.has(object.oid, USAGE) || asker.has(object.oid, SELECT);
        let place = if seen { Some(tables.sequences.place(object)?.0) } else { None };
        table.row([
            text(&object.schema),
            text(&object.name),
            text(tables.owner(object.oid)),
            text(sequence.data_type.name()),
            int8(sequence.start),
            int8(sequence.min),
            int8(sequence.max),
            int8(sequence.increment),
            bool(sequence.cycle),
            int8(sequence.cache),
            ScalarValue::Int64(place.filter(|place| place.called).map(|place| place.last)),
        ]);
    }
    table.finish()
}

/// `information_schema.sequences`.
pub(super) fn information(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("sequence_catalog", Text),
        ("sequence_schema", Text),
        ("sequence_name", Text),
        ("data_type", Text),
        ("numeric_precision", Int4),
        ("numeric_precision_radix", Int4),
        ("numeric_scale", Int4),
        ("start_value", Text),
        ("minimum_value", Text),
        ("maximum_value", Text),
        ("increment", Text),
        ("cycle_option", Text),
    ]);
    for (object, sequence) in all(tables).filter(|(object, _)| !tables.published.catalog.is_identity(object.oid)) {
        let bits = match sequence.data_type {
            PgType::Int2 => 16,
            PgType::Int4 => 32,
            _ => 64,
        };
        table.row([
            text(DATABASE),
            text(&object.schema),
            text(&object.name),
            text(sequence.data_type.name()),
            int4(bits),
            int4(2),
            int4(0),
            text(sequence.start.to_string()),
            text(sequence.min.to_string()),
            text(sequence.max.to_string()),
            text(sequence.increment.to_string()),
            text(if sequence.cycle { "YES" } else { "NO" }),
        ]);
    }
    table.finish()
}
