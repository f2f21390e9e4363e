//! The tables of `pg_catalog` that describe PostgreSQL itself, and those without a row here.
//!
//! Types, functions and operators are `datafusion-pg-catalog`'s, with the types of columns that
//! PostgreSQL gives them.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_empty_array, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::scalar::ScalarValue;
use datafusion_pg_catalog::pg_catalog::{ArrowTable, PgCatalogStaticTables};
use thalweg_dataflow::error::Result;
use thalweg_dataflow::types::PgType::{Array as ArrayOf, Bool, Int4, Oid, Text, Timestamptz};
use thalweg_dataflow::types::{PgType, Zone, parse_text};

use super::table::Table;

/// The table of this name, full or empty.
pub(super) fn table(name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
    if let Some((_, columns)) = EMPTY.iter().find(|(known, _)| *known == name) {
        return Some(Table::new(columns).finish());
    }
    static TABLES: OnceLock<Option<PgCatalogStaticTables>> = OnceLock::new();
    let tables = TABLES.get_or_init(|| PgCatalogStaticTables::try_new().ok()).as_ref()?;
    if let Some(full) = full(tables, name) {
        let rows = if name == "pg_collation" { collations(full.data()) } else { Ok(full.data().to_vec()) };
        return Some(rows.and_then(|rows| with_types(full.schema(), &rows)));
    }
    Some(with_types(empty(tables, name)?.schema(), &[]))
}

/// The collations that there are here, of all that PostgreSQL knows.
fn collations(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let kept = |batch: &RecordBatch| -> Result<RecordBatch> {
        let names = batch.column_by_name("collname").and_then(|names| names.as_string_opt::<i32>());
        let known = |name: Option<&str>| name.map(|name| ["default", "C", "POSIX", "ucs_basic"].contains(&name));
        match names {
            Some(names) => Ok(filter_record_batch(batch, &names.iter().map(known).collect::<BooleanArray>())?),
            None => Ok(batch.clone()),
        }
    };
    batches.iter().map(kept).collect()
}

/// Columns with the types that PostgreSQL gives them: that crate has oids as integers, and arrays as
/// text of its own or left null.
fn with_types(schema: SchemaRef, batches: &[RecordBatch]) -> Result<Arc<dyn TableProvider>> {
    let fields: Vec<PgType> = schema.fields().iter().map(|field| type_of(field)).collect();
    // As PostgreSQL 16 calls it.
    let name = |field: &Field| if field.name() == "colllocale" { "colliculocale" } else { field.name() }.to_string();
    let named = schema.fields().iter().zip(&fields).map(|(field, ty)| ty.field(name(field), true));
    let changed: SchemaRef = Arc::new(Schema::new(named.collect::<Fields>()));
    let mut made = Vec::with_capacity(batches.len());
    for batch in batches {
        let columns = batch.columns().iter().zip(&fields).zip(schema.fields()).map(|((column, ty), field)| {
            Ok(match ty {
                // Access lists there name roles that are not here.
                PgType::Array(element) if !field.name().ends_with("acl") && column.data_type() == &DataType::Utf8 => {
                    arrays(element, column)?
                }
                PgType::Array(_) => new_null_array(&ty.arrow(), batch.num_rows()),
                _ if *column.data_type() == ty.arrow() => column.clone(),
                _ => arrow::compute::cast(column, &ty.arrow())?,
            })
        });
        made.push(RecordBatch::try_new(changed.clone(), columns.collect::<Result<Vec<_>>>()?)?);
    }
    Ok(Arc::new(MemTable::try_new(changed, vec![made])?))
}

/// The type of a column of that crate's.
fn type_of(field: &Field) -> PgType {
    match field.name().as_str() {
        "evttags" | "stxkind" | "subpublications" | "proargmodes" | "proargnames" | "protrftypes" => {
            PgType::Array(&PgType::Text)
        }
        "proallargtypes" | "polroles" => PgType::Array(&PgType::Oid),
        name if name.ends_with("acl") || name.ends_with("options") || name.ends_with("config") => {
            PgType::Array(&PgType::Text)
        }
        "typtypmod" | "typndims" | "collencoding" | "conforencoding" | "contoencoding" | "aggtransspace"
        | "aggmtransspace" | "objsubid" | "refobjsubid" | "refobjversion" | "inhseqno" => {
            PgType::of_arrow(field.data_type())
        }
        _ if *field.data_type() == DataType::Int32 => PgType::Oid,
        _ => PgType::of_arrow(field.data_type()),
    }
}

