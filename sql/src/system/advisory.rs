//! pg_advisory_lock and its kin; pg_locks and pg_blocking_pids.
//!
//! Those that may wait do so as `pg_sleep` does: without a thread, and until the query is dropped. The
//! others answer at once. A null among the arguments locks nothing.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int32Type, Int64Type};
use datafusion::catalog::TableProvider;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::PgType::{Bool, Int2, Int4, Oid, Text, Timestamptz};

use super::function::{self, Called};
use super::pg_catalog::DATABASE_OID;
use super::queries::CatalogTables;
use super::roles::number;
use super::table::{Table, array, bool, int4, maybe, text, time};
use crate::locks::{Mode, Scope, Tag};
use crate::planner::SystemFunction;
use crate::session::{Notice, Severity};

/// Those that wait.
const WAITING: [&str; 4] =
    ["pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared"];

/// Those that do not, each with the type of its result.
const OTHERS: [(&str, PgType); 8] = [
    ("pg_advisory_unlock", Bool),
    // Its result is void, which prints as the empty text.
    ("pg_advisory_unlock_all", Text),
    ("pg_advisory_unlock_shared", Bool),
    ("pg_blocking_pids", PgType::Array(&Int4)),
    ("pg_try_advisory_lock", Bool),
    ("pg_try_advisory_lock_shared", Bool),
    ("pg_try_advisory_xact_lock", Bool),
    ("pg_try_advisory_xact_lock_shared", Bool),
];

/// Whether there is such a function.
pub(super) fn is_one(name: &str) -> bool {
    WAITING.contains(&name) || OTHERS.iter().any(|(known, _)| *known == name)
}

/// The function of this name, if it is one of these.
pub(super) fn function(tables: &CatalogTables, name: &str) -> Option<SystemFunction> {
    let called = |name| Called { name, tables: Arc::new(tables.clone()) };
    if let Some(name) = WAITING.into_iter().find(|known| *known == name) {
        let waiting = Waiting { called: called(name), signature: Signature::variadic_any(Volatility::Volatile) };
        let function = AsyncScalarUDF::new(Arc::new(waiting)).into_scalar_udf();
        return Some(SystemFunction { function: Arc::new(function), result: Text });
    }
    let (name, result) = OTHERS.iter().find(|(known, _)| *known == name)?;
    Some(function::function(called(name), result.clone(), Volatility::Volatile, value))
}

/// How a function of this name locks, and for how long.
fn manner(name: &str) -> (Mode, Scope) {
    let mode = if name.ends_with("_shared") { Mode::Share } else { Mode::Exclusive };
    let scope = if name.contains("_xact_") { Scope::Transaction } else { Scope::Session };
    (mode, scope)
}

/// The lock that the arguments mean in each row; `None`: a null is among them.
fn tags(called: &Called, arguments: &[ColumnarValue], rows: usize) -> Result<Vec<Option<Tag>>> {
    let arrays = arguments.iter().map(|argument| argument.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
    match arrays.as_slice() {
        [key] => {
            let key = cast(key, &DataType::Int64)?;
            Ok(key.as_primitive::<Int64Type>().iter().map(|key| key.map(Tag::number)).collect())
        }
        [first, second] => {
            let [first, second] = [cast(first, &DataType::Int32)?, cast(second, &DataType::Int32)?];
            let pairs = first.as_primitive::<Int32Type>().iter().zip(second.as_primitive::<Int32Type>());
            Ok(pairs.map(|(first, second)| Some(Tag::pair(first?, second?))).collect())
        }
        _ => {
            let message = format!("function {} with {} arguments does not exist", called.name, arguments.len());
            Err(Error::new(SqlState::UndefinedFunction, message))
        }
    }
}

/// The functions that answer at once.
fn value(called: &Called, arguments: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    let locks = &called.tables.locks;
    let (mode, scope) = manner(called.name);
    match called.name {
        "pg_advisory_unlock_all" => {
            locks.unlock_all();
            Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(String::new()))))
        }
        "pg_blocking_pids" => {
            let pids = arguments.first().map(|pid| pid.to_array(rows)).transpose()?;
            let Some(pids) = pids else { return Err(Error::internal("pg_blocking_pids without an argument")) };
            let pids = cast(&pids, &DataType::Int32)?;
            let of = |pid: Option<i32>| {
                let pids = pid.map(|pid| locks.all().blocking(pid).into_iter().map(int4).collect());
                pids.map_or(ScalarValue::Binary(None), |pids| array(&Int4, pids))
            };
            let arrays: Vec<ScalarValue> = pids.as_primitive::<Int32Type>().iter().map(of).collect();
            Ok(ColumnarValue::Array(ScalarValue::iter_to_array(arrays)?))
        }
        name => {
            let mut answers = Vec::with_capacity(rows);
            for tag in tags(called, arguments, rows)? {
                answers.push(match tag {
                    None => None,
                    Some(tag) if name.starts_with("pg_try") => Some(locks.try_lock(tag, mode, scope)?),
                    Some(tag) => Some(unlock(&called.tables, tag, mode)),
                });
            }
            Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(answers))))
        }
    }
}

