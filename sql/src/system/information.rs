//! Relations as clients' catalog queries see them, and schema `information_schema`.
//!
//! Materialized views are in `information_schema.tables` too, unlike in PostgreSQL: Grafana's
//! builder reads nothing else.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use thalweg_dataflow::error::Result;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::PgType::{Int4, Text};

use super::queries::CatalogTables;
use super::table::{Table, int4, maybe, text};
use crate::catalog::{Catalog, is_temporary};
use crate::database::DATABASE;
use crate::session::path::no_schema;
use crate::statement::definition::query_text;

/// The first oid of the tables of schema `thalweg`.
pub(crate) const THALWEG_OID: i32 = 13_000;

/// A relation.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    /// Its oid.
    pub(crate) oid: i32,
    /// The oid of its schema.
    pub(crate) namespace: i32,
    /// Its schema.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) name: String,
    /// Its columns.
    pub(crate) columns: Vec<Column>,
    /// `relkind`: `r` for tables, sources and external tables, `v` for views, `m` for materialized
    /// views, `i`.
    pub(crate) kind: &'static str,
    /// The oid of its access method in `pg_am`; 0: none.
    pub(crate) method: i32,
    /// How many CHECKs it has.
    pub(crate) checks: i16,
    /// Whether it has an index.
    pub(crate) indexed: bool,
    /// Of an index, its table's oid.
    pub(crate) table: Option<i32>,
}

/// The schema of this name or oid; `None`: an oid of nothing. Error: 3F000.
pub(super) fn schema_named<'a>(catalog: &'a Catalog, value: &str, is_oid: bool) -> Result<Option<(u32, &'a str)>> {
    let named = |(oid, name): &(u32, &str)| if is_oid { value == oid.to_string() } else { value == *name };
    match catalog.schemas().find(named) {
        Some(found) => Ok(Some(found)),
        None if is_oid => Ok(None),
        None => Err(no_schema(value)),
    }
}

/// The table of this name.
pub(crate) fn table(tables: &CatalogTables, name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
    Some(match name {
        "tables" => information_tables(tables),
        "columns" => columns(tables),
        "schemata" => schemata(tables),
        "views" => views(tables),
        "table_privileges" | "role_table_grants" => super::roles::table_privileges(tables),
        "column_privileges" | "role_column_grants" => super::roles::column_privileges(tables),
        "enabled_roles" => super::roles::enabled_roles(tables),
        "table_constraints" => super::constraints::information(tables, false),
        "sequences" => super::sequences::information(tables),
        "key_column_usage" => super::constraints::information(tables, true),
        "referential_constraints" => Table::new(&[
            ("constraint_catalog", Text),
            ("constraint_schema", Text),
            ("constraint_name", Text),
            ("unique_constraint_name", Text),
        ])
        .finish(),
        _ => return None,
    })
}

fn views(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("table_catalog", Text),
        ("table_schema", Text),
        ("table_name", Text),
        ("view_definition", Text),
        ("check_option", Text),
        ("is_updatable", Text),
        ("is_insertable_into", Text),
    ]);
    for object in tables.published.catalog.objects() {
        let Some(query) =
            object.named_query().and_then(|_| query_text(&tables.published.catalog, object, &tables.path))
        else {
            continue;
        };
        table.row([
            text(DATABASE),
            text(&object.schema),
            text(&object.name),
            text(&query),
            text("NONE"),
            text("NO"),
            text("NO"),
        ]);
    }
    table.finish()
}

fn information_tables(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("table_catalog", Text),
        ("table_schema", Text),
        ("table_name", Text),
        ("table_type", Text),
        ("is_insertable_into", Text),
        ("is_typed", Text),
    ]);
    for relation in tables.relations().into_iter().filter(|relation| relation.kind != "S") {
        let kind = match relation.kind {
            "m" | "v" => "VIEW",
            _ if is_temporary(&relation.schema) => "LOCAL TEMPORARY",
            _ => "BASE TABLE",
        };
        let insertable = if is_table(tables, &relation) { "YES" } else { "NO" };
        table.row([
            text(DATABASE),
            text(&relation.schema),
            text(&relation.name),
            text(kind),
            text(insertable),
            text("NO"),
        ]);
    }
    table.finish()
}

/// Whether statements can change its rows.
fn is_table(tables: &CatalogTables, relation: &Relation) -> bool {
    let object = u32::try_from(relation.oid).ok().and_then(|oid| tables.published.catalog.get(oid));
    object.is_some_and(|object| object.table().is_some())
}

