//! The tables of schema `pg_catalog`.
//!
//! What describes users' objects is made from the catalog; what describes PostgreSQL itself (types,
//! functions, operators) is `datafusion-pg-catalog`'s; what Thalweg has none of (triggers, rules,
//! policies, ...) is there and empty. Sources and external tables are relkind `r`, views `v`,
//! materialized views `m`.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array, new_null_array};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::scalar::ScalarValue;
use datafusion_pg_catalog::pg_catalog::{ArrowTable, PgCatalogStaticTables};
use thalweg_dataflow::error::Result;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType::{Array as ArrayOf, Bool, Float4, Int2, Int4, Oid, Text, Timestamptz};
use thalweg_dataflow::types::{PgType, Zone, parse_text};

use super::information::{Relation, SCHEMAS};
use super::queries::CatalogTables;
use super::table::{Table, array, bool, int2, int4, maybe, text};
use super::{constraints, roles};
use crate::catalog::{Catalog, PUBLIC};
use crate::roles::SUPERUSER;
use crate::roles::acl::Thing;
use crate::statement::definition::query_text;

/// The role that owns what nobody made.
const OWNER: i32 = 10;

/// The oid of the one database.
pub(super) const DATABASE_OID: i32 = 5;

/// The table of this name.
pub(crate) fn table(tables: &CatalogTables, name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
    Some(match name {
        "pg_class" => pg_class(tables),
        "pg_attribute" => pg_attribute(tables),
        "pg_namespace" => pg_namespace(tables),
        "pg_database" => pg_database(tables),
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
        "pg_description" => pg_description(tables),
        "pg_stat_user_tables" | "pg_stat_all_tables" => pg_stat_tables(tables),
        "pg_get_keywords" => pg_get_keywords(),
        _ => return roles::table(tables, name).or_else(|| fixed(name)),
    })
}

