//! The tables of schema `pg_catalog`.
//!
//! What describes users' objects is made from the catalog; what describes PostgreSQL itself (types,
//! functions, operators) is `datafusion-pg-catalog`'s; what Thalweg has none of (triggers, rules,
//! policies, ...) is there and empty. Sources and external tables are relkind `r`, views `v`,
//! materialized views `m`. Oids are int4, as that crate has them.

use std::sync::{Arc, OnceLock};

use arrow::array::new_null_array;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion_pg_catalog::pg_catalog::{ArrowTable, PgCatalogStaticTables};
use thalweg_dataflow::error::Result;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::PgType::{Bool, Float4, Int2, Int4, Text, Timestamptz};

use super::constraints;
use super::information::{Relation, SCHEMAS};
use super::queries::CatalogTables;
use super::table::{Table, bool, int2, int4, maybe, text, time};
use crate::statement::definition::query_text;

/// The role that owns everything.
const OWNER: i32 = 10;

/// The oid of the one database.
const DATABASE_OID: i32 = 5;

/// The table of this name.
pub(crate) fn table(tables: &CatalogTables, name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
    Some(match name {
        "pg_class" => pg_class(tables),
        "pg_attribute" => pg_attribute(tables),
        "pg_namespace" => pg_namespace(),
        "pg_database" => pg_database(),
        "pg_roles" | "pg_user" => pg_roles(tables),
        "pg_matviews" => pg_matviews(tables),
        "pg_tables" => pg_tables(tables),
        "pg_views" => pg_views(tables),
        "pg_attrdef" => constraints::pg_attrdef(tables),
        "pg_constraint" => constraints::pg_constraint(tables),
        "pg_index" => constraints::pg_index(tables),
        "pg_indexes" => constraints::pg_indexes(tables),
        "pg_settings" => pg_settings(tables),
        "pg_stat_activity" => {
            Table::new(&[("datname", Text), ("pid", Int4), ("usename", Text), ("state", Text), ("query", Text)])
                .finish()
        }
        _ => return fixed(name),
    })
}

/// A table of PostgreSQL's own, full or empty.
fn fixed(name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
    static TABLES: OnceLock<Option<PgCatalogStaticTables>> = OnceLock::new();
    let tables = TABLES.get_or_init(|| PgCatalogStaticTables::try_new().ok()).as_ref()?;
    if let Some(full) = full(tables, name) {
        return Some(with_arrays(full.schema(), full.data()));
    }
    Some(with_arrays(empty(tables, name)?.schema(), &[]))
}

/// Columns of arrays, which that crate has as text or leaves null, as null arrays.
fn with_arrays(schema: SchemaRef, batches: &[RecordBatch]) -> Result<Arc<dyn TableProvider>> {
    let element = |name: &str| match name {
        name if name.ends_with("acl") || name.ends_with("options") || name.ends_with("config") => Some(DataType::Utf8),
        "evttags" => Some(DataType::Utf8),
        "polroles" => Some(DataType::Int32),
        _ => None,
    };
    let field = |field: &Arc<Field>| match element(field.name()) {
        Some(element) => Arc::new(Field::new(field.name(), DataType::new_list(element, true), true)),
        None => field.clone(),
    };
    let changed: SchemaRef = Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Fields>()));
    let mut made = Vec::with_capacity(batches.len());
    for batch in batches {
        let columns = batch.columns().iter().zip(changed.fields()).map(|(column, field)| {
            if column.data_type() == field.data_type() {
                column.clone()
            } else {
                new_null_array(field.data_type(), batch.num_rows())
            }
        });
        made.push(RecordBatch::try_new(changed.clone(), columns.collect())?);
    }
    Ok(Arc::new(MemTable::try_new(changed, vec![made])?))
}

