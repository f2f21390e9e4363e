//! The tables of schema `thalweg`: what the server does, as rows.
//!
//! Promises: all of them are of one snapshot. Sources and views in order of their names.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::catalog::TableProvider;
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::engine::SourceStatus;
use thalweg_dataflow::error::Result;
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::source::Offsets;
use thalweg_dataflow::types::PgType::{Bytea, Int4, Int8, Interval, Text, Timestamptz};

use super::SystemTables;
use super::table::{Table, bytes, count, int4, int8, maybe, text, time};
use crate::catalog::{Object, ObjectData};
use crate::roles::acl;
use crate::statement::show::view_state;

/// The names of its tables.
pub(crate) const TABLES: [&str; 6] =
    ["file_errors", "materialized_views", "settings", "source_errors", "sources", "view_errors"];

/// The table of this name.
pub(crate) fn table(system: &SystemTables, name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
    Some(match name {
        "sources" => sources(system),
        "materialized_views" => views(system),
        "source_errors" => source_errors(system),
        "view_errors" => view_errors(system),
        "file_errors" => file_errors(system),
        "settings" => settings(system),
        _ => return None,
    })
}

/// `running`, `stalled`, or `idle` when no view reads it.
pub(crate) fn source_state(status: Option<&SourceStatus>) -> &'static str {
    match status {
        Some(status) if status.stalled.is_some() => "stalled",
        Some(status) if status.active => "running",
        Some(_) | None => "idle",
    }
}

fn sorted(system: &SystemTables, wanted: impl Fn(&ObjectData) -> bool) -> Vec<&Object> {
    let mut objects: Vec<&Object> = system.published.catalog.objects().filter(|object| wanted(&object.data)).collect();
    objects.sort_by(|a, b| (&a.name, &a.schema).cmp(&(&b.name, &b.schema)));
    objects
}

/// Records between where a source stands and its end.
fn lag(status: &SourceStatus) -> u64 {
    let behind = |(partition, end): (&i32, &i64)| end - status.offsets.get(partition).copied().unwrap_or(0);
    status.end.iter().map(behind).filter_map(|records| u64::try_from(records).ok()).sum()
}

/// `{"0": 17, "1": 4}`.
fn offsets(offsets: &Offsets) -> String {
    let list: Vec<String> = offsets.iter().map(|(partition, offset)| format!("\"{partition}\": {offset}")).collect();
    format!("{{{}}}", list.join(", "))
}

fn sources(system: &SystemTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("name", Text),
        ("connector", Text),
        ("status", Text),
        ("error", Text),
        ("rows", Int8),
        ("errors", Int8),
        ("headers_skipped", Int8),
        ("tombstones", Int8),
        ("bytes", Int8),
        ("lag", Int8),
        ("offsets", Text),
        ("end_offsets", Text),
        ("reads_from", Text),
        ("at", Timestamptz),
        ("schema", Text),
    ]);
    for object in sorted(system, |data| matches!(data, ObjectData::Source(_) | ObjectData::StoredSource(_))) {
        let Some((id, definition)) = object.source() else { continue };
        let status = system.status().sources.get(&id);
        let known = status.cloned().unwrap_or_default();
        table.row([
            text(&object.name),
            maybe(definition.options.get("connector")),
            text(source_state(status)),
            maybe(known.stalled.as_ref().map(|error| error.message())),
            count(known.rows),
            count(known.errors),
            count(known.headers),
            count(known.tombstones),
            count(known.bytes),
            count(lag(&known)),
            text(offsets(&known.offsets)),
            text(offsets(&known.end)),
            maybe(system.published.sources.get(&object.oid).map(|source| source.describe())),
            time(Some(system.status().now)),
            text(&object.schema),
        ]);
    }
    table.finish()
}

/// The sources below an object.
fn sources_below(system: &SystemTables, oid: u32) -> BTreeSet<RelationId> {
    let (mut found, mut todo) = (BTreeSet::new(), vec![oid]);
    while let Some(oid) = todo.pop() {
        let Some(object) = system.published.catalog.get(oid) else { continue };
        found.extend(object.source().map(|(id, _)| id));
        match &object.data {
            ObjectData::View(view) => todo.extend(&view.body.reads),
            ObjectData::NamedQuery(query) => todo.extend(&query.reads),
            ObjectData::Source(_)
            | ObjectData::StoredSource(_)
            | ObjectData::Files(_)
            | ObjectData::Table(_)
            | ObjectData::Sequence(_) => {}
        }
    }
    found
}

