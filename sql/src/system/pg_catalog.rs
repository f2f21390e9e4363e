//! The tables of schema `pg_catalog`.
//!
//! What describes users' objects is made from the catalog; the rest stands in `postgresql` and `roles`.
//! Sources and external tables are relkind `r`, views `v`, materialized views `m`.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::Result;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::PgType::{Array as ArrayOf, Bool, Float4, Int2, Int4, Oid, Text};

use super::information::Relation;
use super::queries::CatalogTables;
use super::table::{Table, array, bool, int2, int4, maybe, text};
use super::{activity, advisory, constraints, postgresql, roles, sequences};
use crate::catalog::{PUBLIC_OID, is_temporary};
use crate::statement::definition::query_text;

/// The role that owns what nobody made.
const OWNER: i32 = 10;

/// The oid of the one database.
pub(crate) const DATABASE_OID: i32 = 5;

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
        "pg_sequence" => sequences::pg_sequence(tables),
        "pg_sequences" => sequences::pg_sequences(tables),
        "pg_depend" => pg_depend(tables),
        "pg_description" => pg_description(tables),
        "pg_get_keywords" => pg_get_keywords(),
        _ => {
            let others = roles::table(tables, name)
                .or_else(|| activity::table(tables, name))
                .or_else(|| advisory::table(tables, name));
            return others.or_else(|| postgresql::table(name));
        }
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
    ("relfrozenxid", Oid),
    ("relminmxid", Oid),
    ("relpartbound", Text),
];

fn pg_class(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(CLASS).with_text_arrays(&["relacl", "reloptions"]);
    let catalog = &tables.published.catalog;
    for relation in tables.relations().into_iter().chain(constraints::indexes(tables)) {
        let zero = || int4(0);
        table.row([
            int4(relation.oid),
            text(&relation.name),
            int4(relation.namespace),
            zero(),
            zero(),
            int4(roles::number(tables.owner_of(&relation))),
            int4(relation.method),
            int4(relation.oid),
            zero(),
            zero(),
            ScalarValue::Float32(Some(-1.0)),
            zero(),
            zero(),
            bool(relation.indexed),
            bool(false),
            text(if is_temporary(&relation.schema) { "t" } else { "p" }),
            text(relation.kind),
            int2(i16::try_from(relation.columns.len()).unwrap_or(i16::MAX)),
            int2(relation.checks),
            bool(false),
            bool(false),
            bool(false),
            bool(false),
            bool(false),
            bool(true),
            text(if matches!(relation.kind, "r" | "m") { "d" } else { "n" }),
            bool(false),
            zero(),
            zero(),
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
        ("attalign", Text),
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
    .with_text_arrays(&["attacl", "attoptions", "attfdwoptions", "attmissingval"]);
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
                text(alignment(column)),
                text(storage(column)),
                text(""),
                bool(column.not_null && relation.kind != "i"),
                bool(defaults.contains_key(&(relation.oid, i32::from(place)))),
                bool(false),
                text(identity(tables, &relation, place)),
                text(if generated(tables, &relation, place).is_some() { "s" } else { "" }),
                bool(false),
                bool(true),
                int4(0),
                int4(if column.data_type.category() == 'S' { 100 } else { 0 }),
            ]);
            table.text_array("attacl", column_acl(tables, &relation, usize::from(place.unsigned_abs()) - 1));
        }
    }
    table.finish()
}

/// `attacl`.
fn column_acl(tables: &CatalogTables, relation: &Relation, place: usize) -> Option<Vec<String>> {
    let catalog = &tables.published.catalog;
    let oid = u32::try_from(relation.oid).ok()?;
    let acls = catalog.column_acls(oid)?;
    let number = *catalog.get(oid)?.numbers().get(place)?;
    acls.get(&number).map(|acl| roles::printed(catalog, acl))
}

/// `attidentity`: `a` for ALWAYS, `d` for BY DEFAULT.
fn identity(tables: &CatalogTables, relation: &Relation, place: i16) -> &'static str {
    let object = u32::try_from(relation.oid).ok().and_then(|oid| tables.published.catalog.get(oid));
    let identity = object.and_then(|object| object.identity(usize::try_from(place - 1).ok()?));
    identity.map_or("", |identity| if identity.always { "a" } else { "d" })
}