fn full<'a>(tables: &'a PgCatalogStaticTables, name: &str) -> Option<&'a ArrowTable> {
    Some(match name {
        "pg_aggregate" => &tables.pg_aggregate,
        "pg_am" => &tables.pg_am,
        "pg_amop" => &tables.pg_amop,
        "pg_amproc" => &tables.pg_amproc,
        "pg_cast" => &tables.pg_cast,
        "pg_collation" => &tables.pg_collation,
        "pg_conversion" => &tables.pg_conversion,
        "pg_language" => &tables.pg_language,
        "pg_opclass" => &tables.pg_opclass,
        "pg_operator" => &tables.pg_operator,
        "pg_opfamily" => &tables.pg_opfamily,
        "pg_proc" => &tables.pg_proc,
        "pg_range" => &tables.pg_range,
        "pg_tablespace" => &tables.pg_tablespace,
        "pg_type" => &tables.pg_type,
        _ => return None,
    })
}

/// Tables that have no row here, whether they can be read or only joined ([`super::rewrite`]).
pub(crate) const EMPTY: &[&str] = &[
    "pg_auth_members",
    "pg_cursors",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_inherits",
    "pg_init_privs",
    "pg_largeobject",
    "pg_largeobject_metadata",
    "pg_parameter_acl",
    "pg_partitioned_table",
    "pg_policies",
    "pg_policy",
    "pg_prepared_statements",
    "pg_prepared_xacts",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_publication_tables",
    "pg_replication_slots",
    "pg_rewrite",
    "pg_rules",
    "pg_seclabel",
    "pg_sequence",
    "pg_sequences",
    "pg_shdepend",
    "pg_shdescription",
    "pg_shseclabel",
    "pg_stat_replication",
    "pg_statistic",
    "pg_statistic_ext",
    "pg_statistic_ext_data",
    "pg_subscription",
    "pg_subscription_rel",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_user_mapping",
];

fn empty<'a>(tables: &'a PgCatalogStaticTables, name: &str) -> Option<&'a ArrowTable> {
    Some(match name {
        "pg_auth_members" => &tables.pg_auth_members,
        "pg_db_role_setting" => &tables.pg_db_role_setting,
        "pg_default_acl" => &tables.pg_default_acl,
        "pg_depend" => &tables.pg_depend,
        "pg_description" => &tables.pg_description,
        "pg_enum" => &tables.pg_enum,
        "pg_event_trigger" => &tables.pg_event_trigger,
        "pg_extension" => &tables.pg_extension,
        "pg_foreign_data_wrapper" => &tables.pg_foreign_data_wrapper,
        "pg_foreign_server" => &tables.pg_foreign_server,
        "pg_foreign_table" => &tables.pg_foreign_table,
        "pg_inherits" => &tables.pg_inherits,
        "pg_partitioned_table" => &tables.pg_partitioned_table,
        "pg_policy" => &tables.pg_policy,
        "pg_publication" => &tables.pg_publication,
        "pg_publication_namespace" => &tables.pg_publication_namespace,
        "pg_publication_rel" => &tables.pg_publication_rel,
        "pg_rewrite" => &tables.pg_rewrite,
        "pg_sequence" => &tables.pg_sequence,
        "pg_shdescription" => &tables.pg_shdescription,
        "pg_statistic" => &tables.pg_statistic,
        "pg_statistic_ext" => &tables.pg_statistic_ext,
        "pg_subscription" => &tables.pg_subscription,
        "pg_trigger" => &tables.pg_trigger,
        "pg_user_mapping" => &tables.pg_user_mapping,
        _ => return None,
    })
}