fn unlock(tables: &CatalogTables, tag: Tag, mode: Mode) -> bool {
    let had = tables.locks.unlock(tag, mode);
    if !had {
        let message = format!("you don't own a lock of type {}", mode.name());
        let fields = Error::new(SqlState::Warning, message);
        // A full queue drops further ones, as it does a session's own.
        let _ = tables.notices.try_send(Notice { severity: Severity::Warning, fields });
    }
    had
}

/// A function that waits.
#[derive(Debug)]
struct Waiting {
    called: Called,
    signature: Signature,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.called.name == other.called.name && Arc::ptr_eq(&self.called.tables, &other.called.tables)
    }
}

impl Eq for Waiting {}

impl Hash for Waiting {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.called.name, Arc::as_ptr(&self.called.tables) as usize).hash(state);
    }
}

impl ScalarUDFImpl for Waiting {
    fn name(&self) -> &str {
        self.called.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(Text.arrow())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(Text.field(self.called.name, true)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(Error::unsupported(format!("{} here", self.called.name)).into_datafusion())
    }
}

impl AsyncScalarUDFImpl for Waiting {
    fn invoke_async_with_args<'s, 'f>(
        &'s self,
        arguments: ScalarFunctionArgs,
    ) -> Pin<Box<dyn Future<Output = DataFusionResult<ColumnarValue>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let locked = self.lock_all(&arguments).await.map_err(Error::into_datafusion)?;
            Ok(ColumnarValue::Array(locked))
        })
    }
}

impl Waiting {
    async fn lock_all(&self, arguments: &ScalarFunctionArgs) -> Result<ArrayRef> {
        let (mode, scope) = manner(self.called.name);
        let tables = &self.called.tables;
        let limit = tables.current.settled().lock_timeout;
        let tags = tags(&self.called, &arguments.args, arguments.number_rows)?;
        for tag in tags.iter().flatten() {
            tables.locks.lock(*tag, mode, scope, limit).await?;
        }
        Ok(Arc::new(tags.iter().map(|tag| tag.map(|_| "")).collect::<StringArray>()))
    }
}

/// The table of this name.
pub(super) fn table(tables: &CatalogTables, name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
    (name == "pg_locks").then(|| pg_locks(tables))
}

/// `pg_locks`: what sessions asked for; what statements hold for themselves alone is not there.
fn pg_locks(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("locktype", Text),
        ("database", Oid),
        ("relation", Oid),
        ("page", Int4),
        ("tuple", Int2),
        ("virtualxid", Text),
        ("transactionid", Text),
        ("classid", Oid),
        ("objid", Oid),
        ("objsubid", Int2),
        ("virtualtransaction", Text),
        ("pid", Int4),
        ("mode", Text),
        ("granted", Bool),
        ("fastpath", Bool),
        ("waitstart", Timestamptz),
    ]);
    let none = || ScalarValue::Int32(None);
    let small = ScalarValue::Int16;
    let half = ScalarValue::UInt32;
    for shown in tables.locks.all().shown() {
        let (relation, [class, object], sub) = match shown.tag {
            Tag::Relation(oid) => (int4(number(oid)), [half(None), half(None)], None),
            Tag::Advisory { class, object, sub } => (none(), [half(Some(class)), half(Some(object))], Some(sub)),
        };
        table.row([
            text(shown.tag.kind()),
            int4(DATABASE_OID),
            relation,
            none(),
            small(None),
            maybe(None::<String>),
            maybe(None::<String>),
            class,
            object,
            small(sub),
            text(format!("{}/0", shown.pid)),
            int4(shown.pid),
            text(shown.mode.name()),
            bool(shown.waits_since.is_none()),
            bool(false),
            time(shown.waits_since),
        ]);
    }
    table.finish()
}