/// Lists as that crate writes them.
fn arrays(element: &'static PgType, column: &ArrayRef) -> Result<ArrayRef> {
    let texts = column.as_string::<i32>();
    let mut made: Vec<ScalarValue> = Vec::with_capacity(texts.len());
    for text in texts {
        let Some(text) = text else {
            made.push(ScalarValue::Binary(None));
            continue;
        };
        let items = super::routines::list(text);
        let items = items.iter().map(|item| parse_text(element, item, &Zone::default())).collect::<Result<Vec<_>>>()?;
        made.push(super::table::array(element, items));
    }
    match made.is_empty() {
        true => Ok(new_empty_array(&DataType::Binary)),
        false => Ok(ScalarValue::iter_to_array(made)?),
    }
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

/// Tables without rows that that crate has not, or not all columns of.
const EMPTY: &[(&str, &[(&str, PgType)])] = &[
    ("aclexplode", &[("grantor", Oid), ("grantee", Oid), ("privilege_type", Text), ("is_grantable", Bool)]),
    (
        "pg_available_extensions",
        &[("name", Text), ("default_version", Text), ("installed_version", Text), ("comment", Text)],
    ),
    (
        "pg_cursors",
        &[
            ("name", Text),
            ("statement", Text),
            ("is_holdable", Bool),
            ("is_binary", Bool),
            ("is_scrollable", Bool),
            ("creation_time", Timestamptz),
        ],
    ),
    (
        "pg_init_privs",
        &[("objoid", Oid), ("classoid", Oid), ("objsubid", Int4), ("privtype", Text), ("initprivs", ArrayOf(&Text))],
    ),
    ("pg_largeobject", &[("loid", Oid), ("pageno", Int4)]),
    ("pg_largeobject_metadata", &[("oid", Oid), ("lomowner", Oid), ("lomacl", ArrayOf(&Text))]),
    ("pg_listening_channels", &[("pg_listening_channels", Text)]),
    ("pg_options_to_table", &[("option_name", Text), ("option_value", Text)]),
    ("pg_parameter_acl", &[("oid", Oid), ("parname", Text), ("paracl", ArrayOf(&Text))]),
    (
        "pg_policies",
        &[
            ("schemaname", Text),
            ("tablename", Text),
            ("policyname", Text),
            ("permissive", Text),
            ("roles", ArrayOf(&Text)),
            ("cmd", Text),
            ("qual", Text),
            ("with_check", Text),
        ],
    ),
    (
        "pg_prepared_statements",
        &[("name", Text), ("statement", Text), ("prepare_time", Timestamptz), ("from_sql", Bool)],
    ),
    ("pg_prepared_xacts", &[("gid", Text), ("prepared", Timestamptz), ("owner", Text), ("database", Text)]),
    ("pg_publication_tables", &[("pubname", Text), ("schemaname", Text), ("tablename", Text)]),
    ("pg_replication_slots", &[("slot_name", Text), ("slot_type", Text), ("active", Bool), ("restart_lsn", Text)]),
    ("pg_rules", &[("schemaname", Text), ("tablename", Text), ("rulename", Text), ("definition", Text)]),
    ("pg_seclabel", &[("objoid", Oid), ("classoid", Oid), ("objsubid", Int4), ("provider", Text), ("label", Text)]),
    (
        "pg_seclabels",
        &[
            ("objoid", Oid),
            ("classoid", Oid),
            ("objsubid", Int4),
            ("objtype", Text),
            ("provider", Text),
            ("label", Text),
        ],
    ),
    ("pg_sequences", &[("schemaname", Text), ("sequencename", Text), ("sequenceowner", Text)]),
    (
        "pg_shdepend",
        &[
            ("dbid", Oid),
            ("classid", Oid),
            ("objid", Oid),
            ("objsubid", Int4),
            ("refclassid", Oid),
            ("refobjid", Oid),
            ("deptype", Text),
        ],
    ),
    ("pg_shseclabel", &[("objoid", Oid), ("classoid", Oid), ("provider", Text), ("label", Text)]),
    ("pg_stat_replication", &[("pid", Int4), ("usename", Text), ("state", Text)]),
    ("pg_statistic_ext_data", &[("stxoid", Oid), ("stxdndistinct", Text), ("stxddependencies", Text)]),
    ("pg_subscription_rel", &[("srsubid", Oid), ("srrelid", Oid), ("srsubstate", Text)]),
    ("pg_transform", &[("oid", Oid), ("trftype", Oid), ("trflang", Oid), ("trffromsql", Text), ("trftosql", Text)]),
    ("pg_ts_config", &[("oid", Oid), ("cfgname", Text), ("cfgnamespace", Oid), ("cfgowner", Oid), ("cfgparser", Oid)]),
    ("pg_ts_config_map", &[("mapcfg", Oid), ("maptokentype", Int4), ("mapseqno", Int4), ("mapdict", Oid)]),
    (
        "pg_ts_dict",
        &[
            ("oid", Oid),
            ("dictname", Text),
            ("dictnamespace", Oid),
            ("dictowner", Oid),
            ("dicttemplate", Oid),
            ("dictinitoption", Text),
        ],
    ),
    (
        "pg_ts_parser",
        &[
            ("oid", Oid),
            ("prsname", Text),
            ("prsnamespace", Oid),
            ("prsstart", Text),
            ("prstoken", Text),
            ("prsend", Text),
            ("prsheadline", Text),
            ("prslextype", Text),
        ],
    ),
    (
        "pg_ts_template",
        &[("oid", Oid), ("tmplname", Text), ("tmplnamespace", Oid), ("tmplinit", Text), ("tmpllexize", Text)],
    ),
    (
        "pg_user_mappings",
        &[
            ("umid", Oid),
            ("srvid", Oid),
            ("srvname", Text),
            ("umuser", Oid),
            ("usename", Text),
            ("umoptions", ArrayOf(&Text)),
        ],
    ),
];

fn empty<'a>(tables: &'a PgCatalogStaticTables, name: &str) -> Option<&'a ArrowTable> {
    Some(match name {
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