fn pg_class(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("oid", Int4),
        ("relname", Text),
        ("relnamespace", Int4),
        ("reltype", Int4),
        ("reloftype", Int4),
        ("relowner", Int4),
        ("relam", Int4),
        ("relfilenode", Int4),
        ("reltablespace", Int4),
        ("relpages", Int4),
        ("reltuples", Float4),
        ("relallvisible", Int4),
        ("reltoastrelid", Int4),
        ("relhasindex", Bool),
        ("relisshared", Bool),
        ("relpersistence", Text),
        ("relkind", Text),
        ("relnatts", Int2),
        ("relchecks", Int2),
        ("relhasrules", Bool),
        ("relhastriggers", Bool),
        ("relhassubclass", Bool),
        ("relrowsecurity", Bool),
        ("relforcerowsecurity", Bool),
        ("relispopulated", Bool),
        ("relreplident", Text),
        ("relispartition", Bool),
        ("relrewrite", Int4),
        ("relpartbound", Text),
    ])
    .with_text_arrays(&["relacl", "reloptions"]);
    for relation in tables.relations().into_iter().chain(constraints::indexes(tables)) {
        let zero = || int4(0);
        table.row([
            int4(relation.oid),
            text(&relation.name),
            int4(relation.namespace()),
            zero(),
            zero(),
            int4(OWNER),
            zero(),
            int4(relation.oid),
            zero(),
            zero(),
            datafusion::scalar::ScalarValue::Float32(Some(-1.0)),
            zero(),
            zero(),
            bool(relation.indexed),
            bool(false),
            text("p"),
            text(relation.kind),
            int2(i16::try_from(relation.columns.len()).unwrap_or(i16::MAX)),
            int2(relation.checks),
            bool(false),
            bool(false),
            bool(false),
            bool(false),
            bool(false),
            bool(true),
            text("n"),
            bool(false),
            zero(),
            maybe(None::<String>),
        ]);
    }
    table.finish()
}

fn pg_attribute(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("attrelid", Int4),
        ("attname", Text),
        ("atttypid", Int4),
        ("attstattarget", Int4),
        ("attlen", Int2),
        ("attnum", Int2),
        ("attndims", Int4),
        ("atttypmod", Int4),
        ("attbyval", Bool),
        ("attstorage", Text),
        ("attcompression", Text),
        ("attnotnull", Bool),
        ("atthasdef", Bool),
        ("atthasmissing", Bool),
        ("attidentity", Text),
        ("attgenerated", Text),
        ("attisdropped", Bool),
        ("attislocal", Bool),
        ("attinhcount", Int4),
        ("attcollation", Int4),
    ])
    .with_text_arrays(&["attacl", "attoptions", "attfdwoptions"]);
    let defaults = constraints::defaults(tables);
    for relation in tables.relations().into_iter().chain(constraints::indexes(tables)) {
        for (place, column) in (1..).zip(&relation.columns) {
            let length = column.data_type.size();
            table.row([
                int4(relation.oid),
                text(&column.name),
                int4(oid(&column.data_type)),
                int4(-1),
                int2(length),
                int2(place),
                int4(0),
                int4(column.data_type.typmod()),
                bool((1..=8).contains(&length)),
                text(storage(column)),
                text(""),
                bool(column.not_null && relation.kind != "i"),
                bool(defaults.contains_key(&(relation.oid, i32::from(place)))),
                bool(false),
                text(""),
                text(""),
                bool(false),
                bool(true),
                int4(0),
                int4(if matches!(column.data_type, PgType::Text | PgType::Varchar(_)) { 100 } else { 0 }),
            ]);
        }
    }
    table.finish()
}

/// The oid of a type as the catalogs hold it.
fn oid(data_type: &PgType) -> i32 {
    i32::try_from(data_type.oid()).unwrap_or(i32::MAX)
}

fn storage(column: &Column) -> &'static str {
    match column.data_type {
        PgType::Numeric(_) => "m",
        PgType::Text | PgType::Varchar(_) | PgType::Bytea => "x",
        _ => "p",
    }
}

fn pg_namespace() -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[("oid", Int4), ("nspname", Text), ("nspowner", Int4)]).with_text_arrays(&["nspacl"]);
    for (name, oid) in SCHEMAS {
        table.row([int4(oid), text(name), int4(OWNER)]);
    }
    table.finish()
}