fn columns(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("table_catalog", Text),
        ("table_schema", Text),
        ("table_name", Text),
        ("column_name", Text),
        ("ordinal_position", Int4),
        ("column_default", Text),
        ("is_nullable", Text),
        ("data_type", Text),
        ("character_maximum_length", Int4),
        ("numeric_precision", Int4),
        ("numeric_scale", Int4),
        ("datetime_precision", Int4),
        ("udt_catalog", Text),
        ("udt_schema", Text),
        ("udt_name", Text),
        ("is_identity", Text),
        ("identity_generation", Text),
        ("is_generated", Text),
        ("generation_expression", Text),
        ("is_self_referencing", Text),
        ("collation_name", Text),
        ("domain_name", Text),
        ("is_updatable", Text),
    ]);
    let defaults = super::constraints::defaults(tables);
    for relation in tables.relations().into_iter().filter(|relation| relation.kind != "S") {
        let object = u32::try_from(relation.oid).ok().and_then(|oid| tables.published.catalog.get(oid));
        let updatable = if is_table(tables, &relation) { "YES" } else { "NO" };
        for (place, column) in (1..).zip(&relation.columns) {
            let identity = object.and_then(|object| object.identity(usize::try_from(place - 1).ok()?));
            let computed = object.and_then(|object| object.generated(usize::try_from(place - 1).ok()?));
            let generation = identity.map(|identity| if identity.always { "ALWAYS" } else { "BY DEFAULT" });
            let (precision, scale) = precision(&column.data_type);
            let length = length(&column.data_type);
            let time = time_digits(&column.data_type);
            table.row([
                text(DATABASE),
                text(&relation.schema),
                text(&relation.name),
                text(&column.name),
                int4(place),
                maybe(defaults.get(&(relation.oid, place)).filter(|_| computed.is_none()).cloned()),
                text(if column.not_null { "NO" } else { "YES" }),
                text(type_name(&column.data_type)),
                datafusion::scalar::ScalarValue::Int32(length),
                datafusion::scalar::ScalarValue::Int32(precision),
                datafusion::scalar::ScalarValue::Int32(scale),
                datafusion::scalar::ScalarValue::Int32(time),
                text(DATABASE),
                text("pg_catalog"),
                text(column.data_type.short_name()),
                text(if identity.is_some() { "YES" } else { "NO" }),
                maybe(generation),
                text(if computed.is_some() { "ALWAYS" } else { "NEVER" }),
                maybe(computed),
                text("NO"),
                maybe(None::<String>),
                maybe(None::<String>),
                text(updatable),
            ]);
        }
    }
    table.finish()
}

/// `character_maximum_length`.
fn length(data_type: &PgType) -> Option<i32> {
    match data_type {
        PgType::Varchar(length) | PgType::Bpchar(length) => length.and_then(|length| i32::try_from(length).ok()),
        _ => None,
    }
}

/// `datetime_precision`.
fn time_digits(data_type: &PgType) -> Option<i32> {
    match data_type {
        PgType::Date => Some(0),
        PgType::Timestamp | PgType::Timestamptz | PgType::Interval => Some(6),
        PgType::Time(digits) => Some(i32::from(digits.unwrap_or(6))),
        _ => None,
    }
}

fn schemata(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let columns = [
        "catalog_name",
        "schema_name",
        "schema_owner",
        "default_character_set_catalog",
        "default_character_set_schema",
        "default_character_set_name",
        "sql_path",
    ];
    let mut table = Table::new(&columns.map(|name| (name, Text)));
    let catalog = &tables.published.catalog;
    let mut schemas: Vec<(u32, &str)> = catalog.schemas().collect();
    schemas.sort_by_key(|(_, name)| *name);
    for (oid, name) in schemas {
        let none = || maybe(None::<String>);
        let owner = text(catalog.roles.name(catalog.owner(oid)));
        table.row([text(DATABASE), text(name), owner, none(), none(), none(), none()]);
    }
    table.finish()
}

/// What the standard calls a type.
fn type_name(data_type: &PgType) -> String {
    match data_type {
        PgType::Array(_) => "ARRAY".to_string(),
        PgType::Bpchar(_) => "character".to_string(),
        other => other.base().name(),
    }
}

fn precision(data_type: &PgType) -> (Option<i32>, Option<i32>) {
    match data_type {
        PgType::Int2 => (Some(16), Some(0)),
        PgType::Int4 => (Some(32), Some(0)),
        PgType::Int8 => (Some(64), Some(0)),
        PgType::Float4 => (Some(24), None),
        PgType::Float8 => (Some(53), None),
        PgType::Numeric(Some((precision, scale))) => (Some(i32::from(*precision)), Some(i32::from(*scale))),
        _ => (None, None),
    }
}
