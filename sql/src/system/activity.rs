//! What the sessions do, and the functions that end it: pg_stat_activity, pg_cancel_backend and their
//! kin; statistics of the database and its tables, as far as there are any.
//!
//! Promises: of another's session nobody sees the statement without the right to
//! (`pg_read_all_stats`, or membership), and nobody ends it without (`pg_signal_backend`, or
//! membership; a superuser's: superusers alone).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use datafusion::catalog::TableProvider;
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType::{Float8, Int4, Int8, Oid, Text, Timestamptz};

use super::pg_catalog::DATABASE_OID;
use super::queries::CatalogTables;
use super::roles::number;
use super::table::{Table, count, int4, maybe, text, time};
use crate::database::DATABASE;
use crate::roles::{READ_ALL_STATS, SIGNAL_BACKEND};
use crate::session::TransactionStatus;
use crate::session::activity::{Activity, Doing};

/// What is shown in the place of a statement that is not for the one who asks.
const HIDDEN: &str = "<insufficient privilege>";

/// The table of this name.
pub(super) fn table(tables: &CatalogTables, name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
    Some(match name {
        "pg_stat_activity" => pg_stat_activity(tables),
        "pg_stat_database" => pg_stat_database(tables),
        "pg_stat_user_tables" | "pg_stat_all_tables" => pg_stat_tables(tables),
        _ => return None,
    })
}

fn pg_stat_activity(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("datid", Oid),
        ("datname", Text),
        ("pid", Int4),
        ("leader_pid", Int4),
        ("usesysid", Oid),
        ("usename", Text),
        ("application_name", Text),
        ("client_addr", Text),
        ("client_hostname", Text),
        ("client_port", Int4),
        ("backend_start", Timestamptz),
        ("xact_start", Timestamptz),
        ("query_start", Timestamptz),
        ("state_change", Timestamptz),
        ("wait_event_type", Text),
        ("wait_event", Text),
        ("state", Text),
        ("backend_xid", Text),
        ("backend_xmin", Text),
        ("query_id", Int8),
        ("query", Text),
        ("backend_type", Text),
    ]);
    let mut waiting = tables.locks.all().shown();
    waiting.retain(|shown| shown.waits_since.is_some());
    for activity in tables.sessions.all() {
        let doing = activity.doing();
        let seen = sees(tables, &activity);
        let own = |value: ScalarValue, none: ScalarValue| if seen { value } else { none };
        let none = || maybe(None::<String>);
        let moment = |at: Option<i64>| time(at.filter(|_| seen));
        let waits = match (doing.active, waiting.iter().find(|shown| shown.pid == activity.client.pid)) {
            (false, _) => Some(("Client", "ClientRead")),
            (true, lock) => lock.map(|shown| ("Lock", shown.tag.kind())),
        };
        let waits = waits.filter(|_| seen);
        let address = activity.client.address.filter(|_| seen);
        table.row([
            int4(DATABASE_OID),
            text(DATABASE),
            int4(activity.client.pid),
            ScalarValue::Int32(None),
            int4(number(activity.role)),
            text(&activity.user),
            text(&doing.application),
            maybe(address.map(|address| address.ip().to_string())),
            none(),
            own(ScalarValue::Int32(address.map(|address| i32::from(address.port()))), ScalarValue::Int32(None)),
            moment(Some(activity.began)),
            moment(doing.transaction_start),
            moment(doing.query_start),
            moment(Some(doing.changed)),
            maybe(waits.map(|(kind, _)| kind)),
            maybe(waits.map(|(_, event)| event)),
            own(text(state(&doing)), none()),
            none(),
            none(),
            ScalarValue::Int64(None),
            text(if seen { &doing.query } else { HIDDEN }),
            own(text("client backend"), none()),
        ]);
    }
    table.finish()
}

fn state(doing: &Doing) -> &'static str {
    match (doing.active, doing.status) {
        (true, _) => "active",
        (false, TransactionStatus::Idle) => "idle",
        (false, TransactionStatus::InBlock) => "idle in transaction",
        (false, TransactionStatus::Failed) => "idle in transaction (aborted)",
    }
}

/// Whether what a session does is for the one who asks.
fn sees(tables: &CatalogTables, activity: &Activity) -> bool {
    let roles = &tables.published.catalog.roles;
    roles.has_rights_of(tables.role, activity.role) || roles.has_rights_of(tables.role, READ_ALL_STATS)
}