fn pg_database() -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("oid", Int4),
        ("datname", Text),
        ("datdba", Int4),
        ("encoding", Int4),
        ("datlocprovider", Text),
        ("datistemplate", Bool),
        ("datallowconn", Bool),
        ("datconnlimit", Int4),
        ("dattablespace", Int4),
        ("datcollate", Text),
        ("datctype", Text),
        ("daticulocale", Text),
        ("daticurules", Text),
        ("datcollversion", Text),
    ])
    .with_text_arrays(&["datacl"]);
    table.row([
        int4(DATABASE_OID),
        text(crate::database::DATABASE),
        int4(OWNER),
        int4(6),
        text("c"),
        bool(false),
        bool(true),
        int4(-1),
        int4(1663),
        text("C"),
        text("C"),
        maybe(None::<String>),
        maybe(None::<String>),
        maybe(None::<String>),
    ]);
    table.finish()
}

fn pg_roles(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("oid", Int4),
        ("rolname", Text),
        ("usename", Text),
        ("usesysid", Int4),
        ("rolsuper", Bool),
        ("usesuper", Bool),
        ("rolinherit", Bool),
        ("rolcreaterole", Bool),
        ("rolcreatedb", Bool),
        ("rolcanlogin", Bool),
        ("rolreplication", Bool),
        ("rolconnlimit", Int4),
        ("rolpassword", Text),
        ("rolvaliduntil", Timestamptz),
        ("rolbypassrls", Bool),
    ])
    .with_text_arrays(&["rolconfig"]);
    table.row([
        int4(OWNER),
        text(&tables.user),
        text(&tables.user),
        int4(OWNER),
        bool(true),
        bool(true),
        bool(true),
        bool(true),
        bool(true),
        bool(true),
        bool(false),
        int4(-1),
        maybe(None::<String>),
        time(None),
        bool(true),
    ]);
    table.finish()
}

fn pg_matviews(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("schemaname", Text),
        ("matviewname", Text),
        ("matviewowner", Text),
        ("tablespace", Text),
        ("hasindexes", Bool),
        ("ispopulated", Bool),
        ("definition", Text),
    ]);
    for object in tables.published.catalog.objects() {
        if object.view().is_some()
            && let Some(query) = query_text(&tables.published.catalog, object)
        {
            let none = maybe(None::<String>);
            table.row([
                text(&object.schema),
                text(&object.name),
                text(&tables.user),
                none,
                bool(false),
                bool(true),
                text(&query),
            ]);
        }
    }
    table.finish()
}

fn pg_views(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[("schemaname", Text), ("viewname", Text), ("viewowner", Text), ("definition", Text)]);
    for object in tables.published.catalog.objects() {
        if object.named_query().is_some()
            && let Some(query) = query_text(&tables.published.catalog, object)
        {
            table.row([text(&object.schema), text(&object.name), text(&tables.user), text(&query)]);
        }
    }
    table.finish()
}

fn pg_tables(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("schemaname", Text),
        ("tablename", Text),
        ("tableowner", Text),
        ("tablespace", Text),
        ("hasindexes", Bool),
        ("hasrules", Bool),
        ("hastriggers", Bool),
        ("rowsecurity", Bool),
    ]);
    for relation in tables.relations().iter().filter(|relation: &&Relation| relation.kind == "r") {
        let no = || bool(false);
        table.row([
            text(&relation.schema),
            text(&relation.name),
            text(&tables.user),
            maybe(None::<String>),
            bool(relation.indexed),
            no(),
            no(),
            no(),
        ]);
    }
    table.finish()
}

fn pg_settings(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("name", Text),
        ("setting", Text),
        ("unit", Text),
        ("category", Text),
        ("short_desc", Text),
        ("context", Text),
        ("vartype", Text),
        ("source", Text),
        ("boot_val", Text),
        ("reset_val", Text),
        ("min_val", Text),
        ("max_val", Text),
        ("extra_desc", Text),
        ("pending_restart", Bool),
    ])
    .with_text_arrays(&["enumvals"]);
    for (name, value, about) in &tables.settings {
        let none = || maybe(None::<String>);
        table.row([
            text(name),
            text(value),
            none(),
            text("Thalweg"),
            text(*about),
            text("user"),
            text("string"),
            text("session"),
            text(value),
            text(value),
            none(),
            none(),
            none(),
            bool(false),
        ]);
    }
    table.finish()
}