/// What a column is computed from.
pub(super) fn generated<'t>(tables: &'t CatalogTables, relation: &Relation, place: i16) -> Option<&'t str> {
    let object = tables.published.catalog.get(u32::try_from(relation.oid).ok()?)?;
    object.generated(usize::try_from(place - 1).ok()?)
}

/// The oid of a type as the catalogs hold it.
fn oid(data_type: &PgType) -> i32 {
    i32::try_from(data_type.oid()).unwrap_or(i32::MAX)
}

/// As `pg_type.typalign` has it.
fn alignment(column: &Column) -> &'static str {
    match column.data_type {
        PgType::Bool | PgType::Uuid => "c",
        PgType::Int2 => "s",
        PgType::Int8
        | PgType::Float8
        | PgType::Timestamp
        | PgType::Timestamptz
        | PgType::Interval
        | PgType::Time(_) => "d",
        _ => "i",
    }
}

fn storage(column: &Column) -> &'static str {
    match column.data_type {
        PgType::Numeric(_) => "m",
        PgType::Text | PgType::Varchar(_) | PgType::Bytea | PgType::Bpchar(_) | PgType::Json | PgType::Jsonb => "x",
        _ => "p",
    }
}

/// What a view of either kind reads. (In PostgreSQL its rule reads that.)
fn pg_depend(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("classid", Oid),
        ("objid", Oid),
        ("objsubid", Int4),
        ("refclassid", Oid),
        ("refobjid", Oid),
        ("refobjsubid", Int4),
        ("deptype", Text),
    ]);
    let class = || int4(super::names::class_oid("pg_class").unwrap_or(0));
    let defaults = || int4(super::names::class_oid("pg_attrdef").unwrap_or(0));
    let number = |oid: u32| int4(i32::try_from(oid).unwrap_or(i32::MAX));
    for object in tables.published.catalog.objects() {
        for read in object.reads() {
            table.row([class(), number(object.oid), int4(0), class(), number(read), int4(0), text("n")]);
        }
        let catalog = &tables.published.catalog;
        if let Some((owner, place)) = object.sequence().and_then(|sequence| catalog.owner_column(sequence)) {
            let column = int4(i32::try_from(place + 1).unwrap_or(0));
            let kind = if catalog.is_identity(object.oid) { "i" } else { "a" };
            table.row([class(), number(object.oid), int4(0), class(), number(owner.oid), column, text(kind)]);
        }
        for (place, of) in object
            .table()
            .into_iter()
            .flat_map(|table| (0..table.defaults.len()).map(move |place| (place, table.sequences_of_default(place))))
        {
            let own = constraints::default_oid(roles::number(object.oid), i32::try_from(place + 1).unwrap_or(0));
            for sequence in of {
                table.row([defaults(), int4(own), int4(0), class(), number(sequence), int4(0), text("n")]);
            }
        }
    }
    table.finish()
}

/// COMMENT ON, and what PostgreSQL says of its own types, functions and operators.
fn pg_description(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let own = super::names::descriptions();
    let mut table = Table::new(&[("objoid", Oid), ("classoid", Oid), ("objsubid", Int4), ("description", Text)]);
    let catalog = &tables.published.catalog;
    for (oid, column, comment) in catalog.comments() {
        let number = |oid: u32| int4(i32::try_from(oid).unwrap_or(i32::MAX));
        let class = super::names::class_oid(super::names::class_of(catalog, oid)).unwrap_or(0);
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
    for (oid, name) in catalog.schemas() {
        table.row([int4(roles::number(oid)), text(name), int4(roles::number(catalog.owner(oid)))]);
        let is_said = oid == PUBLIC_OID || catalog.acl(oid).is_some();
        table.text_array("nspacl", is_said.then(|| roles::printed(catalog, &catalog.schema_acl(oid))));
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
            && let Some(query) = query_text(&tables.published.catalog, object, &tables.path)
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
            && let Some(query) = query_text(&tables.published.catalog, object, &tables.path)
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
