//! Functions that ask for the session, its transaction and its connection: setseed and random, the clock,
//! txid_current and its kin, the times of the server, the addresses of both ends.

use std::net::SocketAddr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::logical_expr::{ColumnarValue, Volatility};
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::PgType::{Float8, Int4, Int8, Text, Timestamptz};

use super::function::{self, Called};
use super::queries::CatalogTables;
use crate::planner::SystemFunction;

/// The functions, each with the type of its result.
const FUNCTIONS: [(&str, PgType); 13] = [
    ("clock_timestamp", Timestamptz),
    ("inet_client_addr", Text),
    ("inet_client_port", Int4),
    ("inet_server_addr", Text),
    ("inet_server_port", Int4),
    ("pg_conf_load_time", Timestamptz),
    ("pg_current_xact_id", Int8),
    ("pg_current_xact_id_if_assigned", Int8),
    ("pg_postmaster_start_time", Timestamptz),
    ("random", Float8),
    // Its result is void, which prints as the empty text.
    ("setseed", Text),
    ("txid_current", Int8),
    ("txid_current_if_assigned", Int8),
];

/// Whether there is such a function.
pub(super) fn is_one(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, _)| *known == name)
}

/// The function of this name, if it is one of these.
pub(super) fn function(tables: &CatalogTables, name: &str) -> Option<SystemFunction> {
    let (name, result) = FUNCTIONS.iter().find(|(known, _)| *known == name)?;
    let volatility = match *name {
        "clock_timestamp" | "random" | "setseed" => Volatility::Volatile,
        _ => Volatility::Stable,
    };
    let called = Called { name, tables: Arc::new(tables.clone()) };
    Some(function::function(called, result.clone(), volatility, value))
}

fn value(called: &Called, arguments: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    SessionCall(called).value(arguments, rows)
}

/// A call of one of them.
struct SessionCall<'a>(&'a Called);

impl SessionCall<'_> {
    fn value(&self, arguments: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
        match (self.0.name, arguments) {
            ("random", []) => {
                let numbers = self.0.tables.random.numbers(rows)?;
                Ok(ColumnarValue::Array(Arc::new(Float64Array::from(numbers))))
            }
            ("clock_timestamp", []) => {
                let now = || chrono::Utc::now().timestamp_micros();
                let clock = TimestampMicrosecondArray::from_iter_values((0..rows).map(|_| now()));
                Ok(ColumnarValue::Array(Arc::new(clock.with_timezone("UTC"))))
            }
            ("setseed", [seed]) => Ok(ColumnarValue::Array(self.seed(seed, rows)?)),
            (_, []) => Ok(ColumnarValue::Scalar(self.constant())),
            (name, _) => {
                let message = format!("function {name} with {} arguments does not exist", arguments.len());
                Err(Error::new(SqlState::UndefinedFunction, message))
            }
        }
    }

    fn seed(&self, seed: &ColumnarValue, rows: usize) -> Result<ArrayRef> {
        let seeds = cast(&seed.to_array(rows)?, &DataType::Float64)?;
        let seeds = seeds.as_primitive::<Float64Type>();
        seeds.iter().flatten().try_for_each(|seed| self.0.tables.random.seed(seed))?;
        Ok(Arc::new((0..rows).map(|row| seeds.is_valid(row).then_some("")).collect::<StringArray>()))
    }

    /// What is the same for all rows.
    fn constant(&self) -> ScalarValue {
        let tables = &self.0.tables;
        let client = tables.sessions.get(tables.pid).map(|session| session.client.clone());
        let end = |own: fn(&crate::session::Client) -> Option<SocketAddr>| client.as_ref().and_then(own);
        let moment = |micros| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
        let address = |end: Option<SocketAddr>| ScalarValue::Utf8(end.map(|end| end.ip().to_canonical().to_string()));
        let port = |end: Option<SocketAddr>| ScalarValue::Int32(end.map(|end| i32::from(end.port())));
        match self.0.name {
            "inet_client_addr" => address(end(|client| client.address)),
            "inet_client_port" => port(end(|client| client.address)),
            "inet_server_addr" => address(end(|client| client.server)),
            "inet_server_port" => port(end(|client| client.server)),
            "pg_conf_load_time" | "pg_postmaster_start_time" => moment(tables.transactions.started),
            "pg_current_xact_id_if_assigned" | "txid_current_if_assigned" => {
                ScalarValue::Int64(tables.transaction.given())
            }
            _ => ScalarValue::Int64(Some(tables.transaction.get(&tables.transactions))),
        }
    }
}