/// A table of PostgreSQL's own, full or empty.
fn fixed(name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
    if let Some((_, columns)) = EMPTY.iter().find(|(known, _)| *known == name) {
        return Some(Table::new(columns).finish());
    }
    static TABLES: OnceLock<Option<PgCatalogStaticTables>> = OnceLock::new();
    let tables = TABLES.get_or_init(|| PgCatalogStaticTables::try_new().ok()).as_ref()?;
    if let Some(full) = full(tables, name) {
        return Some(with_types(full.schema(), full.data()));
    }
    Some(with_types(empty(tables, name)?.schema(), &[]))
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
        let columns = batch.columns().iter().zip(&fields).map(|(column, ty)| {
            Ok(match ty {
                PgType::Array(element) if column.data_type() == &DataType::Utf8 => arrays(element, column)?,
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
    (
        "pg_locks",
        &[("locktype", Text), ("database", Oid), ("relation", Oid), ("pid", Int4), ("mode", Text), ("granted", Bool)],
    ),
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
        "pg_db_role_setting" => &tables.pg_db_role_setting,
        "pg_depend" => &tables.pg_depend,
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

/// The columns of `pg_class` but its arrays.
const CLASS: &[(&str, PgType)] = &[
    ("oid", Oid),
    ("relname", Text),
    ("relnamespace", Oid),
    ("reltype", Oid),
    ("reloftype", Oid),
    ("relowner", Oid),
    ("relam", Oid),
    ("relfilenode", Oid),
    ("reltablespace", Oid),
    ("relpages", Int4),
    ("reltuples", Float4),
    ("relallvisible", Int4),
    ("reltoastrelid", Oid),
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
    ("relrewrite", Oid),
    ("relpartbound", Text),
];

fn pg_class(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(CLASS).with_text_arrays(&["relacl", "reloptions"]);
    let catalog = &tables.published.catalog;
    for relation in tables.relations().into_iter().chain(constraints::indexes(tables)) {
        let zero = || int4(0);
        // heap, btree.
        let method = match relation.kind {
            "r" | "m" => 2,
            "i" => 403,
            _ => 0,
        };
        table.row([
            int4(relation.oid),
            text(&relation.name),
            int4(relation.namespace()),
            zero(),
            zero(),
            int4(roles::number(tables.owner_of(&relation))),
            int4(method),
            int4(relation.oid),
            zero(),
            zero(),
            ScalarValue::Float32(Some(-1.0)),
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
        let acl = u32::try_from(relation.oid).ok().and_then(|oid| catalog.acl(oid));
        table.text_array("relacl", acl.map(|acl| roles::printed(catalog, acl)));
    }
    table.finish()
}

fn pg_attribute(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("attrelid", Oid),
        ("attname", Text),
        ("atttypid", Oid),
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
        ("attcollation", Oid),
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

/// No statistics are kept of tables: the counts are null.
fn pg_stat_tables(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    const COUNTS: [&str; 8] =
        ["seq_scan", "seq_tup_read", "idx_scan", "idx_tup_fetch", "n_tup_ins", "n_tup_upd", "n_tup_del", "n_live_tup"];
    let mut columns = vec![("relid", Oid), ("schemaname", Text), ("relname", Text)];
    columns.extend(COUNTS.map(|name| (name, PgType::Int8)));
    let mut table = Table::new(&columns);
    for relation in tables.relations().iter().filter(|relation| matches!(relation.kind, "r" | "m")) {
        let none = || ScalarValue::Int64(None);
        table.row([
            int4(relation.oid),
            text(&relation.schema),
            text(&relation.name),
            none(),
            none(),
            none(),
            none(),
            none(),
            none(),
            none(),
            none(),
        ]);
    }
    table.finish()
}

/// COMMENT ON, and what PostgreSQL says of its own types, functions and operators.
fn pg_description(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let own = super::names::descriptions();
    let mut table = Table::new(&[("objoid", Oid), ("classoid", Oid), ("objsubid", Int4), ("description", Text)]);
    let class = super::names::class_oid("pg_class").unwrap_or(0);
    for (oid, column, comment) in tables.published.catalog.comments() {
        let number = |oid: u32| int4(i32::try_from(oid).unwrap_or(i32::MAX));
        table.row([number(oid), int4(class), number(column), text(comment)]);
    }
    for ((class, oid), described) in own {
        table.row([int4(*oid), int4(*class), int4(0), text(described)]);
    }
    table.finish()
}

/// The words that a name must be quoted to be, and those that it need not be.
fn pg_get_keywords() -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[("word", Text), ("catcode", Text), ("catdesc", Text)]);
    for word in crate::parser::reserved_words() {
        table.row([text(*word), text("R"), text("reserved")]);
    }
    table.finish()
}

fn pg_namespace(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[("oid", Oid), ("nspname", Text), ("nspowner", Oid)]).with_text_arrays(&["nspacl"]);
    let catalog = &tables.published.catalog;
    for (name, oid) in SCHEMAS {
        table.row([int4(oid), text(name), int4(OWNER)]);
        let acl = Catalog::acl_in_force(catalog.schema_acl(name), Thing::Schema, SUPERUSER);
        table.text_array("nspacl", (name == PUBLIC).then(|| roles::printed(catalog, &acl)));
    }
    table.finish()
}

fn pg_database(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("oid", Oid),
        ("datname", Text),
        ("datdba", Oid),
        ("encoding", Int4),
        ("datlocprovider", Text),
        ("datistemplate", Bool),
        ("datallowconn", Bool),
        ("datconnlimit", Int4),
        ("dattablespace", Oid),
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
    let catalog = &tables.published.catalog;
    table.text_array("datacl", catalog.database_acl().map(|acl| roles::printed(catalog, acl)));
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
                text(tables.owner(object.oid)),
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
            table.row([text(&object.schema), text(&object.name), text(tables.owner(object.oid)), text(&query)]);
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
            text(tables.published.catalog.roles.name(tables.owner_of(relation))),
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
        ("extra_desc", Text),
        ("context", Text),
        ("vartype", Text),
        ("source", Text),
        ("min_val", Text),
        ("max_val", Text),
        ("enumvals", ArrayOf(&Text)),
        ("boot_val", Text),
        ("reset_val", Text),
        ("sourcefile", Text),
        ("sourceline", Int4),
        ("pending_restart", Bool),
    ]);
    let some = |text: &str| maybe(Some(text).filter(|text| !text.is_empty()));
    for (setting, value, reset) in &tables.listed {
        let words = setting.words.iter().map(|word| text(*word)).collect();
        table.row([
            text(setting.name),
            text(value),
            some(setting.unit),
            text("Thalweg"),
            text(setting.about),
            maybe(None::<String>),
            text(setting.context_word),
            text(setting.value_type),
            text(if value == reset { "default" } else { "session" }),
            some(setting.low),
            some(setting.high),
            if setting.words.is_empty() { ScalarValue::Binary(None) } else { array(&Text, words) },
            text(reset),
            text(reset),
            maybe(None::<String>),
            ScalarValue::Int32(None),
            bool(false),
        ]);
    }
    table.finish()
}