fn views(system: &SystemTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("name", Text),
        ("status", Text),
        ("rows", Int8),
        ("errors", Int8),
        ("lag", Int8),
        ("freshness", Interval),
        ("complete_from", Timestamptz),
        ("memory", Int8),
        ("at", Timestamptz),
        ("schema", Text),
    ]);
    // How long ago the epoch was cut that SELECT reads now. An idle engine cuts no epochs: with
    // nothing left to read, what is shown is fresh as of now.
    let since = chrono::Utc::now().timestamp_micros().saturating_sub(system.status().now).max(0);
    for object in sorted(system, |data| matches!(data, ObjectData::View(_))) {
        let status = system.status().views.get(&object.relation());
        let below = sources_below(system, object.oid);
        let lags = below.iter().filter_map(|source| system.status().sources.get(source));
        let behind: u64 = lags.clone().map(lag).sum();
        let stalled = lags.clone().any(|source| source.stalled.is_some());
        let fresh = if behind == 0 && !stalled { 0 } else { since };
        table.row([
            text(&object.name),
            text(view_state(status.map(|view| &view.state))),
            count(status.map_or(0, |view| view.rows)),
            count(status.map_or(0, |view| view.errors)),
            count(behind),
            interval(fresh),
            time(None),
            count(status.map_or(0, |view| view.memory)),
            time(Some(system.status().now)),
            text(&object.schema),
        ]);
    }
    table.finish()
}

/// An interval of microseconds.
fn interval(micros: i64) -> ScalarValue {
    ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, micros.saturating_mul(1_000))))
}

fn source_errors(system: &SystemTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("source_name", Text),
        ("topic", Text),
        ("partition", Int4),
        ("record_offset", Int8),
        ("line", Int4),
        ("at", Timestamptz),
        ("column_name", Text),
        ("error", Text),
        ("raw", Bytea),
    ]);
    for error in system.snapshot.source_errors() {
        let mut objects = system.published.catalog.objects();
        let object = objects.find(|object| object.source().is_some_and(|(id, _)| id == error.source));
        if !system.asker().sees(object, acl::SELECT) {
            continue;
        }
        let topic = object.and_then(Object::source).and_then(|(_, definition)| definition.options.get("topic"));
        table.row([
            maybe(object.map(|object| &object.name)),
            maybe(topic),
            int4(error.partition),
            int8(error.record.offset),
            int4(i32::try_from(error.record.line).unwrap_or(i32::MAX)),
            time(error.record.at),
            maybe(error.record.column),
            text(error.record.error),
            bytes(error.record.raw),
        ]);
    }
    table.finish()
}

fn view_errors(system: &SystemTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("view_name", Text),
        ("sqlstate", Text),
        ("error", Text),
        ("detail", Text),
        ("input", Text),
        ("count", Int8),
    ]);
    for error in system.snapshot.view_errors() {
        let object = system.published.catalog.objects().find(|object| object.relation() == error.view);
        // They show rows of what the view reads: its owner may.
        if !object.is_some_and(|object| system.asker().owns(object.oid)) && !system.asker().sees(None, acl::SELECT) {
            continue;
        }
        table.row([
            maybe(object.map(|object| &object.name)),
            text(error.error.state().code()),
            text(error.error.message()),
            maybe(error.error.detail_text()),
            text(error.row),
            int8(error.count),
        ]);
    }
    table.finish()
}

fn file_errors(system: &SystemTables) -> Result<Arc<dyn TableProvider>> {
    let columns = [
        ("table_name", Text),
        ("file", Text),
        ("line", Int8),
        ("at", Timestamptz),
        ("column_name", Text),
        ("error", Text),
        ("raw", Bytea),
    ];
    let mut table = Table::new(&columns);
    for error in system.file_errors.all() {
        let object = system.published.catalog.get(error.table);
        if !system.asker().sees(object, acl::SELECT) {
            continue;
        }
        table.row([
            maybe(object.map(|object| &object.name)),
            text(error.file),
            count(error.line),
            time(Some(error.at)),
            maybe(error.column),
            text(error.error),
            bytes(error.raw),
        ]);
    }
    table.finish()
}

fn settings(system: &SystemTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[("name", Text), ("value", Text), ("description", Text)]);
    for (name, value, about) in &system.server_settings {
        table.row([text(name), text(value), text(about)]);
    }
    table.finish()
}