/// One database; of what nobody counts the counts are null.
fn pg_stat_database(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    const COUNTS: [&str; 15] = [
        "xact_commit",
        "xact_rollback",
        "blks_read",
        "blks_hit",
        "tup_returned",
        "tup_fetched",
        "tup_inserted",
        "tup_updated",
        "tup_deleted",
        "conflicts",
        "temp_files",
        "temp_bytes",
        "deadlocks",
        "checksum_failures",
        "sessions",
    ];
    let mut columns = vec![("datid", Oid), ("datname", Text), ("numbackends", Int4)];
    columns.extend(COUNTS.map(|name| (name, Int8)));
    columns.extend([("blk_read_time", Float8), ("blk_write_time", Float8), ("stats_reset", Timestamptz)]);
    let mut table = Table::new(&columns);
    let sessions = i32::try_from(tables.sessions.all().len()).unwrap_or(i32::MAX);
    let mut row = vec![int4(DATABASE_OID), text(DATABASE), int4(sessions)];
    row.extend(COUNTS.map(|_| ScalarValue::Int64(None)));
    row.extend([ScalarValue::Float64(None), ScalarValue::Float64(None), time(None)]);
    table.values(row);
    table.finish()
}

/// How many rows there are is known of views and tables; who read or changed them is not counted.
fn pg_stat_tables(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    const BEFORE: [&str; 8] = [
        "seq_scan",
        "seq_tup_read",
        "idx_scan",
        "idx_tup_fetch",
        "n_tup_ins",
        "n_tup_upd",
        "n_tup_del",
        "n_tup_hot_upd",
    ];
    const AFTER: [&str; 3] = ["n_dead_tup", "n_mod_since_analyze", "n_ins_since_vacuum"];
    const TIMES: [&str; 4] = ["last_vacuum", "last_autovacuum", "last_analyze", "last_autoanalyze"];
    const VACUUMS: [&str; 4] = ["vacuum_count", "autovacuum_count", "analyze_count", "autoanalyze_count"];
    let mut columns = vec![("relid", Oid), ("schemaname", Text), ("relname", Text)];
    let counts = BEFORE.into_iter().chain(["n_live_tup"]).chain(AFTER);
    columns.extend(counts.map(|name| (name, Int8)));
    columns.extend(TIMES.map(|name| (name, Timestamptz)));
    columns.extend(VACUUMS.map(|name| (name, Int8)));
    let mut table = Table::new(&columns);
    let status = tables.engine.status();
    let objects = tables.published.catalog.objects();
    let rows: BTreeMap<u32, u64> =
        objects.filter_map(|object| Some((object.oid, status.views.get(&object.relation())?.rows))).collect();
    for relation in tables.relations().iter().filter(|relation| matches!(relation.kind, "r" | "m")) {
        let live = u32::try_from(relation.oid).ok().and_then(|oid| rows.get(&oid));
        let mut row = vec![int4(relation.oid), text(&relation.schema), text(&relation.name)];
        row.extend(BEFORE.map(|_| ScalarValue::Int64(None)));
        row.push(live.map_or(ScalarValue::Int64(None), |rows| count(*rows)));
        row.extend(AFTER.map(|_| ScalarValue::Int64(None)));
        row.extend(TIMES.map(|_| time(None)));
        row.extend(VACUUMS.map(|_| ScalarValue::Int64(None)));
        table.values(row);
    }
    table.finish()
}

/// What is done to another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Signal {
    /// Its statement ends.
    Cancel,
    /// Its connection does.
    Terminate,
}

/// `pg_cancel_backend`, `pg_terminate_backend`: whether there was such a session.
pub(super) fn signal(tables: &CatalogTables, signal: Signal, pids: Vec<Option<i32>>) -> Result<ArrayRef> {
    let sent = pids.into_iter().map(|pid| {
        let Some(pid) = pid else { return Ok(None) };
        let Some(activity) = tables.sessions.get(pid) else { return Ok(Some(false)) };
        may_signal(tables, signal, &activity)?;
        match signal {
            Signal::Cancel => activity.cancel.cancel(),
            Signal::Terminate => (activity.client.terminate)(),
        }
        Ok(Some(true))
    });
    Ok(Arc::new(sent.collect::<Result<BooleanArray>>()?))
}

fn may_signal(tables: &CatalogTables, signal: Signal, activity: &Activity) -> Result<()> {
    let roles = &tables.published.catalog.roles;
    let (what, doing) = match signal {
        Signal::Cancel => ("cancel query", "cancel queries of"),
        Signal::Terminate => ("terminate process", "terminate processes of"),
    };
    let denied = |detail: String| {
        Err(Error::new(SqlState::InsufficientPrivilege, format!("permission denied to {what}")).detail(detail))
    };
    if roles.is_superuser(activity.role) && !roles.is_superuser(tables.role) {
        return denied(format!(
            "Only roles with the SUPERUSER attribute may {doing} roles with the SUPERUSER attribute."
        ));
    }
    if roles.has_rights_of(tables.role, activity.role) || roles.has_rights_of(tables.role, SIGNAL_BACKEND) {
        return Ok(());
    }
    let (whose, this) = match signal {
        Signal::Cancel => ("whose query is being canceled", "cancel this query"),
        Signal::Terminate => ("whose process is being terminated", "terminate this process"),
    };
    denied(format!(
        "Only roles with privileges of the role {whose} or with privileges of the \"pg_signal_backend\" role may {this}."
    ))
}
